"""Runs that are cut off: what is left of the target, and that kept bytes survive."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boards import LOADER, RunningBoard, running_board

KIB = 1024
FLASH = 0x90000000
SIZE = 4 * 64 * KIB
OFFSET = 1000
"""Where the image begins: the bytes before it, and those behind it in its last sector, are to be kept."""


@pytest.fixture
def board() -> Iterator[RunningBoard]:
    with running_board() as running:
        yield running


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    before = random.Random(1).randbytes(SIZE)
    image = random.Random(2).randbytes(SIZE - 3000)
    (tmp_path / "image.bin").write_bytes(image)
    return {"before": before, "after": before[:OFFSET] + image + before[OFFSET + len(image) :]}


def start(board: RunningBoard, folder: Path, *more: str) -> subprocess.Popen[str]:
    """Start a write of the image as a process of its own."""
    words = ["--json", "write", f"{folder / 'image.bin'}@{FLASH + OFFSET:#x}", "--connect", board.endpoint]
    return subprocess.Popen(
        [sys.executable, "-m", "gdbflash", *words, "-l", str(LOADER), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "GDBFLASH_STATE": str(folder / "state")},
    )


def wait_for(process: subprocess.Popen[str], event: str, phase: str) -> None:
    """Read events until one of this kind and phase comes."""
    assert process.stdout is not None
    for line in process.stdout:
        found = json.loads(line)
        if (found["event"], found.get("phase")) == (event, phase):
            return
    raise AssertionError(f"{event} of {phase} never came: {process.stderr.read() if process.stderr else ''}")


def finish(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, object]], str]:
    out, shown = process.communicate(timeout=60)
    assert "Traceback" not in shown
    return process.returncode, [json.loads(line) for line in out.splitlines()], shown


def children_of(process: int) -> set[int]:
    """Name the processes whose parent this is."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


def gone(processes: set[int]) -> bool:
    """Wait until processes have ended."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{each}").exists() for each in processes):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_the_first_signal_ends_after_the_current_call(
    board: RunningBoard, tmp_path: Path, files: dict[str, bytes], number: signal.Signals
) -> None:
    board.chip.memory[:SIZE] = files["before"]
    process = start(board, tmp_path, "--after", "halt")
    wait_for(process, "advance", "erase")
    process.send_signal(number)
    code, events, shown = finish(process)
    assert code == 130
    assert events[-1]["exit_code"] == 130
    assert "Bytes to keep are safe in" in shown
    assert board.machine.halted is not None
    again = start(board, tmp_path)
    code, events, shown = finish(again)
    assert code == 0, shown
    assert "bytes kept by an interrupted write are put back" in shown
    assert bytes(board.chip.memory[:SIZE]) == files["after"]
    assert list((tmp_path / "state").iterdir()) == []


@pytest.mark.parametrize(
    ("event", "phase"),
    [
        ("start", "init"),
        ("start", "read"),
        ("finish", "read"),
        ("start", "erase"),
        ("advance", "erase"),
        ("finish", "erase"),
        ("start", "program"),
        ("finish", "program"),
        ("start", "verify"),
        ("finish", "verify"),
    ],
)
def test_kept_bytes_survive_a_kill_at_every_step(
    board: RunningBoard, tmp_path: Path, files: dict[str, bytes], event: str, phase: str
) -> None:
    board.chip.memory[:SIZE] = files["before"]
    process = start(board, tmp_path)
    wait_for(process, event, phase)
    children = children_of(process.pid)
    process.kill()
    process.communicate(timeout=60)
    assert gone(children), "gdb outlived us"
    code, _, shown = finish(start(board, tmp_path))
    assert code == 0, shown
    assert bytes(board.chip.memory[:SIZE]) == files["after"]
    assert list((tmp_path / "state").iterdir()) == []
