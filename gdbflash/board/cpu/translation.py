"""Which translated instructions need attention, and keeping translated code in line with memory.

What belongs here: everything that is decided when Unicorn translates an instruction or calls its hook. Memories are
mapped without execute permission, so that Unicorn asks at each halfword that it translates, and only then. There the
few instructions are found that it executes otherwise than a Cortex-M7 (`decode`); each gets a code hook of its own,
all others run without any. Code hooks do not stop within IT blocks, exits do: what lies in one is caught by exits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from gdbflash.board.bus import BusError
from gdbflash.board.cpu.decode import Instruction, Kind, decode, is_wide, next_state, passes
from gdbflash.board.cpu.engine import Engine
from gdbflash.board.cpu.registers import CoreRegisters
from gdbflash.board.memory import AddressSpace, Guard, Memory

_NOWHERE = 0xA0001000
"""Where nothing is mapped: an unaligned access is sent here, so that Unicorn abandons the instruction."""

_LINE = 6
"""Translated code is remembered in lines of 64 bytes."""

_MOST_HOOKS = 512
"""Hooks are searched one after another; when there are more, those of forgotten code are taken away."""

_EXECUTABLE_DEVICES = (0x6, 0x7, 0x8, 0x9)
"""Top digits of the external RAM region (ARM DDI 0403E, B3.1), where QUADSPI lies."""

_HIGH_REGISTERS = {13: "sp", 14: "lr", 15: "pc"}


def register_name(number: int) -> str:
    """Return the name of a register by its number in an instruction."""
    return _HIGH_REGISTERS.get(number) or f"r{number}"


def _readable(guard: Guard, offset: int) -> bool:
    try:
        guard.check(offset, 2)
    except BusError:
        return False
    return True


class Translation:
    """Hooks, exits and a copy of what was translated."""

    def __init__(self, engine: Engine, space: AddressSpace, registers: CoreRegisters) -> None:
        self._engine = engine
        self._space = space
        self._registers = registers
        self.exception_pending: Callable[[], bool] = lambda: False
        """Tells whether lowering the execution priority, or a barrier, may make an exception due."""
        self.divide_trap = False
        self.unaligned_trap = False
        self.float_enabled = True
        self.trapped: Instruction | None = None
        """The instruction at PC, before which execution was stopped."""
        self.sent_away: tuple[str, int] | None = None
        """A base register, and its value, of the unaligned access that is being abandoned."""
        self.let_pass = -1
        """The instruction whose hook stays silent."""
        self.block_exits: set[int] = set()
        self.attention: dict[int, Instruction] = {}
        self._lines: dict[int, bytes] = {}
        self._conditions: dict[int, int] = {}  # of instructions in IT blocks
        self._hooks: dict[int, int] = {}
        self._second_half = -1
        self._exits: set[int] = set()
        self._stale = False
        engine.on_fetch(self._on_fetch)

    # -- keeping in line --------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Forget all translated code before the next instruction."""
        self._stale = True

    @property
    def stale(self) -> bool:
        """Whether all translated code will be forgotten before the next instruction."""
        return self._stale

    def note_write(self, address: int, size: int) -> None:
        """Heed that somebody other than the core has written memory, which may hold translated code."""
        self._stale = self._stale or self.covers(address, size)

    def covers(self, address: int, size: int) -> bool:
        """Tell whether code in a range, or next to it, is translated; from any thread."""
        first, last = address >> _LINE, address + size - 1 >> _LINE
        if last - first < len(self._lines):
            return any(line in self._lines for line in range(first, last + 1))
        return any(first <= line <= last for line in tuple(self._lines))

    def code_changed(self) -> bool:
        """Tell whether translated code is no longer what memory holds: the core has written to it."""
        for line, content in self._lines.items():
            memory = self._space.memory_at(line << _LINE)
            if memory is None:
                return True
            start = (line << _LINE) - memory.base
            if memory.content[start : start + len(content)] != content:
                return True
        return False

    def prepare(self, breakpoints: set[int]) -> None:
        """Bring translated code and exits in line with memory and breakpoints."""
        wanted = breakpoints | self.block_exits
        if self._stale or wanted != self._exits:
            self.restart(breakpoints)

    def restart(self, exits: set[int]) -> None:
        """Forget all translated code at once; translate with these exits from now on."""
        self._engine.flush()
        self._stale = False
        self._lines.clear()
        self.attention.clear()
        self._conditions.clear()
        self.block_exits.clear()
        self._second_half = -1
        if len(self._hooks) > _MOST_HOOKS:
            for handle in self._hooks.values():
                self._engine.unhook(handle)
            self._hooks.clear()
        self._set_exits(exits)

    def _set_exits(self, exits: set[int]) -> None:
        self._exits = set(exits)
        self._engine.set_exits(exits)

    # -- at translation ---------------------------------------------------------------------------------------

    def halfwords(self, memory: Memory, address: int) -> tuple[int, int]:
        """Return the halfword at address and the next."""
        offset = address - memory.base
        word = int.from_bytes(memory.content[offset : offset + 4], "little")
        return word & 0xFFFF, word >> 16

    def _on_fetch(self, _uc: object, _kind: int, address: int, _size: int, _value: int, _data: object) -> bool:
        memory = self._space.memory_at(address)
        if memory is None:
            return self._fetch_from_device(address)
        if memory.guard is not None and not _readable(memory.guard, address - memory.base):
            return False
        line = address >> _LINE
        if line not in self._lines:
            start = (line << _LINE) - memory.base
            self._lines[line] = bytes(memory.content[start : start + (1 << _LINE)])
        if address == self._second_half:
            self._second_half = -1
            return True
        first, second = self.halfwords(memory, address)
        self._second_half = address + 2 if is_wide(first) else -1
        instruction = decode(first, second)
        if instruction is None:
            return True
        if instruction.kind is Kind.IT:
            self.note_block(memory, address + 2, first & 0xFF)
        elif self._needed(instruction) and (address not in self._conditions or self._only_aligned(instruction)):
            self.attention[address] = instruction
            if address not in self._hooks:
                self._hooks[address] = self._engine.hook_instruction(address, self._on_instruction)
        return True

    def _fetch_from_device(self, address: int) -> bool:
        """Refuse, but where the memory map allows execution do the bus access: it may turn the device into memory."""
        if address >> 28 in _EXECUTABLE_DEVICES:
            with contextlib.suppress(BusError):
                self._space.read(address, 2)
        return False

    def note_block(self, memory: Memory, address: int, state: int, *, exits: bool = True) -> None:
        """Look ahead into an IT block: what it holds is caught by exits, which must be set before translation.

        address and state (ITSTATE) are those of the next instruction in it.
        """
        while state & 0xF and address < memory.end:
            first, second = self.halfwords(memory, address)
            instruction = decode(first, second)
            self._conditions[address] = state >> 4
            if instruction and self._needed(instruction) and not self._only_aligned(instruction):
                self.attention[address] = instruction
                self.block_exits.add(address)
            address += 4 if is_wide(first) else 2
            state = next_state(state)
        if exits and not self.block_exits <= self._exits:
            self._set_exits(self._exits | self.block_exits)

    def is_conditional(self, address: int) -> bool:
        """Tell whether the instruction at address, of translated code, is in an IT block."""
        return address in self._conditions

    def _needed(self, instruction: Instruction) -> bool:
        kind = instruction.kind
        if kind is Kind.ACCESS:
            return self.unaligned_trap
        if kind is Kind.DIVIDE:
            return self.divide_trap
        if kind is Kind.FLOAT:
            return not self.float_enabled or instruction.size > 1
        return True

    def _only_aligned(self, instruction: Instruction) -> bool:
        """Tell whether alignment is all that matters, which a hook can see to in IT blocks as well."""
        return instruction.kind is Kind.WORDS or (instruction.kind is Kind.FLOAT and self.float_enabled)

    def begin(self) -> None:
        """Forget what the last run ended with."""
        self.trapped = self.sent_away = None

    # -- at execution -----------------------------------------------------------------------------------------

    def _on_instruction(self, _uc: object, address: int, _size: int, _data: object) -> None:
        instruction = self.attention.get(address)
        if instruction is None or address == self.let_pass:
            return
        if self._only_aligned(instruction):
            self._check_alignment(address, instruction)
        elif self.must_stop(instruction):
            self.trapped = instruction
            self._engine.stop()

    def _check_alignment(self, address: int, instruction: Instruction) -> None:
        name = register_name(instruction.register)
        base = self._engine.get(name)
        if not base & instruction.size - 1:
            return
        condition = self._conditions.get(address)
        if condition is None or passes(condition, self._registers.xpsr):
            self.sent_away = (name, base)
            self._engine.put(name, _NOWHERE)

    def must_stop(self, instruction: Instruction) -> bool:
        """Tell whether the instruction, which is the next one, would do otherwise on a Cortex-M7."""
        kind = instruction.kind
        if kind is Kind.UNMASK:
            return self.exception_pending()
        if kind is Kind.BARRIER:
            return self.exception_pending() or self.code_changed()
        if kind is Kind.DIVIDE:
            return self._value(instruction.register) == 0
        if kind is Kind.ACCESS:
            return self._target(instruction) % instruction.size != 0
        return True

    def _value(self, number: int) -> int:
        return self._engine.get(register_name(number))

    def _target(self, instruction: Instruction) -> int:
        index = 0 if instruction.index is None else self._value(instruction.index) << instruction.shift
        return self._value(instruction.register) + instruction.offset + index
