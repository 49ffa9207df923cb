"""The fault matrix, core and flash chip: faults in functions, wrong results, work that is not done, bits that flip."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.faultbench import BLOCK, FLASH, JOBS, OFFSET, FaultBench, fault_bench

JOB_OF = {
    "Init": "read",
    "Read": "read",
    "Write": "write",
    "SectorErase": "write",
    "MassErase": "erase chip",
    "Verify": "write, loader's Verify",
    "CheckSum": "checksum call",
}
"""A job that calls each function."""
CAUSES = {
    "bus": "nothing answers at 0x60000000: that external memory is not mapped or not there",
    "fetch": "it branched to 0x60000000, where no memory answers, called before {function}",
    "execute-never": "it branched to 0x52005000, where no code may be executed, called before {function}",
    "undefined": r"the instruction at 0x[0-9A-F]{{8}} is undefined on this core",
    "arm-state": "it branched to the even address 0x[0-9A-F]{{8}}, which means Arm code",
    "coprocessor": "a floating-point instruction while the FPU is off or missing",
    "unaligned": "an access to several words at an address that is not aligned",
    "divide": "a division by zero",
    "memmanage": "it branched to 0x52005000, where no code may be executed",
    "busfault": "nothing answers at 0x60000000",
    "usagefault": r"the instruction at 0x[0-9A-F]{{8}} is undefined on this core",
    "lockup": "the fault registers do not tell why",
}
OWN_HANDLER = {"memmanage": "MemManage", "busfault": "BusFault", "usagefault": "UsageFault"}
"""Taken by its own handler where PRIMASK, which counts as a priority, does not forbid it: with --irq."""
SHORT = ("--timeout-scale", "0.1")
"""Calls take some ms; what never returns is given up after 0.5 to 1 s."""
SLOW = {"MassErase": ("--timeout-scale", "0.01"), "CheckSum": ("--timeout-scale", "0.01")}
"""Base time-outs of MassErase and of raw calls are 400 s and more, and a core in a fault's handler does not halt."""


@pytest.fixture
def bench(tmp_path: Path, record_property: Callable[[str, object], None]) -> Iterator[FaultBench]:
    with fault_bench(tmp_path, record_property) as running:
        yield running


def pairs() -> Iterator[object]:
    """Give every kind of fault in every function; without --full each kind once, where calls are short."""
    short = itertools.cycle([each for each in JOB_OF if each not in SLOW])
    turn = {kind: "MassErase" if kind == "lockup" else next(short) for kind in CAUSES}
    for kind, function in itertools.product(CAUSES, JOB_OF):
        yield pytest.param(kind, function, marks=full_unless(turn[kind] == function), id=f"{kind} in {function}")


def full_unless(wanted: bool) -> tuple[pytest.MarkDecorator, ...]:
    return () if wanted else (pytest.mark.full,)


@pytest.mark.parametrize(("kind", "function"), [*pairs()])
def test_faults_in_functions(bench: FaultBench, kind: str, function: str) -> None:
    options = (*SLOW.get(function, SHORT), *(("--irq",) if kind in OWN_HANDLER else ()))
    outcome = bench.strike(JOBS[JOB_OF[function]], f"fault:{kind}:LOADER:{function}@1", options=options)
    error = outcome.result["error"]
    assert (outcome.code, error["kind"], error["function"]) == (1, "call-stopped", function)
    assert (error["stopped_by"], error["exception"]) == (
        ("lockup", None) if kind == "lockup" else ("fault", OWN_HANDLER.get(kind, "HardFault"))
    )
    assert re.search(CAUSES[kind].format(function=function), error["cause"])
    assert error["cause"] in outcome.shown
    assert re.search(rf"\b{function}\b", error["message"])


@pytest.mark.parametrize(
    "function",
    ["Init", "Write", "SectorErase", "Read", "Verify", *(pytest.param(each, marks=pytest.mark.full) for each in SLOW)],
)
def test_functions_that_never_return(bench: FaultBench, function: str) -> None:
    outcome = bench.strike(JOBS[JOB_OF[function]], f"hang:LOADER:{function}", options=SLOW.get(function, SHORT))
    error = outcome.result["error"]
    assert (outcome.code, error["kind"], error["function"]) == (1, "call-timeout", function)
    assert re.fullmatch(rf"it is stuck in a loop at {function} \(0x2400[0-9A-F]{{4}}\)", error["cause"])
    assert len(set(error["samples"])) == 1


@pytest.mark.parametrize(
    "function", ["Write", *(pytest.param(each, marks=pytest.mark.full) for each in ("Init", "Read"))]
)
def test_stacks_that_run_out(bench: FaultBench, function: str) -> None:
    outcome = bench.strike(JOBS[JOB_OF[function]], f"overflow:LOADER:{function}", options=SHORT)
    error = outcome.result["error"]
    assert (outcome.code, error["kind"], error["stack"]["canary_lives"]) == (1, "call-stopped", False)
    assert re.match(r"its stack of 16384 bytes ran out and into the loader", error["cause"])


