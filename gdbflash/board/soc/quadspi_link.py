"""One command of QUADSPI after the other on the wires: CS, the phases before the data, and the data."""

from __future__ import annotations

from gdbflash.board.chips.wires import Flash, Wires
from gdbflash.board.soc.quadspi_registers import Format, decode

PROBE_ADDRESS = 0x00A5C3F1
"""An address whose bytes all differ, so that a wrong address size cannot pass by chance."""


class Link:
    """The serial side of QUADSPI: the one chip answers on either bank, as it does on any choice of pins."""

    def __init__(self, flash: Flash) -> None:
        self.memory = flash.memory
        self._wires = Wires(flash)
        self._format = decode(0)
        self._first = True
        self._open = False

    def configure(self, command: Format) -> None:
        """Take a new command from CCR: its instruction is sent again, even with SIOO."""
        self._format = command
        self._first = True

    def begin(self, address: int, alternate: int) -> None:
        """Let CS fall and send all that comes before the data phase."""
        command, wires = self._format, self._wires
        wires.select()
        self._open = True
        if command.instruction_lines and (self._first or not command.instruction_once):
            wires.send(bytes([command.instruction]), command.instruction_lines)
        self._first = False
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
            self._wires.deselect()

    def send(self, data: bytes) -> None:
        """Send data in the data phase."""
        self._wires.send(data, self._format.data_lines)

    def receive(self, count: int) -> bytes:
        """Receive count bytes in the data phase; zeros if the command has none."""
        lines = self._format.data_lines
        return self._wires.receive(count, lines) if lines else bytes(count)

    def plain_address(self) -> int | None:
        """Return the address of the next byte if that is plain array content as it is on the wires."""
        lines = self._format.data_lines
        return self._wires.plain_address(lines) if lines else None

    def reads_plainly(self, size: int, alternate: int) -> bool:
        """Try whether the next command, wherever in size bytes it goes, would deliver the plain content.

        This is a command of its own, as hardware's prefetch sends them too; the one before has left the chip in the
        state (continuous read or not) in which all later ones find it.
        """
        address = PROBE_ADDRESS & min(size, len(self.memory)) - 1
        self.begin(address, alternate)
        plain = self.plain_address() == address
        self.end()
        return plain
