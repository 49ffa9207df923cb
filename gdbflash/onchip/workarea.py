"""Notice that the server ran code of its own where a loader lies.

OpenOCD computes CRCs and programs its own flash banks by code that it puts at the start of the target's work area,
without keeping what was there. Another of its clients, or an IDE, may ask for that between two of our calls.

What belongs here: which bytes tell.
"""

from __future__ import annotations

from collections.abc import Iterable

from gdbflash.ranges import Range, joined

LEAST, MOST = 8, 32
"""Bytes that are looked at: one short packet, and enough that no two programs hold the same there."""


def watched(area: range | None, constant: Iterable[Range]) -> Range | None:
    """Choose the bytes that code in the work area overwrites first, out of those that no call changes.

    None where the area holds none of them: the server leaves the loader alone then.
    """
    if area is None:
        return None
    for each in joined(constant):
        start, end = max(each.address, area.start), min(each.end, area.stop)
        if end - start >= LEAST:
            return Range(start, min(end - start, MOST))
    return None
