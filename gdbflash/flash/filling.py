"""Fill the units of Write up: with what an erase left, or with what is there.

What belongs here: what a write programs beside what was asked for, and where that cannot be. Where the borders lie is
decided in `plan.borders`.
"""

from __future__ import annotations

from collections.abc import Sequence

from gdbflash.errors import PlanError
from gdbflash.events import Noted, Observer
from gdbflash.flash.looks import Looks
from gdbflash.images.content import Content
from gdbflash.loaders.storage import StorageType
from gdbflash.plan.borders import FILLED, blank, to_fill, units_of
from gdbflash.plan.delta import Delta
from gdbflash.plan.jobs import StorageJob, touched_sectors
from gdbflash.ranges import Range, joined, without

_NOTHING = Content(())


def filling(
    looks: Looks, job: StorageJob, delta: Delta, content: Content, places: Sequence[Range], unit: int
) -> Content:
    """Give the bytes that complete the units of places; raises PlanError where a page of NAND cannot be completed."""
    if unit == 1 or not places:
        return _NOTHING
    storage = job.loader.storage
    sectors = delta.touched or (touched_sectors(job.loader, content.ranges) if storage.sectors else (storage.span,))
    missing = without(to_fill(places, joined(sectors), unit), content.ranges)
    if delta.touched:
        return blank(missing, storage.erased_value)
    if storage.type is StorageType.NAND_FLASH:
        _expect_blank_pages(looks, units_of(missing, unit))
        return blank(missing, storage.erased_value)
    return Content.of((where.address, data) for where, data in looks.read_proven(missing))


def rewritten(job: StorageJob, completed: Content, unit: int) -> tuple[Range, ...]:
    """Give the units that Write itself erases and that hold bytes to keep."""
    return units_of(completed.ranges, unit) if job.loader.storage.write_erases else ()


def note_programmed_twice(job: StorageJob, delta: Delta, observe: Observer) -> None:
    """Say where something is programmed that was not erased before."""
    storage = job.loader.storage
    if delta.over and storage.type in FILLED and not storage.write_erases:
        observe(
            Noted(
                "programmed-twice",
                f"{delta.over[0]}{' and more' if len(delta.over) > 1 else ''} is programmed without an erase though it "
                "is not blank; some chips forbid to program a place twice.",
                {"ranges": [[each.address, each.size] for each in delta.over]},
            )
        )


def _expect_blank_pages(looks: Looks, pages: Sequence[Range]) -> None:
    for where, fingerprint in looks.fingerprints(pages).items():
        if not looks.shows_blank(where, fingerprint):
            raise PlanError(
                f"The image covers a part of the pages {where}, which are not blank, and NAND is programmed by whole "
                "pages. Use --erase sectors, or an image of whole pages.",
                address=where.address,
                size=where.size,
            )
