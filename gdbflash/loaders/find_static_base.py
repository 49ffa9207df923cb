"""Decide what r9 is to be in calls, by what a loader's file tells.

What belongs here: the decision by attributes, sections and code.

Sources: Procedure Call Standard for the Arm Architecture (IHI 0042), 6.1.1 and 8 (r9 as SB); Addenda to, and Errata in,
the ABI for the Arm Architecture (IHI 0045), 3.3.7 (Tag_ABI_PCS_R9_use, Tag_ABI_PCS_RW_data).
"""

from __future__ import annotations

from dataclasses import dataclass

from gdbflash.loaders.disassembly import NoDisassembler, uses_of_r9
from gdbflash.loaders.static_base import SCRATCH, StaticBase
from gdbflash.ranges import Range


@dataclass(frozen=True)
class Code:
    """What of a loader's image the decision looks at."""

    image: tuple[tuple[int, bytes], ...]
    """Stretches with their addresses."""
    code: tuple[Range, ...]
    """What of it is instructions, as far as is known."""
    functions: frozenset[int]
    """Where functions begin, as far as symbols tell."""
    data: Range | None
    """The section of writable data, with its zeros."""
    armlink: bool
    """Whether the sections are named as in the vendor's projects for Arm's linker."""
    iar: bool
    attribute: bool
    """Whether the build attributes say that r9 is the static base."""


def decide(code: Code) -> StaticBase:
    """Decide by what the file tells; where capstone is missing, by attributes and sections alone."""
    if code.armlink and code.data:
        return _data(code.data, "the section of writable data, as Arm's linker lays it out")
    try:
        uses = uses_of_r9(code.image, code.code, code.functions)
    except NoDisassembler:
        return _by_attributes(code)
    if not uses.any:
        return StaticBase()
    if uses.absolute and uses.largest < 0:
        return StaticBase(0, 0, "its code adds r9 to absolute addresses")
    if code.data and code.attribute and not uses.absolute and uses.largest < code.data.size:
        return _data(code.data, "its attributes say that r9 is the static base")
    if uses.unknown or uses.absolute:
        place = uses.unknown[0] if uses.unknown else 0
        where = f" at 0x{place:08X}" if place else ""
        return StaticBase(unknown=f"uses r9 as a static base{where}, and how far it reaches cannot be told")
    return StaticBase(
        None, uses.largest + SCRATCH, f"its code reaches 0x{uses.largest:X} bytes behind r9, and no data lies there"
    )


def _by_attributes(code: Code) -> StaticBase:
    if not code.attribute:
        # Where IAR's tools use it at all, they were only seen to add it to absolute addresses.
        return StaticBase(0, 0, "it is 0 for IAR's tools, as far as sections tell") if code.iar else StaticBase()
    if code.data and not code.iar:
        return _data(code.data, "its attributes say that r9 is the static base")
    return StaticBase(unknown="says by its attributes that r9 is the static base, and its sections do not tell where")


def _data(data: Range, why: str) -> StaticBase:
    return StaticBase(data.address, 0, why)
