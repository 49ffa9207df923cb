"""Reset and Clock Control of the STM32H7 (RM0433 revision 7, chapter 8).

What belongs here: oscillators and PLLs that become ready at once, clock switches that follow, the
processor's clock that results, and which peripherals are clocked or held in reset.
"""

from __future__ import annotations

from collections.abc import Callable

from gdbflash.board.memory import Registers

HSI_HZ, CSI_HZ = 64_000_000, 4_000_000

_CR, _CFGR, _D1CFGR, _PLLCKSELR, _PLLCFGR = 0x00, 0x10, 0x18, 0x28, 0x2C
_D2CFGR, _PLL1DIVR, _PLL1FRACR, _BDCR, _CSR, _RSR = 0x1C, 0x30, 0x34, 0x70, 0x74, 0xD0
RSTR, ENR = range(0x7C, 0xA0, 4), range(0xD4, 0xF8, 4)
BUSES = ("AHB3", "AHB1", "AHB2", "AHB4", "APB3", "APB1L", "APB1H", "APB2", "APB4")
"""In the order of RSTR and ENR."""
_C1_COPY, _C1_SHIFT = range(0x130, 0x190, 4), 0x60
"""The same registers once more, as the first core of dual-core parts sees them."""

_READY = ((0, 2), (7, 8), (12, 13), (16, 17), (24, 25), (26, 27), (28, 29))
"""Bits of RCC_CR: an enable, and the ready flag that follows it."""
_CR_READY = sum(1 << ready for _, ready in _READY)
_HSION, _HSIDIV, _HSIDIVF, _D1CKRDY_D2CKRDY = 1, 3, 1 << 5, 3 << 14
_SOURCE_ENABLE = (0, 7, 16, 24)
"""Bits of RCC_CR behind CFGR.SW: HSI, CSI, HSE, PLL1."""

_RESET = {
    _CR: 0x00000001,
    0x04: 0x40000000,  # ICSCR
    0x0C: 0x20000000,  # CSICFGR
    _PLLCKSELR: 0x02020200,
    _PLLCFGR: 0x01FF0000,
    _PLL1DIVR: 0x01010280,
    0x38: 0x01010280,
    0x40: 0x01010280,
    0xDC: 0x00000000,
}
_FLAGS_POWER_ON, _FLAGS_SOFTWARE, _FLAGS_WATCHDOG = 0x00FE0000, 0x01420000, 0x04420000
"""RCC_RSR: brown-out, power-on, pin, domain and CPU flags; software reset, which pulls the pin too; IWDG1 likewise."""
_D1CPRE = {8: 2, 9: 4, 10: 8, 11: 16, 12: 64, 13: 128, 14: 256, 15: 512}


