"""An ARM Debug Interface v5 debug port with the access ports of an STM32H7.

What belongs here: DP and MEM-AP registers and what their accesses do. Which wire or probe carries the accesses
is no concern of this module.

Source: ARM IHI 0031 (ADIv5.2), B2.2 for the DP registers, C2 for MEM-APs; the part's values from ST RM0433
section 60.3 and 60.4.
"""

from __future__ import annotations

import enum
from typing import Protocol

from gdbflash.board.bus import BusError
from gdbflash.board.coresight.debugunit import DebugUnit
from gdbflash.board.coresight.rom import AHB_ROM_TABLE, APB_D_ALIAS, APB_ROM_TABLE
from gdbflash.board.debug import DebugPort

DPIDR = 0x6BA02477
_TARGETID = 0x04500041
"""DEV_ID 0x450 and ST's JEP106 code 0x20 (B2.2.10)."""

POWER_UP = 0x50000000
"""CTRL/STAT: CSYSPWRUPREQ and CDBGPWRUPREQ; each acknowledge is the bit above its request."""

STICKYORUN, STICKYCMP, STICKYERR, WDATAERR = 1 << 1, 1 << 4, 1 << 5, 1 << 7
_CTRL_STAT_WRITABLE = 0x54FFFF0D
_ABORT_CLEARS = ((1 << 1, STICKYCMP), (1 << 2, STICKYERR), (1 << 3, WDATAERR), (1 << 4, STICKYORUN))

_PPB = range(0xE0000000, 0xE0100000)
_APB_D = range(APB_ROM_TABLE, 0xE0100000)

_DEVICE_ENABLED = 1 << 6
_SINGLE, _PACKED = 1, 2
_TAR_WRAP = 0x400
"""TAR increments within 1 KiB only (C2.2.2 guarantees no more, and the Cortex-M7's AHB-AP does no more)."""


class DapRefusal(enum.Enum):
    """Why an access got a FAULT response instead of data."""

    STICKY = "an earlier error is not cleared"
    POWERED_DOWN = "the debug domain has no power"
    BUS = "the bus answered with an error"
    NO_ACCESS_PORT = "no such access port"


class DapFault(Exception):
    """The debug port answered FAULT."""

    def __init__(self, refusal: DapRefusal, address: int = 0) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal
        self.address = address


class Bus(Protocol):
    """What hangs behind a MEM-AP."""

    def read(self, address: int, size: int, width: int) -> bytes:
        """Read size bytes by accesses of width bytes; raises BusError."""

    def write(self, address: int, data: bytes, width: int) -> None:
        """Write data by accesses of width bytes; raises BusError."""


class _SystemBus:
    """What the AHB-AP 1 sees: all but the processor's private peripherals."""

    def __init__(self, unit: DebugUnit) -> None:
        self._unit = unit

    def read(self, address: int, size: int, width: int) -> bytes:
        """Read size bytes by accesses of width bytes; raises BusError."""
        if address in _PPB:
            raise BusError(address)
        return self._unit.read(address, size, width)

    def write(self, address: int, data: bytes, width: int) -> None:
        """Write data by accesses of width bytes; raises BusError."""
        if address in _PPB:
            raise BusError(address)
        self._unit.write(address, data, width)


class _DebugApb:
    """What the APB-AP 2 sees: the system's debug components and DBGMCU, by words."""

    def __init__(self, unit: DebugUnit) -> None:
        self._unit = unit

    def read(self, address: int, size: int, width: int) -> bytes:
        """Read size bytes by accesses of width bytes; raises BusError."""
        self._check(address, size)
        try:
            return self._unit.read(address - APB_D_ALIAS, size, width)
        except BusError as error:
            raise BusError(error.address + APB_D_ALIAS) from error

    def write(self, address: int, data: bytes, width: int) -> None:
        """Write data by accesses of width bytes; raises BusError."""
        self._check(address, len(data))
        try:
            self._unit.write(address - APB_D_ALIAS, data, width)
        except BusError as error:
            raise BusError(error.address + APB_D_ALIAS) from error

    @staticmethod
    def _check(address: int, size: int) -> None:
        if address not in _APB_D:
            raise BusError(address)
        if address + size > _APB_D.stop:
            raise BusError(_APB_D.stop)


