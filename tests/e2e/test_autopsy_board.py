"""Loaders that misbehave on the virtual board, with a real GDB: the cause that people and programs are told."""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path

import pytest

from gdbflash.cli.main import main
from gdbflash.loaders.stldr import load_loader
from tests.support.boards import LOADER, RunningBoard, running_board
from tests.support.cbuild import build

FLASH = 0x90000000
LOOP = "Check clocks, pins and chip of the board, or allow more time with --timeout-scale."


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))


def write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], endpoint: str, loader: Path, *options: str
) -> tuple[int, dict[str, object], str]:
    """Write a few bytes; returns exit code, the error as data and what people see."""
    image = tmp_path / "image.bin"
    image.write_bytes(b"autopsy")
    capsys.readouterr()
    words = ["write", f"{image}@{FLASH:#x}", "--no-keep", "--connect", endpoint, "-l", str(loader), "--json"]
    code = main([*words, *options])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    error = json.loads(captured.out.splitlines()[-1]).get("error", {})
    assert isinstance(error, dict)
    return code, error, captured.err


@pytest.mark.parametrize(
    ("fault", "bits", "cause"),
    [
        (
            "bus_fault",
            ["BFARVALID", "FORCED", "PRECISERR"],
            "nothing answers at 0x60000000: that external memory is not mapped or not there",
        ),
        (
            "bus_fault_by_write",
            ["BFARVALID", "FORCED", "PRECISERR"],
            "nothing answers at 0x60000000: that external memory is not mapped or not there",
        ),
        (
            "branch_nowhere",
            ["FORCED", "IBUSERR"],
            "it branched to 0x60000000, where no memory answers, called before Write+",
        ),
        (
            "branch_to_device",
            ["FORCED", "IACCVIOL"],
            "it branched to 0x52005000, where no code may be executed, called before Write+",
        ),
        ("branch_to_arm", ["FORCED", "INVSTATE"], "it branched to the even address 0x24000"),
        ("undefined", ["FORCED", "UNDEFINSTR"], "the instruction at 0x24000"),
        ("unaligned", ["FORCED", "UNALIGNED"], "an access to several words at an address that is not aligned"),
    ],
)
def test_faults(tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str, bits: list[str], cause: str) -> None:
    with running_board() as board:
        loader = build("misbehaving", f"IN_WRITE={fault}")
        code, error, shown = write(tmp_path, capsys, board.endpoint, loader, "--timeout-scale", "0.1")
        assert (code, error["kind"], error["function"]) == (1, "call-stopped", "Write")
        assert (error["stopped_by"], error["exception"], error["fault_bits"]) == ("fault", "HardFault", bits)
        assert str(error["cause"]).startswith(cause)
        assert str(error["cause"]) in shown
        frame, pc, stack = error["frame"], error["pc"], error["stack"]
        assert isinstance(frame, dict)
        assert isinstance(pc, dict)
        assert isinstance(stack, dict)
        assert (frame["r0"], frame["r1"]) == (FLASH, 256), "the frame holds the arguments: a page"
        assert frame["pc"] == pc["address"]
        assert stack["canary_lives"] is True
        assert 0 < stack["used"] < 200
        assert "frame at MSP 0x" in shown
        assert re.search(r"^  LR     .*0x240", shown, re.MULTILINE)
        symbols = load_loader(loader)
        if pc["address"] < 0x30000000:
            assert pc["symbol"] == symbols.symbol_at(pc["address"])
            assert re.search(rf"^  => 0x{pc['address']:08X}  \w+", shown, re.MULTILINE), "the instruction is shown"
        else:
            assert f"PC     0x{pc['address']:08X} is not in this loader, which lies at 0x24000004-0x2400" in shown
            assert error["disassembly"] == []
        assert write(tmp_path, capsys, board.endpoint, LOADER)[0] == 0, "the next run works"
        assert bytes(board.chip.memory[:7]) == b"autopsy"


def test_a_stack_overflow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_board() as board:
        loader = build("misbehaving", "IN_WRITE=overflow")
        code, error, shown = write(tmp_path, capsys, board.endpoint, loader, "--timeout-scale", "0.1")
        assert (code, error["kind"], error["stopped_by"]) == (1, "call-stopped", "fault")
        assert re.fullmatch(
            r"its stack of 16384 bytes ran out and into the loader \(the canary at 0x2400[0-9A-F]{4} is gone\)",
            str(error["cause"]),
        )
        assert error["stack"] == {"size": 16384, "used": 16384, "canary_lives": False}
        assert (error["pc"], error["frame"]) == (None, None), "there was no room for the frame"
        assert "Give it more RAM with --ram START:SIZE" in shown


