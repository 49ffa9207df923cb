"""Erase sectors, or the whole chip: how many one call takes.

What belongs here: the erase phase.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from gdbflash.events import Noted
from gdbflash.flash.phases import Phases
from gdbflash.onchip.loaded import LoadedLoader, Operation
from gdbflash.plan.chip_erase import chip_seconds, is_quicker
from gdbflash.plan.jobs import EraseStep, erase_steps
from gdbflash.plan.pace import Pace
from gdbflash.ranges import Range

FIRST_CALL = 64 * 1024
"""Bytes that the first call erases."""
MOST_SECTORS = 64
"""Sectors that one call may erase: the time-out of a call grows with them."""


class Erasing:
    """Erases in the storage of one open loader."""

    def __init__(self, opened: LoadedLoader, phases: Phases, begins: Callable[[Range], None]) -> None:
        """begins: told what a call is about to erase, before it does."""
        self._opened = opened
        self._phases = phases
        self._begins = begins

    def chip(self) -> tuple[Range, ...]:
        """Erase all by MassErase; returns what was erased."""
        size = self._opened.loader.storage.extent
        with self._phases.phase("erase", size) as advance:
            self._opened.begin(Operation.ERASE)
            self._erase_all()
            advance(size)
        return self._opened.loader.storage.all_sectors

    def sectors(self, sectors: Sequence[Range], *, or_chip: bool) -> tuple[Range, ...]:
        """Erase sectors, with or_chip all of the storage where that turns out to be quicker.

        Returns what was erased.
        """
        if not sectors:
            return ()
        size = sum(each.size for each in sectors)
        with self._phases.phase("erase", size) as advance:
            self._opened.begin(Operation.ERASE)
            pace = Pace(FIRST_CALL, sectors[0].size, size)
            done = erased = 0
            spent = 0.0
            while done < len(sectors):
                step = erase_steps(sectors[done : done + MOST_SECTORS], pace.limit)[0]
                self._begins(Range(step.first, step.size))
                begun = time.monotonic()
                self._opened.erase(step)
                seconds = time.monotonic() - begun
                pace.learn(step.size, seconds)
                spent += seconds
                erased += step.size
                done += step.sectors
                advance(step.size)
                if or_chip and is_quicker(self._opened.loader.storage.extent, size - erased, spent / erased):
                    self._note(size - erased, spent / erased)
                    self._erase_all()
                    advance(size - erased)
                    return self._opened.loader.storage.all_sectors
        return tuple(sectors)

    def one_call(self, where: Range, sectors: int) -> None:
        """Erase neighbouring sectors of one size by one call."""
        with self._phases.phase("erase", where.size) as advance:
            self._opened.begin(Operation.ERASE)
            self._begins(where)
            self._opened.erase(EraseStep(where.address, where.end - where.size // sectors, sectors, where.size))
            advance(where.size)

    def _erase_all(self) -> None:
        self._begins(self._opened.loader.storage.span)
        self._opened.mass_erase()

    def _note(self, left: int, seconds_per_byte: float) -> None:
        extent = self._opened.loader.storage.extent
        self._phases.observe(
            Noted(
                "chip-erase",
                f"The chip is erased as a whole: its sectors would take {left * seconds_per_byte:.0f} s more, the chip "
                f"about {chip_seconds(extent):.0f} s.",
                {"sector_seconds": round(left * seconds_per_byte, 1)},
            )
        )
