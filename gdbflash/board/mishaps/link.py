"""Faults of the way between GDB and the board, packet by packet.

What belongs here: what can go wrong with one packet and its answer, and when it does. The wire itself is `rsplink`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gdbflash.board.faces.packets import BUS_ERROR, OK, escape, unescape
from gdbflash.board.mishaps.occasion import Occasion

_READS, _WRITES = ("m", "x"), ("M", "X")


class LinkFault(enum.Enum):
    """What goes wrong."""

    DROP = "drop"
    """The connection is reset in place of an answer."""
    STALL = "stall"
    """The answer is late."""
    ERROR = "error"
    """The packet is answered with an error, and not carried out."""
    CORRUPT = "corrupt"
    """One bit of what a read of memory answers is another one."""
    LATE = "late"
    """A write of memory is acknowledged and not carried out; the next one is, and answered with the error."""


@dataclass
class PacketFault:
    """One fault and its occasion, counted in the packets that it can strike."""

    fault: LinkFault
    occasion: Occasion = field(default_factory=Occasion)
    packet: str = ""
    """The kind of packet that is counted, as `packets.packet_kind` names it; empty: any that the fault can strike."""
    seconds: float | None = None
    """How late a stalled answer is; None: it never comes."""
    met: int = 0
    """Packets counted so far."""
    struck: int = 0
    """How often it went wrong."""

    def strikes(self, kind: str, packet: bytes) -> bool:
        """Count a packet, and tell whether it goes wrong."""
        if not self._can_strike(kind, packet):
            return False
        self.met += 1
        strikes = self.occasion.includes(self.met)
        self.struck += strikes
        return strikes

    def _can_strike(self, kind: str, packet: bytes) -> bool:
        if self.packet:
            return kind == self.packet
        if self.fault is LinkFault.CORRUPT:
            return kind in _READS
        # GDB asks with an empty X packet whether there are any.
        return self.fault is not LinkFault.LATE or (kind in _WRITES and not packet.endswith(b":"))


class BadLink:
    """What faults of the link do to one client's packets."""

    def __init__(self) -> None:
        self._error_waits = False

    def carry(
        self,
        faults: Iterable[PacketFault],
        packet: bytes,
        kind: str,
        answer: Callable[[bytes], bytes | None],
        cut: Callable[[], None],
        wait: Callable[[float | None], None],
    ) -> bytes | None:
        """Have a packet answered; cut resets the connection, wait lets seconds pass, None: all of them."""
        struck = [each for each in faults if each.strikes(kind, packet)]
        what = {each.fault for each in struck}
        if LinkFault.DROP in what:
            cut()
        if LinkFault.ERROR in what:
            reply: bytes | None = BUS_ERROR
        elif LinkFault.LATE in what:
            self._error_waits = True
            reply = OK
        else:
            reply = answer(packet)
        if self._error_waits and kind in _WRITES and LinkFault.LATE not in what:
            self._error_waits = False
            reply = BUS_ERROR
        if LinkFault.CORRUPT in what and reply:
            reply = corrupted(kind, reply)
        for each in struck:
            if each.fault is LinkFault.STALL:
                wait(each.seconds)
        return reply


def corrupted(kind: str, reply: bytes) -> bytes:
    """Flip the lowest bit of the middle byte of the data that a read of memory answers; an error stays one."""
    if reply.startswith(b"E"):
        return reply
    data = bytearray(bytes.fromhex(reply.decode("ascii")) if kind == "m" else unescape(reply[1:]))
    if not data:
        return reply
    data[len(data) // 2] ^= 1
    return data.hex().encode() if kind == "m" else b"b" + escape(bytes(data))
