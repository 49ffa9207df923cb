"""Whether all of a chip is erased where its sectors would do.

What belongs here: that decision, as pure functions: what may be lost, and what is quicker. What people ask for by
--erase or --chip is no question.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gdbflash.ranges import Range

SECONDS_PER_MIB = 2.5
"""Serial NOR chips of 90 nm and less: 40 s for 16 MiB (W25Q128JV data sheet revision F, 9.6, tCE typical). The same
chip's blocks of 64 KiB take 2.4 s a MiB, its sectors of 4 KiB 11.5 s."""
_MARGIN = 1.25
"""The chip must win clearly: its time is a guess, that of the sectors is measured."""


def is_allowed(functions: Collection[str], stays: Sequence[Range]) -> bool:
    """Tell whether a loader with these functions can erase all, and loses nothing; stays: what is not to be erased."""
    return "MassErase" in functions and not stays


def chip_seconds(extent: int) -> float:
    """Give about what MassErase of extent bytes takes."""
    return SECONDS_PER_MIB * extent / (1 << 20)


def is_quicker(extent: int, left: int, seconds_per_byte: float) -> bool:
    """Tell whether MassErase of extent bytes will take less time than going on with left bytes of sectors."""
    return left * seconds_per_byte > _MARGIN * chip_seconds(extent)
