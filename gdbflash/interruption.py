"""Ctrl-C and SIGTERM: the first asks to stop, the second stops.

What belongs here: signals, turned into a wish that a run heeds between two loader calls.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Interruption:
    """Turn SIGINT and SIGTERM into a wish to stop: heeded between loader calls, or at once the second time."""

    def __init__(self) -> None:
        self.patient = False
        """Whether something is going on that the first signal should let come to its next stop."""
        self.requested = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        if self.requested or not self.patient:
            raise KeyboardInterrupt
        self.requested = True

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Listen to the signals while the body runs."""
        before = {number: signal.signal(number, self) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, previous in before.items():
                signal.signal(number, previous)
