"""The virtual core: instructions, run control, breakpoints, watchpoints and IT blocks, with literal results."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gdbflash.board.bus import BusError
from gdbflash.board.debug import HaltReason
from tests.support.boardcode import BFAR, CFSR, CODE, ICSR, STACK, Board, running_board
from tests.support.thumb import assemble

THUMB = assemble(
    add="movs r0, #1 \n adds r0, #2 \n bkpt #0",
    loop="movs r0, #0 \n 1: adds r0, #1 \n b 1b",
    forever="b .",
    call="push {r4, lr} \n bl 1f \n pop {r4, pc} \n 1: movs r0, #7 \n bx lr",
    it_true="cmp r0, r0 \n ittte eq \n moveq r0, #1 \n moveq r1, #2 \n moveq r2, #3 \n movne r3, #4 \n bkpt #0",
    it_false="cmp r0, r0 \n itttt ne \n movne r0, #1 \n movne r1, #2 \n movne r2, #3 \n movne r3, #4 \n bkpt #0",
    it_branch="cmp r0, r0 \n itt eq \n moveq r0, #1 \n beq 1f \n movs r0, #9 \n 1: movs r1, #8 \n bkpt #0",
    it_wide="cmp r0, r0 \n itt eq \n ldreq.w r1, [r2] \n moveq r3, #5 \n bkpt #0",
    it_system="""cmp r0, r0 \n itttt eq \n mrseq r1, control \n msreq primask, r0 \n mrseq r2, primask \n moveq r3, #1
        ite eq \n isbeq \n wfine \n bkpt #0""",
    store="movw r1, #0x100 \n movt r1, #0x2400 \n movs r0, #5 \n str r0, [r1] \n movs r2, #6 \n bkpt #0",
    copy="ldr r2, [r0] \n movs r3, #1 \n str r2, [r1] \n movs r3, #2 \n bkpt #0",
    double="vmov.f64 d0, #1.5 \n vadd.f64 d1, d0, d0 \n vmov r0, r1, d1 \n vmov.f32 s5, #2.0 \n bkpt #0",
    special="""movs r0, #0x35 \n msr basepri, r0 \n mrs r1, basepri \n movs r0, #3 \n msr primask, r0 \n mrs r2, primask
        movw r0, #0x8000 \n movt r0, #0x2000 \n msr psp, r0 \n mrs r3, psp \n movs r0, #1
        msr faultmask, r0 \n mrs r4, faultmask \n mrs r5, msp \n movs r0, #2 \n msr control, r0
        isb \n mrs r6, control \n mov r7, sp \n bkpt #0""",
    flags="movs r0, #0 \n subs r0, #1 \n mrs r1, apsr \n mrs r2, ipsr \n mrs r3, xpsr \n bkpt #0",
    unprivileged="""movs r0, #1 \n msr control, r0 \n isb \n cpsid i \n mrs r1, control \n mrs r2, primask
        movs r0, #0 \n msr control, r0 \n isb \n mrs r3, control \n bkpt #0""",
    float_context="mrs r0, control \n vmov s0, r0 \n mrs r1, control \n bkpt #0",
    rewrite="""adr r0, 1f \n movw r2, #0x2107 \n movs r4, #0 \n bl 1f \n strh r2, [r0] \n dsb \n isb \n bl 1f
        bkpt #0 \n .balign 4 \n 1: movs r1, #5 \n adds r4, r4, r1 \n bx lr""",
    counted_write="""movs r0, #0 \n 1: adds r0, #1 \n cmp r0, r0 \n it eq \n streq r0, [r1] \n cmp r0, r3 \n bne 1b
        bkpt #0""",
    counted_read="""movs r0, #0 \n movs r4, #0 \n 1: adds r0, #1 \n cmp r0, r0 \n it eq \n ldreq r2, [r1] \n add r4, r2
        cmp r0, r3 \n bne 1b \n bkpt #0""",
    it_then_flags="""cpsid i \n movs r0, #1 \n movs r3, #0 \n cmp r0, #2 \n it ne \n strne r2, [r1] \n b 1f \n nop
        1: movs r2, #0 \n beq 2f \n movs r3, #9 \n 2: bkpt #0""",
    it_store="cmp r0, r0 \n ite eq \n streq r0, [r1] \n strne r0, [r1, #4] \n bkpt #0",
    exclusive="1: ldrex r1, [r0] \n adds r1, #1 \n strex r2, r1, [r0] \n cmp r2, #0 \n bne 1b \n bkpt #0",
)


@pytest.fixture(scope="module")
def module_board() -> Iterator[Board]:
    with running_board() as board:
        yield board


