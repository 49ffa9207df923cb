"""The board's address space: what each address decodes to, for the core and for the debugger alike.

What belongs here: memories with content, register blocks at their pages, and the rule that everything else is a bus
error. Memories are plain host buffers, so that Unicorn maps them and the debugger reads them without a copy between.
"""

from __future__ import annotations

import bisect
import mmap
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from gdbflash.board.bus import BusError, Peripheral

PAGE = 0x1000
"""Granularity of Unicorn's memory map."""

BLOCK_SHIFT = 10
"""Peripherals of the STM32H7 sit on 1 KiB boundaries (RM0433 table 8)."""


class Guard(Protocol):
    """The controller of a memory that takes stores its own way, and some of which may be unreadable."""

    unreadable: tuple[tuple[int, int], ...]
    """Ranges (offset, size) where a read is a bus error."""

    def store(self, offset: int, data: bytes) -> None:
        """Take a store; never raises."""

    def check(self, offset: int, size: int) -> None:
        """Heed that the range is read; raises BusError."""


@dataclass(eq=False)
class Memory:
    """A memory with content, a writable host buffer: size bytes at base, multiples of 4 KiB.

    One that is not writable but has a guard gives stores to it.
    """

    name: str
    base: int
    size: int
    writable: bool = True
    content: memoryview = field(default_factory=lambda: memoryview(b""))
    guard: Guard | None = None

    def __post_init__(self) -> None:
        if not self.content:
            self.content = memoryview(mmap.mmap(-1, self.size))

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.base + self.size

    def fill_with_junk(self) -> None:
        """Fill as SRAM looks after power-on: nothing to rely on, here the same on every run."""
        self.content[:] = random.Random(self.base).randbytes(self.size)

    def fill(self, value: int) -> None:
        """Fill with one byte value."""
        self.content[:] = bytes([value]) * self.size


class Registers:
    """Plain read and write storage: a peripheral that is there but not modelled."""

    def __init__(self, base: int, size: int, *, reset_values: dict[int, int] | None = None) -> None:
        self.base = base
        self.size = size
        self.reset_values = reset_values or {}
        self.words: dict[int, int] = dict(self.reset_values)

    def read(self, offset: int, size: int) -> int:
        """Return what was written last, or the reset value."""
        word = self.read_word(offset & ~3)
        return word if size == 4 else word >> 8 * (offset & 3) & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        """Keep the value."""
        if size < 4:
            shift = 8 * (offset & 3)
            mask = (1 << 8 * size) - 1 << shift
            value = self.words.get(offset & ~3, 0) & ~mask | value << shift & mask
        self.write_word(offset & ~3, value)

    def read_word(self, offset: int) -> int:
        """Read the word at offset; for models to refine."""
        return self.words.get(offset, 0)

    def write_word(self, offset: int, value: int) -> None:
        """Write the word at offset; for models to refine."""
        self.words[offset] = value

    def reset(self) -> None:
        """Return to the reset values."""
        self.words = dict(self.reset_values)


