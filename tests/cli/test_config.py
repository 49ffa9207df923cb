"""Options from a file: which file, which keys, and what a file that nobody named may not do."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gdbflash.cli.config import Config, expect_harmless, load_config
from gdbflash.errors import InputError
from tests.support.boards import LOADER, RunningBoard, running_board
from tests.support.commandline import CommandLine

PLACE = "0x90000000"
NOBODY = ("checksum", PLACE, "1", "--gdb", "/nowhere/gdb")
"""A command that ends with exit code 3 once its options were found to be sound."""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a project, to be worked in."""
    folder = tmp_path / "home" / "project"
    folder.mkdir(parents=True)
    (folder / ".git").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.fixture
def board() -> Iterator[RunningBoard]:
    with running_board() as running:
        yield running


def found(start: Path) -> Path | None:
    config = load_config(None, start)
    return config.path if config else None


def test_the_nearest_file_up_to_the_project_counts(project: Path) -> None:
    below = project / "firmware" / "app"
    below.mkdir(parents=True)
    assert found(below) is None
    above = project.parent / "gdbflash.toml"
    above.write_text("")
    assert found(below) is None  # the project ends below it
    (project / "pyproject.toml").touch()
    assert found(below) is None
    (project / "pyproject.toml").write_text("[tool.gdbflash]\n")
    assert found(below) == project / "pyproject.toml"
    (project / "gdbflash.toml").write_text("")
    assert found(below) == project / "gdbflash.toml"
    (below.parent / "pyproject.toml").write_text("[project]\nname = 'app'\n")
    assert found(below) == project / "gdbflash.toml"
    (below / "gdbflash.toml").write_text("")
    assert found(below) == below / "gdbflash.toml"
    (project / ".git").rmdir()
    (below / "gdbflash.toml").unlink()
    (project / "gdbflash.toml").unlink()
    (project / "pyproject.toml").unlink()
    assert found(below) == above  # the home folder ends the search, and is part of it


