"""The embedded flash memory as code on the core meets it: stores of all kinds, from RAM and from flash itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from gdbflash.board.cpu.guards import Guards
from gdbflash.board.debug import HaltReason
from gdbflash.board.machine import Machine
from tests.support.boardcode import BFAR, CFSR, CODE, FAULTS_ENABLED, SHCSR, Board
from tests.support.flashboard import (
    ARRAY,
    CCR1,
    CR1,
    DBECCERR,
    ECC_FA1R,
    EIGHT,
    EOP,
    INCERR,
    LOCK,
    PG,
    PGSERR,
    PSIZE_64,
    SER,
    SIZE,
    SR1,
    START,
    STRBERR,
    WBNE,
    WORD,
    enable_programming,
    program,
)
from tests.support.thumb import assemble

BLANK = 0xFFFFFFFF
BUS_FAULT = 5
SOURCE = 0x24020000
_OPEN = "ldr r6, =0x52002000 \n ldr r7, =0x45670123 \n str r7, [r6, #4] \n ldr r7, =0xCDEF89AB \n str r7, [r6, #4]"
_POLL = "9: ldr r7, [r6, #0x10] \n tst r7, #4 \n bne 9b"
_ENABLE = "movs r7, #0x32 \n str r7, [r6, #0xC]"
# r0: flash, r1: data in RAM, r2: how many flash words.
_PROGRAM = f"""{_OPEN} \n 1: {_ENABLE} \n movs r3, #8
    2: ldr r4, [r1], #4 \n str r4, [r0], #4 \n subs r3, #1 \n bne 2b \n {_POLL} \n subs r2, #1 \n bne 1b
    movs r7, #1 \n str r7, [r6, #0xC]"""
THUMB = assemble(
    program=f"{_PROGRAM} \n bkpt #0",
    program_here=f"push {{lr}} \n {_PROGRAM} \n pop {{pc}}",
    multiple="stmia r0!, {r4-r11} \n ldmia r1, {r4-r11} \n bkpt #0",
    double="""strd r4, r5, [r0], #8 \n strd r6, r7, [r0] \n str r8, [r0, #8] \n str r9, [r0, #12]! \n str r10, [r0]
        bkpt #0""",
    unaligned="str r4, [r0, #3] \n strh r5, [r0, #1] \n strb r6, [r0] \n bkpt #0",
    conditional="cmp r0, r0 \n itte eq \n streq r4, [r0] \n streq r5, [r0, #4] \n strne r6, [r0, #8] \n bkpt #0",
    conditional_then="""cmp r0, r0 \n itt eq \n streq r4, [r0] \n moveq r1, #1 \n dsb \n
        cmp r0, r0 \n itt eq \n streq r5, [r0, #4] \n addeq r1, #1 \n str r6, [r0, #8] \n
        cmp r0, r0 \n it eq \n streq r7, [r0, #12] \n b 1f \n 1: str r8, [r0, #16] \n
        cmp r0, r0 \n it eq \n streq r9, [r0, #20] \n adds r1, #1 \n bkpt #0""",
    floats="vstmia r0!, {s0-s7} \n bkpt #0",
    read_back="str r4, [r0] \n ldr r2, [r0] \n ldr r3, [r1] \n bkpt #0",
    load="ldr r2, [r0] \n bkpt #0",
    load_multiple="ldmia r0!, {r4, r5} \n bkpt #0",
    store="str r4, [r0] \n str r5, [r0, #4] \n bkpt #0",
    branch="bx r0",
    one="movs r0, #1 \n bx lr",
    two="movs r0, #2 \n bx lr",
    reprogram=f"""mov r9, r0 \n mov r10, r1 \n mov r8, r0 \n orr r8, #1 \n blx r8 \n mov r11, r0
        {_OPEN} \n ldr r7, =0xB4 \n str r7, [r6, #0xC] \n {_POLL} \n {_ENABLE} \n movs r3, #8
        2: ldr r4, [r10], #4 \n str r4, [r9], #4 \n subs r3, #1 \n bne 2b \n blx r8 \n bkpt #0""",
)


