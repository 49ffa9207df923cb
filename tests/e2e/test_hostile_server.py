"""A GDB server that answers anything at all: the run ends, with one sentence, and nothing is left of it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gdbflash.board.faces.packets import frame
from gdbflash.mi import client as mi
from gdbflash.mi import connect as miconnect
from gdbflash.mi import target as mitarget
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import started
from gdbflash.servers.endpoint import Endpoint
from tests.support import spoiledgdb, stldr
from tests.support.boards import GDBS, LOADER, RunningBoard, running_board
from tests.support.commandline import CommandLine, Outcome
from tests.support.hostileserver import NOISE, Offer, Spoiler, conversing, flooding, offering, saying, spoiling

PLACE = "0x90000000"


@pytest.fixture(autouse=True)
def _quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds are what is tested, not their size."""
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(miconnect, "CONNECT_TIMEOUT", 1.0)
    monkeypatch.setattr(mi, "START_TIMEOUT", 5.0)
    for method in (mi.MiClient.command, mi.MiClient.console):
        monkeypatch.setattr(method, "__kwdefaults__", {"timeout": 1.5})


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.fixture
def board() -> Iterator[RunningBoard]:
    with running_board() as running:
        yield running


def children() -> set[str]:
    """Name the programs that this process has started and not ended."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that has ended meanwhile
            for child in (task / "children").read_text().split():
                found.add(Path(f"/proc/{child}/comm").read_text().strip())
    return found


def one_sentence(outcome: Outcome) -> str:
    """See that people are told what went wrong once; gives the sentence."""
    errors = [line for line in outcome.shown.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, outcome.shown
    assert errors[0].isprintable()
    assert "gdb" not in children()
    return errors[0]


SILENT = {
    "silence": saying(),
    "hangs up": saying(hang_up=True),
    "hangs up on the first word": saying(b"+", hang_up=True),
    "only acknowledges": saying(b"+", for_ever=True),
    "only refuses": saying(b"-", for_ever=True),
    "web server": saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", hang_up=True),
    "ssh server": saying(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "zeros": saying(bytes(4096), for_ever=True),
    "no end": saying(b"+$" + b"0" * 200000),
    "wrong checksum": saying(b"+$OK#00", for_ever=True),
    "OK to all": saying(b"+" + frame(b"OK"), for_ever=True),
    "nothing to all": saying(b"+" + frame(b""), for_ever=True),
    "errors to all": saying(b"+" + frame(b"E01"), for_ever=True),
    "gone to all": saying(b"+" + frame(b"W00"), for_ever=True),
    "stops to all": saying(b"+" + frame(b"T05thread:1;"), for_ever=True),
    "words to all": saying(b"+" + frame(b"O48656c6c6f"), for_ever=True),
    "noise": saying(*(b"+" + frame(each) for each in NOISE), for_ever=True),
    "flood of noise": flooding(b"\xff" * 4096),
    "flood of words": flooding(frame(b"O" + b"41" * 500)),
    "flood of stops": flooding(frame(b"T05thread:1;")),
}


@pytest.mark.parametrize("name", SILENT)
def test_who_is_no_gdb_server_is_told_from_one(run: CommandLine, name: str) -> None:
    gdb = GDBS[len(name) % 2]
    with conversing(SILENT[name]) as server:
        outcome = run("checksum", PLACE, "16", "-l", LOADER, "--connect", f"127.0.0.1:{server.port}", "--gdb", gdb)
    assert outcome.code == 3, outcome.shown
    one_sentence(outcome)


def no_wrong_byte(outcome: Outcome, board: RunningBoard, data: bytes) -> None:
    """See that a run that failed said so once, and that one that did not has done what it said."""
    assert outcome.code in (0, 1, 2, 3), outcome.shown
    if outcome.code:
        one_sentence(outcome)
        assert outcome.code != 2 or outcome.result["error"]["kind"] == "plan"
    else:
        assert bytes(board.chip.memory[: len(data)]) == data


def run_spoiled(board: RunningBoard, run: CommandLine, tmp_path: Path, seed: int, *, silent: bool = False) -> Outcome:
    """Write and read through a server that spoils answers; gives what came of the write."""
    spoiler = Spoiler(seed, 40 if seed % 2 else 8, silent=silent)
    data = bytes((seed * 7 + index) & 0xFF for index in range(700))
    (tmp_path / "a.bin").write_bytes(data)
    with conversing(spoiling(board.server.port, spoiler)) as server:
        reach = ["-l", str(LOADER), "--connect", f"127.0.0.1:{server.port}", "--timeout-scale", "0.1"]
        outcome = run("write", f"{tmp_path / 'a.bin'}@{PLACE}", *reach, "--gdb", GDBS[seed // 2 % 2], "--no-keep")
    assert spoiler.spoiled or outcome.code == 0
    no_wrong_byte(outcome, board, data)
    return outcome


FLOODS = {
    "words": frame(b"O" + b"41" * 500),
    "lines": frame(b"O" + b"610a" * 250),
    "stops": frame(b"T05thread:1;"),
    "OK": frame(b"OK"),
    "one packet": b"$" + b"a" * 4096,
}


SAID = {"$m24": (b"$m24", b"$x24")}
"""From version 16 on GDB reads memory by x packets, where a server has them."""
QUICK = {("$qRcmd", "words"), ("$vCont;c", "lines"), ("$m24", "words"), ("$m24", "stops")}
PAIRS = [
    pytest.param(until, flood, marks=[] if (until, flood) in QUICK else pytest.mark.full)
    for until in ("$qRcmd", "$vCont;c", "$m24")
    for flood in FLOODS
]


@pytest.mark.parametrize(("until", "flood"), PAIRS)
def test_a_server_that_does_not_stop_talking(
    board: RunningBoard, run: CommandLine, until: str, flood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mitarget, "HALT_TIMEOUT", 1.0)
    monkeypatch.setattr(mitarget, "RESET_TIMEOUT", 1.0)
    monkeypatch.setattr(mi, "SETTLE_TIMEOUT", 1.0)
    talk = spoiling(board.server.port, frame, SAID.get(until, (until.encode(),)), FLOODS[flood])
    with conversing(talk) as server:
        reach = ["-l", str(LOADER), "--connect", f"127.0.0.1:{server.port}", "--timeout-scale", "0.1"]
        outcome = run("checksum", PLACE, "16", *reach)
    assert outcome.code == 3, outcome.shown
    one_sentence(outcome)


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 5, 8])
def test_a_server_that_spoils_answers(board: RunningBoard, run: CommandLine, tmp_path: Path, seed: int) -> None:
    run_spoiled(board, run, tmp_path, seed)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_a_server_that_spoils_answers_for_long(
    board: RunningBoard, run: CommandLine, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    codes = [run_spoiled(board, run, tmp_path, seed, silent=seed % 3 == 0).code for seed in range(1000, 1200)]
    assert len(codes) == 200
    record_property("codes", Counter(codes))


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_no_program_is_read_from_a_server(board: RunningBoard, gdb: Path) -> None:
    """GDB likes to take what the server says that it debugs into its readers of ELF and DWARF."""
    with conversing(offering(board.server.port, Offer(stldr.stldr()))) as server:
        target = connect(Endpoint(host="127.0.0.1", port=server.port), started(gdb))
        assert target.read_memory(0x24000000, 4)
        target.close()
        assert b"$qSupported" in server.heard
        assert b"exec-file" not in server.heard
        assert b"libraries" not in server.heard
        assert b"vFile" not in server.heard
        # The counter-proof: GDB as it comes.
        plain = [str(gdb), "-nx", "-batch", "-ex", f"target remote 127.0.0.1:{server.port}"]
        subprocess.run(plain, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
        assert b"exec-file" in server.heard
        assert b"vFile:open:" in server.heard


def run_spoiled_gdb(
    board: RunningBoard, run: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> Outcome:
    """Write through a gdb whose records are spoiled on their way."""
    monkeypatch.setenv("SPOILED_GDB", str(GDBS[seed % 2]))
    monkeypatch.setenv("SPOILED_SEED", str(seed))
    wrapper = tmp_path / "gdb"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} {spoiledgdb.__file__} "$@"\n')
    wrapper.chmod(0o700)
    data = bytes((seed * 7 + index) & 0xFF for index in range(700))
    (tmp_path / "a.bin").write_bytes(data)
    words = ["write", f"{tmp_path / 'a.bin'}@{PLACE}", "-l", str(LOADER), "--connect", board.endpoint, "--no-keep"]
    outcome = run(*words, "--gdb", wrapper, "--timeout-scale", "0.1")
    no_wrong_byte(outcome, board, data)
    return outcome


@pytest.mark.parametrize("seed", [0, 2, 3, 4, 5])
def test_a_gdb_whose_records_are_damaged(
    board: RunningBoard, run: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    run_spoiled_gdb(board, run, tmp_path, monkeypatch, seed)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_a_gdb_whose_records_are_damaged_for_long(
    board: RunningBoard,
    run: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    codes = [run_spoiled_gdb(board, run, tmp_path, monkeypatch, seed).code for seed in range(1000, 1200)]
    assert len(codes) == 200
    record_property("codes", Counter(codes))
