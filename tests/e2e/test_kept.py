"""`gdbflash kept`, and the question that a write asks where it is not sure whose bytes were kept."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pexpect
import pytest

from gdbflash.board.soc.h750 import UID
from gdbflash.flash import kept_files
from gdbflash.flash.kept_files import KeptSector, Origin
from gdbflash.loaders.stldr import load_loader
from gdbflash.onchip.state import Identity
from gdbflash.ranges import Range
from tests.support.boards import LOADER, RunningBoard, running_board
from tests.support.commandline import CommandLine
from tests.support.stretches import stretches

FLASH = 0x90000000
SECTOR = 64 * 1024
OLD = random.Random(1).randbytes(SECTOR)
IDENTITY = Identity("W25Q128_H750_QSPI", FLASH, 1 << 24, UID.hex())


@pytest.fixture
def board() -> Iterator[RunningBoard]:
    with running_board() as running:
        yield running


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    Path("app.bin").write_bytes(b"image")
    return CommandLine(capsys)


def leave_file(unit: str = "00ff", age: float = 7200) -> Path:
    identity = replace(IDENTITY, unit=unit)
    origin = Origin(identity, "board", load_loader(LOADER).sha256, 0xFF, time.time() - age)
    sector = KeptSector(Range(FLASH, SECTOR), (Range(FLASH + 100, SECTOR - 100),), (OLD,), begun=True)
    return kept_files.save(origin, (sector,)).path


def reach(board: RunningBoard) -> list[str]:
    return ["--connect", board.endpoint, "-l", str(LOADER)]


def test_they_are_listed_shown_exported_and_given_up(run: CommandLine, tmp_path: Path) -> None:
    assert "No recovery files in" in run("kept").shown
    path = leave_file()
    outcome = run("kept", "list")
    assert path.name in outcome.shown
    assert "63.9 KiB in 1 place from 0x90000064-0x9000FFFF on, W25Q128_H750_QSPI, 00ff, 2 hours ago" in outcome.shown
    (entry,) = outcome.result["files"]
    assert (entry["path"], entry["unit"], entry["bytes"]) == (str(path), "00ff", SECTOR - 100)
    outcome = run("kept", "show", path.name)
    assert f"file      {path}" in outcome.shown
    assert "sector    0x90000000-0x9000FFFF: its erase was begun; kept 0x90000064-0x9000FFFF" in outcome.shown
    assert run("kept", "export", path.name, "-o", "old.hex").code == 0
    from gdbflash.images.formats import load_image

    assert stretches(load_image(tmp_path / "old.hex")) == [(FLASH + 100, OLD[100:])]
    leave_file(age=3 * 86400)
    assert "1 file given up" in run("kept", "discard", "--older-than", "2").shown
    assert kept_files.paths() == (path,)
    assert run("kept", "discard", path.name).code == 0
    assert kept_files.paths() == ()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["kept", "show"], "Say which: kept show FILE"),
        (["kept", "show", "nowhere"], "There is no recovery file nowhere"),
        (["kept", "discard"], "or --older-than DAYS"),
        (["kept", "destroy"], "'destroy' is none of list, show"),
        (["kept", "export", "x"], "Say where to: kept export FILE -o OUT.hex."),
        (["kept", "restore", "x"], "No loader was given"),
        (["kept", "list", "--older-than", "yesterday"], "is no number of days"),
    ],
)
def test_what_is_typed_wrong(run: CommandLine, words: list[str], part: str) -> None:
    outcome = run(*words)
    assert (outcome.code, part in outcome.sentence) == (2, True), outcome.sentence


def test_they_are_put_back_by_hand(board: RunningBoard, run: CommandLine) -> None:
    path = leave_file()
    board.chip.memory[:SECTOR] = bytes(SECTOR)
    outcome = run("kept", "restore", path.name, *reach(board))
    assert outcome.code == 0, outcome.shown
    assert f"{SECTOR - 100} bytes put back and verified" in outcome.shown
    assert bytes(board.chip.memory[:SECTOR]) == bytes(100) + OLD[100:]
    assert kept_files.paths() == ()


def test_a_write_for_programs_stops_with_what_is_known(board: RunningBoard, run: CommandLine) -> None:
    path = leave_file()
    outcome = run("write", f"app.bin@{FLASH:#x}", *reach(board))
    error = outcome.result["error"]
    assert (outcome.code, error["kind"], error["file"], error["unit"]) == (1, "kept-unclear", str(path), "00ff")
    assert error["ranges"] == [[FLASH + 100, SECTOR - 100]]
    assert bytes(board.chip.memory[:5]) == b"\xff" * 5
    outcome = run("write", f"app.bin@{FLASH:#x}", "--kept", "leave", *reach(board))
    assert (outcome.code, outcome.result["bytes_restored"]) == (0, 0)
    outcome = run("write", f"app.bin@{FLASH:#x}", "--kept", "restore", *reach(board))
    assert (outcome.code, outcome.result["bytes"]) == (0, 5)


@pytest.mark.parametrize(("answer", "code"), [("restore", 0), ("leave", 0), ("", 1), ("stop", 1)])
@pytest.mark.usefixtures("run")
def test_on_a_terminal_it_asks(board: RunningBoard, answer: str, code: int) -> None:
    leave_file()
    words = ["-m", "gdbflash", "write", f"app.bin@{FLASH:#x}", *reach(board)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "500"}
    child = pexpect.spawn(sys.executable, words, env=environment, encoding="utf-8", timeout=60, dimensions=(24, 500))
    child.expect("they are of another unit, 00ff")
    child.expect(r"restore, discard, leave or stop\? \[stop\] ")
    child.sendline("what?")
    child.expect(r"restore, discard, leave or stop\? \[stop\] ")
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == code
    wanted = {"restore": b"image" + b"\xff" * 95 + OLD[100:], "leave": b"image" + b"\xff" * (SECTOR - 5)}
    assert bytes(board.chip.memory[:SECTOR]) == wanted.get(answer, b"\xff" * SECTOR)


def test_where_they_lie_is_said_however_quiet(board: RunningBoard, run: CommandLine) -> None:
    path = leave_file(UID.hex())
    board.chip.memory[:100] = OLD[:100]
    outcome = run("-q", "write", f"app.bin@{FLASH:#x}", *reach(board))
    assert outcome.code == 0
    assert "note: 65436 bytes kept by an interrupted write are put back." in outcome.shown
    (note,) = [each for each in outcome.events if each.get("code") == "recovered"]
    assert (note["path"], note["ranges"], note["unit"]) == (str(path), [[FLASH + 100, SECTOR - 100]], UID.hex())
    assert outcome.result["bytes_restored"] == SECTOR - 100


def test_a_file_that_was_found_does_not_decide_about_them(board: RunningBoard, run: CommandLine) -> None:
    leave_file()
    Path("gdbflash.toml").write_text('kept = "restore"\n')
    outcome = run("write", f"app.bin@{FLASH:#x}", *reach(board))
    assert (outcome.code, outcome.result["error"]["kind"]) == (2, "input")
    assert "kept" in outcome.shown
    assert "--config" in outcome.shown
    assert bytes(board.chip.memory[:SECTOR]) == b"\xff" * SECTOR
    outcome = run("--config", "gdbflash.toml", "write", f"app.bin@{FLASH:#x}", *reach(board))
    assert outcome.code == 0