@pytest.fixture
def board() -> Iterator[Board]:
    with Machine() as machine:
        machine.erase_flash(ARRAY, SIZE)
        yield Board(machine)


def load(board: Board, name: str, **registers: int) -> None:
    """Get ready to execute a snippet with PG set."""
    board.load(THUMB[name], **registers)
    enable_programming(board)


def run(board: Board, name: str, **registers: int) -> None:
    """Execute a snippet with PG set."""
    load(board, name, **registers)
    assert board.go() is HaltReason.BREAKPOINT
    assert board.exception() == 0


def words(**values: int) -> dict[str, int]:
    """Give r4 to r11 the numbers of EIGHT."""
    return {**{f"r{4 + index}": value for index, value in enumerate(EIGHT)}, **values}


def test_code_in_ram_programs_flash_words(board: Board) -> None:
    data = bytes(range(256)) * 8
    board.load(THUMB["program"], r0=WORD, r1=SOURCE, r2=64)
    board.machine.write_memory(SOURCE, data)
    assert board.go() is HaltReason.BREAKPOINT
    assert board.machine.read_memory(WORD, len(data) + 4) == data + b"\xff" * 4
    assert board.registers("r0", "r2") == (WORD + len(data), 0)
    assert (board.word(SR1), board.word(CR1)) == (EOP, PSIZE_64 | PG | LOCK)


@pytest.mark.parametrize("target", [WORD, ARRAY + 0x1E000], ids=["in its own page", "far away"])
def test_code_in_flash_programs_flash(board: Board, target: int) -> None:
    code = WORD + 0x400
    board.machine.program_flash(code, THUMB["program_here"])
    board.load(bytes.fromhex("00be"), r0=target, r1=SOURCE, r2=2, pc=code, lr=CODE | 1)
    board.put(SOURCE, *EIGHT, *reversed(EIGHT))
    assert board.go() is HaltReason.BREAKPOINT
    assert board.read_register("pc") == CODE
    assert board.words(target, 17) == [*EIGHT, *reversed(EIGHT), BLANK]
    assert board.word(SR1) == EOP


def test_a_multiple_store_fills_the_buffer_once(board: Board) -> None:
    run(board, "multiple", **words(r0=WORD, r1=WORD))
    assert board.words(WORD, 9) == [*EIGHT, BLANK]
    assert board.registers("r0", "r4", "r11") == (WORD + 32, EIGHT[0], EIGHT[7])
    assert board.word(SR1) == EOP


def test_double_stores_and_write_back(board: Board) -> None:
    run(board, "double", **words(r0=WORD))
    assert board.read_register("r0") == WORD + 20
    assert board.word(SR1) == WBNE | STRBERR  # the last two stores were of the same bytes
    board.put(WORD + 24, 0, 0)
    assert board.words(WORD, 8) == [*EIGHT[:5], EIGHT[6], 0, 0]


def test_unaligned_stores_and_bytes(board: Board) -> None:
    run(board, "unaligned", r0=WORD, r4=0x44434241, r5=0x3231, r6=0x2A)
    assert board.word(SR1) == WBNE
    board.put(CR1, PG | 0x40)
    assert board.machine.read_memory(WORD, 8) == b"\x2a12ABCD\xff"


def test_conditional_stores(board: Board) -> None:
    run(board, "conditional", **words(r0=WORD))
    board.put(CR1, PG | 0x40)
    assert board.words(WORD, 8) == [*EIGHT[:2], *[BLANK] * 6]


def test_conditional_stores_among_others(board: Board) -> None:
    run(board, "conditional_then", **words(r0=WORD, r1=0))
    assert (board.read_register("r1"), board.word(SR1)) == (3, WBNE)
    board.put(CR1, PG | 0x40)
    assert board.words(WORD, 8) == [*EIGHT[:6], BLANK, BLANK]


