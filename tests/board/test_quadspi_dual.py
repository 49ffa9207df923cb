"""The QUADSPI of the virtual board in dual-flash mode (RM0433 revision 7, 23.3.4), with a chip on each bank."""

from __future__ import annotations

from pathlib import Path

import pytest

from gdbflash.board.bus import BusError
from gdbflash.board.chips.facts import W25Q128JV
from gdbflash.board.chips.pair import FlashPair
from gdbflash.board.clock import Clock
from gdbflash.board.machine import Machine
from gdbflash.board.mishaps.inject import parse
from tests.support.nor_host import MIB, ManualClock
from tests.support.quadspi_board import (
    APMS,
    AR,
    BUSY,
    CCR,
    CR,
    DFM,
    DLR,
    DR,
    EN,
    FSEL,
    FTF,
    PMM,
    PSMAR,
    PSMKR,
    READ,
    SMF,
    SR,
    TCF,
    TEF,
    WRITE,
    Board,
    PairBoard,
    ccr,
    poll,
    quad_read,
    start_read,
)

DATA = bytes(range(1, 17))


@pytest.fixture
def board() -> PairBoard:
    return PairBoard()


# --- the memory ---------------------------------------------------------------------------------------------


def test_even_bytes_lie_in_the_first_chip_and_odd_ones_in_the_second(board: PairBoard) -> None:
    board.program(0x1000, DATA)

    assert bytes(board.pair.first.memory[0x7FF:0x809]) == b"\xff" + DATA[::2] + b"\xff"
    assert bytes(board.pair.second.memory[0x7FF:0x809]) == b"\xff" + DATA[1::2] + b"\xff"
    assert bytes(board.pair.memory[0x1000:0x1010]) == DATA


@pytest.mark.parametrize("line", [ccr(0x03, address=1, data=1), ccr(0x3B, address=1, dummy=8, data=2), quad_read()])
def test_reads_take_turns(board: PairBoard, line: int) -> None:
    board.pair.memory[0x1000:0x1010] = DATA

    board.command(line, 0x1002, count=8, alternate=0xFF)

    assert board.receive() == DATA[2:10]


def test_a_long_read_in_words(board: PairBoard) -> None:
    content = bytes(number * 7 & 0xFF for number in range(6000))
    board.pair.memory[: len(content)] = content

    start_read(board, len(content))

    assert board.get(SR) == 32 << 8 | BUSY | FTF
    assert b"".join(board.get(DR).to_bytes(4, "little") for _ in range(1500)) == content
    assert board.get(SR) == TCF


def test_an_erase_takes_a_sector_of_each(board: PairBoard) -> None:
    board.pair.memory[:0x4000] = bytes(0x4000)
    board.write_enable()

    board.command(ccr(0x20, address=1), 0x2000)
    board.memory_ready()

    assert bytes(board.pair.memory[:0x4000]) == bytes(0x2000) + b"\xff" * 0x2000


def test_a_file_has_the_bytes_in_the_order_of_the_mcu(tmp_path: Path) -> None:
    path = tmp_path / "both.bin"
    pair = FlashPair(ManualClock(), path=path)
    pair.first.memory[1] = 0x11
    pair.second.memory[1] = 0x22
    pair.close()

    with path.open("rb") as file:
        assert file.read(4) == bytes.fromhex("ffff1122")
    assert path.stat().st_size == 2 * W25Q128JV.size


# --- even addresses, even numbers ---------------------------------------------------------------------------


def test_bit_0_of_dlr_is_stuck_at_1_and_that_of_ar_at_0(board: PairBoard) -> None:
    board.put(DLR, 2)
    board.put(AR, 0x1003)
    assert (board.get(DLR), board.get(AR)) == (3, 0x1002)

    board.put(CR, EN)
    board.put(DLR, 2)
    board.put(AR, 0x1003)
    assert (board.get(DLR), board.get(AR)) == (2, 0x1003)
    board.set_bits(CR, DFM)
    assert (board.get(DLR), board.get(AR)) == (3, 0x1002)


def test_a_read_of_an_odd_address_begins_one_too_low(board: PairBoard) -> None:
    board.pair.memory[0x1000:0x1010] = DATA

    start_read(board, 3, 0x1003)

    assert board.get(SR) >> 8 == 4
    assert board.get(DR).to_bytes(4, "little") == DATA[2:6]
    assert board.get(SR) == TCF


def test_a_write_of_an_odd_address_begins_one_too_low(board: PairBoard) -> None:
    board.write_enable()
    board.put(DLR, 1)
    board.put(CCR, ccr(0x02, WRITE, address=1, data=1))
    board.put(AR, 0x1003)
    board.qspi.write(DR, 2, 0x2211)
    board.memory_ready()

    assert bytes(board.pair.memory[0x1000:0x1006]) == bytes.fromhex("ffff1122ffff")


def test_a_write_waits_for_an_even_number_of_bytes(board: PairBoard) -> None:
    board.write_enable()
    board.put(DLR, 0)
    board.put(CCR, ccr(0x02, WRITE, address=1, data=1))
    board.put(AR, 0)
    board.qspi.write(DR, 1, 0x11)
    assert board.get(SR) & (BUSY | TCF) == BUSY

    board.qspi.write(DR, 1, 0x22)

    assert board.get(SR) & (BUSY | TCF) == TCF
    board.memory_ready()
    assert bytes(board.pair.memory[:2]) == b"\x11\x22"


def test_fsize_counts_both() -> None:
    board = PairBoard(fsize=23)
    start_read(board, 2, 16 * MIB - 2)
    assert not board.get(SR) & TEF
    board.get(DR)

    board.put(AR, 16 * MIB)
    assert board.get(SR) & TEF


