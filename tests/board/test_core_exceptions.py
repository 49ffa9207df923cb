"""Exceptions of the virtual core as ARMv7-M has them (ARM DDI 0403E, B1.5), with literal register values."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from gdbflash.board.debug import HaltReason
from tests.support.boardcode import (
    BFAR,
    CCR,
    CFSR,
    CODE,
    CPACR,
    FAULTS_ENABLED,
    HANDLERS,
    HFSR,
    ICSR,
    MMFAR,
    PROCESS_STACK,
    SHCSR,
    STACK,
    VECTORS,
    VTOR,
    Board,
    running_board,
)
from tests.support.thumb import assemble

HARD_FAULT, MEM_MANAGE, BUS_FAULT, USAGE_FAULT, SVCALL, PENDSV, SYSTICK = 3, 4, 5, 6, 11, 14, 15
FORCED = 1 << 30

THUMB = assemble(
    svc="cmp r0, r0 \n svc #5 \n movs r5, #1 \n bkpt #0",
    svc_it="cmp r0, r0 \n itt eq \n svceq #5 \n moveq r5, #1 \n bkpt #0",
    process="movs r0, #2 \n msr control, r0 \n isb \n svc #1 \n bkpt #0",
    unprivileged="movs r0, #3 \n msr control, r0 \n isb \n svc #1 \n mrs r5, control \n bkpt #0",
    floating="vmov s0, r0 \n vmov s15, r1 \n vmsr fpscr, r2 \n svc #1 \n vmov r2, s0 \n bkpt #0",
    load="ldr r1, [r0] \n bkpt #0",
    store="str r1, [r0] \n bkpt #0",
    load_multiple="ldm r0!, {r1, r2} \n bkpt #0",
    load_double="ldrd r1, r2, [r0, #8] \n bkpt #0",
    load_double_after="ldrd r1, r2, [r0], #8 \n bkpt #0",
    store_multiple="stm r0!, {r1, r2} \n bkpt #0",
    load_exclusive="ldrex r1, [r0] \n bkpt #0",
    load_vector="vldr s0, [r0] \n bkpt #0",
    load_unaligned="ldr r1, [r0, #1] \n ldrh r2, [r0, #1] \n ldr r3, [r0, r4] \n bkpt #0",
    it_double="cmp r0, r0 \n ittt eq \n moveq r3, #1 \n ldrdeq r1, r2, [r0] \n moveq r3, #2 \n bkpt #0",
    it_double_not="cmp r0, r0 \n itt ne \n ldrdne r1, r2, [r0] \n movne r3, #2 \n bkpt #0",
    branch="bx r0",
    pop="push {r0} \n pop {pc}",
    undefined="udf #1",
    undefined_wide=".inst.w 0xf7f0a000",
    undefined_it="cmp r0, r0 \n itt eq \n moveq r1, #1 \n .inst.n 0xde00 \n bkpt #0",
    wfe_undefined="wfe \n udf #0",
    coprocessor="mrc p5, 0, r0, c1, c0, 0",
    vmov="vmov s0, r0 \n bkpt #0",
    divide="movs r1, #7 \n udiv r2, r1, r0 \n bkpt #0",
    divide_it="cmp r1, r1 \n itt eq \n moveq r1, #7 \n sdiveq r2, r1, r0 \n bkpt #0",
    mask="cpsid i \n svc #0 \n bkpt #0",
    push="push {r0, r1} \n bkpt #0",
    pend="""movw r0, #0xed04 \n movt r0, #0xe000 \n mov.w r1, #0x10000000 \n str r1, [r0] \n nop \n nop \n bkpt #0""",
    pend_masked="""cpsid i \n movw r0, #0xed04 \n movt r0, #0xe000 \n mov.w r1, #0x10000000 \n str r1, [r0]
        movs r4, #1 \n cpsie i \n movs r4, #2 \n bkpt #0""",
    pend_msr="""movs r1, #1 \n msr primask, r1 \n movw r0, #0xed04 \n movt r0, #0xe000 \n mov.w r1, #0x10000000
        str r1, [r0] \n movs r4, #1 \n movs r1, #0 \n msr primask, r1 \n movs r4, #2 \n bkpt #0""",
    pend_basepri="""movs r1, #0x40 \n msr basepri, r1 \n movw r0, #0xed04 \n movt r0, #0xe000 \n mov.w r1, #0x10000000
        str r1, [r0] \n movs r4, #1 \n movs r1, #0 \n msr basepri, r1 \n movs r4, #2 \n bkpt #0""",
    bkpt="bkpt #1",
    return_bad="bx r0",
    handler_return="bx lr",
    handler_svc="svc #1 \n bkpt #0",
)


