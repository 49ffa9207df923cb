"""The memory array of a serial NOR chip: erased bytes are 0xFF, programming only clears bits.

What belongs here: the bytes, the file behind them, what faults do to them, and the count of what was done. Commands,
protection and time lie above, in `w25q`.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from pathlib import Path

from gdbflash.board.chips.facts import MIB
from gdbflash.errors import InputError


@dataclass(frozen=True)
class StuckBits:
    """Bits of one byte that never change: where mask is 1, value holds."""

    mask: int
    value: int


@dataclass
class Faults:
    """What is broken about a chip; may be changed at any time and holds from the next operation on.

    An operation that does nothing still takes its time, clears WEL and is counted nowhere.
    """

    erase_does_nothing: bool = False
    program_does_nothing: bool = False
    write_protected: bool = False
    """Every page and sector is protected, whatever the status registers say."""
    stuck: dict[int, StuckBits] = field(default_factory=dict)
    """By address. Applied whenever the byte is programmed or erased."""


@dataclass
class Counters:
    """What the array has gone through since it was opened."""

    pages_programmed: int = 0
    bytes_programmed: int = 0
    erases: dict[int, int] = field(default_factory=dict)
    """Erase operations done, by the size of the unit in bytes (a chip erase by the chip's size)."""
    bytes_erased: int = 0
    status_writes: int = 0
    """Non-volatile writes of status registers."""

    @property
    def sectors_erased(self) -> int:
        """4 KiB sector erases done."""
        return self.erases.get(4096, 0)


class NorArray:
    """size bytes in one writable buffer that ctypes can address, in a file if path is given.

    A missing file is created full of 0xFF. Raises InputError for a file of another size, OSError for one that
    cannot be opened. With memory the array lies there, in a buffer of somebody else, of which it may be every other
    byte.
    """

    def __init__(self, size: int, path: Path | None = None, *, memory: memoryview | None = None) -> None:
        self.size = size
        self.faults = Faults()
        self.counters = Counters()
        self._buffer: bytearray | mmap.mmap | memoryview
        if memory is not None:
            self._buffer = memory
        elif path is None:
            self._buffer = bytearray(b"\xff") * size
        else:
            self._buffer = _map_file(path, size)
        self.memory = memoryview(self._buffer)

    def read(self, address: int, count: int) -> bytes:
        """Read count bytes, going on at 0 after the last address."""
        address %= self.size
        data = bytes(self.memory[address : address + count])
        while len(data) < count:
            data += bytes(self.memory[: count - len(data)])
        return data

    def program(self, address: int, data: bytes) -> None:
        """Clear the bits that are 0 in data; address and data lie in one page."""
        if self.faults.program_does_nothing:
            return
        here = self.memory[address : address + len(data)]
        both = int.from_bytes(here, "little") & int.from_bytes(data, "little")
        here[:] = both.to_bytes(len(data), "little")
        self._stick(address, len(data))

    def erase(self, address: int, count: int) -> None:
        """Set count bytes from address on to 0xFF."""
        if self.faults.erase_does_nothing:
            return
        self.memory[address : address + count] = b"\xff" * count
        self._stick(address, count)

    def _stick(self, address: int, count: int) -> None:
        for where, bits in self.faults.stuck.items():
            if address <= where < address + count:
                self.memory[where] = self.memory[where] & ~bits.mask & 0xFF | bits.value & bits.mask

    def close(self) -> None:
        """Write everything to the file; the array must not be used afterwards."""
        if isinstance(self._buffer, mmap.mmap):
            self._buffer.flush()
            self.memory.release()
            try:
                self._buffer.close()
            except BufferError:
                # An emulator still maps the pages. They are on the file already, and the mapping ends with its
                # last user.
                return


def _map_file(path: Path, size: int) -> mmap.mmap:
    if not path.exists():
        blank = b"\xff" * MIB
        with path.open("xb") as new:
            for start in range(0, size, MIB):
                new.write(blank[: size - start])
    with path.open("r+b") as file:
        found = file.seek(0, 2)
        if found != size:
            raise InputError(
                f"The flash image {path} has {found} bytes, but the chip has {size}. Give a file of that size, or one "
                "that does not exist yet.",
                path=str(path),
                size=found,
                expected=size,
            )
        return mmap.mmap(file.fileno(), size)
