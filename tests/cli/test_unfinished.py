"""A chip erase that is interrupted goes on in the chip: the next run knows, waits for it and says so."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gdbflash.board.chips.facts import Timing
from gdbflash.board.chips.w25q import W25Q
from gdbflash.board.clock import Clock
from gdbflash.board.faces.rsp import RspServer
from gdbflash.board.machine import Machine
from gdbflash.board.mishaps.inject import parse
from gdbflash.board.soc.h750 import UID
from gdbflash.cli.board import _function_of
from gdbflash.errors import CallFailed
from gdbflash.onchip import unfinished
from gdbflash.onchip.state import Identity
from tests.support.boards import LOADER, running_board
from tests.support.commandline import CommandLine
from tests.support.folders import left_in

FLASH = 0x90000000
IDENTITY = Identity("chip", FLASH, 1 << 24, "00ff")
ERASE_SECONDS = 2.5
TIMING = Timing(1e-6, 1e-6, 1e-6, 1e-6, ERASE_SECONDS, 1e-6, 1e-6, 0.0)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_an_erase_that_ends_leaves_no_note(state: Path) -> None:
    with unfinished.noted(IDENTITY, 100):
        assert 99 < unfinished.seconds_left(IDENTITY) <= 100
    assert unfinished.seconds_left(IDENTITY) == 0
    with pytest.raises(CallFailed), unfinished.noted(IDENTITY, 100):
        raise CallFailed("MassErase returned 0")
    assert left_in(state) == []


def test_an_erase_that_is_interrupted_leaves_one_until_its_time_is_over() -> None:
    with pytest.raises(KeyboardInterrupt), unfinished.noted(IDENTITY, 100):
        raise KeyboardInterrupt
    assert unfinished.seconds_left(IDENTITY) > 99
    other = Identity("chip", FLASH, 1 << 24, "0100")
    assert unfinished.seconds_left(other) == 0
    unfinished.forget(IDENTITY)
    assert unfinished.seconds_left(IDENTITY) == 0
    with pytest.raises(KeyboardInterrupt), unfinished.noted(IDENTITY, -1):
        raise KeyboardInterrupt
    assert unfinished.seconds_left(IDENTITY) == 0


def note(begun: object, seconds: object) -> str:
    return json.dumps({"format": "gdbflash erasing 2", "begun": begun, "seconds": seconds})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        '{"until": 1e99}',
        "\udcff",
        note("x", 1),
        note(1e400, 1),
        note(1, 1e400),
        note(1, -1),
        "[" * 10**5,
    ],
)
def test_a_note_that_says_what_cannot_be_is_named_and_ignored(
    state: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = Identity("W25Q128_H750_QSPI", FLASH, 1 << 24, UID.hex())
    state.mkdir()
    path = state / f"{identity.file_name}.erasing"
    path.write_text(content, errors="surrogateescape")
    with running_board() as board:
        outcome = CommandLine(capsys)("checksum", hex(FLASH), "64", "--connect", board.endpoint, "-l", LOADER)
        assert outcome.code == 0
        assert f"{path} should tell of an interrupted chip erase, and says what cannot be" in outcome.shown
        assert not path.exists()


def test_a_note_of_another_version_is_named(state: Path) -> None:
    state.mkdir()
    (state / f"{IDENTITY.file_name}.erasing").write_text(note(1, 1).replace("erasing 2", "erasing 3"))
    with pytest.raises(unfinished.Odd, match="as another version of gdbflash does: it is ignored"):
        unfinished.seconds_left(IDENTITY)


@pytest.mark.parametrize(
    ("begun", "seconds", "left"),
    [
        (0, 100, 100),
        (-40, 100, 60),
        (-200, 100, 0),
        (86400, 100, 100),  # the clock was set back by a day
        (0, 20480, 480),  # 30 s a MiB
        (1e15, 100, 100),
    ],
)
def test_the_wait_is_bounded_by_what_an_erase_takes(state: Path, begun: float, seconds: float, left: float) -> None:
    state.mkdir()
    (state / f"{IDENTITY.file_name}.erasing").write_text(note(time.time() + begun, seconds))
    assert unfinished.seconds_left(IDENTITY) == pytest.approx(left, abs=2)


def test_the_bounds_of_the_wait() -> None:
    assert (unfinished.longest(4096), unfinished.longest(1 << 24), unfinished.longest(1 << 30)) == (60, 480, 3600)


def test_a_folder_that_cannot_be_written_is_no_reason_not_to_erase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "file" / "state"))
    with unfinished.noted(IDENTITY, 100):
        assert unfinished.seconds_left(IDENTITY) == 0


def interrupt_a_chip_erase(chip: W25Q, place: list[str]) -> None:
    """Press Ctrl-C twice while MassErase runs."""
    erase = subprocess.Popen(
        [sys.executable, "-m", "gdbflash", "erase", "--chip", *place], stderr=subprocess.PIPE, text=True, env=os.environ
    )
    deadline = time.monotonic() + 20
    while not chip.core.busy:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    erase.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert erase.poll() is None, "the first one lets the call come to its end"
    erase.send_signal(signal.SIGINT)
    _, shown = erase.communicate(timeout=20)
    assert (erase.returncode, "Traceback" in shown) == (130, False)
    assert chip.core.busy, "no reset of the MCU stops the chip"


def test_the_next_run_waits_for_the_chip(tmp_path: Path, capsys: pytest.CaptureFixture[str], state: Path) -> None:
    clock = Clock()
    chip = W25Q(clock, timing=TIMING)
    with Machine(chip, clock=clock) as machine, RspServer(machine) as server:
        place = ["--connect", f"127.0.0.1:{server.port}", "-l", str(LOADER)]
        chip.memory[: 1 << 20] = bytes(1 << 20)
        interrupt_a_chip_erase(chip, place)
        (tmp_path / "image.bin").write_bytes(random.Random(1).randbytes(1000))
        outcome = CommandLine(capsys)("write", f"{tmp_path / 'image.bin'}@{FLASH:#x}", *place)
        assert outcome.code == 0, outcome.shown
        notes = [each for each in outcome.events if each.get("code") == "chip-erasing"]
        assert len(notes) == 1
        assert 390 < notes[0]["seconds"] <= 480
        assert "A chip erase was interrupted and may still go on" in outcome.shown
        assert bytes(chip.memory[:1000]) == random.Random(1).randbytes(1000)
        assert bytes(chip.memory[1000:]) == b"\xff" * ((1 << 24) - 1000)
        assert left_in(state) == []
    chip.close()


@pytest.mark.parametrize(
    ("fails", "note_lasts", "code", "times"),
    [
        ("@1-4", 60.0, 0, range(5, 6)),
        ("", 2.0, 1, range(3, 8)),
        ("", -1.0, 1, range(2, 3)),
        ("@1-2", None, 1, range(2, 3)),
    ],
    ids=["until it works", "until its time is over", "no longer than noted", "twice without a note"],
)
def test_init_is_called_again_while_the_chip_may_be_busy(
    capsys: pytest.CaptureFixture[str], fails: str, note_lasts: float | None, code: int, times: range
) -> None:
    identity = Identity("W25Q128_H750_QSPI", FLASH, 1 << 24, UID.hex())
    with running_board() as board:
        injection = parse([f"return:0:{LOADER}:Init{fails}"], _function_of)
        injection.into_board(board.machine)
        if note_lasts is not None:
            with pytest.raises(KeyboardInterrupt), unfinished.noted(identity, note_lasts):
                raise KeyboardInterrupt
        outcome = CommandLine(capsys)("checksum", hex(FLASH), "64", "--connect", board.endpoint, "-l", LOADER)
        assert outcome.code == code, outcome.shown
        assert injection.mishaps[0].met in times
        if code:
            assert outcome.result["error"]["times"] == injection.mishaps[0].met
        assert ("A chip erase was interrupted" in outcome.shown) is (note_lasts is not None and note_lasts > 0)
        assert (unfinished.seconds_left(identity) > 0) is False


def test_ctrl_c_ends_the_wait(state: Path) -> None:
    identity = Identity("W25Q128_H750_QSPI", FLASH, 1 << 24, UID.hex())
    with running_board() as board:
        injection = parse([f"return:0:{LOADER}:Init"], _function_of)
        injection.into_board(board.machine)
        with pytest.raises(KeyboardInterrupt), unfinished.noted(identity, 60):
            raise KeyboardInterrupt
        words = ["checksum", hex(FLASH), "64", "--connect", board.endpoint, "-l", str(LOADER)]
        with subprocess.Popen([sys.executable, "-m", "gdbflash", *words], stderr=subprocess.PIPE, text=True) as run:
            while injection.mishaps[0].met < 3:
                time.sleep(0.01)
                assert run.poll() is None
            run.send_signal(signal.SIGINT)
            _, shown = run.communicate(timeout=20)
        assert run.returncode == 130
        assert shown.splitlines()[-1] == "error: Interrupted while waiting for the chip."
        assert len(left_in(state)) == 1, "the next run knows, too"
