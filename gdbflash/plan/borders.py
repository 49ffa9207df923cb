"""Where calls of a loader may begin and end.

What belongs here: pure functions from a storage to the borders of Read and Write, and what fills up to them.

A controller may drop the lowest bit of an address (STM32 QUADSPI in dual-flash mode: RM0433, QUADSPI_AR), and a Write
may lose what does not begin on a page; both say 1. Whole units are right with every loader that is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gdbflash.images.content import Content
from gdbflash.loaders.storage import StorageInfo, StorageType
from gdbflash.ranges import Range, joined, without

READ_BORDER = 16
"""Bytes: an even one for two chips side by side, and a whole word of every flash that has words."""
LEAST_PAGE = 256
"""Of NOR flash, whatever less its loader declares: the page of all serial chips, and a multiple of it of the rest."""
MOST_UNIT = 4096
"""A larger page is none that a loader needs whole: those that declare one program smaller places too."""
_NOR = frozenset({StorageType.NOR_FLASH, StorageType.SPI_FLASH, StorageType.I2C_FLASH})
FILLED = _NOR | {StorageType.NAND_FLASH, StorageType.I2C_EEPROM}
"""Types whose Write is given whole units. Internal flash, RAM and unknown types get the bytes that were asked for."""


def read_border(storage: StorageInfo) -> int:
    """Give what the places of Read are multiples of, bytes; less where the storage itself begins or ends off it."""
    border = READ_BORDER
    while storage.address % border or storage.extent % border:
        border //= 2
    return border


def write_unit(storage: StorageInfo, buffer: int) -> int:
    """Give what the places of Write are multiples of, bytes; 1 where Write is given what was asked for.

    buffer: the most that one call can move.
    """
    if storage.type not in FILLED:
        return 1
    page = max(storage.page_size, LEAST_PAGE) if storage.type in _NOR else storage.page_size
    smallest = min((group.size for group in storage.sectors), default=storage.extent)
    most = min(buffer, smallest, MOST_UNIT)
    if page & (page - 1) or not 0 < page <= most:
        page = 1 << most.bit_length() - 1
    while storage.address % page:
        page //= 2
    return page


def call_border(storage: StorageInfo, buffer: int) -> int:
    """Give where calls of Write end but for the last of a place, bytes.

    A Write that erases by itself what it touches takes 4 KiB and more of what an earlier call has written there.
    """
    if storage.type not in FILLED:
        return storage.page_size
    smallest = min((group.size for group in storage.sectors), default=storage.extent)
    return max(write_unit(storage, buffer), 1 << min(buffer, smallest, MOST_UNIT).bit_length() - 1)


def to_fill(places: Iterable[Range], within: Sequence[Range], unit: int) -> tuple[Range, ...]:
    """Give what lies beside places in their units, inside of within, which is sorted and joined."""
    if unit == 1:
        return ()
    places = joined(places)
    whole = units_of(places, unit)
    return without(without(whole, without(whole, within)), places)


def units_of(places: Iterable[Range], unit: int) -> tuple[Range, ...]:
    """Give the whole units that places touch, joined."""
    starts = ((each.address // unit * unit, -(-each.end // unit) * unit) for each in places if each.size)
    return joined(Range(start, end - start) for start, end in starts)


def blank(places: Iterable[Range], erased_value: int) -> Content:
    """Give places as an erase leaves them."""
    return Content.of((each.address, bytes([erased_value]) * each.size) for each in places)
