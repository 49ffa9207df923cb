"""The processor: instructions, exceptions and time put together.

What belongs here: exception entry and return, faults and their escalation, sleep, lockup and reset, which are moves of
registers and memory. Source: ARM DDI 0403E, B1.5.5 (reset) to B1.5.15 (lockup). Two simplifications: lazy saving of
floating-point registers is done at once (FPCCR.LSPACT is never set), and CCR.BFHFNMIGN is kept but has no effect.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from gdbflash.board.bus import BusError
from gdbflash.board.clock import Clock
from gdbflash.board.cpu.core import Core
from gdbflash.board.cpu.exceptions import Ccr, Cfsr, Exceptions, Hfsr, Number
from gdbflash.board.cpu.frames import Frames
from gdbflash.board.cpu.registers import FPCA, IPSR, NPRIV, SPSEL
from gdbflash.board.cpu.scs import VC_CORERESET, SystemControlSpace
from gdbflash.board.cpu.stops import Cause, Stop
from gdbflash.board.cpu.systick import CycleCounter, SysTick
from gdbflash.board.debug import HaltReason
from gdbflash.board.memory import AddressSpace

LOCKUP_ADDRESS = 0xEFFFFFFE

_TO_HANDLER, _TO_MSP, _TO_PSP = 0xFFFFFFF1, 0xFFFFFFF9, 0xFFFFFFFD
"""EXC_RETURN for a frame without floating-point registers (table B1-8)."""

_USAGE = {
    Cause.UNDEFINED: Cfsr.UNDEFINSTR,
    Cause.INVALID_STATE: Cfsr.INVSTATE,
    Cause.NO_COPROCESSOR: Cfsr.NOCP,
    Cause.UNALIGNED: Cfsr.UNALIGNED,
    Cause.DIVIDE_BY_ZERO: Cfsr.DIVBYZERO,
}


class Processor:
    """A Cortex-M7 without its debug interface. Not thread-safe but for `core.interrupt`."""

    def __init__(self, space: AddressSpace, clock: Clock, hertz: float, *, debugger: bool = True) -> None:
        """Power up, not yet reset. debugger: BKPT halts; without one it is a fault or DebugMonitor."""
        self._space = space
        self._clock = clock
        self.debugger = debugger
        self.core = Core(space)
        self.registers = self.core.registers
        self.exceptions = Exceptions()
        self.cycles = CycleCounter(clock, hertz)
        self.systick = SysTick(self.cycles)
        self._frames = Frames(self.registers, space, self.core.translation.note_write)
        self.scs = SystemControlSpace(self.exceptions, self.systick, self)
        self.scs.debugger = debugger
        self.core.translation.exception_pending = self._anything_pending
        self.on_reset: Callable[[], None] = lambda: None
        self.on_idle: Callable[[], None] = lambda: None
        """Called now and then while the core sleeps, so that peripherals see time pass."""
        self.before_run: Callable[[], None] = lambda: None
        self.next_event: Callable[[], float | None] = lambda: None
        """Returns the board seconds until a peripheral other than SysTick interrupts, as far as it can tell."""
        self.on_trap: Callable[[int], HaltReason | None] = lambda _: self.pass_trap()
        """Called before the instruction at one of `core.traps`, with its address."""
        self.resets = 0
        self.event = False
        self._reset_wanted = False
        self._sleeping = False
        space.attach(self.scs)

    # -- scs.ScsListener --------------------------------------------------------------------------------------

    def exceptions_changed(self) -> None:
        """Look at pending exceptions before the next instruction."""
        if self.exceptions.pending:
            self.core.recheck = True

    def timer_changed(self) -> None:
        """Set the alarm anew before the next instruction."""
        self.core.recheck = True

    def configuration_changed(self) -> None:
        """Let CCR and CPACR act on instructions; translated ones do not know of the change."""
        code, ccr = self.core.translation, self.exceptions.ccr
        wanted = (bool(ccr & Ccr.DIV_0_TRP), bool(ccr & Ccr.UNALIGN_TRP), self.scs.cpacr >> 20 & 3 != 0)
        if wanted != (code.divide_trap, code.unaligned_trap, code.float_enabled):
            code.divide_trap, code.unaligned_trap, code.float_enabled = wanted
            self.code_cache_invalidated()

    def reset_requested(self) -> None:
        """Reset as soon as the current instruction is done."""
        self._reset_wanted = True
        self.core.recheck = True

    @property
    def reset_due(self) -> bool:
        """Whether a reset was requested and has not been done."""
        return self._reset_wanted

    def code_cache_invalidated(self) -> None:
        """Translate again."""
        self.core.translation.flush()
        self.core.recheck = True

    def current_exception(self) -> int:
        """Return IPSR."""
        return self.registers.ipsr

    def set_interrupt(self, irq: int, high: bool) -> None:
        """Drive an interrupt line of the NVIC."""
        self.exceptions.set_line(irq, high)
        self.exceptions_changed()

    # -- reset ------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Do a system reset: peripherals, then the core, which fetches SP and PC from the vector table (B1.5.5)."""
        self.resets += 1
        self._reset_wanted = self._sleeping = self.event = False
        self.on_reset()
        self.scs.reset()
        self.configuration_changed()
        registers = self.registers
        registers.ipsr = 0
        registers.control = 0
        for mask in ("primask", "basepri", "faultmask", "psp"):
            registers.write(mask, 0)
        registers.write("fpscr", 0)
        registers.write("lr", 0xFFFFFFFF)
        try:
            stack, start = struct.unpack("<II", self._space.read_bytes(self.exceptions.vtor, 8))
        except BusError:
            stack = start = 0
        registers.write("msp", stack)
        registers.xpsr = (start & 1) << 24
        registers.pc = start & ~1

    # -- running ----------------------------------------------------------------------------------------------

    def run(
        self, stop: Callable[[], bool], alarm: Callable[[float | None], None], sleep: Callable[[float], None]
    ) -> HaltReason | None:
        """Execute until the core halts, or until stop() says so (None).

        alarm(seconds) interrupts the core so many board seconds later, sleep(seconds) waits that long or until stop().
        """
        while not stop():
            reason = self._prepare()
            if reason is None and self._sleeping:
                self.on_idle()
                sleep(self._sleep_limit())
                continue
            if reason is None:
                alarm(
                    min((due for due in (self.systick.next_tick(), self.next_event()) if due is not None), default=None)
                )
                reason = self._react(self.core.run())
            if reason is not None:
                return reason
        return None

    def step(self) -> HaltReason:
        """Execute one instruction; interrupts stay pending, as with C_MASKINTS."""
        self._sleeping = False
        if self._reset_wanted:
            self.reset()
        self.before_run()
        self.core.recheck = False
        stop = self.core.step()
        reason = None if stop is None else self._react(stop)
        if self._reset_wanted:
            self.reset()
        self._sleeping = False
        return reason or HaltReason.STEP

    def enter_debug(self) -> None:
        """End WFI and WFE: entry to Debug state is one of the events that they wait for (B1.5.18, B1.5.19)."""
        self._sleeping = False

    def _sleep_limit(self) -> float:
        tick = self.systick.next_tick()
        return 0.001 if tick is None else min(tick, 0.001)

    def _prepare(self) -> HaltReason | None:
        """Do what is due between two instructions: reset, mapping, exceptions."""
        self.core.recheck = False
        if self._reset_wanted:
            self.reset()
            if self.scs.demcr & VC_CORERESET and self.debugger:
                return HaltReason.VECTOR_CATCH
        self.before_run()
        if self.systick.take_tick():
            self.exceptions.pending.add(Number.SYSTICK)
        if self.exceptions.pending:
            self._wake()
            number = self.exceptions.due(self._execution_priority())
            if number is not None:
                self._sleeping = False
                return self._enter(number)
        return None

    def _anything_pending(self) -> bool:
        return bool(self.exceptions.pending)

    def _execution_priority(self) -> int:
        read = self.registers.read
        return self.exceptions.execution_priority(read("primask"), read("basepri"), read("faultmask"))

    def _wake(self) -> None:
        """End WFI when an exception would be taken if PRIMASK were clear (B1.5.19)."""
        if self._sleeping:
            read = self.registers.read
            priority = self.exceptions.execution_priority(0, read("basepri"), read("faultmask"))
            if self.exceptions.due(priority) is not None:
                self._sleeping = False

    def _react(self, stop: Stop) -> HaltReason | None:
        cause = stop.cause
        if cause is Cause.INTERRUPTED:
            return None
        if cause is Cause.BREAKPOINT:
            return HaltReason.BREAKPOINT
        if cause is Cause.WATCHPOINT:
            return HaltReason.WATCHPOINT
        if cause is Cause.BKPT:
            return HaltReason.BREAKPOINT if self.debugger else self._monitor()
        if cause in (Cause.SLEEP_INTERRUPT, Cause.SLEEP_EVENT):
            # SEV and SEVONPEND set no event here: WFE is a WFI that falls through after an exception.
            self._sleeping = cause is Cause.SLEEP_INTERRUPT or not self.event
            self.event = False
            return None
        if cause is Cause.SVC:
            return self._synchronous(Number.SVCALL)
        if cause is Cause.TRAP:
            return self.on_trap(self.registers.pc)
        if cause is Cause.MAGIC_BRANCH and self.registers.ipsr:
            return self._return(self.registers.pc | 1)
        return self.fault(stop)

    def pass_trap(self) -> HaltReason | None:
        """Execute the instruction at PC though there is a trap."""
        stop = self.core.step()
        return None if stop is None else self._react(stop)

    # -- faults -----------------------------------------------------------------------------------------------

    def fault(self, stop: Stop) -> HaltReason | None:
        """Take the fault that the instruction at PC has caused."""
        state = self.exceptions
        if stop.cause in _USAGE:
            state.cfsr |= _USAGE[stop.cause]
            return self._synchronous(Number.USAGE_FAULT)
        if stop.cause is Cause.DATA_ERROR:
            state.cfsr |= Cfsr.PRECISERR | Cfsr.BFARVALID
            state.bfar = stop.address
            return self._synchronous(Number.BUS_FAULT)
        if stop.cause is Cause.FETCH_ERROR:
            state.cfsr |= Cfsr.IBUSERR
            return self._synchronous(Number.BUS_FAULT)
        if self.registers.pc == LOCKUP_ADDRESS & ~1:
            return HaltReason.LOCKUP
        state.cfsr |= Cfsr.IACCVIOL
        return self._synchronous(Number.MEM_MANAGE)

    def _monitor(self) -> HaltReason | None:
        """Take a BKPT that no debugger wants (C1.6.1)."""
        state = self.exceptions
        if state.monitor_enabled and state.group_priority(Number.DEBUG_MONITOR) < self._execution_priority():
            return self._enter(Number.DEBUG_MONITOR)
        if self._execution_priority() <= -1:
            return self.lock_up()
        state.hfsr |= Hfsr.DEBUGEVT
        return self._enter(Number.HARD_FAULT)

    def _synchronous(self, number: int) -> HaltReason | None:
        """Take a fault or SVCall, which cannot wait: it escalates where it may not preempt (B1.5.14)."""
        state = self.exceptions
        now = self._execution_priority()
        if state.enabled(number) and state.group_priority(number) < now:
            return self._enter(number)
        if now <= -1:
            return self.lock_up()
        state.hfsr |= Hfsr.FORCED
        return self._enter(Number.HARD_FAULT)

    def lock_up(self) -> HaltReason:
        """Enter the state that only reset, NMI or a debugger ends (B1.5.15)."""
        self.registers.pc = LOCKUP_ADDRESS
        return HaltReason.LOCKUP

    # -- entry ------------------------------------------------------------------------------------------------

    def _enter(self, number: int) -> HaltReason | None:
        """Push a frame and begin a handler (B1.5.6)."""
        registers = self.registers
        xpsr, control = registers.xpsr, registers.control
        handler = bool(xpsr & IPSR)
        kind = _TO_HANDLER if handler else _TO_PSP if control & SPSEL else _TO_MSP
        if control & FPCA:
            kind &= ~0x10
        if not self._frames.push(xpsr, extended=bool(control & FPCA), align=bool(self.exceptions.ccr & Ccr.STKALIGN)):
            # The derived fault is taken instead if it is the more urgent one, else it waits (B1.5.11).
            derived = self._stack_error(Cfsr.STKERR, instead_of=number)
            if derived is None:
                return self.lock_up()
            number = derived
        return self._begin(number, kind)

    def _stack_error(self, flag: Cfsr, *, instead_of: int) -> int | None:
        """Return the exception to take after a failed access of the stack; None for lockup."""
        state = self.exceptions
        state.cfsr |= flag
        if instead_of in (Number.HARD_FAULT, Number.NMI):
            return None if flag is Cfsr.UNSTKERR else instead_of
        if state.enabled(Number.BUS_FAULT):
            if state.group_priority(Number.BUS_FAULT) < state.group_priority(instead_of):
                state.pending.add(instead_of)
                return Number.BUS_FAULT
            state.pending.add(Number.BUS_FAULT)
            return instead_of
        state.hfsr |= Hfsr.FORCED
        state.pending.add(instead_of)
        return Number.HARD_FAULT

    def _begin(self, number: int, link: int) -> HaltReason | None:
        """Switch to Handler mode at the vector (B1.5.6, ExceptionTaken)."""
        registers, state = self.registers, self.exceptions
        control = registers.control
        registers.control = control & NPRIV  # SPSEL and FPCA are cleared
        registers.write("lr", link & 0xFFFFFFFF)
        state.enter(number)
        if number == Number.SYSTICK:
            self.systick.handler_begins()
        self.event = True
        try:
            vector = int.from_bytes(self._space.read_bytes(state.vtor + 4 * number, 4), "little")
        except BusError:
            state.hfsr |= Hfsr.VECTTBL
            if number in (Number.HARD_FAULT, Number.NMI):
                registers.ipsr = number
                return self.lock_up()
            state.active.discard(number)
            return self._begin(Number.HARD_FAULT, link)
        registers.xpsr = registers.xpsr & 0xF80F0000 | number | (vector & 1) << 24
        registers.pc = vector & ~1
        return HaltReason.VECTOR_CATCH if self.debugger and self.scs.catches(number) else None

    # -- return -----------------------------------------------------------------------------------------------

    def _return(self, link: int) -> HaltReason | None:
        """Pop a frame, or go on with a pending exception (B1.5.8)."""
        registers, state = self.registers, self.exceptions
        number = registers.ipsr
        to_thread, to_psp = link & 0xF in (0x9, 0xD), link & 0xF == 0xD
        valid = link & 0xF in (1, 9, 0xD) and link >> 5 == 0x7FFFFFF and number in state.active
        if valid and (len(state.active) == 1) != to_thread and not (to_thread and state.ccr & Ccr.NONBASETHRDENA):
            valid = False
        state.leave(number)
        if number == Number.SYSTICK:
            self.systick.handler_ends()
        if number != Number.NMI:
            registers.write("faultmask", 0)
        if not valid:
            return self._refuse_return(link)
        self.event = True
        if self.systick.take_tick():
            state.pending.add(Number.SYSTICK)
        pending = state.due(self._execution_priority())
        if pending is not None:
            return self._begin(pending, link)  # tail-chaining: the frame stays
        frame = self._frames.read(process=to_psp, extended=not link & 0x10)
        if frame is None:
            state.cfsr |= Cfsr.UNSTKERR
            return self._tail(Number.BUS_FAULT, link)
        if frame.in_handler == to_thread:
            return self._refuse_return(link)
        self._frames.pop(frame, align=bool(state.ccr & Ccr.STKALIGN))
        if to_thread and len(state.active) == 0 and self.scs.read(0xD10, 4) & 2:  # SLEEPONEXIT
            self._sleeping = True
        return None

    def _refuse_return(self, link: int) -> HaltReason | None:
        """Turn a return that makes no sense into UsageFault, without a new frame."""
        self.exceptions.cfsr |= Cfsr.INVPC
        return self._tail(Number.USAGE_FAULT, link | 0xF0000000)

    def _tail(self, number: int, link: int) -> HaltReason | None:
        state = self.exceptions
        now = self._execution_priority()
        if state.enabled(number) and state.group_priority(number) < now:
            return self._begin(number, link)
        if now <= -1:
            return self.lock_up()
        state.hfsr |= Hfsr.FORCED
        return self._begin(Number.HARD_FAULT, link)
