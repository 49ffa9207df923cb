"""What is read back is what the chip holds, whatever Read leaves in RAM."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gdbflash.board.mishaps.occasion import Occasion
from gdbflash.board.mishaps.places import Mishap
from gdbflash.loaders.stldr import load_loader
from tests.support.boards import LOADER, running_board
from tests.support.campaign import Misread
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


@pytest.mark.parametrize(
    ("misread", "calls"),
    [(Misread(0.5), Occasion(1, None)), (Misread(0.9), Occasion(2, None)), (Misread(offset=0x10000), Occasion(3, 3))],
)
def test_bytes_beside_the_image_are_not_taken_from_a_read_that_went_wrong(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, misread: Misread, calls: Occasion
) -> None:
    """Whether each moves too little, which leaves in RAM what was there before, or one shows what is blank."""
    image = tmp_path / "image.bin"
    image.write_bytes(bytes(3000))
    read = load_loader(LOADER).functions["Read"] & ~1
    with running_board() as board:
        board.chip.memory[:0x10000] = random.Random(5).randbytes(0x10000)
        before = bytes(board.chip.memory[:0x20000])
        board.machine.plan_mishaps([Mishap(read, misread, calls)])
        words = ["--connect", board.endpoint, "-l", str(LOADER)]
        outcome = CommandLine(capsys)("write", f"{image}@{FLASH + 3000:#x}", *words)
        assert (outcome.code, outcome.result["error"]["kind"]) == (1, "mismatch"), outcome.shown
        assert bytes(board.chip.memory[:0x20000]) == before


def test_verify_thinks_of_another_image_first(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(random.Random(9).randbytes(3000))
    with running_board() as board:
        board.chip.memory[:3000] = image.read_bytes()
        board.chip.memory[1000] ^= 0x40
        words = ["--connect", board.endpoint, "-l", str(LOADER)]
        outcome = CommandLine(capsys)("verify", f"{image}@{FLASH:#x}", *words)
        assert (outcome.code, outcome.result["error"]["kind"]) == (1, "mismatch")
        assert "Another image may be there" in outcome.shown
        assert "suspect the chip" not in outcome.shown
