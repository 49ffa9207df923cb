"""Where calls begin and end, and what fills up to there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbflash.loaders.storage import SectorGroup, StorageInfo, StorageType
from gdbflash.plan.borders import call_border, read_border, to_fill, units_of, write_unit
from gdbflash.ranges import Range, joined, without

KIB = 1024


def storage(kind: int = StorageType.SPI_FLASH, page: int = 256, sector: int = 64 * KIB) -> StorageInfo:
    return StorageInfo("X", kind, 0x90000000, 16 * sector, page, 0xFF, (SectorGroup(16, sector),))


@pytest.mark.parametrize(
    ("kind", "page", "sector", "buffer", "unit"),
    [
        (StorageType.NOR_FLASH, 256, 64 * KIB, 1 << 19, 256),
        (StorageType.NOR_FLASH, 16, 64 * KIB, 1 << 19, 256),
        (StorageType.NOR_FLASH, 512, 64 * KIB, 1 << 19, 512),
        (StorageType.NOR_FLASH, 0, 64 * KIB, 1 << 19, 256),
        (StorageType.NOR_FLASH, 2 << 20, 64 * KIB, 1 << 19, 4096),
        (StorageType.SPI_FLASH, 64 * KIB, 64 * KIB, 1 << 19, 4096),
        (StorageType.SPI_FLASH, 8192, 4096, 1 << 19, 4096),
        (StorageType.SPI_FLASH, 4096, 4096, 2000, 1024),
        (StorageType.SPI_FLASH, 300, 4096, 1 << 19, 4096),
        (StorageType.NAND_FLASH, 512, 16 * KIB, 1 << 19, 512),
        (StorageType.NAND_FLASH, 2048, 128 * KIB, 1 << 19, 2048),
        (StorageType.I2C_EEPROM, 64, 64, 1 << 19, 64),
        (StorageType.I2C_EEPROM, 1, 128, 1 << 19, 1),
        (StorageType.I2C_EEPROM, 0, 16, 1 << 19, 16),
        (StorageType.MCU_FLASH, 16, 128 * KIB, 1 << 19, 1),
        (StorageType.SRAM, 2 << 20, 2 << 20, 1 << 19, 1),
        (StorageType.PSRAM, 256, 4096, 1 << 19, 1),
        (StorageType.SDRAM, 256, 4096, 1 << 19, 1),
        (11, 256, 4096, 1 << 19, 1),
    ],
)
def test_the_unit_of_write(kind: int, page: int, sector: int, buffer: int, unit: int) -> None:
    assert write_unit(storage(kind, page, sector), buffer) == unit


def test_calls_end_where_a_write_that_erases_takes_nothing_of_the_one_before() -> None:
    assert call_border(storage(), 1 << 19) == 4096
    assert call_border(storage(sector=2048), 1 << 19) == 2048
    assert call_border(storage(), 1000) == 512
    assert call_border(storage(kind=StorageType.MCU_FLASH, page=32), 1 << 19) == 32


def test_read_borders_stay_in_the_storage() -> None:
    assert read_border(storage()) == 16
    assert read_border(StorageInfo("X", 7, 0x90000000, 4_000_004, 256, 0xFF, ())) == 4
    assert read_border(StorageInfo("X", 7, 0x90000000, 101, 256, 0xFF, ())) == 1


BASE = 0x90000000
PLACES = st.lists(
    st.builds(Range, st.integers(BASE, BASE + 15 * 4096), st.integers(1, 3000)),
    min_size=1,
    max_size=6,
)


@given(PLACES, st.sampled_from([1, 2, 64, 256, 1024, 4096]))
def test_filling_completes_units_and_takes_nothing_else(places: list[Range], unit: int) -> None:
    within = (Range(BASE, 65536),)
    fill = to_fill(places, within, unit)
    whole = joined((*places, *fill))
    assert all(each.address % unit == each.end % unit == 0 for each in whole)
    assert without(fill, places) == fill
    assert whole == (units_of(places, unit) if unit > 1 else joined(places))
    assert sum(each.size for each in fill) < 2 * unit * len(places)


def test_filling_stays_in_the_sectors_that_are_touched() -> None:
    assert to_fill([Range(BASE + 100, 10)], (Range(BASE + 64, 128),), 256) == (
        Range(BASE + 64, 36),
        Range(BASE + 110, 82),
    )
