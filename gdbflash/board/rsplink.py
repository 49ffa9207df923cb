"""The wire under the remote serial protocol: framing, counting, and a link that can be made worse.

What belongs here: bytes of a packet and bytes on a socket. What a packet means belongs to `rspsession`.
Source: "Debugging with GDB", appendix "GDB Remote Serial Protocol", sections Overview, Packet
Acknowledgment and Interrupts.
"""

from __future__ import annotations

import enum
import re
import select
import socket
import struct
import time
import zlib
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gdbflash.board.badlink import PacketFault

from gdbflash.board.clock import pause

# A byte after 0x7D is the data byte XOR 0x20. These four must never stand bare in a reply ("*" would start a run
# length); 0x7D comes first, since the others put more of it in.
_ESCAPES = ((b"}", b"}]"), (b"#", b"}\x03"), (b"$", b"}\x04"), (b"*", b"}\n"))
_ESCAPED = re.compile(rb"\}(.)", re.DOTALL)

# One read takes what a few of the largest packets need, so that a 16 KiB X packet is one or two system calls.
_READ_SIZE = 1 << 16
# How soon a client that leaves is seen while its answer is stalled.
_STALL_POLL_S = 0.005
# No personality announces more than 0x4000; a "packet" longer than this never ends and is dropped.
_LONGEST_PACKET = 1 << 17


class Signal(enum.Enum):
    """What a client says outside of packets."""

    INTERRUPT = "interrupt"
    ACK = "ack"
    NAK = "nak"
    CORRUPT = "corrupt"
    """A packet whose checksum is wrong."""


Event = bytes | Signal


def escape(data: bytes) -> bytes:
    """Make binary data fit to stand in a packet."""
    for bare, escaped in _ESCAPES:
        data = data.replace(bare, escaped)
    return data


def unescape(data: bytes) -> bytes:
    """Undo `escape`, whichever bytes the client chose to escape; a lone 0x7D at the end stays."""
    return _ESCAPED.sub(lambda match: bytes((match[1][0] ^ 0x20,)), data)


def checksum(data: bytes) -> int:
    """Sum bytes modulo 256."""
    # The lower half of an Adler-32 that starts at 0 is the sum modulo 65521, exact for 256 bytes: five times as fast
    # as sum() on large packets.
    return sum(zlib.adler32(data[start : start + 256], 0) & 0xFFFF for start in range(0, len(data), 256)) & 0xFF


def frame(payload: bytes) -> bytes:
    """Put a payload between $ and # with its checksum."""
    return b"$%b#%02x" % (payload, checksum(payload))


class PacketReader:
    """Turn a stream of bytes into packets and signals; needs no socket.

    Bytes between packets that mean nothing are skipped, and a $ within a packet starts it anew, as GDB's own
    reader does: a client that lost its place finds it again.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Event]:
        """Take more bytes and give what is complete, in order; payloads stay escaped."""
        self._buffer += data
        events: list[Event] = []
        while self._buffer:
            first = self._buffer[0]
            if first == 0x24:  # $
                packet = self._packet()
                if packet is None:
                    break
                events.append(packet)
                continue
            if first in _SIGNALS:
                events.append(_SIGNALS[first])
            del self._buffer[0]
        return events

    def _packet(self) -> Event | None:
        """Cut the packet off that the buffer begins with; None while its end is missing."""
        end = self._buffer.find(b"#")
        if end < 0 or len(self._buffer) < end + 3:
            if len(self._buffer) <= _LONGEST_PACKET:
                return None
            self._buffer.clear()
            return Signal.CORRUPT
        payload = bytes(self._buffer[1:end])
        digits = bytes(self._buffer[end + 1 : end + 3])
        del self._buffer[: end + 3]
        payload = payload[payload.rfind(b"$") + 1 :]
        return payload if digits.lower() == b"%02x" % checksum(payload) else Signal.CORRUPT


_SIGNALS = {0x03: Signal.INTERRUPT, 0x2B: Signal.ACK, 0x2D: Signal.NAK}


@dataclass
class LinkConditions:
    """How good the wire is, and what has passed over it; shared by a server's connections, changeable any time."""

    latency_us: float = 0
    """Microseconds that every reply is late, as a USB probe's turnaround makes it."""
    kib_per_s: float | None = None
    """Rate of both directions together, as on one serial wire; None: as fast as it goes."""
    faults: list[PacketFault] = field(default_factory=list)
    """What goes wrong with packets."""
    packets: Counter[str] = field(default_factory=Counter)
    """Packets received, by kind ("m", "Z0", "vCont;c", "qSupported"...) and "\\x03"; clear() starts anew."""
    bytes_received: int = 0
    bytes_sent: int = 0


