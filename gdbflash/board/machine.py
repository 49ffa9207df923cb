"""The virtual STM32H750 board: processor, peripherals and flash chip, running in a thread of their own.

`Machine` is a debug.DebugPort. One lock orders everybody who touches the board: the core's thread holds it between
runs, never while instructions execute; whoever else wants in interrupts the run, does what it came for with the lock
held, and the core goes on. RAM in which no code is executed is open to a debugger all the time, as on the chip's bus.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType

from gdbflash.board.alarm import Alarm
from gdbflash.board.bus import BusError
from gdbflash.board.chips.pair import FlashPair
from gdbflash.board.chips.w25q import W25Q
from gdbflash.board.clock import Clock
from gdbflash.board.cpu.dwt import Dwt
from gdbflash.board.cpu.processor import Processor
from gdbflash.board.debug import HaltReason
from gdbflash.board.mishaps.places import Mishap, Mishaps
from gdbflash.board.soc.h750 import FLASH_BASE, FLASH_SECTOR, UID, Soc
from gdbflash.board.soc.mdma import Mdma
from gdbflash.board.soc.peripherals import Itm
from gdbflash.board.soc.quadspi import Quadspi
from gdbflash.board.soc.timer import TIMERS, Timer
from gdbflash.board.soc.watchdog import IndependentWatchdog
from gdbflash.board.soc.window import WindowMapping

FLASH_IRQ, QUADSPI_IRQ, MDMA_IRQ = 4, 92, 122
"""RM0433 table 145."""
FIFO_TRIGGER, COMPLETE_TRIGGER = 22, 23
"""MDMA triggers of QUADSPI (RM0433 table 95)."""

_LOOP, _TRAP = FLASH_BASE + 0x40, FLASH_BASE + 0x44
IDLE_FIRMWARE = struct.pack("<16I", 0x20020000, _LOOP | 1, *[_TRAP | 1] * 14) + bytes.fromhex("30bf fde7 fee7")
"""A vector table; WFI in a loop; and `b .` for all exceptions."""


_DFSR = {
    HaltReason.REQUEST: 1 << 0,
    HaltReason.STEP: 1 << 0,
    HaltReason.BREAKPOINT: 1 << 1,
    HaltReason.WATCHPOINT: 1 << 2,
    HaltReason.VECTOR_CATCH: 1 << 3,
}
"""Bits of DFSR (ARM DDI 0403E, C1.6.1)."""


class _CountedQuadspi(Quadspi):
    """QUADSPI that counts accesses to its registers: what a loader costs in emulation."""

    accesses = 0

    def read(self, offset: int, size: int) -> int:
        """Read a register or a part of it."""
        self.accesses += 1
        return super().read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        """Write a register or a part of it."""
        self.accesses += 1
        super().write(offset, size, value)


class Machine:
    """The board. It powers up halted at the reset vector."""

    def __init__(
        self,
        flash: W25Q | FlashPair | None = None,
        *,
        clock: Clock | None = None,
        firmware: bytes | None = None,
        hse_hz: int = 25_000_000,
        debugger: bool = True,
        unit: bytes = UID,
    ) -> None:
        """flash: the chip on QUADSPI, by default a blank W25Q128 that ends with the board; or one on each bank.

        firmware: content of the embedded flash, by default a program that sleeps. debugger: BKPT halts the core
        (else it is a fault, as without a probe). unit: the unique ID.
        """
        self.clock = clock or Clock()
        self._owns_flash = flash is None
        wired = flash or W25Q(self.clock)
        self.chips: tuple[W25Q, ...] = (wired.first, wired.second) if isinstance(wired, FlashPair) else (wired,)
        self.flash = self.chips[0]
        self.storage = wired.memory
        """What the chips hold, as the MCU sees it."""
        self.soc = Soc(hse_hz, unit)
        content = IDLE_FIRMWARE if firmware is None else firmware
        self.soc.flash.content[: len(content)] = content
        self.processor = Processor(self.soc.space, self.clock, self.soc.rcc.processor_hz, debugger=debugger)
        scs = self.processor.scs
        scs.halted = lambda: not self._running
        for trace in Dwt(self.processor.cycles, scs.traces), Itm(scs.traces):
            self.soc.space.attach(trace)
        self.soc.flash_interface.interrupt = lambda level: self.processor.set_interrupt(FLASH_IRQ, level)
        self.soc.flash_interface.changed = self.processor.core.memory_changed
        self._window = WindowMapping(self.soc.space, self.processor.core, lambda: self.quadspi.window)
        self.quadspi = _CountedQuadspi(wired, self.clock, self._window.changed)
        self.quadspi.interrupt = lambda level: self.processor.set_interrupt(QUADSPI_IRQ, level)
        self.quadspi.on_armed = self.processor.timer_changed
        mdma = Mdma(
            self.soc.space,
            {FIFO_TRIGGER: self.quadspi.asks_for_data, COMPLETE_TRIGGER: self.quadspi.is_complete},
            lambda level: self.processor.set_interrupt(MDMA_IRQ, level),
            self.processor.core.translation.note_write,
        )
        self.quadspi.on_request = mdma.pump
        self.soc.attach_quadspi(self.quadspi, mdma)
        self.watchdog = self._independent_watchdog()
        self._timers = [self._timer(*entry) for entry in TIMERS]
        self._armed: set[Timer] = set()
        self.soc.on_clock_change = self._clock_changed
        self.processor.on_idle = self.quadspi.tick
        self.processor.before_run = self._before_run
        self.processor.next_event = self._next_event
        self._mishaps = Mishaps(self.processor, self.soc.space)
        self._init_threads()

    def _init_threads(self) -> None:
        self._cond = threading.Condition(threading.RLock())
        self._running = False
        self._executing = False
        self._closed = False
        self._wanted = 0  # how many threads wait for the core to pause
        self._turns = 0  # how often the core went on
        self._last_turn = -1  # in which of them somebody paused it last
        self._step_first = False
        self._failure: Exception | None = None
        self._reason = HaltReason.VECTOR_CATCH
        self.processor.reset()  # by power-on: the peripherals are as new
        self.processor.resets = 0
        self.processor.on_reset = self.soc.reset
        self._alarm = Alarm(self.clock, self.processor.core.interrupt)
        self._thread = threading.Thread(target=self._run, name="board core", daemon=True)
        self._thread.start()

    def _independent_watchdog(self) -> IndependentWatchdog:
        dbgmcu, interface = self.soc.dbgmcu, self.soc.flash_interface

        def bite() -> None:
            self.soc.rcc.by_watchdog = True
            self.processor.reset_requested()

        watchdog = IndependentWatchdog(
            self.clock,
            lambda: interface.starts_watchdog,
            lambda: not self._running and dbgmcu.freezes_watchdog,
            bite,
            self.processor.timer_changed,
        )
        self.soc.on_freeze = watchdog.settle
        self.soc.space.attach(watchdog)
        return watchdog

    def _timer(self, base: int, irq: int, bus: str, bit: int, wide: bool) -> Timer:
        def hertz() -> float:
            return self.soc.rcc.timer_hz(bus)

        def interrupt(level: bool) -> None:
            self.processor.set_interrupt(irq, level)

        def armed() -> None:
            self._armed.add(timer)
            self.processor.timer_changed()

        timer = Timer(base, self.clock, hertz, interrupt, armed, wide=wide)
        self.soc.gate(timer, bus, bit)
        return timer

    def _clock_changed(self) -> None:
        self.processor.cycles.hertz = self.soc.rcc.processor_hz
        for timer in self._timers:
            timer.settle()

    def _before_run(self) -> None:
        self._window.update()
        self.watchdog.settle()
        if self.quadspi.next_event() is not None:
            self.quadspi.tick()
        for timer in tuple(self._armed):
            timer.settle()
            if not timer.interrupts:
                self._armed.discard(timer)

    def _next_event(self) -> float | None:
        due = [timer.next_update() for timer in self._armed]
        due += [each for each in (self.quadspi.next_event(), self.watchdog.next_event()) if each is not None]
        return min(due, default=None)

    # -- counters ---------------------------------------------------------------------------------------------

    @property
    def resets(self) -> int:
        """System resets since power-on."""
        return self.processor.resets

    @property
    def gated_accesses(self) -> int:
        """Accesses to peripherals whose clock was off."""
        return sum(self.soc.gated_accesses.values())

    @property
    def quadspi_accesses(self) -> int:
        """Accesses to registers of QUADSPI."""
        return self.quadspi.accesses

    # -- the core's thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._cond:
                self._cond.wait_for(lambda: self._closed or (self._running and not self._wanted))
                if self._closed:
                    return
                self._executing = True
                self._turns += 1
                self._cond.notify_all()
            reason: HaltReason | None = None
            try:
                reason = self._execute()
            except Exception as error:
                self._failure, reason = error, HaltReason.REQUEST
            with self._cond:
                self._executing = False
                if reason is not None:
                    self._halt(reason)
                self._cond.notify_all()

    def _execute(self) -> HaltReason | None:
        self.processor.cycles.start()
        if self._step_first:
            self._step_first = False
            reason = self.processor.step()
            if reason is not HaltReason.STEP:
                return reason
        try:
            return self.processor.run(lambda: bool(self._wanted), self._alarm.set, self._sleep)
        finally:
            self._alarm.set(None)

    def _sleep(self, seconds: float) -> None:
        """Sleep for board seconds, or until somebody wants the core."""
        with self._cond:
            self._cond.wait_for(lambda: bool(self._wanted), self.clock.host_seconds(seconds))

    def _halt(self, reason: HaltReason) -> None:
        self.watchdog.settle()
        self.processor.cycles.stop()
        self.processor.enter_debug()
        self._running = False
        self._reason = reason
        self.processor.scs.dfsr |= _DFSR.get(reason, 0)
        self._cond.notify_all()

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """Hold the core still between two instructions; between two such pauses it gets on."""
        with self._cond:
            self._cond.wait_for(lambda: not self._running or self._turns != self._last_turn or self._closed)
            self._wanted += 1
            self.clock.stirring.set()
            self._cond.notify_all()
            try:
                while self._executing:
                    self.processor.core.interrupt()
                    self._cond.wait(0.001)
                self._last_turn = self._turns
                self._raise_failure()
                yield
            finally:
                self._wanted -= 1
                if not self._wanted:
                    self.clock.stirring.clear()
                self._cond.notify_all()

    def _raise_failure(self) -> None:
        """Raise what went wrong in the core's thread: a bug of a model, not of the program on it."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    # -- debug.DebugPort: control -----------------------------------------------------------------------------

    @property
    def halted(self) -> HaltReason | None:
        """The reason why the core is halted; None while it runs."""
        with self._cond:
            return None if self._running else self._reason

    def halt(self) -> None:
        """Halt the core and return when it is halted."""
        with self._paused():
            if self._running:
                self._halt(HaltReason.REQUEST)

    def resume(self) -> None:
        """Let the core run on; returns at once. A breakpoint at PC is stepped over first."""
        with self._cond:
            self._raise_failure()
            if not self._running and not self._closed:
                self.watchdog.settle()
                core = self.processor.core
                self._step_first = core.registers.pc in core.breakpoints
                self._running = True
                self._cond.notify_all()

    def step(self) -> None:
        """Execute one instruction and halt; interrupts stay pending meanwhile."""
        with self._paused():
            self.processor.cycles.start()
            self._halt(self.processor.step())

    def wait_halted(self, timeout: float | None) -> HaltReason | None:
        """Wait until the core is halted, or timeout seconds passed (then None)."""
        with self._cond:
            self._cond.wait_for(lambda: not self._running, timeout)
            return None if self._running else self._reason

    def reset(self, *, halt: bool) -> None:
        """Reset the MCU (not the flash chip); halt before the first instruction or run."""
        with self._paused():
            self.processor.reset()
            if halt:
                self._halt(HaltReason.VECTOR_CATCH)
            else:
                self._running = True

    # -- debug.DebugPort: state -------------------------------------------------------------------------------

    def read_register(self, name: str) -> int:
        """Read a core register; KeyError for an unknown name."""
        with self._paused():
            return self.processor.registers.read(name)

    def write_register(self, name: str, value: int) -> None:
        """Write a core register; KeyError for an unknown name."""
        with self._paused():
            self.processor.registers.write(name, value)

    def _plain(self, address: int, size: int) -> memoryview | None:
        """Give a range that lies in one RAM: a debugger has its own way there and need not hold the core still."""
        for ram in self.soc.memories.values():
            if ram.base <= address and address + size <= ram.end:
                return ram.content[address - ram.base :][:size]
        return None

    def read_memory(self, address: int, size: int) -> bytes:
        """Read as the debugger sees memory, peripherals and the SCS included; raises bus.BusError."""
        if (found := self._plain(address, size)) is not None:
            return bytes(found)
        with self._paused():
            return self._window.read(address, size, self.soc.space.read_bytes)

    def write_memory(self, address: int, data: bytes) -> None:
        """Write as the debugger would; raises bus.BusError."""
        translation = self.processor.core.translation
        if (found := self._plain(address, len(data))) is not None and not translation.covers(address, len(data)):
            found[:] = data
            if not translation.covers(address, len(data)):  # nor was any in the meantime
                return
        with self._paused():
            if self._window.covers(address, len(data)):
                raise BusError(address)
            translation.note_write(address, len(data))
            self.soc.space.write_bytes(address, data)
            if self.processor.reset_due:
                # SYSRESETREQ does not wait for a halted core; after it the core runs or, with VC_CORERESET, halts anew.
                self._running = True
                self._cond.notify_all()

    def erase_flash(self, address: int, size: int) -> None:
        """Erase whole sectors of internal flash, as a probe's flash algorithm does; raises bus.BusError."""
        if address % FLASH_SECTOR or size % FLASH_SECTOR:
            raise BusError(address)
        self._change_flash(address, b"\xff" * size)

    def program_flash(self, address: int, data: bytes) -> None:
        """Program erased bytes of internal flash; raises bus.BusError where they are not (4.3.9: ECC forbids it)."""
        if self.read_memory(address, len(data)).strip(b"\xff"):
            raise BusError(address)
        self._change_flash(address, data)

    def _change_flash(self, address: int, data: bytes) -> None:
        flash = self.soc.flash
        offset = address - flash.base
        if offset < 0 or offset + len(data) > flash.size:
            raise BusError(address)
        with self._paused():
            self.soc.flash_interface.overwrite(offset, data)

    def set_breakpoint(self, address: int) -> None:
        """Halt before the instruction at address executes; setting it twice is one."""
        with self._paused():
            self.processor.core.breakpoints.add(address & ~1)

    def clear_breakpoint(self, address: int) -> None:
        """Take the breakpoint at address away; unknown ones are ignored."""
        with self._paused():
            self.processor.core.breakpoints.discard(address & ~1)

    def set_watchpoint(self, address: int, size: int, access: str) -> None:
        """Halt after an access ("r", "w" or "rw") to the range, as DWT comparators do."""
        with self._paused():
            self.processor.core.watch(address, size, access)

    def clear_watchpoint(self, address: int, size: int, access: str) -> None:
        """Take the watchpoint away; unknown ones are ignored."""
        with self._paused():
            self.processor.core.unwatch(address, size, access)

    # -- mishaps ----------------------------------------------------------------------------------------------

    def plan_mishaps(self, mishaps: Iterable[Mishap]) -> None:
        """Let these befall the core, in place of earlier ones."""
        with self._paused():
            self._mishaps.plan(mishaps)

    # -- life -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop the threads, and the flash chip if it came with the board; a second call does nothing."""
        with self._cond:
            if self._closed:
                return
        with self._paused():
            self._closed = True
            self._running = False
        self._alarm.close()
        self._thread.join()
        if self._owns_flash:
            self.flash.close()

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
