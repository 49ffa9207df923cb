"""README and manual: every command that they show is run, every message that they quote is one, every link leads on."""

from __future__ import annotations

import ast
import contextlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

import gdbflash
from gdbflash.board.faces.rsp import RspServer
from gdbflash.board.faces.stlinktcp import SERIAL, StlinkServer
from gdbflash.board.machine import Machine
from gdbflash.cli.main import commands
from gdbflash.cli.settings import Settings
from tests.support.boards import LOADER, RunningBoard, running_board
from tests.support.cbuild import ROOT
from tests.support.commandline import CommandLine
from tests.support.gdbservers import GDBS, gdb_path
from tests.support.gdbterminal import GDBINIT, gdb_terminal
from tests.support.programbuild import build_program

MANUAL = Path(gdbflash.__file__).parent / "manual"
DOCUMENTS = (ROOT / "README.md", *sorted(MANUAL.glob("*.md")))
BLOCK = re.compile(r"^```\n(.*?)^```", re.DOTALL | re.MULTILINE)
FAIL = {
    "gdbflash verify other.bin@0x90000000 -l W25Q128_H750_QSPI.stldr",
    "gdbflash call Init -v",
    'gdbflash write app.bin@0x90000000 -l My.stldr --server board --launch "--inject fault:bus:My.stldr:Write"',
}
"""Commands that are shown for what they say when they fail."""


@dataclass(frozen=True)
class Shown:
    """A command line of a document."""

    document: Path
    line: str


def blocks(document: Path) -> Iterator[list[str]]:
    for found in BLOCK.finditer(document.read_text("utf-8")):
        yield found[1].splitlines()


def shown_commands() -> Iterator[Shown]:
    for document in DOCUMENTS:
        for lines in blocks(document):
            is_session = any(line.startswith("$ ") for line in lines)
            for line in lines:
                typed = line.removeprefix("$ ")
                if typed.startswith("gdbflash ") and (line != typed or not is_session):
                    yield Shown(document, typed)


def sessions() -> Iterator[tuple[Path, list[str]]]:
    for document in DOCUMENTS:
        for lines in blocks(document):
            typed = [line.removeprefix("(gdb) ") for line in lines if line.startswith("(gdb) ")]
            if typed:
                yield document, typed


@pytest.fixture
def board() -> Iterator[RunningBoard]:
    with running_board() as running:
        yield running


