"""One command of QUADSPI after the other on the wires: CS, the phases before the data, and the data.

What belongs here: which of the two banks takes part (RM0433 revision 7, 23.3.4 and 23.5.1). In dual-flash mode both get
the same instruction, address, alternate bytes and dummy clocks, and take turns with the bytes of the data.
"""

from __future__ import annotations

from dataclasses import dataclass

from gdbflash.board.chips.pair import FlashPair
from gdbflash.board.chips.wires import Flash, NoFlash, Wires
from gdbflash.board.soc.quadspi_registers import DFM, FSEL, Format, decode

PROBE_ADDRESS = 0x00A5C3F0
"""An address whose bytes all differ, so that a wrong address size cannot pass by chance; even, for dual-flash mode."""


@dataclass(frozen=True)
class Route:
    """The banks of a command: one, or both in dual-flash mode."""

    wires: tuple[Wires, ...]
    memory: memoryview
    """The plain content behind them as the MCU sees it; empty where half of it is missing."""


class Link:
    """The serial side of QUADSPI. One chip alone answers on either bank, as it does on any choice of pins."""

    def __init__(self, flash: Flash | FlashPair) -> None:
        if isinstance(flash, FlashPair):
            first, second = Wires(flash.first), Wires(flash.second)
            self._banks = Route((first,), flash.first.memory), Route((second,), flash.second.memory)
            self._dual = Route((first, second), flash.memory)
        else:
            chip = Wires(flash)
            self._banks = (Route((chip,), flash.memory),) * 2
            self._dual = Route((chip, Wires(NoFlash())), memoryview(b""))
        self._route = self._banks[0]
        self._format = decode(0)
        self._first = True
        self._open = False

    @property
    def dual(self) -> bool:
        """Both banks take part."""
        return self._route is self._dual

    @property
    def memory(self) -> memoryview:
        """The plain content of what commands go to."""
        return self._route.memory

    def route(self, control: int) -> None:
        """Let later commands go where DFM and FSEL in CR say; FSEL is ignored while DFM = 1 (23.5.1)."""
        self._route = self._dual if control & DFM else self._banks[bool(control & FSEL)]

    def configure(self, command: Format) -> None:
        """Take a new command from CCR: its instruction is sent again, even with SIOO."""
        self._format = command
        self._first = True

    def begin(self, address: int, alternate: int) -> None:
        """Let CS fall and send all that comes before the data phase."""
        instruct = self._format.instruction_lines and (self._first or not self._format.instruction_once)
        self._first = False
        self._open = True
        if self.dual:
            address //= 2
        for wires in self._route.wires:
            self._begin(wires, bool(instruct), address, alternate)

    def _begin(self, wires: Wires, instruct: bool, address: int, alternate: int) -> None:
        command = self._format
        wires.select()
        if instruct:
            wires.send(bytes([command.instruction]), command.instruction_lines)
        if command.address_lines:
            wires.send(address.to_bytes(4, "big")[-command.address_size :], command.address_lines)
        if command.alternate_lines:
            wires.send(alternate.to_bytes(4, "big")[-command.alternate_size :], command.alternate_lines)
        if command.dummies:
            wires.dummy(command.dummies, command.data_lines or 1)

    def end(self) -> None:
        """Let CS rise if it is low."""
        if self._open:
            self._open = False
            for wires in self._route.wires:
                wires.deselect()

    def send(self, data: bytes) -> None:
        """Send data in the data phase."""
        banks = self._route.wires
        for bank, wires in enumerate(banks):
            wires.send(data[bank :: len(banks)], self._format.data_lines)

    def receive(self, count: int) -> bytes:
        """Receive count bytes in the data phase, an even number in dual-flash mode; zeros if the command has none."""
        lines = self._format.data_lines
        if not lines:
            return bytes(count)
        banks = self._route.wires
        if len(banks) == 1:
            return banks[0].receive(count, lines)
        data = bytearray(count)
        for bank, wires in enumerate(banks):
            data[bank::2] = wires.receive(count // 2, lines)
        return bytes(data)

    def plain_address(self) -> int | None:
        """Return the address of the next byte if that is plain array content as it is on the wires."""
        lines = self._format.data_lines
        if not lines:
            return None
        address, *others = (wires.plain_address(lines) for wires in self._route.wires)
        if address is None or any(other != address for other in others):
            return None
        return address * len(self._route.wires)

    def read(self, address: int, size: int, alternate: int) -> tuple[bytes, bool]:
        """Do a whole command and return size bytes from address on, and whether they are plain array content.

        In dual-flash mode any address and size is good: the bytes beside come too, and are dropped.
        """
        start, end = address, address + size
        if self.dual:
            start, end = start & ~1, end + 1 & ~1
        self.begin(start, alternate)
        plain = self.plain_address() == start
        data = self.receive(end - start)
        self.end()
        return data[address - start :][:size], plain

    def reads_plainly(self, size: int, alternate: int) -> bool:
        """Try whether the next command, wherever in size bytes it goes, would deliver the plain content.

        False where that is not contiguous, as nobody could map it: one chip of a pair has every other byte. The try
        is a command of its own, as hardware's prefetch sends them too; the one before has left the chip in the state
        (continuous read or not) in which all later ones find it.
        """
        if not self.memory.contiguous:
            return False
        address = PROBE_ADDRESS & min(size, len(self.memory)) - 1
        self.begin(address, alternate)
        plain = self.plain_address() == address
        self.end()
        return plain
