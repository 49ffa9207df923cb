"""Loaders that behave as those of other people do, each with the board that it is for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gdbflash.board.chips.pair import FlashPair
from gdbflash.board.clock import Clock
from gdbflash.board.faces.personality import BOARD, Personality
from gdbflash.board.faces.rsp import RspServer
from gdbflash.board.machine import Machine
from tests.support.boards import running_board
from tests.support.cbuild import build


@dataclass(frozen=True)
class Kind:
    """How a loader of one kind is built."""

    source: str
    defines: tuple[str, ...] = ()
    compiler: Literal["zig", "gcc", "zig-rwpi", "zig-rwpi-gnu"] = "zig"
    dual: bool = False
    """Whether it is for two chips in dual-flash mode."""

    @property
    def loader(self) -> Path:
        return build(self.source, *self.defines, compiler=self.compiler)


KINDS = {
    "dual-flash": Kind("dual_qspi", dual=True),
    "strays": Kind("habits", ("STRAYS",)),
    "armlink-rwpi": Kind("armlink", compiler="zig-rwpi"),
    "iar-rwpi": Kind("iar", compiler="zig-rwpi-gnu"),
    "own-tick": Kind("habits", ("INIT_DELAYS=5",)),
    "whole-pages": Kind("habits", ("WHOLE_PAGES_ONLY",)),
    "page-starts": Kind("habits", ("PAGE_STARTS_ONLY",)),
    "empty-erase": Kind("habits", ("WRITE_ERASES",)),
    "empty-erase-4k": Kind("habits", ("WRITE_ERASES", "SECTOR=0x1000u")),
    "init-waits": Kind("habits", ("INIT_WAITS_FOR_BUSY",)),
    "overlap": Kind("overlap", compiler="gcc"),
    "nobits": Kind("nobits"),
    "info-elsewhere": Kind("info_elsewhere"),
}


@dataclass(frozen=True)
class Bench:
    """A running board."""

    machine: Machine
    server: RspServer
    memory: memoryview
    """What the MCU sees of the chip or chips."""

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.server.port}"


@contextmanager
def board_for(kind: Kind, personality: Personality = BOARD) -> Iterator[Bench]:
    """Run the board that a kind is for, blank."""
    if not kind.dual:
        with running_board(personality) as board:
            yield Bench(board.machine, board.server, board.chip.memory)
        return
    clock = Clock()
    pair = FlashPair(clock)
    try:
        with Machine(pair, clock=clock) as machine, RspServer(machine, personality=personality) as server:
            yield Bench(machine, server, machine.storage)
    finally:
        pair.close()