class LinkClosed(Exception):
    """The client is gone, or was cut off."""


class Link:
    """One client's connection: whole packets in and out, through the conditions.

    `receive` acknowledges by itself until `no_ack` is set.
    """

    def __init__(self, connection: socket.socket, conditions: LinkConditions) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._conditions = conditions
        self._reader = PacketReader()
        self._events: deque[Event] = deque()
        self._last_sent = b""
        self._free_at = 0.0
        self.no_ack = False

    def receive(self) -> bytes | Signal:
        """Wait for the next packet or interrupt.

        Raises LinkClosed.
        """
        while not self._events:
            self._read()
        event = self._events.popleft()
        if isinstance(event, bytes):
            self._conditions.packets[packet_kind(event)] += 1
        return event

    def interrupted(self) -> bool:
        """Say whether the client has sent an interrupt since the last packet; does not wait.

        Packets that came meanwhile stay for `receive`. Raises LinkClosed.
        """
        while select.select([self._socket], [], [], 0)[0]:
            self._read()
        if Signal.INTERRUPT not in self._events:
            return False
        self._events = deque(event for event in self._events if event is not Signal.INTERRUPT)
        return True

    def send(self, payload: bytes) -> None:
        """Send one packet; binary payloads are escaped already. Raises LinkClosed."""
        self._last_sent = frame(payload)
        if self._conditions.latency_us:
            pause(self._conditions.latency_us / 1e6)
        self._write(self._last_sent)

    def _read(self) -> None:
        try:
            data = self._socket.recv(_READ_SIZE)
        except OSError as error:
            raise LinkClosed(str(error)) from error
        if not data:
            raise LinkClosed("end of stream")
        self._conditions.bytes_received += len(data)
        self._pass(len(data))
        for event in self._reader.feed(data):
            self._take(event)

    def _take(self, event: Event) -> None:
        """Answer an event on the link's own level, or queue it."""
        if event is Signal.ACK:
            return
        if event is Signal.NAK or event is Signal.CORRUPT:
            # Without acknowledgments nobody may ask for a packet again.
            if not self.no_ack:
                self._write(self._last_sent if event is Signal.NAK else b"-")
            return
        if event is Signal.INTERRUPT:
            self._conditions.packets["\x03"] += 1
        elif not self.no_ack:
            self._write(b"+")
        self._events.append(event)

    @property
    def faults(self) -> list[PacketFault]:
        """What goes wrong with packets; the list may change at any time."""
        return self._conditions.faults

    def reset(self) -> None:
        """Cut the connection; raises LinkClosed."""
        # A linger time of 0 turns the close into a reset, which is what an unplugged probe's server gives.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        raise LinkClosed("dropped on purpose")

    def stall(self, seconds: float | None) -> None:
        """Do nothing for so many seconds, None: for ever. Raises LinkClosed as soon as the client is gone."""
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            time.sleep(_STALL_POLL_S)
            while select.select([self._socket], [], [], 0)[0]:
                self._read()

    def _write(self, data: bytes) -> None:
        self._pass(len(data))
        self._conditions.bytes_sent += len(data)
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise LinkClosed(str(error)) from error

    def _pass(self, size: int) -> None:
        """Take the time that size bytes need on the wire."""
        if self._conditions.kib_per_s is None:
            return
        now = time.monotonic()
        self._free_at = max(now, self._free_at) + size / (self._conditions.kib_per_s * 1024)
        pause(self._free_at - now)


# GDB's old queries, whose names end without a separator.
_UNDELIMITED = (b"qC", b"qL", b"qP")


def packet_kind(payload: bytes) -> str:
    """Name a packet for the counters: its letter, with the type for Z and z and the name for q, Q and v."""
    letter = payload[:1]
    if letter in (b"Z", b"z") or (payload[:2] in _UNDELIMITED and not payload.startswith(b"qCRC")):
        name = payload[:2]
    elif payload.startswith(b"qXfer"):
        name = b":".join(payload.split(b":")[:3])
    elif payload.startswith(b"vCont;"):
        name = payload[:7]
    elif letter in (b"q", b"Q", b"v"):
        name = re.split(b"[:,;]", payload, maxsplit=1)[0]
    else:
        name = letter
    return name.decode("latin-1")
