"""The TCP side of the virtual ST-LINK: the protocol of ST's stlink-server, with one probe attached.

What belongs here: framing, device enumeration, and the imperfections of a link (StlinkLink).

Source: what OpenOCD 0.12 sends and expects with `st-link backend tcp` (src/jtag/drivers/stlink_usb.c).
"""

from __future__ import annotations

import enum
import itertools
import struct
import threading
from dataclasses import dataclass

from gdbflash.board.clock import pause
from gdbflash.board.debug import DebugPort
from gdbflash.board.faces.stlink import PRODUCT_ID, VENDOR_ID, StlinkProbe
from gdbflash.board.faces.tcpface import Connection, TcpFace

SERIAL = b"00476442464C415348303031"
"""24 hexadecimal digits, as every ST-LINK/V3 has them."""

_SERVER_VERSION = (3, 2, 1, 1)
"""API 3: the first that OpenOCD trusts with queued accesses (RW_MISC); then major, minor and build."""

_DEVICE_ID = 1
_MAX_TRANSFER = 10240
"""OpenOCD's buffer; a frame that claims more is not of this protocol."""


class LinkFailure(enum.Enum):
    """How the link fails once StlinkLink.fail_after commands have passed."""

    TARGET = "the probe lost its target"
    USB = "the server lost its probe"
    HANG_UP = "the server closes the connection"


@dataclass
class StlinkLink:
    """The imperfections of the way to the target; change them at any time, also while a client is connected."""

    latency_us: float = 0
    """Delay of each command: a USB round trip takes 100 to 300 us."""
    kib_per_s: float | None = None
    """Rate of the data of memory transfers; None is as fast as it goes."""
    fail_after: int | None = None
    """Number of commands that still succeed; the ones after them fail until it is set to None again."""
    fail_count: int | None = None
    """Number of commands that then fail, before all is well again; None is all of them."""
    failure: LinkFailure = LinkFailure.TARGET
    commands: int = 0
    """Commands carried so far, failed ones included; set it to 0 to count anew."""

    def carry(self, size: int) -> LinkFailure | None:
        """Take the time that a command with size bytes of data takes; return how it fails, if so."""
        self.commands += 1
        seconds = self.latency_us / 1e6
        if self.kib_per_s:
            seconds += size / (1024 * self.kib_per_s)
        if seconds:
            pause(seconds)
        if self.fail_after is None:
            return None
        if self.fail_after > 0:
            self.fail_after -= 1
            return None
        if self.fail_count is not None:
            self.fail_count -= 1
            if self.fail_count <= 0:
                self.fail_after = self.fail_count = None
        return self.failure


class _TcpStatus(enum.IntEnum):
    OK = 0x0001
    TIMEOUT = 0x1001
    BAD_PARAMETER = 0x1002
    COMMAND_NOT_AVAILABLE = 0x1053


class _Request(enum.IntEnum):
    REFRESH_DEVICE_LIST = 0
    GET_DEVICE_COUNT = 1
    GET_DEVICE_INFO = 2
    OPEN_DEVICE = 3
    CLOSE_DEVICE = 4
    SEND_USB_COMMAND = 5
    GET_SERVER_VERSION = 6


_REQUEST_SIZES = {
    _Request.REFRESH_DEVICE_LIST: 2,
    _Request.GET_DEVICE_COUNT: 1,
    _Request.GET_DEVICE_INFO: 8,
    _Request.OPEN_DEVICE: 8,
    _Request.CLOSE_DEVICE: 8,
    _Request.SEND_USB_COMMAND: 32,
    _Request.GET_SERVER_VERSION: 4,
}
_WRITE, _READ, _READ_TRACE = 0, 1, 3


class StlinkServer(TcpFace):
    """A stlink-server on 127.0.0.1, as `TcpFace` says."""

    def __init__(
        self, debug_port: DebugPort, port: int = 0, link: StlinkLink | None = None, second: DebugPort | None = None
    ) -> None:
        """Listen; port 0 takes a free one. second: the other core of a device that has two. Raises OSError."""
        self.link = link if link is not None else StlinkLink()
        self.probe = StlinkProbe(debug_port, second)
        self.lock = threading.Lock()
        """Held while the probe executes a command."""
        self.connection_ids = itertools.count(1)
        super().__init__("st-link", port)

    def serve(self, connection: Connection) -> None:
        """Answer one request after the other, until one hangs up."""
        client = _Client(self, connection)
        while (reply := client.serve_one()) is not None:
            connection.send(reply)


class _Client:
    def __init__(self, owner: StlinkServer, connection: Connection) -> None:
        self._owner = owner
        self._connection = connection
        self._connection_id: int | None = None

    def serve_one(self) -> bytes | None:
        """Read one request and return its reply; None hangs up."""
        code = self._connection.read(1)[0]
        try:
            request = _Request(code)
        except ValueError:
            # Its length is not known, so that the next request could not be found.
            self._connection.send(struct.pack("<I", _TcpStatus.COMMAND_NOT_AVAILABLE))
            return None
        rest = self._connection.read(_REQUEST_SIZES[request] - 1)
        if request is _Request.SEND_USB_COMMAND:
            return self._send_usb_command(rest)
        if request is _Request.GET_SERVER_VERSION:
            return struct.pack("<4I", *_SERVER_VERSION)
        if request is _Request.GET_DEVICE_COUNT:
            return struct.pack("<I", 1)
        if request is _Request.GET_DEVICE_INFO:
            return self._describe_device(rest[0])
        if request is _Request.OPEN_DEVICE:
            return self._open_device(*struct.unpack_from("<I", rest, 3))
        if request is _Request.CLOSE_DEVICE:
            self._connection_id = None
        return struct.pack("<I", _TcpStatus.OK)

    @staticmethod
    def _describe_device(index: int) -> bytes:
        status = _TcpStatus.OK if index == 0 else _TcpStatus.BAD_PARAMETER
        # The last byte tells whether another client has the probe for itself.
        return struct.pack("<II32sHHB", status, _DEVICE_ID, SERIAL, VENDOR_ID, PRODUCT_ID, 0)

    def _open_device(self, device: int) -> bytes:
        if device != _DEVICE_ID:
            return struct.pack("<II", _TcpStatus.BAD_PARAMETER, 0)
        self._connection_id = next(self._owner.connection_ids)
        return struct.pack("<II", _TcpStatus.OK, self._connection_id)

    def _send_usb_command(self, rest: bytes) -> bytes | None:
        # After the code: 3 reserved bytes, connection, 16 bytes of command, direction, 3 reserved, data size
        connection, command, direction, size = struct.unpack("<3xI16sB3xI", rest)
        if size > _MAX_TRANSFER:
            return None
        data = self._connection.read(size) if direction == _WRITE else b""
        reply_size = 0 if direction == _WRITE else size
        status = _TcpStatus.OK
        reply = bytes(reply_size)
        owner = self._owner
        with owner.lock:
            failure = owner.link.carry(size)
            if failure is LinkFailure.HANG_UP:
                return None
            if failure is LinkFailure.USB:
                status = _TcpStatus.TIMEOUT
            elif connection != self._connection_id:
                status = _TcpStatus.BAD_PARAMETER
            elif direction == _READ_TRACE:
                pass
            elif failure is LinkFailure.TARGET:
                reply = owner.probe.answer_unwired(command, reply_size)
            else:
                reply = owner.probe.execute(command, data, reply_size)
        return struct.pack("<I", status) + reply
