"""Decide everything that can be decided without a target.

What belongs here: pure functions from values to frozen values. A `StorageJob` is made offline from loader and image,
erase and transfer steps from it once the RAM is known (`onchip.layout`). Nothing here does I/O, so tests compare plans
whole.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gdbflash.errors import PlanError
from gdbflash.loaders.loader import ExternalLoader, need
from gdbflash.plan import chip_erase
from gdbflash.plan.places import INTERNAL, did_you_mean
from gdbflash.ranges import Range, without

if TYPE_CHECKING:
    from gdbflash.images.content import Content


class EraseMode(enum.Enum):
    """What is erased before programming."""

    SECTORS = "sectors"
    CHIP = "chip"
    NONE = "none"


@dataclass(frozen=True)
class StorageJob:
    """What is to be written to one storage, and what that does to its sectors."""

    loader: ExternalLoader
    content: Content
    erase: EraseMode
    sectors: tuple[Range, ...]
    keep: tuple[Range, ...]
    """Bytes of the sectors that are not in content and must outlive the erase."""
    keeping: bool = True
    """Whether bytes beside content are worth keeping; keep is empty also where there are none."""
    or_chip: bool = False
    """Sectors were not asked for, and erasing all of the storage would lose nothing that is to be kept."""


def check_apart(loaders: Sequence[ExternalLoader]) -> None:
    """Raise PlanError where storages overlap: which loader is meant cannot be told then."""
    ordered = sorted(loaders, key=lambda loader: loader.storage.address)
    for low, high in itertools.pairwise(ordered):
        if low.storage.end > high.storage.address:
            raise PlanError(
                f"The storages of {low.path} and {high.path} overlap at 0x{high.storage.address:08X}. "
                "Give one loader per memory.",
                address=high.storage.address,
            )


def plan_write(
    loaders: Sequence[ExternalLoader], content: Content, *, erase: EraseMode | None = None, keep: bool = True
) -> tuple[StorageJob, ...]:
    """Give each byte to the loader whose storage holds it and work out the sectors.

    erase None means: sectors for flash, none for RAM-type storage and EEPROMs. Raises PlanError when bytes lie outside
    every storage or run past the end of one, when storages overlap, when a loader lacks a needed function, and
    when a chip erase would lose bytes that are to be kept.
    """
    return tuple(
        plan_storage(loader, mine, erase=erase, keep=keep) for loader, mine in _shared_out(loaders, content, "write")
    )


def plan_verify(loaders: Sequence[ExternalLoader], content: Content) -> tuple[StorageJob, ...]:
    """Give each byte to the loader whose storage holds it, to be compared; raises PlanError as `plan_write`."""
    shared = _shared_out(loaders, content, "compare")
    return tuple(StorageJob(loader, mine, EraseMode.NONE, (), ()) for loader, mine in shared)


def _shared_out(
    loaders: Sequence[ExternalLoader], content: Content, what_for: str
) -> Iterator[tuple[ExternalLoader, Content]]:
    if not content.pieces:
        raise PlanError(f"There is nothing to {what_for}: the image is empty.")
    check_apart(loaders)
    outside = without(content.ranges, (each.storage.span for each in loaders))
    if outside:
        holder(loaders, next(each for each in content.ranges if outside[0].address in each))
    for loader in sorted(loaders, key=lambda each: each.storage.address):
        mine = content.within((loader.storage.span,))
        if mine.pieces:
            yield loader, mine


def holder(loaders: Sequence[ExternalLoader], where: Range) -> ExternalLoader:
    """Find the loader whose storage holds a whole range; raises PlanError."""
    for loader in loaders:
        if where.address in loader.storage.span:
            check_inside(loader, where)
            return loader
    raise _outside(sorted(loaders, key=lambda each: each.storage.address), where)


def _outside(loaders: Sequence[ExternalLoader], where: Range) -> PlanError:
    places = ", ".join(f"{each.storage.name} {each.storage.span}" for each in loaders)
    meant = did_you_mean(where.address, [each.storage.span for each in loaders])
    whole = where.address in INTERNAL or where.address >> 29 == 1
    advice = (
        "`gdbflash load` programs the whole file, and write --only-external the rest of it."
        if whole and not meant
        else "Give an address in it, or the loader (-l) of the memory meant."
    )
    return PlanError(
        f"{where} lies outside the storage of the loader given: {places}{meant}. {advice}",
        address=where.address,
        size=where.size,
    )


def check_inside(loader: ExternalLoader, where: Range) -> None:
    """Raise PlanError unless the range lies in the loader's storage."""
    span = loader.storage.span
    if where.address not in span:
        raise _outside((loader,), where)
    if where.end > span.end:
        raise PlanError(
            f"{where} runs {where.end - span.end} bytes past the end of {loader.storage.name}, "
            f"which is {span} ({span.size} bytes). Use a shorter range or another address.",
            address=where.address,
            size=where.size,
            storage_end=span.end,
        )


