"""One run at a time on one target."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import gdbflash
from gdbflash.board.mishaps.link import LinkFault, PacketFault
from gdbflash.board.mishaps.occasion import Occasion
from gdbflash.mi import reach
from gdbflash.servers.endpoint import alone_at
from tests.support.boards import GDBS, LOADER, running_board
from tests.support.commandline import CommandLine
from tests.support.faultbench import FLASH, AtPacket
from tests.support.gdbterminal import GDBINIT, gdb_terminal


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    return CommandLine(capsys)


def test_a_second_run_on_the_same_unit_stops_before_it_touches_anything(run: CommandLine) -> None:
    with running_board() as board, running_board() as same:
        with gdbflash.connect(board.endpoint) as target, gdbflash.Flasher(target):
            outcome = run("erase", "--chip", "--connect", same.endpoint, "-l", str(LOADER))
            assert (outcome.code, outcome.result["error"]["kind"]) == (3, "in-use")
            assert "has had the unit 330041000a51353038393634 since" in outcome.shown
            assert same.machine.quadspi_accesses == 0
        assert run("checksum", "0x90000000", "1", "--connect", same.endpoint, "-l", str(LOADER)).code == 0


@pytest.mark.parametrize("words", [("erase", "--chip"), ("doctor",)])
def test_a_second_run_at_the_same_server_stops_before_it_connects(run: CommandLine, words: tuple[str, ...]) -> None:
    with running_board() as board, gdbflash.connect(board.endpoint):
        board.machine.resume()
        board.server.link.faults = [packets := AtPacket(1 << 30)]
        place = board.endpoint.replace("127.0.0.1", "localhost")
        outcome = run(*words, "--connect", place, "-l", str(LOADER))
        assert outcome.code == 3
        assert f"has had the server at {place} since" in outcome.shown
        assert (packets.met, board.machine.halted) == (0, None)


def test_a_server_that_listens_no_more_is_named_with_the_run_that_has_it(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that serves a single client does not listen while it has one."""
    with running_board() as board:
        port = board.server.port
    monkeypatch.setattr(reach, "CANDIDATE_PORTS", (port,))
    words = ("checksum", "0x90000000", "1", "-l", str(LOADER))
    with alone_at(f"localhost:{port}", lambda _: None):
        outcome = run(*words)
        assert (outcome.code, outcome.result["error"]["kind"]) == (3, "in-use")
        assert f"has had the server at 127.0.0.1:{port} since" in outcome.shown
    assert "No GDB server listens on this machine" in run(*words).shown


def test_a_command_inside_gdb_counts_too(run: CommandLine, tmp_path: Path) -> None:
    """It waits in Read for as long as the other run takes to be refused."""
    with running_board() as board, gdb_terminal(GDBS[0], "-x", str(GDBINIT), state=tmp_path / "state") as gdb:
        gdb.run(f"target remote {board.endpoint}")
        gdb.run(f"gdbflash loader {LOADER}")
        reading = threading.Event()
        board.server.link.faults = [
            AtPacket(60, reading.set),
            PacketFault(LinkFault.STALL, Occasion(61, 61), seconds=3),
        ]
        gdb.send(f"gdbflash checksum {FLASH:#x} 1M")
        assert reading.wait(30)
        outcome = run("doctor", "--connect", board.endpoint)
        assert "has had the server at" in outcome.shown
        board.server.link.faults = []
        assert "CRC-32" in gdb.wait()
        assert "has had the server" not in run("doctor", "--connect", board.endpoint).shown


def test_a_state_folder_that_cannot_be_used_is_no_reason_not_to_read(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", "/dev/null/nowhere")
    with running_board() as board:
        outcome = run("checksum", "0x90000000", "1", "--connect", board.endpoint, "-l", str(LOADER))
        assert outcome.code == 0
        assert "Whether another process uses the unit 330041000a51353038393634 cannot be told" in outcome.shown