@pytest.fixture(scope="module")
def module_board() -> Iterator[Board]:
    with running_board() as board:
        yield board


@pytest.fixture
def board(module_board: Board) -> Board:
    return module_board


@pytest.fixture(scope="module")
def alone() -> Iterator[Board]:
    """A board without a debugger: BKPT is an event for the program."""
    with running_board(debugger=False) as board:
        yield board


def start(board: Board, name: str, *, enabled: int = FAULTS_ENABLED, **registers: int) -> HaltReason:
    """Run code with the configurable faults enabled as said."""
    board.load(THUMB[name], **registers)
    board.put(SHCSR, enabled)
    return board.go()


# -- entry and return -----------------------------------------------------------------------------------------


def test_svc_pushes_eight_words_and_enters_its_handler(board: Board) -> None:
    assert start(board, "svc") is HaltReason.BREAKPOINT
    assert board.exception() == SVCALL
    assert board.registers("pc", "lr", "sp", "xpsr", "control") == (
        HANDLERS + 4 * 11,
        0xFFFFFFF9,
        STACK - 0x20,
        0x6100000B,
        0,
    )
    assert board.words(STACK - 0x20, 8) == [
        0x1000,
        0x1001,
        0x1002,
        0x1003,
        0x100C,
        0xFFFFFFFF,
        CODE + 4,
        0x61000000,
    ]
    assert board.word(ICSR) & 0x9FF == 0x800 | SVCALL
    assert board.word(SHCSR) == FAULTS_ENABLED | 1 << 7


def test_return_restores_what_was_pushed(board: Board) -> None:
    start(board, "svc")
    board.put(STACK - 0x20, 0xAAAA, 0xBBBB)
    board.machine.write_memory(HANDLERS + 4 * 11, bytes.fromhex("00bf"))  # nop
    assert board.go() is HaltReason.BREAKPOINT
    assert board.registers("pc", "r0", "r1", "r2", "r5", "sp", "lr", "xpsr") == (
        CODE + 6,
        0xAAAA,
        0xBBBB,
        0x1002,
        1,
        STACK,
        0xFFFFFFFF,
        0x21000000,
    )


def test_a_stack_that_is_not_a_multiple_of_eight_is_aligned_and_put_back(board: Board) -> None:
    start(board, "svc", sp=STACK - 4)
    assert board.read_register("sp") == STACK - 0x28
    assert board.word(STACK - 0x28 + 28) == 0x61000200
    board.machine.write_memory(HANDLERS + 4 * 11, bytes.fromhex("00bf"))
    board.go()
    assert board.registers("pc", "sp", "xpsr") == (CODE + 6, STACK - 4, 0x21000000)


def test_it_state_is_pushed_and_restored(board: Board) -> None:
    start(board, "svc_it")
    assert board.read_register("xpsr") == 0x6100000B
    assert board.word(STACK - 4) == 0x61000800
    board.machine.write_memory(HANDLERS + 4 * 11, bytes.fromhex("00bf"))
    board.go()
    assert board.registers("pc", "r5", "xpsr") == (CODE + 8, 1, 0x61000000)