class AddressSpace:
    """Memories, and ranges of register blocks with a default for each block that nobody models."""

    def __init__(self, memories: Iterable[Memory], device_ranges: Iterable[tuple[int, int]]) -> None:
        """Take memories and (base, size) ranges where a bus answers; both 4 KiB aligned and disjoint."""
        self.memories = sorted(memories, key=lambda memory: memory.base)
        self.device_ranges = sorted(device_ranges)
        self._bases = [memory.base for memory in self.memories]
        self._range_bases = [base for base, _ in self.device_ranges]
        self.blocks: dict[int, Peripheral] = {}
        """The register block at each address >> BLOCK_SHIFT, as far as one was attached or accessed."""

    def attach(self, peripheral: Peripheral) -> None:
        """Let a peripheral answer at its addresses, instead of what was there."""
        last = peripheral.base + peripheral.size - 1
        for block in range(peripheral.base >> BLOCK_SHIFT, (last >> BLOCK_SHIFT) + 1):
            self.blocks[block] = peripheral

    def add_memory(self, memory: Memory) -> None:
        """Let a memory appear where nothing was."""
        self.memories = sorted([*self.memories, memory], key=lambda entry: entry.base)
        self._bases = [entry.base for entry in self.memories]

    def add_device(self, peripheral: Peripheral, size: int) -> None:
        """Let a peripheral appear where nothing was; it answers in its first size bytes."""
        for block in range(peripheral.base >> BLOCK_SHIFT, peripheral.base + size >> BLOCK_SHIFT):
            self.blocks[block] = peripheral

    def detach(self, base: int) -> None:
        """Let the memory or peripheral at base disappear again."""
        self.memories = [memory for memory in self.memories if memory.base != base]
        self._bases = [entry.base for entry in self.memories]
        for block in [block for block, entry in self.blocks.items() if entry.base == base]:
            del self.blocks[block]

    def peripherals(self) -> list[Peripheral]:
        """Return every peripheral that was attached or created so far, each once."""
        return list({id(peripheral): peripheral for peripheral in self.blocks.values()}.values())

    def memory_at(self, address: int) -> Memory | None:
        """Return the memory that holds address."""
        index = bisect.bisect_right(self._bases, address) - 1
        if index >= 0 and address < self.memories[index].end:
            return self.memories[index]
        return None

    def peripheral_at(self, address: int) -> Peripheral:
        """Return the register block at address, made on first use where nobody models it; raises BusError."""
        block = self.blocks.get(address >> BLOCK_SHIFT)
        if block is None:
            index = bisect.bisect_right(self._range_bases, address) - 1
            if index < 0 or address >= sum(self.device_ranges[index]):
                raise BusError(address)
            block = Registers(address >> BLOCK_SHIFT << BLOCK_SHIFT, 1 << BLOCK_SHIFT)
            self.blocks[address >> BLOCK_SHIFT] = block
        return block

    def read(self, address: int, size: int) -> int:
        """Read a register, size 1, 2 or 4, within a word; raises BusError."""
        block = self.blocks.get(address >> BLOCK_SHIFT) or self.peripheral_at(address)
        return block.read(address - block.base, size)

    def write(self, address: int, size: int, value: int) -> None:
        """Write a register, size 1, 2 or 4, within a word; raises BusError."""
        block = self.blocks.get(address >> BLOCK_SHIFT) or self.peripheral_at(address)
        block.write(address - block.base, size, value)

    def read_bytes(self, address: int, size: int) -> bytes:
        """Read as a debugger does; register blocks by the widest aligned accesses. Raises BusError."""
        out = bytearray()
        while size:
            memory = self.memory_at(address)
            if memory is not None:
                offset = address - memory.base
                count = min(size, memory.size - offset)
                if memory.guard is not None:
                    memory.guard.check(offset, count)
                part = bytes(memory.content[offset : offset + count])
            else:
                width = _widest(address, size)
                part = self.read(address, width).to_bytes(width, "little")
            out += part
            address += len(part)
            size -= len(part)
        return bytes(out)

    def write_bytes(self, address: int, data: bytes) -> None:
        """Write as a debugger does; register blocks by the widest aligned accesses. Raises BusError."""
        view = memoryview(data)
        while view:
            memory = self.memory_at(address)
            if memory is not None:
                offset = address - memory.base
                count = min(len(view), memory.size - offset)
                if memory.guard is not None:
                    memory.guard.store(offset, bytes(view[:count]))
                elif memory.writable:
                    memory.content[offset : offset + count] = view[:count]
                else:
                    raise BusError(address)
            else:
                count = _widest(address, len(view))
                self.write(address, count, int.from_bytes(view[:count], "little"))
            address += count
            view = view[count:]


def _widest(address: int, size: int) -> int:
    """Return the widest access, 4, 2 or 1 bytes, that is aligned and within size."""
    for width in (4, 2):
        if address % width == 0 and size >= width:
            return width
    return 1
