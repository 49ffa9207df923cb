"""A whole program: which part of it goes into external memory, internal flash and RAM.

What belongs here: pure functions from content and memory map to parts. A part that no tool should write is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gdbflash.errors import PlanError
from gdbflash.images.content import Content
from gdbflash.plan.places import INTERNAL, RAM, SYSTEM, did_you_mean
from gdbflash.ranges import Range, joined, without
from gdbflash.target import FlashRegion


@dataclass(frozen=True)
class Program:
    """The parts of a program by the way that they go."""

    name: str
    entry: int | None
    external: Content
    flash: Content
    ram: Content


def split_program(
    content: Content, entry: int | None, storages: Sequence[Range], flash: Sequence[Range], *, server: str = ""
) -> Program:
    """Say which part of content goes where; storages are the loaders', flash what the server calls flash.

    Raises PlanError for parts in system memory, and in internal flash that this server does not program.
    """
    external = joined(storages)
    rest = content.within(without(content.ranges, external))
    system = [each for each in rest.ranges if any(each.overlaps(other) for other in SYSTEM)]
    if system:
        raise PlanError(
            f"{system[0]} is system memory, OTP or option bytes, which is not programmed. Leave that part out of the "
            "image, or set option bytes with the vendor's tool.",
            address=system[0].address,
            size=system[0].size,
        )
    elsewhere = without(rest.ranges, (INTERNAL, *RAM))
    if elsewhere:
        raise PlanError(
            f"{elsewhere[0]} is external memory, and no loader is given for it. Name the .stldr of that memory with "
            "-l FILE.",
            address=elsewhere[0].address,
            size=elsewhere[0].size,
        )
    internal = without(joined(flash), external)
    unprogrammed = without([each for each in rest.ranges if each.address in INTERNAL], internal)
    if unprogrammed and server:
        raise PlanError(
            f"{unprogrammed[0]} is internal flash, and the {server} server tells of none there that it programs"
            f"{did_you_mean(unprogrammed[0].address, external)}. Use a server that does (OpenOCD, ST-LINK, "
            "pyOCD), or give the loader of the internal flash with -l.",
            address=unprogrammed[0].address,
            size=unprogrammed[0].size,
        )
    return Program(
        content.source,
        entry,
        content.within(external),
        rest.within(internal),
        rest.within(without(rest.ranges, internal)),
    )


def external_parts(content: Content, storages: Sequence[Range], flash: Sequence[Range]) -> tuple[Range, ...]:
    """List the parts in external memory, and in the loaders' storages, but those in what the server calls flash."""
    rest = without(content.ranges, joined((*flash, *storages)))
    outside = without(rest, joined((INTERNAL, *RAM, *SYSTEM)))
    return joined((*content.within(without(joined(storages), joined(flash))).ranges, *outside))


def blocks_of(content: Content, regions: Sequence[FlashRegion]) -> tuple[Range, ...]:
    """List the blocks of internal flash that content touches, each once."""
    found: dict[Range, None] = {}
    for each in content.ranges:
        for region in regions:
            if region.where.overlaps(each):
                start = region.where.address
                first = max(0, each.address - start) // region.block
                last = (min(each.end, region.where.end) - 1 - start) // region.block
                for number in range(first, last + 1):
                    found[Range(start + number * region.block, region.block)] = None
    return tuple(sorted(found))
