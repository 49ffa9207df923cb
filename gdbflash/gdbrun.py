"""Bound a command of GDB that lets the core run, and be quick to see its end.

What belongs here: the thread beside GDB that does both while GDB itself waits for the core.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from types import TracebackType

from .errors import CommandRefused, ConnectionLost
from .tcl import TclTarget, poll_pause

SHORTEST_RUN = 0.25
"""Seconds after which SIGINT finds GDB waiting for the core; while GDB still starts it, the signal can get lost."""
RING_AGAIN = 2.0
"""Seconds from one SIGINT to the next: a server that polls takes 0.1 s to halt the core, a bad link may take longer.
When GDB has passed the first one on, it asks the user at the second whether to give up."""


class Bounds:
    """A time-out on whatever GDB does in the body: SIGINT to GDB, which halts a running core and then raises nothing.

    With OpenOCD's Tcl port, OpenOCD is told to look at the core instead of doing so every 0.1 s by itself.
    """

    def __init__(self, seconds: float, tcl: TclTarget | None) -> None:
        self.rang = False
        """Whether the time was up."""
        self.tcl = tcl
        """The port that was given, None after it was lost."""
        self._seconds = max(seconds, SHORTEST_RUN)
        self._ended = threading.Event()
        self._ringing = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="gdbflash", daemon=True)
        self._blocked = False

    def __enter__(self) -> Bounds:
        self._blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._ringing:  # not between the question and the signal: it would interrupt what comes next
            self._ended.set()
        self._thread.join()
        if self._blocked:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def _watch(self) -> None:
        begun = time.monotonic()
        ring_at = begun + self._seconds
        while True:
            now = time.monotonic()
            if now >= ring_at:
                self._ring()
                ring_at = now + RING_AGAIN
            pause = ring_at - now if self.tcl is None else min(poll_pause(now - begun), ring_at - now)
            if self._ended.wait(max(pause, 0)):
                return
            if self.tcl is not None:
                self._poll(self.tcl)

    def _poll(self, tcl: TclTarget) -> None:
        try:
            tcl.poll()
        except (CommandRefused, ConnectionLost):  # OpenOCD will tell GDB in its own time
            self.tcl = None

    def _ring(self) -> None:
        with self._ringing:
            if not self._ended.is_set():
                self.rang = True
                os.kill(os.getpid(), signal.SIGINT)
