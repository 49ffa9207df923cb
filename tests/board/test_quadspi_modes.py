"""The QUADSPI of the virtual board: automatic polling, memory-mapped mode, SIOO, interrupts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gdbflash.board.bus import BusError
from gdbflash.board.chips.facts import DATA_SHEET, W25Q128JV
from tests.support.nor_host import MIB
from tests.support.quadspi_board import (
    ABORT,
    ABR,
    APMS,
    AR,
    BUSY,
    CCR,
    CR,
    DLR,
    DR,
    EN,
    FCR,
    FTF,
    FTIE,
    LPTR,
    MAPPED,
    PMM,
    POLL,
    PSMAR,
    PSMKR,
    READ,
    SMF,
    SMIE,
    SR,
    TCEN,
    TCF,
    TCIE,
    TEIE,
    TOF,
    TOIE,
    WRITE,
    Board,
    Stuck,
    ccr,
    poll,
    quad_read,
    start_read,
)


@pytest.fixture
def board() -> Board:
    return Board()


# --- automatic polling --------------------------------------------------------------------------------------


def test_polling_goes_on_after_a_match_without_apms(board: Board) -> None:
    poll(board, 0, 1)
    assert board.get(SR) == BUSY | SMF | FTF
    board.put(FCR, SMF)
    assert board.get(SR) == BUSY | FTF
    board.clock.time += 1e-3
    assert board.get(SR) == BUSY | SMF | FTF
    assert board.qspi.read(DR, 1) == 0
    assert board.get(SR) == BUSY | SMF
    board.set_bits(CR, ABORT)
    assert board.get(SR) == SMF | TCF | FTF
    assert board.get(CCR) >> 26 & 3 == WRITE


def test_polling_keeps_its_interval(board: Board) -> None:
    poll(board, 2, 2)
    board.flash.core.write_enable()
    # 100 clocks at 200 MHz
    board.clock.time = 0.49e-6
    assert board.get(SR) == BUSY | FTF
    board.clock.time = 0.51e-6
    assert board.get(SR) == BUSY | FTF | SMF


def test_enabling_interrupts_keeps_the_polled_byte_unread(board: Board) -> None:
    poll(board, 2, 2)
    board.set_bits(CR, SMIE)
    assert board.get(SR) == BUSY | FTF


def test_polling_stops_at_the_match_with_apms(board: Board) -> None:
    poll(board, 0, 1, APMS)
    assert board.get(SR) == SMF | FTF
    assert board.get(DR) == 0
    assert board.get(SR) == SMF


@pytest.mark.parametrize(
    ("bits", "match", "mask", "expected"),
    [(0, 0x03, 0x03, False), (PMM, 0x03, 0x03, True), (PMM, 0x01, 0x01, False), (0, 0x02, 0x03, True)],
)
def test_and_and_or_match(board: Board, bits: int, match: int, mask: int, expected: bool) -> None:
    board.put(CCR, ccr(0x06))  # status 0x02
    board.put(FCR, TCF)
    poll(board, match, mask, bits)
    assert bool(board.get(SR) & SMF) == expected


def test_polling_of_several_bytes(board: Board) -> None:
    board.put(CCR, ccr(0x06))
    poll(board, 0x02020202, 0xFFFFFFFF, APMS, count=4)
    assert board.get(SR) & SMF
    assert board.get(DR) == 0x02020202
    assert board.qspi.read(DR, 1) == 0x02


def test_polling_with_an_address_starts_with_ar(board: Board) -> None:
    board.put(PSMAR, 0x17)
    board.put(PSMKR, 0xFF)
    board.put(CR, EN | APMS)
    board.put(DLR, 0)
    board.put(CCR, ccr(0x90, POLL, address=1, data=1))
    assert board.get(SR) == 0
    board.put(AR, 1)
    assert board.get(SR) == SMF | FTF


# --- memory-mapped ------------------------------------------------------------------------------------------


def test_window_comes_with_ccr_and_memory_after_the_first_access(board: Board) -> None:
    board.flash.memory[0x1000:0x1004] = bytes.fromhex("deadbeef")
    board.map()
    assert board.windows == [(16 * MIB, False)]
    assert board.get(SR) == 0
    assert board.window.read(0x1002, 2) == bytes.fromhex("beef")
    assert board.windows == [(16 * MIB, False), (16 * MIB, True)]
    assert board.get(SR) == BUSY
    memory = board.window.memory
    assert memory is not None
    assert not memory.readonly
    assert memory.contiguous
    assert len(memory) == 16 * MIB
    assert memory[0x1000:0x1004] == bytes.fromhex("deadbeef")


def test_writes_are_ignored_while_mapped_and_read(board: Board) -> None:
    board.map()
    board.window.read(0, 4)
    before = board.get(CCR)
    board.put(CCR, ccr(0x06))
    assert board.get(CCR) == before
    assert board.flash.core.status(1) == 0
    with pytest.raises(Stuck):
        board.command(ccr(0x06))
    board.abort()
    board.command(ccr(0x06))
    assert board.flash.core.status(1) == 2


def test_mapped_mode_is_left_by_ccr_before_the_first_access(board: Board) -> None:
    board.map()
    board.command(ccr(0x06))
    assert board.windows[-1] is None
    assert board.flash.core.status(1) == 2


def test_abort_before_the_first_access(board: Board) -> None:
    board.map()
    board.abort()
    assert board.windows == [(16 * MIB, False), None]


def test_disabling_closes_the_window(board: Board) -> None:
    board.map()
    board.window.read(0, 4)
    board.put(CR, 0)
    assert board.windows[-1] is None
    assert board.get(SR) == 0
    board.put(CR, EN)
    assert board.windows[-1] == (16 * MIB, False)


def test_dr_and_ar_do_nothing_while_mapped(board: Board) -> None:
    board.map()
    board.put(AR, 5)
    board.put(DR, 5)
    assert board.get(AR) == 0
    assert board.get(DR) == 0


@pytest.mark.parametrize(
    ("fsize", "size", "memory"), [(23, 16 * MIB, 16 * MIB), (22, 8 * MIB, 8 * MIB), (24, 32 * MIB, 16 * MIB)]
)
def test_window_size_is_what_fsize_says(fsize: int, size: int, memory: int) -> None:
    board = Board(fsize=fsize)
    board.flash.memory[0x20:0x22] = b"\x12\x34"
    board.map()
    window = board.window
    assert window.size == size
    assert window.read(0x20, 2) == b"\x12\x34"
    assert board.window.memory is not None
    assert len(board.window.memory) == memory
    with pytest.raises(BusError) as caught:
        window.read(size - 1, 2)
    assert caught.value.address == 0x90000000 + size - 1


def test_window_is_at_most_256_mib() -> None:
    board = Board(fsize=31)
    board.map()
    assert board.window.size == 256 * MIB


def test_a_window_larger_than_the_chip_repeats() -> None:
    board = Board(fsize=24)
    board.flash.memory[0x20:0x22] = b"\x12\x34"
    board.map()
    assert board.window.read(16 * MIB + 0x20, 2) == b"\x12\x34"


def test_window_does_not_change_without_a_reason(board: Board) -> None:
    board.map()
    board.set_bits(CR, TCIE)
    board.window.read(0, 4)
    board.set_bits(CR, TEIE)
    board.window.read(4, 4)
    assert board.windows == [(16 * MIB, False), (16 * MIB, True)]


def test_old_window_reads_nothing_after_the_mode_is_left(board: Board) -> None:
    board.map()
    window = board.window
    board.abort()
    with pytest.raises(BusError):
        window.read(0, 4)


MAPPED_READS = [
    (ccr(0x03, address=1, data=1), None),
    (ccr(0x0B, address=1, dummy=8, data=1), None),
    (ccr(0x3B, address=1, dummy=8, data=2), None),
    (ccr(0x6B, address=1, dummy=8, data=4), None),
    (ccr(0xBB, address=2, alternate=2, data=2), 0xFF),
    (ccr(0xEB, address=4, alternate=4, dummy=4, data=4), 0xFF),
    (ccr(0xEB, address=4, dummy=6, data=4), None),
    (ccr(0xEB, address=4, alternate=4, dummy=4, data=4, sioo=True), 0xA0),
]


@pytest.mark.parametrize(("value", "alternate"), MAPPED_READS)
def test_read_commands_that_map_plainly(board: Board, value: int, alternate: int | None) -> None:
    board.flash.memory[0x123456:0x12345A] = bytes.fromhex("12345678")
    board.memory_mapped(value, alternate=alternate)
    assert board.window.read(0x123456, 4) == bytes.fromhex("12345678")
    assert board.windows[-1] == (16 * MIB, True)
    assert board.window.read(0x123457, 2) == bytes.fromhex("3456")


WRONG_READS = [
    (ccr(0xEB, address=4, alternate=4, dummy=6, data=4), 0xFF, bytes.fromhex("345678ff")),  # two clocks too many
    (ccr(0x03, address=1, data=4), None, bytes.fromhex("888a88a8")),  # four lines of a 1-1-1 command: bits 0001 0010
    (ccr(0x9F, address=1, data=1), None, bytes.fromhex("ef4018ef")),  # the address is clocked away: 3 bytes
    (ccr(0x05, data=1), None, bytes.fromhex("00000000")),
    (ccr(0x03, address=1, address_size=4, data=1), None, None),
]


@pytest.mark.parametrize(("value", "alternate", "seen"), WRONG_READS)
def test_wrong_commands_deliver_what_the_lines_say(
    board: Board, value: int, alternate: int | None, seen: bytes | None
) -> None:
    board.flash.memory[0x120000:0x120004] = bytes.fromhex("12345678")
    board.memory_mapped(value, alternate=alternate)
    for _ in range(2):
        got = board.window.read(0x120000, 4)
        assert board.window.memory is None
        if seen is not None:
            assert got == seen


def test_quad_read_without_qe_never_becomes_plain() -> None:
    board = Board(quad_enable=False)
    board.map()
    for _ in range(3):
        board.window.read(0, 4)
    assert board.windows == [(16 * MIB, False)]


def test_continuous_read_without_sioo_breaks_the_second_access(board: Board) -> None:
    board.flash.memory[0:4] = bytes.fromhex("12345678")
    board.memory_mapped(quad_read(), alternate=0xA0)
    assert board.window.read(0, 4) == bytes.fromhex("12345678")
    assert board.window.memory is None


def test_sioo_without_continuous_read_breaks_the_second_access(board: Board) -> None:
    board.flash.memory[0:4] = bytes.fromhex("12345678")
    board.memory_mapped(quad_read(sioo=True), alternate=0xFF)
    assert board.window.read(0, 4) == bytes.fromhex("12345678")
    assert board.window.memory is None
    assert board.window.read(0, 4) != bytes.fromhex("12345678")


def test_after_continuous_read_the_chip_needs_an_exit_sequence(board: Board) -> None:
    board.memory_mapped(quad_read(sioo=True), alternate=0xA0)
    board.window.read(0, 4)
    board.abort()
    assert board.register(0x9F) != 0xEF
    board.command(ccr(0xFF))
    assert board.register(0x9F) == 0xEF


def test_busy_chip_is_not_mapped_and_its_content_not_early() -> None:
    board = Board(DATA_SHEET)
    board.flash.memory[0:0x2000] = bytes(0x2000)
    board.command(ccr(0x06))
    board.command(ccr(0x20, address=1), 0)
    board.memory_mapped(ccr(0x03, address=1, data=1))
    # Nobody drives IO1.
    assert board.window.read(0x1000, 2) == b"\xff\xff"
    assert board.window.memory is None
    assert board.flash.memory[0] == 0
    board.clock.time += 0.05
    assert board.window.read(0x0FFF, 2) == b"\xff\x00"
    assert board.windows[-1] == (16 * MIB, True)


def test_powered_down_chip_is_not_mapped(board: Board) -> None:
    board.command(ccr(0xB9))
    board.memory_mapped(ccr(0x03, address=1, data=1))
    board.flash.memory[0:4] = bytes(4)
    assert board.window.read(0, 4) == b"\xff\xff\xff\xff"
    assert board.window.memory is None


def test_time_out_releases_the_chip_and_sees_the_next_access(board: Board) -> None:
    board.put(CR, EN | TCEN)
    board.put(LPTR, 200)
    board.put(CCR, ccr(0x03, MAPPED, address=1, data=1))
    board.window.read(0, 4)
    assert board.get(SR) == BUSY
    board.clock.time += 2e-6
    assert board.get(SR) == TOF
    assert board.windows[-1] == (16 * MIB, False)
    board.put(FCR, TOF)
    board.window.read(0, 4)
    assert board.get(SR) == BUSY
    assert board.windows[-1] == (16 * MIB, True)


def test_every_access_puts_the_time_out_off(board: Board) -> None:
    board.put(CR, EN | TCEN)
    board.put(LPTR, 200)
    board.put(CCR, ccr(0x03, MAPPED, address=1, data=1))
    board.flash.memory[0x1234] = 0x5A
    for _ in range(3):
        assert board.window.read(0x1234, 1) == b"\x5a"
        board.clock.time += 0.9e-6
        assert board.get(SR) == BUSY
    assert board.windows == [(16 * MIB, False), (16 * MIB, True)]


def test_qpi_maps(board: Board) -> None:
    board.flash.memory[0x1000:0x1002] = b"\x12\x34"
    board.command(ccr(0x38))
    board.memory_mapped(ccr(0xEB, instruction=4, address=4, alternate=4, data=4), alternate=0xFF)
    assert board.window.read(0x1000, 2) == b"\x12\x34"
    assert board.windows[-1] == (16 * MIB, True)


def test_small_chip_maps_too() -> None:
    board = Board(fsize=17, chip=replace(W25Q128JV, size=256 * 1024))
    board.map()
    board.window.read(0, 1)
    assert board.windows[-1] == (256 * 1024, True)


# --- send instruction only once -----------------------------------------------------------------------------


def test_sioo_in_indirect_reads(board: Board) -> None:
    board.flash.memory[0:4] = bytes.fromhex("12345678")
    board.put(DLR, 0)
    board.put(ABR, 0xA0)
    board.put(CCR, quad_read(READ, sioo=True))
    for address, value in enumerate(bytes.fromhex("12345678")):
        board.put(AR, address)
        assert board.qspi.read(DR, 1) == value


# --- interrupts ---------------------------------------------------------------------------------------------


def test_transfer_complete_interrupt(board: Board) -> None:
    board.set_bits(CR, TCIE)
    board.put(CCR, ccr(0x06))
    assert board.levels == [True]
    board.put(FCR, TCF)
    assert board.levels == [True, False]


def test_fifo_threshold_interrupt_of_a_write_and_a_read(board: Board) -> None:
    board.put(CCR, ccr(0x03, READ, address=1, data=1))
    board.set_bits(CR, FTIE)
    assert board.levels == []
    board.put(DLR, 1)
    board.put(AR, 0)
    assert board.levels == [True]
    board.qspi.read(DR, 1)
    assert board.levels == [True]
    board.qspi.read(DR, 1)
    assert board.levels == [True, False]
    board.put(CCR, ccr(0x02, WRITE, address=1, data=1))
    assert board.levels == [True, False, True]


def test_transfer_complete_interrupt_of_a_read_comes_when_32_bytes_are_left(board: Board) -> None:
    board.set_bits(CR, TCIE)
    start_read(board, 36)
    assert board.levels == []
    board.get(DR)
    assert board.levels == [True]


def test_status_match_interrupt_by_tick(board: Board) -> None:
    """Nobody looks while software waits for the interrupt: the controller says when it has to be asked."""
    armed: list[float | None] = []
    board.qspi.on_armed = lambda: armed.append(board.qspi.next_event())
    poll(board, 2, 2, APMS)
    assert board.qspi.next_event() is None
    board.set_bits(CR, SMIE)
    assert armed == [board.qspi.next_event()] == [pytest.approx(2e-4)]
    board.clock.time += 1e-3
    board.qspi.tick()
    assert board.levels == []
    board.flash.core.write_enable()
    board.clock.time += 1e-3
    board.qspi.tick()
    assert board.levels == [True]
    assert board.qspi.next_event() is None


def test_transfer_error_interrupt(board: Board) -> None:
    board.set_bits(CR, TEIE)
    board.put(CCR, ccr(0x20, address=1))
    board.put(AR, 0xFFFFFFFF)
    assert board.levels == [True]


def test_time_out_interrupt(board: Board) -> None:
    board.put(CR, EN | TCEN | TOIE | 199 << 24)  # 1 MHz
    board.put(LPTR, 1000)
    board.put(CCR, ccr(0x03, MAPPED, address=1, data=1))
    assert board.qspi.next_event() is None
    board.window.read(0, 4)
    assert board.qspi.next_event() == pytest.approx(1e-3)
    board.clock.time += 1.1e-3
    board.qspi.tick()
    assert board.levels == [True]
