"""Thumb instructions that the emulator executes otherwise than a Cortex-M7 would.

What belongs here: recognising an instruction from its halfwords, and nothing that acts. Encodings are those of the
ARMv7-M Architecture Reference Manual (ARM DDI 0403E), A5.2, A5.3 and A7.7.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Kind(enum.Enum):
    """Why an instruction needs attention."""

    IT = "if-then"
    WAIT_INTERRUPT = "wfi"
    WAIT_EVENT = "wfe"
    YIELD = "yield"
    BARRIER = "isb"
    """From here on the core sees code that it has written."""
    UNMASK = "unmask"
    """May lower the execution priority (CPSIE, MSR), so that a pending exception is due behind it."""
    READ_SPECIAL = "mrs"
    """Of CONTROL and BASEPRI, of which the emulator has bits that a Cortex-M7 in an STM32H7 does not."""
    WORDS = "words"
    """LDM, STM, LDRD, STRD, exclusives and VFP accesses fault on an unaligned base always (A3.2.1)."""
    ACCESS = "access"
    """A single load or store: faults when unaligned only if CCR.UNALIGN_TRP is set."""
    DIVIDE = "divide"
    """Faults on a divisor of zero only if CCR.DIV_0_TRP is set."""
    DOUBLE = "double"
    """Arithmetic on doubles, which the emulator does not have."""
    FLOAT = "float"
    """Needs CP10 enabled in CPACR."""


@dataclass(frozen=True)
class Instruction:
    """One instruction that needs attention, with what is needed to judge it."""

    kind: Kind
    length: int
    register: int = 0
    """Base register of an access, divisor of a division, destination of MRS."""
    special: str = ""
    """Source of MRS."""
    size: int = 4
    """Alignment that the access asks for, bytes."""
    offset: int = 0
    index: int | None = None
    """Register that is added to the base, shifted left by shift."""
    shift: int = 0


SP, PC = 13, 15

_T16_HINTS = {1: Kind.YIELD, 2: Kind.WAIT_EVENT, 3: Kind.WAIT_INTERRUPT}
_CONTROL, _PRIMASK, _BASEPRI, _BASEPRI_MAX, _FAULTMASK = 20, 16, 17, 18, 19


def is_wide(halfword: int) -> bool:
    """Tell whether the halfword begins a 32-bit instruction (A5.1)."""
    return halfword >= 0xE800


def decode(first: int, second: int) -> Instruction | None:
    """Return what needs attention about an instruction; None for nothing. second counts for wide ones only."""
    return _decode_wide(first, second) if is_wide(first) else _decode_narrow(first)


def _decode_narrow(word: int) -> Instruction | None:
    if word >> 8 == 0xBF:
        if word & 0xF:
            return Instruction(Kind.IT, 2)
        hint = _T16_HINTS.get(word >> 4 & 0xF)
        return Instruction(hint, 2) if hint else None
    if word & 0xFFF8 == 0xB660:  # CPSIE
        return Instruction(Kind.UNMASK, 2)
    if word >> 12 == 0xC:  # STM, LDM
        return Instruction(Kind.WORDS, 2, register=word >> 8 & 7)
    if word >> 12 == 0x5:  # register offset: STR STRH STRB LDRSB LDR LDRH LDRB LDRSH
        size = (4, 2, 1, 1, 4, 2, 1, 2)[word >> 9 & 7]
        return _access(2, word >> 3 & 7, size, index=word >> 6 & 7)
    if word >> 12 == 0x6:  # LDR, STR, immediate
        return _access(2, word >> 3 & 7, 4, offset=(word >> 6 & 0x1F) * 4)
    if word >> 12 == 0x8:  # LDRH, STRH, immediate
        return _access(2, word >> 3 & 7, 2, offset=(word >> 6 & 0x1F) * 2)
    return None


def _access(
    length: int, base: int, size: int, *, offset: int = 0, index: int | None = None, shift: int = 0
) -> Instruction | None:
    if size == 1:
        return None
    return Instruction(Kind.ACCESS, length, register=base, size=size, offset=offset, index=index, shift=shift)


def _decode_wide(first: int, second: int) -> Instruction | None:
    if first >> 9 == 0b1110100:
        return _decode_multiple(first, second)
    if first >> 9 == 0b1111100:
        return _decode_single(first, second)
    if first & 0xEC00 == 0xEC00 and second >> 9 & 7 == 0b101:  # coprocessors 10 and 11
        return _decode_float(first, second)
    if first in (0xF3AF, 0xF3BF, 0xF3EF) or first & 0xFFF0 == 0xF380:
        return _decode_system(first, second)
    if first & 0xFFD0 == 0xFB90 and second & 0xF0 == 0xF0:  # SDIV, UDIV
        return Instruction(Kind.DIVIDE, 4, register=second & 0xF)
    return None


def _decode_multiple(first: int, second: int) -> Instruction | None:
    base = first & 0xF
    if base in (SP, PC):  # SP is a multiple of 4 always, literals are
        return None
    if not first & 0x40:  # LDM, STM
        return Instruction(Kind.WORDS, 4, register=base)
    if first & 0xFFE0 == 0xE8C0:  # LDREXB/H, STREXB/H, TBB, TBH
        operation = second >> 4 & 0xF
        return Instruction(Kind.WORDS, 4, register=base, size=2) if operation == 5 else None
    return Instruction(Kind.WORDS, 4, register=base)  # LDRD, STRD, LDREX, STREX


def is_double(first: int, second: int) -> bool:
    """Tell whether an instruction of the floating-point unit computes with doubles (A6.4)."""
    if first & 0xEF00 != 0xEE00 or second & 0x10:
        return False
    widens = first & 0xFFBF == 0xEEB7 and second & 0xFD0 == 0xAC0  # VCVT.F64.F32
    return bool(second & 0x100) or widens


def _decode_float(first: int, second: int) -> Instruction:
    if is_double(first, second):
        return Instruction(Kind.DOUBLE, 4)
    if first & 0xFE00 == 0xEC00 and first & 0x1E0 != 0x040 and first & 0xF not in (SP, PC):  # not VMOV of two registers
        return Instruction(Kind.FLOAT, 4, register=first & 0xF)
    return Instruction(Kind.FLOAT, 4, size=1)


def _decode_single(first: int, second: int) -> Instruction | None:
    base, size = first & 0xF, 1 << (first >> 5 & 3)
    if size > 4 or base == PC:
        return None
    if first & 0x80:
        return _access(4, base, size, offset=second & 0xFFF)
    if not second & 0x800:  # register, shifted by up to 3
        return _access(4, base, size, index=second & 0xF, shift=second >> 4 & 3)
    if second & 0xF00 == 0xE00:  # LDRT and its kin
        return _access(4, base, size, offset=second & 0xFF)
    offset = second & 0xFF if second & 0x200 else -(second & 0xFF)
    return _access(4, base, size, offset=offset if second & 0x400 else 0)  # post-indexed: the base alone


def _decode_system(first: int, second: int) -> Instruction | None:
    if first == 0xF3AF:
        hint = _T16_HINTS.get(second & 0xFF) if second & 0xFF00 == 0x8000 else None
        return Instruction(hint, 4) if hint else None
    if first == 0xF3BF:
        return Instruction(Kind.BARRIER, 4) if second & 0xF0 == 0x60 else None
    register = second & 0xFF
    if first == 0xF3EF:  # MRS
        special = {_CONTROL: "control", _BASEPRI: "basepri", _BASEPRI_MAX: "basepri"}.get(register)
        return Instruction(Kind.READ_SPECIAL, 4, register=second >> 8 & 0xF, special=special) if special else None
    if register in (_PRIMASK, _BASEPRI, _BASEPRI_MAX, _FAULTMASK):  # MSR
        return Instruction(Kind.UNMASK, 4)
    return None


def it_state(xpsr: int) -> int:
    """Return ITSTATE out of xPSR (B1.4.2)."""
    return xpsr >> 25 & 3 | xpsr >> 8 & 0xFC


def next_state(state: int) -> int:
    """Return ITSTATE behind an instruction (A7.3.3)."""
    return state & 0xE0 | state << 1 & 0x1F if state & 7 else 0


def passes(condition: int, xpsr: int) -> bool:
    """Tell whether the condition holds with the flags in xPSR (A7.3.1)."""
    n, z, c, v = (bool(xpsr >> bit & 1) for bit in (31, 30, 29, 28))
    result = (z, c, n, v, c and not z, n == v, n == v and not z, True)[condition >> 1]
    return result != bool(condition & 1 and condition != 0xF)
