"""SysTick, the cycle counter, sleep and reset, on the board's clock."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gdbflash.board.clock import Clock
from gdbflash.board.cpu.systick import CycleCounter, SysTick
from gdbflash.board.debug import HaltReason
from tests.support.boardcode import AIRCR, CODE, HANDLERS, ICSR, STACK, TIMEOUT, Board, running_board
from tests.support.thumb import assemble

SYST_CSR, SYST_RVR, SYST_CVR = 0xE000E010, 0xE000E014, 0xE000E018
DWT_CTRL, DWT_CYCCNT, DEMCR = 0xE0001000, 0xE0001004, 0xE000EDFC

THUMB = assemble(
    # Counts r4 up in the handler at HANDLERS + 60, until it is r5.
    wait="1: ldr r0, [r6] \n cmp r0, r5 \n blo 1b \n bkpt #0",
    tick="ldr r0, [r6] \n adds r0, #1 \n str r0, [r6] \n bx lr",
    poll="""movw r0, #0xe010 \n movt r0, #0xe000 \n movs r1, #0
        1: ldr r2, [r0] \n tst r2, #0x10000 \n beq 1b \n adds r1, #1 \n cmp r1, #5 \n blo 1b \n bkpt #0""",
    cycles="""movw r0, #0x1000 \n movt r0, #0xe000 \n ldr r1, [r0, #4]
        1: ldr r2, [r0, #4] \n subs r3, r2, r1 \n cmp r3, r5 \n blo 1b \n bkpt #0""",
    sleep="wfi \n movs r4, #1 \n bkpt #0",
    tick_and_sleep="str r1, [r0] \n wfi \n movs r4, #1 \n bkpt #0",
    tick_and_wait="str r1, [r0] \n wfe \n movs r4, #1 \n bkpt #0",
    sleep_masked="cpsid i \n wfi \n movs r4, #1 \n bkpt #0",
    reset="""movw r0, #0xed0c \n movt r0, #0xe000 \n movw r1, #0x0004 \n movt r1, #0x05fa \n str r1, [r0] \n dsb
        1: b 1b""",
    busy="movw r0, #0x8480 \n movt r0, #0x1e \n 1: subs r0, #1 \n bne 1b \n bkpt #0",
)


class HandClock(Clock):
    """A clock that stands still unless told otherwise."""

    time = 0.0

    def now(self) -> float:
        return self.time


class Ticks:
    """SysTick on a clock of 1000 Hz that is moved by hand."""

    def __init__(self) -> None:
        self.clock = HandClock()
        cycles = CycleCounter(self.clock, 1000.0)
        cycles.start()
        self.unit = SysTick(cycles)
        self.read, self.write = self.unit.read, self.unit.write

    def wait(self, ticks: int) -> None:
        self.clock.time = round(self.clock.time + ticks / 1000, 6)


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture(scope="module")
def board() -> Iterator[Board]:
    with running_board() as board:
        yield board


def test_systick_counts_down_and_reloads(ticks: Ticks) -> None:
    ticks.write(4, 9)
    ticks.write(0, 5)
    values = []
    for _ in range(12):
        values.append(ticks.read(8))
        ticks.wait(1)
    assert values == [0, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 9]


def test_countflag_is_set_at_zero_and_cleared_by_reading(ticks: Ticks) -> None:
    ticks.write(4, 9)
    ticks.write(0, 5)
    ticks.wait(9)
    assert ticks.read(0) == 5
    ticks.wait(1)
    assert ticks.read(0) == 0x10005
    assert ticks.read(0) == 5
    ticks.wait(30)
    assert ticks.read(0) == 0x10005
    assert ticks.read(0) == 5
    ticks.wait(10)
    ticks.write(8, 123)
    assert (ticks.read(8), ticks.read(0)) == (0, 5)


def test_ticks_are_due_once_each_and_only_with_tickint(ticks: Ticks) -> None:
    ticks.write(4, 9)
    ticks.write(0, 5)
    ticks.wait(20)
    assert not ticks.unit.take_tick()
    ticks.write(0, 7)
    ticks.wait(9)
    assert not ticks.unit.take_tick()
    ticks.wait(1)
    assert ticks.unit.take_tick()
    assert not ticks.unit.take_tick()
    assert ticks.unit.next_tick() == pytest.approx(0.010)
    ticks.wait(4)
    assert ticks.unit.next_tick() == pytest.approx(0.006)


def test_the_external_clock_is_an_eighth(ticks: Ticks) -> None:
    ticks.write(4, 9)
    ticks.write(0, 3)
    assert ticks.unit.next_tick() == pytest.approx(0.080)
    ticks.wait(16)
    assert ticks.read(8) == 8


def test_a_reload_of_zero_never_ticks(ticks: Ticks) -> None:
    ticks.write(0, 7)
    ticks.wait(100)
    assert ticks.unit.next_tick() is None
    assert not ticks.unit.take_tick()
    assert ticks.read(8) == 0


def test_systick_stands_still_while_it_is_disabled(ticks: Ticks) -> None:
    ticks.write(4, 99)
    ticks.write(0, 5)
    ticks.wait(11)
    ticks.write(0, 4)
    ticks.wait(50)
    assert ticks.read(8) == 89
    ticks.write(0, 5)
    ticks.wait(1)
    assert ticks.read(8) == 88


def test_cycles_stop_with_the_core_and_follow_its_clock() -> None:
    clock = HandClock()
    cycles = CycleCounter(clock, 100.0)
    clock.time = 1.0
    assert cycles.now() == 0
    cycles.start()
    clock.time = 2.0
    cycles.hertz = 1000.0
    clock.time = 3.0
    assert cycles.now() == 1100
    cycles.stop()
    clock.time = 9.0
    assert cycles.now() == 1100


