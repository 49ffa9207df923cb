"""A Cortex-M's own debug registers: is it halted, and a reset that needs nothing from the server but memory access.

Source: Armv7-M Architecture Reference Manual (DDI 0403E), B3.2.6 (AIRCR), C1.6.2 (DHCSR), C1.6.5 (DEMCR); the same
in Armv6-M and Armv8-M.
"""

from __future__ import annotations

import contextlib
import time
from typing import Protocol

from .errors import MemoryAccessError

AIRCR = 0xE000ED0C
AIRCR_SYSRESETREQ = 0x05FA0004
"""VECTKEY and SYSRESETREQ."""
DHCSR = 0xE000EDF0
DHCSR_C_DEBUGEN = 1 << 0
DHCSR_S_HALT = 1 << 17
DEMCR = 0xE000EDFC
DEMCR_VC_CORERESET = 1 << 0
"""Halt before the first instruction after a reset; counts while C_DEBUGEN is set."""

RESET_SECONDS = 1.0
"""A system reset takes milliseconds; boards that hold nRST low with a capacitor take a few hundred."""


class Memory(Protocol):
    """What of a `target.Target` is needed here."""

    def read_memory(self, address: int, size: int) -> bytes:
        """Read size bytes."""

    def write_memory(self, address: int, data: bytes) -> None:
        """Write bytes."""


def halted(memory: Memory) -> bool | None:
    """Say what DHCSR tells; None where it cannot be read or debug is not enabled there (QEMU has none)."""
    try:
        dhcsr = _read(memory, DHCSR)
    except MemoryAccessError:
        return None
    return bool(dhcsr & DHCSR_S_HALT) if dhcsr & DHCSR_C_DEBUGEN else None


def reset_and_catch(memory: Memory) -> None:
    """Reset the system and halt before the first instruction; `halted` tells the outcome. Raises MemoryAccessError."""
    demcr = _read(memory, DEMCR)
    _write(memory, DEMCR, demcr | DEMCR_VC_CORERESET)
    with contextlib.suppress(MemoryAccessError):  # the access may be cut off by the reset it causes
        _write(memory, AIRCR, AIRCR_SYSRESETREQ)
    deadline = time.monotonic() + RESET_SECONDS
    while halted(memory) is not True and time.monotonic() < deadline:
        time.sleep(0.005)
    _write(memory, DEMCR, demcr & ~DEMCR_VC_CORERESET)


def _read(memory: Memory, address: int) -> int:
    return int.from_bytes(memory.read_memory(address, 4), "little")


def _write(memory: Memory, address: int, value: int) -> None:
    memory.write_memory(address, value.to_bytes(4, "little"))
