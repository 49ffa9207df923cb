"""A Cortex-M7 that executes: Unicorn, and what it takes to stop it exactly.

What belongs here: running instructions until something happens that the exception model or a debugger decides about,
and saying precisely what (`Stop`). Nothing here knows exceptions, priorities or peripherals.

How it works, as found with Unicorn 2.1.4:
- Memories are mapped without execute permission, so that Unicorn asks at each halfword that it translates, and only
  then. There the few instructions are found that need attention (`decode`); each gets a code hook of its own, all
  others run without any.
- A stop inside an MMIO callback abandons the instruction: nothing of it is done, PC is at it. That makes bus errors
  exact. It also means that a stop from another thread must not fall between an access with side effects and the end
  of its instruction: see `interrupt`. Where an access itself makes a stop necessary, the abandoned instruction is
  executed again and its access answered from memory (`_Replay`).
- Code hooks do not stop within IT blocks, exits do: what lies in an IT block is caught by exits.
"""

from __future__ import annotations

import ctypes
import enum
import threading
from collections.abc import Callable
from dataclasses import dataclass

import unicorn
from unicorn import Uc, UcError

from gdbflash.board.bus import BusError
from gdbflash.board.decode import Instruction, Kind, decode, is_wide, it_state, next_state, passes
from gdbflash.board.memory import AddressSpace, Memory
from gdbflash.board.registers import GENERAL, IT_BITS, THUMB, CoreRegisters

_NOWHERE = 0xA0001000
"""Where nothing is mapped: an unaligned access is sent here, so that Unicorn abandons the instruction."""

_GRACE = 0.0003
"""Seconds that a core gets to stop at a register access by itself, before it is stopped from outside."""

_LINE = 6
"""Translated code is remembered in lines of 64 bytes."""


class Cause(enum.Enum):
    """Why a run of instructions ended; PC is at the instruction itself unless it says otherwise."""

    INTERRUPTED = enum.auto()
    """Asked to, from another thread or by an access that wants `recheck`."""
    BREAKPOINT = enum.auto()
    WATCHPOINT = enum.auto()
    """PC is behind the instruction that made the access."""
    SLEEP_INTERRUPT = enum.auto()
    """WFI; PC is behind it."""
    SLEEP_EVENT = enum.auto()
    """WFE; PC is behind it."""
    SVC = enum.auto()
    """PC is behind it."""
    BKPT = enum.auto()
    UNDEFINED = enum.auto()
    INVALID_STATE = enum.auto()
    NO_COPROCESSOR = enum.auto()
    UNALIGNED = enum.auto()
    DIVIDE_BY_ZERO = enum.auto()
    DATA_ERROR = enum.auto()
    """address did not answer."""
    FETCH_ERROR = enum.auto()
    NEVER_EXECUTE = enum.auto()
    """A fetch from where the memory map forbids it."""
    MAGIC_BRANCH = enum.auto()
    """PC holds EXC_RETURN without bit 0, or an address in the last 256 MiB."""


@dataclass(frozen=True)
class Stop:
    """Why a run ended, and the data address if there is one."""

    cause: Cause
    address: int = 0


@dataclass(frozen=True)
class _Replay:
    """An access that took place, whose instruction was abandoned and will come again."""

    address: int
    size: int
    value: int