# --- status registers ---------------------------------------------------------------------------------------


def test_both_chips_get_every_command_and_answer_side_by_side(board: PairBoard) -> None:
    board.command(ccr(0x06))
    assert board.statuses(0x05) == b"\x02\x02"
    board.pair.second.core.write_disable()
    assert board.statuses(0x05) == b"\x02\x00"

    board.command(ccr(0x9F, data=1), count=6)
    assert board.receive() == bytes.fromhex("efef40401818")


def test_one_byte_of_status_comes_with_the_other_chips(board: PairBoard) -> None:
    board.pair.second.core.write_enable()
    board.put(DLR, 0)

    board.put(CCR, ccr(0x05, READ, data=1))

    assert board.get(DR) == 0x0200


@pytest.mark.parametrize(("mode", "first_alone"), [(0, False), (PMM, True)])
def test_polling_compares_two_bytes(board: PairBoard, mode: int, first_alone: bool) -> None:
    board.pair.first.core.write_enable()
    poll(board, 0x0202, 0x0202, APMS | DFM | mode, count=1)
    assert bool(board.get(SR) & SMF) == first_alone
    if first_alone:
        return

    board.pair.second.core.write_enable()
    board.clock.time += 1e-3

    assert board.get(SR) & SMF
    assert board.get(DR) == 0x0202


def test_polling_for_the_first_chip_only_does_not_see_the_second(board: PairBoard) -> None:
    board.pair.first.core.write_enable()
    poll(board, 0x02, 0x02, APMS | DFM, count=1)

    assert board.get(SR) & SMF
    assert (board.get(PSMAR), board.get(PSMKR), board.get(DR)) == (2, 2, 0x0002)


# --- memory-mapped ------------------------------------------------------------------------------------------


def test_the_window_shows_both_as_one_memory(board: PairBoard) -> None:
    board.pair.memory[0x1000:0x1010] = DATA
    board.map()
    assert board.windows[-1] == (32 * MIB, False)

    assert board.window.read(0x1000, 4) == DATA[:4]

    assert board.windows[-1] == (32 * MIB, True)
    memory = board.window.memory
    assert memory is not None
    assert memory.contiguous
    assert bytes(memory[0x1000:0x1010]) == DATA


@pytest.mark.parametrize(("offset", "size"), [(1, 1), (3, 2), (2, 1), (3, 4)])
def test_the_window_gives_any_byte(board: PairBoard, offset: int, size: int) -> None:
    board.pair.memory[0x1000:0x1010] = DATA
    board.map()

    for _ in range(2):
        assert board.window.read(0x1000 + offset, size) == DATA[offset : offset + size]

    with pytest.raises(BusError):
        board.window.read(32 * MIB, 1)


def test_the_window_is_no_plain_memory_while_one_chip_answers_otherwise(board: PairBoard) -> None:
    board.pair.memory[:2] = b"\x11\x22"
    board.pair.second.core.powered_down = True
    board.memory_mapped(ccr(0x03, address=1, data=1))

    assert board.window.read(0, 2) == b"\x11\xff"
    assert board.window.memory is None


# --- one bank -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bank", [0, 1])
def test_without_dual_flash_mode_fsel_chooses_the_chip(bank: int) -> None:
    board = PairBoard(control=FSEL * bank, fsize=23)
    board.pair.memory[0x2000:0x2010] = DATA
    board.program(0x2000, b"\x5a")
    assert board.pair.memory[0x4000 + bank] == 0x5A

    board.command(ccr(0x03, address=1, data=1), 0x1000, count=4)
    assert board.receive() == DATA[bank::2][:4]

    board.map()
    for _ in range(2):
        assert board.window.read(0x1001, 2) == DATA[bank::2][1:3]
        assert board.window.memory is None, "every other byte is nothing that could be mapped"


def test_fsel_is_ignored_in_dual_flash_mode() -> None:
    board = PairBoard(control=DFM | FSEL)
    board.pair.memory[:4] = DATA[:4]

    start_read(board, 4)

    assert board.get(DR).to_bytes(4, "little") == DATA[:4]


def test_dual_flash_mode_cannot_be_changed_while_busy(board: PairBoard) -> None:
    board.pair.memory[:4] = DATA[:4]
    start_read(board, 4)

    board.put(CR, EN)

    assert board.get(CR) & DFM
    assert board.get(DR).to_bytes(4, "little") == DATA[:4]


def test_with_a_single_chip_nobody_drives_the_other_bank() -> None:
    board = Board()
    board.flash.memory[:2] = b"\x11\x22"
    board.put(CR, EN | DFM)

    start_read(board, 4)
    assert board.get(DR).to_bytes(4, "little") == bytes.fromhex("11ff22ff")
    board.memory_mapped(ccr(0x03, address=1, data=1))
    for _ in range(2):
        assert board.window.read(0, 4) == bytes.fromhex("11ff22ff")
    assert board.window.memory is None


# --- the board ----------------------------------------------------------------------------------------------


def test_a_board_with_two_chips() -> None:
    clock = Clock()
    pair = FlashPair(clock)
    with Machine(pair, clock=clock) as machine:
        assert machine.flash is pair.first
        assert machine.chips == (pair.first, pair.second)
        parse(["no-erase"], lambda *_: 0).into_board(machine)
        assert pair.first.faults.erase_does_nothing
        assert pair.second.faults.erase_does_nothing
    pair.close()


def test_a_board_has_one_chip_by_default() -> None:
    with Machine() as machine:
        assert machine.chips == (machine.flash,)