@pytest.fixture
def board(module_board: Board) -> Iterator[Board]:
    yield module_board
    for address in range(CODE, CODE + 0x40, 2):
        module_board.machine.clear_breakpoint(address)


def test_the_board_powers_up_halted_at_its_reset_vector() -> None:
    with running_board() as board:
        assert board.machine.halted is HaltReason.VECTOR_CATCH
        assert board.registers("pc", "sp", "msp", "psp", "lr", "xpsr", "control", "primask") == (
            0x08000040,
            0x20020000,
            0x20020000,
            0,
            0xFFFFFFFF,
            0x01000000,
            0,
            0,
        )


def test_code_runs_until_a_bkpt_and_pc_is_at_it(board: Board) -> None:
    assert board.run(THUMB["add"]) is HaltReason.BREAKPOINT
    assert board.registers("r0", "pc", "r12") == (3, CODE + 4, 0x100C)


def test_a_step_executes_one_instruction(board: Board) -> None:
    board.load(THUMB["call"])
    board.write_register("lr", CODE + 0x101)
    seen = []
    for _ in range(5):
        board.machine.step()
        assert board.machine.halted is HaltReason.STEP
        seen.append(board.registers("pc", "r0", "sp"))
    assert seen == [
        (CODE + 2, 0x1000, STACK - 8),
        (CODE + 8, 0x1000, STACK - 8),
        (CODE + 10, 7, STACK - 8),
        (CODE + 6, 7, STACK - 8),
        (CODE + 0x100, 7, STACK),
    ]


def test_halt_stops_the_tightest_loop(board: Board) -> None:
    board.load(THUMB["forever"])
    board.machine.resume()
    assert board.machine.wait_halted(0.01) is None
    assert board.halted() is None
    board.machine.halt()
    assert board.halted() is HaltReason.REQUEST
    assert board.read_register("pc") == CODE


def test_a_breakpoint_stops_before_its_instruction_and_is_stepped_over(board: Board) -> None:
    board.load(THUMB["loop"])
    board.machine.set_breakpoint(CODE + 4)
    board.machine.set_breakpoint(CODE + 4)
    counts = []
    for _ in range(3):
        assert board.go() is HaltReason.BREAKPOINT
        counts.append(board.registers("r0", "pc"))
    assert counts == [(1, CODE + 4), (2, CODE + 4), (3, CODE + 4)]
    board.machine.clear_breakpoint(CODE + 4)
    board.machine.clear_breakpoint(CODE + 4)
    board.machine.resume()
    assert board.machine.wait_halted(0.01) is None
    board.machine.halt()
    assert board.read_register("r0") > 3


def test_a_step_from_a_breakpoint_executes_its_instruction(board: Board) -> None:
    board.load(THUMB["add"])
    board.machine.set_breakpoint(CODE)
    board.machine.step()
    assert board.registers("pc", "r0") == (CODE + 2, 1)


def test_a_breakpoint_in_an_it_block_stops_there(board: Board) -> None:
    board.load(THUMB["it_true"])
    board.machine.set_breakpoint(CODE + 8)
    assert board.go() is HaltReason.BREAKPOINT
    assert board.registers("pc", "r0", "r1", "r2", "xpsr") == (CODE + 8, 1, 2, 0x1002, 0x61000C00)
    assert board.go() is HaltReason.BREAKPOINT
    assert board.registers("pc", "r2", "r3", "xpsr") == (CODE + 12, 3, 0x1003, 0x61000000)


@pytest.mark.parametrize(
    ("name", "addresses", "results"),
    [
        ("it_true", [2, 4, 6, 8, 10, 12], (1, 2, 3, 0x1003)),
        ("it_false", [2, 4, 6, 8, 10, 12], (0x1000, 0x1001, 0x1002, 0x1003)),
        ("it_branch", [2, 4, 6, 10, 12], (1, 8, 0x1002, 0x1003)),
    ],
)
def test_steps_go_through_it_blocks(board: Board, name: str, addresses: list[int], results: tuple[int, ...]) -> None:
    board.load(THUMB[name])
    seen = []
    for _ in addresses:
        board.machine.step()
        seen.append(board.read_register("pc") - CODE)
    assert seen == addresses
    assert board.registers("r0", "r1", "r2", "r3") == results
    assert board.read_register("xpsr") == 0x61000000 if results[1] != 8 else 0x21000000


def test_it_state_is_in_xpsr_between_steps(board: Board) -> None:
    board.load(THUMB["it_true"])
    states = []
    for _ in range(6):
        board.machine.step()
        states.append(board.read_register("xpsr"))
    assert states == [0x61000000, 0x67000000, 0x65000400, 0x61000C00, 0x61001800, 0x61000000]