class Core:
    """Registers and execution. All but `interrupt` belongs to one thread at a time."""

    def __init__(self, space: AddressSpace) -> None:
        self._space = space
        self._uc = Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self._uc.ctl_set_cpu_model(unicorn.arm_const.UC_CPU_ARM_CORTEX_M7)
        self._uc.ctl_exits_enabled(True)
        self.registers = CoreRegisters(self._uc)
        self.breakpoints: set[int] = set()
        self.recheck = False
        """Set by whoever changed what has to be looked at before the next instruction; ends the run."""
        self.exception_pending: Callable[[], bool] = lambda: False
        self.divide_trap = False
        self.unaligned_trap = False
        self.float_enabled = True
        self._init_translation()
        self._init_running()
        self._map()

    def _init_translation(self) -> None:
        self._lines: dict[int, bytes] = {}
        self._attention: dict[int, Instruction] = {}
        self._conditions: dict[int, int] = {}  # of instructions in IT blocks
        self._hooks: dict[int, int] = {}
        self._second_half = -1
        self._it_exits: set[int] = set()
        self._exits: set[int] = set()
        self._stale = False

    def _init_running(self) -> None:
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        self._running = False
        self._runs = 0
        self._interrupted = False
        self._in_access = False
        self._whole = False  # the one instruction shall not be abandoned for an interrupt
        self._replay: _Replay | None = None
        self._stop: Stop | None = None
        self._trapped: Instruction | None = None
        self._sent_away: tuple[int, int] | None = None
        self._watches: dict[tuple[int, int, str], list[int]] = {}
        self._watch_hit: int | None = None
        self._watching = True
        self._failure: Exception | None = None
        self._let_pass = -1  # an instruction whose hook is silent for once

    # -- memory map -------------------------------------------------------------------------------------------

    def _map(self) -> None:
        for memory in self._space.memories:
            self.map_memory(memory)
        for base, size in self._space.device_ranges:
            self.map_device(base, size)
        add = self._uc.hook_add
        add(unicorn.UC_HOOK_MEM_FETCH_PROT, self._on_fetch)
        add(
            unicorn.UC_HOOK_MEM_UNMAPPED | unicorn.UC_HOOK_MEM_READ_PROT | unicorn.UC_HOOK_MEM_WRITE_PROT,
            self._on_bad_access,
        )
        add(unicorn.UC_HOOK_INTR, self._on_exception)

    def map_memory(self, memory: Memory) -> None:
        """Let the core see a memory; read-only ones answer a write with an error."""
        self.map_buffer(memory.base, memory.content, writable=memory.writable)

    def map_buffer(self, base: int, buffer: memoryview, *, writable: bool) -> None:
        """Let the core see a host buffer, a multiple of 4 KiB, which must outlive the mapping."""
        address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        permissions = unicorn.UC_PROT_READ | (unicorn.UC_PROT_WRITE if writable else 0)
        self._uc.mem_map_ptr(base, len(buffer), permissions, address)

    def map_device(self, base: int, size: int) -> None:
        """Let accesses to the range go to the address space's register blocks."""
        self._uc.mmio_map(base, size, self._on_read, base, self._on_write, base)

    def unmap(self, base: int, size: int) -> None:
        """Take a mapping away, and what was translated from it."""
        self._uc.mem_unmap(base, size)
        self._stale = True

    def note_write(self, address: int, size: int) -> None:
        """Heed that somebody other than the core has written memory, which may hold translated code."""
        first, last = address >> _LINE, address + size - 1 >> _LINE
        touched = self._lines.keys() & range(first, last + 1) if last - first < 64 else self._lines.keys()
        if any(first <= line <= last for line in touched):
            self._stale = True

    def flush(self) -> None:
        """Forget all translated code before the next instruction."""
        self._stale = True

    # -- accesses ---------------------------------------------------------------------------------------------

    def _on_read(self, _uc: Uc, offset: int, size: int, base: int) -> int:
        address = base + offset
        if self._replay is not None and self._replay.address == address:
            value, self._replay = self._replay.value, None
            return value
        if (self._interrupted and not self._whole) or self._stop or self._watch_hit is not None:
            self._uc.emu_stop()
            return 0
        self._in_access = True
        try:
            value = self._space.read(address, size)
        except BusError:
            self._abandon(Stop(Cause.DATA_ERROR, address))
            value = 0
        except Exception as error:
            self._fail(error)
            value = 0
        if self.recheck and not self._whole:
            self._replay = _Replay(address, size, value)
            self._uc.emu_stop()
        self._in_access = False
        return value

    def _on_write(self, _uc: Uc, offset: int, size: int, value: int, base: int) -> None:
        address = base + offset
        if self._replay is not None and self._replay.address == address:
            self._replay = None
            return
        if (self._interrupted and not self._whole) or self._stop or self._watch_hit is not None:
            self._uc.emu_stop()
            return
        self._in_access = True
        try:
            self._space.write(address, size, value)
        except BusError:
            self._abandon(Stop(Cause.DATA_ERROR, address))
        except Exception as error:
            self._fail(error)
        if self.recheck and not self._whole:
            self._replay = _Replay(address, size, value)
            self._uc.emu_stop()
        self._in_access = False

    def _abandon(self, stop: Stop) -> None:
        self._stop = stop
        self._uc.emu_stop()

    def _fail(self, error: Exception) -> None:
        """Carry an exception of a model out of the emulator; `run` raises it."""
        self._failure = error
        self._uc.emu_stop()

    def _on_bad_access(self, _uc: Uc, access: int, address: int, _size: int, _value: int, _data: object) -> bool:
        if self._sent_away is None:
            fetch = access == unicorn.UC_MEM_FETCH_UNMAPPED
            self._stop = Stop(Cause.FETCH_ERROR if fetch else Cause.DATA_ERROR, address)
        return False

    def _on_exception(self, _uc: Uc, number: int, _data: object) -> None:
        # Numbers of QEMU's target/arm/cpu.h.
        cause = {
            2: Cause.SVC,
            3: Cause.NEVER_EXECUTE,
            4: Cause.UNALIGNED,
            7: Cause.BKPT,
            8: Cause.MAGIC_BRANCH,
            17: Cause.NO_COPROCESSOR,
            18: Cause.INVALID_STATE,
        }.get(number)
        if cause is None:
            self._stop = self._stop or Stop(Cause.UNDEFINED)
        else:
            self._stop = Stop(cause)
        self._uc.emu_stop()

    # -- translation ------------------------------------------------------------------------------------------

    def _on_fetch(self, _uc: Uc, _access: int, address: int, _size: int, _value: int, _data: object) -> bool:
        memory = self._space.memory_at(address)
        if memory is None:
            self._stop = Stop(Cause.NEVER_EXECUTE, address)
            return False
        line = address >> _LINE
        if line not in self._lines:
            start = (line << _LINE) - memory.base
            self._lines[line] = bytes(memory.content[start : start + (1 << _LINE)])
        if address == self._second_half:
            self._second_half = -1
            return True
        first, second = self._halfwords(memory, address)
        self._second_half = address + 2 if is_wide(first) else -1
        instruction = decode(first, second)
        if instruction is None:
            return True
        if instruction.kind is Kind.IT:
            self._note_block(memory, address + 2, first & 0xFF)
        elif address not in self._conditions or self._only_aligned(instruction):
            self._note(address, instruction)
        return True

    @staticmethod
    def _halfwords(memory: Memory, address: int) -> tuple[int, int]:
        offset = address - memory.base
        word = int.from_bytes(memory.content[offset : offset + 4], "little")
        return word & 0xFFFF, word >> 16

    def _needed(self, instruction: Instruction) -> bool:
        kind = instruction.kind
        if kind is Kind.ACCESS:
            return self.unaligned_trap
        if kind is Kind.DIVIDE:
            return self.divide_trap
        if kind is Kind.FLOAT:
            return not self.float_enabled or instruction.size > 1
        return True

    def _note(self, address: int, instruction: Instruction) -> None:
        if self._needed(instruction):
            self._attention[address] = instruction
            if address not in self._hooks:
                self._hooks[address] = self._uc.hook_add(
                    unicorn.UC_HOOK_CODE, self._on_instruction, None, address, address
                )

    def _note_block(self, memory: Memory, address: int, state: int, *, exits: bool = True) -> None:
        """Look ahead into an IT block: what it holds is caught by exits, which must be set before translation.

        address and state (ITSTATE) are those of the next instruction in it.
        """
        while state & 0xF:
            first, second = self._halfwords(memory, address)
            instruction = decode(first, second)
            self._conditions[address] = state >> 4
            if instruction and self._needed(instruction) and not self._only_aligned(instruction):
                self._attention[address] = instruction
                self._it_exits.add(address)
            address += 4 if is_wide(first) else 2
            state = next_state(state)
        if exits and not self._it_exits <= self._exits:
            self._set_exits(self._exits | self._it_exits)

    def _only_aligned(self, instruction: Instruction) -> bool:
        """Tell whether alignment is all that matters, which a hook can see to in IT blocks as well."""
        return instruction.kind is Kind.WORDS or (instruction.kind is Kind.FLOAT and self.float_enabled)

    def _set_exits(self, exits: set[int]) -> None:
        self._exits = set(exits)
        self._uc.ctl_set_exits(sorted(exits))

    def _prepare(self) -> None:
        """Bring translated code and exits in line with memory and breakpoints."""
        wanted = self.breakpoints | self._it_exits
        if self._stale or wanted != self._exits:
            self._flush(wanted)

    def _flush(self, exits: set[int]) -> None:
        self._uc.ctl_flush_tb()
        self._stale = False
        self._lines.clear()
        self._attention.clear()
        self._conditions.clear()
        self._it_exits.clear()
        self._second_half = -1
        if len(self._hooks) > 512:
            for handle in self._hooks.values():
                self._uc.hook_del(handle)
            self._hooks.clear()
        self._set_exits(exits)

    def _code_changed(self) -> bool:
        return any(
            self._space.read_bytes(line << _LINE, len(content)) != content for line, content in self._lines.items()
        )

    # -- instructions that need attention ---------------------------------------------------------------------

    def _on_instruction(self, _uc: Uc, address: int, _size: int, _data: object) -> None:
        instruction = self._attention.get(address)
        if instruction is None or self._stop or address == self._let_pass:
            return
        if self._only_aligned(instruction):
            self._check_alignment(address, instruction)
        elif self._must_stop(instruction):
            self._trapped = instruction
            self._uc.emu_stop()

    def _check_alignment(self, address: int, instruction: Instruction) -> None:
        base = int(self._uc.reg_read(GENERAL[0] + instruction.register)) if instruction.register < 13 else 0
        if not base & instruction.size - 1:
            return
        condition = self._conditions.get(address)
        if condition is None or passes(condition, self.registers.xpsr):
            self._sent_away = (GENERAL[0] + instruction.register, base)
            self._uc.reg_write(self._sent_away[0], _NOWHERE)

    def _must_stop(self, instruction: Instruction) -> bool:
        kind = instruction.kind
        if kind is Kind.UNMASK:
            return self.exception_pending()
        if kind is Kind.BARRIER:
            return self.recheck or self.exception_pending() or self._code_changed()
        if kind is Kind.DIVIDE:
            return self._general(instruction.register) == 0
        if kind is Kind.ACCESS:
            return self._target(instruction) % instruction.size != 0
        return True

    def _general(self, number: int) -> int:
        names = {13: "sp", 14: "lr", 15: "pc"}
        return self.registers.read(names.get(number, f"r{number}"))

    def _target(self, instruction: Instruction) -> int:
        index = 0 if instruction.index is None else self._general(instruction.index) << instruction.shift
        return self._general(instruction.register) + instruction.offset + index

    def _resolve(self, instruction: Instruction) -> Stop | None:
        """Do what a Cortex-M7 does at this instruction; None to go on behind it."""
        kind = instruction.kind
        faults = {
            Kind.FLOAT: Cause.NO_COPROCESSOR,
            Kind.DIVIDE: Cause.DIVIDE_BY_ZERO,
            Kind.ACCESS: Cause.UNALIGNED,
        }
        if kind in faults:
            return Stop(faults[kind])
        if kind is Kind.UNMASK:
            self.recheck = True
            self._let_pass = self.registers.pc
            stop = self.step()
            self._let_pass = -1
            return stop or Stop(Cause.INTERRUPTED)
        if kind is Kind.READ_CONTROL:
            self.registers.write(f"r{instruction.register}", self.registers.control)
        elif kind is Kind.BARRIER:
            self._stale = self._stale or self._code_changed()
        self._advance(instruction.length)
        sleeps = {Kind.WAIT_INTERRUPT: Cause.SLEEP_INTERRUPT, Kind.WAIT_EVENT: Cause.SLEEP_EVENT}
        if kind in sleeps:
            return Stop(sleeps[kind])
        return Stop(Cause.INTERRUPTED) if self.recheck or self.exception_pending() else None

    def _advance(self, length: int) -> None:
        """Step PC and ITSTATE over an instruction."""
        xpsr = self.registers.xpsr
        state = next_state(it_state(xpsr))
        self.registers.xpsr = xpsr & ~IT_BITS | (state & 3) << 25 | (state & 0xFC) << 8
        self.registers.pc = self.registers.pc + length

    # -- execution --------------------------------------------------------------------------------------------

    def run(self) -> Stop:
        """Execute until something happens. Raises what a model raised."""
        while True:
            if self.recheck:
                return Stop(Cause.INTERRUPTED)
            self._prepare()
            stop = self._execute(0) or self._follow_up()
            if stop is not None:
                return stop

    def step(self) -> Stop | None:
        """Execute one instruction, also at a breakpoint; None when nothing else happened."""
        whole, self._whole = self._whole, True
        try:
            self._prepare()
            return self._step_whole()
        finally:
            self._whole = whole

    def _step_whole(self) -> Stop | None:
        pc, xpsr = self.registers.pc, self.registers.xpsr
        memory = self._space.memory_at(pc)
        first, second = self._halfwords(memory, pc) if memory else (0, 0)
        behind = pc + (4 if is_wide(first) else 2)
        if memory and xpsr & IT_BITS:
            if not passes(it_state(xpsr) >> 4, xpsr):
                self._advance(behind - pc)
                return None
            self._note_block(memory, pc, it_state(xpsr))
            instruction = self._attention.get(pc)
            if pc in self._it_exits and pc != self._let_pass and instruction and self._must_stop(instruction):
                return self._resolve(instruction)
            self._flush({behind})
            self._note_block(memory, pc, it_state(xpsr), exits=False)
        elif first >> 8 == 0xBF and first & 0xF:
            self._flush({behind})
        elif pc in self._exits:
            self._flush(self._exits - {pc})
        # A count does not stop within an IT block, an exit does.
        stop = self._execute(1)
        if self._exits != self.breakpoints | self._it_exits:
            self._stale = True
        if stop is None and self._trapped is not None:
            stop = self._resolve(self._trapped)
        return stop

    def _follow_up(self) -> Stop | None:
        """Decide what the end of a run without an event means; None to go on."""
        if self._trapped is not None:
            return self._resolve(self._trapped)
        if self._watch_hit is not None:
            return self._finish_watched()
        if self._replay is not None:
            # The access took place, its instruction was abandoned: complete it.
            stop = self.step()
            self._replay = None
            return stop or Stop(Cause.INTERRUPTED)
        pc = self.registers.pc
        if pc in self.breakpoints:
            return Stop(Cause.BREAKPOINT)
        if pc in self._it_exits and self.registers.xpsr & IT_BITS:
            return self.step()
        return Stop(Cause.INTERRUPTED)

    def _finish_watched(self) -> Stop:
        address = self._watch_hit or 0
        self._watch_hit = None
        self._watching = False
        try:
            return self.step() or Stop(Cause.WATCHPOINT, address)
        finally:
            self._watching = True

    def _execute(self, count: int) -> Stop | None:
        """Let Unicorn run; return the event that ended it, None for a stop without one."""
        xpsr = self.registers.xpsr
        if not xpsr & THUMB:
            return Stop(Cause.INVALID_STATE)
        begin = self.registers.pc | 1
        self._stop = self._trapped = self._sent_away = None
        with self._lock:
            self._running = True
            self._runs += 1
        try:
            self._uc.emu_start(begin, 0, count=count)
        except UcError as error:
            self._judge(error)
        finally:
            with self._lock:
                self._running = self._interrupted = False
                self._ended.notify_all()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        return self._stop

    def _judge(self, error: UcError) -> None:
        if self._sent_away is not None:
            register, value = self._sent_away
            self._uc.reg_write(register, value)
            self._stop = Stop(Cause.UNALIGNED)
        elif error.errno in (unicorn.UC_ERR_INSN_INVALID, unicorn.UC_ERR_EXCEPTION):
            undefined = self.registers.xpsr & THUMB
            self._stop = Stop(Cause.UNDEFINED if undefined else Cause.INVALID_STATE)
        elif self._stop is None:
            raise error

    def interrupt(self) -> None:
        """End the run that is going on, if any; from any thread. Returns when it has ended.

        First the core gets the chance to stop at a register access, before the access takes place. Only a core that
        makes none for a while is stopped from outside: then no access can be under way, whose instruction would be
        abandoned after the access had its effect.
        """
        with self._lock:
            run = self._runs
            if not self._running:
                return
            self._interrupted = True
            wait = _GRACE
            while not self._ended.wait_for(lambda: not self._running or self._runs != run, wait):
                if not self._in_access:
                    self._uc.emu_stop()
                wait = 0.001

    # -- watchpoints ------------------------------------------------------------------------------------------

    def watch(self, address: int, size: int, access: str) -> None:
        """Stop behind an instruction that makes such an access ("r", "w", "rw") to the range."""
        if (address, size, access) not in self._watches:
            kinds = {"r": unicorn.UC_HOOK_MEM_READ, "w": unicorn.UC_HOOK_MEM_WRITE}
            self._watches[address, size, access] = [
                self._uc.hook_add(kinds[kind], self._on_watched, None, address, address + size - 1) for kind in access
            ]
            self._stale = True

    def unwatch(self, address: int, size: int, access: str) -> None:
        """Take a watch away; unknown ones are ignored."""
        for handle in self._watches.pop((address, size, access), []):
            self._uc.hook_del(handle)
            self._stale = True

    def _on_watched(self, _uc: Uc, _access: int, address: int, _size: int, _value: int, _data: object) -> None:
        if self._watching:
            self._watch_hit = address
            self._uc.emu_stop()
