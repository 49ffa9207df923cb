"""Answers where one looks for them: stdout has what was asked for and nothing else, also for pipes and terminals."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import bincopy
import pexpect
import pytest

from tests.support.boards import LOADER, RunningBoard, running_board

FLASH = 0x90000000
GDBFLASH = [sys.executable, "-m", "gdbflash"]


@pytest.fixture
def board() -> Iterator[RunningBoard]:
    with running_board() as running:
        running.chip.memory[:0x4000] = random.Random(3).randbytes(0x4000)
        yield running


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


def piped(board: RunningBoard, *words: str) -> subprocess.CompletedProcess[bytes]:
    reach = ["--connect", board.endpoint, "-l", str(LOADER)]
    return subprocess.run([*GDBFLASH, *words, *reach], capture_output=True, timeout=60, check=False)


def test_a_dump_is_all_of_stdout(board: RunningBoard) -> None:
    board.chip.memory[:0xA3] = bytes(range(0x30, 0x50)) + b"Z" * 0x60 + bytes(range(0x23))
    done = piped(board, "read", hex(FLASH + 3), "0xa0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().splitlines() == [
        "90000000           33 34 35 36 37  38 39 3a 3b 3c 3d 3e 3f     |3456789:;<=>?|",
        "90000010  40 41 42 43 44 45 46 47  48 49 4a 4b 4c 4d 4e 4f  |@ABCDEFGHIJKLMNO|",
        "90000020  5a 5a 5a 5a 5a 5a 5a 5a  5a 5a 5a 5a 5a 5a 5a 5a  |ZZZZZZZZZZZZZZZZ|",
        "*",
        "90000080  00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f  |................|",
        "90000090  10 11 12 13 14 15 16 17  18 19 1a 1b 1c 1d 1e 1f  |................|",
        '900000a0  20 21 22                                          | !"|',
        "900000a3",
    ]
    assert b"connect" in done.stderr


def test_plain_bytes_go_into_a_pipe_once_they_are_proven(board: RunningBoard) -> None:
    done = piped(board, "read", hex(FLASH), "0x4000", "-o", "-")
    assert (done.returncode, done.stdout) == (0, bytes(board.chip.memory[:0x4000]))
    done = piped(board, "read", hex(FLASH + 1), "0x101", "-o", "-", "--format", "srec", "-q")
    assert done.stderr == b""
    file = bincopy.BinFile()
    file.add_srec(done.stdout.decode())
    assert (file.minimum_address, bytes(file.as_binary())) == (FLASH + 1, bytes(board.chip.memory[1:0x102]))


@pytest.mark.parametrize(
    ("name", "words"), [("a.hex", []), ("a.srec", []), ("a.mot", []), ("a.x", ["--format", "hex"])]
)
def test_a_file_has_the_form_of_its_ending_or_the_one_that_is_said(
    name: str, words: list[str], board: RunningBoard
) -> None:
    assert piped(board, "read", hex(FLASH + 5), "1000", "-o", name, *words).returncode == 0
    file = bincopy.BinFile(name)
    assert (file.minimum_address, bytes(file.as_binary())) == (FLASH + 5, bytes(board.chip.memory[5:1005]))


@pytest.mark.parametrize("words", [["checksum", hex(FLASH), "64"], ["info"]])
def test_quiet_keeps_answers(words: list[str], board: RunningBoard) -> None:
    reach = ["--connect", board.endpoint, "-l", str(LOADER)] if words != ["info"] else [str(LOADER)]
    loud, quiet = (
        subprocess.run([*GDBFLASH, *words, *reach, *more], capture_output=True, timeout=60, check=True)
        for more in ([], ["-q"])
    )
    assert loud.stdout == quiet.stdout != b""
    assert quiet.stderr == b""


def terminal(words: list[str], environment: dict[str, str] | None = None) -> pexpect.spawn[str]:
    return pexpect.spawn(
        GDBFLASH[0],
        [*GDBFLASH[1:], *words],
        dimensions=(24, 80),
        encoding="utf-8",
        timeout=60,
        env={**os.environ, "TERM": "xterm", "PAGER": "cat -n", **(environment or {})},
    )


def test_a_long_dump_is_paged_on_a_terminal_and_a_short_one_is_not(board: RunningBoard) -> None:
    for size, is_paged in (("64", False), ("4K", True)):
        session = terminal(["read", hex(FLASH), size, "-q", "--connect", board.endpoint, "-l", str(LOADER)])
        session.expect(pexpect.EOF)
        numbered = "     1\t90000000  " in session.before
        assert numbered == is_paged, session.before
        assert "|" in session.before


def test_plain_bytes_do_not_go_to_a_terminal(board: RunningBoard) -> None:
    session = terminal(["read", hex(FLASH), "64", "-o", "-", "--connect", board.endpoint, "-l", str(LOADER)])
    session.expect(pexpect.EOF)
    session.close()
    assert "leave -o out for a dump" in " ".join(session.before.split())
    assert session.exitstatus == 2


def test_lines_of_a_terminal_break_between_words(board: RunningBoard) -> None:
    Path("image.bin").write_bytes(b"\1" * 16)
    session = terminal(["verify", f"image.bin@{FLASH:#x}", "--connect", board.endpoint, "-l", str(LOADER)])
    session.expect(pexpect.EOF)
    lines = [line.rstrip() for line in session.before.splitlines()]
    error = lines[next(at for at, line in enumerate(lines) if "Verification failed" in line) :]
    assert len(error) > 2
    text = " ".join(error)
    assert "Another image may be there: write this one, or compare with the one that was written." in text


@pytest.mark.parametrize(
    ("words", "environment", "colored"),
    [([], {}, True), (["--color", "never"], {}, False), ([], {"NO_COLOR": "1"}, False)],
)
def test_colours_are_as_asked_for(words: list[str], environment: dict[str, str], colored: bool) -> None:
    for command in (["verify", "x"], ["write", "--help"]):
        session = terminal([*command, *words], environment)
        session.expect(pexpect.EOF)
        style = r"\x1b\[[0-9;]*3[0-9]m" if command[0] == "verify" else r"\x1b\[1m"
        assert bool(re.search(style, session.before)) == colored, session.before


def test_colours_reach_a_pipe_where_they_are_asked_for() -> None:
    done = subprocess.run(
        [*GDBFLASH, "--color", "always", "lint", str(LOADER.with_name("nothing"))], capture_output=True, check=False
    )
    assert b"\x1b[1;31merror: \x1b[0m" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(shell: str) -> None:
    done = subprocess.run([*GDBFLASH, "completion", shell], capture_output=True, check=True, text=True)
    assert "_GDBFLASH_COMPLETE" in done.stdout


def test_bash_completes_commands_and_values() -> None:
    program = Path(sys.executable).with_name("gdbflash")
    for typed, wanted in (("wr", ["write"]), ("write --verify r", ["readback"]), ("lin", ["lint"])):
        words = ["gdbflash", *typed.split()]
        done = subprocess.run(
            [str(program)],
            env={
                **os.environ,
                "_GDBFLASH_COMPLETE": "bash_complete",
                "COMP_WORDS": " ".join(words),
                "COMP_CWORD": str(len(words) - 1),
            },
            capture_output=True,
            check=True,
            text=True,
        )
        assert [line.partition(",")[2] for line in done.stdout.splitlines()] == wanted


def test_what_other_tools_call_it_is_known() -> None:
    for word, meant in (("flash", "load"), ("program", "load"), ("flahs", "load"), ("wirte", "write")):
        done = subprocess.run([*GDBFLASH, word], capture_output=True, check=False, text=True)
        assert done.returncode == 2
        assert f"No such command {word!r}. Did you mean {meant!r}?" in done.stderr