def test_systick_interrupts_a_busy_loop_again_and_again(board: Board) -> None:
    board.load(THUMB["wait"], r5=20, r6=0x20000000)
    board.put(0x20000000, 0)
    board.machine.write_memory(HANDLERS + 60, THUMB["tick"])
    board.put(SYST_RVR, 63999)  # a millisecond at 64 MHz
    board.put(SYST_CVR, 0)
    board.put(SYST_CSR, 7)
    before = board.machine.clock.now()
    assert board.go() is HaltReason.BREAKPOINT
    took = board.machine.clock.now() - before
    assert board.read_register("pc") == CODE + 6
    assert 0.019 < took < TIMEOUT
    assert board.registers("sp", "lr") == (STACK, 0xFFFFFFFF)


def test_systick_by_polling(board: Board) -> None:
    board.load(THUMB["poll"])
    board.put(SYST_RVR, 6399)
    board.put(SYST_CVR, 0)
    board.put(SYST_CSR, 5)
    assert board.go() is HaltReason.BREAKPOINT
    assert board.read_register("r1") == 5


def test_a_masked_systick_stays_pending(board: Board) -> None:
    board.load(THUMB["sleep_masked"], primask=1)
    board.put(SYST_RVR, 639)
    board.put(SYST_CSR, 7)
    assert board.go() is HaltReason.BREAKPOINT
    assert board.registers("r4", "pc") == (1, CODE + 6)
    assert board.word(ICSR) == 1 << 26 | 15 << 12 | 1 << 11


@pytest.mark.parametrize("name", ["tick_and_sleep", "tick_and_wait"])
def test_sleep_ends_with_an_interrupt_and_its_handler_comes_first(board: Board, name: str) -> None:
    board.load(THUMB[name], r0=SYST_CSR, r1=7)
    board.put(SYST_RVR, 0xFFFFFF)  # a quarter of a second: long enough to fall asleep, on any host
    board.put(SYST_CVR, 0)
    assert board.go() is HaltReason.BREAKPOINT
    assert board.exception() == 15
    assert board.word(STACK - 8) == CODE + 4


def test_a_sleeping_core_can_be_halted_and_asked(board: Board) -> None:
    board.load(THUMB["sleep"])
    board.machine.resume()
    assert board.machine.wait_halted(0.01) is None
    assert board.word(CODE) != 0
    board.machine.halt()
    assert board.registers("pc", "r4") == (CODE + 2, 0x1004)
    board.machine.step()
    assert board.registers("pc", "r4") == (CODE + 4, 1)


def test_a_sleeping_core_sleeps_on_after_its_memory_was_read(board: Board) -> None:
    board.load(THUMB["sleep"])
    board.machine.resume()
    for _ in range(5):
        board.word(CODE)
    board.machine.halt()
    assert board.registers("pc", "r4") == (CODE + 2, 0x1004)


def test_a_step_takes_no_interrupt(board: Board) -> None:
    board.load(THUMB["busy"])
    board.put(ICSR, 1 << 28)
    board.machine.step()
    assert board.registers("pc", "xpsr") == (CODE + 4, 0x01000000)
    assert board.go() is HaltReason.BREAKPOINT
    assert board.exception() == 14


def test_the_cycle_counter_runs_with_the_cpu_clock(board: Board) -> None:
    board.load(THUMB["cycles"], r5=640000)
    board.put(DEMCR, 1 << 24)
    board.put(DWT_CTRL, 1)
    before = board.machine.clock.now()
    assert board.go() is HaltReason.BREAKPOINT
    assert board.machine.clock.now() - before > 0.009
    assert board.read_register("r3") >= 640000
    stopped = board.word(DWT_CYCCNT)
    assert board.word(DWT_CYCCNT) == stopped
    board.put(DWT_CYCCNT, 0x1000)
    assert board.word(DWT_CYCCNT) == 0x1000
    board.put(DEMCR, 0)
    board.put(DWT_CYCCNT, 0x2000)
    assert board.word(DWT_CYCCNT) == 0x1000


def test_a_loop_of_four_million_instructions_ends(board: Board) -> None:
    assert board.run(THUMB["busy"]) is HaltReason.BREAKPOINT
    assert board.read_register("r0") == 0


def test_sysresetreq_resets_and_runs_on_from_the_vector_table(board: Board) -> None:
    board.load(THUMB["reset"])
    resets = board.machine.resets
    board.machine.write_memory(0x20000000, b"kept")
    board.machine.set_breakpoint(0x08000040)
    assert board.go() is HaltReason.BREAKPOINT
    board.machine.clear_breakpoint(0x08000040)
    assert board.machine.resets == resets + 1
    assert board.registers("pc", "sp", "lr", "xpsr") == (0x08000040, 0x20020000, 0xFFFFFFFF, 0x01000000)
    assert board.machine.read_memory(0x20000000, 4) == b"kept"
    assert board.word(0x580244D0) >> 24 & 1 == 1  # RCC_RSR.SFTRSTF


def test_vector_catch_halts_at_the_reset_vector(board: Board) -> None:
    board.load(THUMB["reset"])
    board.put(DEMCR, 1)
    assert board.go() is HaltReason.VECTOR_CATCH
    assert board.registers("pc", "sp") == (0x08000040, 0x20020000)
    board.put(DEMCR, 0)


def test_sysresetreq_needs_the_key(board: Board) -> None:
    resets = board.machine.resets
    board.put(AIRCR, 4)
    board.machine.step()
    assert board.machine.resets == resets
    board.put(AIRCR, 0x05FA0004)
    board.machine.step()
    assert board.machine.resets == resets + 1
