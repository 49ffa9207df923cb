"""Storage geometry: sectors by address, and decoding StorageInfo."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbflash.errors import PlanError
from gdbflash.loaders.storage import SectorGroup, StorageInfo, StorageType, decode_storage_info
from gdbflash.ranges import Range
from tests.support.stldr import storage_info


def storage(*groups: tuple[int, int], address: int = 0x90000000, size: int = 0, kind: int = 7) -> StorageInfo:
    sectors = tuple(SectorGroup(count, each) for count, each in groups)
    return StorageInfo("TEST", StorageType(kind), address, size, 256, 0xFF, sectors)


MIXED = storage((32, 4096), (1, 131072), (511, 262144))
"""The S25HL01GT's: 4 KiB parameter sectors, then one shortened sector, then full ones."""


class TestGeometry:
    def test_extent_is_the_sum(self) -> None:
        assert (MIXED.extent, MIXED.end) == (128 << 20, 0x98000000)

    def test_extent_without_sectors_is_the_declared_size(self) -> None:
        assert storage(size=0x1000, kind=4).extent == 0x1000

    @pytest.mark.parametrize(
        ("address", "sector"),
        [
            (0x90000000, Range(0x90000000, 4096)),
            (0x90000FFF, Range(0x90000000, 4096)),
            (0x90001000, Range(0x90001000, 4096)),
            (0x9001FFFF, Range(0x9001F000, 4096)),
            (0x90020000, Range(0x90020000, 131072)),
            (0x9003FFFF, Range(0x90020000, 131072)),
            (0x90040000, Range(0x90040000, 262144)),
            (0x97FFFFFF, Range(0x97FC0000, 262144)),
        ],
    )
    def test_one_byte_lies_in_one_sector(self, address: int, sector: Range) -> None:
        assert MIXED.sectors_in(address, 1) == (sector,)

    @pytest.mark.parametrize("address", [0x8FFFFFFF, 0x98000000, 0])
    def test_no_sector_outside(self, address: int) -> None:
        with pytest.raises(PlanError, match="0x90000000-0x97FFFFFF") as caught:
            MIXED.sectors_in(address, 1)
        assert caught.value.data == {"address": address, "size": 1}

    def test_sectors_across_groups(self) -> None:
        assert MIXED.sectors_in(0x9001F800, 0x20801) == (
            Range(0x9001F000, 4096),
            Range(0x90020000, 131072),
            Range(0x90040000, 262144),
        )

    def test_sectors_in_exactly_one(self) -> None:
        assert MIXED.sectors_in(0x90001000, 4096) == (Range(0x90001000, 4096),)

    def test_no_bytes_touch_no_sector(self) -> None:
        assert MIXED.sectors_in(0x90001000, 0) == ()

    def test_all_sectors_of_a_large_storage(self) -> None:
        large = storage((65536, 4096))
        sectors = large.sectors_in(large.address, large.extent)
        assert (len(sectors), sectors[0], sectors[-1]) == (
            65536,
            Range(0x90000000, 4096),
            Range(0x9FFFF000, 4096),
        )

    @pytest.mark.parametrize(("address", "size"), [(0x97FFFFFF, 2), (0x8FFFFFFF, 2)])
    def test_sectors_outside(self, address: int, size: int) -> None:
        with pytest.raises(PlanError, match="not in TEST"):
            MIXED.sectors_in(address, size)

    def test_storage_without_sectors_has_none_to_give(self) -> None:
        bare = storage(size=0x1000)
        with pytest.raises(PlanError, match="describes no sectors"):
            bare.sectors_in(0x90000000, 1)
        assert bare.all_sectors == (Range(0x90000000, 0x1000),)

    def test_contains(self) -> None:
        assert MIXED.contains(0x90000000, 128 << 20)
        assert not MIXED.contains(0x90000000, (128 << 20) + 1)
        assert not MIXED.contains(0x8FFFFFFF, 1)
        assert MIXED.contains(0x98000000, 0)
        assert not MIXED.contains(0x90000001, -1)

    @settings(deadline=None)
    @given(
        st.lists(st.tuples(st.integers(1, 9), st.integers(1, 40)), min_size=1, max_size=12).flatmap(
            lambda groups: st.tuples(st.just(groups), st.integers(0, sum(c * s for c, s in groups) - 1))
        ),
        st.data(),
    )
    def test_agrees_with_counting_one_by_one(
        self, case: tuple[list[tuple[int, int]], int], data: st.DataObject
    ) -> None:
        groups, offset = case
        info = storage(*groups, address=1000)
        every: list[Range] = []
        for count, size in groups:
            for _ in range(count):
                every.append(Range(every[-1].address + every[-1].size if every else 1000, size))
        size = data.draw(st.integers(1, info.end - 1000 - offset))
        first, last = 1000 + offset, 1000 + offset + size - 1
        touched = tuple(each for each in every if each.address <= last and first < each.address + each.size)
        assert info.sectors_in(first, size) == touched


class TestDecode:
    def test_all_fields(self) -> None:
        info = decode_storage_info(storage_info("NAND X", 2, 0x70000000, 1 << 20, 2048, 0x5A, ((8, 131072),)))
        assert info == StorageInfo(
            "NAND X", StorageType.NAND_FLASH, 0x70000000, 1 << 20, 2048, 0x5A, (SectorGroup(8, 131072),)
        )

    @pytest.mark.parametrize(
        ("number", "name", "is_ram"),
        [
            (1, "MCU_FLASH", False),
            (2, "NAND_FLASH", False),
            (3, "NOR_FLASH", False),
            (4, "SRAM", True),
            (5, "PSRAM", True),
            (6, "PC_CARD", False),
            (7, "SPI_FLASH", False),
            (8, "I2C_FLASH", False),
            (9, "SDRAM", True),
            (10, "I2C_EEPROM", False),
            (0, "UNKNOWN_0", False),
            (11, "UNKNOWN_11", False),
            (65535, "UNKNOWN_65535", False),
        ],
    )
    def test_types(self, number: int, name: str, is_ram: bool) -> None:
        info = decode_storage_info(storage_info(kind=number))
        assert (info.type, info.type_name, info.is_ram) == (number, name, is_ram)

    def test_full_name_without_terminator(self) -> None:
        assert decode_storage_info(storage_info("N" * 100)).name == "N" * 100

    def test_name_cannot_steer_a_terminal(self) -> None:
        raw = b"A\x1b[31m\xffB\n".ljust(100, b"\0") + storage_info()[100:]
        assert decode_storage_info(raw).name == r"A\x1b[31m\xffB\n"

    def test_list_of_sectors_ends_with_a_zero_count(self) -> None:
        info = decode_storage_info(storage_info(sectors=((4, 4096), (0, 4096), (9, 4096))))
        assert info.sectors == (SectorGroup(4, 4096),)

    @pytest.mark.parametrize(
        ("data", "why"),
        [
            (storage_info(length=119), "only 119 bytes of 200"),
            (storage_info(size=0, sectors=()), "no bytes"),
            (storage_info(sectors=((16, 0),)), "16 sectors of no bytes"),
            (storage_info(sectors=((0x7001, 65536),)), "past the end of the address space"),
            (storage_info(sectors=((0xFFFFFFFF, 0xFFFFFFFF),)), "past the end of the address space"),
            (storage_info(sectors=((0x1000000, 1),)), "16777216 sectors, more than any chip"),
            (storage_info(size=0x70000001, sectors=()), "past the end"),
        ],
    )
    def test_impossible(self, data: bytes, why: str) -> None:
        with pytest.raises(ValueError, match=why):
            decode_storage_info(data)
