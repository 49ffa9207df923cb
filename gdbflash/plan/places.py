"""Where STM32 devices have what, and which storage an address outside of all may have been meant for.

What belongs here: the memory map that all devices share, as data, and what is said of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from gdbflash.ranges import Range

INTERNAL = Range(0x08000000, 0x08000000)
"""Where STM32 devices have flash, whatever a server's memory map says (of every reference manual: memory map)."""
RAM = (Range(0, 0x200000), Range(0x10000000, 0x0FF00000), Range(0x20000000, 0x20000000))
"""Where STM32 devices have RAM: ITCM, CCM and SRAM2, the SRAM region (Armv7-M ARM, B3.1)."""
SYSTEM = (
    Range(0x08FFF000, 0x1000),  # H5, H7A3: system and OTP area
    Range(0x0BF80000, 0x80000),  # L5, U5, WBA: system memory, OTP, option bytes
    Range(0x0FF00000, 0x100000),  # the same, seen by the secure side
    Range(0x1FF00000, 0x100000),  # all others: system memory, OTP, option bytes
)


def did_you_mean(address: int, storages: Sequence[Range]) -> str:
    """Ask whether an address with a digit too few was meant for one of the storages; empty where none is near."""
    meant = next((each for each in (address << 4, address << 8) if any(each in one for one in storages)), None)
    return f" (did you mean 0x{meant:08X}?)" if meant is not None else ""
