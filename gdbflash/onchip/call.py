"""One AAPCS call of a loaded function: its registers and its return.

What belongs here: everything between "call Write(a, b, c)" and r0, and nothing about what is being called for. Why a
call did not return is said by `autopsy`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from gdbflash.errors import CallFailed, CallNotMade
from gdbflash.onchip.entry import Entry, Results
from gdbflash.onchip.layout import Layout
from gdbflash.target import Beside, Stop, StopReason, Target

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
    passed: tuple[int, ...] | None = None
    """What is passed instead of the arguments, where a routine of ours stands at the address and calls the function."""

    def __str__(self) -> str:
        return f"{self.function}({', '.join(f'0x{each:X}' for each in self.arguments)})"

    @property
    def at_last(self) -> str:
        """Say with which arguments, as what ends a message; empty where there are none."""
        return f" The call was {self}." if self.arguments else ""


@dataclass(frozen=True)
class Returned:
    """What a call left in r0 and r1, and how long it took in seconds."""

    r0: int
    r1: int
    seconds: float
    came: bytes | None = None
    """What was read beside it, if that could be read."""


@dataclass(frozen=True)
class Look:
    """Something to look at in the middle of a call that takes longer than that."""

    seconds: float
    act: Callable[[], None]


@dataclass(frozen=True)
class Unreturned:
    """Where a call halted instead of returning, and after how many seconds."""

    stop: Stop
    seconds: float


def call_registers(layout: Layout, *, irq: bool = False) -> dict[str, int]:
    """Give the registers that the entry is entered with, in the order to write them; the others it sets by itself.

    CONTROL goes first, since with SPSEL set `sp` would be PSP (AAPCS; ARMv7-M ARM, B1.4.4). PRIMASK is set before the
    core goes, so that no interrupt comes first. Values that the core holds already cost no packet.
    """
    return {
        "control": 0,
        "msp": layout.stack_top,
        "primask": 0 if irq else 1,
        "sp": layout.stack_top,
        "pc": Entry(layout.entry).address,
        "xpsr": XPSR_THUMB,
    }


def perform(
    target: Target,
    call: Call,
    layout: Layout,
    *,
    irq: bool = False,
    look: Look | None = None,
    beside: Beside | None = None,
) -> Returned | Unreturned:
    """Run a call to its return, or to the end of its time; the target is halted afterwards.

    look: when to halt a call that takes long, once, and what to do then before it goes on. beside: what is moved to or
    from memory while it runs. Raises CallNotMade when the core was at the return address without having made this very
    call, ConnectionLost.
    """
    entry = Entry(layout.entry)
    number = secrets.randbits(32) | 1
    inputs = entry.inputs(
        number,
        call.address,
        call.arguments if call.passed is None else call.passed,
        stack_top=layout.stack_top,
        static_base=layout.static_base,
        return_address=layout.return_address,
        masked=not irq,
    )
    target.write_memory(*inputs)
    known = target.capabilities.registers
    target.write_registers({name: value for name, value in call_registers(layout, irq=irq).items() if name in known})
    begun = time.monotonic()
    stop = _run(target, call, layout.return_address, look, beside)
    seconds = time.monotonic() - begun
    if stop.reason is not StopReason.ARRIVED:
        return Unreturned(stop, seconds)
    results = entry.parse(target.read_memory(entry.results.address, entry.results.size))
    if (results.entered, results.mode, results.returned) != (number, 0, number):
        raise CallNotMade(
            f"{call.function} was not called: the core {_shortfall(results, number)}. A register that was written did "
            f"not reach it: check the probe's cable and lower its speed.{call.at_last}",
            function=call.function,
            arguments=list(call.arguments),
        )
    return Returned(results.r0, results.r1, seconds, stop.came)


def _run(target: Target, call: Call, return_address: int, look: Look | None, beside: Beside | None) -> Stop:
    """Let the core run to the return address."""
    if look is None or call.timeout <= look.seconds:
        return target.run_until(return_address, call.timeout, beside)
    stop = target.run_until(return_address, look.seconds, beside)
    if stop.reason is not StopReason.TIMEOUT:
        return stop
    look.act()
    return replace(target.run_until(return_address, call.timeout - look.seconds), came=stop.came)


def _shortfall(results: Results, number: int) -> str:
    if results.entered != number:
        return "came to the return address without it"
    if results.returned != number:
        return "came to the return address without returning from it"
    return f"ran it with CONTROL | IPSR = {results.mode} instead of 0"


def expect_success(call: Call, returned: Returned) -> None:
    """Raise CallFailed unless r0 is 1."""
    if returned.r0 != SUCCESS:
        raise CallFailed(
            f"{call.function} returned {returned.r0} instead of 1. "
            f"The loader reports a failure: check that it is made for this board's pins and chip.{call.at_last}",
            function=call.function,
            arguments=list(call.arguments),
            result=returned.r0,
        )
