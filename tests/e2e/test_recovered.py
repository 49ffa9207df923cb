"""What becomes of bytes that an interrupted write kept: put back once, and never over what came after them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gdbflash.board.soc.h750 import UID
from gdbflash.events import Event, Noted
from gdbflash.flash.flasher import Flasher
from gdbflash.images.formats import Block
from gdbflash.loaders.stldr import load_loader
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import start_gdb
from gdbflash.mi.target import MiTarget
from gdbflash.onchip import recovery
from gdbflash.options import After, RunOptions
from gdbflash.plan.jobs import Content, EraseMode, plan_write
from gdbflash.servers.endpoint import parse_endpoint
from tests.support.boards import LOADER, RunningBoard, running_board

FLASH = 0x90000000
SECTOR = 64 * 1024
IDENTITY = recovery.Identity("W25Q128_H750_QSPI", FLASH, 1 << 24, UID.hex())
OLD = random.Random(1).randbytes(2 * SECTOR)
NEW = random.Random(2).randbytes(SECTOR)
BLANK = b"\xff" * SECTOR
IMAGE_SIZE = 1000
"""What the interrupted write was to put at the beginning; of two sectors, the rest was kept."""


@dataclass
class Bench:
    """A board whose first two sectors an interrupted write has erased, and the file with what it kept."""

    board: RunningBoard
    target: MiTarget
    events: list[Event] = field(default_factory=list)

    def write(
        self,
        data: bytes,
        offset: int = 0,
        *,
        erase: EraseMode | None = None,
        keep: bool = True,
    ) -> list[tuple[str, object]]:
        """Write; returns codes of notes, with the bytes that they tell of."""
        self.events.clear()
        jobs = plan_write((load_loader(LOADER),), (Block(FLASH + offset, data),), erase=erase, keep=keep)
        with Flasher(self.target, RunOptions(after=After.HALT), self.events.append) as flasher:
            flasher.write(jobs)
        return self.noted

    def erase(self, offset: int, size: int, *, chip: bool = False) -> list[tuple[str, object]]:
        self.events.clear()
        loader = load_loader(LOADER)
        with Flasher(self.target, RunOptions(after=After.HALT), self.events.append) as flasher:
            flasher.erase(loader, loader.storage.sectors_in(FLASH + offset, size), chip=chip)
        return self.noted

    @property
    def noted(self) -> list[tuple[str, object]]:
        notes = (each for each in self.events if isinstance(each, Noted) and each.code != "halted")
        return [(each.code, each.data.get("bytes")) for each in notes]

    def holds(self, offset: int = 0, size: int = SECTOR) -> bytes:
        return bytes(self.board.chip.memory[offset : offset + size])


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    kept = ((FLASH + IMAGE_SIZE, OLD[IMAGE_SIZE:SECTOR]), (FLASH + SECTOR, OLD[SECTOR:]))
    recovery.save(IDENTITY, Content(tuple((address, memoryview(data)) for address, data in kept)))
    with running_board() as board:
        target = connect(parse_endpoint(board.endpoint), start_gdb())
        try:
            yield Bench(board, target)
        finally:
            target.close()


def left() -> list[tuple[int, int]]:
    """Offsets and sizes of what the recovery file still holds."""
    found = recovery.load(IDENTITY)
    return [(address - FLASH, len(data)) for address, data in found.pieces] if found else []


def test_they_are_put_back_once(bench: Bench) -> None:
    assert bench.write(NEW[:10], 8 * SECTOR) == [("recovered", 2 * SECTOR - IMAGE_SIZE)]
    assert bench.holds(IMAGE_SIZE, 2 * SECTOR - IMAGE_SIZE) == OLD[IMAGE_SIZE:]
    assert left() == []
    assert bench.write(NEW[:20], 9 * SECTOR) == []


def test_an_image_that_covers_them_is_not_undone_by_the_next_write(bench: Bench) -> None:
    assert bench.write(NEW) == [("recovered", SECTOR), ("recovery-dropped", SECTOR - IMAGE_SIZE)]
    assert bench.holds(0, 2 * SECTOR) == NEW + OLD[SECTOR:]
    assert left() == []
    assert bench.write(NEW[:10], 8 * SECTOR) == []
    assert bench.holds(0, 2 * SECTOR) == NEW + OLD[SECTOR:]


def test_an_image_that_is_there_already_drops_them_too(bench: Bench) -> None:
    bench.board.chip.memory[: 2 * SECTOR] = NEW + NEW
    assert bench.write(NEW + NEW) == [("recovery-dropped", 2 * SECTOR - IMAGE_SIZE)]
    assert left() == []


def test_what_is_erased_on_purpose_stays_erased(bench: Bench) -> None:
    assert bench.erase(0, SECTOR) == [("recovery-dropped", SECTOR - IMAGE_SIZE), ("recovery-left", SECTOR)]
    assert left() == [(SECTOR, SECTOR)]
    assert bench.erase(0, 1 << 24, chip=True) == [("recovery-dropped", SECTOR)]
    assert left() == []
    assert bench.write(NEW[:10], 8 * SECTOR) == []
    assert bench.holds(0, 2 * SECTOR) == BLANK + BLANK


def test_a_chip_erase_gives_them_up(bench: Bench) -> None:
    bench.board.chip.memory[:10] = bytes(10)
    dropped = bench.write(NEW, 8 * SECTOR, erase=EraseMode.CHIP, keep=False)
    assert dropped == [("recovery-dropped", 2 * SECTOR - IMAGE_SIZE)]
    assert bench.holds(0, 2 * SECTOR) == BLANK + BLANK
    assert left() == []


def test_no_keep_gives_up_what_it_erases_and_puts_nothing_back(bench: Bench) -> None:
    bench.board.chip.memory[:SECTOR] = bytes(SECTOR)
    dropped = bench.write(NEW[:IMAGE_SIZE], 0, erase=EraseMode.SECTORS, keep=False)
    assert dropped == [("recovery-dropped", SECTOR - IMAGE_SIZE), ("recovery-left", SECTOR)]
    assert bench.holds(0, 2 * SECTOR) == NEW[:IMAGE_SIZE] + BLANK[IMAGE_SIZE:] + BLANK
    assert left() == [(SECTOR, SECTOR)]


def test_without_an_erase_only_what_is_programmed_over_is_given_up(bench: Bench) -> None:
    noted = bench.write(NEW[:100], SECTOR, erase=EraseMode.NONE)
    assert noted == [("recovery-dropped", 100), ("recovery-left", 2 * SECTOR - IMAGE_SIZE - 100)]
    assert left() == [(IMAGE_SIZE, SECTOR - IMAGE_SIZE), (SECTOR + 100, SECTOR - 100)]


def test_kept_bytes_and_those_of_another_write_lie_in_one_file(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that is cut off, too, leaves in the file what both have kept."""
    bench.board.chip.memory[8 * SECTOR : 9 * SECTOR] = NEW

    def fails(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("gdbflash.flash.programming.Programming.program", fails)
        with pytest.raises(KeyboardInterrupt):
            bench.write(OLD[:100], 8 * SECTOR)
    assert left() == [(IMAGE_SIZE, SECTOR - IMAGE_SIZE), (SECTOR, SECTOR), (8 * SECTOR + 100, SECTOR - 100)]
    assert bench.write(OLD[:100], 8 * SECTOR) == [("recovered", 3 * SECTOR - IMAGE_SIZE - 100)]
    assert bench.holds(8 * SECTOR) == OLD[:100] + NEW[100:]
    assert bench.holds(IMAGE_SIZE, 2 * SECTOR - IMAGE_SIZE) == OLD[IMAGE_SIZE:]
    assert left() == []


def test_what_programming_was_cut_off_at_is_gone_on_with(bench: Bench) -> None:
    """Some bytes are as they were, some erased, some programmed in part, and some wrong by a fault of the link."""
    half = bytes(old | mask for old, mask in zip(OLD, random.Random(4).randbytes(len(OLD)), strict=True))
    bench.board.chip.memory[: 2 * SECTOR] = OLD[:3000] + half[3000 : 2 * SECTOR - 1000] + BLANK[:1000]
    bench.board.chip.memory[5000:6000] = bytes(1000)
    assert bench.write(NEW[:10], 8 * SECTOR) == [("recovered", 2 * SECTOR - IMAGE_SIZE)]
    assert bench.holds(IMAGE_SIZE, 2 * SECTOR - IMAGE_SIZE) == OLD[IMAGE_SIZE:]
