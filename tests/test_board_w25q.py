"""The W25Q128JV on the virtual board, command by command, through the wires."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gdbflash.board.chips import DATA_SHEET, FAST, W25Q128JV, Timing
from gdbflash.board.nor import StuckBits
from gdbflash.board.nor_core import page_latch, protected_range
from gdbflash.board.w25q import W25Q
from gdbflash.board.wires import Wires
from gdbflash.errors import InputError

MIB = 1024 * 1024
SMALL = replace(W25Q128JV, name="small", size=256 * 1024)
"""The same chip with four blocks, where a test fills or compares all of it."""


@dataclass
class ManualClock:
    time: float = 0.0

    def now(self) -> float:
        return self.time


class ByClock:
    """A flash that never takes or gives whole bytes, so that every clock is played."""

    def __init__(self, flash: W25Q) -> None:
        self.flash = flash
        self.memory = flash.memory
        self.plain_address = flash.plain_address
        self.select = flash.select
        self.deselect = flash.deselect
        self.clock = flash.clock

    def take(self, data: bytes, lines: int) -> int:
        assert data
        assert lines
        return 0

    def give(self, count: int, lines: int) -> bytes:
        assert count
        assert lines
        return b""


class Host:
    """Sends commands over the wires, phase by phase."""

    def __init__(self, flash: W25Q, clock: ManualClock, *, by_clock: bool = False) -> None:
        self.flash = flash
        self.time = clock
        self.wires = Wires(ByClock(flash) if by_clock else flash)

    def do(
        self,
        opcode: int | None,
        address: int | None = None,
        data: bytes = b"",
        *,
        read: int = 0,
        lines: tuple[int, int, int] = (1, 1, 1),
        mode: int | None = None,
        dummy: int = 0,
        address_size: int = 3,
    ) -> bytes:
        instruction_lines, address_lines, data_lines = lines
        self.wires.select()
        if opcode is not None:
            self.wires.send(bytes([opcode]), instruction_lines)
        if address is not None:
            self.wires.send(address.to_bytes(address_size, "big"), address_lines)
        if mode is not None:
            self.wires.send(bytes([mode]), address_lines)
        self.wires.dummy(dummy, data_lines)
        self.wires.send(data, data_lines)
        result = self.wires.receive(read, data_lines)
        self.wires.deselect()
        return result

    def status(self, register: int = 1) -> int:
        return self.do({1: 0x05, 2: 0x35, 3: 0x15}[register], read=1)[0]

    def wait(self) -> None:
        self.time.time += 100.0
        while self.status() & 1:
            pass

    def enable(self) -> None:
        self.do(0x06)

    def write(self, opcode: int, address: int | None = None, data: bytes = b"", **shape: object) -> None:
        self.enable()
        self.do(opcode, address, data, **shape)  # type: ignore[arg-type]
        self.wait()


def make(timing: Timing = FAST, **options: object) -> Host:
    clock = ManualClock()
    return Host(W25Q(clock, timing=timing, **options), clock)  # type: ignore[arg-type]


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


# --- reads --------------------------------------------------------------------------------------------------

READS = [
    (0x03, {}),
    (0x0B, {"dummy": 8}),
    (0x3B, {"dummy": 8, "lines": (1, 1, 2)}),
    (0x6B, {"dummy": 8, "lines": (1, 1, 4)}),
    (0xBB, {"mode": 0xFF, "lines": (1, 2, 2)}),
    (0xEB, {"mode": 0xFF, "dummy": 4, "lines": (1, 4, 4)}),
]


@pytest.mark.parametrize(("opcode", "shape"), READS, ids=[f"{opcode:02X}h" for opcode, _ in READS])
def test_reads(quad: Host, opcode: int, shape: dict[str, object]) -> None:
    quad.flash.memory[0x123456:0x12345E] = bytes.fromhex("00112233445566a5")
    quad.flash.memory[0xFFFFFE:] = b"\xca\xfe"
    quad.flash.memory[:2] = b"\xba\xbe"
    assert quad.do(opcode, 0x123456, read=8, **shape) == bytes.fromhex("00112233445566a5")  # type: ignore[arg-type]
    assert quad.do(opcode, 0xFFFFFE, read=4, **shape) == bytes.fromhex("cafebabe")  # type: ignore[arg-type]


def test_mode_bits_may_be_dummy_clocks(quad: Host) -> None:
    quad.flash.memory[0x1002:0x1004] = b"\x12\x34"
    for _ in range(2):
        assert quad.do(0xEB, 0x1002, dummy=6, read=2, lines=(1, 4, 4)) == b"\x12\x34"


def test_dummy_clocks_may_be_a_byte(host: Host) -> None:
    host.flash.memory[0x1000:0x1002] = b"\x12\x34"
    assert host.do(0x0B, 0x1000, b"\x00", read=2) == b"\x12\x34"


def test_continuous_read_on_four_lines(quad: Host) -> None:
    quad.flash.memory[0x1000:0x1004] = b"\x12\x34\x56\x78"
    shape = {"dummy": 4, "lines": (1, 4, 4)}
    assert quad.do(0xEB, 0x1000, mode=0xA0, read=1, **shape) == b"\x12"  # type: ignore[arg-type]
    assert quad.do(None, 0x1001, mode=0xA0, read=1, **shape) == b"\x34"  # type: ignore[arg-type]
    assert quad.do(None, 0x1002, mode=0xFF, read=1, **shape) == b"\x56"  # type: ignore[arg-type]
    assert quad.do(0x9F, read=3) == bytes.fromhex("ef4018")


def test_commands_are_not_understood_in_continuous_read_mode_until_ffh(quad: Host) -> None:
    quad.do(0xEB, 0, mode=0x20, dummy=4, read=1, lines=(1, 4, 4))
    assert quad.do(0x05, read=1) == b"\xff"
    quad.do(0xEB, 0, mode=0x20, dummy=4, read=1, lines=(1, 4, 4))
    quad.do(0xFF)
    assert quad.do(0x9F, read=3) == bytes.fromhex("ef4018")


def test_continuous_dual_read_ends_with_sixteen_ones(quad: Host) -> None:
    quad.flash.memory[0x1000] = 0x5A
    quad.do(0xBB, 0, mode=0xA0, read=1, lines=(1, 2, 2))
    assert quad.do(None, 0x1000, mode=0xA0, read=1, lines=(1, 2, 2)) == b"\x5a"
    quad.do(0xFF)
    assert quad.do(None, 0x1000, mode=0xA0, read=1, lines=(1, 2, 2)) == b"\x5a"
    quad.do(0xFF, data=b"\xff")
    assert quad.do(0x9F, read=3) == bytes.fromhex("ef4018")


def test_burst_wrap_of_quad_reads(quad: Host) -> None:
    quad.flash.memory[0x1000:0x1040] = bytes(range(0x40))
    quad.do(0x77, 0, b"\x20", lines=(1, 4, 4))  # 16 bytes
    assert quad.do(0xEB, 0x100E, mode=0xFF, dummy=4, read=5, lines=(1, 4, 4)) == bytes.fromhex("0e0f000102")
    assert quad.do(0x6B, 0x100E, dummy=8, read=5, lines=(1, 1, 4)) == bytes.fromhex("0e0f101112")
    quad.do(0x77, 0, b"\x10", lines=(1, 4, 4))
    assert quad.do(0xEB, 0x100E, mode=0xFF, dummy=4, read=5, lines=(1, 4, 4)) == bytes.fromhex("0e0f101112")


# --- lines that do not fit ----------------------------------------------------------------------------------


def test_quad_commands_are_ignored_without_qe(host: Host) -> None:
    host.flash.memory[0:4] = b"\x12\x34\x56\x78"
    # Nobody drives: IO3, IO2 and IO0 keep what the address phase left there, IO1 was high all the time.
    assert host.do(0x6B, 0, dummy=8, read=2, lines=(1, 1, 4)) == b"\xaa\xaa"
    host.enable()
    host.do(0x32, 0x100, b"\x00", lines=(1, 1, 4))
    assert host.status() == 0x02
    host.do(0x38)
    assert not host.flash.qpi


def test_instruction_on_four_lines_is_ignored_outside_qpi(quad: Host) -> None:
    assert quad.do(0x9F, read=3, lines=(4, 4, 4)) == b"\xff\xff\xff"
    assert quad.do(0x9F, read=3) == bytes.fromhex("ef4018")


@pytest.mark.parametrize(("address", "content", "seen"), [(0, 0x00, 0x88), (1, 0x00, 0x99), (0, 0xFF, 0xAA)])
def test_reading_four_lines_of_a_chip_that_drives_one(quad: Host, address: int, content: int, seen: int) -> None:
    quad.flash.memory[0:8] = bytes([content]) * 8
    assert quad.do(0x03, address, read=4, lines=(1, 1, 4)) == bytes([seen]) * 4


def test_reading_one_line_of_a_chip_that_drives_four(quad: Host) -> None:
    quad.flash.memory[0:4] = bytes.fromhex("02202002")
    # IO1 of eight nibbles: 0 2 2 0 2 0 0 2
    assert quad.do(0x6B, 0, dummy=8, read=1) == bytes([0b01101001])


def test_one_dummy_clock_too_few_or_too_many_shifts_by_a_bit(host: Host) -> None:
    host.flash.memory[0:3] = bytes.fromhex("0f00ff")
    assert host.do(0x0B, 0, dummy=8, read=2) == bytes.fromhex("0f00")
    # Too few: the line still floats high at the first sample.
    assert host.do(0x0B, 0, dummy=7, read=2) == bytes([0b10000111, 0b10000000])
    assert host.do(0x0B, 0, dummy=9, read=2) == bytes([0b00011110, 0b00000001])


def test_two_dummy_clocks_too_many_on_four_lines_lose_a_byte(quad: Host) -> None:
    quad.flash.memory[0:4] = bytes.fromhex("12345678")
    assert quad.do(0xEB, 0, mode=0xFF, dummy=6, read=2, lines=(1, 4, 4)) == bytes.fromhex("3456")
    assert quad.do(0xEB, 0, mode=0xFF, dummy=5, read=2, lines=(1, 4, 4)) == bytes.fromhex("2345")


def test_four_byte_address_reads_from_elsewhere(host: Host) -> None:
    host.flash.memory[0x001234:0x001238] = bytes.fromhex("a1a2a3a4")
    # The chip takes 00 12 34 as the address and the fourth byte as time for one byte of data.
    assert host.do(0x03, 0x00123456, read=2, address_size=4) == bytes.fromhex("a2a3")


# --- QPI ----------------------------------------------------------------------------------------------------

QPI = (4, 4, 4)


@pytest.fixture
def qpi(quad: Host) -> Host:
    quad.do(0x38)
    return quad


def test_qpi_identification_status_and_exit(qpi: Host) -> None:
    assert qpi.do(0x9F, read=3, lines=QPI) == bytes.fromhex("ef6018")
    assert qpi.do(0x35, read=1, lines=QPI) == b"\x02"
    assert qpi.do(0x9F, read=3) == b"\xff\xff\xff"
    qpi.do(0xFF, lines=QPI)
    assert qpi.do(0x9F, read=3) == bytes.fromhex("ef4018")


def test_qpi_program_erase_and_read(qpi: Host) -> None:
    qpi.do(0x06, lines=QPI)
    qpi.do(0x02, 0x1000, b"\x12\x34\x56", lines=QPI)
    qpi.time.time += 1
    assert [qpi.do(0x05, read=1, lines=QPI)[0] for _ in range(2)] == [0x03, 0x00]
    assert qpi.do(0x0B, 0x1000, dummy=2, read=3, lines=QPI) == b"\x12\x34\x56"
    assert qpi.do(0xEB, 0x1000, mode=0xFF, read=3, lines=QPI) == b"\x12\x34\x56"
    qpi.do(0xC0, data=b"\x30", lines=QPI)
    assert qpi.do(0x0B, 0x1000, dummy=8, read=3, lines=QPI) == b"\x12\x34\x56"
    assert qpi.do(0xEB, 0x1000, mode=0xFF, dummy=6, read=3, lines=QPI) == b"\x12\x34\x56"
    qpi.do(0x06, lines=QPI)
    qpi.do(0x20, 0x1000, lines=QPI)
    qpi.time.time += 1
    assert qpi.do(0x0B, 0x1000, dummy=8, read=3, lines=QPI) == b"\xff\xff\xff"


def test_qpi_burst_read_with_wrap(qpi: Host) -> None:
    qpi.flash.memory[0x1000:0x1020] = bytes(range(0x20))
    assert qpi.do(0x0C, 0x1006, dummy=2, read=4, lines=QPI) == bytes.fromhex("06070001")
    qpi.do(0xC0, data=b"\x01", lines=QPI)
    assert qpi.do(0x0C, 0x100E, dummy=2, read=4, lines=QPI) == bytes.fromhex("0e0f0001")


def test_qpi_has_no_dual_or_single_line_reads(qpi: Host) -> None:
    qpi.flash.memory[0:2] = b"\x00\x00"
    for opcode in (0x03, 0x3B, 0x6B, 0xBB, 0x5A, 0x32, 0x4B):
        # The lines keep the last nibble of the address.
        assert qpi.do(opcode, 0x00000F, dummy=8, read=2, lines=QPI) == b"\xff\xff"


# --- power-down, reset, suspend -----------------------------------------------------------------------------


def test_power_down_listens_to_release_only(host: Host) -> None:
    host.do(0xB9)
    assert host.do(0x9F, read=3) == b"\xff\xff\xff"
    assert host.do(0x05, read=1) == b"\xff"
    host.do(0xAB)
    assert host.do(0x9F, read=3) == bytes.fromhex("ef4018")
    host.do(0xB9)
    assert host.do(0xAB, 0, read=1) == b"\x17"
    assert host.status() == 0x00


def test_reset_needs_the_pair(quad: Host) -> None:
    quad.enable()
    quad.do(0x99)
    assert quad.status() == 0x02
    quad.do(0x66)
    assert quad.status() == 0x02  # any command between disarms
    quad.do(0x99)
    assert quad.status() == 0x02
    quad.do(0x66)
    quad.do(0x99)
    assert quad.status() == 0x00


def test_reset_leaves_qpi_and_burst_wrap(qpi: Host) -> None:
    qpi.flash.memory[0x1000:0x1020] = bytes(range(0x20))
    qpi.do(0xFF, lines=QPI)
    qpi.do(0x77, 0, b"\x00", lines=(1, 4, 4))
    qpi.do(0x38)
    qpi.do(0x66, lines=QPI)
    qpi.do(0x99, lines=QPI)
    assert not qpi.flash.qpi
    assert qpi.do(0xEB, 0x1007, mode=0xFF, dummy=4, read=2, lines=(1, 4, 4)) == b"\x07\x08"


def test_reset_takes_its_time() -> None:
    host = make(DATA_SHEET)
    host.do(0x66)
    host.do(0x99)
    assert host.do(0x05, read=1) == b"\xff"
    host.time.time += 31e-6
    assert host.do(0x05, read=1) == b"\x00"


def test_reset_cuts_an_erase_off_where_it_is() -> None:
    host = make(DATA_SHEET)
    host.flash.memory[0:8192] = bytes(8192)
    host.enable()
    host.do(0x20, 0x1000)
    host.time.time = 45e-3 * 0.2501
    host.do(0x66)
    host.do(0x99)
    assert host.flash.memory[0x1000:0x1400] == b"\xff" * 1024
    assert host.flash.memory[0x1400:0x2000] == bytes(3072)
    host.time.time += 31e-6
    assert host.status() == 0x00
    assert host.flash.counters.sectors_erased == 0


def test_suspend_and_resume_of_an_erase() -> None:
    host = make(DATA_SHEET)
    host.flash.memory[0x1000] = host.flash.memory[0x2000] = 0
    host.enable()
    host.do(0x20, 0x1000)
    host.time.time = 40e-3
    host.do(0x75)
    assert host.status() == 0x03  # tSUS
    host.time.time += 21e-6
    assert [host.status() & 1, host.status(2)] == [0, 0x80]
    assert host.do(0x03, 0x2000, read=1) == b"\x00"
    host.enable()
    host.do(0x20, 0x2000)
    assert host.status() & 1 == 0  # no erase while one is suspended
    host.do(0x02, 0x1000, b"\x00")
    assert host.status() & 1 == 0  # nor a program in the suspended sector
    host.do(0x02, 0x3000, b"\x77")
    assert host.status() & 1 == 1
    host.time.time += 1e-3
    assert host.do(0x03, 0x3000, read=1) == b"\x77"
    host.do(0x7A)
    assert [host.status() & 1, host.status(2)] == [1, 0]
    host.time.time += 4.9e-3
    assert host.status() & 1 == 1
    host.time.time += 0.2e-3
    assert host.status() == 0
    assert host.do(0x03, 0x1000, read=1) == b"\xff"


def test_chip_erase_cannot_be_suspended() -> None:
    host = make(DATA_SHEET)
    host.enable()
    host.do(0xC7)
    host.do(0x75)
    host.time.time = 1.0
    assert [host.status(), host.status(2)] == [0x03, 0x00]


def test_resume_without_suspend_does_nothing(host: Host) -> None:
    host.do(0x7A)
    assert [host.status(), host.status(2)] == [0, 0]


# --- security registers -------------------------------------------------------------------------------------


def test_security_registers(host: Host) -> None:
    host.write(0x42, 0x0020FE, b"\x01\x02\x03")
    assert host.do(0x48, 0x0020FE, dummy=8, read=3) == b"\x01\x02\x03"
    assert host.do(0x48, 0x001000, dummy=8, read=1) == b"\xff"
    host.write(0x42, 0x002000, b"\x01")
    assert host.do(0x48, 0x002000, dummy=8, read=1) == b"\x01"
    host.write(0x31, data=b"\x10")  # LB2
    host.enable()
    host.do(0x44, 0x002000)
    assert host.status() == 0x02
    host.write(0x44, 0x003000)
    assert host.do(0x48, 0x0020FE, dummy=8, read=3) == b"\x01\x02\x01"
    assert host.flash.memory[0x2000] == 0xFF


def test_security_register_erase(host: Host) -> None:
    host.write(0x42, 0x001000, bytes(256))
    host.write(0x44, 0x001000)
    assert host.do(0x48, 0x001000, dummy=8, read=256) == b"\xff" * 256


# --- file and faults ----------------------------------------------------------------------------------------


def test_file_is_created_erased_and_holds_the_content_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    host = make(path=path)
    assert path.stat().st_size == 16 * MIB
    host.write(0x02, 0x1000, b"\x12\x34")
    host.flash.close()
    content = path.read_bytes()
    assert content[0x1000:0x1002] == b"\x12\x34"
    assert content.count(0xFF) == 16 * MIB - 2
    again = make(path=path)
    assert again.do(0x03, 0x1000, read=2) == b"\x12\x34"
    again.flash.close()


def test_another_process_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    host = make(path=path, chip=SMALL)
    host.write(0x02, 0x1000, b"\x5a")
    script = f"print(open({str(path)!r}, 'rb').read()[0x1000])"
    seen = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert seen.stdout == "90\n"
    host.flash.close()


def test_file_of_another_size_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    path.write_bytes(b"abc")
    with pytest.raises(InputError, match="has 3 bytes, but the chip has 16777216") as caught:
        make(path=path)
    assert caught.value.data == {"path": str(path), "size": 3, "expected": 16777216}
    assert path.read_bytes() == b"abc"


def test_close_with_the_memory_still_mapped_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    host = make(path=path, chip=SMALL)
    view = host.flash.memory[:]
    host.write(0x02, 0, b"\x42")
    host.flash.close()
    assert path.read_bytes()[0] == 0x42
    assert view[0] == 0x42


@pytest.mark.parametrize("backed", [True, False])
def test_memory_can_be_addressed_by_ctypes(tmp_path: Path, backed: bool) -> None:
    host = make(chip=SMALL, path=tmp_path / "flash.bin" if backed else None)
    array = (ctypes.c_ubyte * SMALL.size).from_buffer(host.flash.memory)
    host.write(0x02, 0x100, b"\x99")
    assert array[0x100] == 0x99


def test_close_ends_what_the_time_allows(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    host = make(DATA_SHEET, path=path, chip=SMALL)
    host.flash.memory[0:4096] = bytes(4096)
    host.enable()
    host.do(0x20, 0)
    host.time.time = 45e-3 * 0.5001
    host.flash.close()
    assert path.read_bytes()[:4096] == b"\xff" * 2048 + bytes(2048)


def test_erase_that_does_nothing(host: Host) -> None:
    host.flash.memory[0] = 0
    host.flash.faults.erase_does_nothing = True
    host.enable()
    host.do(0x20, 0)
    assert host.status() == 0x03
    host.wait()
    assert host.status() == 0x00
    assert host.do(0x03, 0, read=1) == b"\x00"
    assert host.flash.counters.sectors_erased == 0


def test_program_that_does_nothing(host: Host) -> None:
    host.flash.faults.program_does_nothing = True
    host.write(0x02, 0, b"\x00")
    assert host.do(0x03, 0, read=1) == b"\xff"
    assert host.flash.counters.pages_programmed == 0


def test_write_protected_chip(host: Host) -> None:
    host.flash.faults.write_protected = True
    for opcode, address, data in ((0x02, 0, b"\x00"), (0x20, 0, b""), (0xC7, None, b"")):
        host.enable()
        host.do(opcode, address, data)
        assert host.status() == 0x02


def test_stuck_bits(host: Host) -> None:
    host.flash.faults.stuck = {0x1001: StuckBits(0x10, 0x00), 0x1002: StuckBits(0x01, 0x01)}
    host.write(0x20, 0x1000)
    assert host.do(0x03, 0x1000, read=4) == bytes.fromhex("ffefffff")
    host.write(0x02, 0x1000, bytes(4))
    assert host.do(0x03, 0x1000, read=4) == bytes.fromhex("00000100")


# --- against reference models -------------------------------------------------------------------------------

ADDRESSES = st.integers(0, SMALL.size - 1)
ACTIONS = st.one_of(
    st.tuples(st.just("program"), ADDRESSES, st.binary(min_size=1, max_size=300)),
    st.tuples(st.just("erase"), ADDRESSES, st.sampled_from([(0x20, 0x1000), (0x52, 0x8000), (0xD8, 0x10000)])),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTIONS, max_size=12))
def test_array_against_the_rules(actions: list[tuple[str, int, object]]) -> None:
    host = make(chip=SMALL)
    model = bytearray(b"\xff" * SMALL.size)
    for kind, address, argument in actions:
        if kind == "program":
            assert isinstance(argument, bytes)
            host.write(0x02, address, argument)
            page = address & ~0xFF
            latch = {(address + index) & 0xFF: value for index, value in enumerate(argument)}
            for offset, value in latch.items():
                model[page + offset] &= value
        else:
            assert isinstance(argument, tuple)
            opcode, size = argument
            host.write(opcode, address)
            start = address // size * size
            for index in range(start, start + size):
                model[index] = 0xFF
    assert host.flash.memory == model


LINES = st.sampled_from([1, 2, 4])
FRAMES = st.tuples(
    st.sampled_from([0x01, 0x02, 0x03, 0x05, 0x06, 0x0B, 0x20, 0x31, 0x32, 0x35, 0x38, 0x3B, 0x50, 0x5A, 0x66, 0x6B])
    | st.sampled_from([0x77, 0x90, 0x94, 0x99, 0x9F, 0xAB, 0xB9, 0xBB, 0xC0, 0xEB, 0xFF, None]),
    st.none() | st.integers(0, 0xFFFFFF),
    st.binary(max_size=5),
    st.integers(0, 4),
    st.tuples(LINES, LINES, LINES),
    st.none() | st.sampled_from([0x00, 0xA0, 0xFF]),
    st.integers(0, 10),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(FRAMES, max_size=10), st.booleans())
def test_whole_bytes_and_single_clocks_agree(frames: list[tuple[object, ...]], quad_enable: bool) -> None:
    hosts = []
    for by_clock in (False, True):
        clock = ManualClock()
        host = Host(W25Q(clock, chip=SMALL, quad_enable=quad_enable), clock, by_clock=by_clock)
        host.flash.memory[:0x10000] = bytes(range(256)) * 256
        hosts.append(host)
    for opcode, address, data, read, lines, mode, dummy in frames:
        seen = []
        for host in hosts:
            seen.append(
                host.do(opcode, address, data, read=read, lines=lines, mode=mode, dummy=dummy)  # type: ignore[arg-type]
            )
            host.time.time += 1.0
        assert seen[0] == seen[1]
    assert hosts[0].flash.memory == hosts[1].flash.memory
    assert hosts[0].flash.qpi == hosts[1].flash.qpi
    assert [hosts[0].flash.core.status(register) for register in (1, 2, 3)] == [
        hosts[1].flash.core.status(register) for register in (1, 2, 3)
    ]
