"""A board with more plain memory than any real one, and a loader for which it is flash."""

from __future__ import annotations

import json
import mmap
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gdbflash.board.faces.rsp import RspServer
from gdbflash.board.machine import Machine
from gdbflash.board.memory import Memory
from tests.support.cbuild import build
from tests.support.peak import run_small

BASE = 0xC0000000
MIB = 1 << 20
SECTOR = 4096


@dataclass(frozen=True)
class Outcome:
    """What a command said, and the most memory that it had."""

    result: dict[str, int]
    peak_mib: float


@dataclass(frozen=True)
class LargeBoard:
    """A board with a large memory, and a file with the same content."""

    server: RspServer
    memory: memoryview
    size: int
    image: Path
    loader: Path

    def run(self, *words: str) -> Outcome:
        """Run a command in a process of its own."""
        command = ["gdbflash", *words, "--json", "--connect", f"127.0.0.1:{self.server.port}", "-l", str(self.loader)]
        code, output, peak = run_small([sys.executable, "-m", *command])
        last = output.splitlines()[-1]
        assert code == 0, last
        return Outcome(json.loads(last), peak)


@contextmanager
def large_board(size: int, folder: Path) -> Iterator[LargeBoard]:
    """Fill size bytes with a pattern that repeats nowhere within a piece or from one to the next."""
    content = memoryview(mmap.mmap(-1, size))
    for start in range(0, size, MIB):
        content[start : start + MIB] = b"".join(number.to_bytes(4, "little") for number in range(start, start + MIB, 4))
    image = folder / "image.bin"
    with image.open("wb") as file:
        file.write(content)
    memory = Memory("large", BASE, size, content=content)
    loader = build("plain", f"SIZE=0x{size:X}u", f"SECTOR={SECTOR}u")
    with Machine() as machine, RspServer(machine) as server:
        machine.soc.space.add_memory(memory)
        machine.processor.core.map_memory(memory)
        yield LargeBoard(server, content, size, image, loader)