class MemoryAccessPort:
    """A MEM-AP: CSW, TAR, DRW, BD0 to BD3, CFG, BASE, IDR."""

    def __init__(self, bus: Bus, *, idr: int, base: int, csw: int, csw_writable: int) -> None:
        self._bus = bus
        self._idr = idr
        self._base = base
        self._csw = csw
        self._csw_writable = csw_writable
        self._tar = 0

    def read(self, register: int) -> int:
        """Read a register by its address (0x00 to 0xFC); raises BusError."""
        if register == 0x0C:
            return self._read_data()
        if register & 0xF0 == 0x10:
            return int.from_bytes(self._bus.read(self._banked(register), 4, 4), "little")
        constants = {0xF4: 0, 0xF8: self._base, 0xFC: self._idr}
        return {0x00: self._csw | _DEVICE_ENABLED, 0x04: self._tar, **constants}.get(register, 0)

    def write(self, register: int, value: int) -> None:
        """Write a register by its address; raises BusError."""
        if register == 0x00:
            self._csw = self._csw & ~self._csw_writable | value & self._csw_writable
        elif register == 0x04:
            self._tar = value
        elif register == 0x0C:
            self._write_data(value)
        elif register & 0xF0 == 0x10:
            self._bus.write(self._banked(register), value.to_bytes(4, "little"), 4)

    def read_block(self, address: int, size: int, width: int) -> bytes:
        """Read as by TAR and so many DRW accesses of width bytes; raises BusError, with TAR at the failed access."""
        try:
            data = self._bus.read(address, size, width)
        except BusError as error:
            self._tar = error.address & ~(width - 1)
            raise
        self._tar = self._incremented(address + size - width, width)
        return data

    def write_block(self, address: int, data: bytes, width: int) -> None:
        """Write as by TAR and so many DRW accesses of width bytes; raises BusError, with TAR at the failed access."""
        try:
            self._bus.write(address, data, width)
        except BusError as error:
            self._tar = error.address & ~(width - 1)
            raise
        self._tar = self._incremented(address + len(data) - width, width)

    def _banked(self, register: int) -> int:
        return self._tar & ~0xF | register & 0xC

    def _transfers(self) -> tuple[int, int]:
        """Return the width and the number of the accesses that one DRW access makes."""
        width = min(4, 1 << (self._csw & 7))
        return width, (4 // width if self._mode == _PACKED else 1)

    @property
    def _mode(self) -> int:
        return self._csw >> 4 & 3

    def _advance(self, width: int) -> None:
        if self._mode in (_SINGLE, _PACKED):
            self._tar = self._incremented(self._tar, width)

    @staticmethod
    def _incremented(address: int, width: int) -> int:
        return address & ~(_TAR_WRAP - 1) | address + width & _TAR_WRAP - 1

    def _read_data(self) -> int:
        width, count = self._transfers()
        value = 0
        for _ in range(count):
            address = self._tar & ~(width - 1)
            # Narrow data travels on the byte lanes of its address (C2.2.6).
            value |= int.from_bytes(self._bus.read(address, width, width), "little") << 8 * (address & 3)
            self._advance(width)
        return value

    def _write_data(self, value: int) -> None:
        width, count = self._transfers()
        lanes = value.to_bytes(4, "little")
        for _ in range(count):
            address = self._tar & ~(width - 1)
            self._bus.write(address, lanes[address & 3 : (address & 3) + width], width)
            self._advance(width)


class Dap:
    """The debug port (DPv2) and its access ports: three, and a fourth with the second core where there is one."""

    def __init__(self, port: DebugPort, second: DebugPort | None = None) -> None:
        self.unit = DebugUnit(port)
        # CSW: Prot, Mode, AddrInc and Size can be written; the APB-AP has words only.
        ahb = {"idr": 0x84770001, "csw": 0x43800002, "csw_writable": 0x7F000037}
        self._access_ports = {
            0: MemoryAccessPort(self.unit, base=AHB_ROM_TABLE | 3, **ahb),
            1: MemoryAccessPort(_SystemBus(self.unit), base=2, **ahb),
            2: MemoryAccessPort(
                _DebugApb(self.unit), idr=0x54770002, base=APB_ROM_TABLE | 3, csw=0x80000002, csw_writable=0x80000030
            ),
        }
        if second is not None:  # AHB-AP 3, of the Cortex-M4 (RM0399 section 63.4)
            beside = DebugUnit(second)
            self.unit.reset_with, beside.reset_with = beside, self.unit
            self._access_ports[3] = MemoryAccessPort(beside, base=AHB_ROM_TABLE | 3, **ahb)
        self._control = 0
        self._sticky = 0
        self._result = 0

    def read_dp(self, register: int) -> int:
        """Read a DP register: bits 3:0 its address, bits 7:4 DPBANKSEL."""
        bank, address = register >> 4 & 0xF, register & 0xF
        if address == 0x0:
            return DPIDR
        if address == 0x4:
            # Banks 1 to 4: DLCR (turnaround of one cycle), TARGETID, DLPIDR (version 1), EVENTSTAT (no event)
            return (self._control_and_status(), 0x40, _TARGETID, 0x1, 0x1)[bank] if bank < 5 else 0
        return self._result

    def write_dp(self, register: int, value: int) -> None:
        """Write a DP register: ABORT, CTRL/STAT; SELECT is given with each access and not kept."""
        if register == 0x0:
            for bit, flag in _ABORT_CLEARS:
                if value & bit:
                    self._sticky &= ~flag
        elif register == 0x4:
            self._control = value & _CTRL_STAT_WRITABLE

    def read_ap(self, number: int, register: int) -> int:
        """Read a register of an access port; raises DapFault."""
        self._check_ready()
        access_port = self._access_ports.get(number)
        if access_port is None:
            return 0  # an IDR of zero says that there is none (B1.4.1)
        try:
            self._result = access_port.read(register)
        except BusError as error:
            raise self._bus_fault(error) from error
        return self._result

    def write_ap(self, number: int, register: int, value: int) -> None:
        """Write a register of an access port; raises DapFault."""
        self._check_ready()
        access_port = self._access_ports.get(number)
        if access_port is None:
            return
        try:
            access_port.write(register, value)
        except BusError as error:
            raise self._bus_fault(error) from error

    def access_port(self, number: int) -> MemoryAccessPort:
        """Return an access port for a probe's own memory commands; raises DapFault."""
        self._check_ready()
        if number not in self._access_ports:
            raise DapFault(DapRefusal.NO_ACCESS_PORT)
        return self._access_ports[number]

    def _control_and_status(self) -> int:
        return self._control | (self._control & 0x54000000) << 1 | self._sticky

    def _check_ready(self) -> None:
        if self._control & POWER_UP != POWER_UP:
            raise DapFault(DapRefusal.POWERED_DOWN)
        if self._sticky:
            raise DapFault(DapRefusal.STICKY)

    def _bus_fault(self, error: BusError) -> DapFault:
        self._sticky |= STICKYERR
        return DapFault(DapRefusal.BUS, error.address)
