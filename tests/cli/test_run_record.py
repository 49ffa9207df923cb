"""What a run leaves for the records of a line: identity in `result`, a report as JSON and JUnit, logs that are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gdbflash.commands.run_record import ReportFile
from gdbflash.errors import InputError
from gdbflash.version import VERSION
from tests.support.boards import LOADER, RunningBoard, running_board
from tests.support.commandline import CommandLine

IMAGE = bytes(range(256)) * 3


@pytest.fixture
def board() -> Iterator[RunningBoard]:
    with running_board() as running:
        yield running


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.bin").write_bytes(IMAGE)
    return CommandLine(capsys)


def test_a_run_says_which_board_files_and_version(run: CommandLine, board: RunningBoard) -> None:
    words = ("app.bin@0x90000000", "-l", LOADER, "--connect", board.endpoint)
    Path("out.json").write_text("")
    first = run("write", *words, "--report", "out.json", "--log", "run.log")
    wanted = {
        "ok": True,
        "exit_code": 0,
        "command": "write",
        "version": VERSION,
        "board": board.endpoint,
        "endpoint": board.endpoint,
        "server": "board",
        "device": "STM32H742/743/745/747/750/753/755/757",
        "device_id": 0x450,
        "unit": "330041000a51353038393634",
        "loaders": [{"path": str(LOADER), "sha256": hashlib.sha256(LOADER.read_bytes()).hexdigest()}],
        "images": [{"path": "app.bin", "sha256": hashlib.sha256(IMAGE).hexdigest(), "address": 0x90000000}],
        "bytes": 768,
        "bytes_skipped": 0,
    }
    assert {key: first.result[key] for key in wanted} == wanted
    (told,) = json.loads(Path("out.json").read_text())["boards"]
    assert told == {key: value for key, value in first.result.items() if key != "event"}
    second = run("write", *words, "--report", "out.json", "--log", "run.log")
    assert second.result["bytes_skipped"] == 768
    assert run("verify", *words, "--log", "run.log").code == 0
    logs = {each.name: each.read_text() for each in Path().glob("run.log*")}
    assert sorted(logs) == ["run.log", "run.log.1", "run.log.2"]
    assert "unit 330041000a51353038393634" in logs["run.log.1"]
    assert "gdbflash --json verify" in logs["run.log"]
    assert "--report" in logs["run.log.2"]


def test_junit_tells_a_board_that_failed(run: CommandLine, board: RunningBoard) -> None:
    words = ("app.bin@0x90000000", "-l", LOADER, "--report", "out.xml", "--connect")
    assert run("verify", *words, board.endpoint).code == 1
    suites = ElementTree.parse("out.xml").getroot()
    assert (suites.tag, suites.get("failures"), suites.get("errors")) == ("testsuites", "1", "0")
    case = suites.find("testsuite/testcase")
    assert case is not None
    assert (case.get("classname"), case.get("name")) == ("gdbflash.verify", board.endpoint)
    held = {each.get("name"): each.get("value") for each in case.iter("property")}
    assert (held["unit"], held["exit_code"]) == ("330041000a51353038393634", "1")
    (failure,) = case.findall("failure")
    assert failure.get("type") == "mismatch"
    assert run("verify", *words, "127.0.0.1:1").code == 3
    (case,) = ElementTree.parse("out.xml").getroot().iter("testcase")
    assert [each.get("type") for each in case.findall("error")] == ["server-missing"]


@pytest.mark.parametrize("name", ["app.bin", "taken.json", "folder.xml"])
def test_no_other_file_is_overwritten(run: CommandLine, board: RunningBoard, name: str) -> None:
    Path("taken.json").write_text('{"mine": 1}')
    Path("folder.xml").mkdir()
    words = ("app.bin@0x90000000", "-l", LOADER, "--connect", board.endpoint)
    outcome = run("write", *words, "--report", name)
    assert (outcome.code, outcome.result["error"]["kind"]) == (2, "input")
    assert board.machine.quadspi_accesses == 0
    assert Path("taken.json").read_text() == '{"mine": 1}'


def test_a_report_that_cannot_be_written_is_a_failure(run: CommandLine, board: RunningBoard) -> None:
    words = ("app.bin@0x90000000", "-l", LOADER, "--connect", board.endpoint)
    outcome = run("write", *words, "--report", "nowhere/out.json")
    assert (outcome.code, outcome.result["ok"], outcome.result["error"]["kind"]) == (1, False, "output")
    assert bytes(board.chip.memory[:768]) == IMAGE


def test_xml_holds_no_character_that_xml_has_not(tmp_path: Path) -> None:
    path = tmp_path / "out.xml"
    ReportFile(path).write([{"command": "write", "board": "a\x1b\udcff<é", "ok": True, "seconds": 1.5}])
    (case,) = ElementTree.parse(path).getroot().iter("testcase")
    assert (case.get("name"), case.get("time")) == ("a??<é", "1.500")
    with pytest.raises(InputError, match=r"name it \.xml or \.json"):
        ReportFile(tmp_path / "out.txt")
