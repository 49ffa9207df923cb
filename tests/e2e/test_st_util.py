"""The whole tool, as a user runs it, through a real st-util over the virtual board's ST-LINK."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from gdbflash.board.faces.stlinktcp import StlinkServer
from gdbflash.board.machine import Machine
from gdbflash.cli.main import main
from tests.support.boards import GDBS, LOADER, LOADER_WITHOUT_READ
from tests.support.gdbservers import free_port
from tests.support.stutil import StUtil, running_st_util

FLASH = 0x90000000
OFFSET, SIZE = 0x1001, 20 * 1024 + 3
AREA, SECTOR = 128 * 1024, 64 * 1024


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as running:
        running.flash.memory[:AREA] = random.Random(1).randbytes(AREA)
        yield running


@pytest.fixture
def st_util(machine: Machine) -> Iterator[StUtil]:
    with StlinkServer(machine) as stlink, running_st_util(stlink.port, free_port()) as running:
        yield running


@pytest.mark.parametrize(
    ("gdb", "loader"),
    [
        pytest.param(GDBS[0], LOADER, id="read"),
        pytest.param(GDBS[1], LOADER_WITHOUT_READ, id="window", marks=pytest.mark.full),
    ],
)
def test_what_is_written_is_there_and_comes_back_and_is_erased(
    gdb: Path, loader: Path, machine: Machine, st_util: StUtil, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memory, before = machine.flash.memory, bytes(machine.flash.memory[:AREA])
    data = random.Random(2).randbytes(SIZE)
    image, back = tmp_path / "image.bin", tmp_path / "back.bin"
    image.write_bytes(data)
    noted: list[str] = []

    def run(*words: str) -> dict[str, object]:
        capsys.readouterr()
        place = ["--connect", f"127.0.0.1:{st_util.gdb_port}", "--gdb", str(gdb), "-l", str(loader), "--json"]
        code = main([*words, *place])
        captured = capsys.readouterr()
        assert code == 0, captured.err + st_util.log
        events = [json.loads(line) for line in captured.out.splitlines()]
        noted[:] = [each["message"] for each in events if each.get("code") == "halted"]
        result: dict[str, object] = events[-1]
        assert result["server"] == "st-util"
        return result

    place = f"{image}@{FLASH + OFFSET:#x}"
    assert run("write", place)["bytes"] == SIZE
    assert bytes(memory[:AREA]) == before[:OFFSET] + data + before[OFFSET + SIZE :]
    assert run("verify", place)["bytes"] == SIZE
    assert run("read", hex(FLASH + OFFSET), str(SIZE), "-o", str(back))["bytes"] == SIZE
    assert back.read_bytes() == data
    run("erase", hex(FLASH), "64K", "--after", "halt")
    assert "lets it run when GDB goes: it does not stay so" in noted[0]
    assert bytes(memory[:SECTOR]) == b"\xff" * SECTOR
    assert bytes(memory[SECTOR:AREA]) == (before[:OFFSET] + data + before[OFFSET + SIZE :])[SECTOR:]
