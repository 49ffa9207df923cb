"""One AAPCS call of a loaded function: its registers and its return.

What belongs here: everything between "call Write(a, b, c)" and r0, and nothing about what is being called for. Why a
call did not return is said by `autopsy`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from .errors import CallFailed
from .layout import Layout
from .target import Stop, StopReason, Target

XPSR_THUMB = 0x01000000
"""Only the T bit: an exception number left in IPSR would make the core believe it is still handling it."""

SUCCESS = 1
"""The only result that means success (ST, UM2237, external loader functions)."""


@dataclass(frozen=True)
class Call:
    """A function in the target's RAM, with its arguments and its bound in seconds."""

    function: str
    address: int
    arguments: tuple[int, ...] = ()
    timeout: float = 10.0

    def __str__(self) -> str:
        return f"{self.function}({', '.join(f'0x{each:X}' for each in self.arguments)})"


@dataclass(frozen=True)
class Returned:
    """What a call left in r0 and r1, and how long it took in seconds."""

    r0: int
    r1: int
    seconds: float


@dataclass(frozen=True)
class Unreturned:
    """Where a call halted instead of returning, and after how many seconds."""

    stop: Stop
    seconds: float


def call_registers(call: Call, layout: Layout, *, irq: bool = False) -> dict[str, int]:
    """Give the registers that a call starts with, in the order to write them.

    CONTROL goes first, since with SPSEL set `sp` would be PSP (AAPCS; ARMv7-M ARM, B1.4.4).
    """
    values = {
        "control": 0,
        "psp": 0,
        "msp": layout.stack_top,
        "primask": 0 if irq else 1,
        **{f"r{index}": 0 for index in range(13)},
        "r9": layout.scratch.address,
        "sp": layout.stack_top,
        "lr": layout.return_address | 1,
        "pc": call.address,
        "xpsr": XPSR_THUMB,
    }
    for index, argument in enumerate(call.arguments):
        values[f"r{index}"] = argument & 0xFFFFFFFF
    return values


def perform(target: Target, call: Call, layout: Layout, *, irq: bool = False) -> Returned | Unreturned:
    """Run a call to its return, or to the end of its time; the target is halted afterwards. Raises ConnectionLost."""
    known = target.capabilities.registers
    registers = call_registers(call, layout, irq=irq)
    target.write_registers({name: value for name, value in registers.items() if name in known})
    begun = time.monotonic()
    stop = target.run_until(layout.return_address, call.timeout)
    seconds = time.monotonic() - begun
    if stop.reason is not StopReason.ARRIVED:
        return Unreturned(stop, seconds)
    results = target.read_registers(("r0", "r1"))
    return Returned(results["r0"], results["r1"], seconds)


def expect_success(call: Call, returned: Returned) -> None:
    """Raise CallFailed unless r0 is 1."""
    if returned.r0 != SUCCESS:
        raise CallFailed(
            f"{call} returned {returned.r0} instead of 1. "
            "The loader reports a failure: check that it is made for this board's pins and chip.",
            function=call.function,
            arguments=list(call.arguments),
            result=returned.r0,
        )
