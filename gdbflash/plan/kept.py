"""Decide whether bytes that an interrupted run kept belong to what a sector holds now.

What belongs here: the comparison of a sector with what runs meant it to become. Pure: no file, no target.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from gdbflash.images.content import Content
from gdbflash.ranges import Range


class Belongs(enum.Enum):
    """What becomes of kept bytes of a sector."""

    THERE = "the chip holds them"
    CERTAIN = "nothing but an interrupted run has been there since: they go back"
    UNCLEAR = "the chip holds something else"


def can_become(found: bytes, meant: bytes, erased_value: int) -> bool:
    """Say whether programming alone, without an erase, turns what was found into what was meant."""
    erased = int.from_bytes(bytes([erased_value]) * len(found), "little")
    now, then = int.from_bytes(found, "little"), int.from_bytes(meant, "little")
    return len(found) == len(meant) and (now ^ erased) & ~(then ^ erased) == 0


def belongs(
    found: bytes, where: Range, kept: Content, meant: Iterable[bytes], *, erased_value: int, begun: bool
) -> Belongs:
    """Compare what a sector holds with what was kept of it and with what each interrupted run meant it to become.

    begun: its erase was begun by a run of the same unit and loader, and nothing speaks against that.
    """
    if all(found[at - where.address : at - where.address + len(data)] == bytes(data) for at, data in kept.pieces):
        return Belongs.THERE
    if begun and any(can_become(found, each, erased_value) for each in meant):
        return Belongs.CERTAIN
    return Belongs.UNCLEAR
