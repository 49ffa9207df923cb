"""SysTick and the cycle counter: what counts with the processor's clock.

Both are computed from board time when somebody looks, and stand still while the core is halted. Sources: ARM DDI
0403E, B3.3 (SysTick) and C1.8 (DWT_CYCCNT).
"""

from __future__ import annotations

from gdbflash.board.clock import Clock

_ENABLE, _TICKINT, _CLKSOURCE, _COUNTFLAG = 1, 2, 4, 1 << 16
_CTRL, _LOAD, _VAL, _CALIB = 0x0, 0x4, 0x8, 0xC

_REST = 4
"""How many times as long as its handler took the next tick is put off at least. A handler of a microsecond takes
hundreds of them in emulation: without a rest the program that it interrupts would not get on."""


class CycleCounter:
    """Cycles of the processor's clock since power-on."""

    def __init__(self, clock: Clock, hertz: float) -> None:
        self._clock = clock
        self._hertz = hertz
        self._counted = 0.0
        self._since: float | None = None

    def now(self) -> int:
        """Return the count; it never wraps."""
        if self._since is None:
            return int(self._counted)
        return int(self._counted + (self._clock.now() - self._since) * self._hertz)

    def seconds(self, cycles: float) -> float:
        """Return how much board time that many cycles take."""
        return cycles / self._hertz

    @property
    def hertz(self) -> float:
        """The processor's clock."""
        return self._hertz

    @hertz.setter
    def hertz(self, value: float) -> None:
        running = self._since is not None
        self.stop()
        self._hertz = value
        if running:
            self.start()

    def start(self) -> None:
        """Count from now on."""
        if self._since is None:
            self._since = self._clock.now()

    def stop(self) -> None:
        """Stand still."""
        if self._since is not None:
            self._counted += (self._clock.now() - self._since) * self._hertz
            self._since = None


class SysTick:
    """SYST_CSR, SYST_RVR, SYST_CVR and SYST_CALIB."""

    def __init__(self, cycles: CycleCounter) -> None:
        self._cycles = cycles
        self.reset()

    def reset(self) -> None:
        """Stop; the counter's value after reset is undefined in hardware, zero here."""
        self._control = 0
        self._reload = 0
        self._start_value = 0  # the counter when it was last set
        self._start = 0  # in ticks
        self._flag_read = 0  # zero crossings that COUNTFLAG has told
        self._pended = 0  # zero crossings that made an exception pend
        self._handled_since = 0  # cycles
        self._rest_end = 0

    def _ticks(self) -> int:
        now = self._cycles.now()
        return now if self._control & _CLKSOURCE else now >> 3  # STCLK is HCLK / 8 (RM0433, figure 47)

    def _elapsed(self) -> int:
        return self._ticks() - self._start if self._control & _ENABLE else 0

    def _first(self) -> int:
        """Ticks from the start to the first time at zero, counting a reload from zero first."""
        return self._start_value or self._reload + 1

    def _crossings(self) -> int:
        elapsed, first = self._elapsed(), self._first()
        if elapsed < first or (self._reload == 0 and self._start_value == 0):
            return 0
        return 1 + (elapsed - first) // (self._reload + 1) if self._reload else 1

    def _value(self) -> int:
        elapsed = self._elapsed()
        if elapsed <= self._start_value and (self._start_value or not elapsed):
            return self._start_value - elapsed
        behind = elapsed - self._start_value - 1
        return self._reload - behind % (self._reload + 1)

    def _restart(self, value: int) -> None:
        self._start_value = value
        self._start = self._ticks()
        self._flag_read = self._pended = 0

    def read(self, offset: int) -> int:
        """Read a register; SYST_CSR clears COUNTFLAG."""
        if offset == _CTRL:
            crossings = self._crossings()
            flag = _COUNTFLAG if crossings > self._flag_read else 0
            self._flag_read = crossings
            return self._control | flag
        if offset == _LOAD:
            return self._reload
        if offset == _VAL:
            return self._value()
        return 0x3E8  # SYST_CALIB: TENMS as ST gives it

    def write(self, offset: int, value: int) -> None:
        """Write a register; any write to SYST_CVR clears it and COUNTFLAG."""
        if offset == _CTRL:
            current = self._value()
            pended = self._crossings() > self._pended
            self._control = value & 7
            self._restart(current)
            self._pended = -1 if pended else 0
        elif offset == _LOAD:
            current = self._value()
            self._reload = value & 0xFFFFFF
            self._restart(current)
        elif offset == _VAL:
            self._restart(0)

    def take_tick(self) -> bool:
        """Tell, once each, whether the counter reached zero with TICKINT set."""
        if self._cycles.now() < self._rest_end:
            return False
        crossings = self._crossings()
        if crossings > self._pended:
            self._pended = crossings
            return bool(self._control & _TICKINT)
        return False

    def handler_begins(self) -> None:
        """Note that the exception is taken."""
        self._handled_since = self._cycles.now()

    def handler_ends(self) -> None:
        """Note that its handler returns."""
        now = self._cycles.now()
        self._rest_end = now + _REST * (now - self._handled_since)

    def next_tick(self) -> float | None:
        """Return the board seconds until take_tick has a tick; None if it never will or nobody wants to know."""
        if self._control & 3 != 3 or (self._reload == 0 and self._start_value == 0):
            return None
        elapsed, first = self._elapsed(), self._first()
        if elapsed < first:
            left = first - elapsed
        elif self._reload:
            left = self._reload + 1 - (elapsed - first) % (self._reload + 1)
        else:
            return None
        cycles = left if self._control & _CLKSOURCE else left * 8
        return self._cycles.seconds(max(cycles, self._rest_end - self._cycles.now()))
