"""What is read back is what the chip holds, whatever Read leaves in RAM."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.boards import running_board
from tests.support.cbuild import build
from tests.support.commandline import CommandLine

FLASH = 0x90000000


def test_a_read_that_moves_less_than_asked_shows_nothing_of_what_write_was_given(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    loader = build("misbehaving", "READ_SHORT")
    image = tmp_path / "image.bin"
    image.write_bytes(bytes([0xA5]) * 4096)
    with running_board() as board:
        board.chip.memory[4090] = 0  # what a stuck bit would be: programming cannot put it right
        words = ["--erase", "none", "--full", "--verify", "readback", "--connect", board.endpoint, "-l", str(loader)]
        outcome = CommandLine(capsys)("write", f"{image}@{FLASH:#x}", *words)
        assert bytes(board.chip.memory[:4096]) != image.read_bytes()
        assert (outcome.code, outcome.result["error"]["kind"]) == (1, "mismatch"), outcome.shown
