"""The W25Q128JV on the virtual board: status registers and protection."""

from __future__ import annotations

import pytest

from gdbflash.board.chips.nor_core import protected_range
from tests.support.nor_host import MIB, Host, make


@pytest.fixture
def host() -> Host:
    return make()


@pytest.fixture
def quad() -> Host:
    return make(quad_enable=True)


# --- status registers ---------------------------------------------------------------------------------------


def test_status_registers_as_shipped() -> None:
    assert [make().status(register) for register in (1, 2, 3)] == [0x00, 0x00, 0x60]
    assert make(quad_enable=True).status(2) == 0x02


def test_write_status_register_1_leaves_the_second(quad: Host) -> None:
    quad.write(0x01, data=b"\x1c")
    assert [quad.status(register) for register in (1, 2)] == [0x1C, 0x02]


def test_write_status_registers_1_and_2_together(host: Host) -> None:
    host.write(0x01, data=b"\x04\x02")
    assert [host.status(register) for register in (1, 2)] == [0x04, 0x02]


def test_reserved_and_read_only_bits_stay(host: Host) -> None:
    host.write(0x01, data=b"\xff")
    assert host.status() == 0xFC
    host.write(0x11, data=b"\xff")
    assert host.status(3) == 0x64
    host.write(0x31, data=b"\x84")
    assert host.status(2) == 0x00


def test_three_bytes_are_no_status_write(host: Host) -> None:
    host.enable()
    host.do(0x01, data=b"\x04\x02\x00")
    assert host.status() == 0x02


def test_volatile_status_write_needs_no_wel_and_no_time_and_ends_with_reset(host: Host) -> None:
    host.do(0x50)
    host.do(0x31, data=b"\x02")
    assert [host.status(register) for register in (1, 2)] == [0x00, 0x02]
    host.do(0x31, data=b"\x00")
    assert host.status(2) == 0x02
    host.do(0x66)
    host.do(0x99)
    assert host.status(2) == 0x00
    assert host.flash.counters.status_writes == 0


def test_non_volatile_status_survives_reset(host: Host) -> None:
    host.write(0x31, data=b"\x02")
    host.do(0x66)
    host.do(0x99)
    assert host.status(2) == 0x02


def test_security_lock_bits_are_one_time_programmable(host: Host) -> None:
    host.write(0x31, data=b"\x08")
    host.write(0x31, data=b"\x02")
    assert host.status(2) == 0x0A


def test_srl_locks_the_status_registers(host: Host) -> None:
    host.write(0x31, data=b"\x01")
    host.enable()
    host.do(0x01, data=b"\x1c")
    assert host.status() == 0x02


# --- protection ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status1", "start", "end"),
    [
        (0x00, 0, 0),
        (0x04, 0xFC0000, 0x1000000),
        (0x08, 0xF80000, 0x1000000),
        (0x0C, 0xF00000, 0x1000000),
        (0x10, 0xE00000, 0x1000000),
        (0x14, 0xC00000, 0x1000000),
        (0x18, 0x800000, 0x1000000),
        (0x1C, 0x000000, 0x1000000),
        (0x24, 0x000000, 0x040000),
        (0x38, 0x000000, 0x800000),
        (0x44, 0xFFF000, 0x1000000),
        (0x48, 0xFFE000, 0x1000000),
        (0x4C, 0xFFC000, 0x1000000),
        (0x50, 0xFF8000, 0x1000000),
        (0x54, 0xFF8000, 0x1000000),
        (0x64, 0x000000, 0x001000),
        (0x70, 0x000000, 0x008000),
        (0x7C, 0x000000, 0x1000000),
    ],
)
def test_block_protection_table(status1: int, start: int, end: int) -> None:
    assert protected_range(16 * MIB, status1) == range(start, end)


def test_protected_sectors_are_neither_programmed_nor_erased(host: Host) -> None:
    host.write(0x01, data=b"\x04")  # upper 256 KiB
    for address in (0xFC0000, 0xFFFFFF):
        host.enable()
        host.do(0x02, address, b"\x00")
        assert host.status() == 0x06
        host.do(0x20, address)
        assert host.status() == 0x06
    host.do(0xC7)
    assert host.status() == 0x06
    host.write(0x02, 0xFBFFFF, b"\x00")
    assert host.flash.memory[0xFBFFFF] == 0
    assert host.flash.counters.pages_programmed == 1


def test_block_erase_that_touches_a_protected_sector_is_refused(host: Host) -> None:
    host.write(0x01, data=b"\x44")  # last 4 KiB
    host.enable()
    host.do(0xD8, 0xFF0000)
    assert host.status() & 1 == 0
    host.do(0x20, 0xFFE000)
    assert host.status() & 1 == 1


def test_complement_protects_the_other_side(host: Host) -> None:
    host.write(0x01, data=b"\x24\x40")  # lower 256 KiB open, the rest protected
    host.enable()
    host.do(0x20, 0x040000)
    assert host.status() & 1 == 0
    host.do(0x20, 0x03F000)
    assert host.status() & 1 == 1


def test_complement_of_nothing_is_everything_and_of_everything_nothing(host: Host) -> None:
    host.write(0x01, data=b"\x00\x40")
    host.enable()
    host.do(0x20, 0x800000)
    assert host.status() & 1 == 0
    host.write(0x01, data=b"\x1c\x40")
    host.write(0x20, 0x800000)
    assert host.flash.counters.sectors_erased == 1


def test_individual_locks(host: Host) -> None:
    host.write(0x11, data=b"\x64")  # WPS
    assert host.do(0x3D, 0x012345, read=1) == b"\x01"
    host.enable()
    host.do(0x20, 0x012345)
    assert host.status() & 1 == 0
    host.do(0x39, 0x01FFFF)
    assert host.do(0x3D, 0x010000, read=1) == b"\x00"
    assert host.do(0x3D, 0x020000, read=1) == b"\x01"
    host.write(0x20, 0x012345)
    host.enable()
    host.do(0x39, 0x000FFF)  # a sector of the first block
    assert [host.do(0x3D, address, read=1)[0] for address in (0x000000, 0x001000)] == [0, 1]
    host.do(0x36, 0x010000)
    assert host.do(0x3D, 0x012345, read=1) == b"\x01"
    host.do(0x98)
    assert [host.do(0x3D, address, read=1)[0] for address in (0x000000, 0x500000, 0xFFFFFF)] == [0, 0, 0]
    host.do(0x7E)
    assert [host.do(0x3D, address, read=1)[0] for address in (0x000000, 0x500000, 0xFFFFFF)] == [1, 1, 1]
    host.do(0x04)
    host.do(0x98)
    assert host.do(0x3D, 0, read=1) == b"\x01"
    assert host.flash.counters.sectors_erased == 1
