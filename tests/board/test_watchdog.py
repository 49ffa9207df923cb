"""IWDG1: it bites in time, refreshes put it off, DBGMCU holds it still, and an option bit starts it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from gdbflash.board.bus import BusError
from gdbflash.board.machine import Machine
from tests.support.boardcode import Board

KR, PR, RLR, WINR = 0x58004800, 0x58004804, 0x58004808, 0x58004810
RSR, APB4FZ1, FROZEN = 0x580244D0, 0x5C001054, 1 << 18
BITTEN = 1 << 26
OPTSR_CUR = 0x1C
FIVE_MS = 39
"""Reload value at the smallest prescaler."""


@pytest.fixture
def board() -> Iterator[Board]:
    with Machine() as machine:
        machine.reset(halt=True)
        machine.watchdog.reset()
        yield Board(machine)


def word(board: Board, address: int) -> int:
    return int.from_bytes(board.machine.read_memory(address, 4), "little")


def start(board: Board, reload: int = FIVE_MS) -> None:
    for register, value in ((KR, 0x5555), (RLR, reload), (KR, 0xCCCC)):
        board.put(register, value)


def run(board: Board, seconds: float) -> None:
    board.machine.resume()
    time.sleep(seconds)
    board.machine.halt()


def test_it_resets_a_device_that_does_not_refresh_it(board: Board) -> None:
    board.put(RSR, 1 << 16)
    before = board.machine.resets
    start(board)
    run(board, 0.1)
    assert board.machine.resets == before + 1, "it stands still after the reset: no option bit starts it"
    assert word(board, RSR) & BITTEN
    assert (word(board, RLR), word(board, KR)) == (0xFFF, 0)


def test_it_counts_in_a_halt_unless_frozen(board: Board) -> None:
    before = board.machine.resets
    board.put(APB4FZ1, FROZEN)
    start(board, 10 * FIVE_MS)
    time.sleep(0.1)
    run(board, 0.005)
    assert board.machine.resets == before
    board.put(APB4FZ1, 0)
    time.sleep(0.1)
    run(board, 0.02)
    assert board.machine.resets == before + 1


def test_a_refresh_puts_it_off_and_values_are_behind_a_lock(board: Board) -> None:
    before = board.machine.resets
    start(board, 40 * FIVE_MS)
    for _ in range(4):
        time.sleep(0.1)
        board.put(KR, 0xAAAA)
    run(board, 0.001)
    assert board.machine.resets == before
    board.put(RLR, 1)
    board.put(PR, 6)
    assert (word(board, RLR), word(board, PR)) == (40 * FIVE_MS, 0)


def test_a_refresh_before_the_window_opens_resets(board: Board) -> None:
    before = board.machine.resets
    start(board, 0xFFF)
    board.put(KR, 0x5555)
    board.put(WINR, 0x100)
    board.put(KR, 0xAAAA)
    run(board, 0.01)
    assert board.machine.resets == before + 1


def test_an_option_bit_starts_it_at_each_reset(board: Board) -> None:
    board.machine.soc.flash_interface.words[OPTSR_CUR] &= ~(1 << 4)
    board.machine.reset(halt=True)
    before = board.machine.resets
    run(board, 0.7)
    assert board.machine.resets == before + 1, "after 512 ms, and again after as many"


def test_read_protection_closes_the_array(board: Board) -> None:
    words = board.machine.soc.flash_interface.words
    words[OPTSR_CUR] = words[OPTSR_CUR] & ~0xFF00 | 0xBB00
    with pytest.raises(BusError):
        board.machine.read_memory(0x08000000, 4)
    assert board.machine.read_memory(0x24000000, 4)
