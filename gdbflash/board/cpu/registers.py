"""The core registers inside Unicorn, by the names of DebugPort.

Unicorn refuses MSP, PSP, CONTROL and the masks to unprivileged Thread mode, also from outside, and changes SPSEL in
Thread mode only. So accesses to these go through Handler mode for a moment; the banked SP follows IPSR by itself.
"""

from __future__ import annotations

from gdbflash.board.cpu.engine import Engine

_PLAIN = frozenset({*(f"r{number}" for number in range(13)), "sp", "lr", "fpscr"})
_BANKED = frozenset({"msp", "psp", "primask", "basepri", "faultmask"})
_SINGLE = {f"s{number}": (f"d{number // 2}", 32 * (number & 1)) for number in range(32)}
NAMES = frozenset({*_PLAIN, *_BANKED, *_SINGLE, "pc", "xpsr", "control"})

NPRIV, SPSEL, FPCA = 1, 2, 4
IPSR = 0x1FF
THUMB = 1 << 24
XPSR_BITS = 0xFF0FFDFF
"""What exists of xPSR in ARMv7E-M: N Z C V Q, IT, T, GE and the exception number (B1.4.2)."""
IT_BITS = 0x0600FC00
_WRITABLE = {"primask": 1, "basepri": 0xF0, "faultmask": 1, "msp": ~3, "psp": ~3, "sp": ~3}
"""Bits that exist; the STM32H7 implements four bits of priority (PM0253, 2.1.3)."""


class CoreRegisters:
    """Read and write registers of a an engine that is not executing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, name: str) -> int:
        """Return a register; KeyError for an unknown name."""
        if name in _PLAIN:
            return self._engine.get(name)
        if name == "pc":
            return self.pc
        if name == "xpsr":
            return self.xpsr
        if name == "control":
            return self.control
        if name in _SINGLE:
            double, shift = _SINGLE[name]
            return self._engine.get(double) >> shift & 0xFFFFFFFF
        return self._banked(name, None)

    def write(self, name: str, value: int) -> None:
        """Set a register to the bits of value that it has; KeyError for an unknown name."""
        value &= _WRITABLE.get(name, -1) & 0xFFFFFFFF
        if name in _PLAIN:
            self._engine.put(name, value)
        elif name == "pc":
            self.pc = value
        elif name == "xpsr":
            self.xpsr = value
        elif name == "control":
            self.control = value
        elif name in _SINGLE:
            double, shift = _SINGLE[name]
            kept = self._engine.get(double) & 0xFFFFFFFF << (32 - shift)
            self._engine.put(double, kept | value << shift)
        else:
            self._banked(name, value)

    @property
    def pc(self) -> int:
        """The address of the next instruction, bit 0 clear."""
        return self._engine.get("pc") & 0xFFFFFFFE

    @pc.setter
    def pc(self, value: int) -> None:
        # Unicorn takes bit 0 as the state of EPSR.T, which a write of PC leaves alone.
        self._engine.put("pc", value & ~1 | self.xpsr >> 24 & 1)

    @property
    def xpsr(self) -> int:
        """APSR, IPSR and EPSR, as the stacked word has them."""
        return self._engine.get("xpsr") & XPSR_BITS

    @xpsr.setter
    def xpsr(self, value: int) -> None:
        self._engine.put("xpsr_nzcvqg", value & XPSR_BITS)
        self._rebuild_flags()

    @property
    def ipsr(self) -> int:
        """The number of the exception that is being handled; 0 in Thread mode."""
        return self.xpsr & IPSR

    @ipsr.setter
    def ipsr(self, value: int) -> None:
        self._engine.put("ipsr", value)

    @property
    def control(self) -> int:
        """NPRIV, SPSEL and FPCA."""
        return self._engine.get("control") & 7

    @control.setter
    def control(self, value: int) -> None:
        number = self.ipsr
        self.ipsr = 1
        self._engine.put("control", 0)  # privileged; SPSEL stays, as this is Handler mode
        self.ipsr = 0
        # In Handler mode SPSEL is stored as it is but selects nothing.
        # The emulator counts a floating-point context of its own in bit 3; it goes with FPCA.
        self._engine.put("control", value & 7 | (value & FPCA) << 1)
        self.ipsr = number
        self._rebuild_flags()

    def _rebuild_flags(self) -> None:
        """Let the engine work out anew what it caches of mode and privilege; a write of the flags does."""
        self._engine.put("apsr_nzcv", self._engine.get("xpsr") & 0xF0000000)

    def _banked(self, name: str, value: int | None) -> int:
        if name not in _BANKED:
            raise KeyError(name)
        number = self.ipsr
        if number == 0:
            self.ipsr = 1
        if value is not None:
            self._engine.put(name, value)
        result = self._engine.get(name) & _WRITABLE[name] & 0xFFFFFFFF
        if number == 0:
            self.ipsr = 0
        return result
