"""The W25Q128JV on the virtual board: identification, busy, programming, erasing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gdbflash.board.chips.facts import DATA_SHEET, W25Q128JV
from gdbflash.board.chips.nor_core import page_latch
from tests.support.nor_host import MIB, SMALL, Host, make


@pytest.fixture
def host() -> Host:
    return make()


@pytest.fixture
def quad() -> Host:
    return make(quad_enable=True)


# --- identification -----------------------------------------------------------------------------------------


def test_jedec_id_repeats_while_clocked(host: Host) -> None:
    assert host.do(0x9F, read=4) == bytes.fromhex("ef4018ef")


def test_manufacturer_id_starts_with_either_byte(host: Host) -> None:
    assert host.do(0x90, 0, read=3) == bytes.fromhex("ef17ef")
    assert host.do(0x90, 1, read=3) == bytes.fromhex("17ef17")


def test_manufacturer_id_on_two_and_four_lines(quad: Host) -> None:
    assert quad.do(0x92, 0, mode=0xFF, read=2, lines=(1, 2, 2)) == bytes.fromhex("ef17")
    assert quad.do(0x94, 1, mode=0xFF, dummy=4, read=2, lines=(1, 4, 4)) == bytes.fromhex("17ef")


def test_device_id_by_release_power_down(host: Host) -> None:
    assert host.do(0xAB, 0, read=2) == bytes.fromhex("1717")


def test_unique_id_after_four_dummy_bytes(host: Host) -> None:
    assert host.do(0x4B, data=bytes(4), read=8) == W25Q128JV.unique_id
    assert host.do(0x4B, dummy=32, read=8) == W25Q128JV.unique_id


def test_sfdp_header_and_basic_flash_parameters(host: Host) -> None:
    area = host.do(0x5A, 0, dummy=8, read=256)
    assert area[:16] == bytes.fromhex("53464450050100ff00050110800000ff")
    assert area[16:0x80] == b"\xff" * 112
    assert area[0x80:0x90] == bytes.fromhex("e520f9ffffffff0744eb086b083b42bb")
    assert area[0x9C:0xA6] == bytes.fromhex("0c200f5210d800003602")
    # Density in bits less one, 16 dwords, page size 2^8.
    assert int.from_bytes(area[0x84:0x88], "little") == 16 * MIB * 8 - 1
    assert area[0x80 + 10 * 4] >> 4 == 8
    assert area[0xC0:] == b"\xff" * 64
    assert host.do(0x5A, 0x80, dummy=8, read=4) == bytes.fromhex("e520f9ff")


# --- write enable and busy ----------------------------------------------------------------------------------


def test_write_enable_and_disable(host: Host) -> None:
    assert host.status() == 0x00
    host.do(0x06)
    assert host.status() == 0x02
    host.do(0x04)
    assert host.status() == 0x00


@pytest.mark.parametrize(
    ("opcode", "address", "data"),
    [
        (0x02, 0x1000, b"\x00"),
        (0x20, 0x1000, b""),
        (0x52, 0x1000, b""),
        (0xD8, 0x1000, b""),
        (0xC7, None, b""),
        (0x60, None, b""),
        (0x01, None, b"\x04"),
        (0x31, None, b"\x02"),
        (0x11, None, b"\x04"),
        (0x42, 0x1000, b"\x00"),
        (0x44, 0x1000, b""),
    ],
)
def test_operations_need_wel_show_busy_and_clear_wel(host: Host, opcode: int, address: int | None, data: bytes) -> None:
    host.do(opcode, address, data)
    assert host.status() == 0x00
    host.enable()
    host.do(opcode, address, data)
    assert host.status() == 0x03
    host.time.time += 1.0
    assert host.status() & 0x03 == 0x00


def test_first_status_read_says_busy_however_late_in_fast_timing(host: Host) -> None:
    host.enable()
    host.do(0x20, 0)
    host.time.time += 100.0
    assert [host.status() for _ in range(3)] == [0x03, 0x00, 0x00]


def test_status_bytes_of_one_read_follow_the_operation(host: Host) -> None:
    host.enable()
    host.do(0x20, 0)
    host.time.time += 1.0
    assert host.do(0x05, read=3) == bytes.fromhex("030000")


@pytest.mark.parametrize(
    ("opcode", "address", "data", "seconds"),
    [
        (0x02, 0, b"\x00", 0.4e-3),
        (0x20, 0, b"", 45e-3),
        (0x52, 0, b"", 120e-3),
        (0xD8, 0, b"", 150e-3),
        (0xC7, None, b"", 40.0),
        (0x01, None, b"\x00", 10e-3),
    ],
)
def test_data_sheet_times(opcode: int, address: int | None, data: bytes, seconds: float) -> None:
    host = make(DATA_SHEET)
    host.enable()
    host.do(opcode, address, data)
    host.time.time = seconds * 0.99
    assert host.status() == 0x03
    host.time.time = seconds * 1.01
    assert host.status() == 0x00


def test_scale_stretches_all_times() -> None:
    host = make(replace(DATA_SHEET, scale=0.1))
    host.enable()
    host.do(0x20, 0)
    host.time.time = 4.4e-3
    assert host.status() == 0x03
    host.time.time = 4.6e-3
    assert host.status() == 0x00


def test_nothing_but_status_is_answered_while_busy_and_content_is_not_early() -> None:
    host = make(DATA_SHEET)
    host.flash.memory[0x1000:0x1004] = bytes.fromhex("11223344")
    host.enable()
    host.do(0x20, 0x1000)
    assert host.do(0x9F, read=3) == b"\xff\xff\xff"
    assert host.do(0x03, 0x1000, read=4) == b"\xff\xff\xff\xff"
    assert host.flash.memory[0x1000:0x1004] == bytes.fromhex("11223344")
    host.do(0x04)
    assert host.status() == 0x03
    host.do(0x20, 0x2000)
    host.time.time = 45.1e-3
    assert host.do(0x03, 0x1000, read=4) == b"\xff\xff\xff\xff"
    assert bytes(host.flash.memory[0x1000:0x1004]) == b"\xff\xff\xff\xff"
    assert host.status() == 0x00
    assert host.flash.counters.erases == {4096: 1}


# --- program ------------------------------------------------------------------------------------------------


def test_program_only_clears_bits(host: Host) -> None:
    host.write(0x02, 0x10, b"\x0f\xf0")
    host.write(0x02, 0x10, b"\x35\xff")
    assert host.do(0x03, 0x0F, read=4) == bytes.fromhex("ff05f0ff")


def test_program_wraps_in_its_page(host: Host) -> None:
    host.write(0x02, 0x12F0, bytes(range(1, 0x21)))
    assert host.flash.memory[0x12F0:0x1300] == bytes(range(1, 0x11))
    assert host.flash.memory[0x1200:0x1210] == bytes(range(0x11, 0x21))
    assert host.flash.memory[0x1300:0x1310] == b"\xff" * 16


def test_of_more_than_a_page_the_last_256_bytes_win(host: Host) -> None:
    host.write(0x02, 0x1080, b"\x00" * 44 + bytes(range(256)))
    # 300 bytes from 0x80 on: the last one goes to (0x80 + 299) % 256.
    assert host.flash.memory[0x10AB] == 0xFF
    assert host.flash.memory[0x10AC] == 0x00
    assert host.flash.memory[0x10AD] == 0x01
    assert host.flash.memory[0x10FF] == 0x53
    assert host.flash.memory[0x1000] == 0x54


def test_page_latch_of_a_whole_page() -> None:
    assert page_latch(0, bytes(range(256)), 256) == bytes(range(256))
    assert page_latch(255, b"\x01\x02", 256) == b"\x02" + b"\xff" * 254 + b"\x01"


def test_program_without_data_or_address_is_not_executed(host: Host) -> None:
    host.enable()
    host.do(0x02, 0x1000)
    assert host.status() == 0x02
    host.do(0x02, 0x10, address_size=2)
    assert host.status() == 0x02


def test_program_ignored_off_a_byte_boundary(host: Host) -> None:
    host.enable()
    host.wires.select()
    host.wires.send(bytes.fromhex("02001000aa"), 1)
    host.wires.dummy(1, 1)
    host.wires.deselect()
    assert host.status() == 0x02
    assert host.flash.memory[0x1000] == 0xFF


def test_quad_program(quad: Host) -> None:
    quad.write(0x32, 0x4000, bytes(range(256)), lines=(1, 1, 4))
    assert quad.do(0x03, 0x4000, read=256) == bytes(range(256))


def test_counters(host: Host) -> None:
    host.write(0x02, 0, bytes(10))
    host.write(0x02, 0x100, bytes(256))
    host.write(0x20, 0)
    host.write(0xD8, 0)
    host.write(0x31, data=b"\x02")
    counters = host.flash.counters
    assert (counters.pages_programmed, counters.bytes_programmed) == (2, 266)
    assert counters.erases == {4096: 1, 65536: 1}
    assert (counters.sectors_erased, counters.bytes_erased, counters.status_writes) == (1, 69632, 1)


# --- erase --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opcode", "start", "end"), [(0x20, 0x2D000, 0x2E000), (0x52, 0x28000, 0x30000), (0xD8, 0x20000, 0x30000)]
)
def test_erase_units_hold_the_address(opcode: int, start: int, end: int) -> None:
    host = make(chip=SMALL)
    host.flash.memory[:] = bytes(SMALL.size)
    host.write(opcode, 0x2DEAF)
    expected = bytearray(SMALL.size)
    expected[start:end] = b"\xff" * (end - start)
    assert host.flash.memory == expected


@pytest.mark.parametrize("opcode", [0xC7, 0x60])
def test_chip_erase(opcode: int) -> None:
    host = make(chip=SMALL)
    host.flash.memory[:] = bytes(SMALL.size)
    host.write(opcode)
    assert host.flash.memory == b"\xff" * SMALL.size
    assert host.flash.counters.erases == {SMALL.size: 1}


def test_erase_with_a_byte_too_many_or_too_few_is_not_executed(host: Host) -> None:
    host.flash.memory[0] = 0
    host.enable()
    host.do(0x20, 0, address_size=4)
    host.do(0x20, 0, address_size=2)
    host.do(0xC7, 0)
    assert host.status() == 0x02
    assert host.flash.memory[0] == 0
