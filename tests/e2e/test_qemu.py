"""The whole tool, as a user runs it, with real GDBs against QEMU's own models of serial NOR chips."""

from __future__ import annotations

import json
import random
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gdbflash.cli.main import main
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import started
from gdbflash.mi.target import MiTarget
from gdbflash.servers.endpoint import parse_endpoint
from tests.support.folders import left_in
from tests.support.gdbservers import gdb_path
from tests.support.qemuboard import (
    AST1030,
    BOARDS,
    KIB,
    PROGRAM_ADDRESS,
    SF2,
    TICK_AND_COUNT,
    Board,
    RunningQemu,
    qemu_version,
    running_qemu,
)

BEFORE = random.Random(1).randbytes(512 * KIB)
"""What the chips hold at their beginning; the rest is erased."""
AST1030_RAM = "0x00010000-0x000BFFFF"
SF2_RAM = "0x20000000-0x20007FFF"
ODD = 0x1003
"""Where images begin in the chip: off every border."""

boards = pytest.mark.parametrize("board", BOARDS, ids=lambda board: str(board.machine))


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def qemu(board: Board, tmp_path: Path) -> Iterator[RunningQemu]:
    with running_qemu(board, tmp_path, BEFORE) as running:
        yield running


class Tool:
    """Runs commands on one QEMU."""

    def __init__(self, qemu: RunningQemu, capsys: pytest.CaptureFixture[str]) -> None:
        self._qemu = qemu
        self._capsys = capsys
        self.events: list[dict[str, Any]] = []
        self.shown = ""

    def __call__(self, *words: str | Path, loader: Path | None = None, ram: bool = True) -> int:
        """Run a command with --json; returns its exit code."""
        board = self._qemu.board
        options = ["--connect", self._qemu.endpoint, "-l", loader or board.build(), *(board.options if ram else ())]
        self._capsys.readouterr()
        code = main([*map(str, words), *map(str, options), "--json"])
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        self.events = [json.loads(line) for line in captured.out.splitlines()]
        self.shown = captured.err
        return code

    @property
    def result(self) -> dict[str, Any]:
        return self.events[-1]

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.events[-1]["error"]
        return error


@pytest.fixture
def tool(qemu: RunningQemu, capsys: pytest.CaptureFixture[str]) -> Tool:
    return Tool(qemu, capsys)


def image_at(tmp_path: Path, board: Board, data: bytes, offset: int = ODD) -> str:
    """Put an image into a file and say where it goes."""
    path = tmp_path / f"image-{offset:x}.bin"
    path.write_bytes(data)
    return f"{path}@{board.flash + offset:#x}"


def with_image(data: bytes, offset: int = ODD) -> bytes:
    """Give what a chip holds at its beginning once an image was written into BEFORE."""
    return BEFORE[:offset] + data + BEFORE[offset + len(data) :]


def connected(qemu: RunningQemu) -> MiTarget:
    return connect(parse_endpoint(qemu.endpoint), started(gdb_path("gdb-multiarch")))


@boards
@pytest.mark.parametrize(("gdb", "server"), [("gdb-multiarch", "auto"), ("gdb-pypi", "qemu")])
def test_what_is_written_is_in_the_file_and_comes_back(
    board: Board, qemu: RunningQemu, tool: Tool, tmp_path: Path, gdb: str, server: str, state: Path
) -> None:
    data = random.Random(2).randbytes(256 * KIB - 1)
    image = image_at(tmp_path, board, data)
    reach: list[str | Path] = ["--gdb", gdb_path(gdb), "--server", server]
    assert tool("write", image, *reach) == 0, tool.shown
    result = tool.result
    assert (result["bytes"], result["sectors_erased"]) == (len(data), board.touched)
    assert result["verified"] != "none"
    assert tool("verify", image, *reach) == 0
    back = tmp_path / "back.bin"
    assert tool("read", hex(board.flash + 1), str(300 * KIB + 1), "-o", back, *reach) == 0
    expected = with_image(data)
    assert back.read_bytes() == expected[1 : 300 * KIB + 2]
    assert qemu.content() == expected.ljust(board.size, b"\xff")
    assert left_in(state) == []