def test_thread_mode_on_the_process_stack(board: Board) -> None:
    start(board, "process", psp=PROCESS_STACK)
    assert board.registers("lr", "sp", "msp", "psp", "control", "xpsr") == (
        0xFFFFFFFD,
        STACK,
        STACK,
        PROCESS_STACK - 0x20,
        0,
        0x0100000B,
    )
    assert board.word(PROCESS_STACK - 0x20 + 24) == CODE + 12
    board.machine.write_memory(HANDLERS + 4 * 11, bytes.fromhex("00bf"))
    board.go()
    assert board.registers("pc", "sp", "msp", "psp", "control") == (CODE + 12, PROCESS_STACK, STACK, PROCESS_STACK, 2)


def test_an_unprivileged_thread_comes_back_unprivileged(board: Board) -> None:
    start(board, "unprivileged", psp=PROCESS_STACK)
    assert board.registers("control", "lr", "sp") == (1, 0xFFFFFFFD, STACK)
    board.machine.write_memory(HANDLERS + 4 * 11, bytes.fromhex("00bf"))
    board.go()
    assert board.registers("r5", "control", "sp") == (3, 3, PROCESS_STACK)


def test_a_floating_point_context_is_pushed_and_restored(board: Board) -> None:
    board.load(THUMB["floating"], r0=0x3F800000, r1=0x40000000, r2=0x03000000)
    board.put(CPACR, 0x00F00000)
    assert board.go() is HaltReason.BREAKPOINT
    assert board.registers("lr", "sp", "control") == (0xFFFFFFE9, STACK - 0x68, 0)
    frame = board.words(STACK - 0x68, 26)
    assert (frame[6], frame[8], frame[23], frame[24], frame[25]) == (CODE + 14, 0x3F800000, 0x40000000, 0x03000000, 0)
    board.machine.write_memory(HANDLERS + 4 * 11, bytes.fromhex("00bf"))
    board.write_register("s0", 0x11111111)
    board.put(STACK - 0x68 + 32, 0x22222222)
    board.go()
    assert board.registers("pc", "r2", "s0", "s15", "sp", "control", "fpscr") == (
        CODE + 18,
        0x22222222,
        0x22222222,
        0x40000000,
        STACK,
        4,
        0x03000000,
    )


# -- faults ---------------------------------------------------------------------------------------------------

FAULTS = [
    # code, r0, exception, CFSR, BFAR, stacked PC
    ("load", 0x60000000, BUS_FAULT, 0x8200, 0x60000000, 0),
    ("load", 0x90000000, BUS_FAULT, 0x8200, 0x90000000, 0),
    ("load", 0x40100000, BUS_FAULT, 0x8200, 0x40100000, 0),
    ("store", 0xA0000004, BUS_FAULT, 0x8200, 0xA0000004, 0),
    ("store", 0x1FF00000, BUS_FAULT, 0x8200, 0x1FF00000, 0),
    ("load_multiple", 0x2001FFFC, BUS_FAULT, 0x8200, 0x20020000, 0),
    ("load_double_after", 0x2001FFFC, BUS_FAULT, 0x8200, 0x20020000, 0),
    ("load_multiple", 0x20000002, USAGE_FAULT, 1 << 24, None, 0),
    ("load_double", 0x20000001, USAGE_FAULT, 1 << 24, None, 0),
    ("load_double_after", 0x20000003, USAGE_FAULT, 1 << 24, None, 0),
    ("store_multiple", 0x20000002, USAGE_FAULT, 1 << 24, None, 0),
    ("load_exclusive", 0x20000002, USAGE_FAULT, 1 << 24, None, 0),
    ("it_double", 0x20000002, USAGE_FAULT, 1 << 24, None, 6),
    ("branch", 0x60000001, BUS_FAULT, 1 << 8, None, 0x60000000 - CODE),
    ("branch", 0x10000001, BUS_FAULT, 1 << 8, None, 0x10000000 - CODE),
    ("branch", 0x40000001, MEM_MANAGE, 1, None, 0x40000000 - CODE),
    ("branch", 0xE0000001, MEM_MANAGE, 1, None, 0xE0000000 - CODE),
    ("branch", 0xFFFFFFF9, MEM_MANAGE, 1, None, 0xFFFFFFF8 - CODE),
    ("branch", 0x24000100, USAGE_FAULT, 1 << 17, None, 0x100),
    ("pop", 0x24000100, USAGE_FAULT, 1 << 17, None, 0x100),
    ("undefined", 0, USAGE_FAULT, 1 << 16, None, 0),
    ("undefined_wide", 0, USAGE_FAULT, 1 << 16, None, 0),
    ("undefined_it", 0, USAGE_FAULT, 1 << 16, None, 6),
    ("coprocessor", 0, USAGE_FAULT, 1 << 19, None, 0),
    ("vmov", 0, USAGE_FAULT, 1 << 19, None, 0),
    ("load_vector", 0x20000000, USAGE_FAULT, 1 << 19, None, 0),
]


