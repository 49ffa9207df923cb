"""A write that goes wrong at each of its steps: which error, what is erased and kept, and that the next one heals it.

By a target that fails as scripted; what real failures look like is tested on the board.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from gdbflash.errors import (
    CallFailed,
    CallNotMade,
    CallStopped,
    CallTimeout,
    ConnectionLost,
    GdbflashError,
    Interrupted,
    KeptUnclear,
    Mismatch,
    OutputError,
    PrepareError,
    TargetInUse,
)
from gdbflash.events import Event, Noted, unobserved
from gdbflash.flash import erase_unit, kept_files
from gdbflash.flash.erase_unit import Known
from gdbflash.flash.flasher import Flasher, Report
from gdbflash.flash.kept_files import KeptFile
from gdbflash.images.content import Content
from gdbflash.onchip import state
from gdbflash.options import Kept, RunOptions
from gdbflash.plan.jobs import plan_write
from gdbflash.ranges import Range
from tests.support.folders import left_in
from tests.support.scripted import FLASH, LOADER, SECTOR, Mishap, ScriptedTarget

OLD = random.Random(1).randbytes(8 * SECTOR)
IMAGE = random.Random(2).randbytes(5000)
OFFSET = 0x1105
NEW = OLD[:OFFSET] + IMAGE + OLD[OFFSET + len(IMAGE) :]
TOUCHED = Range(SECTOR, 2 * SECTOR)
"""Offsets of the two sectors that the image lies in; bytes on both sides of it are to be kept."""
KEPT = (Range(FLASH + TOUCHED.address, OFFSET - TOUCHED.address), Range(FLASH + OFFSET + len(IMAGE), 2931))
STEPS = [
    ("Init", 1),
    *(("Read", use) for use in range(1, 5)),  # digests of what is there
    ("Read", 5),  # what is to be kept
    ("Read", 6),
    ("Read", 7),  # its digests
    ("Read", 8),
    ("Init", 2),
    ("SectorErase", 1),
    ("Init", 3),
    ("Write", 1),
    ("Init", 4),
    ("Read", 9),  # digests of what was written
]
"""The calls of a write that goes well."""
WHEN_CALLED = [mishap for mishap in Mishap if mishap is not Mishap.REFUSED]


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(os, "fsync", lambda _: None)  # hundreds of runs; what is synced when is tested by itself


@pytest.fixture
def target() -> ScriptedTarget:
    return ScriptedTarget(chip=OLD)


def write(
    target: ScriptedTarget,
    observe: Callable[[Event], None] = unobserved,
    cancelled: Callable[[], bool] = bool,
    kept: Kept = Kept.ASK,
) -> Report:
    with Flasher(target, RunOptions(kept=kept), observe, cancelled) as flasher:
        return flasher.write(plan_write((LOADER,), Content.at(FLASH + OFFSET, IMAGE)))


def files() -> list[KeptFile]:
    return list(kept_files.files())


def error_of(run: Callable[[], object]) -> GdbflashError | None:
    try:
        run()
    except GdbflashError as error:
        return error
    return None


def see_nothing_lost(target: ScriptedTarget, error: GdbflashError | None) -> None:
    """Whatever happened: others' sectors are as they were, and what is to be kept is on the chip or in a file."""
    found = files()
    chip = bytes(target.chip)
    untouched = slice(0, TOUCHED.address), slice(TOUCHED.end, None)
    assert [chip[part] for part in untouched] == [OLD.ljust(len(chip), b"\xff")[part] for part in untouched]
    for where in KEPT:
        start = where.address - FLASH
        there = chip[start : start + where.size] == OLD[start : start + where.size]
        assert there or [each.content.read(where) for each in found] == [OLD[start : start + where.size]]
    if error is None:
        assert (chip[: len(NEW)], found) == (NEW, [])
    elif not target.erased:
        assert chip[: len(OLD)] == OLD


def see_it_healed(target: ScriptedTarget, *, may_ask: bool = False) -> None:
    """The next write, with nothing wrong, ends well and leaves no file; may_ask: perhaps after it asked."""
    target.script = {}
    before = bytes(target.chip)
    try:
        write(target)
    except KeptUnclear:
        assert may_ask
        assert bytes(target.chip) == before
        write(target, kept=Kept.RESTORE)
    assert (bytes(target.chip[: len(NEW)]), files()) == (NEW, [])


def test_without_a_mishap_the_steps_are_these(target: ScriptedTarget) -> None:
    secured: list[KeptFile] = []

    def before(function: str) -> None:
        if function in ("SectorErase", "Write"):
            secured.extend(files())

    target.before = before
    report = write(target)
    assert (report.bytes, report.sectors_erased, report.calls) == (len(IMAGE), 2, 11)
    assert [name for name, _ in target.calls] == [name for name, _ in STEPS]
    assert target.erased == [Range(FLASH + TOUCHED.address, TOUCHED.size)]
    assert bytes(target.chip[: len(NEW)]) == NEW
    # Before the erase and while it is programmed, and not any more.
    assert [[sector.kept for sector in file.sectors] for file in secured] == [[(KEPT[0],), (KEPT[1],)]] * 2
    assert all(sector.begun for file in secured for sector in file.sectors)
    assert files() == []
    assert (target.uses["reset_and_halt"], target.uses["reset_and_run"]) == (1, 1)


