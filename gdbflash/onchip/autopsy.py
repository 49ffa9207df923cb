"""Why a call did not return: evidence into a cause, a report and an error.

What belongs here: conclusions, pure. What was seen is `evidence`, what its bits are called is `faults`. A cause is
the likely one: the first in the order of `likely_cause`, which goes from what spoils other signs to what is left over.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gdbflash.errors import CallStopped, CallTimeout, ConnectionLost, JsonValue
from gdbflash.onchip import faults
from gdbflash.onchip.call import Call
from gdbflash.onchip.evidence import Evidence
from gdbflash.onchip.faults import exception_name
from gdbflash.ranges import Range, joined
from gdbflash.target import StopReason

LOOP = 128
"""Bytes of code that a loop which waits for a flag fits in, its accesses through small inlined functions included."""
_BKPT, _SEMIHOSTING = 0xBE, 0xAB
"""Upper byte of the instruction, and the immediate that semihosting uses (Arm, Semihosting for AArch32, section 4)."""
_SYSTICK = 15
_LOWEST_RAM = 0x10000000
"""What a register holds below is a number, not the address of a variable."""
_SECURITY = frozenset({"INVEP", "INVIS", "INVER", "AUVIOL", "INVTRAN", "LSERR"})
"""Bits of SFSR that tell a cause."""
_LEFT = 256
"""Bytes of a stack without a trace of use, by which it did not run out."""
_DEEPEST = 1 << 24
"""Bytes below the stack's top that a function may be thought to want."""


class StoppedBy(enum.Enum):
    """What ended a call."""

    TIMEOUT = "timeout"
    FAULT = "fault"
    LOCKUP = "lockup"
    INTERRUPT = "interrupt"
    """It was still in the handler of an exception that is no fault."""
    BREAKPOINT = "breakpoint"
    HALTED = "halted"
    """The core halted where neither the loader nor we have a breakpoint."""


@dataclass(frozen=True)
class Cause:
    """A likely cause, in words that follow a colon, and what to try next, as a sentence."""

    text: str
    advice: str


_CHECK_LOADER = "Check that the loader is made for this device and board."
_CHECK_BOARD = "Check clocks, pins and chip of the board, or allow more time with --timeout-scale."


def stopped_by(seen: Evidence) -> StoppedBy:
    """Say what ended the call."""
    if faults.is_locked_up(seen.stop.pc):
        return StoppedBy.LOCKUP
    if seen.exception in faults.FAULTS:
        return StoppedBy.FAULT
    if seen.exception:
        return StoppedBy.INTERRUPT
    if seen.stop.reason is StopReason.TIMEOUT:
        return StoppedBy.TIMEOUT
    return StoppedBy.BREAKPOINT if _breakpoint_number(seen) is not None else StoppedBy.HALTED


def place_in_words(seen: Evidence, address: int) -> str:
    """Name an address by the loader's symbols, or say what it is instead."""
    address &= ~1
    name = seen.loader.symbol_at(address)
    if name:
        return f"{name} (0x{address:08X})"
    for routine, ours in ((seen.layout.entry, "our entry of calls"), (seen.layout.routine, "our digest routine")):
        if address in routine:
            return f"{ours}+0x{address - routine.address:x} (0x{address:08X})"
    return f"0x{address:08X}, which is not in this loader (it lies at {_extent(seen)})"


def _extent(seen: Evidence) -> str:
    parts = joined(Range(each.address, each.memory_size) for each in seen.loader.load_segments)
    return " and ".join(map(str, parts))


def _is_ours(seen: Evidence, address: int) -> bool:
    segments = (Range(each.address, each.memory_size) for each in seen.loader.load_segments)
    return any(address in each for each in (*segments, seen.layout.entry, seen.layout.routine))


def likely_cause(seen: Evidence) -> Cause:
    """Find the likely cause: a stack that ran out or code that was overwritten before what came of it."""
    how = stopped_by(seen)
    return (
        _watchdog_cause(seen)
        or _stack_cause(seen)
        or (_fault_cause(seen) if how in (StoppedBy.FAULT, StoppedBy.LOCKUP) else None)
        or _overwritten_cause(seen)
        or _interrupt_cause(seen)
        or (_time_cause(seen) if how is StoppedBy.TIMEOUT else _halt_cause(seen))
    )


