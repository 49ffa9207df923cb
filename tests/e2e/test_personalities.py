"""The whole tool against every GDB server that the board can play, told by asking."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from gdbflash.board.faces.personality import PERSONALITIES
from gdbflash.board.faces.rsp import RspServer
from gdbflash.board.machine import Machine
from gdbflash.cli.main import main
from tests.support.boards import GDBS, LOADER, LOADER_WITHOUT_READ

KIB = 1024
FLASH = 0x90000000
SIZE = 256 * KIB + 3
OFFSET = 0x1001


@pytest.mark.parametrize("name", PERSONALITIES)
@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_what_is_written_through_any_server_is_there_and_comes_back(
    name: str, gdb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    before = random.Random(1).randbytes(320 * KIB)
    data = random.Random(2).randbytes(SIZE)
    (tmp_path / "image.bin").write_bytes(data)
    # One GDB tells the server by itself and reads the mapped window, the other is told and reads through Read.
    told, loader = ("auto", LOADER_WITHOUT_READ) if gdb is GDBS[0] else (name, LOADER)
    with Machine() as machine:
        memory = machine.flash.memory
        memory[: len(before)] = before
        for words in (
            ["write", f"{tmp_path / 'image.bin'}@{FLASH + OFFSET:#x}"],
            ["verify", f"{tmp_path / 'image.bin'}@{FLASH + OFFSET:#x}"],
            ["read", hex(FLASH + OFFSET), str(SIZE), "-o", str(tmp_path / "back.bin")],
        ):
            # A server of its own for each run: some end with their client, as the real ones do.
            with RspServer(machine, personality=PERSONALITIES[name]) as server:
                place = ["--connect", f"127.0.0.1:{server.port}", "--server", told, "--gdb", str(gdb)]
                capsys.readouterr()
                code = main([*words, *place, "-l", str(loader), "--json"])
                captured = capsys.readouterr()
            assert code == 0, captured.err
            assert json.loads(captured.out.splitlines()[-1])["bytes"] == SIZE
        assert bytes(memory[: len(before)]) == before[:OFFSET] + data + before[OFFSET + SIZE :]
    assert (tmp_path / "back.bin").read_bytes() == data
