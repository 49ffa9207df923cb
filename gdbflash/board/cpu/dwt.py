"""The cycle counter of the DWT unit at 0xE0001000, as a program sees it (ARM DDI 0403E, C1.8)."""

from __future__ import annotations

from collections.abc import Callable

from gdbflash.board.cpu.systick import CycleCounter
from gdbflash.board.memory import Registers

_CTRL, _CYCCNT, _LAR, _LSR = 0x000, 0x004, 0xFB0, 0xFB4
_NUMCOMP, _CYCCNTENA = 4 << 28, 1
_KEY = 0xC5ACCE55


class Dwt(Registers):
    """DWT without its comparators, which debuggers reach by DebugPort.set_watchpoint.

    trace_enabled tells DEMCR.TRCENA.
    """

    def __init__(self, cycles: CycleCounter, trace_enabled: Callable[[], bool]) -> None:
        super().__init__(0xE0001000, 0x1000)
        self._cycles = cycles
        self._trace_enabled = trace_enabled
        self._base = 0  # cycle count at which CYCCNT was zero
        self._frozen = 0

    def read_word(self, offset: int) -> int:
        """Read a word; CYCCNT is computed."""
        if offset == _CTRL:
            return _NUMCOMP | super().read_word(_CTRL)
        if offset == _CYCCNT:
            return self._count()
        return super().read_word(offset)

    def write_word(self, offset: int, value: int) -> None:
        """Write a word; without TRCENA nothing happens."""
        if not self._trace_enabled():
            return
        if offset == _CYCCNT:
            self._set(value)
        elif offset == _CTRL:
            count = self._count()
            super().write_word(_CTRL, value & 0x0FFFFFFF)
            self._set(count)
        else:
            super().write_word(offset, value)

    def _counting(self) -> bool:
        return self._trace_enabled() and bool(super().read_word(_CTRL) & _CYCCNTENA)

    def _count(self) -> int:
        return (self._cycles.now() - self._base) & 0xFFFFFFFF if self._counting() else self._frozen

    def _set(self, value: int) -> None:
        self._frozen = value
        self._base = self._cycles.now() - value

    def reset(self) -> None:
        """Do nothing: a system reset leaves debug registers alone (C1.6.5)."""