def test_special_registers_in_an_it_block(board: Board) -> None:
    assert board.run(THUMB["it_system"], r0=1) is HaltReason.BREAKPOINT
    assert board.registers("r1", "r2", "r3", "primask") == (0, 1, 1, 1)


def test_special_registers_by_mrs_and_msr(board: Board) -> None:
    assert board.run(THUMB["special"]) is HaltReason.BREAKPOINT
    assert board.registers("r1", "r2", "r3", "r4", "r5", "r6", "r7") == (0x30, 1, 0x20008000, 1, STACK, 2, 0x20008000)
    assert board.registers("control", "sp", "psp", "msp", "basepri", "primask", "faultmask") == (
        2,
        0x20008000,
        0x20008000,
        STACK,
        0x30,
        1,
        1,
    )


def test_program_status_registers(board: Board) -> None:
    board.run(THUMB["flags"])
    assert board.registers("r1", "r2", "r3", "xpsr") == (0x80000000, 0, 0x80000000, 0x81000000)


def test_unprivileged_code_changes_no_special_register(board: Board) -> None:
    board.run(THUMB["unprivileged"])
    assert board.registers("r1", "r2", "r3", "control", "primask") == (1, 0, 1, 1, 0)


def test_debugger_writes_special_registers_of_unprivileged_code(board: Board) -> None:
    board.run(THUMB["unprivileged"])
    for name, value in (("msp", 0x2000F000), ("psp", 0x20007000), ("primask", 1), ("basepri", 0x50), ("faultmask", 1)):
        board.write_register(name, value)
        assert board.read_register(name) == value
    board.write_register("control", 2)
    assert board.registers("control", "sp") == (2, 0x20007000)


def test_control_comes_first_then_sp_is_the_selected_stack(board: Board) -> None:
    board.load(THUMB["forever"])
    board.write_register("control", 2)
    board.write_register("sp", 0x20005003)
    assert board.registers("sp", "psp", "msp") == (0x20005000, 0x20005000, STACK)


def test_debugger_registers_keep_only_bits_that_exist(board: Board) -> None:
    board.load(THUMB["forever"])
    for name, value, kept in [
        ("pc", 0x24000101, 0x24000100),
        ("xpsr", 0xFFFFFFFF, 0xFF0FFDFF),
        ("xpsr", 0x01000000, 0x01000000),
        ("basepri", 0xFF, 0xF0),
        ("primask", 0xFF, 1),
        ("r12", 0x1_FFFFFFFF, 0xFFFFFFFF),
    ]:
        board.write_register(name, value)
        assert board.read_register(name) == kept, name
    with pytest.raises(KeyError):
        board.read_register("r16")
    with pytest.raises(KeyError):
        board.write_register("nothing", 0)


def test_floating_point(board: Board) -> None:
    board.load(THUMB["double"])
    board.put(0xE000ED88, 0x00F00000)
    board.go()
    assert board.registers("r0", "r1", "s2", "s3", "s5") == (0, 0x40080000, 0, 0x40080000, 0x40000000)
    board.write_register("s3", 0x12345678)
    assert board.registers("s2", "s3", "s4") == (0, 0x12345678, board.read_register("s4"))
    board.write_register("s2", 0x9ABCDEF0)
    assert board.registers("s2", "s3") == (0x9ABCDEF0, 0x12345678)


def test_the_first_floating_point_instruction_makes_a_context(board: Board) -> None:
    board.load(THUMB["float_context"])
    board.put(0xE000ED88, 0x00F00000)
    board.go()
    assert board.registers("r0", "r1", "control") == (0, 4, 4)


def test_code_that_rewrites_itself_runs_as_new_behind_a_barrier(board: Board) -> None:
    assert board.run(THUMB["rewrite"]) is HaltReason.BREAKPOINT
    assert board.read_register("r4") == 5 + 7


def test_code_that_the_debugger_rewrites_runs_as_new(board: Board) -> None:
    board.run(THUMB["add"])
    board.machine.write_memory(CODE + 2, bytes.fromhex("0430"))  # adds r0, #4
    board.write_register("pc", CODE)
    board.go()
    assert board.read_register("r0") == 5


def test_exclusive_accesses_succeed(board: Board) -> None:
    board.put(0x20000000, 41)
    board.run(THUMB["exclusive"], r0=0x20000000)
    assert board.word(0x20000000) == 42


