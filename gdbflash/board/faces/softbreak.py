"""Breakpoints as a GDB stub keeps them: BKPT instructions in RAM, comparators elsewhere, both hidden from GDB."""

from __future__ import annotations

from gdbflash.board.bus import BusError
from gdbflash.board.debug import DebugPort
from gdbflash.board.faces.targetxml import RAM

# BKPT #0 (ARMv7-M Architecture Reference Manual, A7.7.17), little-endian.
_BKPT = b"\x00\xbe"


class Breakpoints:
    """The breakpoints of one debug session.

    A debugger that reads or writes over a BKPT sees and changes the instruction that belongs there, as with other
    stubs; the program on the chip sees the BKPT.
    """

    def __init__(self, port: DebugPort) -> None:
        self._port = port
        self._software: dict[int, bytearray] = {}
        self._comparators: set[int] = set()
        self._watchpoints: list[tuple[int, int, str]] = []

    def set_software(self, address: int) -> None:
        """Write a BKPT where there is RAM, else use a comparator."""
        if address in self._software:
            return
        if not any(region.start <= address <= region.start + region.length - 2 for region in RAM):
            self.set_comparator(address)
            return
        try:
            original = self._port.read_memory(address, 2)
            self._port.write_memory(address, _BKPT)
        except BusError:
            self.set_comparator(address)
            return
        self._software[address] = bytearray(original)

    def clear_software(self, address: int) -> None:
        """Put the instruction back; unknown addresses are ignored, as the protocol wants it."""
        original = self._software.pop(address, None)
        if original is None:
            self.clear_comparator(address)
        elif self._port.read_memory(address, 2) == _BKPT:
            self._port.write_memory(address, bytes(original))

    def set_comparator(self, address: int) -> None:
        """Take a comparator."""
        self._port.set_breakpoint(address)
        self._comparators.add(address)

    def clear_comparator(self, address: int) -> None:
        """Free a comparator; unknown addresses are ignored."""
        if address in self._comparators:
            self._comparators.discard(address)
            self._port.clear_breakpoint(address)

    def set_watchpoint(self, address: int, size: int, access: str) -> None:
        """Watch size bytes; access is "r", "w" or "rw"."""
        self._port.set_watchpoint(address, size, access)
        self._watchpoints.append((address, size, access))

    def clear_watchpoint(self, address: int, size: int, access: str) -> None:
        """Watch no more; unknown ones are ignored."""
        if (address, size, access) in self._watchpoints:
            self._watchpoints.remove((address, size, access))
            self._port.clear_watchpoint(address, size, access)

    def clear_all(self) -> None:
        """Leave the chip as if no debugger had been there."""
        for address in list(self._software):
            self.clear_software(address)
        for address in list(self._comparators):
            self.clear_comparator(address)
        for watchpoint in list(self._watchpoints):
            self.clear_watchpoint(*watchpoint)

    def kind_at(self, address: int) -> str | None:
        """Say "swbreak" or "hwbreak" for a breakpoint at address."""
        if address in self._software:
            return "swbreak"
        return "hwbreak" if address in self._comparators else None

    def only_watchpoint(self) -> tuple[int, str] | None:
        """Give the address and access of the watchpoint where there is exactly one: only then it is known which hit."""
        if len(self._watchpoints) != 1:
            return None
        address, _, access = self._watchpoints[0]
        return address, access

    def read(self, address: int, size: int) -> bytes:
        """Read memory as it is without our BKPTs; raises BusError."""
        data = self._port.read_memory(address, size)
        hidden = self._within(address, size)
        if not hidden:
            return data
        shown = bytearray(data)
        for place, original, offset in hidden:
            shown[place - address] = original[offset]
        return bytes(shown)

    def write(self, address: int, data: bytes) -> None:
        """Write memory under our BKPTs, which stay; raises BusError."""
        hidden = self._within(address, len(data))
        if not hidden:
            self._port.write_memory(address, data)
            return
        kept = bytearray(data)
        for place, _, offset in hidden:
            kept[place - address] = _BKPT[offset]
        self._port.write_memory(address, bytes(kept))
        for place, original, offset in hidden:
            original[offset] = data[place - address]

    def _within(self, address: int, size: int) -> list[tuple[int, bytearray, int]]:
        """List the bytes of a range that lie under a BKPT: address, original instruction, offset in it."""
        return [
            (start + offset, original, offset)
            for start, original in self._software.items()
            for offset in (0, 1)
            if address <= start + offset < address + size
        ]
