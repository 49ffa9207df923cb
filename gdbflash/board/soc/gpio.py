"""A GPIO port of the STM32H7 (RM0433 revision 7, chapter 11)."""

from __future__ import annotations

from gdbflash.board.memory import Registers

_MODER, _OSPEEDR, _PUPDR, _IDR, _ODR, _BSRR, _LCKR = 0x00, 0x08, 0x0C, 0x10, 0x14, 0x18, 0x1C
_RESET_OF_PORT = {
    0: {_MODER: 0xABFFFFFF, _OSPEEDR: 0x0C000000, _PUPDR: 0x64000000},
    1: {_MODER: 0xFFFFFEBF, _OSPEEDR: 0x000000C0, _PUPDR: 0x00000100},
}
"""Ports A and B come up with the debug pins as alternate functions (11.4)."""
OUTPUT = 1


class Gpio(Registers):
    """Port 0 is GPIOA. Pins are not connected: an input reads its pull-up, an output what it drives."""

    def __init__(self, port: int) -> None:
        reset_values = _RESET_OF_PORT.get(port, {_MODER: 0xFFFFFFFF})
        super().__init__(0x58020000 + 0x400 * port, 0x400, reset_values=reset_values)

    def mode(self, pin: int) -> int:
        """Return the mode of a pin: 0 input, 1 output, 2 alternate function, 3 analog."""
        return self.words[_MODER] >> 2 * pin & 3

    def alternate_function(self, pin: int) -> int:
        """Return the number of the alternate function that is selected for a pin."""
        return self.words.get(0x20 + 4 * (pin >> 3), 0) >> 4 * (pin & 7) & 0xF

    def read_word(self, offset: int) -> int:
        """Read a word; IDR comes from the pins."""
        if offset == _IDR:
            return sum(self._level(pin) << pin for pin in range(16))
        if offset == _BSRR:
            return 0
        return super().read_word(offset)

    def _level(self, pin: int) -> int:
        if self.mode(pin) == OUTPUT:
            return self.words.get(_ODR, 0) >> pin & 1
        pulled_up = self.words.get(_PUPDR, 0) >> 2 * pin & 3 == 1
        return int(pulled_up and self.mode(pin) == 0)

    def write(self, offset: int, size: int, value: int) -> None:
        """Write a register or a part; of BSRR the other half means nothing."""
        if offset & ~3 == _BSRR:
            value <<= 8 * (offset & 3)
            odr = self.words.get(_ODR, 0)
            self.words[_ODR] = (odr & ~(value >> 16) | value) & 0xFFFF
        elif offset & ~3 != _IDR:
            super().write(offset, size, value)
