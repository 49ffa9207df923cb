"""The core in its thread, and others that want in: nothing hangs, nothing is lost, and accesses happen once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest

from gdbflash.board.bus import BusError
from gdbflash.board.debug import HaltReason
from gdbflash.board.machine import Machine
from tests.support.boardcode import CODE, TIMEOUT, Board, running_board
from tests.support.thumb import assemble

CPUID = 0xE000ED00
SIDE_EFFECT = 0x40007000
"""Where a peripheral counts its reads."""

THUMB = assemble(
    forever="b .",
    count="movs r0, #0 \n 1: adds r0, #1 \n b 1b",
    store="movw r1, #0 \n movt r1, #0x2000 \n movs r0, #0 \n 1: adds r0, #1 \n str r0, [r1] \n b 1b",
    read="""movw r1, #0x7000 \n movt r1, #0x4000 \n movs r0, #0
        1: ldr r2, [r1] \n adds r0, #1 \n cmp r0, r2 \n bne 2f \n ldr r2, [r1] \n adds r0, #1 \n cmp r0, r2 \n beq 1b
        2: bkpt #0""",
    write="""movw r1, #0x7000 \n movt r1, #0x4000 \n movs r0, #0
        1: adds r0, #1 \n str r0, [r1] \n b 1b""",
)


class Counter:
    """A register with side effects: each read returns one more, writes must come in order."""

    base = SIDE_EFFECT
    size = 0x400

    def __init__(self) -> None:
        self.reads = 0
        self.written = 0
        self.out_of_order = 0

    def read(self, offset: int, size: int) -> int:  # noqa: ARG002
        self.reads += 1
        return self.reads

    def write(self, offset: int, size: int, value: int) -> None:  # noqa: ARG002
        self.out_of_order += value != self.written + 1
        self.written = value

    def reset(self) -> None:
        self.reads = self.written = 0


@pytest.fixture
def board() -> Iterator[Board]:
    with running_board() as board:
        yield board


def test_rounds_of_everything_never_hang(board: Board) -> None:
    generator = random.Random(1)
    machine = board.machine
    board.load(THUMB["store"])
    machine.write_memory(0x20000000, bytes(4))
    last = 0
    for _ in range(300):
        action = generator.randrange(5)
        if action == 0:
            machine.resume()
        elif action == 1:
            machine.resume()
            machine.halt()
            assert machine.halted is HaltReason.REQUEST
        elif action == 2:
            machine.halt()
            machine.step()
            assert machine.halted is HaltReason.STEP
        elif action == 3:
            now = board.word(0x20000000)
            assert now >= last
            last = now
        else:
            machine.write_memory(0x20000010, generator.randbytes(64))
    assert CODE + 10 <= board.read_register("pc") <= CODE + 14


def test_resume_and_halt_at_once(board: Board) -> None:
    board.load(THUMB["forever"])
    for _ in range(300):
        board.machine.resume()
        board.machine.halt()
        assert board.machine.halted is HaltReason.REQUEST
        assert board.read_register("pc") == CODE


