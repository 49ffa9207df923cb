"""The core's registers as the program had them, and those of Armv8-M that would stop a loader.

What belongs here: reading what is put back at the end, and lifting the program's stack limits: a function whose SP is
below MSPLIM ends in a UsageFault (STKOF), and a loader's stack lies where the program has its data. A reset clears the
limits.

Source: Armv8-M Architecture Reference Manual (DDI 0553), B3.8 (stack limit checks) and D1.2 (MSPLIM, PSPLIM).
"""

from __future__ import annotations

from collections.abc import Iterable

from gdbflash.errors import CommandRefused, PrepareError
from gdbflash.target import ARMV8M_REGISTERS, STACK_LIMITS, Target


def read_all(target: Target) -> dict[str, int]:
    """Read all registers, in the order in which they can be written: limits come after the stack pointers.

    Raises CommandRefused.
    """
    known = target.capabilities.registers
    found = target.read_registers(sorted(known - ARMV8M_REGISTERS))
    pointers = sorted(ARMV8M_REGISTERS - {*STACK_LIMITS})
    return found | _given(target, (*pointers, *STACK_LIMITS))


def lift_stack_limits(target: Target) -> None:
    """Set the stack limits to 0; raises PrepareError where they stay."""
    lifted = {name: 0 for name, value in _given(target, STACK_LIMITS).items() if value}
    if not lifted:
        return
    target.write_registers(lifted)
    if target.read_registers(lifted) != lifted:
        raise PrepareError(
            f"The program's stack limits ({', '.join(lifted).upper()}) cannot be lifted through this server, and would "
            "stop the loader. Use --before reset.",
            registers=list(lifted),
        )


def _given(target: Target, names: Iterable[str]) -> dict[str, int]:
    """Read those of Armv8-M that there are, and that the side of TrustZone under debug may see."""
    found: dict[str, int] = {}
    for name in names:
        if name in target.capabilities.registers:
            try:
                found |= target.read_registers([name])
            except CommandRefused:
                continue
    return found
