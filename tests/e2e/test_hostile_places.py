"""Files and strings that want to be commands: nothing of them ever runs."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gdbflash.cli.main import main
from tests.support import stldr
from tests.support.boards import GDBS, LOADER, RunningBoard, running_board
from tests.support.commandline import CommandLine
from tests.support.gdbterminal import GDBINIT, gdb_terminal
from tests.support.programbuild import build_program
from tests.support.stldr import Section

PLACE = "0x90000000"
GDBFLASH = Path(sys.executable).parent / "gdbflash"
GDB_FILES = (".gdbinit", "gdbinit", ".gdbearlyinit", ".config/gdb/gdbinit", ".config/gdb/gdbearlyinit")
MODULES = ("unicorn", "elftools", "click", "pexpect", "bincopy", "pygdbmi", "signal", "sitecustomize")
NAMES = (
    "plain.bin",
    "with blank.bin",
    "with \"quotes\" and 'more'.bin",
    "line\nbreak.bin",
    "back\\slash\\n.bin",
    "| touch sign; .bin",
    "|touch sign",
    "`touch sign`$(touch sign).bin",
    "-x.bin",
    "--help",
    "a@0x90000000",
    "\x1b[31m\x07.bin",
    "é…\udcff.bin",
)


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))


@pytest.fixture
def sign(tmp_path: Path) -> Path:
    """The file that appears when something runs that should not."""
    return tmp_path / "sign"


@pytest.fixture
def trap(tmp_path: Path, sign: Path) -> Path:
    """A folder full of files that programs like to run by themselves."""
    folder = tmp_path / "trap"
    for name in GDB_FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"shell touch {sign}\n")
    for name in MODULES:
        (folder / f"{name}.py").write_text(f"open({str(sign)!r}, 'w')\n")
    (folder / "gdbflash").mkdir()
    (folder / "gdbflash" / "__init__.py").write_text(f"open({str(sign)!r}, 'w')\n")
    return folder


@pytest.fixture
def board() -> Iterator[RunningBoard]:
    with running_board() as running:
        yield running


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "state")


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_nothing_in_the_working_directory_runs(trap: Path, sign: Path, gdb: Path) -> None:
    environment = {**os.environ, "HOME": str(trap), "XDG_CONFIG_HOME": str(trap / ".config")}
    environment.pop("PYTHONPATH", None)
    for words in (["checksum", PLACE, "16", "--server", "board"], ["doctor", "--server", "board"]):
        done = subprocess.run(
            [GDBFLASH, *words, "-l", LOADER, "--gdb", gdb],
            cwd=trap,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
        assert not sign.exists()
    # The counter-proof: GDB as it comes runs what lies there.
    subprocess.run([gdb, "-batch"], cwd=trap, env=environment, stdin=subprocess.DEVNULL, timeout=100, check=False)
    assert sign.exists()


def scripted_loader(folder: Path, sign: Path) -> Path:
    """Make a loader with a script for GDB inside it and one beside it."""
    form = stldr.arrange(stldr.BASIC)
    script = f"\4inlined\nopen({str(sign)!r}, 'w')\n\0".encode()
    path = folder / "scripted.stldr"
    path.write_bytes(stldr.elf_file(replace(form, extra=(Section(".debug_gdb_scripts", 0, script),))))
    (folder / "scripted.stldr-gdb.py").write_text(f"open({str(sign)!r}, 'w')\n")
    (folder / "scripted.stldr-gdb.gdb").write_text(f"shell touch {sign}\n")
    return path


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_scripts_in_and_beside_a_loader_do_not_run(
    board: RunningBoard, run: CommandLine, tmp_path: Path, sign: Path, gdb: Path
) -> None:
    loader = scripted_loader(tmp_path, sign)
    outcome = run("call", "Init", "-l", loader, "--connect", board.endpoint, "--gdb", gdb, "--timeout-scale", "0.0005")
    assert outcome.code in (0, 1)  # its code means nothing
    assert board.server.packets["vCont;c"] >= 1
    assert not sign.exists()
    # In a session whose GDB trusts every script.
    trusting = ("-iex", "set auto-load safe-path /", "-x", str(GDBINIT))
    with gdb_terminal(gdb, *trusting, state=tmp_path / "state", cwd=tmp_path) as terminal:
        terminal.run(f"target extended-remote {board.endpoint}")
        assert "W25Q128_TEST" in terminal.run(f"gdbflash loader {loader}")
        assert "W25Q128_TEST" in terminal.run("gdbflash info")
        terminal.run("gdbflash call Init --timeout-scale 0.0005")
        terminal.run(f"gdbflash load {loader}")
        assert not sign.exists()
        terminal.run("set confirm off")
        terminal.run(f"add-symbol-file {loader}")  # the counter-proof
    assert sign.exists()


CONNECTS = (
    "| touch {sign}",
    "|touch {sign}",
    " | touch {sign}",
    "127.0.0.1:1 | touch {sign}",
    "127.0.0.1:1\n| touch {sign}",
    "127.0.0.1:1\nshell touch {sign}",
    '127.0.0.1:1\r-interpreter-exec console "shell touch {sign}"',
    '127.0.0.1:1" "shell touch {sign}',
    "/dev/null\nshell touch {sign}",
    "/dev/null | touch {sign}",
    "/dev/../dev/null;touch {sign}",
    "-x /dev/null",
    "--help",
    "pipe:touch {sign}",
    "unix:/tmp/socket",
    "$(touch {sign}):1",
    "`touch {sign}`:1",
    "",
    "\x00",
)


@pytest.mark.parametrize("text", CONNECTS, ids=range(len(CONNECTS)))
@pytest.mark.parametrize("server", ["auto", "blackmagic"])
def test_no_place_of_a_server_is_a_command(run: CommandLine, sign: Path, text: str, server: str) -> None:
    outcome = run("checksum", PLACE, "1", "-l", LOADER, "--server", server, f"--connect={text.format(sign=sign)}")
    assert outcome.code == 2
    assert "is not a place of a GDB server" in outcome.sentence
    assert not sign.exists()


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_what_is_no_serial_device_is_not_opened(run: CommandLine, tmp_path: Path, gdb: Path) -> None:
    (tmp_path / "program").write_text("#!/bin/sh\ntouch sign\n")
    (tmp_path / "program").chmod(stat.S_IRWXU)
    os.mkfifo(tmp_path / "fifo")  # whoever opened it would wait
    for name in ("program", "fifo", "nothing", "."):
        outcome = run("checksum", PLACE, "1", "-l", LOADER, "--connect", tmp_path / name, "--gdb", gdb)
        assert outcome.code == 3
        assert "serial device" in outcome.sentence
    outcome = run("checksum", PLACE, "1", "-l", LOADER, "--connect", "/dev/null", "--gdb", gdb)
    assert outcome.code == 3
    assert not (tmp_path / "sign").exists()


def test_odd_file_names_are_names_everywhere(
    board: RunningBoard, run: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    reach = ["--connect", board.endpoint]
    for number, name in enumerate(NAMES):
        data = name.encode(errors="surrogateescape") + bytes([number])
        image, loader, output, log = (f"{kind}/{name}" for kind in ("image", "loader", "output", "log"))
        for path in (image, loader, output, log):
            Path(path).parent.mkdir(exist_ok=True)
        Path(image).write_bytes(data)
        shutil.copy(LOADER, loader)
        board.chip.memory[: len(data)] = data
        outcome = run("write", "--dry-run", "-l", loader, f"{image}@{PLACE}")
        assert outcome.code == 0, outcome.shown
        assert outcome.events[0]["storages"][0]["bytes"] == len(data)
        outcome = run(
            "read", PLACE, str(len(data)), "-l", loader, "-o", output, "--format", "bin", "--log", log, *reach
        )
        assert outcome.code == 0, outcome.shown
        assert Path(output).read_bytes() == data
        assert "Sending packet: $" in Path(log).read_text(errors="replace")
    assert names_in(tmp_path) == ["image", "loader", "log", "output"]
    assert names_in(tmp_path / "output") == sorted(NAMES)


def test_bare_names_that_look_like_options_or_commands(
    run: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(LOADER, "-loader.stldr")
    Path("|touch sign").write_bytes(b"x")
    outcome = run("write", "--dry-run", "-l", "-loader.stldr", "--", f"|touch sign@{PLACE}")
    assert outcome.code == 0
    assert outcome.events[0]["storages"][0]["bytes"] == 1
    assert names_in(tmp_path) == ["-loader.stldr", "|touch sign"]


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_odd_file_names_inside_gdb(board: RunningBoard, tmp_path: Path, sign: Path, gdb: Path) -> None:
    names = [name for name in NAMES if name.isprintable() and name.isascii()]
    program = build_program("debuggee")
    with gdb_terminal(gdb, "-x", str(GDBINIT), state=tmp_path / "state", cwd=tmp_path) as terminal:
        terminal.run(f"target extended-remote {board.endpoint}")
        for name in names:
            for kind, source in (("loader", LOADER), ("program", program)):
                (tmp_path / kind).mkdir(exist_ok=True)
                shutil.copy(source, tmp_path / kind / name)
            (tmp_path / "output").mkdir(exist_ok=True)
            quoted = '"{}/' + re.sub(r'(["\\`$])', r"\\\1", name) + '"'
            assert "W25Q128_H750_QSPI" in terminal.run(f"gdbflash loader {quoted.format('loader')}"), name
            shown = terminal.run(f"gdbflash read {PLACE} 5 --format bin -o {quoted.format('output')}")
            assert "5 bytes from 0x90000000" in shown, name
            assert (tmp_path / "output" / name).read_bytes() == b"\xff" * 5
            assert "is a binary file" in terminal.run(f"gdbflash load {quoted.format('output')}")
        shown = terminal.run(f"gdbflash load {quoted.format('program')}")
        assert "compared." in shown
        for wrong in ("gdbflash loader ~nobody-of-that-name/x", "gdbflash read 0x90000000 1 -o ~nobody-of-that-name/x"):
            shown = terminal.run(wrong)
            assert "bug" not in shown
            assert "~nobody-of-that-name" in shown
    assert not sign.exists()
    assert not (tmp_path / "output" / "sign").exists()


def test_a_terminal_sees_no_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = tmp_path / "\x1b[2J\x9b\x07\r\nerror: all is lost\udcff"
    assert main(["info", str(name)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        r"/\x1b[2J\x9b\x07\r\nerror: all is lost\udcff does not exist. Check its name and the directory."
    )
    name.write_bytes(LOADER.read_bytes())
    assert main(["info", str(name)]) == 0
    assert not set(capsys.readouterr().out) & set("\x1b\x9b\x07\r")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_few_characters_shows_what_it_can(tmp_path: Path, encoding: str) -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    name = os.fsencode(tmp_path) + b"/\xc3\xa9\xff.stldr"
    Path(os.fsdecode(name)).write_bytes(LOADER.read_bytes())
    for words, code in ([b"info", name], 0), ([b"info", name, b"16G"], 2), ([b"erase", b"0", b"16G"], 2):
        done = subprocess.run([GDBFLASH, *words], env=environment, capture_output=True, timeout=60)
        assert done.returncode == code, done.stderr
        assert b"Traceback" not in done.stderr
        assert done.stdout or done.stderr


NUMBERS = st.one_of(
    st.integers(-(1 << 70), 1 << 70).map(str),
    st.integers(0, 1 << 40).map(hex),
    st.tuples(st.integers(0, 1 << 36), st.sampled_from("kKmMgG")).map(lambda pair: f"{pair[0]}{pair[1]}"),
    st.sampled_from(
        ["", "all", "-", "0x", "1e9", "nan", "1_0", "٣", "0b1", "0x1FFFFFFFF", "4194304K", "4096M", "4097M"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
)


COMMANDS = st.sampled_from(["read", "checksum", "blank-check", "erase", "call", "write"])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NUMBERS, NUMBERS, st.just("0x24000000:512K") | st.tuples(NUMBERS, NUMBERS).map(":".join) | NUMBERS, COMMANDS)
@example("0xFFFFFFFF", "0xFFFFFFFF", "0x24000000:512K", "read")
@example("0x90000000", "4096M", "0x24000000:512K", "read")
@example("0x90000000", "16M", "0xFFFFFFFF:4096M", "checksum")
@example("0x90000000", "-65536", "0x24000000:512K", "erase")
@example("0x90000000", "16M", "0x24000000:512K", "erase")
@example("0xFFFFFFFF", "", "0x24000000:512K", "write")
def test_no_number_is_too_large_for_a_sentence(
    run: CommandLine, tmp_path: Path, first: str, second: str, ram: str, command: str
) -> None:
    """A run that finds no gdb had sound numbers."""
    image = tmp_path / "image.bin"
    image.write_bytes(b"data")
    arguments = {"write": [f"{image}@{first}"], "call": ["Init", first, second]}.get(command, [first, second])
    if command == "read":
        arguments += ["-o", str(tmp_path / "out.bin")]
    outcome = run(command, "-l", LOADER, "--gdb", "/nowhere/gdb", f"--ram={ram}", "--", *arguments)
    assert outcome.code in (2, 3)
    assert outcome.sentence
    assert (outcome.result["error"]["kind"] == "gdb-missing") is (outcome.code == 3)
    assert not (tmp_path / "out.bin").exists()
