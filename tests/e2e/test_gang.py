"""Many boards at once: each as it is alone, one that fails keeps none of the others from its end."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from gdbflash.board.faces.rsp import RspServer
from gdbflash.board.machine import Machine
from gdbflash.cli.members import MEMBER
from tests.support.boardprocesses import REALISTIC, board_processes, environment
from tests.support.boards import LOADER, RunningBoard
from tests.support.commandline import CommandLine

IMAGE = random.Random(31).randbytes(5000)
LARGE = random.Random(32).randbytes(1 << 20)
PLACE = "0x90000000"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.bin").write_bytes(IMAGE)
    (tmp_path / "large.bin").write_bytes(LARGE)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], folder: Path) -> CommandLine:
    assert folder.is_dir()
    return CommandLine(capsys)


@pytest.fixture
def pair() -> Iterator[list[RunningBoard]]:
    """Two boards, each another unit."""
    with contextlib.ExitStack() as parts:
        boards = []
        for number in (1, 2):
            machine = parts.enter_context(Machine(unit=bytes(range(number, number + 12))))
            boards.append(RunningBoard(machine, machine.flash, parts.enter_context(RspServer(machine))))
        yield boards


def named(*endpoints: str) -> list[str]:
    return [word for each in endpoints for word in ("--connect", each)]


def test_two_boards_and_one_that_is_not_there(run: CommandLine, pair: list[RunningBoard]) -> None:
    places = [each.endpoint for each in pair]
    nobody = "127.0.0.1:1"
    words = ("-l", str(LOADER), *named(places[0], nobody, places[1]), "--report", "out.xml", "--log", "run.log")
    outcome = run("write", f"app.bin@{PLACE}", *words)
    assert outcome.code == 1
    assert [bytes(each.chip.memory[:5000]) for each in pair] == [IMAGE, IMAGE]
    assert [each.machine.halted for each in pair] == [None, None]
    boards = outcome.result["boards"]
    assert [each["board"] for each in boards] == [places[0], nobody, places[1]]
    assert [each["exit_code"] for each in boards] == [0, 3, 0]
    assert [each.get("unit") for each in boards] == ["0102030405060708090a0b0c", None, "02030405060708090a0b0c0d"]
    assert outcome.result["error"] == {
        "kind": "boards",
        "message": f"1 of 3 boards failed: {nobody}. What is wrong with each is said above.",
        "failed": [nobody],
    }
    told = [each for each in outcome.events if each["event"] == "result" and "boards" not in each]
    assert sorted(each["board"] for each in told) == sorted([*places, nobody])
    assert {each["board"] for each in outcome.events if each["event"] in ("start", "finish")} == {*places, nobody}
    names = [f"run-{each.replace(':', '_')}.log" for each in (places[0], nobody, places[1])]
    assert [each["log"] for each in boards] == names
    assert all(" gdb > " in Path(each).read_text() for each in (names[0], names[2]))
    assert "result exit code 1" in Path("run.log").read_text()
    cases = list(ElementTree.parse("out.xml").getroot().iter("testcase"))
    assert [(each.get("name"), each.find("error") is None) for each in cases] == [
        (places[0], True),
        (nobody, False),
        (places[1], True),
    ]


def test_what_is_for_one_board_is_refused_with_many(
    run: CommandLine, pair: list[RunningBoard], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = ("-l", str(LOADER), *named(*(each.endpoint for each in pair)))
    first = pair[0].endpoint
    for words, said in (
        (("write", f"app.bin@{PLACE}", *both, "--kept", "restore"), "--kept restore decides about one board"),
        (("read", PLACE, "16", *both), "read takes one board at a time, and 2 are named"),
        (("doctor", *both), "doctor takes one board at a time"),
        (("verify", f"app.bin@{PLACE}", *both, "--tcl", "6666"), "--tcl is for one server"),
        (("verify", f"app.bin@{PLACE}", *both, "--connect", first), "is named twice"),
        (("write", f"-@{PLACE}", *both), "cannot all read the image from stdin"),
        (("write", "app.bin@0x10000000", *both), "lies outside the storage"),
    ):
        outcome = run(*words)
        assert outcome.code == 2, words
        assert said in outcome.sentence
    monkeypatch.setenv(MEMBER, "127.0.0.1:9")
    assert "which the command line does not name" in run("verify", f"app.bin@{PLACE}", *both).sentence
    assert [each.machine.quadspi_accesses for each in pair] == [0, 0]


def test_boards_by_name_each_have_their_own(run: CommandLine, pair: list[RunningBoard]) -> None:
    """Images, places and units of tables; one of another unit than the table says is refused, the other one done."""
    Path("other.bin").write_bytes(IMAGE[::-1])
    Path("gdbflash.toml").write_text(
        f"loader = {str(LOADER)!r}\n"
        f"[board.left]\nconnect = '{pair[0].endpoint}'\nexpect-unit = '0102030405060708090a0b0c'\n"
        f"[board.right]\nconnect = '{pair[1].endpoint}'\nexpect-unit = '{'ab' * 12}'\n"
    )
    outcome = run("write", f"app.bin@{PLACE}", "-b", "all", "--log", "run.log")
    assert outcome.code == 1
    assert [(each["board"], each["exit_code"]) for each in outcome.result["boards"]] == [("left", 0), ("right", 3)]
    assert [bytes(each.chip.memory[:5000]) == IMAGE for each in pair] == [True, False]
    assert sorted(each.name for each in Path().glob("run*.log")) == ["run-left.log", "run-right.log", "run.log"]
    assert "left is named twice" in run("verify", f"app.bin@{PLACE}", "-b", "left", "-b", "left").sentence
    both = ("-b", "left", "-b", "right")
    assert "--connect says where one is" in run("verify", f"app.bin@{PLACE}", *both, "--connect", ":1").sentence
    assert "There is no board 'mid'" in run("verify", f"app.bin@{PLACE}", "-b", "left", "-b", "mid").sentence


def ended(command: list[str], folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gdbflash", *command],
        env=environment(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@pytest.mark.full
@pytest.mark.timeout(300)
def test_ctrl_c_ends_all_after_their_current_call(folder: Path) -> None:
    """Signalled as a terminal does; every board says that it was interrupted, and a second run ends what was begun."""
    slow = (*REALISTIC, "--time-scale", "4")
    with board_processes(folder, [slow] * 3) as boards:
        words = [
            "write",
            f"large.bin@{PLACE}",
            "-l",
            str(LOADER),
            *named(*(each.endpoint for each in boards)),
            "--json",
        ]
        process = subprocess.Popen(
            [sys.executable, "-m", "gdbflash", *words],
            env=environment(folder),
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        programming: set[str] = set()
        events: list[dict[str, Any]] = []
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                events.append(json.loads(line))
                if events[-1].get("phase") == "program" and len(programming) < 3:
                    programming.add(events[-1]["board"])
                    if len(programming) == 3:
                        os.killpg(process.pid, signal.SIGINT)
        assert process.returncode == 130
        assert [each["exit_code"] for each in events[-1]["boards"]] == [130] * 3
        assert {each["error"]["kind"] for each in events[-1]["boards"]} == {"interrupted"}
        again = ended(words, folder, 200)
        assert again.returncode == 0, again.stdout[-2000:]
        assert all(each.chip(len(LARGE)) == LARGE for each in boards)


FAULTS = {
    "the link is cut": (("drop@60",), 3),
    "an answer never comes": (("stall@60+",), None),
    "packets are refused": (("error:m@20+",), None),
    "reads are wrong": (("corrupt@10+",), None),
    "the core faults": ((f"fault:bus:{LOADER}:Write",), 1),
    "a function hangs": ((f"hang:{LOADER}:Write",), 1),
    "a function fails": ((f"return:0:{LOADER}:Write",), 1),
    "Init fails": ((f"return:0:{LOADER}:Init",), 1),
    "the target is reset": ((f"reset:{LOADER}:Write",), 1),
    "the chip programs nothing": (("no-program",), 1),
    "a bit of the chip is stuck": (("stuck:0x90000064:3:1",), None),
    "the server dies": ((), 3),
}


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", FAULTS)
def test_one_board_fails_while_seven_others_finish(
    fault: str, folder: Path, record_property: Callable[[str, object], None]
) -> None:
    inject, code = FAULTS[fault]
    options: list[tuple[str, ...]] = [("--data-sheet-times",)] * 8
    options[3] = (*options[3], *(word for each in inject for word in ("--inject", each)))
    with board_processes(folder, options) as boards:
        words = ["write", f"app.bin@{PLACE}", "-l", str(LOADER), "--json", "--report", "out.json"]
        if fault == "the server dies":
            boards[3].process.kill()
        done = ended([*words, *named(*(each.endpoint for each in boards))], folder, 400)
        assert "Traceback" not in done.stderr
        result = json.loads(done.stdout.splitlines()[-1])
        codes = [each["exit_code"] for each in result["boards"]]
        wrong = sum(each.chip(5000) != IMAGE for each, ended_with in zip(boards, codes, strict=True) if ended_with == 0)
        record_property("faults", 1)
        record_property("compared", codes.count(0))
        record_property("wrong", wrong)
        assert wrong == 0
        assert codes[:3] + codes[4:] == [0] * 7, done.stdout[-3000:]
        assert codes[3] in ((1, 3) if code is None else (code,)), result["boards"][3]
        assert done.returncode == 1
        assert [each["exit_code"] for each in json.loads((folder / "out.json").read_text())["boards"]] == codes


@pytest.mark.full
@pytest.mark.timeout(600)
def test_eight_boards_take_little_longer_than_the_slowest_alone(
    folder: Path, record_property: Callable[[str, object], None]
) -> None:
    """1 MiB each, with a realistic link and chip, four times as slow: the host's own share is smaller so."""
    with board_processes(folder, [(*REALISTIC, "--time-scale", "4")] * 8) as boards:
        words = ["write", f"large.bin@{PLACE}", "-l", str(LOADER), "--full", "--json"]
        alone = []
        for each in boards[:2]:
            begun = time.monotonic()
            assert ended([*words, "--connect", each.endpoint], folder, 200).returncode == 0
            alone.append(time.monotonic() - begun)
        begun = time.monotonic()
        done = ended([*words, *named(*(each.endpoint for each in boards))], folder, 400)
        together = time.monotonic() - begun
        assert done.returncode == 0, done.stdout[-2000:]
        assert all(each.chip(len(LARGE)) == LARGE for each in boards)
        record_property("campaign", f"8 boards {together:.1f} s, alone {max(alone):.1f} s: {together / max(alone):.2f}")
        assert together <= 1.3 * max(alone)
