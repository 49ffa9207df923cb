"""Packets of the remote serial protocol as bytes: framing, escaping, and what kind of packet one is.

What belongs here: bytes alone, no socket; what a packet means belongs to `rspsession`, the wire is `rsplink`.
Source: "Debugging with GDB", appendix "GDB Remote Serial Protocol", sections Overview, Packet
Acknowledgment and Interrupts.
"""

from __future__ import annotations

import enum
import re
import zlib

OK = b"OK"
UNSUPPORTED = b""
# The protocol gives error numbers no meaning; these are kept apart for people who read logs.
BUS_ERROR = b"E01"
MALFORMED = b"E02"
NOT_NOW = b"E03"
NO_TARGET = b"EFF"

# A byte after 0x7D is the data byte XOR 0x20. These four must never stand bare in a reply ("*" would start a run
# length); 0x7D comes first, since the others put more of it in.
_ESCAPES = ((b"}", b"}]"), (b"#", b"}\x03"), (b"$", b"}\x04"), (b"*", b"}\n"))
_ESCAPED = re.compile(rb"\}(.)", re.DOTALL)

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
