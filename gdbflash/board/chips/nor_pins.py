"""How commands travel over the pins of a serial NOR chip, clock by clock.

What belongs here: instruction, address, mode bits, dummy clocks and data, and on how many lines each comes. Where the
host's idea of a command differs from the chip's, the chip goes on by its own: it counts clocks. Which commands there
are and what they do is `w25q`. Sections: W25Q128JV data sheet, revision F.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable
from dataclasses import dataclass

from gdbflash.board.chips.wires import IO1

Stream = Callable[[int], bytes]
"""Gives the next count bytes."""

NO_INPUT = range(1)
ANY_INPUT = range(1, 1 << 62)


class Phase(enum.Enum):
    """What the next clock is to the chip."""

    INSTRUCTION = enum.auto()
    HEADER = enum.auto()
    """Address and mode bits."""
    DUMMY = enum.auto()
    INPUT = enum.auto()
    OUTPUT = enum.auto()
    COMPLETE = enum.auto()
    """CS has to rise now: one clock more and the command is not executed."""
    DEAF = enum.auto()


@dataclass(frozen=True)
class Command:
    """The shape of a command on the lines.

    execute is done when CS rises, with what was sent in the data phase; answer gives the data phase where that comes
    from the chip. One of them is set, with ABh both.
    """

    execute: Callable[[bytes], None] | None = None
    answer: Callable[[], Stream] | None = None
    address: int = 0
    """Bytes."""
    mode: bool = False
    """Mode bits M7..M0 follow the address."""
    dummy: int = 0
    """Clocks."""
    header_lines: int = 1
    data_lines: int = 1
    data: range = NO_INPUT
    """How many bytes of input may come."""
    while_busy: bool = False
    short: bool = False
    """Executed also if CS rises right after the instruction."""

    @property
    def quad(self) -> bool:
        """Needs QE."""
        return self.header_lines == 4 or self.data_lines == 4


class NorPins(abc.ABC):
    """The serial interface of a chip; implements wires.Flash but for the memory behind it."""

    def __init__(self) -> None:
        self.address = 0
        """Of the command under way; moved on by reads of the array."""
        self.instruction_lines = 1
        self.continuous: Command | None = None
        """The command that the next fall of CS goes on with, at its address (continuous read mode)."""
        self._phase = Phase.DEAF
        self._lines = 1
        self._bits = 0
        self._bit_count = 0
        self._command: Command | None = None
        self._header = b""
        self._dummy = 0
        self._input = bytearray()
        self._stream: Stream = lambda count: b"\xff" * count

    @abc.abstractmethod
    def accept(self, opcode: int) -> Command | None:
        """Return the command that opcode starts in the chip's state, None if the chip does not listen to it."""

    @abc.abstractmethod
    def ended(self, *, executed: bool) -> None:
        """CS has risen on a command that had begun, before it is executed (or is not)."""

    def plain_address(self, lines: int) -> int | None:
        """Return the address if the next byte out is array content and comes whole on lines."""
        if self._phase is Phase.OUTPUT and lines == self._lines and not self._bit_count:
            return self.stream_address(self._stream)
        return None

    @abc.abstractmethod
    def stream_address(self, stream: Stream) -> int | None:
        """Return the address of the next byte of stream if that is plain array content."""

    def select(self) -> None:
        """CS falls."""
        self._bits = self._bit_count = 0
        self._header = b""
        self._input.clear()
        self._command = self.continuous
        if self._command is not None:
            self._lines = self._command.header_lines
            self._phase = Phase.HEADER
        else:
            self._lines = self.instruction_lines
            self._phase = Phase.INSTRUCTION

    def deselect(self) -> None:
        """CS rises: a complete command is executed."""
        command = self._command
        begun = self._phase is not Phase.INSTRUCTION or self._bit_count
        execute = command.execute if command is not None and self._is_complete(command) else None
        self._phase = Phase.DEAF
        if begun:
            self.ended(executed=execute is not None)
        if execute is not None:
            execute(bytes(self._input))

    def _is_complete(self, command: Command) -> bool:
        """Tell whether CS rises where command ends, on a byte boundary (8.1)."""
        phase = self._phase
        if phase is Phase.OUTPUT:
            return command.short
        if self._bit_count:
            return False
        if phase is Phase.INPUT:
            return len(self._input) in command.data
        return phase is Phase.COMPLETE or (phase is Phase.HEADER and command.short and not self._header)

    def take(self, data: bytes, lines: int) -> int:
        """Take bytes that come whole; return how many."""
        phase = self._phase
        if phase is Phase.DEAF:
            return len(data)
        if phase is Phase.DUMMY:
            clocks = 8 // lines
            if self._dummy < clocks:
                return 0
            self._count_dummies(clocks)
            return 1
        if self._bit_count or lines != self._lines or phase is Phase.OUTPUT or phase is Phase.COMPLETE:
            return 0
        if phase is Phase.INPUT:
            self._input += data
            return len(data)
        self._byte(data[0])
        return 1

    def give(self, count: int, lines: int) -> bytes:
        """Give bytes that go out whole; none if the next one does not."""
        if self._phase is Phase.OUTPUT and lines == self._lines and not self._bit_count:
            return self._stream(count)
        return b""

    def clock(self, levels: int) -> tuple[int, int]:
        """One clock with levels on IO3..IO0: return which lines the chip drives, and their levels."""
        phase = self._phase
        lines = self._lines
        mask = (1 << lines) - 1
        if phase is Phase.OUTPUT:
            if not self._bit_count:
                self._bits = self._stream(1)[0]
                self._bit_count = 8
            self._bit_count -= lines
            value = self._bits >> self._bit_count & mask
            return (IO1, value << 1) if lines == 1 else (mask, value)
        if phase is Phase.DUMMY:
            self._count_dummies(1)
        elif phase is Phase.COMPLETE:
            self._phase = Phase.DEAF
        elif phase is not Phase.DEAF:
            self._bits = self._bits << lines | levels & mask
            self._bit_count += lines
            if self._bit_count == 8:
                byte = self._bits
                self._bits = self._bit_count = 0
                if phase is Phase.INPUT:
                    self._input.append(byte)
                else:
                    self._byte(byte)
        return 0, 0

    def _byte(self, byte: int) -> None:
        """Take a whole byte of instruction, address or mode bits."""
        if self._phase is Phase.INSTRUCTION:
            command = self.accept(byte)
            self._phase = Phase.HEADER
        else:
            command = self._command
            self._header += bytes([byte])
        self._command = command
        if command is None:
            self._phase = Phase.DEAF
            return
        self._lines = command.header_lines
        if len(self._header) < command.address + command.mode:
            return
        self.address = int.from_bytes(self._header[: command.address], "big")
        if command.mode:
            # M5-4 = 10: the next command starts with its address (8.2.11).
            self.continuous = command if byte & 0x30 == 0x20 else None
        self._dummy = command.dummy
        if self._dummy:
            self._phase = Phase.DUMMY
        else:
            self._enter_data(command)

    def _count_dummies(self, clocks: int) -> None:
        self._dummy -= clocks
        if not self._dummy and self._command is not None:
            self._enter_data(self._command)

    def _enter_data(self, command: Command) -> None:
        self._lines = command.data_lines
        if command.answer is not None:
            self._phase = Phase.OUTPUT
            self._stream = command.answer()
        else:
            self._phase = Phase.COMPLETE if command.data == NO_INPUT else Phase.INPUT