@contextlib.contextmanager
def another_board() -> Iterator[RunningBoard]:
    """A second one, of another unit."""
    with Machine(unit=b"another unit") as machine, RspServer(machine) as server:
        yield RunningBoard(machine, machine.flash, server)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the documents speak of."""
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    work = tmp_path / "work"
    work.mkdir()
    for name in ("MyBoard_QSPI", "W25Q128_H750_QSPI", "My"):
        shutil.copy(LOADER, work / f"{name}.stldr")
    (work / "app.bin").write_bytes(bytes(range(251)) * 40)
    (work / "other.bin").write_bytes(bytes(range(250)) * 40)
    (work / "serial.bin").write_bytes(b"0027003")
    shutil.copy(build_program("debuggee"), work / "firmware.elf")
    monkeypatch.chdir(work)
    return work


@pytest.mark.parametrize("shown", list(shown_commands()), ids=lambda each: f"{each.document.stem}: {each.line[9:60]}")
def test_a_command_that_is_shown_does_what_is_said(
    shown: Shown, board: RunningBoard, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(re.split(r" [|&](?: |$)", shown.line)[0])[1:]
    name = words[0]
    context = click.Context(commands, **commands.context_settings, obj=Settings())
    commands.commands[name].make_context(name, words[1:], context)
    if name == "board":
        return  # it runs until it is interrupted: what it does is seen by all other tests
    reaches = any(option.name == "connect" for option in commands.commands[name].params)
    with StlinkServer(board.machine) as stlink, another_board() as another:
        (folder / "line.cfg").write_text(
            f"source [find interface/stlink.cfg]\nhla_stlink_backend tcp {stlink.port}\n"
            "source [find target/stm32h7x.cfg]\n"
        )
        words = [each.replace("0027003", SERIAL.decode()) for each in words]
        if "--connect" in words:
            first, *rest = [index + 1 for index, each in enumerate(words) if each == "--connect"]
            words[first] = board.endpoint
            for index in rest:
                words[index] = another.endpoint
        elif reaches and not {"--launch", "--server"} & {*words}:
            words += ["--connect", board.endpoint]
        if "-o" in words and "-" in words:
            done = subprocess.run([sys.executable, "-m", "gdbflash", *words], capture_output=True, check=False)
            assert done.returncode == 0, done.stderr
            return
        outcome = CommandLine(capsys)(*words) if name not in ("help", "gdbinit", "completion") else None
    if outcome is not None:
        assert (outcome.code != 0) == (shown.line in FAIL), outcome.shown


@pytest.mark.parametrize(("document", "typed"), list(sessions()), ids=lambda each: getattr(each, "stem", ""))
def test_a_session_that_is_shown_goes_like_that(
    document: Path, typed: list[str], board: RunningBoard, folder: Path
) -> None:
    gdb = gdb_path(next(iter(GDBS)))
    arguments = ["-x", str(GDBINIT), "firmware.elf"]
    with gdb_terminal(gdb, *arguments, state=folder / "state", cwd=folder) as terminal:
        if "target extended-remote :3333" not in typed:
            terminal.run(f"target extended-remote {board.endpoint}")
            terminal.run("gdbflash loader MyBoard_QSPI.stldr")
        for line in typed:
            said = line.replace(":3333", board.endpoint).replace("source gdbinit", f"source {GDBINIT}")
            if said == "continue" and "break work" not in typed:
                break  # the program runs, and nothing stops it
            shown = terminal.run(said)
            assert not re.search(r"error|Undefined|refused|No such", shown, re.IGNORECASE), f"{document}: {shown}"
            if said == "break work":
                terminal.run("gdbflash load")  # the reader's program is in the chip already


def strings() -> str:
    """Give every text of the sources, as it stands between two values that are filled in."""
    found = []
    for path in (ROOT / "gdbflash").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_messages_that_are_quoted_are_messages() -> None:
    text, known = (MANUAL / "troubleshooting.md").read_text("utf-8"), strings()
    quoted = [found for bold in re.findall(r"\*\*`(.+?)`\*\*", text) for found in bold.split("`** ... **`")]
    assert len(quoted) > 15
    assert [each for each in quoted if each not in known] == []


def test_links_lead_to_files() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text("utf-8")):
            assert (document.parent / target).is_file(), f"{document}: {target}"


def test_every_chapter_is_a_topic_and_readme_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for path in MANUAL.glob("*.md"):
        assert f"[{path.stem}](gdbflash/manual/{path.name})" in readme
        done = subprocess.run(
            [sys.executable, "-m", "gdbflash", "help", path.stem], capture_output=True, text=True, check=True
        )
        assert done.stdout == path.read_text("utf-8")
    assert set(re.findall(r"gdbflash help ([\w-]+)", "".join(each.read_text("utf-8") for each in DOCUMENTS))) - {
        "COMMAND",
        "TOPIC",
        *commands.commands,
    } <= {path.stem for path in MANUAL.glob("*.md")}
    assert capsys.readouterr().err == ""


def test_readme_answers_nine_questions_on_two_screens() -> None:
    head = (ROOT / "README.md").read_text("utf-8").partition("## The manual")[0].splitlines()
    assert len(head) <= 110
    titles = [line.removeprefix("## ") for line in head if line.startswith("## ")]
    assert titles == [
        "Does it run here?",
        "Install",
        "Use it",
        "Where do loaders come from?",
        "Does my program run afterwards?",
        "Inside GDB",
        "In build systems and editors",
        "In CI",
        "When it fails",
    ]