@pytest.mark.parametrize(("name", "r0", "number", "cfsr", "bfar", "offset"), FAULTS)
def test_faults_tell_their_cause_and_place(
    board: Board, name: str, r0: int, number: int, cfsr: int, bfar: int | None, offset: int
) -> None:
    assert start(board, name, r0=r0) is HaltReason.BREAKPOINT
    assert (board.exception(), board.word(CFSR), board.word(HFSR)) == (number, cfsr, 0)
    if bfar is not None:
        assert board.word(BFAR) == bfar
    assert board.read_register("lr") == 0xFFFFFFF9
    frame = board.words(STACK - 0x20, 8)
    assert frame[6] == (CODE + offset) & 0xFFFFFFFF
    assert frame[0] == r0


@pytest.mark.parametrize(("name", "r0", "number", "cfsr", "bfar", "offset"), FAULTS)
def test_disabled_faults_escalate_to_hard_fault(
    board: Board, name: str, r0: int, number: int, cfsr: int, bfar: int | None, offset: int
) -> None:
    assert start(board, name, enabled=0, r0=r0) is HaltReason.BREAKPOINT
    assert (board.exception(), board.word(CFSR), board.word(HFSR)) == (HARD_FAULT, cfsr, FORCED)
    assert board.words(STACK - 0x20, 8)[6] == (CODE + offset) & 0xFFFFFFFF
    assert (number, bfar) != (HARD_FAULT, 0)


def test_a_fault_leaves_the_registers_of_its_instruction_alone(board: Board) -> None:
    start(board, "load_multiple", r0=0x2001FFFC)
    assert board.registers("r0", "r2") == (0x2001FFFC, 0x1002)
    start(board, "load_double_after", r0=0x20000003)
    assert board.registers("r0", "r1", "r2") == (0x20000003, 0x1001, 0x1002)


def test_an_instruction_whose_condition_fails_does_not_fault(board: Board) -> None:
    assert start(board, "it_double_not", r0=0x20000001) is HaltReason.BREAKPOINT
    assert board.registers("pc", "r0", "r3") == (CODE + 10, 0x20000001, 0x1003)


def test_undefined_behind_wfe_is_undefined(board: Board) -> None:
    board.load(THUMB["wfe_undefined"])
    board.put(SHCSR, FAULTS_ENABLED)
    board.put(ICSR, 1 << 28)  # PendSV: an event, so that WFE falls through
    board.machine.write_memory(HANDLERS + 4 * 14, bytes.fromhex("00bf"))
    assert board.go() is HaltReason.BREAKPOINT
    assert (board.exception(), board.word(CFSR), board.word(STACK - 8)) == (USAGE_FAULT, 1 << 16, CODE + 2)


def test_unaligned_words_and_halfwords_are_fine_by_default(board: Board) -> None:
    board.machine.write_memory(0x20000000, bytes(range(16)))
    assert start(board, "load_unaligned", r0=0x20000000, r4=2) is HaltReason.BREAKPOINT
    assert board.registers("r1", "r2", "r3") == (0x04030201, 0x0201, 0x05040302)


