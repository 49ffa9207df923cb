"""The storage behind a loader: its place, its sectors, and how `StorageInfo` describes them.

What belongs here: pure values. Source: the struct StorageInfo of ST's external loader template (Dev_Inf.h),
200 bytes in natural alignment, little-endian.
"""

from __future__ import annotations

import enum
import struct
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from gdbflash.errors import PlanError, printable
from gdbflash.ranges import Range

STRUCT_SIZE = 200
LEAST_SIZE = 120
"""Everything before the sector table; files with a shorter table than ten groups exist."""
MOST_SECTORS = 1 << 20
"""Four times the sectors of the largest real storage (1 GiB in 4 KiB sectors): beyond it the table is damaged."""

_FIELDS = struct.Struct("<100sHxxIIIBxxx")
_GROUP = struct.Struct("<II")
_ADDRESS_SPACE = 1 << 32


class StorageType(enum.IntEnum):
    """DeviceType of ST's Dev_Inf.h."""

    MCU_FLASH = 1
    NAND_FLASH = 2
    NOR_FLASH = 3
    SRAM = 4
    PSRAM = 5
    PC_CARD = 6
    SPI_FLASH = 7
    I2C_FLASH = 8
    SDRAM = 9
    I2C_EEPROM = 10


_RAM_TYPES = frozenset({StorageType.SRAM, StorageType.PSRAM, StorageType.SDRAM})


@dataclass(frozen=True)
class SectorGroup:
    """count neighbouring sectors of size bytes each."""

    count: int
    size: int


@dataclass(frozen=True)
class StorageInfo:
    """What a loader says of the storage it serves; sizes in bytes."""

    name: str
    type: int
    """A StorageType where the number is a known one."""
    address: int
    """Where the storage is seen by the loader's functions, and when mapped."""
    size: int
    """As declared. Real files exist that declare 4,000,000 for 64 MiB of sectors: use `extent`."""
    page_size: int
    """Programming page: for alignment, not a transfer size."""
    erased_value: int
    sectors: tuple[SectorGroup, ...]

    @property
    def type_name(self) -> str:
        """ST's word for the type, or UNKNOWN with the number."""
        return self.type.name if isinstance(self.type, StorageType) else f"UNKNOWN_{self.type}"

    @property
    def is_ram(self) -> bool:
        """Tell whether it is written without an erase before."""
        return self.type in _RAM_TYPES

    @property
    def write_erases(self) -> bool:
        """Tell whether its cells are written over as they are, as those of an EEPROM."""
        return self.type == StorageType.I2C_EEPROM

    @cached_property
    def extent(self) -> int:
        """Sum of the sectors, or the declared size where no sectors are described, and of RAM."""
        if self.is_ram and self.size:
            return self.size
        return self.sum_of_sectors or self.size

    @property
    def sum_of_sectors(self) -> int:
        """What the sectors make together."""
        return sum(group.count * group.size for group in self.sectors)

    @property
    def sector_count(self) -> int:
        """How many sectors are described."""
        return sum(group.count for group in self.sectors)

    @property
    def all_sectors(self) -> tuple[Range, ...]:
        """List what an erase covers; a storage without sectors, which can be erased as a whole alone, counts as one."""
        return self.sectors_in(self.address, self.extent) if self.sectors else (self.span,)

    @property
    def span(self) -> Range:
        """Where it lies."""
        return Range(self.address, self.extent)

    @property
    def end(self) -> int:
        """The first address behind the storage."""
        return self.address + self.extent

    def contains(self, address: int, size: int) -> bool:
        """Tell whether size bytes at address lie wholly in the storage."""
        return self.address <= address and size >= 0 and address + size <= self.end

    def sectors_in(self, address: int, size: int) -> tuple[Range, ...]:
        """List the sectors touched by size bytes at address; raises PlanError where any byte has none."""
        if not size:
            return ()
        self._need_sectors(address, size)
        found: list[Range] = []
        end = address + size
        for index in range(bisect_right(self._group_starts, address) - 1, len(self.sectors)):
            start, count, step = self._group_starts[index], self.sectors[index].count, self.sectors[index].size
            if start >= end:
                break
            first = max(0, address - start) // step
            last = min(count, -(-(end - start) // step))
            found.extend(Range(start + number * step, step) for number in range(first, last))
        return tuple(found)

    @cached_property
    def _group_starts(self) -> tuple[int, ...]:
        sizes = (group.count * group.size for group in self.sectors[:-1])
        return tuple(accumulate(sizes, initial=self.address))

    def _need_sectors(self, address: int, size: int) -> None:
        if not self.sectors:
            raise PlanError(
                f"The loader of {self.name} describes no sectors, so none can be found at 0x{address:08X}. "
                "It can be erased as a whole alone, or written with --erase none; or use a loader with a sector table.",
                address=address,
                size=size,
            )
        if not self.contains(address, size):
            raise PlanError(
                f"{size} bytes at 0x{address:08X} are not in {self.name}, which is "
                f"0x{self.address:08X}-0x{self.end - 1:08X}. Choose addresses inside it.",
                address=address,
                size=size,
            )


def decode_storage_info(data: bytes) -> StorageInfo:
    """Decode the struct StorageInfo; data may end early or go on behind it.

    Raises ValueError, saying what is wrong, when data is shorter than LEAST_SIZE or describes an impossible storage.
    """
    if len(data) < LEAST_SIZE:
        raise ValueError(f"has only {len(data)} bytes of {STRUCT_SIZE}")
    name, number, address, size, page_size, erased_value = _FIELDS.unpack_from(data)
    sectors = _decode_sectors(data[LEAST_SIZE:STRUCT_SIZE])
    kind = StorageType(number) if number in StorageType._value2member_map_ else number
    info = StorageInfo(_printable(name), kind, address, size, page_size, erased_value, sectors)
    if not info.extent:
        raise ValueError("describes a storage of no bytes")
    if info.end > _ADDRESS_SPACE:
        raise ValueError(f"describes {info.extent} bytes at 0x{address:08X}, past the end of the address space")
    if sum(group.count for group in sectors) > MOST_SECTORS:
        raise ValueError(f"describes {sum(group.count for group in sectors)} sectors, more than any chip has")
    return info


def _decode_sectors(data: bytes) -> tuple[SectorGroup, ...]:
    groups: list[SectorGroup] = []
    for offset in range(0, len(data) - _GROUP.size + 1, _GROUP.size):
        group = SectorGroup(*_GROUP.unpack_from(data, offset))
        if not group.count:
            break
        if not group.size:
            raise ValueError(f"has a group of {group.count} sectors of no bytes")
        groups.append(group)
    return tuple(groups)


def _printable(name: bytes) -> str:
    """Decode a NUL-padded name; what a terminal could take for a command is escaped."""
    return printable(name.split(b"\0", 1)[0].decode("utf-8", errors="backslashreplace"))
