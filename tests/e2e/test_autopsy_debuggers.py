"""The autopsy where else calls are made: through a real OpenOCD, and inside GDB."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gdbflash.board.faces.stlinktcp import StlinkServer
from gdbflash.board.machine import Machine
from gdbflash.cli.main import main
from tests.support.boards import GDBS
from tests.support.cbuild import build
from tests.support.debuggee import debugging
from tests.support.openocd import TRANSPORTS, running_openocd

FLASH = 0x90000000
CAUSE = "nothing answers at 0x60000000: that external memory is not mapped or not there"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.bin"
    path.write_bytes(b"autopsy")
    return path


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_bus_fault_through_openocd(transport: str, image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loader = build("misbehaving", "IN_WRITE=bus_fault")
    with (
        Machine() as machine,
        StlinkServer(machine) as stlink,
        running_openocd(stlink.port, transport) as openocd,
    ):
        words = ["write", f"{image}@{FLASH:#x}", "--no-keep", "-l", str(loader), "--timeout-scale", "0.1", "--json"]
        assert main([*words, "--connect", f"127.0.0.1:{openocd.gdb_port}"]) == 1
    captured = capsys.readouterr()
    error = json.loads(captured.out.splitlines()[-1])["error"]
    assert (error["kind"], error["stopped_by"], error["cause"]) == ("call-stopped", "fault", CAUSE)
    assert (error["frame"]["r0"], error["frame"]["r1"]) == (FLASH, 256)
    assert error["pc"]["symbol"].startswith("Write")
    assert re.search(rf"^  => 0x{error['pc']['address']:08X}  ldr", captured.err, re.MULTILINE)


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
@pytest.mark.parametrize(
    ("fault", "lines"),
    [
        ("bus_fault", (CAUSE, "frame at MSP 0x", "CFSR   0x00008200 PRECISERR BFARVALID")),
        ("hang", ("it is stuck in a loop at Write+0x", "the canary lives", "(10x)")),
    ],
)
def test_inside_gdb(gdb: Path, image: Path, tmp_path: Path, fault: str, lines: tuple[str, ...]) -> None:
    with debugging(gdb, tmp_path / "state", build("misbehaving", f"IN_WRITE={fault}")) as session:
        shown = session.gdb.run(f"gdbflash write {image}@{FLASH:#x} --timeout-scale 0.1")
        for line in lines:
            assert line in shown
        assert re.search(r"=> 0x2400[0-9A-F]{4}  \w+", shown)
