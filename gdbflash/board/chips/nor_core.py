"""What a Winbond serial NOR chip does once a command has arrived: registers, operations that take time, protection.

What belongs here: everything behind the serial interface but the array itself (`nor`). How commands travel over the
lines is `w25q`. Sections: W25Q128JV data sheet, revision F.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gdbflash.board.chips.facts import KIB, Chip, Timing
from gdbflash.board.chips.nor import NorArray

BUSY, WEL = 0x01, 0x02  # status register 1
SEC, TB, SRP = 0x40, 0x20, 0x80
SRL, QE, CMP, SUS = 0x01, 0x02, 0x40, 0x80  # status register 2
LOCK_BITS = 0x38  # LB3..LB1: one-time programmable
WPS = 0x04  # status register 3

WRITABLE = (0xFC, SRL | QE | LOCK_BITS | CMP, 0x64)
"""Bits that 01h, 31h and 11h change: SRP, SEC, TB, BP2..0; CMP, LB3..1, QE, SRL; DRV1, DRV0, WPS (7.1)."""
FACTORY = (0x00, 0x00, 0x60)
"""Status registers as shipped, QE aside: nothing protected, drive strength 25 %."""

BLOCK = 64 * KIB
SECURITY_SIZE = 256
SECURITY_REGISTERS = (0x1000, 0x2000, 0x3000)


class Clock(Protocol):
    """Board time."""

    def now(self) -> float:
        """Return seconds of board time; never goes back."""

    def rest(self, seconds: float) -> None:
        """Be told that nothing will happen for so many seconds; may let the host sleep."""


@dataclass
class Operation:
    """Something the chip is busy with. apply(fraction) does that part of it, from the start on."""

    duration: float
    end: float
    apply: Callable[[float], None]
    resumable: bool = False
    span: range = range(0)
    """Array addresses that it changes."""
    programs: bool = False
    clears_wel: bool = True
    deaf: bool = False
    """Not even status reads are answered meanwhile."""
    shown: bool = False


class NorCore:
    """A chip without its pins. QE's non-volatile state at power-on is given; the array is the caller's."""

    def __init__(self, chip: Chip, array: NorArray, clock: Clock, timing: Timing, *, quad_enable: bool) -> None:
        self.chip = chip
        self.array = array
        self._clock = clock
        self._timing = timing
        self.security = {base: bytearray(b"\xff" * SECURITY_SIZE) for base in SECURITY_REGISTERS}
        self._stored = list(FACTORY)  # non-volatile
        if quad_enable:
            self._stored[1] |= QE
        self._status = list(self._stored)  # in force
        self._write_enabled = False
        self._volatile_enabled = False
        self._operation: Operation | None = None
        self._suspended: Operation | None = None
        self._remaining = 0.0  # seconds of the suspended operation
        self._locked = set(self._lock_units())
        self.powered_down = False

    # --- status ---------------------------------------------------------------------------------------------

    @property
    def quad_enabled(self) -> bool:
        """QE: quad commands work."""
        return bool(self._status[1] & QE)

    @property
    def busy(self) -> bool:
        """An operation is under way; settles one whose time has passed."""
        operation = self._operation
        if operation is None:
            return False
        if self._clock.now() < operation.end:
            return True
        self._finish(operation)
        return False

    @property
    def deaf(self) -> bool:
        """No command at all is answered."""
        return self._operation is not None and self._operation.deaf and self.busy

    def status(self, register: int) -> int:
        """Read status register 1, 2 or 3 at this moment."""
        operation = self._operation
        hold = operation is not None and self._timing.show_busy and not operation.shown
        busy = hold or self.busy
        if operation is not None:
            operation.shown = True
            if busy:
                # Software that asks will ask again: the host has better things to do than to emulate its waiting.
                self._clock.rest(operation.end - self._clock.now())
        if register == 1:
            return self._status[0] | (WEL if self._write_enabled else 0) | (BUSY if busy else 0)
        if register == 2:
            return self._status[1] | (SUS if self._suspended is not None else 0)
        return self._status[2]

    def write_enable(self) -> None:
        """06h."""
        self._write_enabled = True

    def write_disable(self) -> None:
        """04h."""
        self._write_enabled = False

    def volatile_enable(self) -> None:
        """50h: the next status write goes to the volatile bits, at once and without WEL (8.2.2)."""
        self._volatile_enabled = True

    def write_status(self, first: int, values: bytes) -> None:
        """01h, 31h, 11h: write status registers from first (1, 2 or 3) on."""
        volatile, self._volatile_enabled = self._volatile_enabled, False
        if self._status[1] & SRL or self._suspended is not None or not (volatile or self._write_enabled):
            return

        def write(fraction: float) -> None:
            if fraction < 1.0:
                return
            for index, value in enumerate(values, first - 1):
                new = self._status[index] & ~WRITABLE[index] | value & WRITABLE[index]
                if index == 1:
                    new |= self._stored[1] & LOCK_BITS
                self._status[index] = new
                if not volatile:
                    self._stored[index] = new
            self.array.counters.status_writes += not volatile

        if volatile:
            write(1.0)
        else:
            self._begin(self._timing.status_write, write)

    # --- operations -----------------------------------------------------------------------------------------

    def program(self, address: int, data: bytes) -> None:
        """02h, 32h: program one page; more than a page's bytes wrap and the last 256 win (8.2.13)."""
        size = self.chip.page_size
        address %= self.chip.size
        page = address - address % size
        span = range(page, page + size)
        suspended = self._suspended
        if suspended is not None and (suspended.programs or _overlap(suspended.span, span)):
            return
        if not self._write_enabled or self._protected(span):
            return
        image = page_latch(address % size, data, size)

        def write(fraction: float) -> None:
            self.array.program(page, image[: int(size * fraction)])
            if fraction == 1.0 and not self.array.faults.program_does_nothing:
                self.array.counters.pages_programmed += 1
                self.array.counters.bytes_programmed += min(len(data), size)

        self._begin(self._timing.page_program, write, span=span, resumable=True, programs=True)

    def erase(self, address: int, size: int, duration: float) -> None:
        """20h, 52h, D8h, C7h, 60h: erase the unit of size bytes that holds address."""
        address %= self.chip.size
        start = address - address % size
        span = range(start, start + size)
        if not self._write_enabled or self._suspended is not None or self._protected(span):
            return

        def erase(fraction: float) -> None:
            count = int(size * fraction)
            self.array.erase(start, count)
            counters = self.array.counters
            if fraction == 1.0 and not self.array.faults.erase_does_nothing:
                counters.erases[size] = counters.erases.get(size, 0) + 1
                counters.bytes_erased += size

        self._begin(duration, erase, span=span, resumable=size < self.chip.size)

    def erase_sector(self, address: int) -> None:
        """20h."""
        self.erase(address, self.chip.sector_size, self._timing.sector_erase)

    def erase_block32(self, address: int) -> None:
        """52h."""
        self.erase(address, 32 * KIB, self._timing.block32_erase)

    def erase_block64(self, address: int) -> None:
        """D8h."""
        self.erase(address, BLOCK, self._timing.block64_erase)

    def erase_chip(self) -> None:
        """C7h, 60h."""
        self.erase(0, self.chip.size, self._timing.chip_erase)

    def security_register(self, address: int) -> bytearray | None:
        """Return the security register that address selects by bits 15..12 (8.2.23)."""
        return self.security.get(address & 0xFFFF00)

    def erase_security(self, address: int) -> None:
        """44h."""
        register = self._security_open(address)
        if register is not None and self._suspended is None:
            blank = b"\xff" * SECURITY_SIZE
            self._begin(self._timing.sector_erase, lambda fraction: _store(register, blank, fraction))

    def program_security(self, address: int, data: bytes) -> None:
        """42h: like a page program; wraps at 256 bytes."""
        register = self._security_open(address)
        if register is None or self._suspended is not None:
            return
        latch = page_latch(address & 0xFF, data, SECURITY_SIZE)
        image = bytes(old & new for old, new in zip(register, latch, strict=True))
        self._begin(self._timing.page_program, lambda fraction: _store(register, image, fraction))

    def _security_open(self, address: int) -> bytearray | None:
        register = self.security_register(address)
        if register is None or not self._write_enabled:
            return None
        lock = 0x08 << SECURITY_REGISTERS.index(address & 0xFFFF00)
        return None if self._status[1] & lock else register

    def suspend(self) -> None:
        """75h: a sector or block erase or a page program, if none is suspended yet (8.2.17)."""
        if not self.busy or self._suspended is not None:
            return
        operation = self._operation
        if operation is None or not operation.resumable:
            return
        self._remaining = operation.end - self._clock.now()
        self._suspended = operation
        self._begin(self._timing.suspend, lambda _: None, clears_wel=False)

    def resume(self) -> None:
        """7Ah."""
        operation = self._suspended
        if operation is None:
            return
        self._suspended = None
        operation.end = self._clock.now() + self._remaining
        operation.shown = False
        self._operation = operation

    def reset(self) -> None:
        """66h and 99h: an operation under way is cut off where it is, volatile bits are reloaded (8.2.31)."""
        operation = self._operation
        if operation is not None and self.busy:
            left = max(0.0, operation.end - self._clock.now())
            operation.apply(1.0 - left / operation.duration)
        self._operation = self._suspended = None
        self._status = list(self._stored)
        self._write_enabled = self._volatile_enabled = False
        self._locked = set(self._lock_units())
        self._begin(self._timing.reset, lambda _: None, deaf=True)

    def _begin(
        self,
        duration: float,
        apply: Callable[[float], None],
        *,
        span: range = range(0),
        resumable: bool = False,
        programs: bool = False,
        clears_wel: bool = True,
        deaf: bool = False,
    ) -> None:
        duration *= self._timing.scale
        end = self._clock.now() + duration
        operation = Operation(duration, end, apply, resumable, span, programs, clears_wel, deaf)
        if duration > 0.0:
            self._operation = operation
        else:
            self._finish(operation)

    def _finish(self, operation: Operation) -> None:
        self._operation = None
        operation.apply(1.0)
        if operation.clears_wel:
            self._write_enabled = False

    # --- protection -----------------------------------------------------------------------------------------

    def _protected(self, span: range) -> bool:
        if self.array.faults.write_protected:
            return True
        if self._status[2] & WPS:
            return any(_overlap(span, unit) for unit in self._locked)
        protected = protected_range(self.chip.size, self._status[0])
        if self._status[1] & CMP:
            return span.start < protected.start or span.stop > protected.stop or not protected
        return _overlap(span, protected)

    def _lock_units(self) -> list[range]:
        """Sectors of the first and the last block, and every block between (7.1.8 and figure 4d)."""
        last = self.chip.size - BLOCK
        sectors = [*range(0, BLOCK, self.chip.sector_size), *range(last, self.chip.size, self.chip.sector_size)]
        units = [range(start, start + self.chip.sector_size) for start in sectors]
        return units + [range(start, start + BLOCK) for start in range(BLOCK, last, BLOCK)]

    def _lock_unit(self, address: int) -> range:
        address %= self.chip.size
        edge = address < BLOCK or address >= self.chip.size - BLOCK
        size = self.chip.sector_size if edge else BLOCK
        return range(address - address % size, address - address % size + size)

    def is_locked(self, address: int) -> bool:
        """3Dh: the individual lock bit of the block or sector that holds address."""
        return self._lock_unit(address) in self._locked

    def lock(self, address: int) -> None:
        """36h."""
        if self._write_enabled:
            self._locked.add(self._lock_unit(address))

    def unlock(self, address: int) -> None:
        """39h."""
        if self._write_enabled:
            self._locked.discard(self._lock_unit(address))

    def lock_all(self) -> None:
        """7Eh."""
        if self._write_enabled:
            self._locked = set(self._lock_units())

    def unlock_all(self) -> None:
        """98h."""
        if self._write_enabled:
            self._locked = set()