@pytest.mark.parametrize(("r0", "offset"), [(0x20000000, 0), (0x20000003, 4), (0x20000001, 2)])
def test_unaligned_accesses_fault_when_trapped(board: Board, r0: int, offset: int) -> None:
    board.load(THUMB["load_unaligned"], r0=r0, r4=3)
    board.put(SHCSR, FAULTS_ENABLED)
    board.put(CCR, 0x208)
    if offset == 2:
        board.write_register("pc", CODE + 4)  # ldrh
        board.write_register("r0", 0x20000000)
        offset = 4
    elif offset == 4:
        board.write_register("pc", CODE + 8)
        board.write_register("r4", 2)
        offset = 8
    board.go()
    assert (board.exception(), board.word(CFSR)) == (USAGE_FAULT, 1 << 24)
    assert board.word(STACK - 8) == CODE + offset


@pytest.mark.parametrize("name", ["divide", "divide_it"])
def test_division_by_zero_is_zero_unless_trapped(board: Board, name: str) -> None:
    assert start(board, name, r0=0) is HaltReason.BREAKPOINT
    assert board.registers("r2", "xpsr")[0] == 0
    assert board.exception() == 0
    board.load(THUMB[name], r0=0)
    board.put(SHCSR, FAULTS_ENABLED)
    board.put(CCR, 0x210)
    board.go()
    assert (board.exception(), board.word(CFSR)) == (USAGE_FAULT, 1 << 25)
    board.load(THUMB[name], r0=2)
    board.put(CCR, 0x210)
    board.go()
    assert (board.exception(), board.read_register("r2")) == (0, 3)


def test_floating_point_works_once_cpacr_says_so(board: Board) -> None:
    board.load(THUMB["vmov"], r0=5)
    board.put(CPACR, 0x00F00000)
    assert board.go() is HaltReason.BREAKPOINT
    assert (board.exception(), board.read_register("s0")) == (0, 5)
    board.load(THUMB["load_vector"], r0=0x20000002)
    board.put(SHCSR, FAULTS_ENABLED)
    board.put(CPACR, 0x00F00000)
    board.go()
    assert (board.exception(), board.word(CFSR)) == (USAGE_FAULT, 1 << 24)


def test_fault_flags_stay_until_ones_are_written(board: Board) -> None:
    start(board, "load", enabled=0, r0=0x60000000)
    assert (board.word(CFSR), board.word(HFSR)) == (0x8200, FORCED)
    board.machine.write_memory(CFSR + 1, b"\x02")
    assert board.word(CFSR) == 0x8000
    board.put(CFSR, 0xFFFFFFFF)
    board.put(HFSR, FORCED)
    assert (board.word(CFSR), board.word(HFSR), board.word(BFAR)) == (0, 0, 0x60000000)


def test_a_push_below_memory_faults_without_moving_sp(board: Board) -> None:
    start(board, "push", sp=0x24000000)
    assert board.word(CFSR) & 0x8200 == 0x8200
    assert board.word(BFAR) == 0x23FFFFF8


def test_a_frame_that_finds_no_memory_is_a_stacking_error(board: Board) -> None:
    assert start(board, "svc", sp=0x20000010) is HaltReason.BREAKPOINT
    # SVCall pends behind the derived BusFault, which has the same priority and the lower number.
    assert board.word(CFSR) & 0x1000 == 0x1000
    assert board.read_register("sp") == 0x1FFFFFF0


def test_a_stacking_error_with_bus_fault_disabled_is_a_hard_fault(board: Board) -> None:
    assert start(board, "svc", enabled=0, sp=0x20000010) is HaltReason.BREAKPOINT
    assert (board.exception(), board.word(CFSR), board.word(HFSR)) == (HARD_FAULT, 0x1000, FORCED)


# -- priorities -----------------------------------------------------------------------------------------------


def test_svc_that_is_masked_is_a_hard_fault(board: Board) -> None:
    assert start(board, "mask") is HaltReason.BREAKPOINT
    assert (board.exception(), board.word(HFSR), board.word(CFSR)) == (HARD_FAULT, FORCED, 0)
    assert board.word(STACK - 8) == CODE + 4


