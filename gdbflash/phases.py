"""Phases of the work: told to the observer, and ended between two steps when the user wants it.

What belongs here: the one place that makes Started, Advanced and Finished.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .errors import Interrupted
from .events import Advanced, Finished, Observer, Phase, Started

_LOOK_SECONDS = 0.05
"""Between two looks at whether the user wants a pause to end."""


class Phases:
    """Makes phases for one observer."""

    def __init__(self, observe: Observer, cancelled: Callable[[], bool] = lambda: False) -> None:
        self.observe = observe
        self._cancelled = cancelled

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

        That function raises Interrupted when `cancelled` says so.
        """
        self.observe(Started(phase, total, label))
        begun = time.monotonic()
        done = 0

        def advance(size: int) -> None:
            nonlocal done
            done += size
            self.observe(Advanced(phase, done))
            if self._cancelled():
                raise Interrupted(f"Interrupted during {phase}, after {done} of {total} bytes.", phase=phase, done=done)

        yield advance
        self.observe(Finished(phase, time.monotonic() - begun))
