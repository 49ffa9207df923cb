"""The memory-mapped window of QUADSPI at 0x90000000 on the core's bus.

What belongs here: keeping Unicorn's map in line with `Quadspi.window`, which changes in the middle of accesses. The
map itself changes only between instructions: an access that changes the window ends the run (`Core.recheck`).
"""

from __future__ import annotations

from collections.abc import Callable

from gdbflash.board.bus import BusError
from gdbflash.board.cpu.core import Core
from gdbflash.board.memory import PAGE, AddressSpace, Memory
from gdbflash.board.soc.quadspi_window import WINDOW_BASE, WINDOW_LIMIT, Window


class _Accesses:
    """The window while it has to be asked for each access; implements bus.Peripheral."""

    base = WINDOW_BASE
    size = WINDOW_LIMIT

    def __init__(self, window: Window) -> None:
        self._window = window

    def read(self, offset: int, size: int) -> int:
        """Do a bus access; raises BusError."""
        return int.from_bytes(self._window.read(offset, size), "little")

    def write(self, offset: int, size: int, value: int) -> None:  # noqa: ARG002
        """Refuse: the controller has no writes in memory-mapped mode (RM0433, 23.3.7)."""
        raise BusError(self.base + offset)

    def reset(self) -> None:
        """Do nothing: it has no state."""


class WindowMapping:
    """Maps the window, as memory where the chip's content is what every access delivers."""

    def __init__(self, space: AddressSpace, core: Core, current: Callable[[], Window | None]) -> None:
        self._space = space
        self._core = core
        self._current = current
        self._mapped: Window | None = None
        self._ranges: list[tuple[int, int]] = []

    def changed(self) -> None:
        """Heed that Quadspi.window is another one now; the map follows before the next instruction."""
        self._core.recheck = True

    def update(self) -> None:
        """Bring the map in line. Only while no instruction executes."""
        window = self._current()
        if window is self._mapped:
            return
        for base, size in self._ranges:
            self._core.unmap(base, size)
            self._space.detach(base)
        self._mapped = window
        self._ranges = []
        if window is None:
            return
        if window.memory is not None:
            # Above the chip's size its content repeats: loaders set one address bit more than it has (ES0392, "Memory-
            # mapped read of last memory byte fails").
            for offset in range(0, window.size, len(window.memory)):
                content = window.memory[: window.size - offset]
                memory = Memory("QUADSPI", WINDOW_BASE + offset, len(content), writable=False, content=content)
                self._space.add_memory(memory)
                self._core.map_memory(memory)
                self._ranges.append((memory.base, len(content)))
        else:
            extent = min(max(window.size, PAGE), WINDOW_LIMIT)
            self._space.add_device(_Accesses(window), extent)
            self._core.map_device(WINDOW_BASE, extent)
            self._ranges.append((WINDOW_BASE, extent))

    def covers(self, address: int, size: int) -> bool:
        """Tell whether a range touches the window's addresses."""
        return address < WINDOW_BASE + WINDOW_LIMIT and address + size > WINDOW_BASE

    def read(self, address: int, size: int, otherwise: Callable[[int, int], bytes]) -> bytes:
        """Read for the debugger: the window itself, not what is mapped of it; the rest otherwise."""
        if not self.covers(address, size):
            return otherwise(address, size)
        window = self._current()
        offset = address - WINDOW_BASE
        if window is None or offset < 0 or offset >= window.size:
            raise BusError(address)
        if offset + size > window.size:
            raise BusError(WINDOW_BASE + window.size)
        data = bytearray()
        while len(data) < size:
            # A read may change the window: from the second access on it may be plain memory.
            window = self._current()
            if window is None:
                raise BusError(address + len(data))
            at, left = offset + len(data), size - len(data)
            if window.memory is not None and at + left <= len(window.memory):
                return bytes(data + window.memory[at : at + left])
            data += window.read(at, min(4 - at % 4, left))
        return bytes(data)
