"""Load a program whose parts lie in internal flash, RAM and external memory.

What belongs here: which part goes which way, in an order in which none breaks another. External memory comes first,
since its loaders use the RAM; then internal flash, which servers program by code of their own in RAM, at an address
that they do not tell; RAM last. GDB's own `load` does the parts that are not external.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import gdb

from gdbflash.elf import ElfFile, is_elf
from gdbflash.errors import ImageFileError, TargetError
from gdbflash.files import read_file
from gdbflash.flash.compare import Comparison
from gdbflash.images.content import Content
from gdbflash.images.formats import LARGEST_FILE, hex_text, parse_image
from gdbflash.ingdb.session import run, temporary_folder
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.ranges import Range, joined, slices, without
from gdbflash.target import Target

_PIECE = 1 << 20
"""Bytes read back at a time."""
_END_OF_FILE = ":00000001FF"
_OF_FLASH = "Error finishing flash operation"
"""What GDB says of an error at vFlashDone."""
_INTERRUPTED = "Canceled the download"
"""What GDB's `load` makes of Ctrl-C."""


@dataclass(frozen=True)
class Program:
    """The parts of a program by the way that they go."""

    name: str
    entry: int
    external: Content
    flash: Content
    ram: Content


def split_program(path: Path, loaders: Sequence[ExternalLoader], flash: Sequence[Range]) -> Program:
    """Read an ELF file and say which part goes where; flash lists what the server calls flash.

    Raises ImageFileError.
    """
    data = read_file(path, LARGEST_FILE, ImageFileError)
    name = str(path)
    if not is_elf(data):
        raise ImageFileError(f"{name} is no ELF file. Use gdbflash write for other images.", path=name)
    image = parse_image(data, name)
    storages = joined(each.storage.span for each in loaders)
    internal = without(joined(flash), storages)
    return Program(
        name,
        ElfFile(data, name, ImageFileError).entry,
        image.within(storages),
        image.within(internal),
        image.within(without(image.ranges, (*storages, *internal))),
    )


def flash_regions() -> tuple[Range, ...]:
    """Ask GDB what the server's memory map calls flash; empty where it has no map."""
    found = re.findall(r"^\d+\s+y\s+(0x[0-9a-f]+) (0x[0-9a-f]+) flash", run("info mem"), re.MULTILINE)
    return tuple(Range(int(low, 16), int(high, 16) - int(low, 16)) for low, high in found)


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
        path.write_text(_hex_file(part, program.entry), "ascii")
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


def _hex_file(content: Content, entry: int) -> str:
    """Write content as one Intel HEX file; its start record makes GDB's `load` set PC as the ELF file would."""
    lines = [
        line
        for where in content.ranges
        for line in hex_text([(where.address, content.read(where))]).splitlines()
        if line != _END_OF_FILE
    ]
    record = bytes((4, 0, 0, 5)) + (entry & ~1).to_bytes(4, "big")
    lines += [f":{record.hex().upper()}{-sum(record) & 0xFF:02X}", _END_OF_FILE]
    return "\n".join(lines) + "\n"
