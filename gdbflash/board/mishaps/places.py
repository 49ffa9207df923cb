"""What can befall the core at a place of the program it executes.

What belongs here: the events, and the traps that make them happen. What a fault does is in `cpu.processor`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from gdbflash.board.bus import BusError
from gdbflash.board.cpu.exceptions import Shcsr
from gdbflash.board.cpu.processor import Processor
from gdbflash.board.cpu.stops import Cause, Stop
from gdbflash.board.debug import HaltReason
from gdbflash.board.memory import AddressSpace
from gdbflash.board.mishaps.occasion import Occasion

NOTHING_HERE = 0x60000000
"""FMC bank 1, which nobody enabled: where accesses and branches that fault go."""
_NO_CODE = 0x52005000
"""QUADSPI: code is never executed there (ARM DDI 0403E, B3.1)."""
_HANG_STEP_S = 0.0005

FAULTS: dict[str, tuple[Cause, int]] = {
    "bus": (Cause.DATA_ERROR, 0),
    "fetch": (Cause.FETCH_ERROR, 0),
    "execute-never": (Cause.NEVER_EXECUTE, 0),
    "undefined": (Cause.UNDEFINED, 0),
    "arm-state": (Cause.INVALID_STATE, 0),
    "coprocessor": (Cause.NO_COPROCESSOR, 0),
    "unaligned": (Cause.UNALIGNED, 0),
    "divide": (Cause.DIVIDE_BY_ZERO, 0),
    "memmanage": (Cause.NEVER_EXECUTE, Shcsr.MEMFAULTENA),
    "busfault": (Cause.DATA_ERROR, Shcsr.BUSFAULTENA),
    "usagefault": (Cause.UNDEFINED, Shcsr.USGFAULTENA),
}
"""By name: what the instruction does, and which exception of its own is enabled first; else it is a HardFault."""


class Event(Protocol):
    """Something that happens to the core before the instruction at a place."""

    def happen(self, processor: Processor, space: AddressSpace) -> HaltReason | None:
        """Let it happen; gives why the core halts, if it does."""


@dataclass(frozen=True)
class Fault:
    """An exception of one of FAULTS."""

    kind: str

    def happen(self, processor: Processor, space: AddressSpace) -> HaltReason | None:  # noqa: ARG002
        """Take it; a branch has gone where it faults."""
        cause, enabled = FAULTS[self.kind]
        processor.exceptions.shcsr |= enabled
        registers = processor.registers
        if cause in (Cause.FETCH_ERROR, Cause.NEVER_EXECUTE):
            registers.write("lr", registers.pc | 1)
            registers.pc = NOTHING_HERE if cause is Cause.FETCH_ERROR else _NO_CODE
        return processor.fault(Stop(cause, NOTHING_HERE))


@dataclass(frozen=True)
class Lockup:
    """Two faults in one another."""

    def happen(self, processor: Processor, space: AddressSpace) -> HaltReason | None:  # noqa: ARG002
        """Lock up."""
        return processor.lock_up()


@dataclass(frozen=True)
class Hang:
    """An endless loop of one instruction."""

    def happen(self, processor: Processor, space: AddressSpace) -> HaltReason | None:  # noqa: ARG002
        """Stay where it is."""
        time.sleep(_HANG_STEP_S)
        return None


@dataclass(frozen=True)
class Overflow:
    """A recursion without end: the stack grows over all that lies below it, until there is no more memory."""

    def happen(self, processor: Processor, space: AddressSpace) -> HaltReason | None:
        """Fill the memory below SP, and fault at its end."""
        registers = processor.registers
        sp = registers.read("sp")
        memory = space.memory_at(sp - 1)
        if memory is not None:
            memory.content[: sp - memory.base] = bytes(each & 0xFF for each in range(sp - memory.base))
            processor.core.translation.note_write(memory.base, sp - memory.base)
            sp = memory.base
        registers.write("sp", sp)
        return processor.fault(Stop(Cause.DATA_ERROR, sp - 4))


@dataclass(frozen=True)
class Return:
    """A function that does nothing but return a value."""

    value: int

    def happen(self, processor: Processor, space: AddressSpace) -> HaltReason | None:  # noqa: ARG002
        """Return to LR."""
        processor.registers.write("r0", self.value)
        processor.registers.pc = processor.registers.read("lr") & ~1
        return None


@dataclass(frozen=True)
class Reset:
    """Somebody else resets the target."""

    def happen(self, processor: Processor, space: AddressSpace) -> HaltReason | None:  # noqa: ARG002
        """Reset before the next instruction."""
        processor.reset_requested()
        return None


@dataclass(frozen=True)
class Halt:
    """Somebody else halts the core."""

    def happen(self, processor: Processor, space: AddressSpace) -> HaltReason | None:  # noqa: ARG002
        """Halt before the instruction."""
        return HaltReason.REQUEST


@dataclass(frozen=True)
class Flip:
    """One bit of memory is another one; the address is counted from a register's value where one is named."""

    register: str
    offset: int
    bit: int

    def happen(self, processor: Processor, space: AddressSpace) -> HaltReason | None:
        """Flip it, and go on; where nothing is, nothing flips."""
        base = processor.registers.read(self.register) if self.register else 0
        address = base + self.offset & 0xFFFFFFFF
        try:
            space.write_bytes(address, bytes([space.read_bytes(address, 1)[0] ^ 1 << self.bit]))
            processor.core.translation.note_write(address, 1)
        except BusError:
            pass
        return processor.pass_trap()


@dataclass
class Mishap:
    """An event at a place, on an occasion counted in times that the core gets there."""

    address: int
    event: Event
    occasion: Occasion = field(default_factory=Occasion)
    met: int = 0
    """How often the core got there."""
    struck: int = 0
    """How often it happened."""


class Mishaps:
    """Lets mishaps happen on one processor."""

    def __init__(self, processor: Processor, space: AddressSpace) -> None:
        self._processor = processor
        self._space = space
        self._planned: list[Mishap] = []
        self._hung: tuple[int, int] | None = None
        processor.on_trap = self._strike

    def plan(self, mishaps: Iterable[Mishap]) -> None:
        """Take these mishaps in place of the ones before; only while no instruction executes."""
        self._planned = list(mishaps)
        self._processor.core.traps = {each.address for each in self._planned}
        self._hung = None

    def _strike(self, address: int) -> HaltReason | None:
        if self._hung == (address, self._processor.resets):
            return Hang().happen(self._processor, self._space)
        for each in self._planned:
            if each.address == address:
                each.met += 1
                if each.occasion.includes(each.met):
                    each.struck += 1
                    self._hung = (address, self._processor.resets) if isinstance(each.event, Hang) else None
                    return each.event.happen(self._processor, self._space)
        return self._processor.pass_trap()
