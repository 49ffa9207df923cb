"""How much one call should move, learnt from what calls take.

What belongs here: the one rule for sizes of calls. Large calls hide what a call costs (3 to 100 ms, by server); short
ones show progress, at least once a second, and heed Ctrl-C. Three quarters of a second keep a cost of 35 ms under 5%.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from gdbflash.ranges import Range, head

CALL_SECONDS = 0.75
GROWTH = 4.0
"""At most so much larger or smaller than the call before: one that was delayed tells little."""


LEAST_GAIN = 0.1
"""Share of a call's time that must be won by moving bytes beside it."""


def pays(carrying: float, running: float, whole: float) -> bool:
    """Tell whether moving the bytes of one call while another runs would be quicker.

    Of a call of `whole` seconds, carrying went by while its bytes were on the link, and running while it ran; the rest
    is what a call costs anyway.
    """
    return min(carrying, running) > LEAST_GAIN * whole


class Pace:
    """The size of the next call in bytes: `limit`, between least and most."""

    def __init__(self, first: int, least: int, most: int) -> None:
        self._least = least
        self._most = max(least, most)
        self.limit = min(max(first, least), self._most)

    def bound(self, most: int) -> None:
        """Make no call larger than most from now on."""
        self._most = max(1, min(self._most, most))
        self._least = min(self._least, self._most)
        self.limit = min(self.limit, self._most)

    def learn(self, size: int, seconds: float) -> None:
        """Take what a call of size bytes took; a short one tells what a call costs, not what its bytes do."""
        if 2 * size > self.limit:
            factor = min(GROWTH, max(1 / GROWTH, CALL_SECONDS / max(seconds, 0.001)))
            self.limit = min(self._most, max(self._least, int(size * factor)))


class Cut:
    """Cuts places as `ranges.slices` does, each piece as large as the pace says when it is taken."""

    def __init__(self, places: Iterable[Range], pace: Pace, page: int) -> None:
        self.pace = pace
        self._places = iter(places)
        self._page = page
        self._rest = Range(0, 0)

    def take(self, most: int | None = None) -> Range | None:
        """Give the next piece, of at most so many bytes, None behind the last one."""
        while not self._rest.size:
            place = next(self._places, None)
            if place is None:
                return None
            self._rest = place
        size = self.pace.limit if most is None else min(most, self.pace.limit)
        piece = head(self._rest, size, self._page)
        self._rest = Range(piece.end, self._rest.end - piece.end)
        return piece


def paced(places: Iterable[Range], pace: Pace, page: int) -> Iterator[Range]:
    """Cut places piece by piece; what the caller does between two pieces is what the pace learns from."""
    cut = Cut(places, pace, page)
    while (piece := cut.take()) is not None:
        begun = time.monotonic()
        yield piece
        pace.learn(piece.size, time.monotonic() - begun)
