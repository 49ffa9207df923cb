"""Double-precision floating point, which the emulator's Cortex-M7 lacks and the STM32H7 has.

What belongs here: executing one VFP data-processing instruction on doubles (ARM DDI 0403E, A6.4 and A7.7; FPv5-D16).
Transfers and single precision are the emulator's. Arithmetic rounds to nearest, whatever FPSCR.RMode says (conversions
heed it), NaNs come out as the default NaN, and no cumulative exception flags are set.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction

from gdbflash.board.cpu.decode import passes
from gdbflash.board.cpu.registers import CoreRegisters

_NAN = math.nan  # 0x7FF8000000000000, the default NaN


class Undefined(Exception):
    """The instruction is none that this module executes."""


def execute(first: int, second: int, registers: CoreRegisters) -> None:
    """Execute such an instruction; Undefined for half precision and the encodings that are none."""
    _Operation(first, second, registers).execute()


def _clean(value: float) -> float:
    return _NAN if math.isnan(value) else value


def _fused(a: float, b: float, c: float) -> float:
    """Return a * b + c, rounded once."""
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        if math.isfinite(a) and math.isfinite(b):
            return c
        return a * b + c
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if not exact:
        return a * b + c  # for the sign of zero
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def _divide(a: float, b: float) -> float:
    if b:
        return a / b
    if not a or math.isnan(a):
        return _NAN
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def _round(value: float, mode: int) -> float:
    """Round to an integral value: 0 nearest even, 1 up, 2 down, 3 to zero, 4 nearest away from zero."""
    if not math.isfinite(value):
        return value
    if mode == 4:
        whole = float(math.trunc(value))
        result = whole + math.copysign(1.0, value) if abs(value - whole) >= 0.5 else whole
    else:
        result = float((round, math.ceil, math.floor, math.trunc)[mode](value))
    return math.copysign(result, value)


def _to_integer(value: float, mode: int, *, signed: bool, bits: int = 32) -> int:
    """Convert with saturation; NaN becomes zero."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if math.isnan(value):
        return 0
    if math.isinf(value):
        return high if value > 0 else low
    return min(max(int(_round(value, mode)), low), high)


def _expand(byte: int) -> float:
    """Return the double that an 8-bit immediate stands for (A6.4.1)."""
    exponent = (byte >> 4 & 3) + (-3 if byte & 0x40 else 1)
    value = math.ldexp(16 + (byte & 0xF), exponent - 4)
    return -value if byte & 0x80 else value