@pytest.mark.parametrize(
    ("function", "value"),
    [
        pytest.param(function, value, marks=full_unless(usual == value))
        for function, usual in (("Init", 0), ("Write", 7), ("SectorErase", 0), ("Read", 7), ("MassErase", 0))
        for value in (0, 7)
    ],
)
def test_results_other_than_1(bench: FaultBench, function: str, value: int) -> None:
    outcome = bench.strike(JOBS[JOB_OF[function]], f"return:{value}:LOADER:{function}")
    error = outcome.result["error"]
    assert (outcome.code, error["kind"]) == (1, "call-failed")
    assert (error["function"], error["result"]) == (function, value)
    assert f"returned {value} instead of 1" in error["message"]


def test_an_init_that_fails_once_is_called_again(bench: FaultBench) -> None:
    outcome = bench.strike(JOBS["write"], "return:0:LOADER:Init@1")
    assert outcome.code == 0
    assert [each["code"] for each in outcome.events if each["event"] == "note"] == ["init-retried"]


@pytest.mark.parametrize(
    ("job", "function", "pattern"),
    [
        ("write", "Write", "all FF"),
        ("write, read back", "Write", "all FF"),
        ("write, loader's Verify", "Write", ""),
        ("write", "SectorErase", "bits missing"),
        ("write all", "SectorErase", "bits missing"),
        ("erase", "SectorErase", ""),
        ("erase chip", "MassErase", ""),
    ],
)
def test_work_that_is_said_to_be_done(bench: FaultBench, job: str, function: str, pattern: str) -> None:
    outcome = bench.strike(JOBS[job], f"return:1:LOADER:{function}")
    error = outcome.result["error"]
    assert (outcome.code, error["kind"], error.get("pattern", "")) == (1, "mismatch", pattern)
    assert error["first"] >= FLASH


def test_a_read_that_does_nothing_is_not_believed(bench: FaultBench) -> None:
    outcome = bench.strike(JOBS["read"], "return:1:LOADER:Read")
    assert (outcome.code, outcome.result["error"]["kind"]) == (1, "mismatch")


@pytest.mark.parametrize(
    ("what", "function"),
    [
        pytest.param(what, function, marks=full_unless(what == "reset" or function == "Write"))
        for what in ("reset", "halt")
        for function in ("Init", "Write", "SectorErase")
    ],
)
def test_somebody_else_meddles_in_mid_call(bench: FaultBench, what: str, function: str) -> None:
    outcome = bench.strike(JOBS[JOB_OF[function]], f"{what}:LOADER:{function}@1", options=SHORT)
    error = outcome.result["error"]
    assert (outcome.code, error["function"]) == (1, function)
    if what == "reset":
        assert error["kind"] == "call-timeout"
        assert "it was reset in mid-call (watchdog, reset pin) or branched away" in error["cause"]
    else:
        assert error["kind"] == "call-stopped"
        assert error["cause"] == "somebody else halted the core, or set a breakpoint there"


@pytest.mark.parametrize("job", ["write", "write, read back", "write, loader's Verify"])
def test_a_bit_that_flips_in_the_buffer_is_found(bench: FaultBench, job: str) -> None:
    outcome = bench.strike(JOBS[job], f"flip:r2+{OFFSET + 9}:3:LOADER:Write@1")
    assert (outcome.code, outcome.result["error"]["kind"]) == (1, "mismatch")
    if job != "write, loader's Verify":
        assert (outcome.result["error"]["first"], outcome.result["error"]["count"]) == (FLASH + OFFSET + 9, 1)


def test_a_bit_that_flips_under_kept_bytes_is_found(bench: FaultBench) -> None:
    outcome = bench.strike(JOBS["write"], "flip:r2+3:0:LOADER:Write@1")
    assert (outcome.code, outcome.result["error"]["kind"]) == (1, "mismatch")
    assert outcome.result["error"]["first"] == FLASH + 3


@pytest.mark.parametrize(
    ("fault", "job", "pattern"),
    [
        ("protected", "write", ""),
        ("protected", "erase", ""),
        ("no-erase", "write", "bits missing"),
        ("no-erase", "erase", ""),
        ("no-erase", "erase chip", ""),
        ("no-program", "write", "all FF"),
        (f"stuck:{FLASH + OFFSET + 7:#x}:2:0", "write, read back", ""),
        (f"stuck:{FLASH + OFFSET + 7:#x}:2:1", "write", ""),
        (f"stuck:{FLASH + 40:#x}:2:0", "erase", ""),
    ],
)
def test_chips_that_do_not_do_as_they_are_told(bench: FaultBench, fault: str, job: str, pattern: str) -> None:
    outcome = bench.strike(JOBS[job], fault)
    if outcome.code == 0:
        assert "stuck" in fault, "a bit may be stuck where it is to be"
        return
    error = outcome.result["error"]
    assert (outcome.code, error["kind"], error["pattern"]) == (1, "mismatch", pattern)
    if "stuck" in fault:
        assert error["first"] == error["last"] == int(fault.split(":")[1], 0)
    else:
        assert error["last"] - error["first"] > 2000 or error["first"] < FLASH + BLOCK
