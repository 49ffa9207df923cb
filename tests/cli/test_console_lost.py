"""Where nobody reads any more, or nothing more can be printed: the run comes to its own end and its own exit code."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.boards import LOADER, RunningBoard, running_board
from tests.support.faultbench import AtPacket

FLASH = 0x90000000
IMAGE = random.Random(5).randbytes(200_000)
FULL = "What was to be printed is not whole (No space left on device), though the command itself was done."
COMMANDS = [
    ("info", str(LOADER)),
    ("lint", str(LOADER)),
    ("gdbinit",),
    ("--version",),
    ("--help",),
    ("write", "--help"),
    ("--json", "info", str(LOADER)),
]


@pytest.fixture
def board() -> Iterator[RunningBoard]:
    with running_board() as running:
        yield running


def start(*words: str, stdout: int, stderr: int = subprocess.PIPE, **more: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gdbflash", *words]
    return subprocess.Popen(command, stdout=stdout, stderr=stderr, text=True, **more)  # type: ignore[call-overload, no-any-return]


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end; gives the exit code and what was shown on stderr."""
    _, shown = process.communicate(timeout=60)
    assert "Traceback" not in (shown or "")
    assert "Exception ignored" not in (shown or "")
    return process.returncode, shown


@contextlib.contextmanager
def nobody() -> Iterator[int]:
    """Give the end of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        yield writer
    finally:
        os.close(writer)


@contextlib.contextmanager
def full() -> Iterator[int]:
    """Give a file on a disk that is full."""
    handle = os.open("/dev/full", os.O_WRONLY)
    try:
        yield handle
    finally:
        os.close(handle)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:2]).partition("/")[0].strip())
def test_a_reader_that_went_away_is_no_failure(words: tuple[str, ...]) -> None:
    with nobody() as writer:
        assert end(start(*words, stdout=writer)) == (0, "")


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:2]).partition("/")[0].strip())
def test_a_full_disk_is_one(words: tuple[str, ...]) -> None:
    with full() as handle:
        code, shown = end(start(*words, stdout=handle))
    assert code == 1
    (line,) = shown.splitlines()
    assert line.startswith(f"error: {FULL}")


def test_a_full_disk_behind_both_streams_is_told_by_the_exit_code() -> None:
    with full() as handle:
        assert end(start("info", str(LOADER), stdout=handle, stderr=handle))[0] == 1


def test_what_failed_by_itself_keeps_its_exit_code() -> None:
    with full() as handle:
        code, shown = end(start("info", "/nowhere", stdout=handle))
        assert (code, "does not exist" in shown) == (2, True)
        assert end(start("info", "/nowhere", stdout=subprocess.DEVNULL, stderr=handle))[0] == 2
        assert end(start("--nonsense", stdout=subprocess.DEVNULL, stderr=handle))[0] == 2
        # What is for people is lost, what programs read is not.
        assert end(start("--json", "info", str(LOADER), stdout=subprocess.DEVNULL, stderr=handle))[0] == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_streams_that_are_closed_from_the_beginning(closed: str) -> None:
    line = f'"{sys.executable}" -m gdbflash info "{LOADER}" {closed}'
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (closed == "2>&-")


def write_words(board: RunningBoard, folder: Path, *more: str) -> list[str]:
    (folder / "image.bin").write_bytes(IMAGE)
    place = ["write", f"{folder / 'image.bin'}@{FLASH:#x}", "--connect", board.endpoint, "-l", str(LOADER)]
    return [*place, "--log", str(folder / "run.log"), *more]


def see_it_done(board: RunningBoard, folder: Path, code: int = 0) -> None:
    """The chip holds the image, the target runs, and the log tells the end."""
    assert bytes(board.chip.memory[: len(IMAGE)]) == IMAGE
    assert board.machine.halted is None
    assert re.search(rf"result exit code {code} after [\d.]+ s\Z", (folder / "run.log").read_text().strip())


@pytest.mark.parametrize("more", [(), ("--json",), ("-v",), ("-v", "--json")], ids=" ".join)
def test_a_write_whose_reader_goes_away_is_done(board: RunningBoard, tmp_path: Path, more: tuple[str, ...]) -> None:
    process = start(*write_words(board, tmp_path, *more), stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    code, shown = end(process)
    assert code == 0, shown
    assert "error" not in shown
    see_it_done(board, tmp_path)


@pytest.mark.parametrize("more", [(), ("--json",), ("-v",)], ids=" ".join)
def test_a_write_behind_which_the_disk_is_full_is_done(
    board: RunningBoard, tmp_path: Path, more: tuple[str, ...]
) -> None:
    with full() as handle:
        code, shown = end(start(*write_words(board, tmp_path, *more), stdout=handle))
    assert code == 1
    assert f"error: {FULL}" in shown
    see_it_done(board, tmp_path, 1)


def test_messages_that_nobody_reads_do_not_end_a_write(board: RunningBoard, tmp_path: Path) -> None:
    with nobody() as writer:
        process = start(*write_words(board, tmp_path, "--json"), stdout=subprocess.PIPE, stderr=writer)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out.splitlines()[-1])["ok"] is True
    see_it_done(board, tmp_path)


def test_a_terminal_that_closes_in_mid_bar_does_not_end_a_write(board: RunningBoard, tmp_path: Path) -> None:
    """It is no controlling terminal, so no signal comes: to print fails, and that is all."""
    master, slave = os.openpty()
    shown: list[bytes] = []

    def hang_up() -> None:
        shown.append(os.read(master, 1 << 16))
        os.close(master)

    board.server.link.faults = [AtPacket(150, hang_up)]
    words = write_words(board, tmp_path, "--verify", "readback", "--full")
    process = start(*words, stdout=slave, stderr=slave, env={**os.environ, "TERM": "xterm"})
    os.close(slave)
    assert end(process)[0] == 0
    assert "━".encode() in shown[0], "a bar was on the screen"
    see_it_done(board, tmp_path)


def test_a_bar_on_a_terminal_takes_no_json_lines_away(board: RunningBoard, tmp_path: Path) -> None:
    master, slave = os.openpty()
    words = write_words(board, tmp_path, "--json")
    process = start(*words, stdout=subprocess.PIPE, stderr=slave, env={**os.environ, "TERM": "xterm"})
    os.close(slave)
    out, _ = process.communicate(timeout=60)
    shown = os.read(master, 1 << 16)
    os.close(master)
    kinds = [json.loads(line)["event"] for line in out.splitlines()]
    assert process.returncode == 0
    assert "━".encode() in shown, "a bar was on the screen"
    assert b'"event"' not in shown
    assert kinds.count("start") >= kinds.count("finish") > 3
    assert "advance" in kinds
    assert kinds[-1] == "result"
