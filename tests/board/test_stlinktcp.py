"""The stlink-server protocol on a socket."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from gdbflash.board.faces.stlinktcp import LinkFailure, StlinkLink, StlinkServer
from tests.support.debugport import RecordingPort

GET_MODE = b"\xf5".ljust(16, b"\0")
ENTER_SWD = b"\xf2\x30\xa3".ljust(16, b"\0")
READ_DHCSR = bytes.fromhex("f236f0ed00e0").ljust(16, b"\0")
WRITE, READ, READ_TRACE = 0, 1, 3


class Client:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.connection = 0

    def ask(self, request: bytes, size: int) -> bytes:
        self.socket.sendall(request)
        return self.receive(size)

    def receive(self, size: int) -> bytes:
        reply = b""
        while len(reply) < size and (chunk := self.socket.recv(size - len(reply))):
            reply += chunk
        return reply

    def open(self) -> Client:
        status, self.connection = struct.unpack("<II", self.ask(bytes.fromhex("03000000 01000000"), 8))
        assert status == 1
        return self

    def usb(self, command: bytes, direction: int, size: int, data: bytes = b"") -> bytes:
        header = struct.pack("<B3xI16sB3xI", 5, self.connection, command, direction, size)
        return self.ask(header + data, 4 if direction == WRITE else 4 + size)

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def server() -> Iterator[StlinkServer]:
    with StlinkServer(RecordingPort()) as running:
        yield running


@pytest.fixture
def client(server: StlinkServer) -> Iterator[Client]:
    connected = Client(server.port)
    yield connected
    connected.close()


def test_enumeration(client: Client) -> None:
    assert client.ask(b"\x06\x01\0\0", 16) == struct.pack("<4I", 3, 2, 1, 1)
    assert client.ask(b"\x00\x00", 4).hex() == "01000000"
    assert client.ask(b"\x01", 4).hex() == "01000000"
    info = client.ask(bytes.fromhex("02000000 29000000"), 45)
    assert info[:8].hex() == "0100000001000000"
    assert info[8:40] == b"00476442464C415348303031".ljust(32, b"\0")
    assert info[40:].hex() == "83044f3700"


def test_there_is_one_device(client: Client) -> None:
    assert client.ask(bytes.fromhex("02010000 29000000"), 45)[:4].hex() == "02100000"
    assert client.ask(bytes.fromhex("03000000 02000000"), 8).hex() == "0210000000000000"


def test_usb_command_and_close(client: Client) -> None:
    client.open()
    assert client.usb(GET_MODE, READ, 2).hex() == "01000000 0100".replace(" ", "")
    assert client.usb(ENTER_SWD, READ, 2).hex() == "010000008000"
    write = bytes.fromhex("f20800000020 0400").ljust(16, b"\0")
    assert client.usb(write, WRITE, 4, b"\x0d\xf0\xfe\xca").hex() == "01000000"
    read = bytes.fromhex("f20700000020 0400").ljust(16, b"\0")
    assert client.usb(read, READ, 4).hex() == "010000000df0feca"
    assert client.ask(struct.pack("<B3xI", 4, client.connection), 4).hex() == "01000000"


def test_trace_is_silent(client: Client) -> None:
    assert client.open().usb(bytes(16), READ_TRACE, 8).hex() == "01000000" + "00" * 8


def test_a_connection_that_was_not_opened(client: Client) -> None:
    assert client.usb(GET_MODE, READ, 2).hex() == "021000000000"


def test_a_request_in_pieces(client: Client) -> None:
    client.open()
    frame = struct.pack("<B3xI16sB3xI", 5, client.connection, GET_MODE, READ, 2)
    for at in range(len(frame)):
        client.socket.sendall(frame[at : at + 1])
    assert client.receive(6).hex() == "010000000100"


def test_an_unknown_request_ends_the_connection(client: Client) -> None:
    assert client.ask(b"GET / HTTP/1.0\r\n\r\n", 64).hex() == "53100000"


def test_an_absurd_size_ends_the_connection(client: Client) -> None:
    assert client.open().usb(GET_MODE, READ, 0x7FFFFFFF)[:4] == b""


def test_the_next_client_after_one_that_vanished(server: StlinkServer) -> None:
    first = Client(server.port).open()
    first.usb(ENTER_SWD, READ, 2)
    first.socket.sendall(struct.pack("<B3xI16sB3xI", 5, first.connection, GET_MODE, WRITE, 4096)[:20])
    first.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST, not FIN
    first.close()
    second = Client(server.port).open()
    assert second.usb(GET_MODE, READ, 2).hex() == "010000000200"  # the probe is as it was left
    second.close()


def test_two_clients_share_the_probe(server: StlinkServer) -> None:
    first, second = Client(server.port).open(), Client(server.port).open()
    assert first.connection != second.connection
    first.usb(ENTER_SWD, READ, 2)
    assert second.usb(GET_MODE, READ, 2).hex() == "010000000200"
    first.close()
    second.close()


def test_close_ends_connections_and_frees_the_port(server: StlinkServer) -> None:
    client = Client(server.port).open()
    server.close()
    assert client.receive(1) == b""
    client.close()
    socket.create_server(("127.0.0.1", server.port)).close()


def test_only_this_machine_is_served(server: StlinkServer) -> None:
    assert server._server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("failure", "reply"),
    [
        (LinkFailure.TARGET, "01000000" + "1600000000000000"),
        (LinkFailure.USB, "01100000" + "0000000000000000"),
        (LinkFailure.HANG_UP, ""),
    ],
)
def test_the_link_fails_after_some_commands(server: StlinkServer, failure: LinkFailure, reply: str) -> None:
    client = Client(server.port).open()
    client.usb(ENTER_SWD, READ, 2)
    server.link.failure = failure
    server.link.commands = 0
    server.link.fail_after = 2
    good = [client.usb(READ_DHCSR, READ, 8)[:5].hex() for _ in range(2)]
    assert good == ["0100000080"] * 2
    assert client.usb(READ_DHCSR, READ, 8).hex() == reply
    assert server.link.commands == 3
    server.link.fail_after = None
    again = Client(server.port).open()
    assert again.usb(READ_DHCSR, READ, 8)[:5].hex() == "0100000080"
    again.close()
    client.close()


def test_delays_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("gdbflash.board.faces.stlinktcp.pause", slept.append)
    link = StlinkLink(latency_us=250, kib_per_s=512)
    assert link.carry(1024) is None
    assert slept == [pytest.approx(0.00025 + 1 / 512)]


def test_a_defect_of_the_board_comes_to_light() -> None:
    class Defective(RecordingPort):
        def read_memory(self, address: int, size: int) -> bytes:  # noqa: ARG002
            raise ZeroDivisionError

    server = StlinkServer(Defective())
    client = Client(server.port).open()
    client.usb(ENTER_SWD, READ, 2)
    assert client.usb(bytes.fromhex("f20700000020 0400").ljust(16, b"\0"), READ, 4) == b""
    client.close()
    with pytest.raises(ZeroDivisionError):
        server.close()
