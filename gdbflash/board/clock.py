"""The board's time base: one clock for timers of the core and busy times of the flash chip.

Board time is the host's monotonic time, multiplied by a scale, plus what was skipped. At the default scale of 1
a HAL_Delay(10) takes ten real milliseconds and a busy loop as long as the emulated instructions need; nothing
depends on how many instructions the emulator manages a second.
"""

from __future__ import annotations

import threading
import time

_WAKE_UP = 0.0003
"""Seconds that a sleep may last too long."""
_LONGEST_REST = 0.002


def pause(seconds: float) -> None:
    """Let host seconds pass, as exactly as the host can: a link that is late by a sleep's error is another link."""
    end = time.perf_counter() + seconds
    if seconds > _WAKE_UP:
        time.sleep(seconds - _WAKE_UP)
    while time.perf_counter() < end:
        time.sleep(0)  # others get their turn


class Clock:
    """Board time in seconds since power-on; safe to use from any thread."""

    def __init__(self, scale: float = 1.0) -> None:
        """Start at zero; scale is board seconds per host second and must be positive."""
        if scale <= 0:
            raise ValueError(f"clock scale must be positive, not {scale}")
        self.scale = scale
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self._skipped = 0.0
        self.stirring = threading.Event()
        """Set while somebody waits for the core."""

    def now(self) -> float:
        """Return the board time, seconds."""
        return (time.monotonic() - self._start) * self.scale + self._skipped

    def skip(self, seconds: float) -> None:
        """Let board time jump ahead; negative values are ignored."""
        if seconds > 0:
            with self._lock:
                self._skipped += seconds

    def rest(self, seconds: float) -> None:
        """Let the host sleep while a model has nothing to do for so many board seconds.

        Returns a little before they have passed, and at once when somebody is `stirring`: the model may be in the
        middle of an access of the core.
        """
        spare = self.host_seconds(seconds) - _WAKE_UP
        if spare > 0:
            self.stirring.wait(min(spare, _LONGEST_REST))

    def host_seconds(self, seconds: float) -> float:
        """Return how long the host has to wait for so many board seconds."""
        return seconds / self.scale
