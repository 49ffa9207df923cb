"""A watchdog that runs, and read protection: what neither stops a write nor is left unnamed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.boards import LOADER, RunningBoard, running_board
from tests.support.commandline import CommandLine

OPTSR_CUR, BY_SOFTWARE = 0x1C, 1 << 4
KR, PR, RLR, APB4FZ1 = 0x58004800, 0x58004804, 0x58004808, 0x5C001054
DATA = bytes(range(256)) * 64


def word(board: RunningBoard, address: int) -> int:
    return int.from_bytes(board.machine.read_memory(address, 4), "little")


def put(board: RunningBoard, address: int, value: int) -> None:
    board.machine.write_memory(address, value.to_bytes(4, "little"))


def notes(events: list[dict[str, object]]) -> list[object]:
    return [each.get("code") for each in events if each["event"] == "note"]


def test_a_watchdog_that_option_bytes_start_is_refreshed_and_left_as_it_was(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(DATA)
    with running_board() as board:
        interface = board.machine.soc.flash_interface
        interface.words[OPTSR_CUR] &= ~BY_SOFTWARE
        board.server.link.latency_us = 15_000  # the period passes several times between the first packet and the last
        words = ["--connect", board.endpoint, "-l", str(LOADER), "--after", "halt"]
        outcome = CommandLine(capsys)("write", f"{image}@0x90000000", *words)
        assert outcome.code == 0, outcome.shown
        assert bytes(board.chip.memory[: len(DATA)]) == DATA
        assert notes(outcome.events).count("watchdog") == 1
        assert board.machine.resets == 1, "by gdbflash alone"
        assert (word(board, APB4FZ1), word(board, PR), word(board, RLR)) == (0, 0, 0xFFF)


def test_a_watchdog_that_hits_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with running_board() as board:
        board.machine.reset(halt=True)
        for register, value in ((KR, 0x5555), (RLR, 0x10), (KR, 0xCCCC)):
            put(board, register, value)
        put(board, APB4FZ1, 1 << 18)
        words = ["--connect", board.endpoint, "-l", str(LOADER), "--before", "none", "--after", "halt"]
        outcome = CommandLine(capsys)("checksum", "0x90000000", "0x100000", *words, "--timeout-scale", "0.2")
        assert outcome.code == 1
        assert "the independent watchdog (IWDG) has reset the device" in outcome.shown


def test_read_protection_is_named_before_internal_flash_is_touched(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    program = tmp_path / "program.bin"
    program.write_bytes(bytes.fromhex("DEADBEEF"))
    with running_board() as board:
        words = board.machine.soc.flash_interface.words
        words[OPTSR_CUR] = words[OPTSR_CUR] & ~0xFF00 | 0xBB00
        run = CommandLine(capsys)
        outcome = run("load", f"{program}@0x08000000", "--connect", board.endpoint)
        assert (outcome.code, outcome.result["error"]["kind"]) == (3, "prepare")
        assert "Read protection is at level 1" in outcome.shown
        told = run("doctor", "--connect", board.endpoint)
        assert "at level 1: a debugger can neither read nor program internal flash" in told.shown + str(told.events)
        assert board.machine.soc.flash.content[:4] == bytearray.fromhex("00000220")
