"""Measure gdbflash: every figure is a ratio within this run, for machines differ.

Prints one table: what was measured, the figure, the limit that it has to keep, and whether it does. The exit code is 1
when one does not.
"""

from __future__ import annotations

import argparse
import sys
import time

from . import calls, polling, sizes, transfers, writes
from .figures import Figures
from .rigs import SERVERS

PARTS = ("calls", "transfers", "writes", "polling", "sizes")

SCALE = 2.0
"""Emulated code takes under a fifth of a write then, and a run its ten minutes."""


def main() -> int:
    """Run the measurements and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="write and read 16 MiB too")
    parser.add_argument("--server", action="append", choices=SERVERS, help="only this one; repeatable")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; repeatable")
    parser.add_argument(
        "--time-scale", type=float, default=SCALE, help="of the realistic writes (default: %(default)g)"
    )
    options = parser.parse_args()
    figures = Figures()
    begun = time.perf_counter()
    for part in options.part or PARTS:
        for server in options.server or SERVERS:
            if part == "calls":
                calls.measure(figures, server)
            elif part == "transfers":
                transfers.measure(figures, server, options.time_scale, full=options.full)
            elif part == "writes":
                writes.measure(figures, server, options.time_scale, full=options.full)
            elif part == "polling":
                polling.measure(figures, server)
        if part == "sizes":
            sizes.measure(figures, full=options.full)
    figures.show()
    figures.say(f"{time.perf_counter() - begun:.0f} s")
    return 1 if figures.missed else 0


if __name__ == "__main__":
    sys.exit(main())
