"""Bound a command of GDB that lets the core run, and be quick to see its end; Ctrl-C meanwhile.

What belongs here: the thread beside GDB that does both while GDB itself waits for the core, and what becomes of the
user's SIGINT. Between taking a session and giving it back, GDB never sees one: it would raise KeyboardInterrupt
between any two steps of restoring, and at the second one while the core runs it disconnects without asking.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from types import TracebackType

import gdb

from gdbflash.host.processes import hold_sigint, let_sigint, take_sigint

RING_AGAIN = 2.0
"""Seconds from one interrupt to the next: a server that polls takes 0.1 s to halt the core, a bad link longer."""
LISTEN = 0.05
"""Seconds between two looks for Ctrl-C: quicker than a person notices."""
STUCK = 4.0
"""Seconds without an answer to a monitor command that waits for less than one."""


def hold_interrupts() -> None:
    """Keep SIGINT from GDB until `release_interrupts`, or until `interrupted` asks for it."""
    hold_sigint()


def release_interrupts() -> None:
    """Let GDB have SIGINT again, but not one that came meanwhile: it was for what has ended."""
    interrupted()
    let_sigint()


def interrupted() -> bool:
    """Take note of a SIGINT that was held; the next call tells of the next one."""
    return take_sigint()


@contextlib.contextmanager
def interrupts_heard() -> Iterator[None]:
    """Let GDB have SIGINT while the body runs, which raises KeyboardInterrupt: for what may take for ever."""
    let_sigint()
    try:
        yield
    finally:
        hold_interrupts()


@contextlib.contextmanager
def heard_when_stuck() -> Iterator[None]:
    """Let GDB have SIGINT as soon as the body takes longer than any answer does: the server is frozen then.

    GDB waits for the answer to a monitor command without end. The main thread keeps SIGINT blocked, as GDB is not to
    be interrupted between two packets otherwise; a thread beside it takes it, and has GDB end the wait.
    """
    ended = threading.Event()

    def listen() -> None:
        if ended.wait(STUCK):
            return
        if not hasattr(gdb, "interrupt"):  # GDB 15 and older, whose handler any thread may run
            let_sigint()
        while not ended.wait(LISTEN):
            if hasattr(gdb, "interrupt") and interrupted():
                gdb.interrupt()

    thread = threading.Thread(target=listen, name="gdbflash", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class Bounds:
    """A time-out on whatever GDB runs in the body: the core is interrupted, which raises nothing; so does Ctrl-C.

    GDB does so itself, in its event loop: it gets there only when the core runs.
    """

    def __init__(self, seconds: float, *, listen: bool, mute: bool) -> None:
        """Wait for `with`; SIGINT is held by the caller.

        listen: whether Ctrl-C counts. mute: whether GDB's words about an interrupt are kept from the terminal.
        """
        self.rang = False
        """Whether the time was up."""
        self.interrupted = False
        """Whether the user pressed Ctrl-C before that."""
        self._seconds = seconds
        self._listen = listen
        self._mute = mute
        self._terminal = -1
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
        if self._terminal >= 0:
            gdb.flush()
            os.dup2(self._terminal, 1)
            os.close(self._terminal)

    def _watch(self) -> None:
        ring_at = time.monotonic() + self._seconds
        while True:
            now = time.monotonic()
            if self._listen and interrupted() and not (self.rang or self.interrupted):
                self.interrupted = True
                ring_at = now
            if now >= ring_at:
                gdb.post_event(self._interrupt)
                ring_at = now + RING_AGAIN
            if self._ended.wait(min(LISTEN, ring_at - now)):
                return

    def _interrupt(self) -> None:
        """Halt the core; runs in GDB's thread, which may have seen the end of the body meanwhile."""
        if not self._ended.is_set():
            self.rang = not self.interrupted
            if self._mute and self._terminal < 0:
                # "Program received signal SIGINT, Interrupt." passes all that takes the output of a command.
                gdb.flush()
                self._terminal = os.dup(1)
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, 1)
                os.close(null)
            with contextlib.suppress(gdb.error):  # the connection has gone, and GDB is about to say so
                gdb.execute("interrupt", to_string=True)
