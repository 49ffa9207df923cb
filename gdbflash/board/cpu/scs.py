"""The System Control Space of a Cortex-M7 at 0xE000E000: SCB, NVIC, SysTick, FPU and MPU registers.

Sources: ARM DDI 0403E, B3.2 (SCB), B3.3 (SysTick), B3.4 (NVIC), B3.5 (MPU, kept but not enforced), C1.6 (debug), and
the Cortex-M7 Technical Reference Manual (ARM DDI 0489) for the identification values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gdbflash.board.cpu.exceptions import IRQS, PRIORITY_BITS, Ccr, Cfsr, Exceptions, Number
from gdbflash.board.cpu.systick import SysTick

BOOT_ADDRESS = 0x08000000
"""VTOR after reset: what the option bytes say for BOOT0 = 0, as shipped (RM0433, 2.6)."""

DEMCR = 0xDFC
TRCENA, VC_CORERESET, MON_EN, MON_PEND = 1 << 24, 1 << 0, 1 << 16, 1 << 17
_VC_MMERR, _VC_NOCPERR, _VC_CHKERR, _VC_STATERR, _VC_BUSERR, _VC_HARDERR = (
    1 << 4,
    1 << 5,
    1 << 6,
    1 << 7,
    1 << 8,
    1 << 10,
)
_DFSR, _DHCSR = 0xD30, 0xDF0
_C_DEBUGEN, _C_HALT, _S_REGRDY, _S_HALT = 1 << 0, 1 << 1, 1 << 16, 1 << 17

_CONSTANTS = {
    0x004: (IRQS - 1) // 32,  # ICTR
    0xD00: 0x411FC271,  # CPUID: Cortex-M7 r1p1, as in the STM32H750
    0xD40: 0x00000030,  # ID_PFR0
    0xD44: 0x00000200,
    0xD48: 0x00100000,  # ID_DFR0
    0xD50: 0x00100030,  # ID_MMFR0
    0xD58: 0x01000000,
    0xD60: 0x01101110,  # ID_ISAR0
    0xD64: 0x02112000,
    0xD68: 0x20232231,
    0xD6C: 0x01111131,
    0xD70: 0x01310132,
    0xD78: 0x09000003,  # CLIDR
    0xD7C: 0x8303C003,  # CTR
    0xD80: 0xF00FE019,  # CCSIDR: 16 KiB data cache
    0xD90: 0x00001000,  # MPU_TYPE: 16 regions
    0xF40: 0x10110221,  # MVFR0: with double precision
    0xF44: 0x12000011,
    0xF48: 0x00000040,
}
_KEPT = {
    # offset: (writable bits, reset value)
    0x008: (0x0, 0),  # ACTLR: nothing in it that this model has
    0xD10: (0x16, 0),  # SCR
    0xD3C: (0, 0),  # AFSR
    0xD84: (0xF, 0),  # CSSELR
    0xD94: (0x7, 0),  # MPU_CTRL
    0xF34: (0xC0000000, 0xC0000000),  # FPCCR: ASPEN, LSPEN
    0xF38: (~7, 0),  # FPCAR
    0xF3C: (0x07C00000, 0),  # FPDSCR
}
_SHCSR_ACTIVE = {0: Number.MEM_MANAGE, 1: Number.BUS_FAULT, 3: Number.USAGE_FAULT, 7: Number.SVCALL}
_SHCSR_ACTIVE.update({8: Number.DEBUG_MONITOR, 10: Number.PENDSV, 11: Number.SYSTICK})
_SHCSR_PENDED = {12: Number.USAGE_FAULT, 13: Number.MEM_MANAGE, 14: Number.BUS_FAULT, 15: Number.SVCALL}
_CACHE_MAINTENANCE = range(0xF50, 0xF7C)
_CPACR, _AIRCR, _ICSR, _CCR, _SHCSR = 0xD88, 0xD0C, 0xD04, 0xD14, 0xD24
_MPU_RNR, _MPU_RBAR, _MPU_RASR = 0xD98, 0xD9C, 0xDA0
_VECTKEY, _SYSRESETREQ, _VECTCLRACTIVE = 0x05FA, 1 << 2, 1 << 1


class ScsListener(Protocol):
    """What the SCS makes happen elsewhere."""

    def exceptions_changed(self) -> None:
        """Look at pending exceptions again."""

    def timer_changed(self) -> None:
        """Look again when SysTick is due next."""

    def configuration_changed(self) -> None:
        """Look at CCR and CPACR again."""

    def reset_requested(self) -> None:
        """AIRCR.SYSRESETREQ was written."""

    def code_cache_invalidated(self) -> None:
        """Instructions must be read from memory again."""

    def current_exception(self) -> int:
        """Return IPSR."""


class SystemControlSpace:
    """The registers; implements bus.Peripheral."""

    base = 0xE000E000
    size = 0x1000

    def __init__(self, exceptions: Exceptions, systick: SysTick, listener: ScsListener) -> None:
        self._exceptions = exceptions
        self._systick = systick
        self._listener = listener
        self.demcr = 0
        self.dfsr = 0
        """Debug Fault Status Register (C1.6.1): why the core halted, kept by the debug interface."""
        self.debugger = False
        """DHCSR.C_DEBUGEN, which a program may ask for."""
        self.halted: Callable[[], bool] = lambda: False
        """Whether the core is in Debug state, in which alone VECTCLRACTIVE may be written (B3.2.6)."""
        self.reset()

    def reset(self) -> None:
        """Return to the state after a system reset; DEMCR belongs to debug and stays (C1.6.5)."""
        self._kept = {offset: value for offset, (_, value) in _KEPT.items()}
        self._regions: list[tuple[int, int]] = [(number, 0) for number in range(16)]
        self._region = 0
        self.cpacr = 0
        self._exceptions.reset()
        self._exceptions.vtor = BOOT_ADDRESS
        self._systick.reset()

    # -- accesses ---------------------------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> int:
        """Read a register or a part of it."""
        word = self._read_word(offset & ~3)
        return word if size == 4 else word >> 8 * (offset & 3) & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        """Write a register; parts of one where the architecture has byte registers, SHPR, NVIC_IPR and CFSR."""
        if size < 4:
            shift = 8 * (offset & 3)
            value <<= shift
            if not 0xD28 <= offset < 0xD2C:  # bits of CFSR are cleared by ones: the other bytes stay zero
                mask = (1 << 8 * size) - 1 << shift
                value |= self._read_word(offset & ~3) & ~mask
        self._write_word(offset & ~3, value & 0xFFFFFFFF)

    def _read_word(self, offset: int) -> int:
        if offset in _CONSTANTS:
            return _CONSTANTS[offset]
        if offset in _KEPT:
            return self._kept[offset]
        if 0x010 <= offset < 0x020:
            return self._systick.read(offset - 0x010)
        if 0x100 <= offset < 0x800:
            return self._read_nvic(offset)
        return self._read_scb(offset)

    def _write_word(self, offset: int, value: int) -> None:
        if offset in _KEPT:
            bits = _KEPT[offset][0] & 0xFFFFFFFF
            self._kept[offset] = value & bits | self._kept[offset] & ~bits
        elif 0x010 <= offset < 0x020:
            self._systick.write(offset - 0x010, value)
            self._listener.timer_changed()
        elif 0x100 <= offset < 0x800:
            self._write_nvic(offset, value)
            self._listener.exceptions_changed()
        elif offset == 0xF00:  # STIR
            self._exceptions.pending.add(Number.IRQ0 + (value & 0x1FF))
            self._listener.exceptions_changed()
        elif offset in _CACHE_MAINTENANCE:
            if offset in (0xF50, 0xF58):  # ICIALLU, ICIMVAU
                self._listener.code_cache_invalidated()
        elif offset not in _CONSTANTS:
            self._write_scb(offset, value)

    # -- SCB --------------------------------------------------------------------------------------------------

    def _read_scb(self, offset: int) -> int:
        state = self._exceptions
        if 0xD18 <= offset < 0xD24:
            return sum(state.priorities.get(offset - 0xD14 + lane, 0) << 8 * lane for lane in range(4))
        simple: dict[int, Callable[[], int]] = {
            _ICSR: self._icsr,
            0xD08: lambda: state.vtor,
            _AIRCR: lambda: 0xFA050000 | state.group << 8,
            _CCR: lambda: state.ccr,
            _SHCSR: self._shcsr,
            0xD28: lambda: state.cfsr,
            0xD2C: lambda: state.hfsr,
            0xD34: lambda: state.mmfar,
            0xD38: lambda: state.bfar,
            _CPACR: lambda: self.cpacr,
            _MPU_RNR: lambda: self._region,
            DEMCR: lambda: self.demcr,
            _DFSR: lambda: self.dfsr,
            _DHCSR: self._dhcsr,
        }
        if offset in simple:
            return simple[offset]()
        if _MPU_RBAR <= offset < 0xDBC:
            rbar, rasr = self._regions[self._region]
            return rasr if offset - _MPU_RBAR & 4 else rbar
        return 0

    def _write_scb(self, offset: int, value: int) -> None:
        state = self._exceptions
        if 0xD18 <= offset < 0xD24:
            for lane in range(4):
                state.priorities[offset - 0xD14 + lane] = value >> 8 * lane & PRIORITY_BITS
        elif offset == _ICSR:
            self._write_icsr(value)
        elif offset == 0xD08:
            state.vtor = value & 0xFFFFFF80
        elif offset == _AIRCR:
            self._write_aircr(value)
        elif offset == _CCR:
            state.ccr = value & 0x70119 | Ccr.STKALIGN | 0x40000
            self._listener.configuration_changed()
        elif offset == _SHCSR:
            self._write_shcsr(value)
        elif offset == 0xD28:
            state.cfsr &= ~value
        elif offset == 0xD2C:
            state.hfsr &= ~value
        elif offset == 0xD34:
            state.mmfar = value
        elif offset == 0xD38:
            state.bfar = value
        elif offset == _CPACR:
            self.cpacr = value & 0x00F00000
            self._listener.configuration_changed()
        elif offset == DEMCR:
            self._write_demcr(value)
        elif offset == _DFSR:
            self.dfsr &= ~value
        else:
            self._write_mpu(offset, value)
            return
        self._listener.exceptions_changed()

    def _write_demcr(self, value: int) -> None:
        self.demcr = value & 0x010F07F1
        self._exceptions.monitor_enabled = bool(value & MON_EN)
        if value & MON_PEND:
            self._exceptions.pending.add(Number.DEBUG_MONITOR)

    def traces(self) -> bool:
        """Tell whether DEMCR.TRCENA lets DWT and ITM work."""
        return bool(self.demcr & TRCENA)

    def _dhcsr(self) -> int:
        """Return what says that a debugger is there and the core halted; control is DebugPort's."""
        value = _S_REGRDY | (_C_DEBUGEN if self.debugger else 0)
        return value | _C_HALT | _S_HALT if self.halted() else value

    def catches(self, number: int) -> bool:
        """Tell whether DEMCR has the core halt where this exception's handler begins (C1.6.5)."""
        if number == Number.HARD_FAULT:
            return bool(self.demcr & _VC_HARDERR)
        if number == Number.MEM_MANAGE:
            return bool(self.demcr & _VC_MMERR)
        if number == Number.BUS_FAULT:
            return bool(self.demcr & _VC_BUSERR)
        if number != Number.USAGE_FAULT:
            return False
        causes = (
            (_VC_NOCPERR, Cfsr.NOCP),
            (_VC_CHKERR, Cfsr.UNALIGNED | Cfsr.DIVBYZERO),
            (_VC_STATERR, Cfsr.UNDEFINSTR | Cfsr.INVSTATE | Cfsr.INVPC),
        )
        return any(self.demcr & bit and self._exceptions.cfsr & flags for bit, flags in causes)

    def _icsr(self) -> int:
        state = self._exceptions
        current = self._listener.current_exception()
        pending = state.most_urgent() or 0
        value = current | pending << 12
        if not state.active - {current}:
            value |= 1 << 11  # RETTOBASE
        if any(number >= Number.IRQ0 for number in state.pending):
            value |= 1 << 22
        for bit, number in ((26, Number.SYSTICK), (28, Number.PENDSV), (31, Number.NMI)):
            value |= (number in state.pending) << bit
        return value

    def _write_icsr(self, value: int) -> None:
        pending = self._exceptions.pending
        for bit, number in ((26, Number.SYSTICK), (28, Number.PENDSV), (31, Number.NMI)):
            if value >> bit & 1:
                pending.add(number)
        for bit, number in ((25, Number.SYSTICK), (27, Number.PENDSV)):
            if value >> bit & 1:
                pending.discard(number)

    def _write_aircr(self, value: int) -> None:
        if value >> 16 != _VECTKEY:
            return
        self._exceptions.group = value >> 8 & 7
        if value & _VECTCLRACTIVE and self.halted():
            # Cortex-M3 TRM (DDI 0337E), Application Interrupt and Reset Control Register: IPSR is not cleared.
            self._exceptions.active.clear()
            self._listener.exceptions_changed()
        if value & _SYSRESETREQ:
            self._listener.reset_requested()

    def _shcsr(self) -> int:
        state = self._exceptions
        value = state.shcsr
        for bit, number in _SHCSR_ACTIVE.items():
            value |= (number in state.active) << bit
        for bit, number in _SHCSR_PENDED.items():
            value |= (number in state.pending) << bit
        return value

    def _write_shcsr(self, value: int) -> None:
        state = self._exceptions
        state.shcsr = value & 0x00070000
        for bits, numbers in ((_SHCSR_ACTIVE, state.active), (_SHCSR_PENDED, state.pending)):
            for bit, number in bits.items():
                (numbers.add if value >> bit & 1 else numbers.discard)(number)

    def _write_mpu(self, offset: int, value: int) -> None:
        if offset == _MPU_RNR:
            self._region = value & 0xF
        elif _MPU_RBAR <= offset < 0xDBC:
            if offset - _MPU_RBAR & 4:
                self._regions[self._region] = (self._regions[self._region][0], value)
            else:
                if value & 0x10:  # VALID
                    self._region = value & 0xF
                self._regions[self._region] = (value & ~0x1F | self._region, self._regions[self._region][1])

    # -- NVIC -------------------------------------------------------------------------------------------------

    def _read_nvic(self, offset: int) -> int:
        state = self._exceptions
        if offset >= 0x400:
            first = Number.IRQ0 + offset - 0x400
            return sum(state.priorities.get(first + lane, 0) << 8 * lane for lane in range(4))
        first = offset % 0x80 * 8
        bank = offset & ~0x7F
        numbers = {
            0x100: {irq + Number.IRQ0 for irq in state.enabled_irqs},
            0x180: {irq + Number.IRQ0 for irq in state.enabled_irqs},
            0x200: state.pending,
            0x280: state.pending,
            0x300: state.active,
        }.get(bank, set())
        return sum((Number.IRQ0 + first + bit in numbers) << bit for bit in range(32))

    def _write_nvic(self, offset: int, value: int) -> None:
        state = self._exceptions
        if offset >= 0x400:
            for lane in range(4):
                if offset - 0x400 + lane < IRQS:
                    state.priorities[Number.IRQ0 + offset - 0x400 + lane] = value >> 8 * lane & PRIORITY_BITS
            return
        first = offset % 0x80 * 8
        irqs = {first + bit for bit in range(32) if value >> bit & 1 and first + bit < IRQS}
        numbers = {Number.IRQ0 + irq for irq in irqs}
        bank = offset & ~0x7F
        if bank == 0x100:
            state.enabled_irqs |= irqs
        elif bank == 0x180:
            state.enabled_irqs -= irqs
        elif bank == 0x200:
            state.pending |= numbers
        elif bank == 0x280:
            state.pending -= numbers - state.lines  # a line that is high pends at once again
