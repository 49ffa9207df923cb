"""Bytes by address: what is read from image files, planned, kept and written.

What belongs here: the one type for it, whose bytes are shared and not copied, and stay in their file where they lie in
a large one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter

from gdbflash.files import FileBytes
from gdbflash.ranges import Range, joined, without

Data = bytes | memoryview | FileBytes
_FIND_SLICE = 1 << 20
"""Bytes that are searched at a time: a large image stays in its file."""


@dataclass(frozen=True)
class Content:
    """Sorted pieces, an address and bytes each, that do not overlap."""

    pieces: tuple[tuple[int, Data], ...]
    source: str = field(default="", compare=False)
    """The file or files that they come from, for messages."""

    @classmethod
    def at(cls, address: int, data: Data, source: str = "") -> Content:
        """Take one piece."""
        return cls(((address, memoryview(data) if isinstance(data, bytes) else data),) if data else (), source)

    @classmethod
    def of(cls, *parts: Iterable[tuple[int, Data]]) -> Content:
        """Sort pieces that do not overlap."""
        return cls(tuple(sorted((piece for part in parts for piece in part), key=itemgetter(0))))

    def __bool__(self) -> bool:
        return bool(self.pieces)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Give where the pieces begin."""
        return tuple(address for address, _ in self.pieces)

    @cached_property
    def ranges(self) -> tuple[Range, ...]:
        """Where there are bytes; stretches that touch are joined."""
        return joined(Range(address, len(data)) for address, data in self.pieces)

    @cached_property
    def size(self) -> int:
        """Count the bytes."""
        return sum(len(data) for _, data in self.pieces)

    def read(self, where: Range) -> bytes:
        """Give the bytes of a range that lies within one of `ranges`."""
        found: list[Data] = []
        address = where.address
        index = bisect_right(self.starts, address) - 1
        while address < where.end:
            start, data = self.pieces[index]
            part = data[address - start : where.end - start]
            if address < start or not part:
                raise ValueError(f"no content at 0x{address:08X}")
            found.append(part)
            address += len(part)
            index += 1
        return bytes(found[0]) if len(found) == 1 else b"".join(bytes(each) for each in found)

    def find(self, data: bytes) -> int | None:
        """Give the lowest address where data stands in one of the pieces; None where it does not."""
        for start, piece in self.pieces:
            for offset in range(0, len(piece), _FIND_SLICE):
                size = min(_FIND_SLICE + len(data) - 1, len(piece) - offset)
                found = self.read(Range(start + offset, size)).find(data)
                if found >= 0:
                    return start + offset + found
        return None

    def within(self, places: Iterable[Range]) -> Content:
        """Give only the bytes that lie in the places, which are sorted and do not overlap."""
        pieces: list[tuple[int, Data]] = []
        for place in places:
            index = max(0, bisect_right(self.starts, place.address) - 1)
            while index < len(self.pieces) and self.starts[index] < place.end:
                start, data = self.pieces[index]
                first = max(start, place.address)
                part = data[first - start : max(0, place.end - start)]
                if part:
                    pieces.append((first, part))
                index += 1
        return Content(tuple(pieces))

    def over(self, below: Content) -> Content:
        """Lay these bytes over others: these win where both have some."""
        return Content.of(self.pieces, below.within(without(below.ranges, self.ranges)).pieces)
