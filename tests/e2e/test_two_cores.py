"""A chip with two cores behind a real OpenOCD: the one beside is held while a loader runs, and goes on afterwards.

The second core is another machine on the access port of an STM32H745's Cortex-M4, with a program that counts. It is
reset with the first one, and has memory of its own.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gdbflash.board.faces.personality import BOARD
from gdbflash.board.faces.stlinktcp import StlinkServer
from gdbflash.board.machine import IDLE_FIRMWARE, Machine
from gdbflash.cli.main import main
from tests.support.boards import GDBS, LOADER, running_board
from tests.support.commandline import CommandLine
from tests.support.gdbterminal import GDBINIT, gdb_terminal
from tests.support.openocd import Openocd, running_openocd

FLASH = 0x90000000
COUNTS = IDLE_FIRMWARE[:0x40] + bytes.fromhex("0130 fde7")
"""`adds r0, #1` and a branch back to it, which is where the vectors point."""
NAME = "stm32h7x.cpu1"


@dataclass
class Pair:
    first: Machine
    second: Machine
    openocd: Openocd
    capsys: pytest.CaptureFixture[str]

    def run(self, *words: str) -> tuple[int, list[dict[str, object]], str]:
        """Run a command with --json; returns exit code, the JSON objects and what people see."""
        place = ("--connect", f"127.0.0.1:{self.openocd.gdb_port}", "-l", str(LOADER))
        code = main([*words, *place, "--tcl", str(self.openocd.tcl_port), "--json"])
        captured = self.capsys.readouterr()
        return code, [json.loads(line) for line in captured.out.splitlines()], captured.err

    def counts(self) -> bool:
        """Tell whether the second core gets on."""
        if self.second.halted is not None:
            return False
        before = self.second.read_register("r0")
        time.sleep(0.01)
        return self.second.read_register("r0") != before


@pytest.fixture
def pair(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Pair]:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    with (
        Machine() as first,
        Machine(firmware=COUNTS) as second,
        StlinkServer(first, second=second) as stlink,
        running_openocd(stlink.port, "dapdirect_swd", before_target=("set DUAL_CORE 1",)) as openocd,
    ):
        first.resume()
        second.resume()
        yield Pair(first, second, openocd, capsys)


def until_halted(machine: Machine, counted: list[int]) -> threading.Thread:
    """Note a core's count when it halts, and again some calls later."""

    def watch() -> None:
        machine.wait_halted(20)
        counted.append(machine.read_register("r0"))
        time.sleep(0.3)
        counted.append(machine.read_register("r0"))

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_the_other_core_is_held_and_named_and_goes_on_where_it_was(pair: Pair, tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(random.Random(3).randbytes(50_000))
    while not pair.second.read_register("r0"):
        time.sleep(0.001)
    counted: list[int] = []
    watcher = until_halted(pair.second, counted)
    code, events, shown = pair.run("write", f"{image}@{FLASH:#x}", "--before", "none", "--after", "restore")
    watcher.join()
    assert code == 0, shown
    assert bytes(pair.first.flash.memory[:50_000]) == image.read_bytes()
    held = [each for each in events if each.get("code") == "other-core-held"]
    assert [each["cores"] for each in held] == [[NAME]]
    assert counted[0] == counted[1] > 0, "it ran beside the loader"
    assert pair.counts()
    assert pair.second.resets == 0
    assert pair.second.read_register("r0") > counted[0], "it began anew"


@pytest.mark.parametrize(
    ("before", "after", "runs"),
    [("reset", "reset", True), ("reset", "run", True), ("reset", "halt", False), ("none", "halt", False)],
)
def test_the_other_core_is_left_as_the_target_is(pair: Pair, before: str, after: str, runs: bool) -> None:
    code, events, shown = pair.run("checksum", hex(FLASH), "4096", "--before", before, "--after", after)
    assert code == 0, shown
    assert pair.counts() is runs
    assert (pair.first.halted is None) is runs
    said = [str(each["message"]) for each in events if each.get("code") == "halted"]
    assert (NAME in "".join(said)) is not runs


def test_a_core_that_somebody_has_halted_stays_halted(pair: Pair) -> None:
    pair.openocd.run(f"{NAME} arp_halt; {NAME} arp_waitstate halted 500")
    where = pair.second.read_register("r0")
    code, events, shown = pair.run("checksum", hex(FLASH), "4096", "--before", "none", "--after", "run")
    assert code == 0, shown
    assert not [each for each in events if "core" in str(each.get("code", ""))]
    assert pair.second.halted is not None
    assert pair.second.read_register("r0") == where


def test_a_server_that_shows_one_core_has_the_user_told_of_the_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    said = ((0x1FF1E8C0, 0x48373435), (0x580244A0, 1 << 3))  # "H745", and RCC_GCR.BOOT_C2
    with running_board(replace(BOARD, words=said)) as board:
        outcome = CommandLine(capsys)("checksum", hex(FLASH), "64", "--connect", board.endpoint, "-l", str(LOADER))
    assert outcome.code == 0, outcome.shown
    assert "The chip's Cortex-M4 may run and use the flash meanwhile" in outcome.shown


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_inside_gdb_the_other_core_is_held_and_goes_on(pair: Pair, gdb: Path, tmp_path: Path) -> None:
    with gdb_terminal(gdb, "-x", str(GDBINIT), state=tmp_path / "state") as terminal:
        terminal.run(f"target extended-remote localhost:{pair.openocd.gdb_port}")
        terminal.run(f"set gdbflash tcl {pair.openocd.tcl_port}")
        terminal.run(f"gdbflash loader {LOADER}")
        shown = terminal.run(f"gdbflash checksum {FLASH:#x} 4096")
        assert f"{NAME} ran and is held meanwhile" in shown
        assert "CRC-32" in shown
        assert pair.counts()
        resets = pair.second.resets
        shown = terminal.run(f"gdbflash checksum {FLASH:#x} 4096 --before reset --after reset")
        assert f"{NAME} ran and is held meanwhile" in shown
        assert pair.second.resets > resets
        assert pair.counts()
        assert pair.first.halted is not None, "GDB holds the core that it debugs"
