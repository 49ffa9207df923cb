"""Say what a plan is going to do, to people and to programs.

What belongs here: the `Planned` event of a write.
"""

from __future__ import annotations

from collections.abc import Sequence

from gdbflash.errors import JsonValue
from gdbflash.events import Planned, bytes_in_words, counted
from gdbflash.plan.jobs import EraseMode, StorageJob


def planned(jobs: Sequence[StorageJob], *, full: bool = False) -> Planned:
    """Describe jobs: what goes where, what is erased for it and what is kept; full: whatever is there already."""
    lines = []
    storages: list[JsonValue] = []
    for job in jobs:
        ranges = job.content.ranges
        kept = sum(each.size for each in job.keep)
        lines.append(
            f"{job.loader.storage.name}: {bytes_in_words(job.content.size)} at "
            f"{', '.join(map(str, ranges[:4]))}{' ...' if len(ranges) > 4 else ''}; {_erased(job, full=full)}"
            f"{f', keeps {bytes_in_words(kept)} beside it' if kept else ''}"
        )
        storages.append(
            {
                "storage": job.loader.storage.name,
                "loader": job.loader.path,
                "ranges": [[each.address, each.size] for each in ranges],
                "bytes": job.content.size,
                "erase": job.erase.value,
                "sectors": len(job.sectors),
                "sector_bytes": sum(each.size for each in job.sectors),
                "keep": [[each.address, each.size] for each in job.keep],
            }
        )
    return Planned("\n".join(lines), {"storages": storages})


def _erased(job: StorageJob, *, full: bool) -> str:
    """Say what a job may erase, before anything is known of what is there."""
    if job.erase is EraseMode.NONE or not job.sectors:
        return "erases nothing"
    if job.erase is EraseMode.CHIP:
        return "erases the whole chip" if full else "erases the whole chip, unless all is there"
    chip = ", or the whole chip where that is quicker" if _or_chip(job) else ""
    sectors = counted(len(job.sectors), "sector")
    if full:
        return f"erases {sectors}{chip}"
    differs = "it if it differs" if len(job.sectors) == 1 else "only those that differ"
    return f"touches {sectors}, erases {differs}{chip}"


def _or_chip(job: StorageJob) -> bool:
    return job.or_chip and len(job.sectors) < job.loader.storage.sector_count
