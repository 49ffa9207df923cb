"""One thread that interrupts the core when its next timer event is due."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from gdbflash.board.clock import Clock


class Alarm:
    """Calls ring in its own thread when the time is up; one time is set at a time."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._cond = threading.Condition()
        self._due: float | None = None  # by the host's monotonic clock
        self._closed = False
        self._thread: threading.Thread | None = None

    def set(self, seconds: float | None) -> None:
        """Ring in so many board seconds, or not at all; replaces what was set before."""
        if seconds is None and self._due is None:
            return
        with self._cond:
            self._due = None if seconds is None else time.monotonic() + self._clock.host_seconds(seconds)
            if self._thread is None and seconds is not None:
                self._thread = threading.Thread(target=self._run, name="board alarm", daemon=True)
                self._thread.start()
            self._cond.notify()

    def close(self) -> None:
        """End the thread."""
        with self._cond:
            self._closed = True
            self._cond.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        with self._cond:
            while not self._closed:
                if self._due is None:
                    self._cond.wait()
                    continue
                left = self._due - time.monotonic()
                if left > 0:
                    self._cond.wait(left)
                    continue
                self._cond.release()
                try:
                    self._ring()
                finally:
                    self._cond.acquire()
                if self._due is not None and self._due <= time.monotonic():
                    self._cond.wait(0.0005)  # until the core sets the next time