def _watchdog_cause(seen: Evidence) -> Cause | None:
    if not seen.watchdog_hit:
        return None
    return Cause(
        f"the independent watchdog (IWDG) has reset the device, and the core is at 0x{seen.stop.pc:08X}",
        "Option bytes or the program start it: use --before reset, or set the option bytes so that only software does.",
    )


def _stack_cause(seen: Evidence) -> Cause | None:
    stack, pointer = seen.layout.stack, seen.stack_pointer
    if pointer is not None and _wants_too_much(seen, pointer):
        return Cause(
            f"a function wants {stack.end - pointer} bytes of stack and there are {stack.size} (SP is 0x{pointer:08X})",
            "Give it more RAM with --ram START:SIZE, or build the loader with less on its stack.",
        )
    if seen.canary_lives is not False:
        return None
    if seen.behind > seen.layout.strays.size and seen.stack_left >= _LEFT and pointer in stack:
        return Cause(
            f"the RAM behind the loader was written from 0x{seen.layout.strays.address:08X} on, through the end of its "
            f"stack at 0x{stack.address:08X}, of which {seen.stack_left} bytes were never used: a buffer overflowed",
            "Look for an array in the loader that is written past its end, or a read into one that is too small.",
        )
    ends = [each.address + each.memory_size for each in seen.loader.load_segments]
    loader_below = max((end for end in ends if end <= stack.address), default=0)
    reached = " and into the loader" if pointer is not None and pointer < loader_below else ""
    return Cause(
        f"its stack of {stack.size} bytes ran out{reached} (the canary at 0x{stack.address:08X} is gone)",
        "Give it more RAM with --ram START:SIZE, or build the loader with less on its stack.",
    )


def _wants_too_much(seen: Evidence, pointer: int) -> bool:
    """Tell whether SP lies below the stack and all that is the loader's, which no stack of its own would."""
    stack = seen.layout.stack
    lowest = min((each.address for each in seen.loader.owned), default=stack.address)
    fell_over = seen.exception in faults.FAULTS or faults.is_locked_up(seen.stop.pc)
    return fell_over and seen.stack_left >= _LEFT and stack.end - _DEEPEST <= pointer < min(lowest, stack.address)


def _overwritten_cause(seen: Evidence) -> Cause | None:
    if not seen.overwritten:
        return None
    return Cause(
        f"the loader's code at 0x{seen.place:08X} is not what its file has: something wrote over it",
        "Check what the loader writes to, and that no other debugger or DMA uses this RAM.",
    )


def _fault_cause(seen: Evidence) -> Cause | None:
    bits, address = seen.bits, faults.fault_address(seen.fault_registers)
    if "VECTTBL" in bits:
        return Cause("the vector of an exception could not be read", f"VTOR points to no memory. {_CHECK_LOADER}")
    if bits & {"IBUSERR", "IACCVIOL", "INVSTATE", "INVPC"}:
        return _branch_cause(seen)
    if bits & _SECURITY:
        return _security_cause(seen, address)
    if "STKOF" in bits:
        return Cause(
            "the program that ran before has set a limit for its own stack (MSPLIM), and the loader's lies below it",
            "Use --before reset, which clears it, or a server that shows this register.",
        )
    if address is not None and bits & {"PRECISERR", "DACCVIOL"}:
        return _access_cause(address, forbidden="DACCVIOL" in bits)
    if "IMPRECISERR" in bits:
        return Cause(
            "a write shortly before went where nothing answers (the core does not record where)",
            f"A peripheral may have no clock or not be there. {_CHECK_LOADER}",
        )
    if bits & {"STKERR", "MSTKERR", "UNSTKERR", "MUNSTKERR"}:
        return Cause("the stack pointer points to no memory", _CHECK_LOADER)
    return _overwritten_cause(seen) or _usage_cause(seen)


def _security_cause(seen: Evidence, address: int | None) -> Cause:
    """Say which border of TrustZone was crossed (DDI 0553, D1.2, SFSR)."""
    if "AUVIOL" in seen.bits:
        where = "" if address is None else f" to 0x{address:08X}"
        return Cause(
            f"TrustZone forbids the access{where}: that is the secure side's",
            "Use a loader that is linked to the secure side, or have the program give up what it needs (GTZC, SAU).",
        )
    if seen.bits & {"INVEP", "INVTRAN"}:
        return Cause(
            f"it branched across the border of TrustZone, to 0x{seen.place:08X}",
            "Use a loader that is linked to the side that the core is on: 0x3... and 0x0C... are the secure one's.",
        )
    return Cause("it returned from an exception to the wrong side of TrustZone", _CHECK_LOADER)


