"""One debugger's session with the board: what each packet of the remote serial protocol means.

What belongs here: packets in, packets out, by the rules of "Debugging with GDB", appendix "GDB Remote Serial
Protocol", with the traits of a `Personality`. Framing belongs to `rsplink`, sockets and threads to `rsp`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gdbflash.board.bus import BusError
from gdbflash.board.debug import DebugPort, HaltReason
from gdbflash.board.faces.packets import (
    BUS_ERROR,
    MALFORMED,
    NO_TARGET,
    NOT_NOW,
    OK,
    UNSUPPORTED,
    Signal,
    escape,
    packet_kind,
)
from gdbflash.board.faces.personality import Action, Personality
from gdbflash.board.faces.rspdata import PACKETS_OF_DATA, DataAccess, Malformed, address_range, hex_number, split, unhex
from gdbflash.board.faces.rspflash import FlashPackets
from gdbflash.board.faces.rsplink import Link, LinkClosed
from gdbflash.board.faces.softbreak import Breakpoints
from gdbflash.board.faces.targetxml import memory_map_xml, target_xml
from gdbflash.board.mishaps.link import BadLink

# How soon an interrupt is seen while the core runs; a halt is seen at once.
_INTERRUPT_POLL_S = 0.01

_ACCESS = {b"2": "w", b"3": "r", b"4": "rw"}
_WATCH_REASON = {"w": "watch", "r": "rwatch", "rw": "awatch"}
# GDB's numbers for SIGINT, SIGTRAP and SIGSEGV (include/gdb/signals.def).
_SIGNALS = {HaltReason.REQUEST: 2, HaltReason.LOCKUP: 11}
_SIGTRAP = 5
# Attaching and starting end with a trap, whatever halted the core.
_FRESH = b"T05thread:1;"


class Session:
    """Serve one client over a link until it leaves.

    Attributes that tell how it went: extended (the client said "!").
    """

    def __init__(self, port: DebugPort, link: Link, personality: Personality) -> None:
        self._port = port
        self._link = link
        self._bad_link = BadLink()
        self._traits = personality
        self._breakpoints = Breakpoints(port)
        self._attached = not personality.attach_needed
        self._scanned = False
        self._under_reset = False
        self._over = False
        self._client_takes: frozenset[str] = frozenset()
        self.extended = False
        self._data = DataAccess(port, self._breakpoints, personality)
        self._flash = FlashPackets(port, personality)
        self._documents = {
            b"features:target.xml": target_xml(personality.registers).encode(),
            b"memory-map:": memory_map_xml(personality.memory_map).encode(),
            b"threads:": b'<?xml version="1.0"?><threads><thread id="1" name="Cortex-M7"/></threads>',
        }

    def serve(self) -> None:
        """Answer packets until the client disconnects or kills; breakpoints are taken away at the end."""
        try:
            if self._attached:
                self._port.halt()
            while not self._over:
                event = self._link.receive()
                reply = self._interrupt() if isinstance(event, Signal) else self._carry(event)
                if reply is not None:
                    self._link.send(reply)
        except LinkClosed:
            pass  # Clients may leave without a word; that is the end of a session and no error.
        finally:
            self._breakpoints.clear_all()

    def _carry(self, packet: bytes) -> bytes | None:
        """Answer a packet as well as the link lets it through."""
        link = self._link
        if not link.faults:
            return self.answer(packet)
        return self._bad_link.carry(link.faults, packet, packet_kind(packet), self.answer, link.reset, link.stall)

    def answer(self, packet: bytes) -> bytes | None:
        """Do what a packet asks and give the reply; None where there is none, empty where it is not supported."""
        if len(packet) > self._traits.packet_size:
            return MALFORMED
        letter, body = packet[:1], packet[1:]
        try:
            if letter in PACKETS_OF_DATA or letter in _POINTS:
                if not self._attached:
                    return NO_TARGET
                return self._point(letter, body) if letter in _POINTS else PACKETS_OF_DATA[letter](self._data, body)
            act = _PACKETS.get(letter)
            return UNSUPPORTED if act is None else act(self, body)
        except Malformed:
            return MALFORMED
        except BusError:
            return BUS_ERROR

    # Breakpoints

    def _point(self, letter: bytes, body: bytes) -> bytes:
        wanted = letter == b"Z"
        kind, place = split(body, b",")
        # Conditions and commands, which GDB sends only to stubs that claim to know them, come after a semicolon.
        address, size = address_range(place.split(b";")[0])
        points = self._breakpoints
        if kind in _ACCESS:
            (points.set_watchpoint if wanted else points.clear_watchpoint)(address, size, _ACCESS[kind])
        elif kind == b"1":
            (points.set_comparator if wanted else points.clear_comparator)(address & ~1)
        elif kind == b"0" and self._traits.software_breakpoints:
            (points.set_software if wanted else points.clear_software)(address & ~1)
        else:
            return UNSUPPORTED
        return OK

    # Running

    def _continue(self, body: bytes) -> bytes:
        if not self._attached:
            return b"X1D"
        if body:
            self._port.write_register("pc", hex_number(body))
        if self._port.halted is not None:
            self._port.resume()
        self._wait()
        return self._stop_reply()

    def _step(self, body: bytes) -> bytes:
        if not self._attached:
            return b"X1D"
        if body:
            self._port.write_register("pc", hex_number(body))
        if self._port.halted is None:
            self._wait()
        else:
            self._port.step()
        return self._stop_reply()

    def _continue_with_signal(self, body: bytes) -> bytes:
        return self._continue(body.partition(b";")[2])

    def _step_with_signal(self, body: bytes) -> bytes:
        return self._step(body.partition(b";")[2])

    def _wait(self) -> None:
        """Wait until the core halts, by itself or because the client wants it."""
        if self._traits.poll_ms is not None:
            while self._port.halted is None:
                time.sleep(self._traits.poll_ms / 1000)
                if self._link.interrupted():
                    self._port.halt()
            return
        while self._port.wait_halted(_INTERRUPT_POLL_S) is None:
            if self._link.interrupted():
                self._port.halt()

    def _interrupt(self) -> bytes | None:
        """Halt a core that runs though nobody waits for it; for a halted one, the stop was reported already."""
        if not self._attached or self._port.halted is not None:
            return None
        self._port.halt()
        return self._stop_reply()

    def _stop_reply(self, _: bytes = b"") -> bytes:
        if not self._attached:
            return b"W00"
        reason = self._port.halted
        if reason is None:  # Somebody let it run behind the client's back; a client that asks wants it halted.
            self._port.halt()
            reason = HaltReason.REQUEST
        if self._traits.stops_are_alike:
            return b"S05"
        return f"T{_SIGNALS.get(reason, _SIGTRAP):02x}{self._cause(reason)}thread:1;".encode()

    def _cause(self, reason: HaltReason) -> str:
        if reason is HaltReason.WATCHPOINT:
            hit = self._breakpoints.only_watchpoint()
            return f"{_WATCH_REASON[hit[1]]}:{hit[0]:08x};" if hit else ""
        if reason is HaltReason.BREAKPOINT:
            # A BKPT of the program itself is neither: GDB would take it for a breakpoint removed meanwhile and go on.
            kind = self._breakpoints.kind_at(self._port.read_register("pc"))
            return f"{kind}:;" if kind in self._client_takes and f"{kind}+" in self._traits.features else ""
        return ""

    # Attaching and leaving

    def _extended(self, _: bytes) -> bytes:
        self.extended = True
        return OK

    def _detach(self, _: bytes) -> bytes:
        if not self._traits.detach:
            return UNSUPPORTED
        self._breakpoints.clear_all()
        if self._attached and self._port.halted is not None:
            self._port.resume()
        self._attached = not self._traits.attach_needed
        return self._traits.detach.encode()

    def _kill(self, _: bytes) -> None:
        if self._traits.attach_needed:
            if self._attached:
                self._port.reset(halt=False)
            self._attached = False
        elif self._traits.kill_closes:
            self._over = True

    def _restart(self, _: bytes) -> None:
        if self._attached:
            self._port.reset(halt=True)

    def _attach(self, body: bytes) -> bytes:
        if self._traits.attach_needed and not (self._scanned and hex_number(body) == 1):
            return BUS_ERROR
        self._attached = True
        if self._under_reset:
            self._port.reset(halt=True)
        else:
            self._port.halt()
        return _FRESH

    def _run(self, _: bytes) -> bytes:
        if not self._attached:
            return BUS_ERROR
        self._port.reset(halt=True)
        return _FRESH

    # Families of packets

    def _verbose(self, body: bytes) -> bytes | None:
        if body == b"Cont?":
            return b"vCont;c;C;s;S;t" if self._traits.vcont else UNSUPPORTED
        if body.startswith(b"Cont;") and self._traits.vcont:
            # There is one thread: the first action is for it.
            action = body[5:].partition(b";")[0].partition(b":")[0]
            act = {b"c": self._continue, b"C": self._continue, b"s": self._step, b"S": self._step}.get(action[:1])
            return self._stop_reply() if action == b"t" else act(b"") if act else MALFORMED
        if body.startswith(b"Flash"):
            return self._flash.answer(body[5:]) if self._attached else NO_TARGET
        name, _, rest = body.partition(b";")
        if name == b"Attach":
            return self._attach(rest)
        if name == b"Run":
            return self._run(rest)
        return OK if name == b"Kill" and not self._traits.attach_needed else UNSUPPORTED

    def _query(self, body: bytes) -> bytes | None:
        for name, act in _QUERIES:
            if body.startswith(name):
                return act(self, body[len(name) :])
        if not self._traits.threads:
            return UNSUPPORTED
        return _FIXED_QUERIES.get(body, UNSUPPORTED)

    def _supported(self, body: bytes) -> bytes:
        said = body.decode("latin-1").lstrip(":").split(";")
        self._client_takes = frozenset(feature[:-1] for feature in said if feature.endswith("+"))
        return self._traits.qsupported().encode()

    def _transfer(self, body: bytes) -> bytes:
        """Give a piece of a document: object:read:annex:offset,length."""
        name, _, rest = body.partition(b":read:")
        annex, _, place = rest.rpartition(b":")
        document = self._documents.get(name + b":" + annex)
        if document is None or f"qXfer:{name.decode('latin-1')}:read+" not in self._traits.features:
            return UNSUPPORTED
        if not self._attached:
            return BUS_ERROR
        offset, size = address_range(place)
        piece = document[offset : offset + size]
        return (b"l" if offset + size >= len(document) else b"m") + escape(piece)

    def _set(self, body: bytes) -> bytes:
        if body == b"StartNoAckMode" and self._traits.no_ack:
            # The reply to this one is acknowledged no more; GDB sends its last + itself.
            self._link.no_ack = True
            return OK
        if body.startswith(b"NonStop:") and "QNonStop+" in self._traits.features:
            # GDB asks for all-stop even where it is the only mode; the other one has no use on one core.
            return OK if body == b"NonStop:0" else NOT_NOW
        return UNSUPPORTED

    def _set_thread(self, body: bytes) -> bytes:
        return OK if body[1:] in (b"", b"0", b"1", b"-1") else MALFORMED

    def _thread_alive(self, body: bytes) -> bytes:
        return OK if hex_number(body) == 1 else MALFORMED

    def _crc(self, body: bytes) -> bytes:
        if not self._traits.crc:
            return UNSUPPORTED
        return self._data.crc(body) if self._attached else NO_TARGET

    # Monitor commands

    def _monitor(self, body: bytes) -> bytes:
        line = unhex(body).decode("utf-8", "replace")
        command = self._traits.command(line)
        text = self._traits.monitor_unknown_text.format(line=line) if command is None else command.text
        if command is not None:
            self._do(command.action)
        if text:
            self._print(text)
        return OK if command is not None else self._traits.monitor_unknown.encode()

    def _print(self, text: str) -> None:
        """Show text on GDB's console, in as many packets as it needs."""
        data = text.encode()
        size = self._traits.packet_size // 2 - 1
        for start in range(0, len(data), size):
            self._link.send(b"O" + data[start : start + size].hex().encode())

    def _do(self, action: Action) -> None:
        """Do what a monitor command asks for."""
        if action is Action.RESET_RUN:
            self._port.reset(halt=False)
        elif action is Action.RESET_HALT:
            self._port.reset(halt=True)
        elif action is Action.HALT:
            self._port.halt()
        elif action is Action.RESUME:
            if self._port.halted is not None:
                self._port.resume()
        elif action is Action.SCAN:
            self._scanned = True
        elif action is Action.RESET_DETACH:
            self._breakpoints.clear_all()
            self._attached = self._scanned = False
            self._port.reset(halt=False)
        elif action in (Action.CONNECT_UNDER_RESET, Action.CONNECT_RUNNING):
            self._under_reset = action is Action.CONNECT_UNDER_RESET


_Act = Callable[[Session, bytes], "bytes | None"]

_PACKETS: dict[bytes, _Act] = {
    b"!": Session._extended,
    b"?": Session._stop_reply,
    b"C": Session._continue_with_signal,
    b"D": Session._detach,
    b"H": Session._set_thread,
    b"Q": Session._set,
    b"R": Session._restart,
    b"S": Session._step_with_signal,
    b"T": Session._thread_alive,
    b"c": Session._continue,
    b"k": Session._kill,
    b"q": Session._query,
    b"s": Session._step,
    b"v": Session._verbose,
}
_POINTS = frozenset({b"Z", b"z"})
_QUERIES: tuple[tuple[bytes, _Act], ...] = (
    (b"Supported", Session._supported),
    (b"Xfer:", Session._transfer),
    (b"Rcmd,", Session._monitor),
    (b"CRC:", Session._crc),
)
_FIXED_QUERIES = {
    b"Attached": b"1",
    b"C": b"QC1",
    b"fThreadInfo": b"m1",
    b"sThreadInfo": b"l",
    b"Symbol::": OK,
}