ERRORS = {
    Mishap.FAILS: CallFailed,
    Mishap.LIES: Mismatch,
    Mishap.HALF: Mismatch,
    Mishap.HANGS: CallTimeout,
    Mishap.STOPS: CallStopped,
    Mishap.SKIPPED: CallNotMade,
    Mishap.LOST: ConnectionLost,
}
HEALED = {
    *((("Init", use), Mishap.FAILS) for use in range(1, 5)),  # called once more
    *((("Init", use), mishap) for use in range(1, 5) for mishap in (Mishap.LIES, Mishap.HALF)),  # it does nothing here
    *((("Init", use), mishap) for use in range(2, 5) for mishap in (Mishap.HANGS, Mishap.STOPS)),  # after a reset
    *((("Read", use), mishap) for use in range(1, 5) for mishap in (Mishap.LIES, Mishap.HALF)),  # nothing is left out
    (("Read", 6), Mishap.HALF),  # the digest before it left the other half in the buffer
}
"""What goes wrong without harm."""


@pytest.mark.parametrize("mishap", WHEN_CALLED, ids=lambda mishap: mishap.name)
@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step[0]} {step[1]}")
def test_a_call_that_goes_wrong(target: ScriptedTarget, step: tuple[str, int], mishap: Mishap) -> None:
    target.script = {step: mishap}
    events: list[Event] = []
    error = error_of(lambda: write(target, events.append))
    assert type(error) is (type(None) if (step, mishap) in HEALED else ERRORS[mishap]), error
    see_nothing_lost(target, error)
    # The bytes are in their file from before the erase until they were compared.
    assert bool(files()) is (error is not None and STEPS.index(step) >= STEPS.index(("Init", 2)))
    told = [each.data["path"] for each in events if isinstance(each, Noted) and each.code == "kept"]
    assert told == [str(each.path) for each in files()]
    assert bool(target.erased) is (error is None or STEPS.index(step) >= STEPS.index(("SectorErase", 1)))
    if error is not None and STEPS.index(step) < STEPS.index(("Init", 2)):
        assert bytes(target.chip[: len(OLD)]) == OLD
    # A lost connection cannot be left in any way; all else is left as asked.
    assert target.uses["reset_and_run"] == (0 if mishap is Mishap.LOST else 1)
    see_it_healed(target)


def sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[[ScriptedTarget, int], bool], least: int
) -> None:
    """Let something go wrong at the first, second, ... place on a fresh chip, until there is no such place."""
    for place in range(1, 1000):
        monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / str(place)))
        target = ScriptedTarget(chip=OLD)
        if not run(target, place):
            assert place > least
            return
        # A Write of something else, which the server did not deliver, leaves what no run meant.
        see_it_healed(target, may_ask=Mishap.LIES in target.script.values())
    raise AssertionError("there is no end to it")


@pytest.mark.parametrize(
    ("method", "mishap", "least"),
    [
        ("read_memory", Mishap.REFUSED, 40),
        ("read_memory", Mishap.LOST, 40),
        ("write_memory", Mishap.REFUSED, 25),
        ("write_memory", Mishap.LOST, 25),
        ("write_memory", Mishap.LIES, 25),
        ("write_registers", Mishap.REFUSED, 10),
        ("write_registers", Mishap.LOST, 10),
        ("run_until", Mishap.REFUSED, 10),
        ("run_until", Mishap.LOST, 10),
    ],
)
def test_a_server_that_fails_at_any_packet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, mishap: Mishap, least: int
) -> None:
    def run(target: ScriptedTarget, place: int) -> bool:
        target.script = {(method, place): mishap}
        error = error_of(lambda: write(target))
        struck = target.uses[method] >= place
        if mishap is Mishap.LOST and struck:
            assert isinstance(error, ConnectionLost)
        see_nothing_lost(target, error)
        return struck

    sweep(tmp_path, monkeypatch, run, least)


def test_a_wish_to_stop_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(target: ScriptedTarget, place: int) -> bool:
        asked = 0

        def cancelled() -> bool:
            nonlocal asked
            asked += 1
            return asked >= place

        error = error_of(lambda: write(target, cancelled=cancelled))
        assert (error is None) is (asked < place)
        assert error is None or isinstance(error, Interrupted)
        see_nothing_lost(target, error)
        assert target.uses["reset_and_run"] == 1
        return error is not None

    sweep(tmp_path, monkeypatch, run, 20)


