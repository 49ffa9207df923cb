"""What one process has for itself, and what others are told."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gdbflash.errors import TargetInUse
from gdbflash.locks import TemporaryFolder, hold

TOP = Path(__file__).parents[2]


def holding(code: str, folder: Path) -> subprocess.Popen[str]:
    """Start a process that runs code, says that it did, and stays."""
    whole = f"from pathlib import Path; from gdbflash.locks import *; folder = Path({str(folder)!r}); {code}; "
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
    (tmp_path / "unit.holder").write_text("[]")
    with pytest.raises(TargetInUse, match="Another process of gdbflash has the unit"):
        hold(tmp_path / "unit.lock", "the unit")
    lock.release()


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
