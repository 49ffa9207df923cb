"""The QUADSPI controller of the STM32H7, register by register (RM0433 revision 7, chapter 23).

What belongs here: FIFO, flags and the functional modes. Transfers take no board time; BUSY stays set where software has
something left to do. Not modelled: DDR timing (a DDR command runs as SDR).

Dual-flash mode (DFM = 1; 23.3.4): an even number of bytes from an even address on. Sizes and addresses count both
chips; status registers come in pairs, the first chip's byte first.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from gdbflash.board.bus import BusError
from gdbflash.board.chips.nor_core import Clock
from gdbflash.board.chips.pair import FlashPair
from gdbflash.board.chips.wires import Flash
from gdbflash.board.soc import quadspi_registers as reg
from gdbflash.board.soc.quadspi_link import Link
from gdbflash.board.soc.quadspi_registers import DR, FIFO_SIZE, INTERRUPT_ENABLES, SR, decode
from gdbflash.board.soc.quadspi_window import WINDOW_BASE, WINDOW_LIMIT, Window

ENDLESS = 1 << 62
"""More bytes than any run reads: DLR and FSIZE all ones."""


class State(enum.Enum):
    """What the controller is busy with."""

    IDLE = enum.auto()
    READ = enum.auto()
    WRITE = enum.auto()
    POLL = enum.auto()
    MAPPED = enum.auto()
    """Memory-mapped mode, from the first access on (23.3.7)."""
    FREE_RUNNING = enum.auto()
    """CLK runs with CS high until ABORT or EN = 0."""


BUSY_FTF = reg.BUSY | reg.FTF
IDLE, READ, WRITE = State.IDLE, State.READ, State.WRITE
"""The same as globals: every access to DR asks, and looking members up in an enum costs as much as the rest."""

LEAST_WAIT = 0.0002
"""Seconds of board time until `next_event` at least: a poll every 100 ns would leave an emulated core no time."""

READ_AHEAD = 2048
"""Bytes taken from the flash at once where software cannot tell it from FIFO_SIZE at a time: plain array content."""


class Quadspi:
    """QUADSPI with one flash chip or a pair; implements bus.Peripheral.

    window_changed is called after each change of the attribute window, also from within accesses to registers and from
    Window.read. interrupt is called with the level of the interrupt line when it changes; flags that board time alone
    raises (polling, time-out) reach it at the next access or tick, which is due when next_event says. kernel_hz:
    quadspi_ker_ck, which the polling interval and the memory-mapped time-out count.
    """

    base = 0x52005000
    size = 0x1000

    def __init__(
        self, flash: Flash | FlashPair, clock: Clock, window_changed: Callable[[], None], *, kernel_hz: float = 200e6
    ) -> None:
        self.interrupt: Callable[[bool], None] | None = None
        self.on_armed: Callable[[], None] | None = None
        """Called when next_event has become something else than None."""
        self.on_request: Callable[[], None] | None = None
        """Called when a DMA request may have begun."""
        self.window: Window | None = None
        self._link = Link(flash)
        self._clock = clock
        self._window_changed = window_changed
        self._kernel_hz = kernel_hz
        self._level = False
        self._clear()

    def _clear(self) -> None:
        self._registers = dict.fromkeys(range(0, reg.LPTR + 4, 4), 0)
        self._format = decode(0)
        self._control = 0
        self._flags = 0  # TEF, TCF, SMF, TOF
        self._state = IDLE
        self._link.route(0)
        self._link.configure(self._format)
        self._fifo = b""
        self._words = memoryview(b"").cast("I")
        self._position = 0  # of the next byte to read
        self._end = 0
        self._left = 0  # bytes still to come from, or to go to, the flash
        self._complete = False  # this read has raised TCF
        self._output = bytearray()
        self._ready = 0  # FTF while no read goes on
        self._polled = 0
        self._next_poll = 0.0
        self._last_access = 0.0

    def reset(self) -> None:
        """Return to the state after a system reset: the chip sees CS rise and nothing else."""
        self._stop()
        self._clear()
        self._set_window(None)
        self._update_interrupt()

    def tick(self) -> None:
        """Let board time act where software waits for an interrupt and does not look."""
        self._act_on_time()
        self._update_interrupt()

    def next_event(self) -> float | None:
        """Return the board seconds until tick may raise an interrupt; None if it will not."""
        if self._state is State.POLL and self._control & reg.SMIE:
            due = self._next_poll
        elif self._state is State.MAPPED and self._control & reg.TCEN and self._control & reg.TOIE:
            due = self._last_access + self._seconds(self._registers[reg.LPTR])
        else:
            return None
        return max(due - self._clock.now(), LEAST_WAIT)

    # --- bus ------------------------------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> int:
        """Read a register or a part of it."""
        if offset == DR:
            if self._state is not READ:
                return self._read_polled(size)
            position = self._position
            end = position + size
            if end >= self._end:
                value = self._read_last(size)
            else:
                self._position = end
                if size == 1:
                    value = self._fifo[position]
                elif size == 4 and not position & 3:
                    value = self._words[position >> 2]
                else:
                    value = int.from_bytes(self._fifo[position:end], "little")
            if self._control & INTERRUPT_ENABLES:
                self._update_interrupt()
            return value
        if offset == SR and size == 4:
            return self._status()
        register = offset & ~3
        if register == SR:
            value = self._status()
        elif register == reg.CR:
            value = self._control
        else:
            value = self._registers.get(register, 0)
        return value if size == 4 else value >> 8 * (offset & 3) & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        """Write a register or a part of it."""
        if offset == DR:
            if self._state is WRITE or self._start_write():
                if size == 1:
                    self._output.append(value)
                else:
                    self._output += value.to_bytes(size, "little")
                if len(self._output) >= self._left:
                    self._finish_write()
                if self._control & INTERRUPT_ENABLES:
                    self._update_interrupt()
            return
        register = offset & ~3
        if size < 4:
            shift = 8 * (offset & 3)
            mask = ((1 << 8 * size) - 1) << shift
            old = self._control if register == reg.CR else self._registers.get(register, 0)
            value = old & ~mask | value << shift & mask
        if register == reg.CR:
            self._write_control(value)
        elif register == reg.FCR:
            self._latch_complete()
            self._flags &= ~(value & reg.CLEARABLE)
        elif register in reg.WRITABLE and self._state is IDLE:
            self._write_register(register, value & reg.WRITABLE[register])
        self._update_interrupt()
        if self._control & reg.DMAEN and self.on_request is not None:
            self.on_request()
        if self._control & (reg.SMIE | reg.TOIE) and self.on_armed is not None and self.next_event() is not None:
            self.on_armed()

    def _write_control(self, value: int) -> None:
        fixed = reg.CR_FIXED_WHILE_BUSY if self._state is not IDLE else 0
        self._control = value & reg.CR_BITS & ~fixed | self._control & fixed
        if value & reg.ABORT:
            self._abort()
        elif not value & reg.EN:
            self._stop()
        if self._state is IDLE:
            self._route()
        if self._format.mode != reg.POLLING:
            self._update_ready()
        self._update_window()

    def _route(self) -> None:
        self._link.route(self._control)
        if self._link.dual:
            for register, value in self._registers.items():
                self._registers[register] = reg.stuck_in_dual_flash_mode(register, value)

    def _write_register(self, register: int, value: int) -> None:
        if register == reg.AR and self._format.mode == reg.MAPPED:
            return
        self._registers[register] = reg.stuck_in_dual_flash_mode(register, value) if self._link.dual else value
        if register == reg.CCR:
            self._format = decode(value)
            self._link.configure(self._format)
            self._update_ready()
            self._update_window()
            if value & reg.FRCM:
                self._state = State.FREE_RUNNING if self._control & reg.EN else IDLE
            elif not self._format.address_lines and not self._format.writes:
                self._start(0)
        elif register == reg.DCR:
            self._update_window()
        elif register == reg.AR:
            if value >= self._memory_size:
                self._flags |= reg.TEF
            elif self._format.address_lines and not self._format.writes:
                self._start(value)

    @property
    def _memory_size(self) -> int:
        return 2 << (self._registers[reg.DCR] >> 16 & 0x1F)

    def _seconds(self, clocks: int) -> float:
        return clocks * ((self._control >> 24) + 1) / self._kernel_hz

    # --- status ---------------------------------------------------------------------------------------------

    def _status(self) -> int:
        if self._state is READ:
            self._latch_complete()
            unread = self._end - self._position + self._left
            level = FIFO_SIZE if unread > FIFO_SIZE else unread
            threshold = self._complete or level > (self._control >> 8 & 0x1F)
            return self._flags | (BUSY_FTF if threshold else reg.BUSY) | level << 8
        if self._state is IDLE:
            return self._flags | self._ready
        self.tick()
        return self._flags | self._ready | (0 if self._state is IDLE else reg.BUSY)

    def _update_ready(self) -> None:
        """Set FTF as it is where no read goes on: what is written leaves the FIFO at once, so it is always empty."""
        writes = self._format.mode == reg.INDIRECT_WRITE and self._control & reg.EN
        self._ready = reg.FTF if writes else 0

    def _latch_complete(self) -> None:
        """Raise TCF once the last byte of a read is in the FIFO."""
        if self._state is READ and not self._complete and self._end - self._position + self._left <= FIFO_SIZE:
            self._complete = True
            self._flags |= reg.TCF

    def _update_interrupt(self) -> None:
        enables = self._control >> 16 & 0x1F
        level = False
        if enables:
            flags = self._status() if self._state is READ else self._flags | self._ready
            level = bool(flags & enables)
        if level != self._level:
            self._level = level
            if self.interrupt is not None:
                self.interrupt(level)

    def asks_for_data(self) -> bool:
        """Tell whether the FIFO asks DMA to fill or empty it (23.3.5)."""
        return bool(self._control & reg.DMAEN and self._status() & reg.FTF)

    def is_complete(self) -> bool:
        """Tell whether TCF is set, which is a DMA trigger of its own."""
        return bool(self._status() & reg.TCF)

    # --- commands -------------------------------------------------------------------------------------------

    def _start(self, address: int) -> None:
        """Start the command in CCR, which needs nothing more from software."""
        mode = self._format.mode
        if mode == reg.MAPPED or not self._control & reg.EN:
            return
        if mode == reg.POLLING:
            self._state = State.POLL
            self._poll()
            return
        count = self._count(address)
        if count is None:
            self._flags |= reg.TEF
            return
        self._begin(address)
        if not count:
            self._link.end()
            self._flags |= reg.TCF
            return
        self._state = READ
        self._left = count
        self._complete = False
        self._fetch()

    def _count(self, address: int) -> int | None:
        """Return how many bytes the data phase has; None if the command must not run (TEF)."""
        if not self._format.data_lines:
            return 0
        length = self._registers[reg.DLR]
        size = self._memory_size
        if length == 0xFFFFFFFF:
            return ENDLESS if size == 1 << 32 else size - address
        return None if self._format.address_lines and address + length + 1 > size else length + 1

    def _begin(self, address: int) -> None:
        self._link.begin(address, self._registers[reg.ABR])

    def _stop(self) -> None:
        """End what goes on and flush the FIFO."""
        if self._state is WRITE:
            self._link.send(bytes(self._output))
        self._output.clear()
        self._set_fifo(b"")
        self._left = 0
        self._state = IDLE
        self._link.end()

    def _abort(self) -> None:
        repeated = self._format.mode in (reg.POLLING, reg.MAPPED)
        if self._state is not IDLE or repeated:
            self._flags |= reg.TCF
        self._stop()
        if repeated:
            # "In polling or memory-mapped mode, this bit also resets the APM or the DM bit" (23.5.1).
            self._registers[reg.CCR] &= ~reg.FMODE
            self._format = decode(self._registers[reg.CCR])

    # --- indirect read and write ----------------------------------------------------------------------------

    def _fetch(self) -> None:
        """Take what the FIFO can hold from the flash, or more where that makes no difference."""
        plain = self._link.plain_address() is not None
        count = min(READ_AHEAD if plain else FIFO_SIZE, self._left)
        self._set_fifo(self._fifo[self._position :] + self._link.receive(count))
        self._left -= count
        if not self._left:
            self._link.end()

    def _set_fifo(self, content: bytes) -> None:
        self._fifo = content
        self._words = memoryview(content[: len(content) & ~3]).cast("I")
        self._position = 0
        self._end = len(content)

    def _read_last(self, size: int) -> int:
        """Read DR where that empties the FIFO, or asks for more than it holds."""
        if self._left and self._end - self._position < size:
            self._fetch()
        data = self._fifo[self._position : self._position + size]
        self._position += len(data)
        self._latch_complete()
        if self._position == self._end:
            if self._left:
                self._fetch()
            else:
                self._stop()
        return int.from_bytes(data, "little")

    def _start_write(self) -> bool:
        if self._state is not IDLE or not self._format.writes or not self._control & reg.EN:
            return False
        address = self._registers[reg.AR] if self._format.address_lines else 0
        count = self._count(address)
        if count is None:
            self._flags |= reg.TEF
            self._update_interrupt()
            return False
        self._begin(address)
        self._state = WRITE
        self._left = count
        return True

    def _finish_write(self) -> None:
        del self._output[self._left :]
        self._stop()
        self._flags |= reg.TCF

    # --- polling --------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        """Read the status bytes once and compare (23.3.6)."""
        count = min(self._registers[reg.DLR], 3) + 1
        self._begin(self._registers[reg.AR])
        self._polled = int.from_bytes(self._link.receive(count), "little")
        self._link.end()
        self._ready = reg.FTF
        mask = self._registers[reg.PSMKR]
        differing = (self._polled ^ self._registers[reg.PSMAR]) & mask
        if differing != mask if self._control & reg.PMM else not differing:
            self._flags |= reg.SMF
            if self._control & reg.APMS:
                self._state = IDLE
        self._next_poll = self._clock.now() + self._seconds(self._registers[reg.PIR])

    def _read_polled(self, size: int) -> int:
        """Read DR while no read goes on: the last polled bytes, or nothing."""
        if self._format.mode != reg.POLLING:
            return 0
        self._ready = 0
        return self._polled & (1 << 8 * size) - 1

    def _act_on_time(self) -> None:
        if self._state is State.POLL:
            if self._clock.now() >= self._next_poll:
                self._poll()
        elif self._state is State.MAPPED and self._control & reg.TCEN:
            idle = self._clock.now() - self._last_access
            if idle >= self._seconds(self._registers[reg.LPTR]):
                self._flags |= reg.TOF
                self._state = IDLE
                # The next access has to be seen: it starts BUSY and the counter again.
                self._update_window()

    # --- memory-mapped --------------------------------------------------------------------------------------

    def _update_window(self) -> None:
        """Make the window what the registers say."""
        if self._format.mode != reg.MAPPED or not self._control & reg.EN:
            self._set_window(None)
            return
        size = min(self._memory_size, WINDOW_LIMIT)
        window = self.window
        if self._state is not State.MAPPED and (window is None or window.size != size or window.memory is not None):
            self._set_window(Window(size, None, self._read_window))

    def _set_window(self, window: Window | None) -> None:
        if window is not None or self.window is not None:
            self.window = window
            self._window_changed()

    def _read_window(self, offset: int, size: int) -> bytes:
        """Do an access in memory-mapped mode, where every address and size is good, in dual-flash mode too (23.3.7)."""
        window = self.window
        if window is None or offset < 0 or offset + size > window.size:
            raise BusError(WINDOW_BASE + offset)
        self._state = State.MAPPED
        self._last_access = self._clock.now()
        if window.memory is not None and offset + size <= len(window.memory):
            return bytes(window.memory[offset : offset + size])
        alternate = self._registers[reg.ABR]
        data, plain = self._link.read(offset, size, alternate)
        if plain and window.memory is None and self._link.reads_plainly(window.size, alternate):
            self._set_window(Window(window.size, self._link.memory[: window.size], self._read_window))
        return data
