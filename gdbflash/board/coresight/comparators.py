"""The hardware comparators of a Cortex-M7: FPB breakpoints and DWT watchpoints, as registers.

What belongs here: the registers of the two units, translated into breakpoints and watchpoints of a DebugPort.
"""

from __future__ import annotations

from typing import NamedTuple

from gdbflash.board.debug import DebugPort

BREAKPOINTS = 8
WATCHPOINTS = 4
"""As the STM32H7 has them (ST RM0433 section 60.5)."""

_FP_CTRL, _FP_REMAP, _FP_COMP0 = 0x000, 0x004, 0x008
_FP_REVISION_2 = 1 << 28
_FP_KEY = 1 << 1
_FP_ENABLE = 1 << 0

_DWT_COMP0, _DWT_STRIDE = 0x020, 0x10
_DWT_MATCHED = 1 << 24
_DWT_ACCESSES = {5: "r", 6: "w", 7: "rw"}
"""FUNCTION values that halt on a data address match (ARM DDI 0403E.e, table C1-14)."""


class BreakpointUnit:
    """FPB version 2: comparators match any even address (ARM DDI 0403E.e, C1.11)."""

    def __init__(self, port: DebugPort) -> None:
        self._port = port
        self._enabled = False
        self._comparators = [0] * BREAKPOINTS
        self.active: frozenset[int] = frozenset()
        """The addresses that halt the core now."""

    def read(self, offset: int) -> int:
        """Read the register at offset, a multiple of 4."""
        if offset == _FP_CTRL:
            return _FP_REVISION_2 | BREAKPOINTS << 4 | self._enabled
        index = (offset - _FP_COMP0) // 4
        return self._comparators[index] if 0 <= index < BREAKPOINTS else 0

    def write(self, offset: int, value: int) -> None:
        """Write the register at offset; FP_CTRL only takes a value with KEY."""
        index = (offset - _FP_COMP0) // 4
        if offset == _FP_CTRL and value & _FP_KEY:
            self._enabled = bool(value & _FP_ENABLE)
        elif offset != _FP_REMAP and 0 <= index < BREAKPOINTS:
            self._comparators[index] = value
        self._apply()

    def restore(self) -> None:
        """Set the breakpoints again: a system reset leaves the FPB as it is (C1.11.2)."""
        for address in self.active:
            self._port.set_breakpoint(address)

    def _apply(self) -> None:
        wanted = frozenset(c & ~1 for c in self._comparators if c & 1) if self._enabled else frozenset()
        for address in self.active - wanted:
            self._port.clear_breakpoint(address)
        for address in wanted - self.active:
            self._port.set_breakpoint(address)
        self.active = wanted


class _Watchpoint(NamedTuple):
    address: int
    size: int
    access: str


class WatchpointUnit:
    """The DWT comparators, for data address matches; other functions are kept and do nothing."""

    def __init__(self, port: DebugPort) -> None:
        self._port = port
        self._registers = [[0, 0, 0] for _ in range(WATCHPOINTS)]
        self._active: list[_Watchpoint | None] = [None] * WATCHPOINTS
        self._matched = [False] * WATCHPOINTS

    @staticmethod
    def owns(offset: int) -> bool:
        """Tell whether a DWT offset is a comparator's; the counters below belong to the machine."""
        return offset >= _DWT_COMP0

    def read(self, offset: int) -> int:
        """Read COMPn, MASKn or FUNCTIONn; reading FUNCTIONn clears its MATCHED."""
        index, field = self._locate(offset)
        if index >= WATCHPOINTS or field > 2:
            return 0
        value = self._registers[index][field]
        if field == 2 and self._matched[index]:
            self._matched[index] = False
            value |= _DWT_MATCHED
        return value

    def write(self, offset: int, value: int) -> None:
        """Write COMPn, MASKn or FUNCTIONn."""
        index, field = self._locate(offset)
        if index >= WATCHPOINTS or field > 2:
            return
        self._registers[index][field] = value & ~_DWT_MATCHED if field == 2 else value
        self._apply(index)

    def matched(self) -> None:
        """Note that a watchpoint halted the core; every armed comparator says so, as none is known better."""
        self._matched = [active is not None for active in self._active]

    def restore(self) -> None:
        """Set the watchpoints again after a system reset, which leaves the DWT as it is."""
        for watchpoint in filter(None, self._active):
            self._port.set_watchpoint(*watchpoint)

    @staticmethod
    def _locate(offset: int) -> tuple[int, int]:
        index, rest = divmod(offset - _DWT_COMP0, _DWT_STRIDE)
        return index, rest // 4

    def _apply(self, index: int) -> None:
        comparator, mask, function = self._registers[index]
        access = _DWT_ACCESSES.get(function & 0xF)
        # MASK is the number of low address bits that are ignored.
        size = 1 << (mask & 0x1F)
        wanted = _Watchpoint(comparator & ~(size - 1), size, access) if access else None
        if wanted == self._active[index]:
            return
        current, self._active[index] = self._active[index], wanted
        if current and current not in self._active:
            self._port.clear_watchpoint(*current)
        if wanted:
            self._port.set_watchpoint(*wanted)
