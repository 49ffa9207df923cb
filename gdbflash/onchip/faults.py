"""What a Cortex-M core says of an exception: its number, the fault status bits, EXC_RETURN and the stacked frame.

What belongs here: decoding of registers, pure. Source: Armv7-M Architecture Reference Manual (DDI 0403E), sections
B1.5.2, B1.5.6, B1.5.8 and B3.2; Armv6-M has only ICSR and the exception numbers. Armv8-M keeps these places and bits
and has more of them: Armv8-M Architecture Reference Manual (DDI 0553), D1.2 (EXC_RETURN, RETPSR, SFAR, SFSR) and the
pseudocode of PopStack().
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

ADDRESSES: Mapping[str, int] = {
    "CFSR": 0xE000ED28,
    "HFSR": 0xE000ED2C,
    "DFSR": 0xE000ED30,
    "MMFAR": 0xE000ED34,
    "BFAR": 0xE000ED38,
    "SHCSR": 0xE000ED24,
    "ICSR": 0xE000ED04,
}
"""Fault status and address registers (B3.2.4 and B3.2.13 to B3.2.18)."""

SECURE_ADDRESSES: Mapping[str, int] = {"SFSR": 0xE000EDE4, "SFAR": 0xE000EDE8}
"""Those of SecureFault; they read as zero without the Security Extension, and to who debugs the Non-secure side."""

BITS: Mapping[str, Mapping[int, str]] = {
    "CFSR": {  # MMFSR in bits 7..0, BFSR in 15..8, UFSR in 31..16 (B3.2.15)
        0: "IACCVIOL",
        1: "DACCVIOL",
        3: "MUNSTKERR",
        4: "MSTKERR",
        5: "MLSPERR",
        7: "MMARVALID",
        8: "IBUSERR",
        9: "PRECISERR",
        10: "IMPRECISERR",
        11: "UNSTKERR",
        12: "STKERR",
        13: "LSPERR",
        15: "BFARVALID",
        16: "UNDEFINSTR",
        17: "INVSTATE",
        18: "INVPC",
        19: "NOCP",
        20: "STKOF",  # Armv8-M alone: below MSPLIM or PSPLIM
        24: "UNALIGNED",
        25: "DIVBYZERO",
    },
    "SFSR": {
        0: "INVEP",
        1: "INVIS",
        2: "INVER",
        3: "AUVIOL",
        4: "INVTRAN",
        5: "LSPERR",
        6: "SFARVALID",
        7: "LSERR",
    },
    "HFSR": {1: "VECTTBL", 30: "FORCED", 31: "DEBUGEVT"},  # B3.2.16
    "DFSR": {0: "HALTED", 1: "BKPT", 2: "DWTTRAP", 3: "VCATCH", 4: "EXTERNAL"},  # B3.2.17
}

_EXCEPTIONS = {
    2: "NMI",
    3: "HardFault",
    4: "MemManage",
    5: "BusFault",
    6: "UsageFault",
    7: "SecureFault",
    11: "SVCall",
    12: "DebugMonitor",
    14: "PendSV",
    15: "SysTick",
}
FAULTS = range(3, 8)
"""HardFault to SecureFault."""
_SECURE_FAULT = 7
_IRQ0 = 16
IPSR = 0x1FF
"""The bits of xPSR that number the exception being handled (B1.4.2)."""
_LOCKUP = (0xFFFFFFFE, 0xEFFFFFFE)
"""What PC is in lockup (B1.5.15): as the architecture says, and as cores show it to a debugger."""
_FRAME = struct.Struct("<8I")
FRAME_SIZE = _FRAME.size
_HIDDEN = 0x28
"""An integrity signature, a word without use, and R4 to R11."""


def exception_name(number: int) -> str:
    """Name an exception by its IPSR number (B1.5.2)."""
    return _EXCEPTIONS.get(number, f"IRQ {number - _IRQ0}" if number >= _IRQ0 else f"exception {number}")


def is_locked_up(pc: int) -> bool:
    """Tell whether PC is that of a core in lockup: a fault inside the HardFault handler, or on the way into it."""
    return pc | 1 in {address | 1 for address in _LOCKUP}


def bits_of(register: str, value: int) -> tuple[str, ...]:
    """Name the bits that are set in CFSR, HFSR, SFSR or DFSR, lowest first; a register without names gives none."""
    return tuple(name for bit, name in BITS.get(register, {}).items() if value >> bit & 1)


def all_bits(registers: Mapping[str, int]) -> frozenset[str]:
    """Name all fault bits that are set; DFSR, which says why the core halted, is left out."""
    return frozenset(bit for name in ("CFSR", "HFSR", "SFSR") for bit in bits_of(name, registers.get(name, 0)))


def may_be_secure(exception: int, registers: Mapping[str, int]) -> bool:
    """Tell whether the cause may stand in SFSR: of a SecureFault, or of a HardFault that has no other."""
    escalated = "FORCED" in bits_of("HFSR", registers.get("HFSR", 0)) and not registers.get("CFSR", 0)
    return exception == _SECURE_FAULT or escalated


def fault_address(registers: Mapping[str, int]) -> int | None:
    """Give the data address that faulted, where the core has recorded it (BFARVALID, MMARVALID, SFARVALID)."""
    bits = all_bits(registers)
    if "SFARVALID" in bits:
        return registers.get("SFAR")
    if "BFARVALID" in bits:
        return registers.get("BFAR")
    return registers.get("MMFAR") if "MMARVALID" in bits else None


def pending_exception(registers: Mapping[str, int]) -> int:
    """Give the most urgent pending and enabled exception, 0 for none: ICSR.VECTPENDING, which ignores PRIMASK."""
    return registers.get("ICSR", 0) >> 12 & IPSR


@dataclass(frozen=True)
class ExceptionReturn:
    """What LR says at the start of a handler (EXC_RETURN, B1.5.8)."""

    process_stack: bool
    """The frame lies at PSP, else at MSP."""
    floating_point: bool
    """Room for S0 to S15 and FPSCR lies above the frame."""
    thread: bool
    """The exception interrupted Thread mode, else another handler."""
    other_bank: str = ""
    """Where the handler and what it interrupted are of two sides of TrustZone, the suffix of the stack pointers that
    the frame lies at: _s or _ns."""
    offset: int = 0
    """Bytes at that stack pointer before the frame: the registers that Secure code hides from a Non-secure handler."""


def decode_exception_return(lr: int) -> ExceptionReturn | None:
    """Decode EXC_RETURN; None where LR holds no such value.

    Bits S (6), DCRS (5) and ES (0) are ones in Armv7-M; without the Security Extension Armv8-M has zeros in S and ES.
    """
    if lr >> 24 != 0xFF:
        return None
    secure_stack, secure_handler = bool(lr & 1 << 6), bool(lr & 1)
    hidden = secure_stack and not (secure_handler and lr & 1 << 5)
    bank = "" if secure_stack is secure_handler else "_s" if secure_stack else "_ns"
    return ExceptionReturn(bool(lr & 1 << 2), not lr & 1 << 4, bool(lr & 1 << 3), bank, _HIDDEN if hidden else 0)


@dataclass(frozen=True)
class Frame:
    """The registers that an exception pushed, and where they lie."""

    address: int
    r0: int
    r1: int
    r2: int
    r3: int
    r12: int
    lr: int
    pc: int
    xpsr: int

    def stack_pointer(self, exception_return: ExceptionReturn) -> int:
        """Give SP as it was before: above the frame, its FP part and the word that aligned it (xPSR bit 9)."""
        size = 0x68 if exception_return.floating_point else 0x20
        return self.address + size + (self.xpsr >> 9 & 1) * 4


def is_plausible(frame: Frame, returning: ExceptionReturn, bits: frozenset[str]) -> bool:
    """Tell whether eight words can be a frame: what xPSR must and cannot be, and PC even (B1.4.2, B1.5.6).

    Bits 20 and 21 are reserved in Armv7-M alone: SFPA and, from 8.1 on, B.
    """
    in_thread = not frame.xpsr & IPSR
    thumb = bool(frame.xpsr & 1 << 24) or "INVSTATE" in bits
    return in_thread is returning.thread and thumb and not frame.xpsr & 0xC << 20 and not frame.pc & 1


def decode_frame(address: int, data: bytes) -> Frame:
    """Decode a frame of FRAME_SIZE bytes that lies at address (B1.5.6)."""
    return Frame(address, *_FRAME.unpack(data))
