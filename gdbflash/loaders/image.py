"""What of a loader file goes into RAM: which bytes where, and which RAM is zeroed.

What belongs here: ELF segments and sections to `Segment`s. Segments say what is loaded, as they do for any program; the
sections tell what a segment merely covers, and what RAM no segment speaks of.

Source: Tool Interface Standard, ELF 1.2, Book I, sections 1 (section header) and 2 (program header).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, pairwise
from operator import attrgetter

from gdbflash.elf import ElfSection, ElfSegment
from gdbflash.loaders.finding import Finding
from gdbflash.loaders.findings import SRAM
from gdbflash.loaders.loader import Segment
from gdbflash.ranges import Range, joined, without


class Overlap(ValueError):
    """Two segments want different bytes at one address, and nothing tells which are meant."""

    def __init__(self, address: int) -> None:
        super().__init__(f"has two segments that overlap at 0x{address:08X}")


class Image:
    """The way from segments and sections to what is loaded; `findings` gather on it."""

    def __init__(self, sections: Sequence[ElfSection]) -> None:
        self._sections = [each for each in sections if each.allocated and each.size]
        self.findings: list[Finding] = []

    def load(self, segments: Sequence[ElfSegment], wanted: Callable[[Segment], bool]) -> tuple[Segment, ...]:
        """Give what is to be loaded of the wanted segments, by address; raises Overlap."""
        chosen = []
        for each in segments:
            cut = each.padding
            segment = Segment(each.address + cut, each.data[cut:], each.memory_size - cut)
            if segment.memory_size and wanted(segment):
                chosen.append((segment, each.offset + cut))
        loaded = list(self._apart(chosen))
        loaded += self._without_header(loaded)
        return tuple(sorted(loaded, key=attrgetter("address")))

    def writable(self, loaded: Sequence[Segment]) -> tuple[Range, ...]:
        """Give what calls may change of it: writable sections and zeros, all where there are no sections."""
        if not self._sections:
            return joined(each.where for each in loaded)
        named = joined(Range(each.address, each.size) for each in self._sections if each.writable)
        owned = joined(each.where for each in loaded)
        inside = without(owned, without(owned, named))
        return joined((*inside, *(each.zeros for each in loaded)))

    def _apart(self, chosen: Sequence[tuple[Segment, int]]) -> Iterator[Segment]:
        """Give the segments, each without the bytes that another one has where they overlap."""
        kept: list[tuple[Range, ...]] = [(Range(segment.address, len(segment.data)),) for segment, _ in chosen]
        for one, other in combinations(range(len(chosen)), 2):
            both = without(kept[one], without(kept[one], kept[other]))
            for place in self._by_sections(both):
                loser = other if self._first_counts(chosen[one], chosen[other], place) else one
                kept[loser] = without(kept[loser], (place,))
            if both:
                self.findings.append(_overlap(both[0]))
        for (segment, _), places in zip(chosen, kept, strict=True):
            if places == (Range(segment.address, len(segment.data)),) or not segment.data:
                yield segment
                continue
            for place in places:
                start = place.address - segment.address
                yield Segment(place.address, segment.data[start : start + place.size], place.size)
            if segment.zeros.size:
                yield Segment(segment.zeros.address, b"", segment.zeros.size)

    def _by_sections(self, places: Sequence[Range]) -> Iterator[Range]:
        """Cut places where a section begins or ends."""
        borders = {border for each in self._sections for border in (each.address, each.address + each.size)}
        for place in places:
            cuts = sorted({place.address, place.end, *(each for each in borders if each in place)})
            yield from (Range(low, high - low) for low, high in pairwise(cuts))

    def _first_counts(self, first: tuple[Segment, int], second: tuple[Segment, int], place: Range) -> bool:
        """Tell which of two has the bytes of a place: the one with a section there, else the one that is not zero."""
        one, other = (_bytes_at(segment, place) for segment, _ in (first, second))
        if one == other:
            return True
        covered = [self._has_section(segment, offset, place) for segment, offset in (first, second)]
        if covered[0] != covered[1]:
            return covered[0]
        if any(one) == any(other):
            raise Overlap(place.address)
        return any(one)

    def _has_section(self, segment: Segment, offset: int, place: Range) -> bool:
        """Tell whether a section of the segment's own file bytes lies at place."""
        own = Range(offset, len(segment.data))
        return any(
            not each.nobits and each.offset in own and Range(each.address, each.size).overlaps(place)
            for each in self._sections
        )

    def _without_header(self, loaded: Sequence[Segment]) -> Iterator[Segment]:
        """Give the RAM of NOBITS sections that no program header covers, as IAR's tools leave them."""
        for each in self._sections:
            for place in without((Range(each.address, each.size),), (segment.where for segment in loaded)):
                if each.nobits and place.address in SRAM:
                    self.findings.append(
                        Finding(
                            "nobits-without-segment",
                            "info",
                            f"No program header covers the section {each.name} at {place}; it is zeroed all the same. "
                            "ST's tool does not: give it a program header, or initialise it in Init.",
                        )
                    )
                    yield Segment(place.address, b"", place.size)


def _bytes_at(segment: Segment, place: Range) -> bytes:
    start = place.address - segment.address
    return segment.data[start : start + place.size]


def _overlap(place: Range) -> Finding:
    return Finding(
        "segment-overlap",
        "warning",
        f"Two segments have bytes at {place}; those count that a section has there, or that are not all zero. "
        "Give .Dev_info a memory region of its own, or put it behind all other sections in the linker script.",
    )