def test_a_breakpoint_behind_a_conditional_store_is_hit(board: Board) -> None:
    load(board, "conditional_then", **words(r0=WORD, r1=0))
    board.machine.set_breakpoint(CODE + 8)  # the DSB
    assert board.go() is HaltReason.BREAKPOINT
    assert board.registers("pc", "r1") == (CODE + 8, 1)
    board.put(CR1, PG | 0x40)
    assert board.words(WORD, 2) == [EIGHT[0], BLANK]


def test_stores_of_the_fpu(board: Board) -> None:
    board.load(THUMB["floats"], r0=WORD)
    board.put(0xE000ED88, 0xF << 20)
    for index, value in enumerate(EIGHT):
        board.write_register(f"s{index}", value)
    enable_programming(board)
    assert board.go() is HaltReason.BREAKPOINT
    assert board.words(WORD, 8) == list(EIGHT)
    assert board.word(SR1) == EOP


def test_what_is_in_the_buffer_is_not_in_flash(board: Board) -> None:
    run(board, "read_back", r0=WORD, r1=WORD, r4=0)
    assert board.registers("r2", "r3") == (BLANK, BLANK)
    assert board.word(SR1) == WBNE


def test_a_store_without_pg_changes_nothing_and_is_no_fault(board: Board) -> None:
    board.machine.program_flash(WORD, b"code")
    assert board.run(THUMB["read_back"], r0=WORD, r1=WORD, r4=0) is HaltReason.BREAKPOINT
    assert (board.exception(), board.word(SR1)) == (0, PGSERR)
    assert board.registers("r2", "r3") == (0x65646F63, 0x65646F63)


@pytest.mark.parametrize("pg", [0, PG])
def test_single_steps_store_as_runs_do(board: Board, pg: int) -> None:
    load(board, "store", r0=WORD + 28, r4=1, r5=2)
    board.put(CR1, pg)
    for _ in range(2):
        board.machine.step()
    assert board.read_register("pc") == CODE + 4
    assert board.words(WORD + 28, 2) == [BLANK, BLANK]
    assert board.word(SR1) == (INCERR if pg else PGSERR)


def test_a_watched_store_is_done_once(board: Board) -> None:
    load(board, "store", r0=WORD, r4=1, r5=2)
    board.machine.set_watchpoint(WORD, 4, "w")
    assert board.go() is HaltReason.WATCHPOINT
    assert board.read_register("pc") == CODE + 2
    assert board.word(SR1) == WBNE
    assert board.go() is HaltReason.BREAKPOINT
    assert board.word(SR1) == WBNE
    board.put(CR1, PG | 0x40)
    assert board.words(WORD, 3) == [1, 2, BLANK]