def _branch_cause(seen: Evidence) -> Cause:
    target = seen.place
    origin = ""
    if seen.caller is not None and _is_ours(seen, seen.caller & ~1):
        origin = f", called before {place_in_words(seen, seen.caller)}"
    if "INVSTATE" in seen.bits:
        return Cause(
            f"it branched to the even address 0x{target:08X}, which means Arm code that this core has not{origin}",
            "A function pointer or vector lacks its Thumb bit or was overwritten.",
        )
    if "INVPC" in seen.bits:
        return Cause("it returned from an exception that it was not in", _CHECK_LOADER)
    why = "where no code may be executed" if "IACCVIOL" in seen.bits else "where no memory answers"
    return Cause(
        f"it branched to 0x{target:08X}, {why}{origin}",
        "A function pointer, vector or return address was overwritten, or calls ROM of another device.",
    )


def _access_cause(address: int, *, forbidden: bool) -> Cause:
    if forbidden:
        return Cause(f"the MPU forbids the access to 0x{address:08X}", "Use --before reset, which turns the MPU off.")
    if address >> 29 == 2:  # 0x40000000-0x5FFFFFFF: Peripheral (Armv7-M ARM, B3.1)
        what = f"the peripheral at 0x{address:08X} is not clocked or not there"
    elif address >> 29 in (3, 4):  # 0x60000000-0x9FFFFFFF: RAM, where STM32 map external memory
        what = f"nothing answers at 0x{address:08X}: that external memory is not mapped or not there"
    elif address >> 29 == 1:  # 0x20000000-0x3FFFFFFF: SRAM
        what = f"nothing answers at 0x{address:08X}: that RAM is not clocked or not there"
    else:
        what = f"nothing answers at 0x{address:08X}"
    return Cause(what, _CHECK_LOADER)


def _usage_cause(seen: Evidence) -> Cause:
    bits = seen.bits
    if "UNDEFINSTR" in bits:
        return Cause(
            f"the instruction at 0x{seen.place:08X} is undefined on this core",
            "The loader may be built for a larger core. " + _CHECK_LOADER,
        )
    if "NOCP" in bits:
        return Cause("a floating-point instruction while the FPU is off or missing", "Build the loader for soft float.")
    if "UNALIGNED" in bits:
        return Cause("an access to several words at an address that is not aligned", "Mark the pointer's type packed.")
    if "DIVBYZERO" in bits:
        return Cause("a division by zero", _CHECK_LOADER)
    if "DEBUGEVT" in bits or _breakpoint_number(seen) is not None:
        return Cause("a BKPT of its own, which this server does not catch", "Use a release build of the loader.")
    return Cause("the fault registers do not tell why", _CHECK_LOADER)


def _interrupt_cause(seen: Evidence) -> Cause | None:
    name = exception_name(seen.exception)
    if stopped_by(seen) is not StoppedBy.INTERRUPT:
        return None
    return Cause(
        f"an unmasked interrupt: the handler of {name} at {place_in_words(seen, seen.stop.pc)} was still running",
        "The application or the loader left it enabled: use --before reset, and do not use --irq.",
    )


def _time_cause(seen: Evidence) -> Cause:
    where = _waiting_in_words(seen)
    pending = faults.pending_exception(seen.fault_registers)
    if seen.late_result is not None:
        return Cause(f"it returned {seen.late_result} soon afterwards", "Allow more time with --timeout-scale.")
    if pending and seen.registers.get("primask", 1) & 1:
        text = f"{where}, and the {exception_name(pending)} interrupt is pending but masked"
        handler = seen.pending_handler
        if handler is None or any(handler in each for each in seen.loader.owned):
            return Cause(text, "Allow interrupts with --irq.")
        return Cause(
            text,
            f"Its handler 0x{handler:08X} is none of the loader's, so --irq would not help. {_CHECK_LOADER}",
        )
    if not _is_ours(seen, seen.stop.pc):
        return Cause(
            f"{where}: it was reset in mid-call (watchdog, reset pin) or branched away",
            f"Check what can reset the board. {_CHECK_LOADER}",
        )
    words = _looked_at_in_vain(seen)
    if words:
        return Cause(
            f"{where}, which looks at RAM alone: {words}",
            "It waits for an interrupt, as HAL_Delay does for SysTick, and none comes while they are masked: allow "
            "them with --irq if the loader has a handler, or build it without such a wait.",
        )
    return Cause(where, _CHECK_BOARD)