def protected_range(size: int, status1: int) -> range:
    """Return the range that SEC, TB and BP2..0 protect while CMP is 0 (tables 7.1.16 and 7.1.17)."""
    blocks = status1 >> 2 & 7
    if blocks == 0:
        return range(0)
    if blocks == 7:
        return range(size)
    sectors, share = (4 * KIB) << (blocks - 1), (size // 64) << (blocks - 1)
    length = min(sectors, 32 * KIB) if status1 & SEC else share
    return range(length) if status1 & TB else range(size - length, size)


def _overlap(one: range, other: range) -> bool:
    return bool(one) and bool(other) and one.start < other.stop and other.start < one.stop


def page_latch(offset: int, data: bytes, size: int) -> bytes:
    """Return what a page latch of size bytes, full of 0xFF, holds after data were shifted in from offset on."""
    last = data[-size:]
    start = (offset + len(data) - len(last)) % size
    latch = bytearray(b"\xff" * size)
    straight = last[: size - start]
    latch[start : start + len(straight)] = straight
    wrapped = last[len(straight) :]
    latch[: len(wrapped)] = wrapped
    return bytes(latch)


def _store(register: bytearray, image: bytes, fraction: float) -> None:
    count = int(len(register) * fraction)
    register[:count] = image[:count]