def test_a_pause_does_not_fall_into_a_store(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    load(board, "store", r0=WORD, r4=1, r5=2)
    store = Guards.store
    threads = []

    def slow(guards: Guards, address: int, size: int, value: int, *, alone: bool) -> bool:
        if alone:
            threads.append(threading.Thread(target=board.machine.processor.core.interrupt))
            threads[-1].start()
            end = time.thread_time() + 0.01
            while time.thread_time() < end:
                time.sleep(0)
        return store(guards, address, size, value, alone=alone)

    monkeypatch.setattr(Guards, "store", slow)
    assert board.go() is HaltReason.BREAKPOINT
    assert len(threads) == 2
    assert board.word(SR1) == WBNE


# -- words that cannot be read ----------------------------------------------------------------------------------


@pytest.fixture
def spoilt(board: Board) -> Board:
    """A board one of whose flash words was programmed twice."""
    enable_programming(board)
    program(board, WORD, *EIGHT)
    program(board, WORD, *reversed(EIGHT))
    return board


@pytest.mark.parametrize(
    ("name", "r0", "at"), [("load", WORD, WORD), ("load", WORD + 28, WORD + 28), ("load_multiple", WORD - 4, WORD)]
)
def test_reading_an_invalid_flash_word_is_a_bus_fault(spoilt: Board, name: str, r0: int, at: int) -> None:
    spoilt.load(THUMB[name], r0=r0, r2=7, r4=7)
    spoilt.put(SHCSR, FAULTS_ENABLED)
    assert spoilt.go() is HaltReason.BREAKPOINT
    assert (spoilt.exception(), spoilt.word(CFSR), spoilt.word(BFAR)) == (BUS_FAULT, 0x8200, at)
    assert spoilt.registers("r0", "r2") == (r0, 7)
    assert (spoilt.word(SR1), spoilt.word(ECC_FA1R)) == (DBECCERR, 0x1000 // 32)


def test_its_neighbours_are_read_and_after_an_erase_it_is_too(spoilt: Board) -> None:
    for address in (WORD - 4, WORD + 32):
        assert spoilt.run(THUMB["load"], r0=address) is HaltReason.BREAKPOINT
        assert (spoilt.exception(), spoilt.read_register("r2")) == (0, BLANK)
    spoilt.machine.erase_flash(ARRAY, SIZE)
    assert spoilt.run(THUMB["load"], r0=WORD) is HaltReason.BREAKPOINT
    assert (spoilt.exception(), spoilt.read_register("r2"), spoilt.word(SR1)) == (0, BLANK, 0)


def test_executing_an_invalid_flash_word_is_a_bus_fault(spoilt: Board) -> None:
    spoilt.load(THUMB["branch"], r0=WORD | 1)
    spoilt.put(SHCSR, FAULTS_ENABLED)
    assert spoilt.go() is HaltReason.BREAKPOINT
    assert (spoilt.exception(), spoilt.word(CFSR), spoilt.word(SR1)) == (BUS_FAULT, 1 << 8, DBECCERR)


def test_code_up_to_an_invalid_flash_word_is_executed(spoilt: Board) -> None:
    code = WORD - 4
    spoilt.machine.program_flash(code, bytes.fromhex("0121 0222"))  # movs r1, #1 / movs r2, #2
    spoilt.load(b"", pc=code, r1=7, r2=7)
    spoilt.put(SHCSR, FAULTS_ENABLED)
    assert spoilt.go() is HaltReason.BREAKPOINT
    assert (spoilt.exception(), spoilt.word(CFSR)) == (BUS_FAULT, 1 << 8)
    assert spoilt.registers("r1", "r2") == (1, 2)
    frame = spoilt.read_register("sp")
    assert spoilt.word(frame + 24) == WORD


# -- code that changes ------------------------------------------------------------------------------------------


def test_code_that_was_reprogrammed_is_what_is_executed(board: Board) -> None:
    """Erase is a write to a register: what was translated of the array must not outlive it."""
    board.machine.program_flash(WORD, THUMB["one"])
    board.load(THUMB["reprogram"], r0=WORD, r1=SOURCE)
    board.machine.write_memory(SOURCE, THUMB["two"].ljust(32, b"\xff"))
    assert board.go() is HaltReason.BREAKPOINT
    assert board.exception() == 0
    assert board.registers("r11", "r0") == (1, 2)
    assert board.word(SR1) == EOP


def test_a_debugger_that_erases_takes_the_code_away(board: Board) -> None:
    board.machine.program_flash(WORD, THUMB["one"])
    for expected in (0, 6):  # none, UsageFault
        board.load(bytes.fromhex("8047 00be"), r0=WORD | 1)  # blx r0 / bkpt
        board.put(SHCSR, FAULTS_ENABLED)
        assert board.go() is HaltReason.BREAKPOINT
        assert board.exception() == expected
        enable_programming(board)
        board.put(CR1, SER)
        board.put(CR1, SER | START)
        board.put(CCR1, EOP)