def test_outside_of_project_and_home_only_the_folder_itself_counts(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    (project / ".git").rmdir()
    (project.parent / "gdbflash.toml").write_text("")
    assert found(project) is None
    (project / "gdbflash.toml").write_text("")
    assert found(project) == project / "gdbflash.toml"


def test_the_options_are_those_of_the_file_and_the_command_line_wins(
    board: RunningBoard, run: CommandLine, project: Path
) -> None:
    (project / "loaders").mkdir()
    shutil.copy(LOADER, project / "loaders" / "ours.stldr")
    (project / "gdbflash.toml").write_text(
        f'server = "qemu"\nconnect = "{board.endpoint}"\nloader = ["loaders/ours.stldr"]\n'
        'after = "halt"\ntimeout-scale = 2\nirq = true\nram = "0x24000000:256K"\n'
    )
    (project / "below").mkdir()
    outcome = run("checksum", PLACE, "1", "--server", "board", "-v")
    assert outcome.code == 0
    assert f"Options come from {project}/gdbflash.toml: server, connect, loader, after" in outcome.shown
    assert "in its RAM 0x24000000-0x2403FFFF" in outcome.shown
    assert board.machine.halted is not None
    assert "monitor system_reset" not in outcome.shown
    outcome = run("checksum", PLACE, "1", "--server", "board", "--ram", "0x24000000:128K", "--after", "reset", "-v")
    assert outcome.code == 0
    assert "in its RAM 0x24000000-0x2401FFFF" in outcome.shown
    assert board.machine.halted is None


@pytest.mark.parametrize("name", ["gdbflash.toml", "pyproject.toml"])
def test_a_file_that_was_found_starts_no_command_and_reaches_no_other_machine(
    run: CommandLine, project: Path, name: str
) -> None:
    trap = project / "trap"
    trap.write_text("#!/bin/sh\ntouch sign\n")
    trap.chmod(0o700)
    table = "[tool.gdbflash]\n" if name == "pyproject.toml" else ""
    # In the documentation's network (RFC 5737), where nobody ever answers.
    text = f'gdb = "{trap}"\nlaunch = "-c \'shutdown\'"\nconnect = "192.0.2.1:3333"\nloader = "{LOADER}"\n'
    (project / name).write_text(table + text + 'server = "openocd"\n')
    outcome = run("checksum", PLACE, "1")
    assert (outcome.code, outcome.result["error"]["key"]) == (2, "gdb")
    assert f"{project / name}: gdb may not come from a file that nobody named" in outcome.sentence
    assert f"add --config {project / name}" in outcome.sentence
    assert not (project / "sign").exists()
    # Named, it counts: the trap runs as gdb.
    (project / "named.toml").write_text(f'gdb = "{trap}"\nconnect = "127.0.0.1:1"\nloader = "{LOADER}"\n')
    outcome = run("checksum", PLACE, "1", "--config", "named.toml")
    assert outcome.code == 3
    assert outcome.result["error"]["kind"] == "gdb-missing"
    assert not (project / "sign").exists()  # gdb runs in a folder of its own


@pytest.mark.parametrize(
    ("place", "counts"),
    [
        ("127.0.0.1:3333", True),
        ("127.9.9.9:3333", True),
        ("localhost:3333", True),
        ("[::1]:3333", True),
        (":3333", True),
        ("/dev/ttyACM0", True),
        ("192.0.2.1:3333", False),
        ("[2001:db8::1]:3333", False),
        ("127.0.0.1.example.com:3333", False),
        ("localhost.example.com:3333", False),
        ("0.0.0.0:3333", False),
        ("2130706433:3333", False),
        ("| touch sign", True),  # no place at all: refused later, in words
    ],
)
def test_which_places_a_file_that_was_found_may_name(project: Path, place: str, counts: bool) -> None:
    (project / "gdbflash.toml").write_text(f'connect = "{place}"\n')
    config = load_config(None, project)
    assert config is not None
    with contextlib.nullcontext() if counts else pytest.raises(InputError, match="connect may not come from a file"):
        expect_harmless(config, "connect", place, "connect")
    named = load_config(project / "gdbflash.toml", project)
    assert named == Config(project / "gdbflash.toml", {"connect": place})
    expect_harmless(named, "connect", place, "connect")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("serve = 1", "gdbflash.toml: serve is no option that a file may have; did you mean server?"),
        ("xyz = 1", "gdbflash.toml: xyz is no option that a file may have; those are after, before, connect, "),
        ("verify = 'nothing'", "verify: 'nothing' is not one of 'digest', 'readback'"),
        ("full = 1", "full: 1 is not true or false."),
        ("expect-unit = '12'", "expect-unit: '12' is no unique ID"),
        ("board = 1", "gdbflash.toml: a board is a table of its own: [board.NAME]."),
        ("[board.all]", "gdbflash.toml: no board can be called all, which means all."),
        ("server = 1", "server: 1 is not a text in quotes."),
        ("server = 'nobody'", "server: 'nobody' is not one of 'auto', 'openocd'"),
        ("connect = '3333'", "'3333' is not a place of a GDB server"),
        ("connect = '| touch sign'", "'| touch sign' is not a place of a GDB server"),
        ("tcl = '6666'", "tcl: '6666' is not a whole number."),
        ("tcl = true", "tcl: True is not a whole number."),
        ("tcl = 0", "tcl: '0' is not a port"),
        ("loader = 3", "loader: 3 is no file name and no list of them."),
        ("loader = ['a', 3]", "loader: ['a', 3] is no file name and no list of them."),
        ("loader = 'nowhere.stldr'", "project/nowhere.stldr does not exist"),
        ("ram = 'x'", "ram: 'x' is not START:SIZE, such as 0x24000000:512K."),
        ("before = 'halt'", "before: 'halt' is not one of 'reset', 'none'."),
        ("timeout-scale = -1", "timeout-scale: '-1' is no factor above 0"),
        ("timeout-scale = nan", "timeout-scale: 'nan' is no factor above 0"),
        ("timeout-scale = '2'", "timeout-scale: '2' is not a number."),
        ("irq = 1", "irq: 1 is not true or false."),
        ("tcl = 0x" + "1" * 5000, "tcl: a number in it has too many digits."),
        ("timeout-scale = 0x" + "1" * 5000, "timeout-scale: a number in it has too many digits."),
        ("loader = ['a', 0x" + "1" * 5000 + "]", "loader: a number in it has too many digits."),
        ("tcl = " + "1" * 5000, "gdbflash.toml is no TOML: "),
        ("timeout-scale = 1001", "timeout-scale: '1001' is no factor above 0 and up to 1000"),
        ("server", "gdbflash.toml is no TOML: "),
        ("a = " + "[" * 9000, "gdbflash.toml is no TOML: "),
        ("a = '\udcff'", "gdbflash.toml is no TOML: "),
    ],
    ids=lambda text: text[:20].encode("ascii", "replace").decode(),
)
def test_what_is_wrong_names_file_and_key(run: CommandLine, project: Path, text: str, part: str) -> None:
    (project / "gdbflash.toml").write_bytes(f"{text}\n".encode(errors="surrogateescape"))
    outcome = run(*NOBODY) if "loader" in text else run(*NOBODY, "-l", LOADER)
    assert outcome.code == 2
    assert part in outcome.sentence