class _Operation:
    """The fields of one instruction, and the registers that it works on."""

    def __init__(self, first: int, second: int, registers: CoreRegisters) -> None:
        self._first = first
        self._second = second
        self._registers = registers
        self._d = second >> 12 & 0xF
        self._n = first & 0xF
        self._m = second & 0xF
        self._op = second >> 6 & 1
        self._single_d = (second >> 12 & 0xF) << 1 | first >> 6 & 1
        self._single_m = (second & 0xF) << 1 | second >> 5 & 1

    def execute(self) -> None:
        if self._first >> 8 == 0xFE:
            self._execute_new()
        elif self._first & 0xB0 == 0xB0:
            self._execute_other()
        else:
            self._execute_arithmetic()

    # -- registers --------------------------------------------------------------------------------------------

    def _get(self, number: int) -> float:
        words = self._registers.read(f"s{2 * number}"), self._registers.read(f"s{2 * number + 1}")
        return float(struct.unpack("<d", struct.pack("<II", *words))[0])

    def _set(self, value: float) -> None:
        low, high = struct.unpack("<II", struct.pack("<d", _clean(value)))
        self._registers.write(f"s{2 * self._d}", low)
        self._registers.write(f"s{2 * self._d + 1}", high)

    def _copy(self, flip: int, keep: int = 0xFFFFFFFF) -> None:
        """Move the bits of m to d, with the sign treated: NaNs pass unchanged."""
        self._registers.write(f"s{2 * self._d}", self._registers.read(f"s{2 * self._m}"))
        self._registers.write(f"s{2 * self._d + 1}", (self._registers.read(f"s{2 * self._m + 1}") ^ flip) & keep)

    @property
    def _mode(self) -> int:
        return self._registers.read("fpscr") >> 22 & 3

    # -- instructions -----------------------------------------------------------------------------------------

    def _execute_arithmetic(self) -> None:
        n, m, op = self._get(self._n), self._get(self._m), self._op
        opcode = self._first >> 4 & 0xB
        if opcode == 0x0:  # VMLA, VMLS
            self._set(self._get(self._d) + _clean(-n * m if op else n * m))
        elif opcode == 0x1:  # VNMLS, VNMLA
            self._set(-self._get(self._d) + _clean(-n * m if op else n * m))
        elif opcode == 0x2:  # VMUL, VNMUL
            self._set(-(n * m) if op else n * m)
        elif opcode == 0x3:  # VADD, VSUB
            self._set(n - m if op else n + m)
        elif opcode == 0x8 and not op:  # VDIV
            self._set(_divide(n, m))
        elif opcode == 0x9:  # VFNMS, VFNMA
            self._set(_fused(-n if op else n, m, -self._get(self._d)))
        elif opcode == 0xA:  # VFMA, VFMS
            self._set(_fused(-n if op else n, m, self._get(self._d)))
        else:
            raise Undefined

    def _execute_other(self) -> None:
        opcode, variant = self._first & 0xF, self._second >> 6 & 3
        if not variant & 1:
            self._set(_expand(opcode << 4 | self._m))
        elif opcode == 0x0:  # VMOV, VABS
            self._copy(0, 0x7FFFFFFF if variant == 3 else 0xFFFFFFFF)
        elif opcode == 0x1 and variant == 1:
            self._copy(0x80000000)
        elif opcode == 0x1:
            value = self._get(self._m)
            self._set(math.sqrt(value) if value >= 0 or value == 0 else _NAN)
        elif opcode in (0x4, 0x5):  # VCMP, VCMPE, with a register or zero
            self._compare(self._get(self._d), 0.0 if opcode == 0x5 else self._get(self._m))
        elif opcode == 0x6:  # VRINTR, VRINTZ
            self._set(_round(self._get(self._m), 3 if variant == 3 else self._mode))
        elif opcode == 0x7 and variant == 1:  # VRINTX
            self._set(_round(self._get(self._m), self._mode))
        elif opcode == 0x7:
            self._convert_precision()
        elif opcode == 0x8:  # from integer
            word = self._registers.read(f"s{self._single_m}")
            self._set(float(word - (1 << 32) if variant >> 1 and word >> 31 else word))
        elif opcode in (0xC, 0xD):
            mode = 3 if variant >> 1 else self._mode
            self._put_integer(_to_integer(self._get(self._m), mode, signed=bool(opcode & 1)))
        elif opcode in (0xA, 0xB, 0xE, 0xF):
            self._convert_fixed(to_fixed=bool(opcode & 4), signed=not opcode & 1)
        else:
            raise Undefined  # half precision

    def _put_integer(self, value: int) -> None:
        self._registers.write(f"s{self._single_d}", value & 0xFFFFFFFF)

    def _convert_precision(self) -> None:
        if not self._second & 0x100:
            word = self._registers.read(f"s{self._single_m}")
            self._set(struct.unpack("<f", struct.pack("<I", word))[0])
            return
        value = _clean(self._get(self._m))
        try:
            word = struct.unpack("<I", struct.pack("<f", value))[0]
        except OverflowError:
            word = 0x7F800000 if value > 0 else 0xFF800000
        self._put_integer(word)

    def _convert_fixed(self, *, to_fixed: bool, signed: bool) -> None:
        bits = 32 if self._second & 0x80 else 16
        fraction = bits - (self._m << 1 | self._second >> 5 & 1)
        low = self._registers.read(f"s{2 * self._d}")
        if to_fixed:
            value = self._get(self._d)
            scaled = math.ldexp(value, fraction) if math.isfinite(value) else value
            number = _to_integer(scaled, 3, signed=signed, bits=bits) & 0xFFFFFFFFFFFFFFFF
            self._registers.write(f"s{2 * self._d}", number & 0xFFFFFFFF)
            self._registers.write(f"s{2 * self._d + 1}", number >> 32)
        else:
            low &= (1 << bits) - 1
            self._set(math.ldexp(low - (1 << bits) if signed and low >> bits - 1 else low, -fraction))

    def _compare(self, a: float, b: float) -> None:
        flags = 0x3 if math.isnan(a) or math.isnan(b) else 0x6 if a == b else 0x8 if a < b else 0x2
        self._registers.write("fpscr", self._registers.read("fpscr") & 0x0FFFFFFF | flags << 28)

    def _execute_new(self) -> None:
        """Execute VSEL, VMAXNM, VMINNM, VCVT and VRINT with a rounding mode of their own."""
        first = self._first
        if not first & 0x80:
            # EQ, VS, GE, GT
            condition = (0x0, 0x6, 0xA, 0xC)[first >> 4 & 3]
            chosen = self._n if passes(condition, self._registers.xpsr) else self._m
            for half in (0, 1):
                self._registers.write(f"s{2 * self._d + half}", self._registers.read(f"s{2 * chosen + half}"))
            return
        mode = (4, 0, 1, 2)[first & 3]
        if first & 0x30 == 0:
            self._set(_extreme(self._get(self._n), self._get(self._m), largest=not self._op))
        elif first & 0x3C == 0x38:
            self._set(_round(self._get(self._m), mode))
        elif first & 0x3C == 0x3C:
            self._put_integer(_to_integer(self._get(self._m), mode, signed=bool(self._second & 0x80)))
        else:
            raise Undefined


def _extreme(a: float, b: float, *, largest: bool) -> float:
    """Return the larger or smaller of two; a number beats a NaN, and +0 is more than -0."""
    if math.isnan(a) or math.isnan(b):
        return b if math.isnan(a) else a
    low, high = sorted((a, b), key=lambda value: (value, math.copysign(1.0, value)))
    return high if largest else low