def test_a_fault_in_a_handler_of_the_same_priority_escalates(board: Board) -> None:
    board.load(THUMB["svc"], r0=0x60000000)
    board.put(SHCSR, FAULTS_ENABLED)
    board.machine.write_memory(HANDLERS + 4 * 11, THUMB["load"][:2])
    board.go()
    assert (board.exception(), board.word(HFSR), board.word(CFSR)) == (HARD_FAULT, FORCED, 0x8200)
    assert board.registers("lr", "xpsr")[0] == 0xFFFFFFF1
    assert board.word(STACK - 0x40 + 24) == HANDLERS + 4 * 11
    assert board.word(STACK - 0x40 + 28) & 0x1FF == 11


def test_a_more_urgent_fault_preempts_a_handler(board: Board) -> None:
    board.load(THUMB["svc"], r0=0x60000000)
    board.put(SHCSR, FAULTS_ENABLED)
    board.machine.write_memory(0xE000ED1F, b"\xf0")  # SVCall
    board.machine.write_memory(HANDLERS + 4 * 11, THUMB["load"][:2])
    board.go()
    assert (board.exception(), board.word(HFSR)) == (BUS_FAULT, 0)
    assert board.read_register("lr") == 0xFFFFFFF1


def test_pendsv_is_taken_at_the_instruction_behind_the_write(board: Board) -> None:
    start(board, "pend")
    assert board.exception() == PENDSV
    assert board.word(STACK - 8) == CODE + 14
    assert board.word(ICSR) >> 28 == 0


@pytest.mark.parametrize(("name", "offset"), [("pend_masked", 20), ("pend_msr", 28), ("pend_basepri", 28)])
def test_a_masked_exception_is_taken_when_it_is_unmasked(board: Board, name: str, offset: int) -> None:
    board.load(THUMB[name])
    board.put(0xE000ED20, 0x00800000)  # PendSV at 0x80: below BASEPRI
    assert board.go() is HaltReason.BREAKPOINT
    assert (board.exception(), board.read_register("r4")) == (PENDSV, 1)
    assert board.word(STACK - 8) == CODE + offset
    board.machine.write_memory(HANDLERS + 4 * 14, bytes.fromhex("00bf"))
    board.go()
    assert board.read_register("r4") == 2


def test_equal_pending_exceptions_go_by_number_and_tail_chain(board: Board) -> None:
    board.load(THUMB["svc"])
    board.put(ICSR, 1 << 28 | 1 << 26)  # PendSV, SysTick
    board.machine.resume()
    board.machine.wait_halted(20)
    assert board.exception() == PENDSV
    assert board.word(ICSR) >> 12 & 0x1FF == SYSTICK
    board.machine.write_memory(HANDLERS + 4 * 14, bytes.fromhex("00bf"))
    board.go()
    assert board.exception() == SYSTICK
    assert board.registers("lr", "sp") == (0xFFFFFFF9, STACK - 0x20)
    board.machine.write_memory(HANDLERS + 4 * 15, bytes.fromhex("00bf"))
    board.go()
    assert board.exception() == SVCALL


def test_interrupts_of_the_nvic(board: Board) -> None:
    board.load(THUMB["svc"])
    board.machine.write_memory(VECTORS + 4 * (16 + 92), struct.pack("<I", HANDLERS + 4 * 40 | 1))
    board.put(0xE000E200 + 8, 1 << 28)  # ISPR2: interrupt 92
    assert board.word(0xE000E208) == 1 << 28
    assert board.word(ICSR) == 1 << 22 | 1 << 11
    board.put(0xE000E100 + 8, 1 << 28)
    assert board.word(ICSR) == 1 << 22 | 108 << 12 | 1 << 11
    board.machine.write_memory(0xE000E400 + 92, b"\x5f")
    assert board.machine.read_memory(0xE000E45C, 1) == b"\x50"
    board.go()
    assert board.exception() == 40
    assert board.read_register("xpsr") & 0x1FF == 108
    assert board.word(0xE000E300 + 8) == 1 << 28
    assert board.word(0xE000E200 + 8) == 0
    board.machine.write_memory(HANDLERS + 4 * 40, bytes.fromhex("00bf"))
    board.go()
    assert board.exception() == SVCALL


