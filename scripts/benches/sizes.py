"""What a command costs beside its target: start, memory, and storages of many sectors."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from gdbflash.images.content import Content
from gdbflash.plan.delta import State, remaining, units_of
from gdbflash.plan.jobs import plan_storage
from tests.support.boards import LOADER, running_board
from tests.support.largeboard import BASE, SECTOR, large_board
from tests.support.peak import run_small
from tests.support.values import make_loader

from .figures import Figures, medians, timed
from .transfers import MIB

SECTORS = 65536


def peak_of(*words: str) -> float:
    """Run gdbflash in a process of its own; gives its peak memory in MiB."""
    code, _, peak = run_small([sys.executable, "-m", "gdbflash", "-q", *words])
    if code:
        raise SystemExit(f"gdbflash {' '.join(words)} ended with exit code {code}")
    return peak


def plan_many() -> None:
    """Plan an image of 256 MiB in 65,536 sectors."""
    loader = make_loader(groups=((SECTORS, SECTOR),))
    data = Content(((loader.storage.address, memoryview(bytes(SECTORS * SECTOR))),))
    job = plan_storage(loader, data)
    units = units_of(job, 64 * 1024)
    delta = remaining(job, units, dict.fromkeys((unit.where for unit in units), State(False, False)))
    if len(delta.erase) != SECTORS:
        raise SystemExit(f"{len(delta.erase)} sectors were planned")


def measure_large(figures: Figures, size: int) -> float:
    """Verify and read a large storage; gives the seconds of both."""
    with tempfile.TemporaryDirectory() as folder, large_board(size, Path(folder)) as board:
        verified = read = 0.0

        def verify() -> None:
            nonlocal verified
            verified = board.run("-q", "verify", f"{board.image}@{BASE:#x}").peak_mib

        def read_all() -> None:
            nonlocal read
            read = board.run("-q", "read", hex(BASE), "all", "-o", str(Path(folder, "out.bin"))).peak_mib

        seconds = timed(verify) + timed(read_all)
    figures.add(f"peak memory of verifying and reading {size // MIB} MiB", max(verified, read), " MiB", 200)
    return seconds


def measure(figures: Figures, *, full: bool) -> None:
    """Measure start, planning and memory."""
    figures.section("gdbflash itself")
    command = [sys.executable, "-m", "gdbflash", "info", str(LOADER)]
    (info,) = medians(7, lambda: subprocess.run(command, check=True, capture_output=True))
    figures.add("gdbflash info", info, " s", 0.3)
    (planning,) = medians(3, plan_many)
    figures.add("planning 65,536 sectors", planning, " s", 0.5)
    with running_board() as board, tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "image.bin")
        image.write_bytes(random.Random(5).randbytes(16 * MIB))
        os.environ["GDBFLASH_STATE"] = folder
        peak = peak_of("write", f"{image}@0x90000000", "--connect", board.endpoint, "-l", str(LOADER))
    figures.add("peak memory of writing 16 MiB", peak, " MiB", 150)
    small, large = (32, 256) if full else (16, 64)
    first = measure_large(figures, small * MIB)
    ratio = measure_large(figures, large * MIB) / first
    figures.add(f"time of {large} MiB / {large // small} times that of {small} MiB", ratio / (large // small), "x", 1.2)
