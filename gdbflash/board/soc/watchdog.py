"""The independent watchdog IWDG1 of the STM32H7 (RM0433 revision 7, chapter 45).

What belongs here: the counter on the slow clock, its keys, and what freezes it. A reset that falls due while the core
is halted is made when it goes on. New prescalers and reload values count at once, so that IWDG_SR reads as zero.
"""

from __future__ import annotations

from collections.abc import Callable

from gdbflash.board.clock import Clock
from gdbflash.board.memory import Registers

LSI_HZ = 32_000
_KR, _PR, _RLR, _SR, _WINR = 0x00, 0x04, 0x08, 0x0C, 0x10
_START, _REFRESH, _UNLOCK = 0xCCCC, 0xAAAA, 0x5555
_TWELVE = 0xFFF


class IndependentWatchdog(Registers):
    """IWDG1."""

    def __init__(
        self,
        clock: Clock,
        by_hardware: Callable[[], bool],
        frozen: Callable[[], bool],
        bite: Callable[[], None],
        on_armed: Callable[[], None],
    ) -> None:
        """by_hardware: whether an option bit starts it; frozen: whether it stands still; bite: resets the device.

        on_armed is called when it may bite at another time than before.
        """
        self._clock = clock
        self._on_armed = on_armed
        self._by_hardware = by_hardware
        self._frozen = frozen
        self._bite = bite
        self._on = False
        self._unlocked = False
        self._count = 0.0
        self._since = 0.0
        super().__init__(0x58004800, 0x400, reset_values={_RLR: _TWELVE, _WINR: _TWELVE})

    def reset(self) -> None:
        """Stop, and start again where the option bit says so (45.3.2)."""
        super().reset()
        self._unlocked = False
        self._on = self._by_hardware()
        self._since = self._clock.now()
        self._reload()

    def settle(self) -> None:
        """Count up to now; to be called before what freezes it changes."""
        now = self._clock.now()
        if self._on and not self._frozen():
            self._count -= (now - self._since) / self._tick
        self._since = now
        if self._on and self._count < 0:
            self._on = False
            self._bite()

    def next_event(self) -> float | None:
        """Return the board seconds until it bites, None while it does not count."""
        return max(0.0, self._count * self._tick) if self._on and not self._frozen() else None

    def read_word(self, offset: int) -> int:
        """Read a word; keys cannot be read."""
        return 0 if offset in (_KR, _SR) else super().read_word(offset)

    def write_word(self, offset: int, value: int) -> None:
        """Write a word: a key, or a value behind the lock (45.3.4)."""
        self.settle()
        if offset == _KR:
            self._unlocked = value == _UNLOCK
            if value == _START:
                self._on = True
                self._reload()
            elif value == _REFRESH and self._on:
                if self._count > self.words[_WINR]:  # before the window opened (45.3.3)
                    self._count = -1.0
                    self.settle()
                else:
                    self._reload()
        elif offset in (_PR, _RLR, _WINR) and self._unlocked:
            super().write_word(offset, value & (7 if offset == _PR else _TWELVE))
            if offset == _WINR and self._on:
                self._reload()
        self._on_armed()

    def _reload(self) -> None:
        self._count = float(self.words[_RLR])

    @property
    def _tick(self) -> float:
        """Board seconds between two counts."""
        return (4 << min(self.words.get(_PR, 0), 6)) / LSI_HZ
