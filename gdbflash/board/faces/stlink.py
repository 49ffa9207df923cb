"""An ST-LINK/V3 without its USB cable: the command set, acting on the virtual board's debug port.

What belongs here: 16-byte commands, their data, replies and status codes. How they arrive is stlinktcp's concern.

Source: what OpenOCD 0.12 sends and expects (src/jtag/drivers/stlink_usb.c); ST publishes no specification.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable

from gdbflash.board.bus import BusError
from gdbflash.board.coresight.dap import DPIDR, POWER_UP, Dap, DapFault, DapRefusal, MemoryAccessPort
from gdbflash.board.coresight.debugunit import AIRCR
from gdbflash.board.debug import DebugPort

VENDOR_ID = 0x0483
PRODUCT_ID = 0x374F
"""STLINK-V3S: bridge, mass storage and virtual COM port beside the debug interface."""

_VERSION = (3, 1, 13, 4, 5)
"""V3, SWIM 1, JTAG 13, mass storage 4, bridge 5: new enough for every command that OpenOCD 0.12 knows."""

MAX_DATA = 6144
"""Bytes of one 16- or 32-bit transfer; 8-bit transfers take 512."""

_MAX_BYTES = 512
_FREQUENCIES_KHZ = (24000, 8000, 3300, 1000, 200, 50, 5)
_DEBUG_PORT = 0xFFFF


class Status(enum.IntEnum):
    """First byte of most replies."""

    OK = 0x80
    FAULT = 0x81
    NO_IDCODE = 0x09
    AP_FAULT = 0x11
    AP_ERROR = 0x12
    DP_FAULT = 0x15
    DP_ERROR = 0x16
    AP_STICKY_ERROR = 0x19
    BAD_AP = 0x1D
    UNKNOWN_COMMAND = 0x42


_STATUS_OF = {
    DapRefusal.BUS: Status.AP_FAULT,
    DapRefusal.STICKY: Status.AP_STICKY_ERROR,
    DapRefusal.POWERED_DOWN: Status.DP_FAULT,
    DapRefusal.NO_ACCESS_PORT: Status.BAD_AP,
}


class _Mode(enum.IntEnum):
    MASS_STORAGE = 1
    DEBUG = 2


_READ_WIDTHS = {0x07: 4, 0x0C: 1, 0x47: 2, 0x54: 4}
_WRITE_WIDTHS = {0x08: 4, 0x0D: 1, 0x48: 2, 0x50: 4}
_FIXED_ADDRESS = (0x50, 0x54)
_RW_MISC_IN = 0x52
_MISC_ADDRESS, _MISC_WRITE, _MISC_READ, _MISC_ACCESS_PORT = 1, 2, 3, 5


class _Refused(Exception):
    """A command ends with this status instead of its reply."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