def plan_storage(
    loader: ExternalLoader, content: Content, *, erase: EraseMode | None = None, keep: bool = True
) -> StorageJob:
    """Work out the sectors that content touches and the bytes in them to keep; raises PlanError as `plan_write`."""
    if loader.storage.is_ram:
        if erase not in (None, EraseMode.NONE):
            raise PlanError(f"{loader.storage.name} is RAM and is not erased. Leave --erase out, or say --erase none.")
        return StorageJob(loader, content, EraseMode.NONE, (), ())
    need(loader, "Write")
    mode = erase or (EraseMode.NONE if loader.storage.write_erases else EraseMode.SECTORS)
    if mode is EraseMode.NONE:
        return StorageJob(loader, content, mode, (), ())
    if mode is EraseMode.CHIP:
        need(loader, "MassErase")
        rest = without((loader.storage.span,), content.ranges)
        if rest and keep:
            raise PlanError(
                f"A chip erase would lose what lies outside the image, {rest[0]} first. "
                "Add --no-keep to accept that, or use --erase sectors.",
                address=rest[0].address,
                size=rest[0].size,
            )
        return StorageJob(loader, content, mode, loader.storage.all_sectors, (), keep)
    need(loader, "SectorErase")
    sectors = touched_sectors(loader, content.ranges)
    gaps = without(sectors, content.ranges)
    stays = without((loader.storage.span,), content.ranges) if keep else ()
    or_chip = erase is None and chip_erase.is_allowed(loader.functions, stays)
    return StorageJob(loader, content, mode, sectors, gaps if keep else (), keep, or_chip)


def touched_sectors(loader: ExternalLoader, places: Iterable[Range]) -> tuple[Range, ...]:
    """List the sectors that the places lie in, each once; places are sorted and inside the storage."""
    found: list[Range] = []
    for place in places:
        fresh = loader.storage.sectors_in(place.address, place.size)
        if found and fresh and fresh[0].address == found[-1].address:
            fresh = fresh[1:]
        found += fresh
    return tuple(found)


def plan_erase(loader: ExternalLoader, where: Range) -> tuple[Range, ...]:
    """List the sectors of a range that is to be erased; raises PlanError unless it is whole sectors."""
    _refuse_ram(loader)
    need(loader, "SectorErase")
    check_inside(loader, where)
    sectors = loader.storage.sectors_in(where.address, where.size)
    whole = Range(sectors[0].address, sectors[-1].end - sectors[0].address)
    if whole != where:
        raise PlanError(
            f"{where} is not whole sectors. The sectors it lies in are 0x{whole.address:08X} 0x{whole.size:X}.",
            address=where.address,
            size=where.size,
            whole_address=whole.address,
            whole_size=whole.size,
        )
    return sectors


def plan_chip_erase(loader: ExternalLoader) -> tuple[Range, ...]:
    """List all sectors, which MassErase is to erase; raises PlanError where it cannot."""
    _refuse_ram(loader)
    need(loader, "MassErase")
    return loader.storage.all_sectors


def _refuse_ram(loader: ExternalLoader) -> None:
    if loader.storage.is_ram:
        raise PlanError(f"{loader.storage.name} is RAM: there is nothing to erase. Write to it instead.")


@dataclass(frozen=True)
class EraseStep:
    """One SectorErase call: start addresses of the first and last sector, both erased."""

    first: int
    last: int
    sectors: int
    size: int


def erase_steps(sectors: Iterable[Range], limit: int) -> tuple[EraseStep, ...]:
    """Group neighbouring sectors of one size into calls of at most limit bytes, or of one sector.

    Sizes are not mixed in a call: loaders loop by the size of the sector at hand, and few were ever tried across
    a border.
    """
    steps: list[EraseStep] = []
    for sector in sectors:
        if steps:
            call = steps[-1]
            neighbours = call.first + call.size == sector.address and call.size == call.sectors * sector.size
            if neighbours and call.size + sector.size <= limit:
                steps[-1] = EraseStep(call.first, sector.address, call.sectors + 1, call.size + sector.size)
                continue
        steps.append(EraseStep(sector.address, sector.address, 1, sector.size))
    return tuple(steps)
