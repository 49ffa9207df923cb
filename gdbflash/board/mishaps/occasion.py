"""When something happens that can happen more than once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Occasion:
    """From the first to the last time, counted from 1; last None: for ever."""

    first: int = 1
    last: int | None = None

    def includes(self, number: int) -> bool:
        """Tell whether it happens the number-th time."""
        return self.first <= number and (self.last is None or number <= self.last)
