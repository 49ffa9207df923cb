"""`--before none --after restore` on the command line: a program in full swing goes on as if nothing had been."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gdbflash.cli.main import main
from gdbflash.elf import ElfFile
from gdbflash.errors import ImageFileError
from tests.support.boards import GDBS, LOADER
from tests.support.cbuild import build
from tests.support.debuggee import CORE, FLASH, Debugging, running_program
from tests.support.gdbterminal import Terminal
from tests.support.programbuild import build_program


def symbol(name: str) -> int:
    """Look an address up in the program."""
    path = build_program("debuggee")
    symbols = ElfFile(path.read_bytes(), str(path), ImageFileError).symbols()
    return next(each.value for each in symbols if each.name == name)


def stop_at(session: Debugging, name: str) -> None:
    machine = session.board.machine
    machine.set_breakpoint(symbol(name))
    machine.resume()
    assert machine.wait_halted(30) is not None
    machine.clear_breakpoint(symbol(name))


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
@pytest.mark.parametrize("fails", [False, True], ids=["works", "faults"])
def test_the_command_line_gives_a_program_back(
    gdb: Path, fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    image = tmp_path / "image.bin"
    image.write_bytes(random.Random(6).randbytes(100_000))
    loader = build("misbehaving", "IN_WRITE=undefined") if fails else LOADER
    with running_program() as board:
        session = Debugging(board, Terminal.__new__(Terminal))
        stop_at(session, "done")
        stop_at(session, "work")
        assert board.machine.read_register("control") == 6
        assert board.machine.read_register("s0") == 0x7FC12345
        before = {name: board.machine.read_register(name) for name in CORE}
        system, memory = session.system(), session.memory()
        words = ["write", f"{image}@{FLASH + 3:#x}", "-l", str(loader), "--connect", board.endpoint, "--gdb", str(gdb)]
        assert main([*words, "--before", "none", "--after", "restore"]) == int(fails)
        assert board.machine.halted is not None
        assert {name: board.machine.read_register(name) for name in CORE} == before
        assert session.system() == system
        for start, content in memory.items():
            assert session.memory()[start] == content
        stop_at(session, "done")
        assert int.from_bytes(board.machine.read_memory(symbol("sum"), 4), "little") == 0xFC26D4EF
