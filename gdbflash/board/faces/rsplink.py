"""The wire under the remote serial protocol: counting, and a link that can be made worse.

What belongs here: packets on a socket, and the conditions they travel under. What a packet is made of belongs to
`packets`, what it means to `rspsession`.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from gdbflash.board.clock import pause
from gdbflash.board.faces.packets import Event, PacketReader, Signal, frame, packet_kind
from gdbflash.board.mishaps.link import PacketFault

# One read takes what a few of the largest packets need, so that a 16 KiB X packet is one or two system calls.
_READ_SIZE = 1 << 16
# How soon a client that leaves is seen while its answer is stalled.
_STALL_POLL_S = 0.005


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