def test_a_disabled_interrupt_stays_pending(board: Board) -> None:
    board.load(THUMB["svc"])
    board.put(0xE000E200, 1)
    board.go()
    assert board.exception() == SVCALL
    assert board.word(0xE000E200) == 1
    board.put(0xE000E280, 1)
    assert board.word(0xE000E200) == 0


# -- lockup, reset, return ------------------------------------------------------------------------------------


def test_a_fault_in_hard_fault_locks_up(board: Board) -> None:
    board.load(THUMB["load"], r0=0x60000000)
    board.machine.write_memory(HANDLERS + 4 * 3, THUMB["undefined"][:2])
    assert board.go() is HaltReason.LOCKUP
    assert board.registers("pc", "xpsr") == (0xEFFFFFFE, 0x01000003)
    assert board.word(CFSR) == 0x8200 | 1 << 16
    assert board.go() is HaltReason.LOCKUP


def test_svc_in_hard_fault_locks_up(board: Board) -> None:
    board.load(THUMB["load"], r0=0x60000000)
    board.machine.write_memory(HANDLERS + 4 * 3, THUMB["svc"][2:4])
    assert board.go() is HaltReason.LOCKUP


def test_an_erased_flash_locks_up_at_reset() -> None:
    with running_board() as other:
        other.machine.soc.flash.fill(0xFF)
        other.machine.reset(halt=True)
        assert other.registers("pc", "sp", "xpsr") == (0xFFFFFFFE, 0xFFFFFFFC, 0x01000000)
        assert other.go() is HaltReason.LOCKUP
        assert other.registers("pc", "xpsr") == (0xEFFFFFFE, 0x01000003)


def test_a_debugger_gets_the_core_out_of_lockup(board: Board) -> None:
    test_a_fault_in_hard_fault_locks_up(board)
    assert board.run(THUMB["bkpt"]) is HaltReason.BREAKPOINT
    assert board.read_register("pc") == CODE


def test_a_return_to_nowhere_is_a_usage_fault_without_a_new_frame(board: Board) -> None:
    board.load(THUMB["svc"])
    board.put(SHCSR, FAULTS_ENABLED)
    board.machine.write_memory(HANDLERS + 4 * 11, THUMB["return_bad"][:2])
    board.machine.write_register("r0", 0xFFFFFFF5)
    board.go()
    assert (board.exception(), board.word(CFSR)) == (USAGE_FAULT, 1 << 18)
    assert board.registers("sp", "lr") == (STACK - 0x20, 0xFFFFFFF5)


def test_a_return_that_pops_from_nowhere_is_an_unstacking_error(board: Board) -> None:
    start(board, "svc")
    board.write_register("sp", 0x2001FFF0)
    board.machine.write_memory(HANDLERS + 4 * 11, bytes.fromhex("00bf"))
    board.go()
    assert (board.exception(), board.word(CFSR)) == (BUS_FAULT, 0x800)


def test_a_vector_without_thumb_bit_is_an_invalid_state(board: Board) -> None:
    board.load(THUMB["svc"])
    board.put(SHCSR, FAULTS_ENABLED)
    board.put(VECTORS + 4 * 11, HANDLERS + 4 * 11)
    board.go()
    # UsageFault does not preempt SVCall, both at priority 0.
    assert (board.exception(), board.word(CFSR), board.word(HFSR)) == (HARD_FAULT, 1 << 17, FORCED)
    assert board.word(STACK - 0x40 + 24) == HANDLERS + 4 * 11


def test_a_vector_table_that_cannot_be_read_is_a_hard_fault(board: Board) -> None:
    board.load(THUMB["svc"])
    board.put(VTOR, 0x60000000)
    assert board.go() is HaltReason.LOCKUP
    assert board.word(HFSR) & 2 == 2


