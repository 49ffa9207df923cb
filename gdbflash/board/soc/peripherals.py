"""Small peripherals of the STM32H750 that a loader may wait for or ask: logs, semaphores, numbers.

What belongs here: models of a few lines whose flags say what software polls; nothing is connected to their pins.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from gdbflash.board.memory import Registers


class Usart(Registers):
    """USART, UART or LPUART (RM0433 revision 7, 48.7): what is sent is gone at once, nothing arrives."""

    _CR1, _RQR, _ISR, _ICR, _TDR = 0x00, 0x18, 0x1C, 0x20, 0x28
    _UE, _RE, _TE = 1 << 0, 1 << 2, 1 << 3
    _TC, _TXE, _TEACK, _REACK, _TXFE, _FIFOEN = 1 << 6, 1 << 7, 1 << 21, 1 << 22, 1 << 23, 1 << 29

    def __init__(self, base: int) -> None:
        super().__init__(base, 0x400)

    def read_word(self, offset: int) -> int:
        """Read a word; ISR says that the transmitter is empty and follows the enables."""
        if offset in (self._RQR, self._ICR):
            return 0
        if offset != self._ISR:
            return super().read_word(offset)
        control = self.words.get(self._CR1, 0)
        flags = self._TC | self._TXE | (self._TXFE if control & self._FIFOEN else 0)
        if control & self._UE:
            flags |= (self._TEACK if control & self._TE else 0) | (self._REACK if control & self._RE else 0)
        return flags


class Itm(Registers):
    """The ITM of the core at 0xE0000000 (ARM DDI 0403E, C1.7): an enabled stimulus port has always room."""

    _TER, _TCR = 0xE00, 0xE80

    def __init__(self, trace_enabled: Callable[[], bool]) -> None:
        super().__init__(0xE0000000, 0x1000)
        self._trace_enabled = trace_enabled

    def read_word(self, offset: int) -> int:
        """Read a word; a stimulus port says whether it takes data."""
        if offset >= 0x80:
            return super().read_word(offset)
        enabled = self.words.get(self._TCR, 0) & self.words.get(self._TER, 0) >> (offset >> 2) & 1
        return int(enabled and self._trace_enabled())

    def reset(self) -> None:
        """Do nothing: a system reset leaves debug registers alone (C1.6.5)."""


class Hsem(Registers):
    """Hardware semaphores (RM0433 revision 7, chapter 10), asked by the one core there is."""

    _LOCK, _CORE = 1 << 31, 3 << 8
    _FIRST_READ_LOCK, _CLEAR, _KEY = 0x80, 0x140, 0x144

    def __init__(self) -> None:
        super().__init__(0x58026400, 0x400)

    def read_word(self, offset: int) -> int:
        """Read a word; of HSEM_RLR locks what is free."""
        if not self._FIRST_READ_LOCK <= offset < 2 * self._FIRST_READ_LOCK:
            return super().read_word(offset)
        return self.words.setdefault(offset - self._FIRST_READ_LOCK, 0) or self._take(offset - self._FIRST_READ_LOCK)

    def _take(self, offset: int) -> int:
        self.words[offset] = self._LOCK | self._CORE
        return self.words[offset]

    def write_word(self, offset: int, value: int) -> None:
        """Write a word; HSEM_R is taken where it is free, and given back by its owner alone (10.3.2)."""
        owner = value & 0xFFF
        if offset < self._FIRST_READ_LOCK:
            held = self.words.get(offset, 0)
            if owner & 0xF00 == self._CORE and not held and value & self._LOCK:
                self.words[offset] = self._LOCK | owner
            elif held & 0xFFF == owner and not value & self._LOCK:
                self.words[offset] = 0
        elif offset == self._CLEAR:
            if value >> 16 == self.words.get(self._KEY, 0) >> 16:
                self.words.update(dict.fromkeys(range(0, self._FIRST_READ_LOCK, 4), 0))
        elif offset > self._CLEAR or offset == 0x100:
            super().write_word(offset, value)


class Rng(Registers):
    """The random number generator (RM0433 revision 7, chapter 33): a number is always ready."""

    _CR, _SR, _DR, _RNGEN = 0x0, 0x4, 0x8, 1 << 2

    def __init__(self) -> None:
        super().__init__(0x48021800, 0x400)
        self._random = random.Random(self.base)

    def read_word(self, offset: int) -> int:
        """Read a word."""
        enabled = self.words.get(self._CR, 0) & self._RNGEN
        if offset == self._SR:
            return int(bool(enabled))
        if offset == self._DR:
            return self._random.getrandbits(32) if enabled else 0
        return super().read_word(offset)
