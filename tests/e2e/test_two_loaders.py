"""Two loaders in one run, and what a run gives back afterwards."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from gdbflash.errors import PlanError
from gdbflash.flash.flasher import Flasher
from gdbflash.images.content import Content
from gdbflash.loaders.loader import Segment
from gdbflash.loaders.stldr import load_loader
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import start_gdb
from gdbflash.options import RunOptions
from gdbflash.plan.jobs import plan_write
from gdbflash.servers.endpoint import parse_endpoint
from tests.support.boards import LOADER, running_board
from tests.support.cbuild import build
from tests.support.commandline import CommandLine

SRAM1, FLASH, AXI_SRAM = 0x30000000, 0x90000000, 0x24000000


def test_what_does_not_fit_is_known_before_the_first_storage_is_touched() -> None:
    first, second = load_loader(build("sram")), load_loader(LOADER)
    large = replace(second, load_segments=(*second.load_segments, Segment(0x24004000, b"", 0x7FFFF)))
    jobs = plan_write((first, large), Content.of([(SRAM1, b"first"), (FLASH, b"second")]))
    with running_board() as board:
        before = board.machine.read_memory(SRAM1, 5)
        target = connect(parse_endpoint(board.endpoint), start_gdb())
        try:
            with (
                pytest.raises(PlanError, match="runs past the end of the RAM"),
                Flasher(target, RunOptions(), lambda _: None) as flasher,
            ):
                flasher.write(jobs)
        finally:
            target.close()
        assert board.machine.read_memory(SRAM1, 5) == before


def test_both_are_written_and_all_is_given_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After a reset, too, --after restore puts RAM and registers back."""
    (tmp_path / "first.bin").write_bytes(b"first")
    (tmp_path / "second.bin").write_bytes(b"second")
    with running_board() as board:
        ram = random.Random(9).randbytes(0x80000)
        board.machine.write_memory(AXI_SRAM, ram)
        outcome = CommandLine(capsys)(
            *("write", f"{tmp_path / 'first.bin'}@{SRAM1:#x}", f"{tmp_path / 'second.bin'}@{FLASH:#x}"),
            *("-l", build("sram"), "-l", LOADER, "--connect", board.endpoint),
            *("--before", "reset", "--after", "restore"),
        )
        assert outcome.code == 0, outcome.shown
        assert board.machine.read_memory(SRAM1, 5) == b"first"
        assert bytes(board.chip.memory[:6]) == b"second"
        assert board.machine.halted is not None
        assert board.machine.read_register("lr") == 0xFFFFFFFF
        assert board.machine.read_memory(AXI_SRAM, len(ram)) == ram
