"""A virtual board for tests, whose flash chip can be looked into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gdbflash.board.chips.w25q import W25Q
from gdbflash.board.faces.personality import BOARD, Personality
from gdbflash.board.faces.rsp import RspServer
from gdbflash.board.machine import Machine
from tests.support.gdbservers import GDBS as _NAMES
from tests.support.gdbservers import gdb_path

DATA = Path(__file__).parents[2] / "gdbflash" / "board" / "data"
LOADER = DATA / "W25Q128_H750_QSPI.stldr"
LOADER_WITHOUT_READ = DATA / "W25Q128_H750_QSPI_NOREAD.stldr"
GDBS = [gdb_path(name) for name in _NAMES]


@dataclass(frozen=True)
class RunningBoard:
    """A board that GDB can connect to."""

    machine: Machine
    chip: W25Q
    server: RspServer

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.server.port}"


@contextmanager
def running_board(personality: Personality = BOARD) -> Iterator[RunningBoard]:
    """Run a board with a blank chip."""
    with Machine() as machine, RspServer(machine, personality=personality) as server:
        yield RunningBoard(machine, machine.flash, server)
