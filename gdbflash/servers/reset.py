"""Reset a core through any server, and see that it is halted.

What belongs here: the order of attempts that a `ServerProfile` describes, for every kind of debugger. How a debugger
takes a command or forgets what it cached is behind `ResetAccess`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import Protocol

from gdbflash.errors import CommandRefused, MemoryAccessError, PrepareError
from gdbflash.servers.profiles import ServerProfile

# Armv7-M Architecture Reference Manual (DDI 0403E), C1.6.2, C1.6.5 and B3.2.6; the same in Armv6-M and Armv8-M.
AIRCR = 0xE000ED0C
AIRCR_SYSRESETREQ = 0x05FA0004
"""VECTKEY and SYSRESETREQ."""
DHCSR = 0xE000EDF0
DHCSR_C_DEBUGEN = 1 << 0
DHCSR_S_HALT = 1 << 17
DEMCR = 0xE000EDFC
DEMCR_VC_CORERESET = 1 << 0
"""Halt before the first instruction after a reset; counts while C_DEBUGEN is set."""
RESET_WAIT = 1.0
"""Seconds for a core to come back from SYSRESETREQ: milliseconds, or hundreds of them behind a large nRST capacitor."""


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
        if not profile.reset_halt or core_runs(access):
            _halt(access, profile)
            # It may have run some of its program by now: reset it once more, and catch it.
            with contextlib.suppress(*[MemoryAccessError] if profile.reset_halt else []):
                _reset_and_catch(access)
            if core_runs(access):
                _halt(access, profile)
        running = core_runs(access)
        if not running:
            access.forget_registers()
    except (CommandRefused, MemoryAccessError) as error:
        raise PrepareError(
            f"The target could not be reset and halted through the {profile.title}: "
            f"{error.message.rstrip('.?')}. Check the reset wiring, or connect under reset.",
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
    halted = _halted(access)
    if halted is not None:
        return not halted
    try:  # no debug registers to be seen (QEMU): a halted core's registers can be read, and its PC stays
        access.forget_registers()
        before = access.read_registers(["pc"])
        access.forget_registers()
        return access.read_registers(["pc"]) != before
    except CommandRefused:
        return True


def _halted(access: ResetAccess) -> bool | None:
    """Say what DHCSR tells; None where it cannot be read, or tells that no debugger is there."""
    try:
        dhcsr = _read(access, DHCSR)
    except MemoryAccessError:
        return None
    return bool(dhcsr & DHCSR_S_HALT) if dhcsr & DHCSR_C_DEBUGEN else None


def _halt(access: ResetAccess, profile: ServerProfile) -> None:
    for step in profile.halt:
        with contextlib.suppress(CommandRefused):
            access.take(step)


def _reset_and_catch(access: ResetAccess) -> None:
    """Reset by the core's own registers, caught at the reset vector; needs nothing but memory access."""
    demcr = _read(access, DEMCR)
    _write(access, DEMCR, demcr | DEMCR_VC_CORERESET)
    with contextlib.suppress(MemoryAccessError):  # the access may be cut off by the reset it causes
        _write(access, AIRCR, AIRCR_SYSRESETREQ)
    deadline = time.monotonic() + RESET_WAIT
    while core_runs(access) and time.monotonic() < deadline:
        time.sleep(0.005)
    _write(access, DEMCR, demcr & ~DEMCR_VC_CORERESET)


def _read(access: ResetAccess, address: int) -> int:
    return int.from_bytes(access.read_memory(address, 4), "little")


def _write(access: ResetAccess, address: int, value: int) -> None:
    access.write_memory(address, value.to_bytes(4, "little"))
