"""GDB servers that mean no good: one that says what it likes, and one that spoils what a real board says."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from gdbflash.board.faces.packets import PacketReader, Signal, escape, frame

LINES = (b"", b"OK", b"E01", b"E.no", b"l", b"m", b"m1", b"QC1", b"1", b"-1", b"}", b"*", b"0*~" * 900, b"x0")
STOPS = (b"S05", b"T05", b"T0", b"T05thread:1;", b"T05thread:p-1.-1;", b"T05watch:zz;", b"W00", b"X0b", b"N", b"w0;1")
SPEECH = (b"O48656c6c6f0a", b"Ozz", b"O" + b"1b5b324a" * 3000, b"O", b"Q" * 70000)
NOISE = (*LINES, *STOPS, *SPEECH, b"Stop:T05thread:1;", b"vCont;c", b"QuickBrownFox", bytes(range(128, 256)))

Spoil = Callable[[bytes], bytes]
"""Makes the bytes that go to the client of the payload that the board answered."""


class Conversation(threading.Thread):
    """Serves one connection after the other until the listener is closed; `heard` has all that clients sent."""

    def __init__(self, listener: socket.socket, talk: Callable[[socket.socket, Conversation], None]) -> None:
        super().__init__(daemon=True)
        self.heard = bytearray()
        self.over = threading.Event()
        self._listener = listener
        self._talk = talk
        self.port = int(listener.getsockname()[1])

    def run(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(0.05)
            with connection, contextlib.suppress(OSError):
                self._talk(connection, self)

    def hear(self, connection: socket.socket) -> bytes | None:
        """Take what has come; None when the client has gone."""
        try:
            data = connection.recv(1 << 16)
        except TimeoutError:
            return b""
        self.heard += data
        return data or None


@contextmanager
def conversing(talk: Callable[[socket.socket, Conversation], None]) -> Iterator[Conversation]:
    """Run a server that talks so to each client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = Conversation(listener, talk)
        running.start()
        try:
            yield running
        finally:
            running.over.set()
            listener.shutdown(socket.SHUT_RDWR)
            running.join()


def saying(*pieces: bytes, hang_up: bool = False, for_ever: bool = False) -> Callable[..., None]:
    """Say pieces, one for each thing heard, then nothing more, or hang up, or begin anew."""

    def talk(connection: socket.socket, running: Conversation) -> None:
        rest = list(pieces)
        while not running.over.is_set():
            data = running.hear(connection)
            if data is None:
                return
            if data and rest:
                connection.sendall(rest.pop(0))
            if not rest and hang_up:
                return
            if not rest and for_ever:
                rest = list(pieces)

    return talk


def flooding(piece: bytes) -> Callable[..., None]:
    """Say one thing for ever, as fast as it is taken."""

    def talk(connection: socket.socket, running: Conversation) -> None:
        while not running.over.is_set():
            with contextlib.suppress(TimeoutError):
                connection.sendall(piece)

    return talk


def spoiling(board_port: int, spoil: Spoil, until: Sequence[bytes] = (), then: bytes = b"") -> Callable[..., None]:
    """Pass everything on to a board and back, its answers spoiled.

    until, then: once a client says one of the first, say the second for ever.
    """

    def talk(connection: socket.socket, running: Conversation) -> None:
        reader = PacketReader()
        with socket.create_connection(("127.0.0.1", board_port)) as board:
            board.settimeout(0.001)
            connection.settimeout(0.001)
            while not running.over.is_set():
                data = running.hear(connection)
                if data is None:
                    return
                if any(each in data for each in until):
                    flooding(then)(connection, running)
                board.sendall(data)
                try:
                    answered = board.recv(1 << 16)
                except TimeoutError:
                    continue
                if not answered:
                    return
                for event in reader.feed(answered):
                    if isinstance(event, bytes):
                        connection.settimeout(5)
                        connection.sendall(spoil(event))
                        connection.settimeout(0.001)
                    elif event is Signal.ACK:
                        connection.sendall(b"+")

    return talk


