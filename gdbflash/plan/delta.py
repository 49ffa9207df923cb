"""Decide what of a write is left to do, from what is known of the memory.

What belongs here: pure functions from what was found (`flash.survey`) to what is erased, kept and programmed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gdbflash.images.content import Content
from gdbflash.plan.jobs import EraseMode, StorageJob
from gdbflash.ranges import Range, joined, slices, without

BLANK_BLOCK = 4096
"""Erased stretches of an image are left out of programming in blocks of this size, or of a larger page: a gap splits a
call in two, and a call costs about what programming this many bytes takes (16 pages of W25Q128JV, 0.7 ms each)."""


READ_GAP = 4096
"""Bytes between two places that are read along with both: a call costs about as much."""
LARGEST_BLOCK = 1 << 20
"""Bytes: a loader that declares a larger page declares none that could be kept to."""


class State(NamedTuple):
    """What was found of a piece: whether it holds what it is to hold, and whether it is erased."""

    same: bool
    blank: bool


@dataclass(frozen=True)
class Unit:
    """What is written or left as a whole: a sector, or a piece of the content where nothing is erased."""

    where: Range
    wanted: tuple[Range, ...]
    """Pieces that the content has bytes for."""
    beside: tuple[Range, ...]
    """Pieces of the rest."""

    @property
    def pieces(self) -> tuple[Range, ...]:
        """All pieces."""
        return self.wanted + self.beside


@dataclass(frozen=True)
class Delta:
    """What is left to do."""

    erase: tuple[Range, ...]
    keep: tuple[Range, ...]
    """What must be read before the erase and written after it."""
    blank: tuple[Range, ...]
    """What is lost in the erase too, but was blank."""
    places: tuple[Range, ...]
    """Where content is programmed."""
    skipped: tuple[Range, ...]
    """Where content is already."""
    touched: tuple[Range, ...]
    """Whole sectors that are erased or programmed, where sectors are erased."""
    over: tuple[Range, ...] = ()
    """Where content is programmed over what is not blank, where nothing is erased."""

    @property
    def keep_as_read(self) -> tuple[Range, ...]:
        """Give what is read of what must be kept: gaps between two places that cost less than a call are read too."""
        found: list[Range] = []
        for each in self.keep:
            last = found[-1] if found else None
            if last is not None and each.address - last.end <= READ_GAP and self._in_one_sector(last, each):
                found[-1] = Range(last.address, each.end - last.address)
            else:
                found.append(each)
        return tuple(found)

    def _in_one_sector(self, first: Range, second: Range) -> bool:
        index = bisect_right(self.erase, (first.address, 1 << 32)) - 1
        return index >= 0 and second.end <= self.erase[index].address + self.erase[index].size

    @property
    def is_nothing(self) -> bool:
        """Tell whether all is there already."""
        return not self.erase and not self.places


def units_of(job: StorageJob, largest: int) -> tuple[Unit, ...]:
    """List what a job may write or leave, in pieces of at most largest bytes."""
    page = job.loader.storage.page_size
    wanted = job.content.ranges
    if job.erase is EraseMode.NONE:
        return tuple(Unit(piece, (piece,), ()) for piece in slices(wanted, largest, page))
    units: list[Unit] = []
    index = 0
    for whole in job.sectors:
        while index < len(wanted) and wanted[index].end <= whole.address:
            index += 1
        if index < len(wanted) and wanted[index].address <= whole.address and wanted[index].end >= whole.end:
            inside: Iterable[Range] = (whole,)
            beside: Iterable[Range] = ()
        else:
            inside = _inside(wanted, index, whole)
            beside = without((whole,), inside)
        if whole.size > largest:
            inside, beside = slices(inside, largest, page), slices(beside, largest, page)
        units.append(Unit(whole, tuple(inside), tuple(beside)))
    return tuple(units)


def _inside(places: Sequence[Range], index: int, whole: Range) -> list[Range]:
    """Give what of places, from index on, lies in whole."""
    found: list[Range] = []
    while index < len(places) and places[index].address < whole.end:
        start = max(places[index].address, whole.address)
        found.append(Range(start, min(places[index].end, whole.end) - start))
        index += 1
    return found


def everything(job: StorageJob) -> Delta:
    """Leave nothing out."""
    return Delta(job.sectors, job.keep, (), job.content.ranges, (), job.sectors)


def remaining(job: StorageJob, units: Sequence[Unit], states: Mapping[Range, State]) -> Delta:
    """Leave out what is there, and the erasing of what is blank."""
    if job.erase is EraseMode.CHIP:
        return _remaining_of_chip(job, units, states)
    different: list[Unit] = []
    there: list[Range] = []
    for unit in units:
        if all(states[piece].same for piece in unit.wanted):
            there += unit.wanted
        else:
            different.append(unit)
    same = joined(there)
    wanted = joined(piece for unit in different for piece in unit.wanted)
    if job.erase is EraseMode.NONE:
        over = joined(piece for unit in different for piece in unit.wanted if not states[piece].blank)
        return Delta((), (), (), wanted, same, (), over)
    erased = [unit for unit in different if not all(states[each].blank for each in unit.pieces)]
    beside = [piece for unit in erased for piece in unit.beside] if job.keep else []
    return Delta(
        erase=tuple(unit.where for unit in erased),
        keep=joined(piece for piece in beside if not states[piece].blank),
        blank=joined(piece for piece in beside if states[piece].blank),
        places=wanted,
        skipped=same,
        touched=tuple(unit.where for unit in different),
    )


def _remaining_of_chip(job: StorageJob, units: Sequence[Unit], states: Mapping[Range, State]) -> Delta:
    """Erase all or nothing: nothing where all is as it is to be, rest blank included, or where all is blank."""
    everywhere = tuple(unit.where for unit in units)
    if all(states[each].same for unit in units for each in unit.wanted) and all(
        states[each].blank for unit in units for each in unit.beside
    ):
        return Delta((), (), (), (), job.content.ranges, ())
    blank = all(states[each].blank for unit in units for each in unit.pieces)
    return Delta(() if blank else job.sectors, (), (), job.content.ranges, (), everywhere)


def not_erased(content: Content, places: Sequence[Range], erased_value: int, page: int) -> tuple[Range, ...]:
    """Give the parts of places where content differs from an erased chip, in whole blocks."""
    page = page if 0 < page <= LARGEST_BLOCK else 1
    block = -(-BLANK_BLOCK // page) * page
    erased = bytes([erased_value]) * block
    return joined(piece for piece in slices(places, block, page) if content.read(piece) != erased[: piece.size])
