"""`gdbflash doctor --report`: one file of a first contact, without what tells the unit from others."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pytest

from gdbflash.cli.main import main
from tests.support.boards import LOADER, RunningBoard, running_board

UNIQUE_ID = re.compile(r"\b[0-9a-f]{24}\b")


def told(report: Path) -> dict[str, list[str]]:
    """Read a report: what is said under each name."""
    found: dict[str, list[str]] = {}
    for line in report.read_text().splitlines():
        name, _, text = line.partition(": ")
        found.setdefault(name, []).append(text.strip())
    return found


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    return tmp_path / "board.txt"


def doctor(board: RunningBoard, report: Path, *more: str) -> int:
    return main(["doctor", "--connect", board.endpoint, "--report", str(report), *more])


def test_a_report_tells_what_was_found_and_leaves_the_memory(report: Path) -> None:
    with running_board() as board:
        board.chip.memory[5] = 0x12
        before = bytes(board.chip.memory)
        assert doctor(board, report, "-l", str(LOADER), "--before", "reset") == 0
        assert bytes(board.chip.memory) == before
    found = told(report)
    for name in ("gdbflash", "gdb", "server", "registers", "target", "device", "RAM", "core"):
        assert found[name][0].startswith("ok: "), name
    assert found["link, compared"] == ["the same"]
    assert re.fullmatch(r"[0-9.]+ KiB/s, 16 KiB at 0x24000000-0x24003FFF", found["link, written"][0])
    assert re.fullmatch(r"[0-9.]+ ms, the median of 20 words read", found["round trip"][0])
    assert found["digest"] == [f"0x90000000-0x9000FFFF: CRC-32 0x{zlib.crc32(before[:0x10000]):08X}, after 2 calls"]
    assert any("PacketSize=" in each for each in found["event"])
    assert any(re.match(r"Init\(\) returned 0x1 in [0-9.]+ ms", each) for each in found["event"])
    assert not UNIQUE_ID.search(report.read_text())


def test_the_unit_is_named_where_that_is_said(report: Path) -> None:
    with running_board() as board:
        assert doctor(board, report, "--serials") == 0
        assert len(UNIQUE_ID.findall(report.read_text())) == 1
        assert told(report)["link, written"] == ["not measured: that is done with --before reset"]
        assert "digest" not in told(report)


def test_what_exists_is_not_overwritten(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report.write_bytes(b"firmware")
    with running_board() as board:
        board.server.close()
        assert doctor(board, report) == 2
    assert "exists, and a report overwrites nothing" in capsys.readouterr().err
    assert report.read_bytes() == b"firmware"


def test_what_failed_is_in_the_report(report: Path) -> None:
    words = ["doctor", "--server", "board", "--report", str(report), "-l", str(LOADER)]
    assert main([*words, "--launch", f"--inject return:0:{LOADER}:Init"]) == 1
    assert "Init" in told(report)["failed"][0]
    report.unlink()
    assert main(["doctor", "--connect", "127.0.0.1:9", "--report", str(report), "-l", str(LOADER)]) == 3
    assert told(report)["server"][0].startswith("missing: ")
    assert "failed" not in told(report)
