"""A memory that erases more than its loader says loses nothing beside what was to be written."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from gdbflash.flash import kept_files
from tests.support.boards import LOADER, RunningBoard, running_board
from tests.support.cbuild import build
from tests.support.commandline import CommandLine, Outcome
from tests.support.folders import left_in

pytestmark = pytest.mark.erase_proof

FLASH = 0x90000000
KIB = 1024
SECTOR = 64 * KIB
OLD = random.Random(1).randbytes(16 * SECTOR)
NEW = random.Random(2).randbytes(4 * SECTOR)


@pytest.fixture
def board() -> Iterator[RunningBoard]:
    with running_board() as running:
        running.chip.memory[: len(OLD)] = OLD
        yield running


class Tool:
    def __init__(self, board: RunningBoard, run: CommandLine, folder: Path) -> None:
        self._board, self._run, self._folder = board, run, folder

    def write(self, loader: Path, offset: int, size: int, *more: str) -> Outcome:
        image = self._folder / "image.bin"
        image.write_bytes(NEW[:size])
        words = ["--connect", self._board.endpoint, "-l", str(loader), *more]
        return self._run("write", f"{image}@{FLASH + offset:#x}", *words)

    def expect(self, offset: int, size: int) -> None:
        """See that the chip holds what it held, and the image."""
        wanted = OLD[:offset] + NEW[:size] + OLD[offset + size :]
        assert bytes(self._board.chip.memory[: len(OLD)]) == wanted


@pytest.fixture
def tool(
    board: RunningBoard, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Tool:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    return Tool(board, CommandLine(capsys), tmp_path)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(("offset", "size"), [(SECTOR, SECTOR), (SECTOR + 100, 3000), (4 * SECTOR, 3 * SECTOR)])
def test_an_erase_that_takes_one_sector_more_stops_with_all_put_back(
    tool: Tool, tmp_path: Path, board: RunningBoard, offset: int, size: int, keep: bool
) -> None:
    loader = build("misbehaving", "ERASES_ONE_MORE")
    outcome = tool.write(loader, offset, size, *([] if keep else ["--no-keep", "--erase", "sectors"]))
    assert outcome.code == 1, outcome.shown
    error = outcome.result["error"]
    assert error["kind"] == "erase-unit"
    assert error["unit"] >= 2 * SECTOR
    assert "was put back and compared" in outcome.shown
    first = offset // SECTOR * SECTOR
    beside = bytearray(board.chip.memory[: len(OLD)])
    beside[first : first + SECTOR] = OLD[first : first + SECTOR]
    if size <= SECTOR:
        assert bytes(beside) == OLD, "nothing beside the sector itself is lost"
    assert left_in(tmp_path / "state") == []
    assert len(list((tmp_path / "state" / "erase-units").iterdir())) == 1


def test_a_proof_is_made_once_for_a_loader_on_a_unit(tool: Tool) -> None:
    first = tool.write(LOADER, SECTOR + 100, 3000)
    assert first.code == 0, first.shown
    tool.expect(SECTOR + 100, 3000)
    assert "neighbours" in first.shown
    again = tool.write(LOADER, 8 * SECTOR + 100, 3000)
    assert again.code == 0
    assert "neighbours" not in again.shown


def test_the_next_sector_is_the_proof_where_it_is_erased_too(tool: Tool) -> None:
    outcome = tool.write(LOADER, 4 * SECTOR, 4 * SECTOR)
    assert outcome.code == 0
    tool.expect(4 * SECTOR, 4 * SECTOR)
    looked = [each for each in outcome.events if each.get("label") == "neighbours"]
    assert sum(each["total"] for each in looked) <= 8 * SECTOR


def test_where_all_round_it_is_blank_the_proof_is_made_again(tool: Tool, board: RunningBoard) -> None:
    board.chip.memory[:] = b"\xff" * len(board.chip.memory)
    board.chip.memory[SECTOR : SECTOR + 10] = bytes(10)
    assert tool.write(LOADER, SECTOR, 3000).code == 0
    board.chip.memory[:SECTOR] = OLD[:SECTOR]
    board.chip.memory[SECTOR : SECTOR + 10] = bytes(10)
    assert "neighbours" in tool.write(LOADER, SECTOR, 3000).shown


def test_neighbours_are_kept_sector_by_sector(tool: Tool) -> None:
    loader = build("misbehaving", "IN_WRITE=undefined")
    assert tool.write(loader, 3 * SECTOR, 3000).code == 1
    (file,) = kept_files.files()
    places = [(each.where.address - FLASH, each.where.size) for each in file.sectors]
    assert places == [(number * SECTOR, SECTOR) for number in range(5)], "what is decided later, is decided by sector"
