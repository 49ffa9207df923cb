"""Phases of the work: told to the observer, and ended between two steps when the user wants it.

What belongs here: the one place that makes Started, Advanced and Finished.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gdbflash.errors import Interrupted
from gdbflash.events import Advanced, Finished, Observer, Phase, Started, bytes_in_words

_LOOK_SECONDS = 0.05
"""Between two looks at whether the user wants a pause to end."""


class Phases:
    """Makes phases for one observer."""

    def __init__(self, observe: Observer, cancelled: Callable[[], bool] = lambda: False) -> None:
        self.observe = observe
        self._cancelled = cancelled
        self._at: tuple[Phase, int, int] = ("connect", 0, 0)
        """The phase at hand, with the bytes done and in all."""

    def check(self) -> None:
        """Raise Interrupted when `cancelled` says so."""
        if self._cancelled():
            phase, done, total = self._at
            after = f", after {bytes_in_words(done)} of {bytes_in_words(total)}" if total else ""
            raise Interrupted(f"Interrupted during {phase}{after}.", phase=phase, done=done)

    def pause(self, seconds: float) -> None:
        """Let seconds pass; raises Interrupted when `cancelled` says so."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._cancelled():
                raise Interrupted("Interrupted while waiting for the chip.")
            time.sleep(min(_LOOK_SECONDS, left))

    @contextmanager
    def phase(self, phase: Phase, total: int = 0, label: str = "") -> Iterator[Callable[[int], None]]:
        """Report a phase; yields the function that is told of each piece of progress in bytes.

        That function raises Interrupted when `cancelled` says so, and so does the beginning of every phase but close:
        what somebody has asked to stop erases nothing any more.
        """
        if phase != "close" and self._cancelled():
            raise Interrupted(f"Interrupted before {phase}.", phase=phase, done=0)
        before, self._at = self._at, (phase, 0, total)
        self.observe(Started(phase, total, label))
        begun = time.monotonic()

        def advance(size: int) -> None:
            self._at = (phase, self._at[1] + size, total)
            self.observe(Advanced(phase, self._at[1]))
            self.check()

        yield advance
        self.observe(Finished(phase, time.monotonic() - begun))
        self._at = before
