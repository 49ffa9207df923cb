"""Where files are read and written: odd folders, links and modes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.support.boards import LOADER, running_board
from tests.support.commandline import CommandLine


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine(capsys)


def test_a_working_directory_that_was_deleted_has_no_config(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    run = CommandLine(capsys)
    assert run("info", LOADER).code == 0
    with running_board() as board:
        outcome = run("checksum", "0x90000000", "64", "--connect", board.endpoint, "-l", LOADER)
        assert outcome.code == 0, outcome.shown
        assert run("read", "0x90000000", "64", "-o", "x.bin", "--connect", board.endpoint, "-l", LOADER).code == 1


def test_a_loop_of_links_is_no_output(run: CommandLine) -> None:
    Path("one.bin").symlink_to("two")
    Path("two").symlink_to("one.bin")
    outcome = run("read", "0x90000000", "64", "-o", "one.bin", "-l", LOADER)
    assert (outcome.code, outcome.result["error"]["kind"]) == (1, "output")
    assert "one.bin could not be written (Too many levels of symbolic links)" in outcome.sentence


@pytest.mark.parametrize("link", [False, True])
def test_the_log_and_the_output_are_two_files(run: CommandLine, link: bool) -> None:
    output = "same.bin"
    if link:
        Path("link.bin").symlink_to("same.bin")
        output = "link.bin"
    outcome = run("--log", "same.bin", "read", "0x90000000", "64", "-o", output, "-l", LOADER)
    assert outcome.code == 2
    assert f"--log and -o both name {output}. Give each a file of its own." in outcome.sentence
    assert not Path("same.bin").exists()


@pytest.mark.parametrize("mode", [0o640, 0o400, 0o755])
def test_a_file_that_is_replaced_keeps_its_mode(run: CommandLine, mode: int) -> None:
    path = Path("back.bin")
    path.write_bytes(b"old")
    path.chmod(mode)
    with running_board() as board:
        outcome = run("read", "0x90000000", "64", "-o", path, "--connect", board.endpoint, "-l", LOADER)
    assert outcome.code == 0
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.stat().st_size == 64
    assert ("back.bin, which was read-only" in outcome.shown) == (not mode & 0o222)


def test_a_new_file_has_the_mode_that_the_umask_says(run: CommandLine) -> None:
    before = os.umask(0o027)
    try:
        with running_board() as board:
            words = ("read", "0x90000000", "64", "-o", "back.bin", "--connect", board.endpoint, "-l", LOADER)
            assert run(*words).code == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path("back.bin").stat().st_mode) == 0o640