def test_files_that_cannot_be_used(run: CommandLine, project: Path) -> None:
    for name, part in (
        ("nowhere.toml", "nowhere.toml does not exist"),
        (".git", ".git is a directory"),
        ("/dev/zero", "/dev/zero is a device"),
    ):
        assert part in run(*NOBODY, "--config", name).sentence
    (project / "pyproject.toml").write_text("[project]\n")
    assert "has no table [tool.gdbflash]" in run(*NOBODY, "--config", "pyproject.toml").sentence
    (project / "gdbflash.toml").symlink_to("/nowhere")
    assert "gdbflash.toml does not exist" in run(*NOBODY).sentence


def test_options_may_say_which_form_they_have(run: CommandLine, project: Path) -> None:
    (project / "gdbflash.toml").write_text('schema = 1\nserver = "board"\n')
    assert load_config(None, project) == Config(project / "gdbflash.toml", {"server": "board"}, was_found=True)
    (project / "gdbflash.toml").unlink()
    for value in ("2", "0", "true", "1.0", '"1"', "0x" + "9" * 5000):
        (project / "pyproject.toml").write_text(f"[tool.gdbflash]\nschema = {value}\nserver = 7\n")
        outcome = run(*NOBODY)
        assert outcome.code == 2
        assert "pyproject.toml: this version of gdbflash reads options with schema = 1 alone." in outcome.sentence


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    good = (
        b'server = "board"\nconnect = "127.0.0.1:1"\ntcl = 6666\nloader = ["a", "b"]\nirq = true\ntimeout-scale = 2\n'
    )
    data = bytearray(good)
    for place, value in draw(st.lists(st.tuples(st.integers(0, len(good) - 1), st.integers(0, 255)), max_size=5)):
        data[place] = value
    return bytes(data)


VALUES: st.SearchStrategy[Any] = (
    st.integers() | st.floats() | st.booleans() | st.text(max_size=9).filter(str.isprintable) | st.just("a")
)
KEYS = ["server", "connect", "tcl", "loader", "ram", "before", "after", "timeout-scale", "irq", "gdb", "launch", "x"]


def written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    quoted = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"' if isinstance(value, str) else str(value)


LINES = st.lists(st.tuples(st.sampled_from(KEYS), VALUES), max_size=3).map(
    lambda pairs: "".join(f"{key} = {written(value)}\n" for key, value in pairs).encode()
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | damaged() | LINES)
@example(b"tcl = " + b"9" * 5000)
@example(b"x = 0001-01-01T00:00:00+99:99")
def test_no_file_is_more_than_a_sentence(run: CommandLine, project: Path, data: bytes) -> None:
    (project / "gdbflash.toml").write_bytes(data)
    outcome = run(*NOBODY, "-l", LOADER)
    assert outcome.code in (2, 3)
    assert "error: " in outcome.shown
    named = "gdbflash.toml" in outcome.shown.splitlines()[-1]
    assert named or outcome.code == 3 or "is not a place of a GDB server" in outcome.shown


def test_a_path_that_is_no_folder_is_an_input_error(project: Path) -> None:
    with pytest.raises(InputError):
        load_config(project / "gdbflash.toml" / "x", project)
