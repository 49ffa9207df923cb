"""Loaders that misbehave, on the virtual board: each does what its define says, and the core faults like hardware."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gdbflash.board.debug import HaltReason
from gdbflash.board.machine import Machine
from tests.support.cbuild import build
from tests.support.loadercalls import BUFFER, DidNotReturn, LoaderCalls

BASE = 0x90000000
BLOCK = 0x10000
VTOR, CFSR, HFSR, BFAR = 0xE000ED08, 0xE000ED28, 0xE000ED2C, 0xE000ED38
FORCED = 1 << 30
HARD_FAULT = 3


@pytest.fixture
def board() -> Iterator[Machine]:
    with Machine() as machine:
        yield machine


def word(board: Machine, address: int) -> int:
    return int.from_bytes(board.read_memory(address, 4), "little")


def load(board: Machine, *defines: str, zero_bss: bool = True) -> LoaderCalls:
    return LoaderCalls(board, build("misbehaving", *defines), zero_bss=zero_bss)


def catch_hard_faults(board: Machine) -> int:
    """Halt at the first instruction of the HardFault handler, and return its address."""
    handler = word(board, word(board, VTOR) + 4 * HARD_FAULT) & ~1
    board.set_breakpoint(handler)
    return handler


@pytest.mark.parametrize(
    ("fault", "cfsr", "bfar"),
    [
        ("bus_fault", 1 << 9 | 1 << 15, 0x60000000),
        ("bus_fault_by_write", 1 << 9 | 1 << 15, 0x60000000),  # the board's are all precise
        ("branch_nowhere", 1 << 8, None),
        ("branch_to_device", 1 << 0, None),
        ("branch_to_arm", 1 << 17, None),
        ("undefined", 1 << 16, None),
        ("unaligned", 1 << 24, None),
    ],
)
def test_faults_are_caught_as_hard_faults(board: Machine, fault: str, cfsr: int, bfar: int | None) -> None:
    calls = load(board, f"IN_WRITE={fault}")
    assert calls.call("Init") == 1
    handler = catch_hard_faults(board)

    with pytest.raises(DidNotReturn, match=f"exception {HARD_FAULT}$"):
        calls.write(BASE, b"data")

    assert board.read_register("pc") == handler
    assert word(board, CFSR) == cfsr
    assert word(board, HFSR) == FORCED
    assert bfar is None or word(board, BFAR) == bfar


def test_a_breakpoint_of_its_own_halts_there(board: Machine) -> None:
    calls = load(board, "IN_READ=breakpoint")
    assert calls.call("Init") == 1

    with pytest.raises(DidNotReturn, match=r"Read: HaltReason.BREAKPOINT, pc 0x[0-9A-F]{8} \(Read"):
        calls.call("Read", BASE, 4, BUFFER)


def test_a_loader_that_hangs_goes_on_for_ever(board: Machine) -> None:
    calls = load(board, "IN_ERASE=hang")
    assert calls.call("Init") == 1

    with pytest.raises(DidNotReturn, match=r"SectorErase: None, pc 0x[0-9A-F]{8} \(SectorErase"):
        calls.call("SectorErase", BASE, BASE, timeout=0.2)
    assert board.halted is HaltReason.REQUEST


def test_a_stack_overflow_runs_over_the_loader(board: Machine) -> None:
    calls = load(board, "IN_WRITE=overflow")
    assert calls.call("Init") == 1

    catch_hard_faults(board)

    with pytest.raises(DidNotReturn, match=f"exception {HARD_FAULT}$"):
        calls.write(BASE, b"data")

    assert word(board, CFSR) & 1 << 12, "STKERR: there is no room for the exception's frame either"
    start = calls.loader.load_segments[0]
    assert board.read_memory(start.address, len(start.data)) != start.data


def test_systick_comes_only_while_primask_is_0(board: Machine) -> None:
    calls = load(board, "IN_INIT=wait_for_systick")

    assert calls.call("Init", irq=True) == 1
    with pytest.raises(DidNotReturn, match="Init: None"):
        calls.call("Init", irq=False, timeout=0.3)

    assert word(board, 0xE000ED04) & 1 << 26, "PENDSTSET: it is pending, and masked"


def test_interrupts_faster_than_emulation_leave_the_program_some_time(board: Machine) -> None:
    assert load(board, "IN_INIT=wait_for_systick", "TICK_CYCLES=64").call("Init", irq=True) == 1


@pytest.mark.parametrize(
    ("define", "call", "result"),
    [
        ("INIT_RETURNS=0", ("Init",), 0),
        ("WRITE_RETURNS=7", ("Write", BASE, 4, BUFFER), 7),
        ("READ_RETURNS=0", ("Read", BASE, 4, BUFFER), 0),
        ("ERASE_RETURNS=0", ("SectorErase", BASE, BASE), 0),
        ("ERASE_RETURNS=2", ("MassErase", 0), 2),
        ("VERIFY_SAYS_SAME", ("Verify", BASE, BUFFER, 1, 0), 0),
    ],
)
def test_results(board: Machine, define: str, call: tuple[str, int], result: int) -> None:
    calls = load(board, define)
    calls.call("Init")

    assert calls.call(*call) == result


def test_work_that_is_not_done(board: Machine) -> None:
    board.flash.memory[:8] = b"contents"
    board.write_memory(BUFFER, b"other...")
    calls = load(board, "WRITE_DOES_NOTHING", "READ_DOES_NOTHING", "ERASE_DOES_NOTHING")

    assert calls.call("Init") == calls.call("SectorErase", BASE, BASE) == calls.call("MassErase", 0) == 1
    assert calls.call("Write", BASE, 8, BUFFER) == calls.call("Read", BASE, 8, BUFFER) == 1

    assert bytes(board.flash.memory[:8]) == b"contents"
    assert board.read_memory(BUFFER, 8) == b"other..."


def test_one_sector_too_many(board: Machine) -> None:
    board.flash.memory[: 3 * BLOCK] = bytes(3 * BLOCK)
    calls = load(board, "ERASES_ONE_MORE")

    assert calls.call("Init") == calls.call("SectorErase", BASE, BASE) == 1

    assert bytes(board.flash.memory[: 3 * BLOCK]) == b"\xff" * 2 * BLOCK + bytes(BLOCK)


def test_shifted_data(board: Machine) -> None:
    calls = load(board, "WRITE_SHIFTED")

    assert calls.call("Init") == calls.write(BASE, b"abcd") == 1

    assert bytes(board.flash.memory[:5]) == b"\xffabc\xff"


def test_r9_has_to_be_kept(board: Machine) -> None:
    calls = load(board, "USES_R9")

    assert calls.call("Init") == calls.call("SectorErase", BASE, BASE) == calls.write(BASE, b"ab") == 1

    calls = load(board, "USES_R9")
    assert calls.call("Init") == 1
    board.write_memory(0x2407F004, bytes(4))
    assert calls.write(BASE, b"ab") == 0


def test_init_twice(board: Machine) -> None:
    calls = load(board, "REQUIRES_INIT_TWICE")

    assert [calls.call("Init") for _ in range(3)] == [0, 1, 1]


def test_bss_has_to_be_zeroed_and_kept(board: Machine) -> None:
    calls = load(board, "CHECKS_BSS")
    assert [calls.call("Init") for _ in range(3)] == [1, 1, 1]

    assert load(board, "CHECKS_BSS", zero_bss=False).call("Init") == 0


def test_stack_use(board: Machine) -> None:
    calls = load(board, "USES_STACK=5000")
    assert calls.call("Init") == 1
    below = calls.port.read_register("sp") - 5000
    board.write_memory(below, b"\xee" * 8)

    assert calls.write(BASE, b"ab") == 1

    assert board.read_memory(below, 8) != b"\xee" * 8


def test_ram_storage(board: Machine) -> None:
    calls = LoaderCalls(board, build("sram"))
    assert set(calls.loader.functions) == {"Init", "Write"}

    assert calls.call("Init") == calls.write(0x3001FFF0, bytes(range(16))) == 1
    assert calls.write(0x3001FFF0, bytes(17)) == 0

    assert board.read_memory(0x3001FFF0, 16) == bytes(range(16))


def test_ram_storage_without_write(board: Machine) -> None:
    calls = LoaderCalls(board, build("sram", "WITHOUT_WRITE"))
    assert set(calls.loader.functions) == {"Init"}

    assert calls.call("Init") == 1

    board.write_memory(0x30000000, b"host")
    assert board.read_memory(0x30000000, 4) == b"host"