class StlinkProbe:
    """The probe; execute() takes one command at a time."""

    def __init__(self, port: DebugPort, second: DebugPort | None = None) -> None:
        """second: the other core of a device that has two."""
        self._dap = Dap(port, second)
        self._unit = self._dap.unit
        self._mode = _Mode.MASS_STORAGE
        self._frequency_khz = 1000
        self._last_transfer = (Status.OK, 0)
        self._misc_results: list[tuple[int, Status]] = []
        self._commands: dict[int, Callable[[bytes, bytes], bytes]] = {
            0x21: self._exit,
            0x30: self._enter,
            0x31: self._read_idcodes,
            0x32: self._reset_system,
            0x33: self._read_register,
            0x34: self._write_register,
            0x35: self._write_debug_register,
            0x36: self._read_debug_register,
            0x3A: self._read_all_registers,
            0x3B: self._last_status,
            0x3C: self._drive_nrst,
            0x3E: self._last_status,
            0x40: self._acknowledge,  # start and stop of SWO reception: accepted, and no trace ever comes
            0x41: self._acknowledge,
            0x42: self._count_trace,
            0x43: self._acknowledge,  # SWD and JTAG clock dividers of the V2
            0x44: self._acknowledge,
            0x45: self._read_dap_register,
            0x46: self._write_dap_register,
            0x4B: self._open_access_port,
            0x4C: self._open_access_port,
            0x51: self._run_misc,
            _RW_MISC_IN: self._read_misc,
            0x61: self._set_frequency,
            0x62: self._get_frequency,
            **dict.fromkeys(_READ_WIDTHS, self._read_memory),
            **dict.fromkeys(_WRITE_WIDTHS, self._write_memory),
        }

    def execute(self, command: bytes, data: bytes, reply_size: int) -> bytes:
        """Execute a 16-byte command with its outgoing data; the reply has exactly reply_size bytes."""
        return self._reply(command, data)[:reply_size].ljust(reply_size, b"\0")

    def answer_unwired(self, command: bytes, reply_size: int) -> bytes:
        """Answer as a probe does whose SWD wires are cut: no target acknowledges, memory reads as zeros.

        What became of a transfer is told by the status that is asked for next, also when the wires are whole by then.
        """
        if command[0] != 0xF2:
            return self.execute(command, b"", reply_size)
        if command[1] in _READ_WIDTHS or command[1] in _WRITE_WIDTHS:
            self._last_transfer = (Status.DP_ERROR, 0)
        if command[1] in _READ_WIDTHS:
            return bytes(reply_size)
        if command[1] == _RW_MISC_IN:
            words = reply_size // 8
            statuses = struct.pack("<I", Status.DP_ERROR) * words
            return statuses.rjust(reply_size, b"\0")
        return bytes([Status.DP_ERROR])[:reply_size].ljust(reply_size, b"\0")

    def _reply(self, command: bytes, data: bytes) -> bytes:
        kind = command[0]
        if kind == 0xF1:
            return struct.pack(">H", _VERSION[0] << 12) + struct.pack("<HH", VENDOR_ID, PRODUCT_ID)
        if kind == 0xFB:
            return struct.pack("<5B3xHH", *_VERSION, VENDOR_ID, PRODUCT_ID)
        if kind == 0xF5:
            return bytes([self._mode, 0])
        if kind == 0xF7:
            return struct.pack("<II", 1456, 2002)  # 1.2 V reference and half the target's 3.3 V, as ADC counts
        if kind != 0xF2:
            return bytes([Status.UNKNOWN_COMMAND])
        return self._debug_command(command, data)

    def _debug_command(self, command: bytes, data: bytes) -> bytes:
        action = self._commands.get(command[1])
        if action is None:
            return bytes([Status.UNKNOWN_COMMAND])
        try:
            return action(command, data)
        except _Refused as refused:
            return bytes([refused.status])
        except DapFault as fault:
            return bytes([_STATUS_OF[fault.refusal]])
        except BusError:
            return bytes([Status.AP_FAULT])

    # -- session ----------------------------------------------------------------------------------------------

    def _acknowledge(self, _command: bytes, _data: bytes) -> bytes:
        return bytes([Status.OK, 0])

    def _enter(self, command: bytes, _data: bytes) -> bytes:
        if command[2] != 0xA3:  # the board has SWD only; 0x00 and 0xA4 are JTAG
            raise _Refused(Status.NO_IDCODE)
        self._mode = _Mode.DEBUG
        self._dap.write_dp(0x0, 0x1E)
        self._dap.write_dp(0x4, POWER_UP)
        return bytes([Status.OK, 0])

    def _exit(self, _command: bytes, _data: bytes) -> bytes:
        self._dap.write_dp(0x4, 0)
        self._mode = _Mode.MASS_STORAGE
        return b""

    def _read_idcodes(self, _command: bytes, _data: bytes) -> bytes:
        self._require_debug_mode()
        return _with_status(DPIDR, 0)

    def _require_debug_mode(self) -> None:
        if self._mode is not _Mode.DEBUG:
            raise _Refused(Status.FAULT)

    def _set_frequency(self, command: bytes, _data: bytes) -> bytes:
        (wanted,) = struct.unpack_from("<I", command, 4)
        self._frequency_khz = max((f for f in _FREQUENCIES_KHZ if f <= wanted), default=_FREQUENCIES_KHZ[-1])
        return _with_status(self._frequency_khz)

    def _get_frequency(self, _command: bytes, _data: bytes) -> bytes:
        return _with_status(self._frequency_khz, len(_FREQUENCIES_KHZ), *_FREQUENCIES_KHZ)

    def _count_trace(self, _command: bytes, _data: bytes) -> bytes:
        return bytes(2)

    # -- core -------------------------------------------------------------------------------------------------

    def _reset_system(self, _command: bytes, _data: bytes) -> bytes:
        self._dap.access_port(0).write_block(AIRCR, struct.pack("<I", 0x05FA0004), 4)
        return bytes([Status.OK, 0])

    def _drive_nrst(self, command: bytes, _data: bytes) -> bytes:
        level = command[2]
        if level in (0, 2):
            self._unit.hold_reset()
        if level in (1, 2):
            self._unit.release_reset()
        return bytes([Status.OK, 0])

    def _require_halt(self) -> None:
        self._dap.access_port(0)
        if not self._unit.halted:
            raise _Refused(Status.FAULT)

    def _read_register(self, command: bytes, _data: bytes) -> bytes:
        self._require_halt()
        return _with_status(self._unit.read_core_register(command[2]))

    def _write_register(self, command: bytes, _data: bytes) -> bytes:
        self._require_halt()
        (value,) = struct.unpack_from("<I", command, 3)
        self._unit.write_core_register(command[2], value)
        return bytes([Status.OK, 0])

    def _read_all_registers(self, _command: bytes, _data: bytes) -> bytes:
        self._require_halt()
        return _with_status(*(self._unit.read_core_register(selector) for selector in (*range(19), 20)), 0)

    def _read_debug_register(self, command: bytes, _data: bytes) -> bytes:
        (address,) = struct.unpack_from("<I", command, 2)
        return _with_status(int.from_bytes(self._dap.access_port(0).read_block(address & ~3, 4, 4), "little"))

    def _write_debug_register(self, command: bytes, _data: bytes) -> bytes:
        (address,) = struct.unpack_from("<I", command, 2)
        self._dap.access_port(0).write_block(address & ~3, command[6:10], 4)
        return bytes([Status.OK, 0])

    # -- debug port and access ports --------------------------------------------------------------------------

    def _read_dap_register(self, command: bytes, _data: bytes) -> bytes:
        self._require_debug_mode()
        port, register = struct.unpack_from("<HH", command, 2)
        value = self._dap.read_dp(register) if port == _DEBUG_PORT else self._dap.read_ap(port, register)
        return _with_status(value)

    def _write_dap_register(self, command: bytes, _data: bytes) -> bytes:
        self._require_debug_mode()
        port, register, value = struct.unpack_from("<HHI", command, 2)
        if port == _DEBUG_PORT:
            self._dap.write_dp(register, value)
        else:
            self._dap.write_ap(port, register, value)
        return bytes([Status.OK, 0])

    def _open_access_port(self, command: bytes, _data: bytes) -> bytes:
        self._dap.access_port(command[2])
        return bytes([Status.OK, 0])

    # -- memory -----------------------------------------------------------------------------------------------

    def _last_status(self, _command: bytes, _data: bytes) -> bytes:
        status, address = self._last_transfer
        return _with_status(address, 0, status=status)

    def _read_memory(self, command: bytes, _data: bytes) -> bytes:
        def read() -> bytes:
            memory, address, size, width = self._parse_transfer(command, _READ_WIDTHS)
            if command[1] in _FIXED_ADDRESS:
                return b"".join(memory.read_block(address, width, width) for _ in range(size // width))
            return memory.read_block(address, size, width)

        return self._record(read)

    def _write_memory(self, command: bytes, data: bytes) -> bytes:
        def write() -> bytes:
            memory, address, size, width = self._parse_transfer(command, _WRITE_WIDTHS)
            if len(data) < size:
                raise _Refused(Status.AP_ERROR)
            step = width if command[1] in _FIXED_ADDRESS else size
            for offset in range(0, size, step or 1):
                memory.write_block(address, data[offset : offset + step], width)
            return b""

        return self._record(write)

    def _record(self, transfer: Callable[[], bytes]) -> bytes:
        """Keep the outcome for the status command that follows: memory commands themselves reply with data only."""
        self._last_transfer = (Status.OK, 0)
        try:
            return transfer()
        except BusError as error:
            self._last_transfer = (Status.AP_FAULT, error.address)
        except DapFault as fault:
            self._last_transfer = (_STATUS_OF[fault.refusal], 0)
        except _Refused as refused:
            self._last_transfer = (refused.status, 0)
        return b""

    def _parse_transfer(self, command: bytes, widths: dict[int, int]) -> tuple[MemoryAccessPort, int, int, int]:
        width = widths[command[1]]
        address, size = struct.unpack_from("<IH", command, 2)
        limit = _MAX_BYTES if width == 1 else MAX_DATA
        if size > limit or size % width or address % width:
            raise _Refused(Status.AP_ERROR)
        return self._dap.access_port(command[8]), address, size, width

    # -- queued accesses --------------------------------------------------------------------------------------

    def _run_misc(self, command: bytes, data: bytes) -> bytes:
        """Run a list of word accesses: a code per item, padded to words, then a word per item."""
        self._misc_results = []
        (count,) = struct.unpack_from("<I", command, 2)
        codes, padding = data[:count], -count % 4
        if len(data) < count + padding + 4 * count:
            raise _Refused(Status.AP_ERROR)
        words = struct.unpack_from(f"<{count}I", data, count + padding)
        number = address = 0
        for code, word in zip(codes, words, strict=True):
            value, status = 0, Status.OK
            try:
                if code == _MISC_ACCESS_PORT:
                    number = word
                elif code == _MISC_ADDRESS:
                    address = word
                elif code == _MISC_WRITE:
                    self._dap.access_port(number).write_block(address, word.to_bytes(4, "little"), 4)
                elif code == _MISC_READ:
                    value = int.from_bytes(self._dap.access_port(number).read_block(word, 4, 4), "little")
                else:
                    status = Status.UNKNOWN_COMMAND
            except BusError:
                status = Status.AP_FAULT
            except DapFault as fault:
                status = _STATUS_OF[fault.refusal]
            self._misc_results.append((value, status))
        return b""

    def _read_misc(self, _command: bytes, _data: bytes) -> bytes:
        values, statuses = zip(*self._misc_results, strict=True) if self._misc_results else ((), ())
        return struct.pack(f"<{2 * len(values)}I", *values, *statuses)


def _with_status(*words: int, status: Status = Status.OK) -> bytes:
    """Build a reply: the status in a word of its own, then words."""
    return struct.pack(f"<{1 + len(words)}I", status, *words)
