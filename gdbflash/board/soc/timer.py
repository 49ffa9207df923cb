"""The timers TIM1 to TIM17 of the STM32H7 as time bases (RM0433 revision 7, chapters 38 to 42).

What belongs here: an up-counter with prescaler, auto-reload and update event, which delays, timeouts and a HAL's tick
use. Channels, other directions and slave modes are kept as registers only. Like SysTick the count is computed from
board time when somebody looks.
"""

from __future__ import annotations

from collections.abc import Callable

from gdbflash.board.clock import Clock
from gdbflash.board.memory import Registers

_CR1, _DIER, _SR, _EGR, _CNT, _PSC, _ARR = 0x00, 0x0C, 0x10, 0x14, 0x24, 0x28, 0x2C
_CEN, _UDIS, _URS, _OPM = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_UIF, _UIE, _UG = 1 << 0, 1 << 0, 1 << 0

TIMERS = (
    # base, interrupt, bus, bit of the clock gate, 32 bits
    (0x40010000, 25, "APB2", 0, False),
    (0x40000000, 28, "APB1L", 0, True),
    (0x40000400, 29, "APB1L", 1, False),
    (0x40000800, 30, "APB1L", 2, False),
    (0x40000C00, 50, "APB1L", 3, True),
    (0x40001000, 54, "APB1L", 4, False),
    (0x40001400, 55, "APB1L", 5, False),
    (0x40010400, 44, "APB2", 1, False),
    (0x40001800, 43, "APB1L", 6, False),
    (0x40001C00, 44, "APB1L", 7, False),
    (0x40002000, 45, "APB1L", 8, False),
    (0x40014000, 116, "APB2", 16, False),
    (0x40014400, 117, "APB2", 17, False),
    (0x40014800, 118, "APB2", 18, False),
)
"""RM0433 tables 8 and 145, 8.7.40 to 8.7.44; interrupts are those of the update event."""

_REST = 4
"""How many times as long as an update waited for its handler the next one is put off at least, since a handler takes
far longer in emulation (see systick)."""
_LONGEST_REST = 0.005
"""Seconds."""


class Timer(Registers):
    """One timer; wide: 32 bits.

    hertz tells its kernel clock. interrupt is called when the line's level changes, on_armed when it may rise at
    another time than before.
    """

    def __init__(
        self,
        base: int,
        clock: Clock,
        hertz: Callable[[], float],
        interrupt: Callable[[bool], None],
        on_armed: Callable[[], None],
        *,
        wide: bool,
    ) -> None:
        self._limit = 0xFFFFFFFF if wide else 0xFFFF
        super().__init__(base, 0x400, reset_values={_ARR: self._limit})
        self._clock = clock
        self._hertz = hertz
        self._rate = hertz()
        self._interrupt = interrupt
        self._on_armed = on_armed
        self._level = False
        self._since = 0.0
        self._count = 0.0  # at _since, prescaled ticks with their fraction
        self._prescaler = 0  # in force: PSC is taken over by updates
        self._raised = 0.0  # when UIF was set
        self._quiet_until = 0.0

    def settle(self) -> None:
        """Bring the count to this moment, raise what that raises, and go on with the clock there is now."""
        now = self._clock.now()
        if self._counts:
            self._count += (now - self._since) * self._rate / (self._prescaler + 1)
            if self._count >= self._period:
                self._wrap(now)
        self._since = now
        self._rate = self._hertz()
        self._update_interrupt()

    def _wrap(self, now: float) -> None:
        control = self.words[_CR1]
        waiting = now < self._quiet_until and bool(self.words.get(_DIER, 0) & _UIE)
        if control & _OPM:
            self.words[_CR1] = control & ~_CEN
            self._count = 0.0
        else:
            self._count %= self._period
        if not control & _UDIS and not waiting:
            self._prescaler = self.words.get(_PSC, 0)
            self._raise_update(now)

    @property
    def _counts(self) -> bool:
        """Tell whether it is on; with ARR = 0 it stands still (38.3.1)."""
        return bool(self.words.get(_CR1, 0) & _CEN and self.words.get(_ARR, 0) & self._limit)

    @property
    def _period(self) -> int:
        return (self.words.get(_ARR, 0) & self._limit) + 1

    def _raise_update(self, now: float) -> None:
        if not self.words.get(_SR, 0) & _UIF:
            self.words[_SR] = self.words.get(_SR, 0) | _UIF
            self._raised = now

    def _update_interrupt(self) -> None:
        level = bool(self.words.get(_SR, 0) & self.words.get(_DIER, 0) & _UIE)
        if level != self._level:
            self._level = level
            self._interrupt(level)

    @property
    def interrupts(self) -> bool:
        """Whether the line is going to rise by itself."""
        return self._counts and bool(self.words.get(_DIER, 0) & _UIE) and not self._level

    def next_update(self) -> float:
        """Return the board seconds until it does."""
        now = self._clock.now()
        left = (self._period - self._count) * (self._prescaler + 1) / self._rate - (now - self._since)
        return max(left, self._quiet_until - now, 0.0)

    def read_word(self, offset: int) -> int:
        """Read a word."""
        self.settle()
        if offset == _CNT:
            return int(self._count) & self._limit
        return 0 if offset == _EGR else super().read_word(offset)

    def write_word(self, offset: int, value: int) -> None:
        """Write a word; SR is cleared by zeros, EGR.UG starts anew."""
        self.settle()
        now = self._clock.now()
        if offset == _SR:
            if self.words.get(_SR, 0) & ~value & _UIF:
                self._quiet_until = now + min(_REST * (now - self._raised), _LONGEST_REST)
            self.words[_SR] = self.words.get(_SR, 0) & value
        elif offset == _EGR:
            if value & _UG:
                self._count = 0.0
                self._prescaler = self.words.get(_PSC, 0)
                if not self.words.get(_CR1, 0) & (_UDIS | _URS):
                    self._raise_update(now)
        elif offset == _CNT:
            self._count = float(value & self._limit)
        else:
            super().write_word(offset, value)
        self._update_interrupt()
        if self.interrupts:
            self._on_armed()

    def reset(self) -> None:
        """Return to the reset values."""
        super().reset()
        self._count, self._prescaler, self._quiet_until = 0.0, 0, 0.0
        self._since = self._clock.now()
        self._update_interrupt()
