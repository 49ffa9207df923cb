"""A session with a real OpenOCD: the same commands, and the same session afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gdbflash.board.faces.stlinktcp import StlinkServer
from tests.support.boards import GDBS, LOADER, RunningBoard
from tests.support.cbuild import build
from tests.support.debuggee import FLASH, Debugging, running_program
from tests.support.gdbterminal import GDBINIT, gdb_terminal
from tests.support.openocd import TRANSPORTS, running_openocd
from tests.support.programbuild import build_program


@contextmanager
def debugging_by_openocd(gdb: Path, transport: str, state: Path) -> Iterator[Debugging]:
    with (
        running_program() as board,
        StlinkServer(board.machine) as stlink,
        running_openocd(stlink.port, transport) as openocd,
        gdb_terminal(gdb, "-x", str(GDBINIT), str(build_program("debuggee")), state=state) as terminal,
    ):
        terminal.run(f"target extended-remote localhost:{openocd.gdb_port}")
        terminal.run("monitor reset halt")
        terminal.run("maintenance flush register-cache")
        terminal.run(f"gdbflash loader {LOADER}")
        yield Debugging(RunningBoard(board.machine, board.chip, board.server), terminal)


def everything(session: Debugging) -> tuple[object, ...]:
    """Collect what is to be given back; core registers as GDB has them: OpenOCD keeps them until the core runs."""
    registers = session.gdb.run("with pagination off -- info all-registers")
    return registers, session.system(), session.memory(), session.points(), session.place()


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_flashing_through_openocd_gives_the_session_back(gdb: Path, transport: str, tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(random.Random(6).randbytes(100_000))
    with debugging_by_openocd(gdb, transport, tmp_path / "state") as session:
        terminal = session.gdb
        terminal.run("break done")
        assert "Breakpoint 1, done ()" in terminal.run("continue")
        first = terminal.value("sum")
        terminal.run("break work")
        assert "Breakpoint 2, work (" in terminal.run("continue")
        terminal.run("watch local")
        before = everything(session)
        loader = build("misbehaving", "IN_WRITE=turn_all_over")
        shown = terminal.run(f"gdbflash write {image}@{FLASH + 0x20001:#x} -l {loader}")
        assert "100000 bytes written and verified, 2 sectors erased" in shown
        assert "The session is as it was" in shown
        for old, new in zip(before, everything(session), strict=True):
            assert new == old
        assert bytes(session.board.chip.memory[0x20001 : 0x20001 + 100_000]) == image.read_bytes()
        assert "server   OpenOCD" in terminal.run("gdbflash status")
        # Over HLA this OpenOCD does not tell GDB that a watchpoint was hit, flashed or not.
        hit = "Hardware watchpoint 3: local" if transport == "dapdirect_swd" else "in work ("
        assert hit in terminal.run("continue")
        terminal.run("delete 3")
        assert "Breakpoint 1, done ()" in terminal.run("continue")
        assert first != terminal.value("sum") == 0xFC26D4EF


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_ctrl_c_and_a_time_out_give_the_session_back_through_openocd(gdb: Path, tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(random.Random(6).randbytes(100_000))
    write = f"gdbflash write {image}@{FLASH + 0x20000:#x} -l {build('misbehaving', 'IN_WRITE=hang')}"
    with debugging_by_openocd(gdb, "dapdirect_swd", tmp_path / "state") as session:
        terminal = session.gdb
        terminal.run("break work")
        terminal.run("continue")
        terminal.run("watch local")
        before = everything(session)
        terminal.send(write)
        for _ in range(2):  # one sector by itself, to see that it is the only one
            terminal.child.expect_exact("Erased 64 KiB")
        session.wait_until_running()
        terminal.press_ctrl_c()
        terminal.press_ctrl_c()
        assert "Interrupted while programming, after 0 B of 128 KiB." in terminal.wait()
        terminal.run("echo")  # a key that was pressed late ends here
        assert everything(session) == before
        shown = terminal.run(f"{write} --timeout-scale 0.02")
        assert "did not return within" in shown
        assert "stuck in a loop at Write+" in shown
        assert "signal SIGINT" not in shown
        assert everything(session) == before
        assert "Hardware watchpoint 2: local" in terminal.run("continue")
        shown = terminal.run(f"gdbflash write {image}@{FLASH + 0x20000:#x} --full --kept restore")
        assert "100000 bytes written and verified" in shown


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_a_core_that_is_left_halted_is_where_it_is(gdb: Path, tmp_path: Path) -> None:
    """The frame that the user had selected lies in a stack that is the loader's now."""
    with debugging_by_openocd(gdb, "hla_swd", tmp_path / "state") as session:
        terminal = session.gdb
        terminal.run("break work")
        terminal.run("continue")
        terminal.run("up")
        assert "CRC-32" in terminal.run(f"gdbflash checksum {FLASH:#x} 16 --after halt")
        assert terminal.value("$pc") == session.board.machine.read_register("pc")