def test_a_target_that_cannot_be_reset_is_not_touched(target: ScriptedTarget) -> None:
    target.script = {("reset_and_halt", 1): Mishap.REFUSED}
    error = error_of(lambda: write(target))
    assert error is not None
    assert (target.calls, target.uses["write_memory"], target.uses["reset_and_run"]) == ([], 0, 1)
    see_it_healed(target)


def test_what_cannot_be_left_either_is_said_beside_the_error(target: ScriptedTarget) -> None:
    events: list[Event] = []
    target.script = {("reset_and_halt", 1): Mishap.REFUSED, ("reset_and_run", 1): Mishap.REFUSED}
    with pytest.raises(GdbflashError, match="refused reset_and_halt"):
        write(target, events.append)
    assert [each.message for each in events if isinstance(each, Noted)] == [
        "Leaving the target failed too: The server refused reset_and_run."
    ]


def test_a_unit_that_another_run_has_is_not_touched(target: ScriptedTarget) -> None:
    other = ScriptedTarget(chip=OLD)
    with Flasher(target), pytest.raises(TargetInUse, match="has had the unit 0102030405060708090a0b0c since"):
        write(other)
    assert {name for name, count in other.uses.items() if count} == {"read_memory"}
    see_it_healed(other)


def test_what_was_blank_and_then_is_not_stops_it_before_the_erase(target: ScriptedTarget) -> None:
    """One look that is wrong about bytes beside the image must not have an erase take them."""
    target.chip[TOUCHED.address : TOUCHED.end] = b"\xff" * TOUCHED.size
    target.chip[OFFSET + 1] = 0  # so that it is erased
    looks = 0

    def before(function: str) -> None:
        nonlocal looks
        looks += function == "Read"
        if looks == len(KEPT) + 3:  # the second look at what lies beside
            target.chip[TOUCHED.address] = 0

    target.before = before
    with pytest.raises(Mismatch, match="was found blank, and then it was not"):
        write(target)
    assert (target.erased, files()) == ([], [])


def test_ram_that_does_not_hold_the_loader_is_told_before_it_is_called(target: ScriptedTarget) -> None:
    target.script = {("write_memory", 3): Mishap.LIES}  # behind the two that prove the RAM's end
    with pytest.raises(PrepareError, match="does not stay in RAM: 0x24000001 holds 0x00"):
        write(target)
    assert target.calls == []


def test_a_target_that_cannot_be_let_go_says_so_after_all_is_done(target: ScriptedTarget) -> None:
    target.script = {("reset_and_run", 1): Mishap.REFUSED}
    with pytest.raises(GdbflashError, match="refused reset_and_run"):
        write(target)
    assert (bytes(target.chip[: len(NEW)]), files()) == (NEW, [])


# What the host cannot do


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_is_remembered_lies_where_the_caller_wants_it(
    target: ScriptedTarget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erase_unit, "known", lambda _: Known())
    mine = tmp_path / "mine"
    jobs = plan_write((LOADER,), Content.at(FLASH + OFFSET, IMAGE))
    target.script = {("Write", 1): Mishap.FAILS}
    with pytest.raises(CallFailed), Flasher(target, state=mine) as flasher:
        flasher.write(jobs)
    assert {each.suffix or each.name for each in mine.iterdir()} == {".gdbflash", "erase-units"}
    target.script = {("MassErase", 1): Mishap.HANGS}
    with pytest.raises(CallTimeout), Flasher(target, state=str(mine)) as flasher:
        flasher.erase(LOADER, LOADER.storage.all_sectors, chip=True)
    assert {each.suffix or each.name for each in mine.iterdir()} == {".erasing", "erase-units"}
    assert left_in(tmp_path / "state") == []
    with Flasher(target, state=mine) as flasher:
        assert flasher.write(jobs).bytes_restored == 0, "the chip erase gave them up"
    assert left_in(mine) == []


@pytest.mark.parametrize("what", ["write_whole", "append_line"])
def test_where_bytes_cannot_be_kept_nothing_is_erased(
    target: ScriptedTarget, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Neither the file before the erase, nor the line that says that the erase begins."""
    with monkeypatch.context() as patch:
        patch.setattr(state, what, full)
        with pytest.raises(OutputError, match=r"No space left on device.*othing was erased"):
            write(target)
    assert target.erased == []
    assert bytes(target.chip[: len(OLD)]) == OLD
    see_it_healed(target)


def test_a_file_that_cannot_be_removed_is_worth_a_note(target: ScriptedTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    with monkeypatch.context() as patch:
        patch.setattr(state, "remove", full)
        write(target, events.append)
    assert [each.code for each in events if isinstance(each, Noted)] == ["recovery-stays"]
    assert len(files()) == 1
    see_it_healed(target)


def test_a_mishap_at_every_step_in_turn_still_comes_to_an_end(target: ScriptedTarget) -> None:
    """Each run is cut off one step later than the one before, on the same chip."""
    for step in STEPS:
        target.uses.clear()
        target.script = {step: Mishap.LOST}
        error = error_of(lambda: write(target))
        see_nothing_lost(target, error)
    see_it_healed(target)