class Rcc(Registers):
    """The registers; on_change is called when clocks, clock gates or peripheral resets may have changed."""

    def __init__(self, hse_hz: int, on_change: Callable[[], None]) -> None:
        self.hse_hz = hse_hz
        self._on_change = on_change
        self._reset_flags = _FLAGS_POWER_ON
        self.by_watchdog = False
        """Whether IWDG1 causes the next reset."""
        self._backup: dict[int, int] = {_BDCR: 0}
        super().__init__(0x58024400, 0x400, reset_values=_RESET)

    def read_word(self, offset: int) -> int:
        """Read a word; flags follow their enables at once."""
        if offset in _C1_COPY:
            offset -= _C1_SHIFT
        word = super().read_word(offset)
        if offset == _CR:
            return self._control(word)
        if offset == _CFGR:
            return word & ~0x38 | (word & 7) << 3  # SWS
        if offset == _BDCR:
            return self._backup[_BDCR] & ~2 | (self._backup[_BDCR] & 1) << 1
        if offset == _CSR:
            return word & ~2 | (word & 1) << 1
        if offset == _RSR:
            return self._reset_flags
        return word

    def _control(self, word: int) -> int:
        word &= ~_CR_READY
        for enable, ready in _READY:
            word |= (word >> enable & 1) << ready
        return word | _HSIDIVF | _D1CKRDY_D2CKRDY

    def write_word(self, offset: int, value: int) -> None:
        """Write a word, keeping the oscillator that the system runs from (8.7.2)."""
        if offset in _C1_COPY:
            offset -= _C1_SHIFT
        if offset == _CR:
            value |= 1 << _SOURCE_ENABLE[self.words.get(_CFGR, 0) & 3]
            if self.words.get(_CFGR, 0) & 3 == 3:  # and what feeds PLL1
                value |= 1 << _SOURCE_ENABLE[self.words[_PLLCKSELR] & 3] if self.words[_PLLCKSELR] & 3 < 3 else 0
        elif offset == _CFGR and not self._is_ready(value & 7):
            value = value & ~7 | self.words.get(_CFGR, 0) & 7
        elif offset == _RSR:
            if value & 1 << 16:  # RMVF
                self._reset_flags = 0
            return
        elif offset == _BDCR:
            self._backup[_BDCR] = 0 if value & 1 << 16 else value  # BDRST
            return
        super().write_word(offset, value)
        self._on_change()

    def _is_ready(self, source: int) -> bool:
        return source < 4 and bool(self.words.get(_CR, 0) >> _SOURCE_ENABLE[source] & 1)

    def reset(self) -> None:
        """Do a system reset: the backup domain and the flags of the cause stay."""
        super().reset()
        self._reset_flags |= _FLAGS_WATCHDOG if self.by_watchdog else _FLAGS_SOFTWARE
        self.by_watchdog = False
        self._on_change()

    def is_clocked(self, enable_register: int, bit: int) -> bool:
        """Tell whether the bit of an ENR register, by its offset, is set."""
        return bool(self.words.get(enable_register, 0) >> bit & 1)

    def is_held(self, reset_register: int, bit: int) -> bool:
        """Tell whether the bit of an RSTR register, by its offset, is set."""
        return bool(self.words.get(reset_register, 0) >> bit & 1)

    @property
    def processor_hz(self) -> float:
        """The clock of the core: the system clock behind D1CPRE."""
        source = self.words.get(_CFGR, 0) & 3
        hertz = self._pll1_hz() if source == 3 else self._oscillator(source)
        return max(hertz, 1.0) / _D1CPRE.get(self.words.get(_D1CFGR, 0) >> 8 & 0xF, 1)

    def timer_hz(self, bus: str) -> float:
        """Return the kernel clock of the timers on APB1L or APB2 (8.5.5, timer clock frequencies)."""
        hclk = self.processor_hz / _D1CPRE.get(self.words.get(_D1CFGR, 0) & 0xF, 1)
        code = self.words.get(_D2CFGR, 0) >> (4 if bus == "APB1L" else 8) & 7
        divider = 2 << (code - 4) if code >= 4 else 1
        multiplier = 4 if self.words.get(_CFGR, 0) >> 15 & 1 else 2  # TIMPRE
        return hclk / max(1, divider // multiplier)

    def _oscillator(self, source: int) -> float:
        hsi = HSI_HZ >> (self.words.get(_CR, 0) >> 3 & _HSIDIV)
        return float((hsi, CSI_HZ, self.hse_hz, 0)[source])

    def _pll1_hz(self) -> float:
        selection, division = self.words[_PLLCKSELR], self.words[_PLL1DIVR]
        divider = selection >> 4 & 0x3F
        if not divider or selection & 3 == 3:
            return 0.0
        multiplier = (division & 0x1FF) + 1.0
        if self.words[_PLLCFGR] & 1:  # PLL1FRACEN
            multiplier += (self.words.get(_PLL1FRACR, 0) >> 3 & 0x1FFF) / 8192
        return self._oscillator(selection & 3) / divider * multiplier / ((division >> 9 & 0x7F) + 1)
