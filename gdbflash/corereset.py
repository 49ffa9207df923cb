"""Reset a core through any server, and see that it is halted.

What belongs here: the order of attempts that a `ServerProfile` describes, for every kind of debugger. How a debugger
takes a command or forgets what it cached is behind `ResetAccess`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import Protocol

from .errors import CommandRefused, MemoryAccessError, PrepareError
from .profiles import ServerProfile

# Armv7-M Architecture Reference Manual (DDI 0403E), C1.6.2, C1.6.5 and B3.2.6; the same in Armv6-M and Armv8-M.
AIRCR = 0xE000ED0C
AIRCR_SYSRESETREQ = 0x05FA0004
DHCSR = 0xE000EDF0
DHCSR_C_DEBUGEN = 1 << 0
DHCSR_S_HALT = 1 << 17
DEMCR = 0xE000EDFC
DEMCR_VC_CORERESET = 1 << 0
RESET_WAIT = 1.0
"""Seconds for a core to come back from SYSRESETREQ; the longest of the STM32 lines takes a few milliseconds."""


class ResetAccess(Protocol):
    """What a reset needs of a debugger."""

    def read_memory(self, address: int, size: int) -> bytes:
        """As `Target.read_memory`."""

    def write_memory(self, address: int, data: bytes) -> None:
        """As `Target.write_memory`."""

    def read_registers(self, names: Iterable[str]) -> dict[str, int]:
        """As `Target.read_registers`."""

    def take(self, step: str) -> object:
        """Run one command as a user would type it; raises CommandRefused, ConnectionLost."""

    def forget_registers(self) -> None:
        """Forget cached registers: something changed them behind the debugger's back."""


def reset_and_halt(access: ResetAccess, profile: ServerProfile) -> None:
    """Reset the MCU and leave it halted before its first instruction; raises PrepareError, ConnectionLost."""
    try:
        for step in profile.reset_halt:
            access.take(step)
        if profile.reset_halt and core_runs(access):
            for step in profile.halt:
                with contextlib.suppress(CommandRefused):
                    access.take(step)
        if not profile.reset_halt or core_runs(access):
            _reset_by_core(access)
        running = core_runs(access)
    except (CommandRefused, MemoryAccessError) as error:
        raise PrepareError(
            f"The target could not be reset and halted through the {profile.title}: {error.message} "
            "Check the reset wiring, or connect under reset.",
            server=profile.name,
        ) from error
    if running:
        raise PrepareError(
            f"The core still runs after a reset through the {profile.title}; "
            "connect under reset, or halt it and use --before none.",
            server=profile.name,
        )


def core_runs(access: ResetAccess) -> bool:
    """Say whether the core runs although the debugger believes it halted."""
    access.forget_registers()
    with contextlib.suppress(MemoryAccessError):
        dhcsr = int.from_bytes(access.read_memory(DHCSR, 4), "little")
        if dhcsr & DHCSR_C_DEBUGEN:
            return not dhcsr & DHCSR_S_HALT
    # No debug registers to be seen (QEMU): a halted core's PC stays.
    before = access.read_registers(["pc"])
    access.forget_registers()
    return access.read_registers(["pc"]) != before


def _reset_by_core(access: ResetAccess) -> None:
    """Reset by the core's own registers, caught at the reset vector; needs nothing but memory access."""
    demcr = int.from_bytes(access.read_memory(DEMCR, 4), "little")
    access.write_memory(DEMCR, (demcr | DEMCR_VC_CORERESET).to_bytes(4, "little"))
    with contextlib.suppress(MemoryAccessError):  # the access may be cut off by the reset it causes
        access.write_memory(AIRCR, AIRCR_SYSRESETREQ.to_bytes(4, "little"))
    deadline = time.monotonic() + RESET_WAIT
    while core_runs(access) and time.monotonic() < deadline:
        time.sleep(0.01)
    access.write_memory(DEMCR, (demcr & ~DEMCR_VC_CORERESET).to_bytes(4, "little"))
