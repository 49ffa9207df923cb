"""GDB in scripts and CI jobs: `gdb -batch` ends with what came of the commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.boards import GDBS, LOADER, LOADER_WITHOUT_READ, running_board
from tests.support.gdbterminal import GDBINIT
from tests.support.programbuild import build_program

each_gdb = pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)


def batch(gdb: Path, folder: Path, *lines: str, words: tuple[str, ...] = ("-batch",)) -> tuple[int, str, str]:
    """Have GDB run lines; gives its exit code, what it shows, and its complaints but that it has no program."""
    done = subprocess.run(
        [str(gdb), "-nx", "-q", *words, "-x", str(GDBINIT), *(word for line in lines for word in ("-ex", line))],
        env={**os.environ, "HOME": str(folder), "GDBFLASH_STATE": str(folder / "state")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
    )
    complaint = re.sub(r"warning: No executable has been specified [^\"]*\"file\" command\.\n", "", done.stderr)
    return done.returncode, done.stdout, complaint


@each_gdb
def test_a_load_that_fails_ends_gdb_with_an_exit_code_and_one_that_does_not_goes_on(gdb: Path, tmp_path: Path) -> None:
    program = build_program("debuggee")
    with running_board() as board:
        lines = (f"target extended-remote {board.endpoint}", f"gdbflash load {program} -l {LOADER}")
        code, shown, said = batch(gdb, tmp_path, *lines, "echo went on\\n")
        assert (code, said) == (0, "")
        assert "1200 bytes written and verified" in shown
        assert "\nwent on\n" in shown
        (tmp_path / "part.bin").write_bytes(board.chip.memory[0x10000:0x10010])
        board.chip.memory[0x10000] ^= 1
        lines = (lines[0], f"gdbflash verify {tmp_path}/part.bin@0x90010000 -l {LOADER}")
        code, shown, said = batch(gdb, tmp_path, *lines, "echo went on\\n")
        assert code == 1
        assert "went on" not in shown
        assert re.match(r"Verification failed: 1 byte differs at 0x90010000 .*\n\Z", said)
        code, shown, said = batch(gdb, tmp_path, lines[0], "gdbflash load", "echo went on\\n")
        assert (code, "went on" in shown, said.count("\n")) == (1, False, 1)
        assert said.startswith("Say which program: gdbflash load IMAGE")


@each_gdb
def test_who_wants_to_go_on_after_a_failure_says_so(gdb: Path, tmp_path: Path) -> None:
    """And a GDB that somebody sits in front of goes on by itself."""
    for first, words, code in (
        ("set gdbflash batch-exit off", ("-batch",), 0),
        ("echo", (), 0),
        ("set gdbflash batch-exit on", (), 1),
        ("echo", ("-batch",), 1),
    ):
        ended, shown, said = batch(gdb, tmp_path, first, "gdbflash lod", "echo went on\\n", "quit 0", words=words)
        assert (ended, "went on" in shown) == (code, code == 0), (first, words)
        assert 'Undefined gdbflash command: "lod".' in said


@each_gdb
def test_the_doctor_says_by_its_code_whether_all_is_there(gdb: Path, tmp_path: Path) -> None:
    with running_board() as board:
        line = f"gdbflash doctor -l {LOADER}"
        code, shown, said = batch(gdb, tmp_path, f"target extended-remote {board.endpoint}", line)
        assert (code, said) == (0, "")
        marks = {each[8:].partition(": ")[0]: each[:8].strip() for each in shown.splitlines() if each[7:8] == " "}
        looked_at = ("gdbflash", "server", "registers", "target", "device", "read protection", "RAM", "core")
        assert marks == dict.fromkeys(looked_at, "ok")
        assert "Cortex-M7, CPUID 0x411FC271" in shown
        code, shown, said = batch(gdb, tmp_path, line)
        assert (code, said) == (1, "Not all is there: see server above.\n")
        assert "MISSING server: GDB is not connected to a GDB server." in shown


@each_gdb
def test_the_doctor_writes_a_report(gdb: Path, tmp_path: Path) -> None:
    report = tmp_path / "board.txt"
    with running_board() as board:
        before = bytes(board.chip.memory)
        line = f"gdbflash doctor -l {LOADER} --report {report}"
        code, _, said = batch(gdb, tmp_path, f"target extended-remote {board.endpoint}", line)
        assert (code, said) == (0, "")
        assert bytes(board.chip.memory) == before
    text = report.read_text()
    assert re.search(r"(?m)^link, read: +[0-9.]+ KiB/s, 16 KiB at 0x24000000-0x24003FFF$", text)
    assert re.search(r"(?m)^event: +Init\(\) returned 0x1 in ", text)
    assert re.search(r"(?m)^digest: +0x90000000-0x9000FFFF: CRC-32 0x[0-9A-F]{8}, after 2 calls$", text)
    assert text.count("unique ID (left out)") == 2


@each_gdb
def test_lint_shows_findings(gdb: Path, tmp_path: Path) -> None:
    code, shown, said = batch(gdb, tmp_path, f"gdbflash lint {LOADER_WITHOUT_READ}", f"gdbflash lint {LOADER}")
    assert (code, said) == (0, "")
    told = subprocess.run(
        [sys.executable, "-m", "gdbflash", "lint", str(LOADER_WITHOUT_READ)], capture_output=True, text=True, check=True
    )
    assert " ".join(shown.split()) == " ".join(f"{told.stdout} {LOADER}: 0 findings".split())
