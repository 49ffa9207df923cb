"""Load what of a program is not external, in the user's session.

What belongs here: the order in which no part breaks another, in GDB's own words. External memory comes first, since its
loaders use the RAM; then internal flash, which servers program by code of their own in RAM, at an address that they do
not tell; RAM last. GDB's own `load` does both.
"""

from __future__ import annotations

from collections.abc import Callable

import gdb

from gdbflash.errors import TargetError
from gdbflash.flash.compare import Comparison
from gdbflash.flash.internal import hex_file
from gdbflash.images.content import Content
from gdbflash.ingdb.session import run, temporary_folder
from gdbflash.plan.program import Program
from gdbflash.ranges import slices
from gdbflash.servers.memory_map import flash_regions_in
from gdbflash.target import FlashRegion, Target

_PIECE = 1 << 20
"""Bytes read back at a time."""
_OF_FLASH = "Error finishing flash operation"
"""What GDB says of an error at vFlashDone."""
_INTERRUPTED = "Canceled the download"
"""What GDB's `load` makes of Ctrl-C."""


def flash_regions() -> tuple[FlashRegion, ...]:
    """Ask GDB what the server's memory map calls flash; empty where it has no map."""
    return flash_regions_in(run("info mem"))


def load_internal(program: Program, say: Callable[[str], None]) -> None:
    """Have GDB load what is not external; PC is the program's entry afterwards. Raises TargetError."""
    for what, part in (("internal flash", program.flash), ("RAM", program.ram)):
        if part:
            _load(program, part, what)
            for where in part.ranges:
                say(f"Loaded {where.size} bytes at 0x{where.address:08X} into {what}.\n")


def compare_internal(program: Program, target: Target) -> None:
    """Compare what GDB has loaded; raises Mismatch, MemoryAccessError."""
    comparison = Comparison()
    for part in (program.flash, program.ram):
        for where in slices(part.ranges, _PIECE):
            comparison.feed(where.address, part.read(where), target.read_memory(where.address, where.size))
    comparison.check(
        "The program is not what was loaded",
        "Check that this is the chip the program is built for.",
        find=lambda _: None,
    )


def _load(program: Program, part: Content, what: str) -> None:
    with temporary_folder() as folder:
        path = folder / "part.hex"
        path.write_text(hex_file(part, program.entry), "ascii")
        try:
            try:
                run(f"load {path}")
            except gdb.error as error:
                if _OF_FLASH not in str(error):
                    raise
                # Writes of a download that was cut off wait in the server until the next one, which fails by them.
                run(f"load {path}")
        except gdb.error as error:
            if _INTERRUPTED in str(error):
                raise KeyboardInterrupt from None
            raise TargetError(
                f"GDB could not load the part of {program.name} that goes into {what} ({error}). "
                "Check the server's messages, and that the part is meant for this chip.",
                reply=str(error),
            ) from error