def test_memory_of_a_running_core_while_others_ask_too(board: Board) -> None:
    machine = board.machine
    board.load(THUMB["count"])
    machine.resume()
    failures: list[BaseException] = []

    def ask(base: int) -> None:
        try:
            for number in range(60):
                machine.write_memory(base, number.to_bytes(4, "little"))
                assert board.word(base) == number
                assert machine.halted is None
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(0x20000000 + 0x100 * index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
        assert not thread.is_alive()
    assert failures == []
    machine.halt()
    assert board.read_register("r0") > 0


def test_a_debugger_has_its_own_way_to_ram(board: Board) -> None:
    """It need not hold the core still, but where code lies that is executed."""
    machine = board.machine
    board.load(THUMB["forever"])
    interrupted: list[bool] = []
    interrupt = machine.processor.core.interrupt

    def noted() -> None:
        interrupted.append(True)
        interrupt()

    machine.processor.core.interrupt = noted  # type: ignore[method-assign]
    machine.resume()
    while not machine.processor.core.translation.covers(CODE, 2):
        time.sleep(0.001)
    machine.write_memory(0x20000003, bytes(range(250)) * 20)
    assert machine.read_memory(0x20000002, 5002)[1:5001] == bytes(range(250)) * 20
    assert machine.read_memory(CODE, 2) == bytes.fromhex("fee7")
    assert interrupted == []
    machine.write_memory(CODE, bytes.fromhex("00be"))  # bkpt #0
    assert interrupted
    assert machine.wait_halted(TIMEOUT) is HaltReason.BREAKPOINT
    assert board.read_register("pc") == CODE


def test_a_core_gets_on_between_two_accesses_that_hold_it_still(board: Board) -> None:
    board.load(THUMB["store"])
    board.machine.write_memory(0x20000000, bytes(4))
    board.machine.resume()
    seen = [board.word(0x20000000) for _ in range(40) if board.word(CPUID)]
    assert sorted(set(seen)) == seen or seen.count(0) <= 1
    assert len(set(seen)) >= 35


@pytest.mark.parametrize("name", ["read", "write"])
def test_accesses_with_side_effects_happen_once_however_often_the_core_is_stopped(board: Board, name: str) -> None:
    counter = Counter()
    board.machine.soc.space.attach(counter)
    board.load(THUMB[name])
    counter.reset()
    board.machine.resume()
    for number in range(400):
        if number % 3:
            board.machine.read_memory(0x20000000, 4)
        else:
            board.machine.halt()
            if number % 2:
                board.machine.step()
            board.machine.resume()
    board.machine.halt()
    r0 = board.read_register("r0")
    # At a stop one access may be done whose count is not in r0 yet, or counted and not done yet.
    if name == "read":
        assert board.halted() is HaltReason.REQUEST
        assert counter.reads - r0 in (0, 1)
    else:
        assert counter.out_of_order == 0
        assert r0 - counter.written in (0, 1)
    assert r0 > 400


def test_waiting_times_out_and_is_woken(board: Board) -> None:
    board.load(THUMB["forever"])
    board.machine.resume()
    assert board.machine.wait_halted(0.001) is None
    timer = threading.Timer(0.02, board.machine.halt)
    timer.start()
    assert board.machine.wait_halted(TIMEOUT) is HaltReason.REQUEST
    timer.join()


def test_breakpoints_come_and_go_while_the_core_runs(board: Board) -> None:
    board.load(THUMB["count"])
    for _ in range(20):
        board.machine.resume()
        board.machine.set_breakpoint(CODE + 2)
        assert board.machine.wait_halted(TIMEOUT) is HaltReason.BREAKPOINT
        assert board.read_register("pc") == CODE + 2
        board.machine.clear_breakpoint(CODE + 2)


def test_registers_of_a_running_core(board: Board) -> None:
    board.load(THUMB["count"])
    board.machine.resume()
    board.write_register("r7", 0x1234)
    assert board.read_register("r7") == 0x1234
    assert board.halted() is None


def test_a_reset_of_a_running_core_lets_it_run_or_halts_it(board: Board) -> None:
    board.load(THUMB["forever"])
    board.machine.resume()
    board.machine.reset(halt=True)
    assert board.halted() is HaltReason.VECTOR_CATCH
    assert board.read_register("pc") == 0x08000040
    assert board.word(CODE) & 0xFFFF == 0xE7FE  # RAM keeps its content
    board.machine.reset(halt=False)
    assert board.halted() is None
    assert board.machine.resets == 3  # load() made the first


def test_close_ends_a_running_core_and_its_threads() -> None:
    before = threading.active_count()
    machine = Machine()
    Board(machine).load(THUMB["forever"])
    machine.resume()
    machine.close()
    machine.close()
    assert threading.active_count() == before


def test_a_failing_model_is_reported_and_not_swallowed(board: Board) -> None:
    class Broken(Counter):
        def read(self, offset: int, size: int) -> int:  # noqa: ARG002
            raise ZeroDivisionError("a bug of a model")

    board.machine.soc.space.attach(Broken())
    board.load(THUMB["read"])
    board.machine.resume()
    assert board.machine.wait_halted(TIMEOUT) is HaltReason.REQUEST
    with pytest.raises(ZeroDivisionError, match="a bug of a model"):
        board.read_register("pc")
    assert board.read_register("pc") == CODE + 10


def test_a_peripheral_may_answer_with_a_bus_error(board: Board) -> None:
    class Refusing(Counter):
        def read(self, offset: int, size: int) -> int:  # noqa: ARG002
            raise BusError(self.base + offset)

    board.machine.soc.space.attach(Refusing())
    board.load(THUMB["read"], r2=0x55)
    assert board.go() is HaltReason.BREAKPOINT
    assert board.exception() == 3
    assert board.word(0xE000ED28) == 0x8200
    assert board.word(0xE000ED38) == SIDE_EFFECT
    assert board.read_register("r2") == 0x55
    with pytest.raises(BusError):
        board.word(SIDE_EFFECT)
