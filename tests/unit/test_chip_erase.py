"""All of a chip in place of its sectors: only where nothing is lost by it, and only where that is quicker."""

from __future__ import annotations

import pytest

from gdbflash.plan import chip_erase
from gdbflash.ranges import Range

MIB = 1 << 20
ALL = 16 * MIB


def test_what_stays_forbids_it_and_so_does_a_loader_that_cannot() -> None:
    functions = ("Init", "Write", "SectorErase", "MassErase")
    assert chip_erase.is_allowed(functions, ())
    assert not chip_erase.is_allowed(functions, (Range(0x90000000, 1),))
    assert not chip_erase.is_allowed(functions[:3], ())


@pytest.mark.parametrize(
    ("sector", "seconds", "quicker"),
    [(4096, 45e-3, True), (65536, 150e-3, False), (65536, 2.0, True), (4096, 10e-3, False)],
    ids=["4 KiB", "64 KiB", "64 KiB at the slowest", "4 KiB, a quicker chip"],
)
def test_what_a_w25q128_would_take(sector: int, seconds: float, quicker: bool) -> None:
    assert chip_erase.is_quicker(ALL, ALL - sector, seconds / sector) is quicker


def test_a_small_part_of_the_chip_is_never_slower_by_sectors() -> None:
    assert not chip_erase.is_quicker(ALL, 4 * MIB, 45e-3 / 4096)
