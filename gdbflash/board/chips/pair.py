"""Two serial NOR chips side by side, as QUADSPI drives them in dual-flash mode."""

from __future__ import annotations

from pathlib import Path

from gdbflash.board.chips.facts import FAST, W25Q128JV, Chip, Timing
from gdbflash.board.chips.nor import NorArray
from gdbflash.board.chips.nor_core import Clock
from gdbflash.board.chips.w25q import W25Q


class FlashPair:
    """Two chips of one kind, each on four data lines of its own.

    Bytes at even addresses lie in the first, those at odd addresses in the second (RM0433 revision 7, 23.3.4). Each
    chip has its own registers, counters and faults. path: the file behind both, in the order in which the MCU sees
    the bytes; the rest is as in W25Q.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        chip: Chip = W25Q128JV,
        path: Path | None = None,
        timing: Timing = FAST,
        quad_enable: bool = False,
    ) -> None:
        self._whole = NorArray(2 * chip.size, path)
        self.memory = self._whole.memory
        """Both arrays as the MCU sees them, writable and contiguous."""
        self.first, self.second = (
            W25Q(
                clock,
                chip=chip,
                array=NorArray(chip.size, memory=self.memory[parity::2]),
                timing=timing,
                quad_enable=quad_enable,
            )
            for parity in range(2)
        )

    def close(self) -> None:
        """Take the power away: what operations have done by now is in the arrays, and those in the file."""
        self.first.close()
        self.second.close()
        self._whole.close()
