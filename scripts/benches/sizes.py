"""What a command costs beside its target: start, memory, and storages of many sectors."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.boards import LOADER, running_board

from .figures import Figures, medians
from .transfers import MIB


def peak_of(*words: str) -> float:
    """Run gdbflash in a process of its own; gives its peak memory in MiB."""
    child = subprocess.Popen([sys.executable, "-m", "gdbflash", "-q", *words])
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"gdbflash {' '.join(words)} ended with exit code {child.returncode}")
    # ru_maxrss counts KiB on Linux, bytes on macOS (getrusage(2)).
    return usage.ru_maxrss / (1024 if sys.platform != "darwin" else MIB)


def measure(figures: Figures) -> None:
    """Measure start and memory."""
    figures.section("gdbflash itself")
    command = [sys.executable, "-m", "gdbflash", "info", str(LOADER)]
    (info,) = medians(7, lambda: subprocess.run(command, check=True, capture_output=True))
    figures.add("gdbflash info", info, " s", 0.3)
    with running_board() as board, tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "image.bin")
        image.write_bytes(random.Random(5).randbytes(16 * MIB))
        os.environ["GDBFLASH_STATE"] = folder
        peak = peak_of("write", f"{image}@0x90000000", "--connect", board.endpoint, "-l", str(LOADER))
    figures.add("peak memory of writing 16 MiB", peak, " MiB", 150)
