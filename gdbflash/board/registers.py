"""The core registers inside Unicorn, by the names of DebugPort.

Unicorn refuses MSP, PSP, CONTROL and the masks to unprivileged Thread mode, also from outside, and changes SPSEL in
Thread mode only. So accesses to these go through Handler mode for a moment; the banked SP follows IPSR by itself.
"""

from __future__ import annotations

from unicorn import Uc
from unicorn import arm_const as arm

GENERAL = tuple(arm.UC_ARM_REG_R0 + number for number in range(13))
_BANKED = {
    "msp": arm.UC_ARM_REG_MSP,
    "psp": arm.UC_ARM_REG_PSP,
    "primask": arm.UC_ARM_REG_PRIMASK,
    "basepri": arm.UC_ARM_REG_BASEPRI,
    "faultmask": arm.UC_ARM_REG_FAULTMASK,
}
_PLAIN = {
    **{f"r{number}": identifier for number, identifier in enumerate(GENERAL)},
    "sp": arm.UC_ARM_REG_SP,
    "lr": arm.UC_ARM_REG_LR,
    "fpscr": arm.UC_ARM_REG_FPSCR,
}
_SINGLE = {f"s{number}": (arm.UC_ARM_REG_D0 + number // 2, 32 * (number & 1)) for number in range(32)}
NAMES = frozenset({*_PLAIN, *_BANKED, *_SINGLE, "pc", "xpsr", "control"})

NPRIV, SPSEL, FPCA = 1, 2, 4
IPSR = 0x1FF
THUMB = 1 << 24
XPSR_BITS = 0xF90FFDFF
"""What exists of xPSR in ARMv7E-M: N Z C V Q, IT, T, GE and the exception number (B1.4.2)."""
IT_BITS = 0x0600FC00
_WRITABLE = {"primask": 1, "basepri": 0xF0, "faultmask": 1, "msp": ~3, "psp": ~3, "sp": ~3}
"""Bits that exist; the STM32H7 implements four bits of priority (PM0253, 2.1.3)."""


class CoreRegisters:
    """Read and write registers of a Unicorn instance that is not executing."""

    def __init__(self, uc: Uc) -> None:
        self._uc = uc

    def read(self, name: str) -> int:
        """Return a register; KeyError for an unknown name."""
        if name in _PLAIN:
            return int(self._uc.reg_read(_PLAIN[name])) & 0xFFFFFFFF
        if name == "pc":
            return self.pc
        if name == "xpsr":
            return self.xpsr
        if name == "control":
            return self.control
        if name in _SINGLE:
            double, shift = _SINGLE[name]
            return int(self._uc.reg_read(double)) >> shift & 0xFFFFFFFF
        return self._banked(_BANKED[name], None)

    def write(self, name: str, value: int) -> None:
        """Set a register to the bits of value that it has; KeyError for an unknown name."""
        value &= _WRITABLE.get(name, -1) & 0xFFFFFFFF
        if name in _PLAIN:
            self._uc.reg_write(_PLAIN[name], value)
        elif name == "pc":
            self.pc = value
        elif name == "xpsr":
            self.xpsr = value
        elif name == "control":
            self.control = value
        elif name in _SINGLE:
            double, shift = _SINGLE[name]
            kept = int(self._uc.reg_read(double)) & 0xFFFFFFFF << (32 - shift)
            self._uc.reg_write(double, kept | value << shift)
        else:
            self._banked(_BANKED[name], value)

    @property
    def pc(self) -> int:
        """The address of the next instruction, bit 0 clear."""
        return int(self._uc.reg_read(arm.UC_ARM_REG_PC)) & 0xFFFFFFFE

    @pc.setter
    def pc(self, value: int) -> None:
        # Unicorn takes bit 0 as the state of EPSR.T, which a write of PC leaves alone.
        self._uc.reg_write(arm.UC_ARM_REG_PC, value & ~1 | self.xpsr >> 24 & 1)

    @property
    def xpsr(self) -> int:
        """APSR, IPSR and EPSR, as the stacked word has them."""
        return int(self._uc.reg_read(arm.UC_ARM_REG_XPSR)) & XPSR_BITS

    @xpsr.setter
    def xpsr(self, value: int) -> None:
        self._uc.reg_write(arm.UC_ARM_REG_XPSR_NZCVQG, value & XPSR_BITS)

    @property
    def ipsr(self) -> int:
        """The number of the exception that is being handled; 0 in Thread mode."""
        return self.xpsr & IPSR

    @ipsr.setter
    def ipsr(self, value: int) -> None:
        self._uc.reg_write(arm.UC_ARM_REG_IPSR, value)

    @property
    def control(self) -> int:
        """NPRIV, SPSEL and FPCA."""
        return int(self._uc.reg_read(arm.UC_ARM_REG_CONTROL)) & 7

    @control.setter
    def control(self, value: int) -> None:
        number = self.ipsr
        self.ipsr = 1
        self._uc.reg_write(arm.UC_ARM_REG_CONTROL, 0)  # privileged; SPSEL stays, as this is Handler mode
        self.ipsr = 0
        # In Handler mode SPSEL is stored as it is but selects nothing.
        self._uc.reg_write(arm.UC_ARM_REG_CONTROL, value & 7)
        self.ipsr = number

    def _banked(self, register: int, value: int | None) -> int:
        number = self.ipsr
        if number == 0:
            self.ipsr = 1
        if value is not None:
            self._uc.reg_write(register, value)
        result = int(self._uc.reg_read(register)) & 0xFFFFFFFF
        if number == 0:
            self.ipsr = 0
        return result