def test_bkpt_without_a_debugger_is_a_hard_fault(alone: Board) -> None:
    alone.load(THUMB["bkpt"])
    alone.machine.write_memory(HANDLERS + 4 * 3, bytes.fromhex("fee7"))  # b .
    alone.machine.resume()
    assert alone.machine.wait_halted(0.05) is None
    alone.machine.halt()
    assert alone.registers("pc", "xpsr") == (HANDLERS + 12, 0x01000003)
    assert alone.word(HFSR) == 1 << 31
    assert alone.word(STACK - 8) == CODE


def test_bkpt_without_a_debugger_in_hard_fault_locks_up(alone: Board) -> None:
    alone.load(THUMB["bkpt"])
    assert alone.go() is HaltReason.LOCKUP


def test_bkpt_goes_to_the_debug_monitor_when_enabled(alone: Board) -> None:
    alone.load(THUMB["bkpt"])
    alone.put(0xE000EDFC, 1 << 16)  # DEMCR.MON_EN
    alone.machine.write_memory(HANDLERS + 4 * 12, bytes.fromhex("fee7"))
    alone.machine.resume()
    assert alone.machine.wait_halted(0.05) is None
    alone.machine.halt()
    assert alone.read_register("xpsr") == 0x0100000C
    alone.put(0xE000EDFC, 0)


def test_mmfar_is_not_valid_for_a_fetch(board: Board) -> None:
    start(board, "branch", r0=0x40000001)
    assert board.word(CFSR) == 1
    assert board.word(MMFAR) == 0


# -- debug ----------------------------------------------------------------------------------------------------

DEMCR, DFSR, DHCSR = 0xE000EDFC, 0xE000ED30, 0xE000EDF0


@pytest.mark.parametrize(
    ("bits", "name", "enabled", "r0", "number"),
    [
        (1 << 10, "load", 0, 0x60000000, HARD_FAULT),
        (1 << 8, "load", FAULTS_ENABLED, 0x60000000, BUS_FAULT),
        (1 << 7, "undefined", FAULTS_ENABLED, 0, USAGE_FAULT),
        (1 << 6, "load_double", FAULTS_ENABLED, 0x20000001, USAGE_FAULT),
        (1 << 5, "coprocessor", FAULTS_ENABLED, 0, USAGE_FAULT),
        (1 << 4, "branch", FAULTS_ENABLED, 0x40000001, MEM_MANAGE),
    ],
)
def test_vector_catch_halts_where_the_handler_begins(
    board: Board, bits: int, name: str, enabled: int, r0: int, number: int
) -> None:
    board.put(DEMCR, bits)
    board.put(DFSR, 0xFFFFFFFF)
    try:
        assert start(board, name, enabled=enabled, r0=r0) is HaltReason.VECTOR_CATCH
        assert board.registers("pc", "lr", "sp") == (HANDLERS + 4 * number, 0xFFFFFFF9, STACK - 0x20)
        assert board.word(DFSR) & 8 == 8
        board.put(DEMCR, 0)
        assert board.go() is HaltReason.BREAKPOINT
        assert board.exception() == number
    finally:
        board.put(DEMCR, 0)


def test_dfsr_collects_why_the_core_halted(board: Board) -> None:
    board.load(THUMB["bkpt"])
    board.put(DFSR, 0xFFFFFFFF)
    assert board.word(DFSR) == 0
    board.go()
    assert board.word(DFSR) == 2
    board.machine.step()
    assert board.word(DFSR) == 2  # a step onto BKPT is a breakpoint
    board.put(DFSR, 2)
    board.load(THUMB["svc"])
    board.put(DFSR, 0xFFFFFFFF)
    board.machine.step()
    assert board.word(DFSR) == 1


def test_a_program_sees_whether_a_debugger_is_there(board: Board, alone: Board) -> None:
    board.machine.halt()
    alone.machine.halt()
    assert (board.word(DHCSR), alone.word(DHCSR)) == (0x00030003, 0x00030002)
