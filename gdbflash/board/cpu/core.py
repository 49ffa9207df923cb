"""A Cortex-M7 that executes, and stops exactly.

What belongs here: running instructions until something happens that the exception model or a debugger decides about,
and saying precisely what (`Stop`). Nothing here knows exceptions, priorities or peripherals.

A stop from inside an access callback abandons the instruction: nothing of it is done, PC is at it. That makes bus
errors exact. It also means that a stop from another thread must not fall between an access with side effects and the
end of its instruction: see `interrupt`. Where an access makes a stop necessary or is the occasion for one, the
abandoned instruction is executed again and its access answered from memory (`_Replay`); accesses that the same
instruction made before that one, as STM does, take place twice. Instructions in IT blocks cannot be abandoned: they
complete, what follows in translated code is executed as well, and a bus error is told behind that.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from gdbflash.board.bus import BusError
from gdbflash.board.cpu import double
from gdbflash.board.cpu.decode import Instruction, Kind, is_wide, it_state, next_state, passes
from gdbflash.board.cpu.engine import Ending, Engine
from gdbflash.board.cpu.guards import Guards
from gdbflash.board.cpu.registers import FPCA, IT_BITS, THUMB, CoreRegisters
from gdbflash.board.cpu.stops import Cause, Stop
from gdbflash.board.cpu.translation import Translation, register_name
from gdbflash.board.memory import BLOCK_SHIFT, AddressSpace, Memory
from gdbflash.host.processes import own_processor_time

_GRACE = 0.0003
"""Seconds that a core gets to stop at a register access by itself, before it is stopped from outside."""

_SETTLED = 0.00005
"""Seconds of processor time after which the core is done with an instruction whose access was answered before. Elapsed
time does not tell: on a busy host the core's thread may have slept through it."""

_RETRY = 0.001
"""Seconds until a stop is asked for again: one that comes before execution has begun is lost."""


_EXECUTABLE = (0, 1, 3, 4)
"""Regions of 512 MiB that may be executed: code, SRAM and external RAM (ARM DDI 0403E, B3.1)."""


_EXCEPTIONS = {
    2: Cause.SVC,
    3: Cause.NEVER_EXECUTE,
    4: Cause.UNALIGNED,
    7: Cause.BKPT,
    8: Cause.MAGIC_BRANCH,
    17: Cause.NO_COPROCESSOR,
    18: Cause.INVALID_STATE,
}
"""By the numbers that `Engine.on_exception` gives."""

_FAULTS = {
    Kind.FLOAT: Cause.NO_COPROCESSOR,
    Kind.DIVIDE: Cause.DIVIDE_BY_ZERO,
    Kind.ACCESS: Cause.UNALIGNED,
}
_SLEEPS = {Kind.WAIT_INTERRUPT: Cause.SLEEP_INTERRUPT, Kind.WAIT_EVENT: Cause.SLEEP_EVENT}


@dataclass(frozen=True)
class _Replay:
    """An access that took place, whose instruction was abandoned and will come again: where, and what was read."""

    address: int
    value: int
    stored: int | None
    """What was written; None for a read."""


