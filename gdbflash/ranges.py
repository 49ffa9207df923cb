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


def slices(whole: Range, size: int, align: int = 1) -> Iterator[Range]:
    """Cut a range into pieces of at most size bytes whose inner borders are multiples of align.

    size is at least align; the first and last piece may be shorter.
    """
    start = whole.address
    step = size - size % align
    while start < whole.end:
        end = min(whole.end, (start + step) // align * align)
        yield Range(start, end - start)
        start = end
