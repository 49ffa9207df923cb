"""The `ExternalLoader`: what a loader file amounts to, whatever its form.

What belongs here: the value that everything else speaks of. It is read from ST's files by `stldr`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import NamedTuple

from gdbflash.errors import PlanError
from gdbflash.loaders.demangle import demangled
from gdbflash.loaders.finding import Finding
from gdbflash.loaders.static_base import StaticBase
from gdbflash.loaders.storage import StorageInfo
from gdbflash.ranges import Range, joined

_WORD = 4


@dataclass(frozen=True)
class Segment:
    """A PT_LOAD segment: data is what the file has of memory_size bytes, the rest is zeros."""

    address: int
    data: bytes
    memory_size: int

    @property
    def where(self) -> Range:
        """All of it."""
        return Range(self.address, self.memory_size)

    @property
    def zeros(self) -> Range:
        """The NOBITS part."""
        return Range(self.address + len(self.data), self.memory_size - len(self.data))

    def holds(self, address: int) -> bool:
        """Tell whether the file has the byte at address in this segment."""
        return self.address <= address < self.address + len(self.data)


class Symbol(NamedTuple):
    """A function or object; size 0 where the file does not tell."""

    address: int
    size: int
    name: str


@dataclass(frozen=True)
class ExternalLoader:
    """A loader file, ready to be placed into RAM and called."""

    path: str
    storage: StorageInfo
    segments: tuple[Segment, ...]
    """All PT_LOAD segments in file order."""
    load_segments: tuple[Segment, ...]
    """What is to be written to the target, by address; data may be empty. Without the ELF headers that GNU ld puts
    into a segment where there is room below the code."""
    functions: Mapping[str, int]
    """Addresses by name, without the Thumb bit. Init is always there."""
    symbols: tuple[Symbol, ...]
    """Functions and objects by address."""
    findings: tuple[Finding, ...]
    code: tuple[Range, ...] = ()
    """Where its functions lie, as far as their sizes are known: bytes that no call changes."""
    writable: tuple[Range, ...] = ()
    """What its calls may change of `owned`, as far as its sections tell; all of it where there are none."""
    static_base: StaticBase = field(default_factory=StaticBase)
    sha256: str = field(default="", compare=False)
    """Of the file, in hex."""
    entry: int = 0
    """The ELF entry point as the file has it; 0 in some real files. Calls go to `functions`."""

    @cached_property
    def owned(self) -> tuple[Range, ...]:
        """What RAM is the loader's own: its bytes and its zeros, joined."""
        return joined(each.where for each in self.load_segments)

    @cached_property
    def link_address(self) -> int:
        """Where the stretch of RAM begins that holds Init; other parts, such as StorageInfo, may lie below it."""
        init = self.functions["Init"]
        return next((each.address for each in self.owned if init in each), self.owned[0].address)

    @property
    def return_address(self) -> int:
        """The word that loaders leave free at the start of their RAM: calls return to it."""
        return self.link_address - _WORD

    @cached_property
    def zero_ranges(self) -> tuple[Range, ...]:
        """What must be zeroed after load_segments were written, for no start-up code does it (.bss).

        Two real loaders have StorageInfo under .bss: the zeros win, and a check of what was written skips them.
        """
        return tuple(segment.zeros for segment in self.load_segments if segment.zeros.size)

    def name_of(self, address: int) -> str:
        """Name what begins at an address; empty where no symbol does."""
        found = next((each.name for each in self.symbols if each.address == address), "")
        return demangled(found) if found else ""

    def symbol_at(self, address: int) -> str:
        """Name a place in the loader as HAL_Delay+0x12, by the nearest symbol below, names of C++ as in its source.

        Empty outside the loader.
        """
        inside = [each for each in self.owned if address in each]
        index = bisect_right(self.symbols, address, key=attrgetter("address")) - 1
        if not inside or index < 0 or self.symbols[index].address < inside[0].address:
            return ""
        # Symbols are ordered by address and size: of several at one address the largest is taken.
        nearest = self.symbols[index]
        name = demangled(nearest.name)
        return f"{name}+0x{address - nearest.address:x}" if address > nearest.address else name


def need(loader: ExternalLoader, function: str) -> int:
    """Give the address of a loader function; raises PlanError where the loader lacks it."""
    address = loader.functions.get(function)
    if address is None:
        whole = "MassErase" in loader.functions
        hint = {
            "SectorErase": "It can only erase everything: erase --chip, or write --erase chip --no-keep."
            if whole
            else "Use a loader that erases.",
            "MassErase": "Erase sectors instead: ADDRESS SIZE.",
            "Write": "Use a loader for writing.",
        }.get(function, "Use a loader that has it.")
        present = ", ".join(sorted(loader.functions))
        raise PlanError(f"{loader.path} exports no {function} (only {present}). {hint}", function=function)
    return address
