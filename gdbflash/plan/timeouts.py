"""How long calls of a loader may take: base time-outs in seconds, which --timeout-scale multiplies.

What belongs here: the one table of them, as pure functions. Time-outs of gdb and of servers are theirs.
"""

from __future__ import annotations

from collections.abc import Sequence

from gdbflash.loaders.storage import StorageInfo

INIT = 10.0
"""Init and DeInit."""
_CALL = 5.0
"""What any other call takes at most before it moves a byte."""
_PAGE = 0.01
_SECTOR = 5.0
_LONGEST = 400.0
"""Twice what the slowest serial NOR chips take for all of their 16 MiB (W25Q128JV data sheet, tCE: 200 s at most)."""
_BYTES_PER_SECOND = 65536


def writing(size: int, page_size: int) -> float:
    """Of a call that programs size bytes."""
    return _CALL + _PAGE * -(-size // max(1, page_size))


def reading(size: int) -> float:
    """Of a call that reads, compares or sums up size bytes."""
    return _CALL + size / _BYTES_PER_SECOND


def erasing(sectors: int) -> float:
    """Of a call that erases so many sectors."""
    return _SECTOR * sectors


def erasing_all(storage: StorageInfo) -> float:
    """Of MassErase, and of what nothing is known about."""
    return max(_LONGEST, erasing(storage.sector_count))


def of_function(storage: StorageInfo, function: str, arguments: Sequence[int]) -> float:
    """Of a call as somebody typed it.

    A function that is no part of the ABI, or arguments that name no sectors, get as long as MassErase.
    """
    first, second, third, _ = (*arguments, 0, 0, 0, 0)[:4]
    if function == "SectorErase" and storage.contains(first, 1) and first <= second < storage.end and storage.sectors:
        return erasing(len(storage.sectors_in(first, second - first + 1)))
    known = {
        "Init": INIT,
        "DeInit": INIT,
        "Write": writing(second, storage.page_size),
        "Read": reading(second),
        "CheckSum": reading(second),
        "Verify": reading(4 * third),  # words
    }
    return known.get(function, erasing_all(storage))