@boards
def test_erase_blank_check_and_checksum(board: Board, qemu: RunningQemu, tool: Tool) -> None:
    part = BEFORE[7 : 7 + 100001]
    assert tool("checksum", hex(board.flash + 7), "100001") == 0
    assert (tool.result["crc32"], tool.result["byte_sum"]) == (zlib.crc32(part), sum(part))
    assert tool("blank-check", hex(board.flash + 0x40000), "64K") == 1
    assert tool.error["kind"] == "mismatch"
    assert tool("erase", hex(board.flash + 0x40000), "64K") == 0
    assert tool.result["sectors_erased"] == 64 * KIB // board.sector
    assert tool("blank-check", hex(board.flash + 0x40000), "64K") == 0
    assert tool("erase", hex(board.flash + 0x100), "64K") == 2
    expected = BEFORE[:0x40000] + b"\xff" * 64 * KIB + BEFORE[0x50000:]
    assert qemu.content() == expected.ljust(board.size, b"\xff")


@pytest.mark.parametrize("board", [AST1030], ids=["ast1030-evb"])
def test_the_whole_chip_is_erased(board: Board, qemu: RunningQemu, tool: Tool) -> None:
    assert tool("erase", "--chip") == 0
    assert tool.result["sectors_erased"] == 1024
    assert qemu.content() == b"\xff" * board.size


@pytest.mark.parametrize("board", [AST1030], ids=["ast1030-evb"])
def test_the_loader_verifies_by_itself(board: Board, qemu: RunningQemu, tool: Tool, tmp_path: Path) -> None:
    data = random.Random(3).randbytes(10001)
    assert tool("write", image_at(tmp_path, board, data), "--verify", "loader") == 0
    assert tool.result["verified"] == "loader"
    assert qemu.content()[: len(BEFORE)] == with_image(data)


@boards
def test_a_raw_call(board: Board, qemu: RunningQemu, tool: Tool) -> None:
    assert tool("call", "CheckSum", hex(board.flash + 3), "5000", "100") == 0
    assert tool.result["r0"] == sum(BEFORE[3:5003]) + 100
    assert 0 < tool.result["stack_used"] < 1024
    assert tool("call", "SectorErase", hex(board.flash), hex(board.flash + board.sector)) == 0
    assert tool.result["r0"] == 1
    assert tool("call", "CheckSum", hex(board.flash + board.size), "1") == 0
    assert tool.result["r0"] == 0
    erased = b"\xff" * 2 * board.sector
    assert qemu.content()[: len(BEFORE)] == erased + BEFORE[len(erased) :]


@boards
def test_a_loader_that_hangs_is_halted_and_the_next_run_works(
    board: Board, qemu: RunningQemu, tool: Tool, tmp_path: Path
) -> None:
    image = image_at(tmp_path, board, b"an image")
    hanging = board.build("HANGS_IN_INIT")
    assert tool("write", image, "--timeout-scale", "0.1", loader=hanging) == 1
    error = tool.error
    assert (error["kind"], error["function"], error["arguments"]) == ("call-timeout", "Init", [])
    assert error["registers"]["pc"] - board.link_address in range(0x1000)
    assert "did not return within 1 s and was halted" in tool.shown
    assert "--timeout-scale" in tool.shown
    assert tool("write", image) == 0
    assert qemu.content()[: len(BEFORE)] == with_image(b"an image")


@boards
def test_bytes_kept_by_a_write_that_hung_are_put_back_by_the_next(
    board: Board, qemu: RunningQemu, tool: Tool, tmp_path: Path, state: Path
) -> None:
    image = image_at(tmp_path, board, b"an image")
    hanging = board.build("HANGS_IN_WRITE")
    assert tool("write", image, "--timeout-scale", "0.3", loader=hanging) == 1
    assert (tool.error["kind"], tool.error["function"]) == ("call-timeout", "Write")
    assert len(left_in(state)) == 1
    # Neither is the unit known, nor is this the loader that kept them: somebody has to say whose they are.
    assert tool("write", image) == 1
    assert tool.error["kind"] == "kept-unclear"
    assert tool("write", image, "--kept", "restore") == 0
    assert "put back" in tool.shown
    assert qemu.content()[: len(BEFORE)] == with_image(b"an image")
    assert left_in(state) == []


