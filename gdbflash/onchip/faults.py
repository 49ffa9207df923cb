"""What a Cortex-M core says of an exception: its number, the fault status bits, EXC_RETURN and the stacked frame.

What belongs here: decoding of registers, pure. Source: Armv7-M Architecture Reference Manual (DDI 0403E), sections
B1.5.2, B1.5.6, B1.5.8 and B3.2; Armv8-M keeps these places and bits, Armv6-M has only ICSR and the exception numbers.
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
        20: "STKOF",  # Armv8-M only
        24: "UNALIGNED",
        25: "DIVBYZERO",
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
_IRQ0 = 16
IPSR = 0x1FF
"""The bits of xPSR that number the exception being handled (B1.4.2)."""
_LOCKUP = (0xFFFFFFFE, 0xEFFFFFFE)
"""What PC is in lockup (B1.5.15): as the architecture says, and as cores show it to a debugger."""
_FRAME = struct.Struct("<8I")
FRAME_SIZE = _FRAME.size


def exception_name(number: int) -> str:
    """Name an exception by its IPSR number (B1.5.2)."""
    return _EXCEPTIONS.get(number, f"IRQ {number - _IRQ0}" if number >= _IRQ0 else f"exception {number}")


def is_locked_up(pc: int) -> bool:
    """Tell whether PC is that of a core in lockup: a fault inside the HardFault handler, or on the way into it."""
    return pc | 1 in {address | 1 for address in _LOCKUP}


def bits_of(register: str, value: int) -> tuple[str, ...]:
    """Name the bits that are set in CFSR, HFSR or DFSR, lowest first; a register without names gives none."""
    return tuple(name for bit, name in BITS.get(register, {}).items() if value >> bit & 1)


def all_bits(registers: Mapping[str, int]) -> frozenset[str]:
    """Name all fault bits that are set; DFSR, which says why the core halted, is left out."""
    return frozenset(bit for name in ("CFSR", "HFSR") for bit in bits_of(name, registers.get(name, 0)))


def fault_address(registers: Mapping[str, int]) -> int | None:
    """Give the data address that faulted, where the core has recorded it (BFARVALID, MMARVALID)."""
    bits = all_bits(registers)
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


def decode_exception_return(lr: int) -> ExceptionReturn | None:
    """Decode EXC_RETURN; None where LR holds no such value."""
    if lr >> 24 != 0xFF:
        return None
    return ExceptionReturn(bool(lr & 1 << 2), not lr & 1 << 4, bool(lr & 1 << 3))


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
    """Tell whether eight words can be a frame: what xPSR must and cannot be, and PC even (B1.4.2, B1.5.6)."""
    in_thread = not frame.xpsr & IPSR
    thumb = bool(frame.xpsr & 1 << 24) or "INVSTATE" in bits
    return in_thread is returning.thread and thumb and not frame.xpsr & 0xF << 20 and not frame.pc & 1


def decode_frame(address: int, data: bytes) -> Frame:
    """Decode a frame of FRAME_SIZE bytes that lies at address (B1.5.6)."""
    return Frame(address, *_FRAME.unpack(data))
