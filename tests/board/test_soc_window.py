"""QUADSPI wired to the board: the memory-mapped window for core and debugger, clocks, interrupt, reset."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gdbflash.board.bus import BusError
from gdbflash.board.debug import HaltReason
from gdbflash.board.machine import Machine
from tests.support.boardcode import CODE, STACK, Board
from tests.support.thumb import assemble

AHB3ENR, AHB3RSTR = 0x580244D4, 0x5802447C
QUADSPI, WINDOW = 0x52005000, 0x90000000
CR, DCR, FCR, CCR = QUADSPI, QUADSPI + 4, QUADSPI + 0xC, QUADSPI + 0x14
FAST_READ_MAPPED = 0x0B | 1 << 8 | 1 << 10 | 2 << 12 | 8 << 18 | 1 << 24 | 3 << 26
DATA = bytes((index * 7 + 3) & 0xFF for index in range(0x4000))

THUMB = assemble(
    # r0: CCR, r1: its value, r2: the window
    map_and_read="""str r1, [r0] \n ldr r3, [r2] \n ldr r4, [r2, #4]
        ldrb r5, [r2, #0x41] \n ldrh r6, [r2, #0x42] \n bkpt #0""",
    unmap_and_read="str r1, [r0] \n ldr r3, [r2] \n bkpt #0",
    read="ldr r3, [r2] \n bkpt #0",
    write="str r3, [r2] \n bkpt #0",
    copy="1: ldr r5, [r2], #4 \n str r5, [r3], #4 \n subs r4, #4 \n bne 1b \n bkpt #0",
    call="blx r2 \n bkpt #0",
    function="movs r0, #0x42 \n bx lr",
)


@pytest.fixture(scope="module")
def module_board() -> Iterator[Board]:
    with Machine() as machine:
        yield Board(machine)


@pytest.fixture
def board(module_board: Board) -> Board:
    machine = module_board.machine
    machine.flash.memory[: len(DATA)] = DATA
    machine.reset(halt=True)
    return module_board


def start(board: Board, name: str, *, mapped: bool, **registers: int) -> HaltReason:
    """Run code with QUADSPI clocked and configured for 16 MiB."""
    values = {"r0": CCR, "r1": FAST_READ_MAPPED, "r2": WINDOW, **registers}
    board.load(THUMB[name], **values)
    configure(board)
    if mapped:
        board.put(CCR, FAST_READ_MAPPED)
    return board.go()


def configure(board: Board) -> None:
    board.put(AHB3ENR, 1 << 14)
    board.put(DCR, 23 << 16)
    board.put(CR, 0x01000011)


def test_the_window_is_a_bus_error_until_it_is_mapped(board: Board) -> None:
    configure(board)
    with pytest.raises(BusError):
        board.word(WINDOW)
    board.put(CCR, FAST_READ_MAPPED)
    assert board.machine.read_memory(WINDOW, 64) == DATA[:64]
    assert board.machine.read_memory(WINDOW + 0x1001, 0x123) == DATA[0x1001:0x1124]
    with pytest.raises(BusError):
        board.machine.read_memory(WINDOW + 0x1000000, 4)
    with pytest.raises(BusError):
        board.put(WINDOW, 0)
    board.put(CR, 0x01000013)  # ABORT
    assert board.machine.flash.memory[0] == DATA[0]


def test_the_core_reads_the_window_in_the_instruction_behind_the_one_that_maps_it(board: Board) -> None:
    assert start(board, "map_and_read", mapped=False) is HaltReason.BREAKPOINT
    word = int.from_bytes
    assert board.registers("r3", "r4", "r5", "r6", "pc") == (
        word(DATA[:4], "little"),
        word(DATA[4:8], "little"),
        DATA[0x41],
        word(DATA[0x42:0x44], "little"),
        CODE + 14,
    )


def test_the_core_faults_in_the_instruction_behind_the_one_that_unmaps_it(board: Board) -> None:
    assert start(board, "unmap_and_read", mapped=True, r0=AHB3RSTR, r1=1 << 14) is HaltReason.BREAKPOINT
    assert board.exception() == 3
    assert (board.word(0xE000ED28), board.word(0xE000ED38)) == (0x8200, WINDOW)
    assert board.word(STACK - 8) == CODE + 2


def test_reads_of_an_unmapped_window_and_writes_are_precise_faults(board: Board) -> None:
    for name, mapped in (("read", False), ("write", False), ("write", True)):
        start(board, name, mapped=mapped)
        assert board.exception() == 3, name
        assert (board.word(0xE000ED28), board.word(0xE000ED38)) == (0x8200, WINDOW)
    start(board, "read", mapped=True, r2=WINDOW + 0x1000000)
    assert (board.exception(), board.word(0xE000ED38)) == (3, WINDOW + 0x1000000)


def test_the_core_copies_out_of_the_window(board: Board) -> None:
    assert start(board, "copy", mapped=True, r3=0x24020000, r4=len(DATA)) is HaltReason.BREAKPOINT
    assert board.machine.read_memory(0x24020000, len(DATA)) == DATA


def test_the_core_executes_from_the_window_at_once_and_sees_new_content(board: Board) -> None:
    board.machine.flash.memory[:4] = THUMB["function"][:4]
    assert start(board, "call", mapped=True, r2=WINDOW | 1) is HaltReason.BREAKPOINT
    assert board.registers("r0", "pc") == (0x42, CODE + 2)
    board.machine.flash.memory[:4] = bytes.fromhex("43207047")  # movs r0, #0x43
    assert start(board, "call", mapped=True, r2=WINDOW | 1) is HaltReason.BREAKPOINT
    assert board.read_register("r0") == 0x43


def test_executing_an_unmapped_window_is_an_instruction_bus_error(board: Board) -> None:
    assert start(board, "call", mapped=False, r2=WINDOW | 1) is HaltReason.BREAKPOINT
    assert (board.exception(), board.word(0xE000ED28)) == (3, 0x100)


def test_the_transfer_complete_interrupt_reaches_the_nvic(board: Board) -> None:
    configure(board)
    board.put(CR, 0x01000011 | 1 << 17)  # TCIE
    board.put(QUADSPI + 0x10, 2)
    board.put(CCR, 0x9F | 1 << 8 | 1 << 24 | 1 << 26)
    assert board.machine.read_memory(QUADSPI + 0x20, 1) == b"\xef"
    board.machine.read_memory(QUADSPI + 0x20, 2)
    assert board.word(0xE000E208) == 1 << 28
    board.put(FCR, 2)
    board.put(0xE000E288, 1 << 28)
    assert board.word(0xE000E208) == 0


def test_a_reset_of_the_mcu_takes_the_window_away_and_leaves_the_chip_alone(board: Board) -> None:
    configure(board)
    board.put(CCR, FAST_READ_MAPPED)
    assert board.word(WINDOW) == int.from_bytes(DATA[:4], "little")
    board.machine.reset(halt=True)
    with pytest.raises(BusError):
        board.word(WINDOW)
    configure(board)
    board.put(CCR, FAST_READ_MAPPED)
    assert board.word(WINDOW) == int.from_bytes(DATA[:4], "little")
