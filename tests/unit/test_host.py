"""What one process has for itself, and what others are told."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gdbflash.errors import TargetInUse
from gdbflash.host import folders
from gdbflash.host.folders import TemporaryFolder, held, hold, made_directory
from gdbflash.servers.endpoint import alone_at

TOP = Path(__file__).parents[2]


def holding(code: str, folder: Path) -> subprocess.Popen[str]:
    """Start a process that runs code, says that it did, and stays."""
    whole = f"from pathlib import Path; from gdbflash.host.folders import *; folder = Path({str(folder)!r}); {code}; "
    process = subprocess.Popen(
        [sys.executable, "-c", whole + "import time; print('ready', flush=True); time.sleep(60)"],
        cwd=TOP,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_second_process_is_told_of_the_first(tmp_path: Path) -> None:
    with holding("kept = hold(folder / 'unit.lock', 'the unit')", tmp_path) as process:
        with pytest.raises(TargetInUse) as told:
            hold(tmp_path / "unit.lock", "the unit 0011")
        data = told.value.data
        assert (data["process"], data["host"]) == (process.pid, platform.node())
        assert f"Process {process.pid} on {platform.node()} has had the unit 0011 since 20" in told.value.message
        hold(tmp_path / "other.lock", "another one").release()
        process.kill()
    hold(tmp_path / "unit.lock", "the unit 0011").release()


def test_it_is_free_again_when_it_is_released(tmp_path: Path) -> None:
    for _ in range(2):
        lock = hold(tmp_path / "unit.lock", "the unit")
        with pytest.raises(TargetInUse, match=f"Process {os.getpid()} on"):
            hold(tmp_path / "unit.lock", "the unit")
        lock.release()


def test_a_holder_that_says_nothing_is_told_of_too(tmp_path: Path) -> None:
    lock = hold(tmp_path / "unit.lock", "the unit")
    for text in ("[]", '{"format": "gdbflash holder 2", "process": 1, "host": "here", "since": "today"}'):
        (tmp_path / "unit.holder").write_text(text)
        with pytest.raises(TargetInUse, match="Another process of gdbflash has the unit"):
            hold(tmp_path / "unit.lock", "the unit")
    lock.release()


def test_what_lies_in_the_platforms_folder_is_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions made it open to all."""
    monkeypatch.delenv("GDBFLASH_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "gdbflash").mkdir(mode=0o755)
    with held("a server's words: -f board.cfg", "it", pytest.fail):
        made = [tmp_path / "gdbflash", *(tmp_path / "gdbflash").rglob("*")]
        assert {oct(each.stat().st_mode & 0o777) for each in made if each.is_dir()} == {"0o700"}
        assert [oct(each.stat().st_mode & 0o777) for each in made if each.is_file()] == ["0o600"] * 2


def test_a_folder_of_the_users_own_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GDBFLASH_STATE", str(tmp_path))
        assert made_directory() == tmp_path
    assert tmp_path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("one", "another", "same"),
    [
        ("localhost:3333", "127.0.0.1:3333", True),
        ("tcp:localhost:3333", "[::1]:3333", True),
        (":3333", "localhost:3333", True),
        ("Lab:3333", "lab:3333", True),
        ("localhost:3333", "localhost:3334", False),
        ("/dev/stdin", os.path.realpath("/dev/stdin"), True),
        ("| openocd -p", "| openocd -q", False),
        ("x" * 200 + "1", "x" * 200 + "2", False),
    ],
)
def test_a_place_is_the_same_however_it_is_written(one: str, another: str, same: bool) -> None:
    with alone_at(one, pytest.fail), contextlib.ExitStack() as stack:
        if same:
            stack.enter_context(pytest.raises(TargetInUse))
        stack.enter_context(alone_at(another, pytest.fail))


def aged(folder: Path) -> None:
    """Let the lock in a folder be two minutes old."""
    then = time.time() - 120
    os.utime(folder / ".lock", (then, then))


def test_the_folder_of_a_process_that_was_killed_is_removed_by_the_next(tmp_path: Path) -> None:
    with holding("kept = TemporaryFolder(folder)", tmp_path) as process:
        (killed,) = tmp_path.iterdir()
        aged(killed)
        with TemporaryFolder(tmp_path) as mine:
            assert set(tmp_path.iterdir()) == {killed, mine}
        assert list(tmp_path.iterdir()) == [killed], "it is still in use"
        process.send_signal(signal.SIGKILL)
    (tmp_path / "gdbflash-of-another-make").mkdir()
    with TemporaryFolder(tmp_path) as mine:
        assert set(tmp_path.iterdir()) == {mine, tmp_path / "gdbflash-of-another-make"}


def test_the_command_line_of_this_process_is_told_without_proc_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert any("pytest" in word or "-c" in word for word in folders.own_command_line())

    def nothing(path: Path) -> bytes:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_bytes", nothing)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert folders.own_command_line() == []
    (tmp_path / "ps").write_text("#!/bin/sh\necho gdb -batch -x commands\n")
    (tmp_path / "ps").chmod(0o755)
    assert folders.own_command_line() == ["gdb", "-batch", "-x", "commands"]
