"""Virtual boards as processes of their own, each with its chip in a file: what a gang of boards is tried on."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.cbuild import ROOT

REALISTIC = ("--link-kib-s", "500", "--link-latency-us", "125", "--data-sheet-times")
"""A usual probe, as in scripts/bench, and the times of the chip's data sheet."""


@dataclass(frozen=True)
class BoardProcess:
    """A board that runs."""

    endpoint: str
    image: Path
    process: subprocess.Popen[str]

    def chip(self, size: int) -> bytes:
        """Give the chip's first bytes."""
        with self.image.open("rb") as file:
            return file.read(size)


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "GDBFLASH_STATE": str(folder / "state")}


@contextlib.contextmanager
def board_processes(folder: Path, options: Sequence[Sequence[str]]) -> Iterator[list[BoardProcess]]:
    """Run a board for each list of options of `gdbflash board`, all begun at once."""
    processes = []
    try:
        for number, words in enumerate(options):
            image = folder / f"chip-{number}.bin"
            command = [sys.executable, "-m", "gdbflash", "board", "--port", "0", "--image", str(image), *words]
            process = subprocess.Popen(command, env=environment(folder), stdout=subprocess.PIPE, text=True, cwd=folder)
            processes.append((process, image))
        boards = []
        for process, image in processes:
            assert process.stdout is not None
            found = re.search(r"GDB on (127\.0\.0\.1:\d+)", process.stdout.readline())
            assert found, "the board did not start"
            boards.append(BoardProcess(found[1], image, process))
        yield boards
    finally:
        for process, _ in processes:
            process.terminate()
        for process, _ in processes:
            process.wait(20)
            assert process.stdout is not None
            process.stdout.close()
