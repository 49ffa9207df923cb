"""Show events to people at GDB's prompt, in the manner of GDB's own `load`.

What belongs here: the lines, and what an interruption leaves behind in words. `say` is where they go.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gdbflash.events import Advanced, Event, Finished, Noted, Phase, Started, Waited, bytes_in_words

_DOING: dict[Phase, str] = {
    "connect": "Connecting",
    "init": "Loading",
    "read": "Reading",
    "erase": "Erasing",
    "program": "Programming",
    "verify": "Verifying",
    "close": "Leaving",
}
_DONE: dict[Phase, str] = {
    "init": "Loaded",
    "read": "Read",
    "erase": "Erased",
    "program": "Programmed",
    "verify": "Verified",
}
_LEFT: dict[Phase, str] = {
    "erase": "What was erased is blank, and nothing was programmed: write again.",
    "program": "What comes after that was not programmed: write again.",
    "verify": "All was programmed, but the rest not compared.",
    "read": "Nothing was changed.",
}
REDRAW = 0.1
"""Seconds between two drawings of the progress line: as fast as eyes follow."""


class Progress:
    """An `Observer` that writes one line a phase, and keeps drawing it over itself where `live`."""

    def __init__(self, say: Callable[[str], None], *, live: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._live = live
        self._clock = clock
        self._phase = Started("connect")
        self._done = 0
        self._begun = self._drawn = clock()
        self._width = 0

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Started):
            self._phase, self._done = event, 0
            self._begun = self._drawn = self._clock()
        elif isinstance(event, Advanced):
            self._done = event.done
            if self._live and self._clock() - self._drawn >= REDRAW:
                self._draw()
        elif isinstance(event, Waited):
            if self._live:
                self._show(f"Waiting for the chip, {event.done:.0f} s of up to {event.total:.0f} s")
        elif isinstance(event, Finished):
            self.clear()
            self._finish(event)
        elif isinstance(event, Noted):
            self.clear()
            self._say(f"note: {event.message}\n")

    def _draw(self) -> None:
        self._drawn = self._clock()
        rate = self._done / max(self._drawn - self._begun, 1e-6)
        line = (
            f"{_DOING[self._phase.phase]} {bytes_in_words(self._done)} of {bytes_in_words(self._phase.total)}, "
            f"{100 * self._done // max(self._phase.total, 1)}%, {bytes_in_words(int(rate))}/s"
        )
        self._show(line)

    def _show(self, line: str) -> None:
        self._say(f"\r{line}{' ' * (self._width - len(line))}")
        self._width = max(self._width, len(line))

    def clear(self) -> None:
        """Take the line that is being drawn off the screen."""
        if self._width:
            self._say(f"\r{' ' * self._width}\r")
            self._width = 0

    def _finish(self, event: Finished) -> None:
        word = _DONE.get(event.phase)
        if word is None:
            return
        if not self._phase.total:
            self._say(f"{word} {self._phase.label} into RAM, {event.seconds:.2f} s.\n")
            return
        rate = f", {bytes_in_words(int(self._done / event.seconds))}/s" if event.seconds > 0 else ""
        where = f" of {self._phase.label}" if event.phase == "program" and self._phase.label else ""
        self._say(f"{word} {bytes_in_words(self._done)}{where}, {event.seconds:.2f} s{rate}.\n")

    @property
    def interrupted(self) -> str:
        """What to tell a user who pressed Ctrl-C: what is done and what is not."""
        phase = self._phase
        if not phase.total:
            return f"Interrupted while {_DOING[phase.phase].lower()}."
        return (
            f"Interrupted while {_DOING[phase.phase].lower()}, after {bytes_in_words(self._done)} of "
            f"{bytes_in_words(phase.total)}. {_LEFT.get(phase.phase, '')}".rstrip()
        )
