"""Which sectors tell whether an erase takes more than its loader says, and what follows where it does.

What belongs here: pure functions from a storage and what is erased to neighbours, a measured unit, a wider storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from gdbflash.loaders.storage import SectorGroup, StorageInfo
from gdbflash.ranges import Range, joined, without

BORDERS = (64 * 1024, 256 * 1024)
"""Erase units of serial NOR chips that a loader may mistake for smaller ones, and those of two chips side by side."""


def neighbours(storage: StorageInfo, call: Range, erased: Sequence[Range]) -> tuple[Range, ...]:
    """List the sectors round a call that the run does not erase: to the next borders, at least one on each side."""
    offset = call.address - storage.address
    start = min(offset // border * border for border in BORDERS)
    end = max(-(-(offset + call.size) // border) * border for border in BORDERS)
    low = storage.address + min(start, max(0, offset - 1))
    high = storage.address + min(storage.extent, max(end, offset + call.size + 1))
    outside = without((Range(low, high - low),), erased)
    return tuple(sector for each in outside for sector in storage.sectors_in(each.address, each.size))


def next_one_proves(storage: StorageInfo, call: Range, following: Range | None) -> bool:
    """Say whether the sector that is erased next would be gone too, whatever larger unit were erased."""
    if following is None or following.address != call.end:
        return False
    return (call.address - storage.address) % (2 * call.size) == 0


def measured(storage: StorageInfo, call: Range, lost: Iterable[Range]) -> int:
    """Give the bytes of the smallest aligned unit that holds what was erased and what went with it."""
    whole = joined((call, *lost))
    low, high = whole[0].address - storage.address, whole[-1].end - storage.address
    unit = call.size
    while low // unit != (high - 1) // unit:
        unit *= 2
    return unit


def widened(storage: StorageInfo, unit: int) -> StorageInfo:
    """Give a storage whose sectors are as large as what is really erased; itself where they are, or do not fit."""
    groups: list[SectorGroup] = []
    for group in storage.sectors:
        if group.size < unit and group.count * group.size % unit == 0 and unit % group.size == 0:
            groups.append(SectorGroup(group.count * group.size // unit, unit))
        else:
            groups.append(group)
    return storage if tuple(groups) == storage.sectors else replace(storage, sectors=tuple(groups))
