"""Sectors or the whole chip: what is erased how, counted in the virtual board's chip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from gdbflash.events import Event, Finished, Noted
from gdbflash.flash.flasher import Flasher, Report
from gdbflash.images.content import Content
from gdbflash.loaders.stldr import load_loader
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import start_gdb
from gdbflash.mi.target import MiTarget
from gdbflash.options import After, RunOptions
from gdbflash.plan import chip_erase
from gdbflash.plan.jobs import EraseMode, plan_write
from gdbflash.servers.endpoint import parse_endpoint
from tests.support.boards import LOADER, RunningBoard, running_board

FLASH = 0x90000000
MIB = 1 << 20
SECTOR = 64 * 1024
ALL = 16 * MIB
MARK = b"something that is not erased"


@dataclass
class Bench:
    """A board whose chip holds zeros, and what happened to it."""

    board: RunningBoard
    target: MiTarget
    events: list[Event] = field(default_factory=list)

    def write(self, image: bytes, *, erase: EraseMode | None = None, keep: bool = True) -> Report:
        jobs = plan_write((load_loader(LOADER),), Content.at(FLASH, image), erase=erase, keep=keep)
        with Flasher(self.target, RunOptions(after=After.HALT), self.events.append) as flasher:
            return flasher.write(jobs)

    def erase(self, size: int) -> Report:
        loader = load_loader(LOADER)
        with Flasher(self.target, RunOptions(after=After.HALT), self.events.append) as flasher:
            return flasher.erase(loader, loader.storage.sectors_in(FLASH, size))

    @property
    def erases(self) -> dict[int, int]:
        """How often how many bytes were erased at once."""
        return self.board.chip.counters.erases

    @property
    def noted(self) -> list[str]:
        return [each.code for each in self.events if isinstance(each, Noted) and each.code != "halted"]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    # The board's chip takes no time: only a chip that takes none either could be quicker.
    monkeypatch.setattr(chip_erase, "SECONDS_PER_MIB", 0.0)
    with running_board() as board:
        board.chip.memory[:] = bytes(ALL)
        target = connect(parse_endpoint(board.endpoint), start_gdb())
        try:
            yield Bench(board, target)
        finally:
            target.close()


def image(size: int) -> bytes:
    """Something at both ends, erased bytes between."""
    return MARK + b"\xff" * (size - 2 * len(MARK)) + MARK


def test_an_image_of_everything_may_take_the_chip(bench: Bench) -> None:
    report = bench.write(image(ALL))
    assert bench.erases == {SECTOR: 1, ALL: 1}
    assert bench.noted == ["chip-erase"]
    assert (report.sectors_erased, report.bytes_skipped) == (256, 0)
    assert bytes(bench.board.chip.memory) == image(ALL)
    assert any(isinstance(each, Finished) and each.phase == "verify" for each in bench.events)


def test_a_part_takes_the_chip_only_where_the_rest_is_given_up(bench: Bench) -> None:
    assert bench.write(image(4 * SECTOR)).sectors_erased == 4
    assert bench.erases == {SECTOR: 4}
    assert bytes(bench.board.chip.memory[4 * SECTOR :]) == bytes(ALL - 4 * SECTOR)
    bench.board.chip.memory[: 4 * SECTOR] = bytes(4 * SECTOR)
    assert bench.write(image(4 * SECTOR), keep=False).sectors_erased == 256
    assert bench.erases == {SECTOR: 5, ALL: 1}
    assert bytes(bench.board.chip.memory) == image(4 * SECTOR) + b"\xff" * (ALL - 4 * SECTOR)


def test_sectors_that_were_asked_for_stay_sectors(bench: Bench) -> None:
    bench.write(image(4 * SECTOR), erase=EraseMode.SECTORS, keep=False)
    assert bench.erases == {SECTOR: 4}


def test_what_is_there_already_is_not_lost_for_speed(bench: Bench) -> None:
    bench.board.chip.memory[: len(MARK)] = MARK
    bench.board.chip.memory[len(MARK) : SECTOR] = b"\xff" * (SECTOR - len(MARK))
    report = bench.write(image(4 * SECTOR), keep=False)
    assert report.bytes_skipped == SECTOR
    assert bench.erases == {SECTOR: 3}


def test_erased_sectors_that_are_there_already_are_nothing_to_lose(bench: Bench) -> None:
    bench.board.chip.memory[SECTOR : 2 * SECTOR] = b"\xff" * SECTOR
    assert bench.write(image(4 * SECTOR), keep=False).bytes_skipped == SECTOR
    assert bench.erases == {SECTOR: 1, ALL: 1}


def test_an_erase_of_everything_may_take_the_chip(bench: Bench) -> None:
    assert bench.erase(2 * SECTOR).sectors_erased == 2
    assert bench.erases == {SECTOR: 2}
    assert bench.erase(ALL).sectors_erased == 256
    assert bench.erases == {SECTOR: 3, ALL: 1}
