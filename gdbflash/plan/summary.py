"""Say what a plan is going to do, to people and to programs.

What belongs here: the `Planned` event of a write.
"""

from __future__ import annotations

from collections.abc import Sequence

from gdbflash.errors import JsonValue
from gdbflash.events import Planned, bytes_in_words, counted
from gdbflash.plan.jobs import StorageJob


def planned(jobs: Sequence[StorageJob]) -> Planned:
    """Describe jobs: what goes where, what is erased for it and what is kept."""
    lines = []
    storages: list[JsonValue] = []
    for job in jobs:
        ranges = job.content.ranges
        kept = sum(each.size for each in job.keep)
        sectors = counted(len(job.sectors), "sector")
        if job.or_chip and len(job.sectors) < job.loader.storage.sector_count:
            sectors += ", or the whole chip where that is quicker"
        lines.append(
            f"{job.loader.storage.name}: {bytes_in_words(job.content.size)} at "
            f"{', '.join(map(str, ranges[:4]))}{' ...' if len(ranges) > 4 else ''}, erase {job.erase.value}"
            f"{f' ({sectors})' if job.sectors else ''}"
            f"{f', keep {bytes_in_words(kept)} beside it' if kept else ''}"
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