def test_a_buffer_that_is_too_small_is_no_stack_that_ran_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_board() as board:
        loader = build("misbehaving", "IN_WRITE=overflow_bss")
        code, error, shown = write(tmp_path, capsys, board.endpoint, loader, "--timeout-scale", "0.1")
        assert (code, error["kind"], error["stopped_by"]) == (1, "call-stopped", "fault")
        assert re.fullmatch(
            r"the RAM behind the loader was written from 0x2400[0-9A-F]{4} on, through the end of its stack at "
            r"0x2400[0-9A-F]{4}, of which \d+ bytes were never used: a buffer overflowed",
            str(error["cause"]),
        )
        assert "ran out" not in shown
        assert "Look for an array in the loader that is written past its end" in shown


def test_a_huge_stack_frame_is_no_ram_without_a_clock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_board() as board:
        loader = build("misbehaving", "IN_WRITE=huge_frame")
        code, error, shown = write(tmp_path, capsys, board.endpoint, loader, "--timeout-scale", "0.1")
        assert (code, error["kind"]) == (1, "call-stopped")
        assert re.fullmatch(
            r"a function wants 10[0-9]{5} bytes of stack and there are 16384 \(SP is 0x23F[0-9A-F]{5}\)",
            str(error["cause"]),
        )
        assert "not clocked" not in shown
        assert "build the loader with less on its stack" in shown


def test_a_variable_that_nobody_counts_is_no_clock_of_the_chip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_board() as board:
        loader = build("misbehaving", "IN_WRITE=wait_for_no_tick")
        code, error, shown = write(tmp_path, capsys, board.endpoint, loader, "--timeout-scale", "0.1")
        assert (code, error["kind"]) == (1, "call-timeout")
        assert re.fullmatch(
            r"it is stuck in a loop at Write(\+0x\w+)? \(0x2400[0-9A-F]{4}\), which looks at RAM alone: "
            r"0x2400[0-9A-F]{4} \(ticks\) stays 0x00000000",
            str(error["cause"]),
        )
        assert LOOP not in shown
        assert "waits for an interrupt, as HAL_Delay does for SysTick" in shown
        assert "--irq" in shown


def test_a_breakpoint_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_board() as board:
        code, error, shown = write(tmp_path, capsys, board.endpoint, build("misbehaving", "IN_WRITE=breakpoint"))
        assert (code, error["kind"], error["stopped_by"]) == (1, "call-stopped", "breakpoint")
        assert error["cause"] == "it executes a BKPT #0 of its own"
        assert re.search(r"stopped before its return address at Write(\+0x\w+)? \(0x2400[0-9A-F]{4}\): it exec", shown)
        assert re.search(r"^  => 0x2400[0-9A-F]{4}  bkpt", shown, re.MULTILINE)


def test_an_endless_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_board() as board:
        loader = build("misbehaving", "IN_WRITE=hang")
        code, error, shown = write(tmp_path, capsys, board.endpoint, loader, "--timeout-scale", "0.1")
        assert (code, error["kind"], error["stopped_by"]) == (1, "call-timeout", "timeout")
        assert re.fullmatch(r"it is stuck in a loop at Write\+0x\w+ \(0x2400[0-9A-F]{4}\)", str(error["cause"]))
        assert LOOP in shown
        samples = error["samples"]
        assert isinstance(samples, list)
        assert len(samples) == 10
        assert max(samples) - min(samples) <= 2, "a NOP and a branch"


def test_a_wait_for_a_masked_interrupt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_board() as board:
        loader = build("misbehaving", "IN_INIT=wait_for_systick")
        code, error, shown = write(tmp_path, capsys, board.endpoint, loader, "--timeout-scale", "0.1")
        assert (code, error["kind"], error["function"]) == (1, "call-timeout", "Init")
        assert re.fullmatch(
            r"it is stuck in a loop at Init\+0x\w+ \(0x2400[0-9A-F]{4}\), "
            r"and the SysTick interrupt is pending but masked",
            str(error["cause"]),
        )
        assert "Allow interrupts with --irq." in shown
        assert write(tmp_path, capsys, board.endpoint, loader, "--irq")[0] == 0, "the advice helps"


def close_when_running(board: RunningBoard) -> None:
    """Close the server while a call runs."""
    while board.machine.halted is not None or not board.server.packets["vCont;c"]:
        time.sleep(0.01)
    board.server.close()


def test_a_connection_lost_in_a_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_board() as board:
        killer = threading.Thread(target=close_when_running, args=(board,))
        killer.start()
        code, error, shown = write(tmp_path, capsys, board.endpoint, build("misbehaving", "IN_INIT=hang"))
        killer.join()
        assert (code, error["kind"], error["stopped_by"], error["function"]) == (3, "connection-lost", "lost", "Init")
        assert "Init was under way: The connection to the GDB server was lost" in shown
