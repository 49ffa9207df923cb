"""What a server's memory map says of internal flash, in the words of GDB's `info mem`.

What belongs here: reading that table.
"""

from __future__ import annotations

import re

from gdbflash.ranges import Range
from gdbflash.target import FlashRegion

_REGION = re.compile(r"^\d+\s+y\s+(0x[0-9a-f]+) (0x[0-9a-f]+) flash blocksize (0x[0-9a-f]+)", re.MULTILINE)


def flash_regions_in(text: str) -> tuple[FlashRegion, ...]:
    """List the enabled regions of flash in what `info mem` prints."""
    return tuple(
        FlashRegion(Range(int(low, 16), int(high, 16) - int(low, 16)), int(block, 16))
        for low, high, block in _REGION.findall(text)
    )