def _looked_at_in_vain(seen: Evidence) -> str:
    """Name the variables that a loop looks at, where it looks at nothing else and they do not change."""
    stays = {address for address, _ in seen.unchanging}
    looked_at = {each & ~3 for each in seen.pointers if each >= _LOWEST_RAM and each not in seen.layout.stack}
    if not stays or not looked_at <= stays:
        return ""
    named = [(address, value) for address, value in seen.unchanging if seen.loader.name_of(address)]
    found = [
        f"0x{address:08X}{f' ({name})' if (name := seen.loader.name_of(address)) else ''} stays 0x{value:08X}"
        for address, value in (named or seen.unchanging)
    ]
    return ", ".join(found[:3])


def _waiting_in_words(seen: Evidence) -> str:
    samples = seen.samples or (seen.stop.pc,)
    if not all(_is_ours(seen, pc) for pc in samples):
        outside = next(pc for pc in samples if not _is_ours(seen, pc))
        return f"the core runs at {place_in_words(seen, outside)}"
    low, high = min(samples), max(samples)
    if len(samples) == 1:
        return f"it was in {place_in_words(seen, low)}"
    if high - low <= LOOP:
        return f"it is stuck in a loop at {place_in_words(seen, low)}"
    names = (seen.loader.symbol_at(pc) for pc in sorted(samples))
    functions = dict.fromkeys(name.rpartition("+0x")[0] or name for name in names if name)
    return f"it is still working in {', '.join(functions)}"


def _breakpoint_number(seen: Evidence) -> int | None:
    """Give the immediate of the BKPT at the place; None where there is none."""
    return seen.code[0] if len(seen.code) >= 2 and seen.code[1] == _BKPT else None


def _halt_cause(seen: Evidence) -> Cause:
    number = _breakpoint_number(seen)
    if number == _SEMIHOSTING:
        return Cause("it asks for semihosting, which is not served", "Use a release build of the loader.")
    if number is not None:
        return Cause(f"it executes a BKPT #{number} of its own", "It may be an assertion: look at the code there.")
    if not _is_ours(seen, seen.stop.pc):
        return Cause(
            "the core left the loader and halted elsewhere: it was reset in mid-call, or met another breakpoint",
            "Check that nobody else debugs or resets the board.",
        )
    return Cause("somebody else halted the core, or set a breakpoint there", "Check that nobody else debugs the board.")


_ENDED = {
    StoppedBy.LOCKUP: "ended in lockup",
    StoppedBy.BREAKPOINT: "stopped before its return address",
    StoppedBy.HALTED: "stopped before its return address",
}


def headline(seen: Evidence) -> str:
    """Say which call ended how and where."""
    how = stopped_by(seen)
    if how in (StoppedBy.TIMEOUT, StoppedBy.INTERRUPT):
        return f"{seen.call.function} did not return within {seen.call.timeout:g} s and was halted"
    ended = f"ended in {exception_name(seen.exception)}" if how is StoppedBy.FAULT else _ENDED[how]
    if seen.bits & {"IBUSERR", "IACCVIOL"} or not seen.place_known:
        return f"{seen.call.function} {ended}"  # PC is where it branched to, which the cause says
    return f"{seen.call.function} {ended} at {place_in_words(seen, seen.place)}"