@boards
def test_a_fault_is_named_and_the_next_run_works(board: Board, qemu: RunningQemu, tool: Tool, tmp_path: Path) -> None:
    image = image_at(tmp_path, board, b"an image")
    faulting = board.build("FAULTS_IN_ERASE")
    assert tool("erase", hex(board.flash), hex(board.sector), "--timeout-scale", "0.3", loader=faulting) == 1
    error = tool.error
    assert (error["kind"], error["function"], error["arguments"]) == ("call-stopped", "SectorErase", [board.flash] * 2)
    faults = error["fault_registers"]
    assert error["registers"]["xpsr"] & 0x1FF == 3
    # PRECISERR and BFARVALID, and FORCED (Armv7-M Architecture Reference Manual, B3.2.15 and B3.2.16)
    assert (faults["CFSR"], faults["HFSR"], faults["BFAR"]) == (0x8200, 0x40000000, board.nothing)
    assert "ended in HardFault at SectorErase" in tool.shown
    assert f"0x{board.nothing:08X}" in str(error["cause"])
    assert "CFSR   0x00008200 PRECISERR BFARVALID" in tool.shown
    assert "--timeout-scale" not in tool.shown, "more time does not help"
    assert tool("write", image) == 0
    assert qemu.content()[: len(BEFORE)] == with_image(b"an image")


def test_ram_that_no_table_knows_must_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running_qemu(AST1030, tmp_path, BEFORE) as qemu:
        tool = Tool(qemu, capsys)
        image = image_at(tmp_path, AST1030, b"an image")
        assert tool("write", image, ram=False) == 2
        assert "No RAM is known around the loader's link address 0x00010004" in tool.shown
        assert "--ram START:SIZE" in tool.shown
        assert tool("write", image, "--ram", "0x20000:64K", ram=False) == 2
        assert "outside the RAM 0x00020000-0x0002FFFF" in tool.shown
        assert tool("write", image, "--ram", "0x10000:1M", ram=False) == 3
        assert "The RAM 0x00010000-0x0010FFFF does not hold what is written to its end" in tool.shown
        assert "--ram START:SIZE" in tool.shown
        assert tool("write", image, "--ram", "0x10000:8K", ram=False) == 0
        assert qemu.content()[: len(BEFORE)] == with_image(b"an image")


def test_ram_where_devices_usually_have_it_need_not_be_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_qemu(SF2, tmp_path, BEFORE) as qemu:
        tool = Tool(qemu, capsys)
        assert tool("write", image_at(tmp_path, SF2, b"an image"), ram=False) == 0
        back = tmp_path / "back.bin"
        calls = []
        for ram in ((), ("--ram", "0x20000000:64K")):
            assert tool("read", hex(SF2.flash), "100000", "-o", back, *ram, ram=False) == 0
            calls.append(tool.result["calls"])
            assert back.read_bytes() == with_image(b"an image")[:100000]
        assert calls[0] == calls[1], "as much is found as there is"
        assert qemu.content()[: len(BEFORE)] == with_image(b"an image")


@boards
def test_the_doctor_looks_at_the_ram_that_was_named(board: Board, tool: Tool) -> None:
    assert tool("doctor") == 0, tool.shown
    assert f"{AST1030_RAM if board is AST1030 else SF2_RAM} for " in tool.shown
    assert tool("doctor", "--ram", "0x10000000:64K", ram=False) == 3
    assert "outside the RAM 0x10000000-0x1000FFFF" in tool.shown


@boards
def test_afterwards_the_program_runs_from_reset(board: Board, qemu: RunningQemu, tool: Tool) -> None:
    assert tool("checksum", hex(board.flash), "1000") == 0
    target = connected(qemu)
    try:
        registers = target.read_registers(["pc", "sp", "r0", "r9"])
        assert registers["pc"] in (PROGRAM_ADDRESS, PROGRAM_ADDRESS + 2)
        assert registers["r0"] > 0
        assert (registers["sp"], registers["r9"]) == (board.stack, 0)
    finally:
        target.close()


@boards
def test_restore_leaves_registers_and_ram_of_a_halted_program(board: Board, qemu: RunningQemu, tool: Tool) -> None:
    ram = board.link_address - 4
    pattern = random.Random(4).randbytes(20000)
    values = {f"r{number}": 0x01010101 * number for number in range(13)} | {"pc": PROGRAM_ADDRESS}
    target = connected(qemu)
    target.write_memory(ram, pattern)
    target.write_registers(values)
    target.close()
    assert tool("checksum", hex(board.flash), "1000", "--after", "restore") == 0, tool.shown
    target = connected(qemu)
    try:
        assert target.read_registers(values) == values
        assert target.read_memory(ram, len(pattern)) == pattern
    finally:
        target.close()


