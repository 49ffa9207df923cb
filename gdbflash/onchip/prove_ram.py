"""How much RAM there is, by words that are written and read.

What belongs here: the proof. What is known of devices is in `devices`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gdbflash.errors import TargetError
from gdbflash.onchip.layout import PAINT, WORD
from gdbflash.ranges import Range
from gdbflash.target import Target

Save = Callable[[Sequence[Range]], None]
"""Told which RAM is about to be used, before it is."""

_KIB = (2, 4, 6, 8, 10, 12, 16, 20, 22, 24, 32, 36, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512)
SIZES = tuple(each * 1024 for each in _KIB)
"""Bytes of RAM that STM32 devices have in one stretch, up to where more would gain nothing."""


def is_memory(target: Target, address: int, save: Save | None = None) -> bool:
    """Tell whether the word at address holds what is written to it."""
    try:
        if save is not None:
            save((Range(address, WORD),))
        for pattern in (PAINT, bytes(255 - byte for byte in PAINT)):
            target.write_memory(address, pattern)
            if target.read_memory(address, WORD) != pattern:
                return False
    except TargetError:
        return False
    return True


def grown(target: Target, start: int, save: Save | None = None) -> int:
    """Find out how many bytes of RAM there are from start on, 0 where there are none.

    The RAM is as large as the last of SIZES whose last word holds what is written there, while the last words of all
    smaller sizes keep what they hold: memory that is seen again at higher addresses is none.
    """
    size = 0
    marks: list[tuple[int, bytes]] = []
    for number, following in enumerate(SIZES):
        address = start + following - WORD
        if not is_memory(target, address, save):
            break
        mark = bytes([number + 1]) + PAINT[1:]
        target.write_memory(address, mark)
        if any(target.read_memory(place, WORD) != held for place, held in marks):
            break
        marks.append((address, mark))
        size = following
    return size