class Core:
    """Registers and execution. All but `interrupt` belongs to one thread at a time."""

    def __init__(self, space: AddressSpace) -> None:
        self._space = space
        self._blocks = space.blocks
        self._engine = Engine()
        self.registers = CoreRegisters(self._engine)
        self.translation = Translation(self._engine, space, self.registers)
        self.breakpoints: set[int] = set()
        self.traps: set[int] = set()
        """Where the board itself wants to be asked before the instruction; stepping does not ask."""
        self.recheck = False
        """Set by whoever changed what has to be looked at before the next instruction; ends the run."""
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        self._running = False
        self._runs = 0
        self._stoppable = True  # by `interrupt`, from outside
        self._executed = time.perf_counter
        self._interrupted = False
        self._in_access = False
        self._accesses = 0  # done
        self._whole = False  # the one instruction shall not be abandoned
        self._done: _Replay | None = None  # the last access, when execution was to end behind it
        self._replay: _Replay | None = None
        self._stop: Stop | None = None
        self._failure: Exception | None = None
        self._watches: dict[tuple[int, int, str], list[int]] = {}
        self._watch_hit: int | None = None
        self._watching = True
        self._guards = Guards(self._engine, space)
        for memory in space.memories:
            self.map_memory(memory)
        for base, size in space.device_ranges:
            self.map_device(base, size)
        self._engine.on_bad_access(self._on_bad_access)
        self._engine.on_protected_write(self._on_protected_write)
        self._engine.on_exception(self._on_exception)

    # -- memory map -------------------------------------------------------------------------------------------

    def map_memory(self, memory: Memory) -> None:
        """Let the core see a memory; read-only ones answer a write with an error, or by their guard."""
        self._engine.map_buffer(memory.base, memory.content, writable=memory.writable)

    def map_device(self, base: int, size: int) -> None:
        """Let accesses to the range go to the address space's register blocks."""
        self._engine.map_device(base, size, self._on_read, self._on_write)

    def unmap(self, base: int, size: int) -> None:
        """Take a mapping away, and what was translated from it."""
        self._engine.unmap(base, size)
        self.translation.flush()

    def memory_changed(self, address: int, size: int) -> None:
        """Heed that memory has changed other than by a store of the core, before the next instruction."""
        self.translation.note_write(address, size)
        if self.translation.stale:
            self.recheck = True

    # -- accesses ---------------------------------------------------------------------------------------------

    def _on_read(self, _uc: object, offset: int, size: int, base: int) -> int:
        address = base + offset
        # Every access of the core comes here: hence no further call than needed.
        watched = self._watch_hit is not None
        if (self._replay or self._stop or watched) and self._must_not_begin(address, None):
            return self._take_replay()
        self._in_access = True
        value = 0
        try:
            block = self._blocks.get(address >> BLOCK_SHIFT) or self._space.peripheral_at(address)
            value = block.read(address - block.base, size)
        except BusError:
            self._stop = Stop(Cause.DATA_ERROR, address)
            self._engine.stop()
        except Exception as error:
            self._fail(error)
        if (self.recheck or self._interrupted) and not self._whole:
            self._abandon_done(address, value, None)
        self._accesses += 1
        self._in_access = False
        return value

    def _on_write(self, _uc: object, offset: int, size: int, value: int, base: int) -> None:
        address = base + offset
        watched = self._watch_hit is not None
        if (self._replay or self._stop or watched) and self._must_not_begin(address, value):
            self._take_replay()
            return
        self._in_access = True
        try:
            block = self._blocks.get(address >> BLOCK_SHIFT) or self._space.peripheral_at(address)
            block.write(address - block.base, size, value)
        except BusError:
            self._stop = Stop(Cause.DATA_ERROR, address)
            self._engine.stop()
        except Exception as error:
            self._fail(error)
        if (self.recheck or self._interrupted) and not self._whole:
            self._abandon_done(address, 0, value)
        self._accesses += 1
        self._in_access = False

    def _must_not_begin(self, address: int, stored: int | None) -> bool:
        """Tell whether this access has taken place already, or its instruction is to be abandoned before it."""
        if self._replay is not None:
            return (self._replay.address, self._replay.stored) == (address, stored)
        self._engine.stop()
        return True

    def _take_replay(self) -> int:
        replay, self._replay = self._replay, None
        return replay.value if replay else 0

    def _abandon_done(self, address: int, value: int, stored: int | None) -> None:
        if self._stop is None and self._failure is None:
            self._done = _Replay(address, value, stored)
        self._engine.stop()

    def _fail(self, error: Exception) -> None:
        """Carry an exception of a model out of the engine; `run` raises it."""
        self._failure = error
        self._engine.stop()

    def _on_bad_access(self, address: int, fetch: bool) -> None:
        if self.translation.sent_away is None:
            self._stop = Stop(Cause.FETCH_ERROR if fetch else Cause.DATA_ERROR, address)

    def _on_protected_write(self, address: int, size: int, value: int) -> bool:
        if self._guards.store(address, size, value, alone=self._whole):
            return True
        self._on_bad_access(address, fetch=False)
        return False

    def _on_exception(self, number: int) -> None:
        self._stop = self._stop or Stop(_EXCEPTIONS.get(number, Cause.UNDEFINED))

    # -- execution --------------------------------------------------------------------------------------------

    def run(self) -> Stop:
        """Execute until something happens. Raises what a model raised."""
        while True:
            if self.recheck:
                return Stop(Cause.INTERRUPTED)
            self._prepare(self.breakpoints | self.traps)
            self._note_block()
            stop = self._execute(0)
            if stop is None:
                stop = self._follow_up()
            self._guards.settle()
            if stop is not None:
                return stop

    def _prepare(self, exits: set[int]) -> None:
        if self._guards.watch():
            self.translation.flush()
        self.translation.prepare(exits)

    def _note_block(self) -> None:
        """Look ahead when execution begins within an IT block, as after an exception."""
        state = it_state(self.registers.xpsr)
        memory = self._space.memory_at(self.registers.pc) if state & 0xF else None
        if memory is not None:
            self.translation.note_block(memory, self.registers.pc, state)

    def step(self) -> Stop | None:
        """Execute one instruction, also at a breakpoint; None when nothing else happened."""
        whole, self._whole = self._whole, True
        try:
            self._prepare(self.breakpoints)
            return self._step_whole()
        finally:
            self._whole = whole
            self._guards.settle()

    def _step_whole(self) -> Stop | None:
        pc, xpsr = self.registers.pc, self.registers.xpsr
        translation = self.translation
        memory = self._space.memory_at(pc)
        if memory is None:
            return self._execute(1)
        first = translation.halfwords(memory, pc)[0]
        behind = pc + (4 if is_wide(first) else 2)
        if xpsr & IT_BITS:
            if not passes(it_state(xpsr) >> 4, xpsr):
                self._advance(behind - pc)
                return None
            translation.note_block(memory, pc, it_state(xpsr))
            instruction = translation.attention.get(pc)
            due = pc in translation.block_exits and pc != translation.let_pass
            # The emulator loses ITSTATE at a barrier.
            if instruction and due and (instruction.kind is Kind.BARRIER or translation.must_stop(instruction)):
                return self._resolve(instruction)
        # A count alone is not enough: it does not stop within IT blocks, nor in code translated without one.
        translation.restart({behind})
        translation.flush()
        if xpsr & IT_BITS:
            translation.note_block(memory, pc, it_state(xpsr), exits=False)
        stop = self._execute(1)
        if stop is None and translation.trapped is not None:
            stop = self._resolve(translation.trapped)
        return stop

    def _follow_up(self) -> Stop | None:
        """Decide what the end of a run without an event means; None to go on."""
        if self.translation.trapped is not None:
            self._guards.settle()
            return self._resolve(self.translation.trapped)
        if self._watch_hit is not None:
            return self._finish_watched()
        pc = self.registers.pc
        again = pc not in self.breakpoints and pc not in self.traps  # else it is another instruction
        if self._guards.postponed and again:
            return self.step()
        if self._done is not None and again:
            return self._finish_done(self._done)
        if pc in self.breakpoints:
            return Stop(Cause.BREAKPOINT)
        if pc in self.traps:
            return Stop(Cause.TRAP)
        if pc in self.translation.block_exits and self.registers.xpsr & IT_BITS:
            return self.step()
        return Stop(Cause.INTERRUPTED)

    def _finish_done(self, done: _Replay) -> Stop:
        """Complete the instruction that was abandoned after its access."""
        self._replay = done
        try:
            return self.step() or Stop(Cause.INTERRUPTED)
        finally:
            self._replay = None

    def _resolve(self, instruction: Instruction) -> Stop | None:
        """Do what a Cortex-M7 does at this instruction; None to go on behind it."""
        kind = instruction.kind
        if kind in _FAULTS:
            return Stop(_FAULTS[kind])
        if kind is Kind.UNMASK:
            self.recheck = True
            self.translation.let_pass = self.registers.pc
            stop = self.step()
            self.translation.let_pass = -1
            return stop or Stop(Cause.INTERRUPTED)
        if kind is Kind.DOUBLE:
            return self._compute(instruction)
        if kind is Kind.READ_SPECIAL:
            self.registers.write(register_name(instruction.register), self.registers.read(instruction.special))
        elif kind is Kind.BARRIER:
            self.recheck = True
            if self.translation.code_changed():
                self.translation.flush()
        self._advance(instruction.length)
        return Stop(_SLEEPS[kind]) if kind in _SLEEPS else None

    def _compute(self, instruction: Instruction) -> Stop | None:
        """Execute arithmetic on doubles."""
        if not self.translation.float_enabled:
            return Stop(Cause.NO_COPROCESSOR)
        registers = self.registers
        if not registers.control & FPCA:  # the first of a context (ARM DDI 0403E, B1.5.7)
            registers.control |= FPCA
            registers.write("fpscr", 0)
        memory = self._space.memory_at(registers.pc)
        try:
            if memory is not None:
                double.execute(*self.translation.halfwords(memory, registers.pc), registers)
        except double.Undefined:
            return Stop(Cause.UNDEFINED)
        self._advance(instruction.length)
        return None

    def _advance(self, length: int) -> None:
        """Step PC and ITSTATE over an instruction."""
        xpsr = self.registers.xpsr
        state = next_state(it_state(xpsr))
        self.registers.xpsr = xpsr & ~IT_BITS | (state & 3) << 25 | (state & 0xFC) << 8
        self.registers.pc = self.registers.pc + length

    def _execute(self, count: int) -> Stop | None:
        """Let the engine run; return the event that ended it, None for a stop without one."""
        if not self.registers.xpsr & THUMB:
            return Stop(Cause.INVALID_STATE)
        begin = self.registers.pc
        self._stop = None
        self._done = None
        self._guards.begin()
        self.translation.begin()
        with self._lock:
            self._running = True
            self._stoppable = not self._whole
            self._runs += 1
            self._executed = own_processor_time()
        try:
            ending = self._engine.start(begin, count)
        finally:
            with self._lock:
                self._running = self._interrupted = False
                self._ended.notify_all()
            self._guards.undo()
            self._drop_stale_state()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if self.translation.sent_away is not None:
            self._engine.put(*self.translation.sent_away)
            return Stop(Cause.UNALIGNED)
        if self._guards.denied is not None:
            return Stop(Cause.DATA_ERROR, self._guards.denied)
        if ending is Ending.BAD_INSTRUCTION and self._stop is None:
            return Stop(Cause.UNDEFINED if self.registers.xpsr & THUMB else Cause.INVALID_STATE)
        if ending is Ending.BAD_ACCESS and self._stop is None:
            return self._judge_fetch()
        return self._stop

    def _judge_fetch(self) -> Stop:
        """Tell what a fetch that was refused means; one of a device that became memory by it is tried again."""
        if self.recheck:
            return Stop(Cause.INTERRUPTED)
        executable = self.registers.pc >> 29 in _EXECUTABLE
        return Stop(Cause.FETCH_ERROR if executable else Cause.NEVER_EXECUTE, self.registers.pc)

    def _drop_stale_state(self) -> None:
        """Clear ITSTATE behind an IT block where the engine has left it, as it does when stopped by one's store."""
        xpsr = self.registers.xpsr
        if xpsr & IT_BITS and not self.translation.is_conditional(self.registers.pc):
            self.registers.xpsr = xpsr & ~IT_BITS

    def interrupt(self) -> None:
        """End the run that is going on, if any; from any thread. Returns when it has ended.

        First the core gets the chance to stop at a register access, when that has taken place. Only a core that
        makes none while it executes is stopped from outside: then no access can be under way, nor just be done, whose
        instruction would be abandoned after the access had its effect. An instruction that is executed alone ends by
        itself, and must: it may be there to complete what has had its effect.
        """
        with self._lock:
            run = self._runs
            if not self._running:
                return
            self._interrupted = True
            wait = _GRACE
            accesses, executed = self._accesses, self._executed()
            while not self._ended.wait_for(lambda: not self._running or self._runs != run, wait):
                if self._in_access or self._accesses != accesses:
                    accesses, executed = self._accesses, self._executed()
                elif self._stoppable and self._executed() - executed > _SETTLED:
                    self._engine.stop()
                    wait = _RETRY

    # -- watchpoints ------------------------------------------------------------------------------------------

    def watch(self, address: int, size: int, access: str) -> None:
        """Stop behind an instruction that makes such an access ("r", "w", "rw") to the range."""
        if (address, size, access) not in self._watches:
            last = address + size - 1
            self._watches[address, size, access] = [
                self._engine.hook_access(kind, address, last, self._on_watched) for kind in access
            ]
            self.translation.flush()

    def unwatch(self, address: int, size: int, access: str) -> None:
        """Take a watch away; unknown ones are ignored."""
        for handle in self._watches.pop((address, size, access), []):
            self._engine.unhook(handle)
            self.translation.flush()

    def _on_watched(self, _uc: object, _kind: int, address: int, _size: int, _value: int, _data: object) -> None:
        if self._watching:
            self._watch_hit = address
            self._engine.stop()

    def _finish_watched(self) -> Stop:
        """Complete the instruction that was abandoned for a watchpoint."""
        address, self._watch_hit = self._watch_hit or 0, None
        self._watching = False
        try:
            return self.step() or Stop(Cause.WATCHPOINT, address)
        finally:
            self._watching = True
