"""What is printed where there is no terminal: plain lines, without rich."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gdbflash.cli.console import Console
from gdbflash.cli.main import main
from tests.support.boards import LOADER

RUN = "import sys; from gdbflash.cli.main import main; code = main(sys.argv[1:]); "


def python(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("words", [("info",), ("info", "--json")])
def test_info_in_a_pipe_needs_no_rich_and_no_debugger(words: tuple[str, ...]) -> None:
    names = (
        "rich.console",
        "rich.table",
        "gdbflash.mi",
        "gdbflash.flash.flasher",
        "pygdbmi",
        "pexpect",
        "unicorn",
        "bincopy",
    )
    done = python(f"{RUN}print(code, [name for name in {names} if name in sys.modules])", *words, str(LOADER))
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr


def test_columns_of_a_pipe_are_not_cut_and_have_no_ends(capsys: pytest.CaptureFixture[str]) -> None:
    Console().table([("short", "x" * 200), ("longer name", "y\x1b[2J")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["short        " + "x" * 200, "longer name  y\\x1b[2J"]
    Console().table([("1", "2")], header=("one", "two"))
    assert capsys.readouterr().out.splitlines() == ["one  two", "1    2"]


@pytest.mark.parametrize("command", ["info", "lint"])
def test_quiet_says_answers_and_errors_alone(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main([command, str(LOADER)]) == 0
    answer = capsys.readouterr()
    assert answer.out
    assert main(["-q", command, str(LOADER)]) == 0
    assert capsys.readouterr() == answer
    assert main(["-q", command, "/nowhere"]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.startswith("error: /nowhere does not exist")) == ("", True)


@pytest.mark.parametrize("command", ["info", "lint"])
def test_quiet_takes_nothing_away_from_programs(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert main(["--json", command, str(LOADER)]) == 0
    lines = capsys.readouterr().out
    assert main(["-q", "--json", command, str(LOADER)]) == 0
    assert capsys.readouterr() == (lines, "")


def test_quiet_takes_no_path_away_from_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-q", "gdbinit"]) == 0
    assert capsys.readouterr().out.endswith("gdbinit.gdb\n")
