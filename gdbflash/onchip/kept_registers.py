"""The core's registers as the program had them, and those of Armv8-M that would stop a loader.

What belongs here: reading what is put back at the end, and lifting the program's stack limits: a function whose SP is
below MSPLIM ends in a UsageFault (STKOF), and a loader's stack lies where the program has its data. A reset clears the
limits.

Source: Armv8-M Architecture Reference Manual (DDI 0553), B3.8 (stack limit checks) and D1.2 (MSPLIM, PSPLIM).
"""

from __future__ import annotations

from collections.abc import Iterable

from gdbflash.errors import CommandRefused, MemoryAccessError, PrepareError
from gdbflash.onchip.call import XPSR_THUMB
from gdbflash.onchip.device.lookup import CPUID_ADDRESS
from gdbflash.onchip.layout import WORD, Layout
from gdbflash.target import ARMV8M_REGISTERS, STACK_LIMITS, StopReason, Target

_MAINLINE = (0xD21, 0xD22, 0xD23)
"""Part numbers in CPUID of Cortex-M33, M55 and M85; a Cortex-M23 has no limit on its Non-secure side."""
_EXCHANGE = bytes.fromhex("eff30a81 80f30a88 7047")
"""mrs r1, msplim; msr msplim, r0; bx lr"""
_SECONDS = 1.0


def read_all(target: Target) -> dict[str, int]:
    """Read all registers, in the order in which they can be written: limits come after the stack pointers.

    Raises CommandRefused.
    """
    known = target.capabilities.registers
    found = target.read_registers(sorted(known - ARMV8M_REGISTERS))
    pointers = sorted(ARMV8M_REGISTERS - {*STACK_LIMITS})
    return found | _given(target, (*pointers, *STACK_LIMITS))


def lift_stack_limits(target: Target, layout: Layout) -> int:
    """Set the stack limits to 0; raises PrepareError where they stay, TargetError.

    Where the server does not show them, or not take them, the core does it for its main stack, by code in the RAM of
    layout: gives what that limit was, for `put_back_stack_limit`, and 0 in all other cases.
    """
    shown = _given(target, STACK_LIMITS)
    lifted = {name: 0 for name, value in shown.items() if value}
    if (shown and not lifted) or (lifted and _takes(target, lifted)) or not _has_limits(target):
        return 0
    limit = _exchange(target, layout, 0)
    if lifted and not limit:
        raise PrepareError(
            f"The program's stack limits ({', '.join(lifted).upper()}) cannot be lifted through this server, and would "
            "stop the loader. Use --before reset.",
            registers=list(lifted),
        )
    return limit


def _takes(target: Target, values: dict[str, int]) -> bool:
    """Write registers, and tell whether they hold what was written."""
    try:
        target.write_registers(values)
    except CommandRefused:
        return False
    return target.read_registers(values) == values


def put_back_stack_limit(target: Target, layout: Layout, limit: int) -> None:
    """Have the core set a limit again that it gave up; before RAM and registers are put back. Raises TargetError."""
    if limit:
        _exchange(target, layout, limit)


def _has_limits(target: Target) -> bool:
    try:
        cpuid = int.from_bytes(target.read_memory(CPUID_ADDRESS, WORD), "little")
    except MemoryAccessError:
        return False
    return cpuid >> 4 & 0xFFF in _MAINLINE


def _exchange(target: Target, layout: Layout, limit: int) -> int:
    """Have the core set MSPLIM and give what it was; 0 where it does not come back."""
    target.write_memory(layout.entry.address, _EXCHANGE)
    known = target.capabilities.registers
    start = {"control": 0, "primask": 1, "r0": limit, "r1": 0, "lr": layout.return_address | 1}
    start |= {"pc": layout.entry.address, "xpsr": XPSR_THUMB}
    target.write_registers({name: value for name, value in start.items() if name in known})
    stop = target.run_until(layout.return_address, _SECONDS)
    return target.read_registers(["r1"])["r1"] if stop.reason is StopReason.ARRIVED else 0


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