@boards
def test_run_lets_an_interrupted_program_go_on(board: Board, qemu: RunningQemu, tool: Tool) -> None:
    target = connected(qemu)
    target.write_registers({"r0": 0x10000000, "r7": 7, "pc": PROGRAM_ADDRESS})
    target.resume()
    target.close()
    assert tool("checksum", hex(board.flash), "1000", "--before", "none", "--after", "run") == 0, tool.shown
    target = connected(qemu)
    try:
        registers = target.read_registers(["pc", "r0", "r7", "sp"])
        assert registers["pc"] in (PROGRAM_ADDRESS, PROGRAM_ADDRESS + 2)
        assert 0x10000000 < registers["r0"] < 0xF0000000
        assert registers["r7"] == 7
    finally:
        target.close()


@boards
def test_halted_after_the_last_call(board: Board, qemu: RunningQemu, tool: Tool) -> None:
    assert tool("call", "Init", "--after", "halt") == 0
    target = connected(qemu)
    try:
        registers = target.read_registers(["pc", "r0"])
        assert registers == {"pc": board.link_address - 4, "r0": 1}
        assert target.read_registers(registers) == registers
    finally:
        target.close()


@boards
def test_interrupts_that_this_server_cannot_turn_off_are_refused(
    board: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_qemu(board, tmp_path, BEFORE, TICK_AND_COUNT) as qemu:
        target = connected(qemu)
        target.reset_and_run()
        target.close()
        tool = Tool(qemu, capsys)
        code = tool("checksum", hex(board.flash), "1000", "--before", "none")
        # From 8.0 on QEMU's gdbstub gives PRIMASK and the other registers of M-profile cores, with which it can.
        assert code == (0 if qemu_version() >= (8, 0) else 3), tool.shown
        if code:
            assert "The program's SysTick cannot be turned off through this server" in tool.shown
            assert "--before reset" in tool.shown
        assert tool("checksum", hex(board.flash), "1000") == 0


@boards
def test_qemu_dying_is_a_lost_connection_and_loses_no_kept_bytes(
    board: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_qemu(board, tmp_path, BEFORE) as qemu:
        tool = Tool(qemu, capsys)
        killer = threading.Thread(target=end_once_erased, args=(qemu,))
        killer.start()
        assert tool("write", image_at(tmp_path, board, b"an image"), loader=board.build("HANGS_IN_WRITE")) == 3
        killer.join()
        assert tool.error["kind"] == "connection-lost"
        assert "are safe in" in tool.shown
        erased = qemu.chip.read_bytes()[: len(BEFORE)]
    (tmp_path / "again").mkdir()
    with running_qemu(board, tmp_path / "again", erased) as qemu:
        tool = Tool(qemu, capsys)
        assert tool("write", image_at(tmp_path, board, b"an image"), "--kept", "restore") == 0
        assert qemu.content()[: len(BEFORE)] == with_image(b"an image")


@pytest.mark.parametrize("board", [SF2], ids=["emcraft-sf2"])
@pytest.mark.parametrize("server", ["auto", "qemu"])
def test_a_second_debugger_is_told_of_the_first(board: Board, qemu: RunningQemu, tool: Tool, server: str) -> None:
    first = connected(qemu)
    try:
        assert tool("checksum", hex(board.flash), "1000", "--server", server) == 3
        assert "is another debugger connected to it?" in tool.shown
        assert first.read_memory(board.link_address, 4) == bytes(4), "the first one was cut off"
    finally:
        first.close()
    assert tool("checksum", hex(board.flash), "1000", "--server", server) == 0


def end_once_erased(qemu: RunningQemu) -> None:
    """End QEMU, as its user may at any time, when the sector of the image is erased."""
    start = ODD - ODD % qemu.board.sector
    with qemu.chip.open("rb") as chip:
        while qemu.process.poll() is None:
            chip.seek(start)
            if chip.read(qemu.board.sector) == b"\xff" * qemu.board.sector:
                qemu.process.terminate()
            time.sleep(0.01)