def report(seen: Evidence) -> list[str]:
    """Give what was seen in lines for people."""
    lines = [f"PC     {_line_of(seen, seen.place)}"] if seen.place_known else []
    if seen.place_known and seen.caller is not None and faults.decode_exception_return(seen.caller) is None:
        lines.append(f"LR     {_line_of(seen, seen.caller)}")
    if seen.exception:
        lines.append(f"mode   {_mode(seen)}")
        for name in ("CFSR", "HFSR", "SFSR"):
            if name in seen.fault_registers:
                value = seen.fault_registers[name]
                lines.append(" ".join((f"{name}   0x{value:08X}", *faults.bits_of(name, value))))
        address = faults.fault_address(seen.fault_registers)
        if address is not None:
            lines.append(f"access 0x{address:08X}")
    if seen.stack_used is not None:
        canary = "the canary lives" if seen.canary_lives else "the canary is gone"
        pointer = "" if seen.stack_pointer is None else f", SP 0x{seen.stack_pointer:08X}"
        lines.append(f"stack  {seen.stack_used} of {seen.layout.stack.size} bytes used, {canary}{pointer}")
    if len(seen.samples) > 1:
        found = Counter(seen.samples)
        lines.append("later  " + ", ".join(f"0x{pc:08X} ({found[pc]}x)" for pc in sorted(found)))
    for each in seen.disassembly:
        lines.append(f"{'=>' if each.address == seen.place else '  '} 0x{each.address:08X}  {each.text}")
    return [*lines, *seen.remarks]


def _line_of(seen: Evidence, address: int) -> str:
    if _is_ours(seen, address & ~1):
        return place_in_words(seen, address)
    if address & ~1 == seen.layout.return_address:
        return f"0x{address & ~1:08X}, the return address of the call"
    return f"0x{address & ~1:08X} is not in this loader, which lies at {_extent(seen)}"


def _mode(seen: Evidence) -> str:
    said = f"{exception_name(seen.exception)}, its handler at 0x{seen.stop.pc:08X}"
    if seen.frame is None or seen.exception_return is None:
        return f"{said}, no stacked frame found"
    pointer = ("PSP" if seen.exception_return.process_stack else "MSP") + seen.exception_return.other_bank.upper()
    kind = "FP frame" if seen.exception_return.floating_point else "frame"
    return f"{said}, {kind} at {pointer} 0x{seen.frame.address:08X}"


def as_data(seen: Evidence) -> dict[str, JsonValue]:
    """Give all that was seen and concluded, for programs: addresses as numbers without the Thumb bit."""
    registers: dict[str, JsonValue] = dict(seen.registers)
    fault_registers: dict[str, JsonValue] = dict(seen.fault_registers)
    data: dict[str, JsonValue] = {
        "function": seen.call.function,
        "arguments": list(seen.call.arguments),
        "seconds": round(seen.seconds, 3),
        "stopped_by": stopped_by(seen).value,
        "signal": seen.stop.signal,
        "cause": likely_cause(seen).text,
        "pc": _place_data(seen, seen.place) if seen.place_known else None,
        "lr": None if seen.caller is None or not seen.place_known else _place_data(seen, seen.caller),
        "registers": registers,
        "fault_registers": fault_registers,
        "fault_bits": _strings(sorted(seen.bits)),
        "exception": exception_name(seen.exception) if seen.exception else None,
        "frame": None if seen.frame is None else dict(vars(seen.frame)),
        "disassembly": [{"address": each.address, "text": each.text} for each in seen.disassembly],
        "stack": {"size": seen.layout.stack.size, "used": seen.stack_used, "canary_lives": seen.canary_lives},
        "samples": list(seen.samples),
        "late_result": seen.late_result,
        "report": _strings(report(seen)),
    }
    return data


def _place_data(seen: Evidence, address: int) -> dict[str, JsonValue]:
    return {"address": address & ~1, "symbol": seen.loader.symbol_at(address & ~1) or None}


def _strings(values: Sequence[str]) -> list[JsonValue]:
    return list(values)


def explain(seen: Evidence) -> CallStopped | CallTimeout | ConnectionLost:
    """Make the error of a call that did not return; ConnectionLost where the connection went during the look at it."""
    if seen.lost is not None:
        why = f"{headline(seen)}, and could not be looked at: {seen.lost.message}{seen.call.at_last}"
        return ConnectionLost(why, **as_data(seen))
    cause = likely_cause(seen)
    kind = CallTimeout if stopped_by(seen) in (StoppedBy.TIMEOUT, StoppedBy.INTERRUPT) else CallStopped
    return kind(f"{headline(seen)}: {cause.text}. {cause.advice}{seen.call.at_last}", **as_data(seen))


def lost(call: Call, error: ConnectionLost) -> ConnectionLost:
    """Say which call was under way when the connection was lost."""
    data: dict[str, JsonValue] = {"function": call.function, "arguments": list(call.arguments), **error.data}
    return ConnectionLost(f"{call.function} was under way: {error.message}{call.at_last}", stopped_by="lost", **data)
