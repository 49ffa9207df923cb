"""The QUADSPI of the virtual board in indirect mode: vendor sequences, start conditions, FIFO, errors, abort."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbflash.board.bus import Peripheral
from gdbflash.board.chips.facts import DATA_SHEET
from tests.support.nor_host import MIB
from tests.support.quadspi_board import (
    ABORT,
    ABR,
    AR,
    BUSY,
    CCR,
    CR,
    DCR,
    DLR,
    DR,
    EN,
    FCR,
    FTF,
    LPTR,
    PIR,
    PSMAR,
    PSMKR,
    READ,
    SMF,
    SR,
    TCF,
    TCIE,
    TEF,
    Board,
    Stuck,
    ccr,
    quad_read,
    start_read,
)


@pytest.fixture
def board() -> Board:
    return Board()


# --- the vendor's sequences ---------------------------------------------------------------------------------


def test_is_a_peripheral(board: Board) -> None:
    peripheral: Peripheral = board.qspi
    assert (peripheral.base, peripheral.size) == (0x52005000, 0x1000)


def test_loader_init_program_verify_and_map() -> None:
    board = Board(quad_enable=False)
    board.reset_memory()
    assert board.register(0x35) == 0x00
    board.write_enable()
    board.command(ccr(0x31, data=1), count=1)
    board.transmit(b"\x02")
    board.memory_ready()
    assert board.register(0x35) == 0x02

    board.flash.memory[0x12000:0x13000] = bytes(4096)
    board.write_enable()
    board.command(ccr(0x20, address=1), 0x12000)
    board.memory_ready()
    data = bytes(index * 7 & 0xFF for index in range(256))
    board.program(0x12300, data)
    board.command(quad_read(), 0x122FF, count=258, alternate=0xFF)
    assert board.receive() == b"\xff" + data + b"\xff"

    board.map()
    assert board.window.read(0x12300, 8) == data[:8]
    board.abort()
    assert board.windows[-1] is None
    assert board.register(0x05) == 0x00
    assert board.flash.counters.pages_programmed == 1
    assert board.flash.counters.sectors_erased == 1


def test_eraser_that_does_not_wait_is_caught(board: Board) -> None:
    board.flash.memory[0] = 0
    board.write_enable()
    board.command(ccr(0x20, address=1), 0)
    assert board.register(0x05) == 0x03


def test_auto_polling_never_matches(board: Board) -> None:
    with pytest.raises(Stuck, match="flag 0x08 never True, SR 0x0000002"):
        board.auto_polling(ccr(0x05, data=1), 0x02, 0x02)
    board.abort()
    assert board.get(SR) == FTF


def test_real_times_are_waited_for_by_polling() -> None:
    board = Board(DATA_SHEET)
    board.write_enable()
    board.command(ccr(0xD8, address=1), 0)
    with pytest.raises(Stuck):
        board.memory_ready()
    board.clock.time += 0.15
    board.wait(SMF)


def test_command_line_reads_by_low_level_accesses(board: Board) -> None:
    board.flash.memory[0x1000:0x1006] = bytes.fromhex("112233445566")
    board.put(DLR, 5)
    board.put(CCR, ccr(0x0B, READ, address=1, dummy=8, data=1))
    assert board.get(SR) == 0
    board.put(AR, 0x1000)
    assert board.get(SR) == 6 << 8 | BUSY | FTF | TCF
    assert board.get(DR) == 0x44332211
    assert board.qspi.read(DR, 2) == 0x6655
    assert board.get(SR) == TCF


# --- start conditions ---------------------------------------------------------------------------------------


def test_command_without_address_and_data_starts_with_ccr(board: Board) -> None:
    board.put(CCR, ccr(0x06))
    assert board.get(SR) == TCF | FTF
    assert board.flash.core.status(1) == 0x02


def test_command_with_address_starts_with_ar(board: Board) -> None:
    board.put(CCR, ccr(0x06))
    board.put(CCR, ccr(0x20, address=1))
    assert board.flash.core.status(1) == 0x02
    board.put(AR, 0)
    assert board.flash.core.status(1) == 0x03


def test_write_with_data_starts_with_dr(board: Board) -> None:
    board.put(CCR, ccr(0x06))
    board.put(FCR, TCF)
    board.put(DLR, 3)
    board.put(CCR, ccr(0x02, address=1, data=1))
    board.put(AR, 0x1000)
    assert board.get(SR) == FTF
    board.qspi.write(DR, 2, 0x2211)
    assert board.get(SR) == FTF | BUSY
    assert board.flash.core.status(1) == 0x02
    board.qspi.write(DR, 1, 0x33)
    board.qspi.write(DR, 1, 0x44)
    assert board.get(SR) == FTF | TCF
    board.clock.time += 1
    assert board.flash.core.status(1) == 0x03
    assert board.flash.core.status(1) == 0x00
    assert board.flash.memory[0x1000:0x1004] == bytes.fromhex("11223344")


def test_bytes_more_than_dlr_says_are_dropped(board: Board) -> None:
    board.put(CCR, ccr(0x06))
    board.put(DLR, 1)
    board.put(CCR, ccr(0x02, address=1, data=1))
    board.put(AR, 0x1000)
    board.put(DR, 0x44332211)
    assert board.get(SR) == FTF | TCF
    board.clock.time += 1
    board.flash.core.status(1)
    board.flash.core.status(1)
    assert board.flash.memory[0x1000:0x1004] == bytes.fromhex("1122ffff")


def test_ar_and_abr_alone_start_nothing(board: Board) -> None:
    board.put(ABR, 0xFF)
    board.put(AR, 0x1000)
    assert board.get(SR) == FTF


def test_nothing_starts_while_disabled(board: Board) -> None:
    board.put(CR, 0)
    board.put(CCR, ccr(0x06))
    board.put(DR, 1)
    assert board.get(SR) == 0
    assert board.flash.core.status(1) == 0


def test_registers_are_locked_while_busy(board: Board) -> None:
    board.put(DLR, 7)
    board.put(CCR, ccr(0x03, READ, address=1, data=1))
    board.put(AR, 0x100)
    values = [board.get(offset) for offset in (DCR, DLR, CCR, AR, ABR, PSMKR, PSMAR, PIR, LPTR)]
    for offset in (DCR, DLR, CCR, AR, ABR, PSMKR, PSMAR, PIR, LPTR):
        board.put(offset, 0x55555555)
    assert [board.get(offset) for offset in (DCR, DLR, CCR, AR, ABR, PSMKR, PSMAR, PIR, LPTR)] == values
    control = board.get(CR)
    board.put(CR, 0xFFC000D8 | TCIE | 0x1F00 | EN)
    assert board.get(CR) == control & 0xFFC000D8 | TCIE | 0x1F00 | EN


def test_registers_keep_their_bits_only(board: Board) -> None:
    for offset in (DCR, DLR, AR, ABR, PSMKR, PSMAR, PIR, LPTR):
        board.put(offset, 0xFFFFFFFF)
    assert board.get(DCR) == 0x001F0701
    assert [board.get(offset) for offset in (DLR, AR, ABR, PSMKR, PSMAR)] == [0xFFFFFFFF] * 5
    assert [board.get(offset) for offset in (PIR, LPTR)] == [0xFFFF] * 2
    board.put(CR, 0)
    board.put(CCR, 0xFFFFFFFF)
    assert board.get(CCR) == 0xFF7FFFFF
    board.put(CR, 0xFFFFFFFE)
    assert board.get(CR) == 0xFFDF1FDC


def test_parts_of_registers(board: Board) -> None:
    board.put(PSMKR, 0x11223344)
    assert board.qspi.read(PSMKR + 1, 1) == 0x33
    assert board.qspi.read(PSMKR + 2, 2) == 0x1122
    board.qspi.write(PSMKR + 2, 1, 0xAA)
    assert board.get(PSMKR) == 0x11AA3344


# --- FIFO ---------------------------------------------------------------------------------------------------


def test_fifo_level_and_complete_of_a_long_read(board: Board) -> None:
    board.flash.memory[:64] = bytes(range(64))
    start_read(board, 40)
    assert board.get(SR) == 32 << 8 | BUSY | FTF
    for _ in range(7):
        board.qspi.read(DR, 1)
    assert board.get(SR) == 32 << 8 | BUSY | FTF
    assert board.qspi.read(DR, 1) == 7
    assert board.get(SR) == 32 << 8 | BUSY | FTF | TCF
    board.put(FCR, TCF)
    assert board.qspi.read(DR, 1) == 8
    assert board.get(SR) == 31 << 8 | BUSY | FTF


@pytest.mark.parametrize(("threshold", "count", "set_at_start"), [(0, 40, 1), (31, 40, 1), (31, 33, 1)])
def test_threshold_while_data_still_come(board: Board, threshold: int, count: int, set_at_start: int) -> None:
    board.put(CR, threshold << 8 | EN)
    start_read(board, count)
    assert board.get(SR) >> 2 & 1 == set_at_start


def test_threshold_is_ignored_once_all_data_are_in(board: Board) -> None:
    board.put(CR, 31 << 8 | EN)
    start_read(board, 3)
    assert board.get(SR) == 3 << 8 | BUSY | FTF | TCF


@settings(deadline=None)
@given(st.integers(1, 5000), st.lists(st.sampled_from([1, 2, 4]), min_size=1, max_size=20), st.integers(0, 2000))
def test_any_mix_of_widths_reads_the_same_bytes(count: int, widths: list[int], address: int) -> None:
    board = Board()
    content = bytes(index * 31 + (index >> 8) & 0xFF for index in range(8192))
    board.flash.memory[:8192] = content
    start_read(board, count, address)
    seen = bytearray()
    turn = 0
    while len(seen) < count:
        width = widths[turn % len(widths)]
        assert board.get(SR) & BUSY
        assert board.get(SR) >> 8 == min(32, count - len(seen))
        seen += board.qspi.read(DR, width).to_bytes(width, "little")
        assert bool(board.get(SR) & TCF) == (count - min(len(seen), count) <= 32)
        turn += 1
    assert seen[:count] == content[address : address + count]
    assert board.get(SR) == TCF
    assert board.get(DR) == 0


def test_stream_of_status_bytes_is_as_old_as_the_fifo_is_deep(board: Board) -> None:
    board.put(CCR, ccr(0x06))
    board.put(DLR, 63)
    board.put(CCR, ccr(0x05, READ, data=1))
    board.flash.core.write_disable()
    assert [board.qspi.read(DR, 1) for _ in range(33)] == [0x02] * 32 + [0x00]


def test_undefined_length_ends_with_the_memory(board: Board) -> None:
    board.flash.memory[0xFFFFF0:] = bytes(range(16))
    board.put(DLR, 0xFFFFFFFF)
    board.put(CCR, ccr(0x03, READ, address=1, data=1))
    board.put(AR, 0xFFFFF0)
    assert [board.qspi.read(DR, 1) for _ in range(16)] == list(range(16))
    assert board.get(SR) == TCF


def test_endless_read_wraps_and_is_aborted(board: Board) -> None:
    board.put(DCR, 31 << 16)
    board.put(DLR, 0xFFFFFFFF)
    board.put(CCR, ccr(0x03, READ, address=1, data=1))
    board.flash.memory[0] = 0x42
    board.put(AR, 0xFFFFFE)
    assert board.get(DR) == 0xFF42FFFF
    board.set_bits(CR, ABORT)
    assert board.get(SR) == TCF
    assert board.get(CR) & ABORT == 0


# --- errors -------------------------------------------------------------------------------------------------


def test_address_past_fsize(board: Board) -> None:
    board.put(CCR, ccr(0x03, READ, address=1, data=1))
    board.put(AR, 16 * MIB)
    assert board.get(SR) == TEF
    board.put(FCR, TEF)
    assert board.get(SR) == 0


def test_length_past_fsize(board: Board) -> None:
    start_read(board, 17, 0xFFFFF0)
    assert board.get(SR) == TEF
    board.put(FCR, TEF)
    start_read(board, 16, 0xFFFFF0)
    assert board.get(SR) & (TEF | BUSY) == BUSY


def test_write_past_fsize_does_not_start(board: Board) -> None:
    board.put(CCR, ccr(0x06))
    board.put(FCR, TCF)
    board.put(DLR, 1)
    board.put(CCR, ccr(0x02, address=1, data=1))
    board.put(AR, 0xFFFFFF)
    board.qspi.write(DR, 2, 0)
    assert board.get(SR) == TEF | FTF


def test_the_chip_answers_on_the_second_bank_too(board: Board) -> None:
    board.put(CR, 1 << 7 | EN)
    board.put(DLR, 2)
    board.put(CCR, ccr(0x9F, READ, data=1))
    assert [board.qspi.read(DR, 1) for _ in range(3)] == [0xEF, 0x40, 0x18]


# --- abort and reset ----------------------------------------------------------------------------------------


def test_abort_flushes_the_fifo(board: Board) -> None:
    start_read(board, 100)
    board.set_bits(CR, ABORT)
    assert board.get(SR) == TCF
    assert board.get(DR) == 0


def test_abort_of_an_idle_controller_raises_nothing(board: Board) -> None:
    board.set_bits(CR, ABORT)
    assert board.get(SR) == FTF


def test_aborted_page_program_programs_what_was_sent(board: Board) -> None:
    board.put(CCR, ccr(0x06))
    board.put(DLR, 255)
    board.put(CCR, ccr(0x02, address=1, data=1))
    board.put(AR, 0)
    board.qspi.write(DR, 1, 0x5A)
    board.set_bits(CR, ABORT)
    assert board.flash.core.status(1) == 0x03
    board.clock.time += 1
    board.flash.core.status(1)
    assert bytes(board.flash.memory[0:2]) == b"\x5a\xff"


def test_free_running_clock_is_busy_until_disabled_and_reaches_no_chip(board: Board) -> None:
    board.put(CCR, 1 << 29)
    board.put(CCR, 1 << 29)
    assert board.get(SR) & (BUSY | TCF) == BUSY
    board.put(CCR, ccr(0x06))
    assert board.get(CCR) == 1 << 29
    board.put(CR, 0)
    assert board.get(SR) == 0
    board.put(CR, EN)
    board.put(CCR, ccr(0x06))
    assert board.get(SR) == TCF | FTF
    assert board.flash.core.status(1) == 2


def test_disabling_ends_a_read(board: Board) -> None:
    start_read(board, 100)
    board.put(CR, 0)
    assert board.get(SR) == 0


def test_reset_returns_registers_and_leaves_the_chip(board: Board) -> None:
    board.put(CCR, ccr(0x06))
    board.map()
    board.qspi.reset()
    assert [board.get(offset) for offset in range(0, 0x34, 4)] == [0] * 13
    assert board.windows[-1] is None
    assert board.windows[-1] is None
    assert board.flash.core.status(1) == 0x02
