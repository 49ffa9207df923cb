"""How a peripheral hangs on the virtual board's bus."""

from __future__ import annotations

from typing import Protocol


class Peripheral(Protocol):
    """Registers at a fixed address, read and written by offset.

    Accesses are 1, 2 or 4 bytes wide and never cross a word; values are unsigned. A register block that wants
    a bus error for an access raises BusError.
    """

    base: int
    size: int

    def read(self, offset: int, size: int) -> int:
        """Read size bytes at offset, with the side effects that the register has."""

    def write(self, offset: int, size: int, value: int) -> None:
        """Write size bytes at offset."""

    def reset(self) -> None:
        """Return to the state after a system reset."""


class BusError(Exception):
    """The bus answered an access with an error; address is the first byte that failed."""

    def __init__(self, address: int) -> None:
        super().__init__(f"bus error at 0x{address:08X}")
        self.address = address
