"""One run at a time on one target."""

from __future__ import annotations

from pathlib import Path

import pytest

import gdbflash
from tests.support.boards import LOADER, running_board
from tests.support.commandline import CommandLine


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


def test_a_state_folder_that_cannot_be_used_is_no_reason_not_to_read(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", "/dev/null/nowhere")
    with running_board() as board:
        outcome = run("checksum", "0x90000000", "1", "--connect", board.endpoint, "-l", str(LOADER))
        assert outcome.code == 0
        assert "Whether another process uses the target cannot be told" in outcome.shown
