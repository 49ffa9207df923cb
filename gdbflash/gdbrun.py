"""Bound a command of GDB that lets the core run, and be quick to see its end.

What belongs here: the thread beside GDB that does both while GDB itself waits for the core.
"""

from __future__ import annotations

import contextlib
import threading
import time
from types import TracebackType

import gdb

from .errors import CommandRefused, ConnectionLost
from .tcl import TclTarget, poll_pause

RING_AGAIN = 2.0
"""Seconds from one interrupt to the next: a server that polls takes 0.1 s to halt the core, a bad link longer."""


class Bounds:
    """A time-out on whatever GDB runs in the body: the core is interrupted, which raises nothing.

    GDB does so itself, in its event loop: it gets there only when the core runs. SIGINT, the other way, is the user's:
    it may come before the core runs and be lost, and while it is blocked it must stay so.

    With OpenOCD's Tcl port, OpenOCD is told to look at the core instead of doing so every 0.1 s by itself.
    """

    def __init__(self, seconds: float, tcl: TclTarget | None) -> None:
        self.rang = False
        """Whether the time was up."""
        self.tcl = tcl
        """The port that was given, None after it was lost."""
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="gdbflash", daemon=True)

    def __enter__(self) -> Bounds:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        begun = time.monotonic()
        ring_at = begun + self._seconds
        while True:
            now = time.monotonic()
            if now >= ring_at:
                gdb.post_event(self._interrupt)
                ring_at = now + RING_AGAIN
            pause = ring_at - now if self.tcl is None else min(poll_pause(now - begun), ring_at - now)
            if self._ended.wait(pause):
                return
            if self.tcl is not None:
                self._poll(self.tcl)

    def _poll(self, tcl: TclTarget) -> None:
        try:
            tcl.poll()
        except (CommandRefused, ConnectionLost):  # OpenOCD will tell GDB in its own time
            self.tcl = None

    def _interrupt(self) -> None:
        """Halt the core; runs in GDB's thread, which may have seen the end of the body meanwhile."""
        if not self._ended.is_set():
            self.rang = True
            with contextlib.suppress(gdb.error):  # the connection has gone, and GDB is about to say so
                gdb.execute("interrupt", to_string=True)
