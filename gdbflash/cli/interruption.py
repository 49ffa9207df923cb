"""Ctrl-C, SIGTERM and a terminal that hangs up: the first asks to stop, a second one stops.

What belongs here: signals, turned into a wish that a run heeds between two loader calls.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

_HANG_UP: signal.Signals | None = getattr(signal, "SIGHUP", None)
_BREAK: signal.Signals | None = getattr(signal, "SIGBREAK", None)
"""Ctrl-Break, which is how Windows passes a wish to stop on from process to process."""
_SIGNALS = tuple(each for each in (signal.SIGINT, signal.SIGTERM, _HANG_UP, _BREAK) if each is not None)


class Interruption:
    """Turn SIGINT, SIGTERM and SIGHUP into a wish to stop: heeded between loader calls, or at once the second time.

    A hang-up is no second time: the kernel tells of one, and a shell that ends with the terminal tells again.
    """

    def __init__(self) -> None:
        self.patient = False
        """Whether something is going on that the first signal should let come to its next stop."""
        self.requested = False

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        again, self.requested = self.requested, True
        if again and number == _HANG_UP:
            return
        if again or not self.patient:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Listen to the signals while the body runs."""
        with heeded(self):
            yield


@contextlib.contextmanager
def heeded(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let handler have the signals that ask a program to end, while the body runs.

    A hang-up that is ignored stays so: nohup is for that. Shells let what they start in the background ignore SIGINT as
    well, but whoever sends it there means it.
    """
    nohup = _HANG_UP is not None and signal.getsignal(_HANG_UP) is signal.SIG_IGN
    wanted = [number for number in _SIGNALS if not (nohup and number == _HANG_UP)]
    before = {number: signal.signal(number, handler) for number in wanted}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
