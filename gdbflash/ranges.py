"""Stretches of addresses and the few operations on them that planning needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple


class Range(NamedTuple):
    """size bytes from address on: where a storage lies, a sector of it, or bytes of a file."""

    address: int
    size: int

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.size

    def __contains__(self, address: object) -> bool:
        return isinstance(address, int) and self.address <= address < self.end

    def overlaps(self, other: Range) -> bool:
        """Say whether they have a byte in common."""
        return self.address < other.end and other.address < self.end

    def __str__(self) -> str:
        if self.size > 1:
            return f"0x{self.address:08X}-0x{self.end - 1:08X}"
        return f"0x{self.address:08X}{'' if self.size else ' (empty)'}"


def joined(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Sort ranges and join those that touch or overlap; empty ones vanish."""
    result: list[Range] = []
    start = end = -1
    for each in sorted(ranges, key=attrgetter("address")):
        if not each.size:
            continue
        if start < 0 or each.address > end:
            if start >= 0:
                result.append(Range(start, end - start))
            start, end = each.address, each.end
        else:
            end = max(end, each.end)
    if start >= 0:
        result.append(Range(start, end - start))
    return tuple(result)


def without(ranges: Iterable[Range], holes: Iterable[Range]) -> tuple[Range, ...]:
    """Say what of ranges lies outside holes, sorted and joined."""
    cut = joined(holes)
    result: list[Range] = []
    index = 0
    for whole in joined(ranges):
        start = whole.address
        while index < len(cut) and cut[index].end <= start:
            index += 1
        probe = index
        while probe < len(cut) and cut[probe].address < whole.end:
            if cut[probe].address > start:
                result.append(Range(start, cut[probe].address - start))
            start = max(start, cut[probe].end)
            probe += 1
        if start < whole.end:
            result.append(Range(start, whole.end - start))
    return tuple(result)


def head(whole: Range, size: int, page: int = 1) -> Range:
    """Give what one call moves of a range: at most size bytes from its beginning, up to a border of pages.

    So no page is programmed in two calls. A page larger than size, as real loaders declare, is none that could be kept.
    """
    page = page if 0 < page <= size else 1
    return Range(whole.address, min(whole.end, (whole.address + size) // page * page) - whole.address)


def slices(places: Iterable[Range], size: int, page: int = 1) -> Iterator[Range]:
    """Cut ranges into pieces as `head` does."""
    for rest in places:
        while rest.size:
            piece = head(rest, size, page)
            yield piece
            rest = Range(piece.end, rest.end - piece.end)
