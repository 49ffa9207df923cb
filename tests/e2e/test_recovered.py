"""What becomes of bytes that an interrupted write kept: put back where that is certain, asked about where it is not."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gdbflash.board.soc.h750 import UID
from gdbflash.errors import KeptUnclear, OutputError, TargetError
from gdbflash.events import Event, Noted
from gdbflash.flash import kept_files
from gdbflash.flash.flasher import Flasher, Report
from gdbflash.flash.kept_files import KeptSector, Origin
from gdbflash.images.content import Content
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.loaders.stldr import load_loader
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import start_gdb
from gdbflash.mi.target import MiTarget
from gdbflash.onchip.state import Identity
from gdbflash.options import After, Kept, RunOptions
from gdbflash.plan.jobs import EraseMode, plan_write
from gdbflash.ranges import Range
from gdbflash.servers.endpoint import parse_endpoint
from tests.support.boards import LOADER, RunningBoard, running_board

FLASH = 0x90000000
SECTOR = 64 * 1024
IDENTITY = Identity("W25Q128_H750_QSPI", FLASH, 1 << 24, UID.hex())
OLD = random.Random(1).randbytes(2 * SECTOR)
FIRST = random.Random(3).randbytes(1000)
"""What the interrupted write was to put at the beginning; of two sectors, the rest was kept."""
NEW = random.Random(2).randbytes(SECTOR)
BLANK = b"\xff" * SECTOR
MEANT = FIRST + OLD[1000:]


def kept_by(**changes: object) -> Origin:
    """Say whose bytes the file holds: this unit's and loader's, unless changed."""
    origin = Origin(IDENTITY, "board", load_loader(LOADER).sha256, 0xFF, time.time() - 7200)
    unit = changes.pop("unit", IDENTITY.unit)
    return replace(origin, identity=replace(IDENTITY, unit=str(unit)), **changes)  # type: ignore[arg-type]


def leave_file(origin: Origin | None = None, *, begun: bool = True) -> Path:
    """Leave the file of a write of FIRST that was cut off after it had erased two sectors."""
    sectors = (
        KeptSector(Range(FLASH, SECTOR), (Range(FLASH + 1000, SECTOR - 1000),), (MEANT[:SECTOR],), begun),
        KeptSector(Range(FLASH + SECTOR, SECTOR), (Range(FLASH + SECTOR, SECTOR),), (MEANT[SECTOR:],), begun),
    )
    return kept_files.save(origin or kept_by(), sectors).path


@dataclass
class Bench:
    """A board whose first two sectors are blank."""

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
        kept: Kept = Kept.ASK,
    ) -> list[tuple[str, object]]:
        """Write; returns codes of notes, with the bytes that they tell of."""
        jobs = plan_write((load_loader(LOADER),), Content.at(FLASH + offset, data), erase=erase, keep=keep)
        self.run(lambda flasher: flasher.write(jobs), kept)
        return self.noted

    def erase(self, offset: int, size: int, *, chip: bool = False) -> list[tuple[str, object]]:
        loader = load_loader(LOADER)
        self.run(lambda flasher: flasher.erase(loader, loader.storage.sectors_in(FLASH + offset, size), chip=chip))
        return self.noted

    def run(self, act: Callable[[Flasher], Report], kept: Kept = Kept.ASK) -> Report:
        self.events.clear()
        with Flasher(self.target, RunOptions(after=After.HALT, kept=kept), self.events.append) as flasher:
            return act(flasher)

    @property
    def noted(self) -> list[tuple[str, object]]:
        notes = (each for each in self.events if isinstance(each, Noted) and each.code != "halted")
        return [(each.code, each.data.get("bytes")) for each in notes]

    def holds(self, offset: int = 0, size: int = SECTOR) -> bytes:
        return bytes(self.board.chip.memory[offset : offset + size])


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    with running_board() as board:
        target = connect(parse_endpoint(board.endpoint), start_gdb())
        try:
            yield Bench(board, target)
        finally:
            target.close()


def left() -> list[tuple[int, int]]:
    """Offsets and sizes of what the files still hold."""
    return [(each.address - FLASH, each.size) for file in kept_files.files() for each in file.content.ranges]


def test_they_go_back_with_the_next_write_to_their_sector(bench: Bench) -> None:
    leave_file()
    assert bench.write(FIRST) == [("recovery-elsewhere", SECTOR), ("recovered", SECTOR - 1000)]
    assert bench.holds(0, 2 * SECTOR) == MEANT[:SECTOR] + BLANK
    assert left() == [(SECTOR, SECTOR)]
    assert bench.write(NEW[:10], SECTOR) == [("recovery-dropped", 10), ("recovered", SECTOR - 10)]
    assert bench.holds(SECTOR) == NEW[:10] + OLD[SECTOR + 10 :]
    assert left() == []
    assert bench.write(NEW[:20], 9 * SECTOR) == []


def test_what_was_programmed_in_part_is_gone_on_with(bench: Bench) -> None:
    leave_file()
    half = bytes(old | mask for old, mask in zip(MEANT, random.Random(4).randbytes(len(MEANT)), strict=True))
    bench.board.chip.memory[:SECTOR] = MEANT[:3000] + half[3000 : SECTOR - 1000] + BLANK[:1000]
    report = bench.run(lambda flasher: flasher.write(plan_write((load_loader(LOADER),), Content.at(FLASH, FIRST))))
    assert report.bytes_restored == SECTOR - 1000
    assert bench.holds() == MEANT[:SECTOR]
    assert left() == [(SECTOR, SECTOR)]


def test_an_image_that_is_there_already_does_not_keep_them_away(bench: Bench) -> None:
    """The run was cut off between the image and what is kept behind it."""
    leave_file()
    bench.board.chip.memory[:1000] = FIRST
    assert ("recovered", SECTOR - 1000) in bench.write(FIRST)
    assert bench.holds() == MEANT[:SECTOR]


def test_a_write_elsewhere_leaves_them_where_they_are(bench: Bench) -> None:
    leave_file()
    bench.board.chip.memory[:100] = bytes(100)  # another tool wrote there
    assert bench.write(NEW[:10], 8 * SECTOR) == [("recovery-elsewhere", 2 * SECTOR - 1000)]
    assert bench.holds(0, 2 * SECTOR) == bytes(100) + BLANK[100:] + BLANK
    assert left() == [(1000, 2 * SECTOR - 1000)]


def test_what_the_chip_holds_needs_nothing(bench: Bench) -> None:
    leave_file(kept_by(unit=""))
    bench.board.chip.memory[: 2 * SECTOR] = b"x" * 1000 + OLD[1000:]
    assert bench.write(FIRST) == [("recovery-elsewhere", SECTOR)]
    assert bench.holds() == MEANT[:SECTOR]


OTHERS: dict[str, Callable[[], Path]] = {
    "a unit without an ID": lambda: leave_file(kept_by(unit="")),
    "another unit": lambda: leave_file(kept_by(unit="00ff")),
    "another loader": lambda: leave_file(kept_by(loader="00")),
    "an erase that was not begun": lambda: leave_file(begun=False),
}


@pytest.mark.parametrize("whose", OTHERS)
def test_what_is_not_certain_is_asked_about_before_anything_is_touched(bench: Bench, whose: str) -> None:
    path = OTHERS[whose]()
    accesses = bytes(bench.board.chip.memory)
    with pytest.raises(KeptUnclear) as asked:
        bench.write(FIRST)
    assert bytes(bench.board.chip.memory) == accesses
    data = asked.value.data
    assert (data["file"], data["ranges"]) == (str(path), [[FLASH + 1000, SECTOR - 1000]])
    assert isinstance(data["age"], int)
    assert 7190 < data["age"] < 7300
    assert data["found"] == "ff" * 16
    assert "cut off 2 hours ago kept 64536 bytes of 0x900003E8-0x9000FFFF" in asked.value.message
    assert "--kept restore" in asked.value.message
    assert left() == [(1000, 2 * SECTOR - 1000)]


def test_another_boards_bytes_are_not_asked_about_where_nothing_of_them_is_lost(bench: Bench) -> None:
    """An image that covers all of them: a note, and their file stays."""
    leave_file(kept_by(unit="00ff"))
    assert bench.write(NEW + NEW) == [("recovery-covered", SECTOR - 1000), ("recovery-covered", SECTOR)]
    assert bench.holds(0, 2 * SECTOR) == NEW + NEW
    assert left() == [(1000, 2 * SECTOR - 1000)]


def test_bytes_of_another_tool_are_never_written_over(bench: Bench) -> None:
    leave_file()
    bench.board.chip.memory[2000:2004] = b"\0\0\0\0"
    with pytest.raises(KeptUnclear, match="the chip holds there what that run did not leave by itself"):
        bench.write(FIRST)
    assert bench.write(FIRST, kept=Kept.LEAVE) == [("recovery-elsewhere", SECTOR)]
    assert bench.holds() == FIRST + BLANK[1000:2000] + b"\0\0\0\0" + BLANK[2004:]
    assert left() == [(1000, 2 * SECTOR - 1000)]


def test_they_are_put_back_over_anything_where_somebody_says_so(bench: Bench) -> None:
    leave_file(kept_by(unit=""))
    bench.board.chip.memory[2000:2004] = b"\0\0\0\0"
    noted = bench.write(FIRST, kept=Kept.RESTORE)
    assert ("recovered", SECTOR - 1000) in noted
    assert bench.holds() == MEANT[:SECTOR]
    assert left() == [(SECTOR, SECTOR)]


def test_they_are_given_up_where_somebody_says_so(bench: Bench) -> None:
    leave_file(kept_by(unit="00ff"))
    noted = bench.write(FIRST, kept=Kept.DISCARD)
    assert ("recovery-dropped", SECTOR - 1000) in noted
    assert bench.holds() == FIRST + BLANK[1000:]
    assert left() == [(SECTOR, SECTOR)]


def test_an_image_that_covers_them_gives_them_up(bench: Bench) -> None:
    leave_file()
    bench.board.chip.memory[: 2 * SECTOR] = NEW + NEW
    assert bench.write(NEW + NEW) == [("recovery-dropped", 2 * SECTOR - 1000)]
    assert left() == []


def test_what_is_erased_on_purpose_stays_erased(bench: Bench) -> None:
    leave_file()
    assert bench.erase(0, SECTOR) == [("recovery-dropped", SECTOR - 1000)]
    assert left() == [(SECTOR, SECTOR)]
    assert bench.erase(0, 1 << 24, chip=True) == [("recovery-dropped", SECTOR)]
    assert left() == []
    leave_file(kept_by(unit="00ff"))
    assert bench.erase(0, SECTOR) == [("recovery-covered", SECTOR - 1000)]
    assert left() == [(1000, 2 * SECTOR - 1000)]


def test_a_chip_erase_gives_them_up(bench: Bench) -> None:
    leave_file()
    bench.board.chip.memory[:10] = bytes(10)
    assert bench.write(NEW, 8 * SECTOR, erase=EraseMode.CHIP, keep=False) == [("recovery-dropped", 2 * SECTOR - 1000)]
    assert bench.holds(0, 2 * SECTOR) == BLANK + BLANK
    assert left() == []


def test_no_keep_gives_up_what_it_erases_and_puts_nothing_back(bench: Bench) -> None:
    leave_file()
    bench.board.chip.memory[:SECTOR] = bytes(SECTOR)
    noted = bench.write(NEW[:1000], 0, erase=EraseMode.SECTORS, keep=False)
    assert noted == [("recovery-elsewhere", SECTOR), ("recovery-dropped", SECTOR - 1000)]
    assert bench.holds(0, 2 * SECTOR) == NEW[:1000] + BLANK[1000:] + BLANK
    assert left() == [(SECTOR, SECTOR)]


def test_without_an_erase_only_what_is_programmed_over_is_given_up(bench: Bench) -> None:
    leave_file()
    noted = bench.write(NEW[:100], SECTOR, erase=EraseMode.NONE)
    assert noted == [("recovery-elsewhere", SECTOR - 1000), ("recovery-dropped", 100)]
    assert left() == [(1000, SECTOR - 1000), (SECTOR + 100, SECTOR - 100)]


@pytest.mark.parametrize("function", ["Write", "SectorErase", "MassErase"])
def test_after_a_raw_call_nothing_is_certain(bench: Bench, function: str) -> None:
    from gdbflash.onchip.loaded import raw_call

    leave_file()
    loader: ExternalLoader = load_loader(LOADER)

    def act(flasher: Flasher) -> Report:
        buffer = flasher.open(loader).layout.buffer.address
        arguments = {"Write": (FLASH + (1 << 20), 16, buffer), "SectorErase": (FLASH + (1 << 20),) * 2}
        flasher.call(loader, raw_call(loader, function, arguments.get(function, ())), init=True)
        return Report(0)

    bench.run(act)
    with pytest.raises(KeptUnclear, match=f"{function} was called by itself since then"):
        bench.write(FIRST)


def test_a_run_that_puts_them_back_and_is_cut_off_leaves_one_file_with_all(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = leave_file()
    other = NEW[:500]

    def fails(*_: object) -> None:
        raise TargetError("the power went off")

    with monkeypatch.context() as patch:
        patch.setattr("gdbflash.flash.programming.Programming.program", fails)
        with pytest.raises(TargetError):
            bench.write(other)
    files = {file.path: file for file in kept_files.files()}
    (mine,) = (file for path, file in files.items() if path != earlier)
    assert [each.where.address - FLASH for each in files[earlier].sectors] == [SECTOR]
    assert mine.sectors[0].meant == (other + BLANK[500:1000] + OLD[1000:SECTOR], MEANT[:SECTOR])
    assert mine.sectors[0].begun
    assert bench.noted[-1] == ("kept", SECTOR - 500)
    # The chip holds what the first of both had programmed: the third one still is sure.
    bench.board.chip.memory[:900] = FIRST[:900]
    assert ("recovered", SECTOR - 500) in bench.write(other)
    assert left() == [(SECTOR, SECTOR)]


def test_a_file_that_cannot_be_removed_after_a_good_write_is_a_note(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.board.chip.memory[:SECTOR] = OLD[:SECTOR]

    def stays(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("gdbflash.onchip.state.remove", stays)
        noted = bench.write(FIRST)
    assert [code for code, _ in noted] == ["recovery-stays"]
    assert bench.holds() == MEANT[:SECTOR]
    # Its bytes are there: the next write has nothing to ask.
    assert bench.write(NEW[:10]) == []
    assert bench.holds() == NEW[:10] + MEANT[10:SECTOR]


def test_a_damaged_file_stops_the_run_before_anything_is_touched(bench: Bench) -> None:
    leave_file().write_bytes(b"damage")
    with pytest.raises(OutputError, match="Nothing was touched"):
        bench.write(FIRST)
    assert bench.holds() == BLANK
