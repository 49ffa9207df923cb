"""What is no regular file: pipes are images, read once and to their end; nothing else waits for one."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support.boards import LOADER, running_board
from tests.support.commandline import CommandLine

PLACE = "0x90000000"
DATA = random.Random(1).randbytes(200_000)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine(capsys)


def trickle(path: str) -> threading.Thread:
    """Write the data into a pipe in pieces, with pauses, as soon as somebody reads it."""

    def write() -> None:
        with open(path, "wb", buffering=0) as pipe:  # noqa: PTH123 - waits for a reader
            for offset in range(0, len(DATA), 50_000):
                pipe.write(DATA[offset : offset + 50_000])
                time.sleep(0.02)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    return writer


def test_an_image_from_a_pipe_is_whole(run: CommandLine) -> None:
    os.mkfifo("pipe.bin")
    with running_board() as board:
        for _ in range(3):
            board.chip.memory[: len(DATA)] = b"\xff" * len(DATA)
            writer = trickle("pipe.bin")
            outcome = run("write", f"pipe.bin@{PLACE}", "--connect", board.endpoint, "-l", LOADER)
            writer.join(10)
            assert (outcome.code, outcome.result["bytes"]) == (0, len(DATA)), outcome.shown
            assert bytes(board.chip.memory[: len(DATA)]) == DATA


@pytest.mark.parametrize("hex_text", [False, True])
def test_an_image_from_another_program(hex_text: bool) -> None:
    data = b":0200000490006A\n:0400000001020304F2\n:00000001FF\n" if hex_text else DATA
    with running_board() as board:
        words = ["write", "-" if hex_text else f"-@{PLACE}", "--connect", board.endpoint, "-l", str(LOADER)]
        command = [sys.executable, "-m", "gdbflash", *words]
        done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        wanted = bytes([1, 2, 3, 4]) if hex_text else DATA
        assert bytes(board.chip.memory[: len(wanted)]) == wanted


def test_no_other_file_is_waited_for(run: CommandLine, tmp_path: Path) -> None:
    os.mkfifo("pipe")
    for words in (
        ("info", "pipe"),
        ("checksum", PLACE, "1", "-l", "pipe"),
        ("--config", "pipe", "checksum", PLACE, "1", "-l", LOADER),
    ):
        outcome = run(*words)
        assert (outcome.code, "pipe is a pipe or a socket, not a file." in outcome.sentence) == (2, True)
    for name in ("gdbflash.toml", "pyproject.toml"):
        for target in (tmp_path / "pipe", Path("/dev/zero")):
            Path(name).symlink_to(target)
            outcome = run("checksum", PLACE, "1", "-l", LOADER)
            assert outcome.code == 2
            assert f"{name} is a " in outcome.sentence
            Path(name).unlink()
    Path("gdbflash.toml").write_text('loader = "pipe"\n')
    outcome = run("checksum", PLACE, "1")
    assert (outcome.code, "is a pipe or a socket" in outcome.sentence) == (2, True)
