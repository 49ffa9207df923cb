"""The commands under a front end that speaks MI, as cortex-debug in VS Code does from its debug console."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gdbflash.board.faces.stlinktcp import StlinkServer
from gdbflash.errors import CommandRefused
from gdbflash.mi.client import MiClient
from tests.support.boards import GDBS, LOADER, running_board
from tests.support.cbuild import build
from tests.support.debuggee import FLASH, running_program
from tests.support.frontend import FrontEnd
from tests.support.gdbterminal import GDBINIT
from tests.support.openocd import TRANSPORTS, running_openocd
from tests.support.programbuild import build_program


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_a_front_end_flashes_and_goes_on_debugging(gdb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    image = tmp_path / "image.bin"
    image.write_bytes(random.Random(5).randbytes(50000))
    with running_program() as board:
        client = MiClient(gdb)
        try:
            client.command("-gdb-set mi-async on")
            client.console(f"source {GDBINIT}")
            client.command(f"-file-exec-and-symbols {build_program('debuggee')}")
            client.command(f"-target-select extended-remote {board.endpoint}")
            client.command("-break-insert work")
            client.forget_events()  # of the stop that connecting made
            client.command("-exec-continue")
            stopped = client.wait_event("stopped", 30)
            assert stopped is not None
            before = {name: board.machine.read_register(name) for name in ("pc", "sp", "r0", "r1", "xpsr", "control")}
            client.console(f"gdbflash loader {LOADER}")
            client.console("""python gdb.execute("define hook-stop\\nset $stops = $stops + 1\\nend")""")
            for line in ("set $stops = 0", "set pagination on", "break done", "enable count 3 2", "delete mem"):
                client.console(line)
            client.console("mem 0x24000000 0x24080000 ro")
            asked = ("info breakpoints", "info mem", "show user hook-stop", "show pagination", "output $stops")
            users = [client.console(line).console for line in asked]
            # GDB answers with ^running as soon as the core runs first, and goes on.
            shown = client.console(f"gdbflash write {image}@{FLASH:#x}", timeout=60).console
            shown += client.console("echo end", timeout=60).console
            assert shown.endswith("end")
            assert "50000 bytes written and verified" in shown
            assert "The session is as it was" in shown
            assert "\r" not in shown, "progress is not drawn where nobody looks"
            assert bytes(board.chip.memory[:50000]) == image.read_bytes()
            assert {name: board.machine.read_register(name) for name in before} == before
            assert [client.console(line).console for line in asked] == users
            assert "disable after next 3 hits" in users[0]
            assert "$stops + 1" in users[2]
            with pytest.raises(CommandRefused, match=r"cannot-exist\.hex does not exist"):
                client.console("gdbflash write cannot-exist.hex")
            client.forget_events()
            client.command("-exec-next --thread 1")
            stepped = client.wait_event("stopped", 30)
            assert stepped is not None
            assert stepped.payload["reason"] == "end-stepping-range"
        finally:
            client.kill()


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_a_front_end_launches_a_program_with_parts_in_external_memory(
    gdb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands of the manual's launch.json, in the order in which cortex-debug gives them."""
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    program = build_program("debuggee")
    with running_board() as board:
        client = MiClient(gdb)
        try:
            client.command("-gdb-set mi-async on")
            client.command(f"-file-exec-and-symbols {program}")
            client.command(f"-target-select extended-remote {board.endpoint}")
            client.console(f"source {GDBINIT}")
            client.console(f"gdbflash loader {LOADER}")
            client.console("monitor reset halt")
            shown = client.console(f"gdbflash load {program}", timeout=60).console
            shown += client.console("monitor reset halt", timeout=60).console
            assert f"all of {program} compared." in shown
            client.command("-break-insert good")
            client.command("-break-insert bad")
            client.forget_events()
            client.command("-exec-continue")
            stopped = client.wait_event("stopped", 30)
            assert stopped is not None
            assert stopped.payload["frame"]["func"] == "good"  # type: ignore[index, call-overload]
        finally:
            client.kill()


@pytest.mark.parametrize(("gdb", "transport"), [*zip(GDBS, TRANSPORTS, strict=True)], ids=lambda each: Path(each).name)
def test_a_front_end_that_takes_the_first_answer_sees_failure_as_failure(
    gdb: Path, transport: str, tmp_path: Path
) -> None:
    """As cortex-debug sends it, which believes the first result record: with OpenOCD that is the last one, too."""
    image = tmp_path / "image.bin"
    image.write_bytes(random.Random(7).randbytes(40_000))
    with (
        running_board() as board,
        StlinkServer(board.machine) as stlink,
        running_openocd(stlink.port, transport) as openocd,
        FrontEnd(gdb, tmp_path / "state") as front_end,
    ):
        front_end.send("-gdb-set mi-async on")
        front_end.console(f"source {GDBINIT}")
        front_end.send(f"-target-select extended-remote localhost:{openocd.gdb_port}")
        front_end.console("monitor reset halt")
        front_end.console(f"gdbflash loader {LOADER}")
        written = front_end.console(f"gdbflash write {image}@{FLASH:#x}")
        assert written.result == "^done"
        assert "40000 bytes written and verified" in written.shown
        assert bytes(board.chip.memory[:40_000]) == image.read_bytes()
        assert not [each for each in written.notices if each.startswith("*")], "it was shown no core that runs"
        assert len(written.notices) < 30, "the settings that are changed and given back"
        broken = build("misbehaving", "IN_WRITE=bus_fault")
        failed = front_end.console(f"gdbflash write {image}@{FLASH + 0x20000:#x} -l {broken}")
        assert failed.result.startswith("^error,msg=")
        assert not [each for each in failed.notices if each.startswith("*")]
