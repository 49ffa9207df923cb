"""Runs that are cut off: what is left of the target, and that kept bytes survive."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.boards import LOADER, RunningBoard, running_board
from tests.support.faultbench import CAMPAIGN, AtPacket, children_of
from tests.support.folders import left_in
from tests.support.tally import Tally

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
def tally(record_property: Callable[[str, object], None]) -> Iterator[Tally]:
    counted = Tally()
    yield counted
    counted.tell(record_property)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    before = random.Random(1).randbytes(SIZE)
    image = random.Random(2).randbytes(SIZE - 3000)
    (tmp_path / "image.bin").write_bytes(image)
    return {"before": before, "after": before[:OFFSET] + image + before[OFFSET + len(image) :]}


def words(board: RunningBoard, folder: Path) -> list[str]:
    """Give the command that writes the image."""
    return ["write", f"{folder / 'image.bin'}@{FLASH + OFFSET:#x}", "--connect", board.endpoint, "-l", str(LOADER)]


def start(board: RunningBoard, folder: Path, *more: str, by: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Start a write of the image as a process of its own; by: what runs it."""
    return subprocess.Popen(
        [*by, sys.executable, "-m", "gdbflash", "--json", *words(board, folder), *more],
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


def gone(processes: set[int]) -> bool:
    """Wait until processes have ended."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{each}").exists() for each in processes):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
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
    assert left_in(tmp_path / "state") == []


def test_a_hang_up_that_is_told_twice_still_waits_for_the_current_call(
    board: RunningBoard, tmp_path: Path, files: dict[str, bytes], tally: Tally
) -> None:
    """The kernel tells the processes of a terminal, and so does a shell that ends with it."""
    board.chip.memory[:SIZE] = files["before"]
    process = start(board, tmp_path, "--after", "halt")
    for _ in range(2):  # one sector by itself comes first
        wait_for(process, "start", "erase")
    for _ in range(3):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.001)
    code, events, shown = finish(process)
    assert (code, events[-1]["exit_code"]) == (130, 130), shown
    assert "Interrupted during erase" in shown
    assert board.machine.halted is not None
    see_it_whole(board, tmp_path, files, tally)


CONTROLLED = """\
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""Runs Python with stdin as its controlling terminal."""


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_a_terminal_that_hangs_up_is_a_wish_to_stop(
    board: RunningBoard, tmp_path: Path, files: dict[str, bytes], tally: Tally, share: float
) -> None:
    packets = count_packets(board, tmp_path, files)
    board.chip.memory[:SIZE] = files["before"]
    master, slave = os.openpty()
    command = [sys.executable, "-c", CONTROLLED, "-m", "gdbflash", *words(board, tmp_path), "--after", "halt"]
    environment = {**os.environ, "GDBFLASH_STATE": str(tmp_path / "state"), "TERM": "xterm"}
    board.server.link.faults = [AtPacket(int(packets * share), lambda: os.close(master))]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    assert process.wait(60) == 130
    board.server.link.faults = []
    assert board.machine.halted is not None
    assert bytes(board.chip.memory[:SIZE]) != files["after"]
    see_it_whole(board, tmp_path, files, tally)


def ignoring(name: str) -> list[str]:
    """Start a program as nohup does it with HUP, and a shell script, with INT, what it runs in the background."""
    return ["/bin/sh", "-c", f'trap "" {name}; exec "$0" "$@"']


def test_a_hang_up_that_was_ignored_stays_so(board: RunningBoard, tmp_path: Path, files: dict[str, bytes]) -> None:
    board.chip.memory[:SIZE] = files["before"]
    process = start(board, tmp_path, by=ignoring("HUP"))
    for event, phase in (("start", "init"), ("advance", "erase"), ("finish", "erase")):
        wait_for(process, event, phase)
        process.send_signal(signal.SIGHUP)
    code, _, shown = finish(process)
    assert code == 0, shown
    assert bytes(board.chip.memory[:SIZE]) == files["after"]


def test_who_sends_sigint_to_the_background_means_it(
    board: RunningBoard, tmp_path: Path, files: dict[str, bytes], tally: Tally
) -> None:
    board.chip.memory[:SIZE] = files["before"]
    process = start(board, tmp_path, by=ignoring("INT"))
    wait_for(process, "advance", "erase")
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 130
    see_it_whole(board, tmp_path, files, tally)


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
    board: RunningBoard,
    tmp_path: Path,
    files: dict[str, bytes],
    tally: Tally,
    event: str,
    phase: str,
) -> None:
    board.chip.memory[:SIZE] = files["before"]
    process = start(board, tmp_path)
    wait_for(process, event, phase)
    children = children_of(process.pid)
    process.kill()
    tally.faults += 1
    process.communicate(timeout=60)
    assert gone(children), "gdb outlived us"
    see_it_whole(board, tmp_path, files, tally)


def count_packets(board: RunningBoard, folder: Path, files: dict[str, bytes]) -> int:
    """Count the packets of a whole keep-write, once the proof of the erase unit is made."""
    board.chip.memory[:SIZE] = files["before"]
    assert finish(start(board, folder))[0] == 0
    board.chip.memory[:SIZE] = files["before"]
    counter = AtPacket(1 << 30)
    board.server.link.faults = [counter]
    assert finish(start(board, folder))[0] == 0
    board.server.link.faults = []
    return counter.met


def cut_at(board: RunningBoard, folder: Path, number: int, tally: Tally) -> None:
    """Start a keep-write and kill it with SIGKILL when the number-th packet comes."""
    process = start(board, folder)
    board.server.link.faults = [AtPacket(number, process.kill)]
    children: set[int] = set()
    while process.poll() is None:
        children |= children_of(process.pid)
        time.sleep(0.005)
    board.server.link.faults = []
    process.communicate()
    tally.faults += process.returncode == -signal.SIGKILL
    assert gone(children), "gdb outlived us"


def see_it_whole(board: RunningBoard, folder: Path, files: dict[str, bytes], tally: Tally) -> None:
    """Run to the end: image and kept bytes are there, and nothing else is left."""
    code, _, shown = finish(start(board, folder))
    assert code == 0, shown
    assert tally.compare(bytes(board.chip.memory[:SIZE]) == files["after"])
    assert left_in(folder / "state") == []


@pytest.mark.timeout(CAMPAIGN)
@pytest.mark.parametrize("part", range(4))
def test_kept_bytes_survive_a_kill_at_any_packet(
    board: RunningBoard,
    tmp_path: Path,
    files: dict[str, bytes],
    pytestconfig: pytest.Config,
    tally: Tally,
    part: int,
) -> None:
    packets = count_packets(board, tmp_path, files)
    step = 1 if pytestconfig.getoption("--full") else packets // 9
    # Before the loader is in RAM nothing is touched.
    numbers = range(packets // 8, packets + 1, step)[part::4]
    for number in numbers:
        board.chip.memory[:SIZE] = files["before"]
        cut_at(board, tmp_path, number, tally)
        see_it_whole(board, tmp_path, files, tally)


def test_kept_bytes_survive_a_second_kill(
    board: RunningBoard, tmp_path: Path, files: dict[str, bytes], tally: Tally
) -> None:
    """The run that puts them back is killed as well."""
    packets = count_packets(board, tmp_path, files)
    for first, second in ((0.5, 0.4), (0.9, 0.6)):
        board.chip.memory[:SIZE] = files["before"]
        cut_at(board, tmp_path, int(packets * first), tally)
        cut_at(board, tmp_path, int(packets * second), tally)
        see_it_whole(board, tmp_path, files, tally)
