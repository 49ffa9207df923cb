"""The four data lines between a QUADSPI controller and a serial flash, clock by clock.

What belongs here: which side drives which line and what the other one then sees. Neither side knows how many lines
the other uses in a phase: where they agree whole bytes pass, where not, every clock is played and the garbage comes out
as it does on hardware.

Who drives (RM0433, QUADSPI signal interface protocol modes): in a phase on one line the controller drives IO0, holds
IO2 low and IO3 high, and listens on IO1; on two lines it holds IO2 and IO3 the same way; on four it drives or releases
all. A line that nobody drives keeps its last level for the controller (its capacitance: hence the repeated nibbles 8
and 9 of a wrong line count) and, as the chip sees it, is high: what a chip samples from a floating line is undefined,
and this choice keeps mode bits that are not sent from turning continuous read mode on.
"""

from __future__ import annotations

from typing import Protocol

ALL = 0b1111
IO1 = 0b0010
IO2_LOW_IO3_HIGH = 0b1000


class Flash(Protocol):
    """A serial flash as its pins show it."""

    @property
    def memory(self) -> memoryview:
        """The plain content, writable."""

    def plain_address(self, lines: int) -> int | None:
        """Return the address if the next byte out is array content and comes whole on lines."""

    def select(self) -> None:
        """CS falls."""

    def deselect(self) -> None:
        """CS rises."""

    def take(self, data: bytes, lines: int) -> int:
        """Take bytes from data that come whole on lines; return how many (0: none fits, use clock)."""

    def give(self, count: int, lines: int) -> bytes:
        """Give count bytes whole on lines; return b"" if the next one does not fit (use clock)."""

    def clock(self, levels: int) -> tuple[int, int]:
        """One clock with levels on IO3..IO0: return which lines the chip drives, and their levels."""


class NoFlash:
    """Pins with nothing on them; implements Flash."""

    memory = memoryview(b"")

    def plain_address(self, lines: int) -> int | None:  # noqa: ARG002
        """Return None."""
        return None

    def select(self) -> None:
        """Do nothing."""

    def deselect(self) -> None:
        """Do nothing."""

    def take(self, data: bytes, lines: int) -> int:  # noqa: ARG002
        """Let all of it go by."""
        return len(data)

    def give(self, count: int, lines: int) -> bytes:  # noqa: ARG002
        """Give nothing."""
        return b""

    def clock(self, levels: int) -> tuple[int, int]:  # noqa: ARG002
        """Drive nothing."""
        return 0, 0


class Wires:
    """The controller's side: phases of a command in, what arrives out. lines is 1, 2 or 4 everywhere."""

    def __init__(self, flash: Flash) -> None:
        self._flash = flash
        self._levels = ALL

    def select(self) -> None:
        """Let CS fall. The lines were idle long enough for the pull-ups to raise them."""
        self._levels = ALL
        self._flash.select()

    def deselect(self) -> None:
        """Let CS rise."""
        self._flash.deselect()

    def plain_address(self, lines: int) -> int | None:
        """See Flash.plain_address."""
        return self._flash.plain_address(lines)

    def send(self, data: bytes, lines: int) -> None:
        """Send whole bytes, most significant bit first."""
        if not data:
            return
        take = self._flash.take
        done = 0
        while done < len(data):
            taken = take(data[done:] if done else data, lines)
            if not taken:
                for levels in _levels_of(data[done], lines):
                    self._flash.clock(levels if lines != 1 else levels | IO1)
                taken = 1
            done += taken
        last = data[-1]
        if lines == 4:
            self._levels = last & 0xF
        elif lines == 2:
            self._levels = IO2_LOW_IO3_HIGH | last & 3
        else:
            self._levels = IO2_LOW_IO3_HIGH | self._levels & IO1 | last & 1

    def dummy(self, clocks: int, lines: int) -> None:
        """Give clocks with the data lines turned round for a data phase on lines (1 also if there is none)."""
        for _ in range(clocks):
            self._listen(lines)

    def receive(self, count: int, lines: int) -> bytes:
        """Sample count bytes."""
        data = b""
        while len(data) < count:
            got = self._flash.give(count - len(data), lines)
            if got:
                self._after_input(got[-1], lines)
            else:
                got = bytes([self._sample_byte(lines)])
            data = data + got if data else got
        return data

    def _after_input(self, last: int, lines: int) -> None:
        if lines == 4:
            self._levels = last & 0xF
        elif lines == 2:
            self._levels = IO2_LOW_IO3_HIGH | last & 3
        else:
            self._levels = IO2_LOW_IO3_HIGH | (last & 1) << 1 | self._levels & 1

    def _sample_byte(self, lines: int) -> int:
        value = 0
        for _ in range(8 // lines):
            levels = self._listen(lines)
            value = value << lines | (levels >> 1 & 1 if lines == 1 else levels & ((1 << lines) - 1))
        return value

    def _listen(self, lines: int) -> int:
        """One clock with the controller listening on lines; return the levels that it sees."""
        if lines == 4:
            driven, held = 0, self._levels
        elif lines == 2:
            driven, held = 0b1100, IO2_LOW_IO3_HIGH | self._levels & 0b0011
        else:
            driven, held = 0b1101, IO2_LOW_IO3_HIGH | self._levels & 0b0011
        mask, value = self._flash.clock(held & driven | ALL & ~driven)
        mask &= ~driven
        self._levels = held & ~mask | value & mask
        return self._levels


def _levels_of(byte: int, lines: int) -> tuple[int, ...]:
    """Levels on IO3..IO0 that carry a byte on lines, clock by clock (IO1 is 0 on one line: it is not driven)."""
    if lines == 4:
        return byte >> 4, byte & 0xF
    mask = (1 << lines) - 1
    return tuple(IO2_LOW_IO3_HIGH | byte >> shift & mask for shift in range(8 - lines, -1, -lines))
