"""How much one call should move, learnt from what calls take.

What belongs here: the one rule for sizes of calls. Large calls hide what a call costs (3 to 100 ms, by server); short
ones show progress and heed Ctrl-C. Half a second a call keeps a cost of 25 ms under 5%.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from .ranges import Range

CALL_SECONDS = 0.5
GROWTH = 4.0
"""At most so much larger or smaller than the call before: one that was delayed tells little."""


class Pace:
    """The size of the next call in bytes: `limit`, between least and most."""

    def __init__(self, first: int, least: int, most: int) -> None:
        self._least = least
        self._most = max(least, most)
        self.limit = min(max(first, least), self._most)

    def learn(self, size: int, seconds: float) -> None:
        """Take what a call of size bytes took; a short one tells what a call costs, not what its bytes do."""
        if 2 * size > self.limit:
            factor = min(GROWTH, max(1 / GROWTH, CALL_SECONDS / max(seconds, 0.001)))
            self.limit = min(self._most, max(self._least, int(size * factor)))


def paced(places: Iterable[Range], pace: Pace, page: int) -> Iterator[Range]:
    """Cut places as `plan.transfer_steps` does, each piece as large as the pace then says.

    What the caller does between two pieces is what the pace learns from.
    """
    for place in places:
        start = place.address
        while start < place.end:
            size = pace.limit
            align = page if 0 < page <= size else 1
            end = min(place.end, (start + size) // align * align)
            begun = time.monotonic()
            yield Range(start, end - start)
            pace.learn(end - start, time.monotonic() - begun)
            start = end
