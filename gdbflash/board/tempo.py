"""How fast the board's surroundings are: link, flash chip, and one scale that stretches all of it.

What belongs here: real figures in, the settings of clock, chip and links out. Emulated code takes the time that the
host needs for it; the larger the scale, the smaller its part in a measurement, and ratios are those of real hardware
whose core takes no time.
"""

from __future__ import annotations

from dataclasses import dataclass

from gdbflash.board.chips.facts import DATA_SHEET, FAST, Timing
from gdbflash.board.clock import Clock
from gdbflash.board.faces.rsplink import LinkConditions
from gdbflash.board.faces.stlinktcp import StlinkLink


@dataclass(frozen=True)
class Tempo:
    """Real figures; the host takes `scale` times as long."""

    link_kib_s: float | None = None
    """Rate of the link, both directions together; None: as fast as it goes."""
    link_latency_us: float = 0.0
    """What each packet (of an ST-LINK: each command) takes beside its bytes."""
    data_sheet: bool = False
    """Erase and program times out of the chip's data sheet; else none that count."""
    scale: float = 1.0

    def clock(self) -> Clock:
        """Make the board's clock."""
        return Clock(1 / self.scale)

    @property
    def chip(self) -> Timing:
        """The flash chip's times; they are in board time, which the clock stretches."""
        return DATA_SHEET if self.data_sheet else FAST

    def rsp_link(self) -> LinkConditions:
        """Make the link of a GDB server: its bytes are those of the remote serial protocol."""
        return LinkConditions(latency_us=self.link_latency_us * self.scale, kib_per_s=self._kib_s)

    def stlink_link(self) -> StlinkLink:
        """Make the link of an ST-LINK: its bytes are the data of memory transfers."""
        return StlinkLink(latency_us=self.link_latency_us * self.scale, kib_per_s=self._kib_s)

    @property
    def _kib_s(self) -> float | None:
        return None if self.link_kib_s is None else self.link_kib_s / self.scale