class Spoiler:
    """Spoils one answer in so many, by chance that can be repeated."""

    def __init__(self, seed: int, one_in: int, *, silent: bool = False) -> None:
        self._chance = random.Random(seed)
        self._one_in = one_in
        self._ways = [self._flip, self._cut, self._lengthen, self._replace, self._repeat, self._miscount]
        if silent:
            self._ways.append(lambda _: b"")
        self.spoiled = 0

    def __call__(self, payload: bytes) -> bytes:
        if self._chance.randrange(self._one_in):
            return frame(payload)
        self.spoiled += 1
        return self._chance.choice(self._ways)(payload)

    def _flip(self, payload: bytes) -> bytes:
        data = bytearray(payload or b"x")
        data[self._chance.randrange(len(data))] = self._chance.choice(b"0123456789abcdefE;:,zOTml%\xff")
        return frame(bytes(data))

    def _cut(self, payload: bytes) -> bytes:
        return frame(payload[: self._chance.randrange(len(payload) + 1)])

    def _lengthen(self, payload: bytes) -> bytes:
        return frame(payload + self._chance.choice(NOISE))

    def _replace(self, _: bytes) -> bytes:
        return frame(self._chance.choice(NOISE))

    def _repeat(self, payload: bytes) -> bytes:
        return frame(payload) * self._chance.randint(2, 4)

    def _miscount(self, payload: bytes) -> bytes:
        return b"$" + payload + b"#" + self._chance.choice((b"00", b"zz", b"#", b""))


class Offer:
    """Answers as a server of a Linux machine does that has a program for GDB to read: an ELF file of our making."""

    features = b";qXfer:exec-file:read+;qXfer:libraries:read+"

    def __init__(self, program: bytes) -> None:
        self._program = program

    def spoil(self, payload: bytes) -> bytes:
        """Claim to have more than the board has."""
        return frame(payload + self.features if payload.startswith(b"PacketSize=") else payload)

    def answer(self, packet: bytes) -> bytes | None:
        """Answer what the board is not asked; None for all else. Packets as in GDB's Host I/O Packets."""
        if packet.startswith(b"qXfer:exec-file:read:"):
            return b"l/tmp/evil.elf"
        if packet.startswith(b"qXfer:libraries"):
            return b'l<library-list><library name="/tmp/evil.elf"><segment address="0x0"/></library></library-list>'
        if packet.startswith(b"vFile:pread:"):
            _, count, offset = (int(each, 16) for each in packet.removeprefix(b"vFile:pread:").split(b","))
            piece = self._program[offset : offset + min(count, 4096)]
            return b"F%x;" % len(piece) + escape(piece)
        if packet.startswith(b"vFile:fstat:"):
            mode, size = (0o100755).to_bytes(4, "big"), len(self._program).to_bytes(8, "big")
            return b"F40;" + escape(bytes(8) + mode + bytes(16) + size + bytes(28))
        if packet.startswith(b"vFile:"):
            return b"F5" if packet.startswith(b"vFile:open:") else b"F0"
        return None


def offering(board_port: int, offer: Offer) -> Callable[..., None]:
    """Pass packets on to a board, but those that an offer answers."""

    def talk(connection: socket.socket, running: Conversation) -> None:
        asked, answered = PacketReader(), PacketReader()
        acknowledges = True
        with socket.create_connection(("127.0.0.1", board_port)) as board:
            while not running.over.is_set():
                data = running.hear(connection)
                if data is None:
                    return
                for packet in asked.feed(data):
                    if not isinstance(packet, bytes):
                        continue
                    connection.sendall(b"+" if acknowledges else b"")
                    answer = offer.answer(packet)
                    if answer is not None:
                        connection.sendall(frame(answer))
                        continue
                    board.sendall(frame(packet))
                    for payload in _answers(board, answered) if packet[:1] != b"k" else ():
                        connection.sendall(offer.spoil(payload))
                    acknowledges &= packet != b"QStartNoAckMode"

    return talk


def _answers(board: socket.socket, reader: PacketReader) -> Iterator[bytes]:
    """Yield what a board answers to one packet: text of a monitor command, if any, and the last word."""
    while True:
        for event in reader.feed(board.recv(1 << 16)):
            if isinstance(event, bytes):
                board.sendall(b"+")
                yield event
                if event[:1] != b"O" or event == b"OK":
                    return
