"""What people type wrong late at night: one sentence each, with what to type instead."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from gdbflash.cli.main import commands, main
from tests.support.boards import LOADER
from tests.support.commandline import CommandLine

PLACE = "0x90000000"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Commands in a folder with a.bin (1000 bytes), empty.bin, big.bin (17 MiB), and a folder `build`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    Path("a.bin").write_bytes(bytes(range(250)) * 4)
    Path("empty.bin").touch()
    Path("big.bin").write_bytes(bytes(17 << 20))
    Path("build").mkdir()
    return CommandLine(capsys)


ON = ["-l", str(LOADER), "--gdb", "/nowhere/gdb"]


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        ([], 2, ""),
        (["writ"], 2, "No such command 'writ'"),
        (["write"], 2, "Missing argument 'IMAGE[@ADDRESS]...'. See gdbflash write --help."),
        (["info"], 2, "No loader was given. Name a .stldr file, or have `loader` in gdbflash.toml name it."),
        (["read", PLACE, "1K", "-o", "chip.dat", *ON], 2, "chip.dat does not tell by its ending what it is to be"),
        (["read", PLACE, "1K", "--format", "hex", *ON], 2, "--format says what a file is to be: name one with -o"),
        (["read", PLACE, "1K", "-o", "-", *ON], 2, "--json and -o - both want stdout. Name a file with -o."),
        (["erase", PLACE, "64K", "--chips", *ON], 2, "No such option '--chips'"),
        (["read", PLACE, "-1", *ON], 2, "-1 is no option, and no number here can be negative."),
        (["write", f"a.bin@{PLACE}"], 2, "Name the .stldr of your board's memory with -l FILE"),
        (["write", f"nope.bin@{PLACE}", *ON], 2, "nope.bin does not exist. Check its name and the directory."),
        (["write", "a.bin", *ON], 2, "Give the address with it, as in a.bin@0x90000000."),
        (["write", "a.bin@flash", *ON], 2, "a.bin@flash: 'flash' is not a number"),
        (["write", "a.bin@", *ON], 2, "a.bin@: '' is not a number"),
        (["write", "a.bin@-1", *ON], 2, "a.bin@-1: '-1' is not a number"),
        (["write", "a.bin@0x100000000", *ON], 2, "a.bin@0x100000000: '0x100000000' is not a 32-bit address"),
        (["write", "a.bin@90000000", *ON], 2, "lies outside the storage of the loader given"),
        (["write", f"empty.bin@{PLACE}", *ON], 2, "empty.bin is empty. Build or copy it again."),
        (["write", f"build@{PLACE}", *ON], 2, "build is a directory. Name the file in it."),
        (["write", f"big.bin@{PLACE}", *ON], 2, "runs 1048576 bytes past the end of W25Q128_H750_QSPI"),
        (
            ["write", f"a.bin@{PLACE}", f"big.bin@{PLACE}", *ON],
            2,
            "has 0x01 and big.bin has 0x00 for address 0x90000001",
        ),
        (["write", str(LOADER), *ON], 2, "lies outside the storage of the loader given"),
        (["write", f"a.bin@{PLACE}", "-l", "a.bin"], 2, "a.bin is a binary image, not a loader"),
        (["write", f"a.bin@{PLACE}", "-l", "build"], 2, "build is a directory"),
        (["info", "a.bin"], 2, "a.bin is a binary image, not a loader"),
        (["read", PLACE, "1K", "-o", "build", *ON], 1, "build could not be written (Is a directory)"),
        (["read", PLACE, "0", "-o", "x", *ON], 2, "A size of 0 bytes at 0x90000000 is nothing to work on."),
        (["read", PLACE, "4G", "-o", "x", *ON], 2, "'4G' is not a number"),
        (["erase", *ON], 2, "Say what to erase: ADDRESS SIZE, or --chip for everything."),
        (["erase", PLACE, "1", *ON], 2, "is not whole sectors. The sectors it lies in are 0x90000000 0x10000."),
        (["erase", "--chip", PLACE, "64K", *ON], 2, "--chip erases everything and takes no ADDRESS and SIZE."),
        (["call", "init", *ON], 2, "exports no init (only CheckSum, DeInit, Init,"),
        (["call", "Init", "five", *ON], 2, "'five' is not a number"),
        (["call", "Init", "1", "2", "3", "4", "5", *ON], 2, "A call takes at most four arguments, r0 to r3."),
        (
            ["checksum", PLACE, "1K", "--ram", "nonsense", *ON],
            2,
            "'nonsense' is not START:SIZE, such as 0x24000000:512K.",
        ),
        (["checksum", PLACE, "1K", "--timeout-scale", "nan", *ON], 2, "'nan' is no factor above 0"),
        (["checksum", PLACE, "1K", "--timeout-scale", "inf", *ON], 2, "'inf' is no factor above 0"),
        (["checksum", PLACE, "1K", "--timeout-scale", "0", *ON], 2, "'0' is no factor above 0"),
        (["checksum", PLACE, "1K", "--timeout-scale", "1e9", *ON], 2, "'1e9' is no factor above 0 and up to 1000"),
        (["checksum", PLACE, "1" * 5000, *ON], 2, "...' is not a number"),
        (["call", "Init", "1" * 5000, *ON], 2, "...' is not a number"),
        (["checksum", PLACE, "1K", "--tcl", "1" * 5000, *ON], 2, "is not a port: give a number from 1 to 65535"),
        (["checksum", PLACE, "1K", "--connect", f"127.0.0.1:{'1' * 5000}", *ON], 2, "is not a place of a GDB server"),
        (["board", "--time-scale", "inf"], 2, "'inf' is no factor above 0 and up to 1000, such as 2 or 0.5."),
        (["checksum", PLACE, "1K", "--server", "open-ocd", *ON], 2, "'open-ocd' is not one of 'auto', 'openocd'"),
        (
            ["checksum", PLACE, "1K", "--connect", "3333", *ON],
            2,
            "'3333' is not a place of a GDB server: give HOST:PORT",
        ),
        (["checksum", PLACE, "1K", *ON], 3, "/nowhere/gdb (from --gdb) is not a program that can be run"),
        (["board", "--personality", "nobody"], 2, "There is no personality 'nobody'; choose one of board, "),
        (["board", "--image", "build"], 2, "The flash file build cannot be used (Is a directory)"),
        (["board", "--unit", "1234"], 2, "'1234' is no unique ID: give its 96 bits as 24 hex digits."),
        (["board", "--image", "nowhere/flash.bin"], 2, "The flash file nowhere/flash.bin cannot be used"),
        (["board", "--port", "70000"], 2, "'70000' is not a port: give a number from 1 to 65535"),
        (["gdbinit", "firmware.elf"], 2, "Got unexpected extra argument (firmware.elf)"),
    ],
)
def test_a_mistake_is_a_sentence(run: CommandLine, words: list[str], code: int, part: str) -> None:
    outcome = run(*words)
    assert outcome.code == code, outcome.shown
    if part:
        assert part in outcome.sentence
        assert outcome.result["error"]["message"] == outcome.sentence
        assert outcome.sentence.endswith((".", "?"))


def test_a_port_in_use_is_told(run: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for option in ("--port", "--stlink-port", "--pyocd-port"):
            free = [] if option == "--port" else ["--port", "0"]
            outcome = run("board", option, port, *free)
            assert outcome.code == 3
            assert (
                f"The board cannot listen at port {port} (Address already in use). Choose another" in outcome.sentence
            )


def test_every_command_has_help_that_names_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    for name, command in commands.commands.items():
        assert main([name, "--help"]) == 0
        shown = capsys.readouterr().out
        assert f"gdbflash {name}" in shown
        for parameter in command.params:
            for option in parameter.opts:
                assert not option.startswith("--") or re.search(rf"{option}\b", shown), (name, option)
        assert main([name, "-h"]) == 0
        capsys.readouterr()
