"""The device's independent watchdog (IWDG), which neither halts nor loaders think of.

What belongs here: what is done so that it does not reset the device in the middle of a run, and how that is taken
back. It runs on a clock of its own and cannot be stopped; an option bit has it started by each reset, with a period of
half a second. While the core is halted DBGMCU can hold it still; while a loader runs only a refresh helps.

Source: of the STM32H7 RM0433, chapters 45 (IWDG), 60.5.8 (DBGMCU_APB4FZ1), 8.7.39 (RCC_RSR) and 4.9.9
(FLASH_OPTSR_CUR); registers and keys are the same on every line, places are in `table`.
"""

from __future__ import annotations

import time

from gdbflash.errors import ConnectionLost, TargetError
from gdbflash.events import Detailed, Noted, Observer
from gdbflash.onchip.device.table import DEVICES, Bit, Watchdog
from gdbflash.target import Target

_KR, _PR, _RLR, _SR = 0x0, 0x4, 0x8, 0xC
_REFRESH, _UNLOCK = 0xAAAA, 0x5555
SLOWEST, LONGEST = 6, 0xFFF
"""Prescaler 256 and all 12 bits: 22 s at the fastest 47 kHz of the slow oscillators, 33 s at 32 kHz."""
REFRESH_SECONDS = 2.0
"""Between two refreshes: however late the next call comes, ten times as long is left for it."""
_UPDATES = 10
"""Looks at IWDG_SR until a new period is in force: five periods of the slow clock, less than one packet takes."""


class WatchdogCare:
    """Keeps the watchdog of one device from ending a run."""

    def __init__(self, target: Target, device_id: int | None, observe: Observer) -> None:
        """Nothing is touched yet."""
        device = DEVICES.get(device_id) if device_id is not None else None
        self._target = target
        self._observe = observe
        self._watchdog: Watchdog | None = device.watchdog if device is not None else None
        self._frozen_before: bool | None = None
        self._period_before: tuple[int, int] | None = None
        self._refreshed = 0.0

    def attend(self) -> None:
        """Hold the watchdog while the core is halted, and give one that runs by option bytes its longest period.

        To be called after each reset. Raises ConnectionLost; where the registers do not answer, it is let alone.
        """
        watchdog = self._watchdog
        if watchdog is None:
            return
        try:
            frozen = self._is_set(watchdog.freeze)
            if self._frozen_before is None:
                self._frozen_before = frozen
            if not frozen:
                self._set(watchdog.freeze, True)
            if not self._is_set(watchdog.by_software):
                self._lengthen(watchdog)
        except ConnectionLost:
            raise
        except TargetError as error:
            self._observe(Detailed("watchdog", f"The independent watchdog was let alone: {error.message}"))
            self._watchdog = None

    def _lengthen(self, watchdog: Watchdog) -> None:
        period = (self._word(watchdog.base + _PR), self._word(watchdog.base + _RLR))
        if self._period_before is None:
            self._period_before = period
            self._observe(
                Noted(
                    "watchdog", "Option bytes start the independent watchdog at each reset; it is refreshed meanwhile."
                )
            )
        self._set_period(watchdog, (SLOWEST, LONGEST))
        self._refreshed = time.monotonic()

    def _set_period(self, watchdog: Watchdog, period: tuple[int, int]) -> None:
        base = watchdog.base
        for register, value in ((_KR, _UNLOCK), (_PR, period[0]), (_RLR, period[1])):
            self._write(base + register, value)
        for _ in range(_UPDATES):
            if not self._word(base + _SR):
                break
        self._write(base + _KR, _REFRESH)

    def refresh(self) -> None:
        """Begin the period of a watchdog that runs anew, if that was not done lately; raises MemoryAccessError."""
        if self._watchdog is None or self._period_before is None:
            return
        now = time.monotonic()
        if now - self._refreshed >= REFRESH_SECONDS:
            self._write(self._watchdog.base + _KR, _REFRESH)
            self._refreshed = now

    def put_back(self) -> None:
        """Let the watchdog be as it was found; raises MemoryAccessError."""
        watchdog = self._watchdog
        if watchdog is None:
            return
        if self._period_before is not None:
            self._set_period(watchdog, self._period_before)
            self._period_before = None
        if self._frozen_before is False:
            self._set(watchdog.freeze, False)
        self._frozen_before = None

    def _is_set(self, bit: Bit) -> bool:
        return bool(self._word(bit.register) & bit.mask)

    def _set(self, bit: Bit, value: bool) -> None:
        word = self._word(bit.register) & ~bit.mask
        self._write(bit.register, word | (bit.mask if value else 0))

    def _word(self, address: int) -> int:
        return int.from_bytes(self._target.read_memory(address, 4), "little")

    def _write(self, address: int, value: int) -> None:
        self._target.write_memory(address, value.to_bytes(4, "little"))


def has_hit(target: Target, device_id: int | None) -> bool:
    """Tell whether the flags of the last resets name the watchdog; raises MemoryAccessError."""
    device = DEVICES.get(device_id) if device_id is not None else None
    if device is None or device.watchdog is None:
        return False
    hit = device.watchdog.hit
    return bool(int.from_bytes(target.read_memory(hit.register, 4), "little") & hit.mask)
