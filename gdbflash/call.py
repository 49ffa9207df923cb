"""One AAPCS call of a loaded function: its registers, its return, its failure.

What belongs here: everything between "call Write(a, b, c)" and r0, and nothing about what is being called for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import CallFailed, CallStopped, CallTimeout, JsonValue, TargetError
from .layout import Layout
from .target import Stop, StopReason, Target

XPSR_THUMB = 0x01000000
"""Only the T bit: an exception number left in IPSR would make the core believe it is still handling it."""

SUCCESS = 1
"""The only result that means success (ST, UM2237, external loader functions)."""

_CORE = ("r0", "r1", "r2", "r3", "r12", "sp", "lr", "pc", "xpsr")

# Fault status and address registers (ARMv7-M ARM, B3.2.15 to B3.2.18, and ICSR B3.2.4).
_SCB = {
    "CFSR": 0xE000ED28,
    "HFSR": 0xE000ED2C,
    "DFSR": 0xE000ED30,
    "MMFAR": 0xE000ED34,
    "BFAR": 0xE000ED38,
    "SHCSR": 0xE000ED24,
    "ICSR": 0xE000ED04,
}
_EXCEPTIONS = {
    2: "NMI",
    3: "HardFault",
    4: "MemManage",
    5: "BusFault",
    6: "UsageFault",
    11: "SVCall",
    12: "DebugMonitor",
    14: "PendSV",
    15: "SysTick",
}
_FAULTS = range(3, 7)
"""HardFault to UsageFault."""


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


def perform(target: Target, call: Call, layout: Layout, *, irq: bool = False) -> Returned:
    """Run a call to its return.

    Raises CallTimeout when the time is up, CallStopped when the core halted elsewhere, ConnectionLost. The target
    is halted afterwards.
    """
    known = target.capabilities.registers
    registers = call_registers(call, layout, irq=irq)
    target.write_registers({name: value for name, value in registers.items() if name in known})
    begun = time.monotonic()
    stop = target.run_until(layout.return_address, call.timeout)
    seconds = time.monotonic() - begun
    if stop.reason is not StopReason.ARRIVED:
        raise _failure(target, call, stop, seconds)
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


def _failure(target: Target, call: Call, stop: Stop, seconds: float) -> TargetError:
    """Look at a halted core that did not arrive, and say what is known."""
    registers = target.read_registers(name for name in _CORE if name in target.capabilities.registers)
    faults = _fault_registers(target)
    data: dict[str, JsonValue] = {
        "function": call.function,
        "arguments": list(call.arguments),
        "seconds": round(seconds, 3),
        "signal": stop.signal,
        "registers": dict(registers),
        "fault_registers": dict(faults),
    }
    where = f"PC 0x{stop.pc:08X}, LR 0x{registers.get('lr', 0):08X}, xPSR 0x{registers.get('xpsr', 0):08X}"
    exception = registers.get("xpsr", 0) & 0x1FF
    timed_out = stop.reason is StopReason.TIMEOUT and exception not in _FAULTS  # whose handlers spin for ever
    if exception:
        name = exception_name(exception)
        cause = f"{call} ended in {name} ({where}{_faults_in_words(faults)})"
    elif stop.reason is StopReason.TIMEOUT:
        cause = f"{call} did not return within {call.timeout:g} s and was halted ({where})"
    else:
        cause = f"{call} stopped before its return address ({where}{', ' + stop.signal if stop.signal else ''})"
    if timed_out:
        return CallTimeout(f"{cause}. {_timeout_advice(faults)}", **data)
    return CallStopped(f"{cause}. Check that the loader is made for this device and board.", **data)


def exception_name(number: int) -> str:
    """Name an exception by its IPSR number."""
    return _EXCEPTIONS.get(number, f"exception {number}")


def _fault_registers(target: Target) -> Mapping[str, int]:
    """Read the fault registers; a target that refuses them has none to show."""
    found: dict[str, int] = {}
    for name, address in _SCB.items():
        try:
            found[name] = int.from_bytes(target.read_memory(address, 4), "little")
        except TargetError:
            continue
    return found


def _faults_in_words(faults: Mapping[str, int]) -> str:
    return "".join(f", {name} 0x{faults[name]:08X}" for name in ("CFSR", "HFSR", "BFAR") if name in faults)


def _timeout_advice(faults: Mapping[str, int]) -> str:
    icsr = faults.get("ICSR", 0)
    pending = icsr >> 12 & 0x1FF  # VECTPENDING (ARMv7-M ARM, B3.2.4)
    if pending:
        name = "SysTick" if pending == 15 else f"exception {pending}"
        return f"The {name} interrupt is pending but masked: allow interrupts with --irq."
    return "Allow more time with --timeout-scale, or check clocks, pins and chip of the board."