@pytest.mark.parametrize(
    ("access", "place", "pc"),
    [("w", 0x24000200, CODE + 6), ("r", 0x24000100, CODE + 2), ("rw", 0x24000200, CODE + 6)],
)
def test_a_watchpoint_stops_behind_the_access(board: Board, access: str, place: int, pc: int) -> None:
    board.put(0x24000100, 77)
    board.put(0x24000200, 1)
    board.load(THUMB["copy"], r0=0x24000100, r1=0x24000200)
    board.machine.set_watchpoint(place, 4, access)
    try:
        assert board.go() is HaltReason.WATCHPOINT
        assert board.read_register("pc") == pc
        assert board.word(0x24000200) == (77 if pc == CODE + 6 else 1)
        assert board.go() is HaltReason.BREAKPOINT
        assert board.registers("pc", "r2", "r3") == (CODE + 8, 77, 2)
        assert board.word(0x24000200) == 77
    finally:
        board.machine.clear_watchpoint(place, 4, access)
    board.load(THUMB["copy"], r0=0x24000100, r1=0x24000200)
    assert board.go() is HaltReason.BREAKPOINT


def test_a_watchpoint_on_a_register_sees_the_access_once(board: Board) -> None:
    board.load(THUMB["copy"], r0=0xE000ED00, r1=0xE000ED08)
    board.machine.set_watchpoint(0xE000ED08, 4, "w")
    try:
        assert board.go() is HaltReason.WATCHPOINT
    finally:
        board.machine.clear_watchpoint(0xE000ED08, 4, "w")
    assert board.read_register("pc") == CODE + 6
    assert board.word(0xE000ED08) == 0x411FC200


@pytest.mark.parametrize(
    "address", [0x10000000, 0x60000000, 0x90000000, 0xA0000000, 0x20020000, 0x24080000, 0x3FFFFFFC]
)
def test_addresses_that_nothing_answers_are_errors_for_the_debugger(board: Board, address: int) -> None:
    with pytest.raises(BusError) as read:
        board.machine.read_memory(address, 4)
    with pytest.raises(BusError) as write:
        board.machine.write_memory(address, bytes(4))
    assert (read.value.address, write.value.address) == (address, address)


def test_a_range_that_runs_out_of_a_memory_names_the_first_bad_byte(board: Board) -> None:
    with pytest.raises(BusError) as caught:
        board.machine.read_memory(0x2407FFF0, 0x20)
    assert caught.value.address == 0x24080000


def test_memory_accesses_go_across_adjacent_memories(board: Board) -> None:
    data = bytes(range(256)) * 2
    board.machine.write_memory(0x3001FF00, data)
    assert board.machine.read_memory(0x3001FF00, 512) == data


class Counted:
    """A peripheral that counts its accesses and reads as one."""

    base, size = 0x40008400, 0x400

    def __init__(self) -> None:
        self.accesses = 0

    def read(self, offset: int, size: int) -> int:  # noqa: ARG002
        self.accesses += 1
        return 1

    def write(self, offset: int, size: int, value: int) -> None:  # noqa: ARG002
        self.accesses += 1

    def reset(self) -> None:
        pass


@pytest.mark.parametrize("name", ["counted_write", "counted_read"])
def test_register_accesses_in_it_blocks_take_place_once_while_a_debugger_looks_on(name: str) -> None:
    """A pause of the core begins at such an access, whose instruction cannot be abandoned."""
    peripheral, rounds = Counted(), 50000
    with running_board() as board:
        board.machine.soc.space.attach(peripheral)
        board.load(THUMB[name], r1=peripheral.base, r3=rounds)
        board.machine.resume()
        looks = 0
        while board.machine.wait_halted(0.001) is None:
            board.machine.read_memory(STACK, 4)
            looks += 1
        assert looks
        assert (peripheral.accesses, board.read_register("r0")) == (rounds, rounds)
        if name == "counted_read":
            assert board.read_register("r4") == rounds


@pytest.mark.parametrize(("address", "value"), [(ICSR, 1 << 28), (0x08001000, 0)], ids=["pends PendSV", "into flash"])
def test_what_follows_an_it_block_whose_store_ends_the_run_is_not_conditional(address: int, value: int) -> None:
    with running_board() as board:
        assert board.run(THUMB["it_then_flags"], r1=address, r2=value) is HaltReason.BREAKPOINT
        assert (board.exception(), board.read_register("r3")) == (0, 0)


@pytest.mark.parametrize("address", [0x60000000, 0x1FF00000, 0x40100000])
def test_a_failing_store_in_an_it_block_is_a_fault(address: int) -> None:
    with running_board() as board:
        board.load(THUMB["it_store"], r1=address)
        assert board.go() is HaltReason.BREAKPOINT
        assert (board.exception(), board.word(CFSR), board.word(BFAR)) == (3, 0x8200, address)
