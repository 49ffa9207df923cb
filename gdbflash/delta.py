"""Decide what of a write is left to do, from what is known of the memory.

What belongs here: pure functions from what was found (`survey`) to what is erased, kept and programmed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .plan import Content, EraseMode, StorageJob, transfer_steps
from .ranges import Range, joined, without
from .storage import Sector

BLANK_BLOCK = 4096
"""Erased stretches of an image are left out of programming in blocks of this size, or of a larger page: a gap splits a
call in two, and a call costs about what programming this many bytes takes (16 pages of W25Q128JV, 0.7 ms each)."""


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

    erase: tuple[Sector, ...]
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

    @property
    def is_nothing(self) -> bool:
        """Tell whether all is there already."""
        return not self.erase and not self.places


Cut = Callable[[Iterable[Range]], tuple[Range, ...]]
"""How places are cut into pieces that one digest each tells of."""


def units_of(job: StorageJob, cut: Cut) -> tuple[Unit, ...]:
    """List what a job may write or leave."""
    wanted = job.content.ranges
    if job.erase is EraseMode.NONE:
        return tuple(Unit(piece, (piece,), ()) for piece in cut(wanted))
    units: list[Unit] = []
    index = 0
    for sector in job.sectors:
        whole = Range(*sector)
        while index < len(wanted) and wanted[index].end <= whole.address:
            index += 1
        inside: list[Range] = []
        probe = index
        while probe < len(wanted) and wanted[probe].address < whole.end:
            start = max(wanted[probe].address, whole.address)
            inside.append(Range(start, min(wanted[probe].end, whole.end) - start))
            probe += 1
        beside = () if inside == [whole] else cut(without((whole,), inside))
        units.append(Unit(whole, cut(inside), beside))
    return tuple(units)


def everything(job: StorageJob) -> Delta:
    """Leave nothing out."""
    touched = tuple(Range(*sector) for sector in job.sectors)
    return Delta(job.sectors, job.keep, (), job.content.ranges, (), touched)


def remaining(job: StorageJob, units: Sequence[Unit], states: Mapping[Range, State]) -> Delta:
    """Leave out what is there, and the erasing of what is blank."""
    if job.erase is EraseMode.CHIP:
        return _remaining_of_chip(job, units, states)
    different = [unit for unit in units if not all(states[each].same for each in unit.wanted)]
    same = joined(piece for unit in units for piece in unit.wanted if all(states[each].same for each in unit.wanted))
    wanted = joined(piece for unit in different for piece in unit.wanted)
    if job.erase is EraseMode.NONE:
        return Delta((), (), (), wanted, same, ())
    erased = [unit for unit in different if not all(states[each].blank for each in unit.pieces)]
    beside = [piece for unit in erased for piece in unit.beside] if job.keep else []
    return Delta(
        erase=tuple(Sector(unit.where.address, unit.where.size) for unit in erased),
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
    block = -(-BLANK_BLOCK // max(1, page)) * max(1, page)
    erased = bytes([erased_value]) * block
    return joined(piece for piece in transfer_steps(places, block, page) if content.read(piece) != erased[: piece.size])
