"""How the W25Q128JV on the virtual board reads, and what it does when lines and clocks do not fit."""

from __future__ import annotations

import pytest

from tests.support.nor_host import Host, make


@pytest.fixture
def host() -> Host:
    return make()


@pytest.fixture
def quad() -> Host:
    return make(quad_enable=True)


# --- reads --------------------------------------------------------------------------------------------------

READS = [
    (0x03, {}),
    (0x0B, {"dummy": 8}),
    (0x3B, {"dummy": 8, "lines": (1, 1, 2)}),
    (0x6B, {"dummy": 8, "lines": (1, 1, 4)}),
    (0xBB, {"mode": 0xFF, "lines": (1, 2, 2)}),
    (0xEB, {"mode": 0xFF, "dummy": 4, "lines": (1, 4, 4)}),
    (0xE7, {"mode": 0xFF, "dummy": 2, "lines": (1, 4, 4)}),
    (0xE3, {"mode": 0xFF, "lines": (1, 4, 4)}),
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


def test_reset_leaves_qpi_and_burst_wrap(qpi: Host) -> None:
    qpi.flash.memory[0x1000:0x1020] = bytes(range(0x20))
    qpi.do(0xFF, lines=QPI)
    qpi.do(0x77, 0, b"\x00", lines=(1, 4, 4))
    qpi.do(0x38)
    qpi.do(0x66, lines=QPI)
    qpi.do(0x99, lines=QPI)
    assert not qpi.flash.qpi
    assert qpi.do(0xEB, 0x1007, mode=0xFF, dummy=4, read=2, lines=(1, 4, 4)) == b"\x07\x08"
