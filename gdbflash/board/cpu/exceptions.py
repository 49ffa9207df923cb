"""Exceptions of ARMv7-M: which are pending, active and enabled, and which one is taken next.

What belongs here: numbers, priorities and fault status, as state and rules without registers or memory. Entry and
return, which move registers, are in `processor`. Source: ARM DDI 0403E, B1.5 (the exception model) and B3.2 (SCB).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

IRQS = 150
"""Interrupts of the STM32H750 (RM0433 table 145); their exception numbers begin at 16."""

PRIORITY_BITS = 0xF0
"""The STM32H7 implements four bits of priority (PM0253, 2.3.6)."""


class Number(enum.IntEnum):
    """Exception numbers (B1.5.1)."""

    NMI = 2
    HARD_FAULT = 3
    MEM_MANAGE = 4
    BUS_FAULT = 5
    USAGE_FAULT = 6
    SVCALL = 11
    DEBUG_MONITOR = 12
    PENDSV = 14
    SYSTICK = 15
    IRQ0 = 16


class Cfsr(enum.IntFlag):
    """Configurable Fault Status Register, 0xE000ED28 (B3.2.15)."""

    IACCVIOL = 1 << 0
    DACCVIOL = 1 << 1
    MUNSTKERR = 1 << 3
    MSTKERR = 1 << 4
    MMARVALID = 1 << 7
    IBUSERR = 1 << 8
    PRECISERR = 1 << 9
    IMPRECISERR = 1 << 10
    UNSTKERR = 1 << 11
    STKERR = 1 << 12
    BFARVALID = 1 << 15
    UNDEFINSTR = 1 << 16
    INVSTATE = 1 << 17
    INVPC = 1 << 18
    NOCP = 1 << 19
    UNALIGNED = 1 << 24
    DIVBYZERO = 1 << 25


class Hfsr(enum.IntFlag):
    """HardFault Status Register, 0xE000ED2C (B3.2.16)."""

    VECTTBL = 1 << 1
    FORCED = 1 << 30
    DEBUGEVT = 1 << 31


class Ccr(enum.IntFlag):
    """Configuration and Control Register, 0xE000ED14 (B3.2.8)."""

    NONBASETHRDENA = 1 << 0
    UNALIGN_TRP = 1 << 3
    DIV_0_TRP = 1 << 4
    BFHFNMIGN = 1 << 8
    STKALIGN = 1 << 9


class Shcsr(enum.IntFlag):
    """Enable bits of the System Handler Control and State Register, 0xE000ED24 (B3.2.13)."""

    MEMFAULTENA = 1 << 16
    BUSFAULTENA = 1 << 17
    USGFAULTENA = 1 << 18


_ENABLED_BY = {
    Number.MEM_MANAGE: Shcsr.MEMFAULTENA,
    Number.BUS_FAULT: Shcsr.BUSFAULTENA,
    Number.USAGE_FAULT: Shcsr.USGFAULTENA,
}
_FIXED = {Number.NMI: -2, Number.HARD_FAULT: -1}
THREAD_PRIORITY = 256
"""Lower than every exception's."""


@dataclass
class Exceptions:
    """The state of the exception model."""

    pending: set[int] = field(default_factory=set)
    active: set[int] = field(default_factory=set)
    enabled_irqs: set[int] = field(default_factory=set)
    lines: set[int] = field(default_factory=set)
    """Interrupts whose line is high: they pend again when their handler returns (B3.4)."""
    priorities: dict[int, int] = field(default_factory=dict)
    group: int = 0
    """AIRCR.PRIGROUP"""
    shcsr: int = 0
    """The enable bits."""
    ccr: int = Ccr.STKALIGN | 0x40000  # BP reads as one on a Cortex-M7
    cfsr: int = 0
    hfsr: int = 0
    mmfar: int = 0
    bfar: int = 0
    vtor: int = 0
    monitor_enabled: bool = False
    """DEMCR.MON_EN"""

    def reset(self) -> None:
        """Return to the state after a system reset."""
        vars(self).update(vars(Exceptions()))

    def priority(self, number: int) -> int:
        """Return the priority of an exception; smaller is more urgent."""
        return _FIXED[Number(number)] if number in _FIXED else self.priorities.get(number, 0)

    def group_priority(self, number: int) -> int:
        """Return the priority that counts for preemption (B1.5.4)."""
        return self._group(self.priority(number))

    def _group(self, priority: int) -> int:
        return priority if priority < 0 else priority >> self.group + 1 << self.group + 1

    def execution_priority(self, primask: int, basepri: int, faultmask: int) -> int:
        """Return the priority of what executes now, masks included (B1.5.4)."""
        boosted = [THREAD_PRIORITY]
        boosted += [self.group_priority(number) for number in self.active]
        if basepri & PRIORITY_BITS:
            boosted.append(self._group(basepri & PRIORITY_BITS))
        if primask & 1:
            boosted.append(0)
        if faultmask & 1:
            boosted.append(-1)
        return min(boosted)

    def enabled(self, number: int) -> bool:
        """Tell whether an exception can be taken at all."""
        if number >= Number.IRQ0:
            return number - Number.IRQ0 in self.enabled_irqs
        if number in _ENABLED_BY:
            return bool(self.shcsr & _ENABLED_BY[Number(number)])
        return True

    def most_urgent(self) -> int | None:
        """Return the pending and enabled exception of the highest priority; lower numbers win ties."""
        candidates = [number for number in self.pending if self.enabled(number)]
        return min(candidates, key=lambda number: (self.priority(number), number), default=None)

    def due(self, execution_priority: int) -> int | None:
        """Return the pending exception that preempts what executes now; None if there is none."""
        number = self.most_urgent()
        if number is not None and self.group_priority(number) < execution_priority:
            return number
        return None

    def set_line(self, irq: int, high: bool) -> None:
        """Drive an interrupt line: high makes it pend, also again after its handler."""
        number = Number.IRQ0 + irq
        if high:
            self.lines.add(number)
            self.pending.add(number)
        else:
            self.lines.discard(number)

    def enter(self, number: int) -> None:
        """Make an exception active; it pends no longer."""
        self.pending.discard(number)
        self.active.add(number)

    def leave(self, number: int) -> None:
        """Make an exception inactive; a line that is still high pends it again."""
        self.active.discard(number)
        if number in self.lines:
            self.pending.add(number)
