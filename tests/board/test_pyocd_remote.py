"""The protocol of pyOCD's remote probe on a socket."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gdbflash.board.coresight.dap import DPIDR, POWER_UP, STICKYERR
from gdbflash.board.faces.pyocd_remote import PyocdProbeServer
from gdbflash.board.faces.stlinktcp import LinkFailure
from tests.support.debugport import RecordingPort

RAM = 0x20000000
NOWHERE = 0x10000000
CTRL_STAT = 0x04
CSW, TAR, DRW, IDR = 0x00, 0x04, 0x0C, 0xFC
FAULT = 12


class Client:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self._received = self.socket.makefile("rb")
        self._number = 0

    def line(self, line: bytes) -> Any:
        self.socket.sendall(line)
        return json.loads(self._received.readline() or b"null")

    def ask(self, request: str, *arguments: object) -> Any:
        """Give the result, or status and error of a request that failed."""
        self._number += 1
        asked = {"id": self._number, "request": request, **({"arguments": arguments} if arguments else {})}
        answer = self.line(json.dumps(asked).encode() + b"\n")
        assert answer["id"] == self._number
        return answer.get("result") if answer["status"] == 0 else (answer["status"], answer["error"])

    def power_up(self) -> Client:
        assert self.ask("write_dp", CTRL_STAT, POWER_UP) is None
        return self

    def close(self) -> None:
        self._received.close()
        self.socket.close()


@pytest.fixture
def board() -> RecordingPort:
    return RecordingPort((RAM, 0x20000), (0xE000E000, 0x1000))


@pytest.fixture
def server(board: RecordingPort) -> Iterator[PyocdProbeServer]:
    with PyocdProbeServer(board) as running:
        yield running


@pytest.fixture
def client(server: PyocdProbeServer) -> Iterator[Client]:
    connected = Client(server.port)
    yield connected
    connected.close()


def test_a_session_begins_and_ends(client: Client) -> None:
    assert client.ask("hello", 1) is None
    assert client.ask("readprop", "supported_wire_protocols") == ["DEFAULT", "SWD"]
    assert client.ask("readprop", "wire_protocol") == "SWD"
    assert client.ask("readprop", "capabilities") == [
        "BANKED_DP_REGISTERS",
        "MANAGED_AP_SELECTION",
        "MANAGED_DPBANKSEL",
    ]
    for words in (("open",), ("connect", "DEFAULT"), ("set_clock", 4000000), ("flush",), ("disconnect",), ("close",)):
        assert client.ask(*words) is None


def test_debug_port_and_access_ports(client: Client) -> None:
    assert client.ask("read_dp", 0) == DPIDR
    assert client.ask("read_dp", 0x24) == 0x04500041  # TARGETID, in bank 2
    assert client.ask("read_ap", IDR) == (FAULT, "the debug domain has no power")
    client.power_up()
    assert client.ask("read_ap", IDR) == 0x84770001
    assert client.ask("read_ap", 2 << 24 | IDR) == 0x54770002
    client.ask("write_ap", CSW, 0x23000012)
    client.ask("write_ap", TAR, RAM)
    assert client.ask("write_ap_multiple", DRW, [0x11223344, 0x55667788]) is None
    client.ask("write_ap", TAR, RAM)
    assert client.ask("read_ap_multiple", DRW, 2) == [0x11223344, 0x55667788]


def test_a_fault_stays_until_it_is_cleared(client: Client) -> None:
    client.power_up().ask("write_ap", TAR, NOWHERE)
    assert client.ask("read_ap", DRW) == (FAULT, "the bus answered with an error")
    assert client.ask("read_dp", CTRL_STAT) & STICKYERR
    assert client.ask("read_ap", IDR) == (FAULT, "an earlier error is not cleared")
    client.ask("write_dp", 0, 1 << 2)
    assert client.ask("read_ap", IDR) == 0x84770001


def test_memory_by_handles(client: Client, board: RecordingPort) -> None:
    client.power_up()
    assert [client.ask("get_memory_interface_for_ap", 1, number) for number in (0, 1, 2, 3)] == [0, 1, 2, None]
    assert client.ask("get_memory_interface_for_ap", 2, 0) is None
    client.ask("write_block32", 0, RAM, [0x11223344, 0x55667788])
    client.ask("write_block8", 0, RAM + 8, [1, 2, 3])
    client.ask("write_mem", 0, RAM + 11, 0xFE, 8)
    client.ask("write_mem", 0, RAM + 12, 0xBEEF, 16)
    assert client.ask("read_block8", 0, RAM + 6, 8) == [0x66, 0x55, 1, 2, 3, 0xFE, 0xEF, 0xBE]
    assert client.ask("read_block32", 0, RAM, 2) == [0x11223344, 0x55667788]
    assert client.ask("read_mem", 0, RAM + 4, 32) == 0x55667788
    assert client.ask("read_mem", 0, RAM + 12, 16) == 0xBEEF
    board.accesses.clear()
    assert client.ask("read_block8", 0, RAM, 0) == []
    assert client.ask("write_block32", 0, RAM, []) is None
    assert board.accesses == []


@pytest.mark.parametrize(
    "words",
    [
        ("read_mem", 0, NOWHERE, 32),
        ("write_mem", 0, NOWHERE, 0, 8),
        ("read_block32", 0, NOWHERE, 4),
        ("write_block32", 0, NOWHERE, [0, 0]),
        ("read_block8", 0, NOWHERE, 3),
        ("write_block8", 0, NOWHERE, [0]),
        ("read_block32", 7, RAM, 1),
    ],
)
def test_memory_that_cannot_be_reached_is_a_fault_of_that_access_alone(client: Client, words: tuple[Any, ...]) -> None:
    client.power_up()
    said = "no such access port" if words[1] else f"bus error at 0x{NOWHERE:08X}"
    assert client.ask(*words) == (FAULT, said)
    assert client.ask("read_mem", 0, RAM, 32) == 0


def test_nrst(client: Client, board: RecordingPort) -> None:
    assert client.ask("is_reset_asserted") is False
    assert client.ask("assert_reset", True) is None
    assert client.ask("is_reset_asserted") is True
    assert client.ask("assert_reset", 0) is None  # pyOCD sends numbers, too
    assert client.ask("is_reset_asserted") is False
    assert board.halted is None
    board.calls.clear()
    assert client.ask("reset") is None
    assert board.calls[0] == "reset halt"
    assert board.halted is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("hello", 2), (1, "protocol version 2 is not spoken here, 1 is")),
        (("readprop", "colour"), (1, "unknown property 'colour'")),
        (("readprop", 1), (1, "1 is no text")),
        (("connect", "JTAG"), (3, "the board is wired for SWD, not for JTAG")),
        (("swo_read",), (1, "unknown request 'swo_read'")),
        (("_lock",), (1, "unknown request '_lock'")),
        (("read_dp",), (1, "read_dp takes 1 arguments")),
        (("read_dp", "0"), (1, "0 is no number from 0 to 4294967295")),
        (("read_dp", True), (1, "True is no number from 0 to 4294967295")),
        (("write_dp", 4, 1 << 32), (1, "4294967296 is no number from 0 to 4294967295")),
        (("assert_reset", 2), (1, "2 is neither true nor false")),
        (("read_block32", 0, RAM + 2, 1), (1, "0x20000002 is no multiple of 4")),
        (("read_block32", 0, RAM, 1 << 30), (1, "1073741824 is no number from 0 to 65536")),
        (("write_block8", 0, RAM, [256]), (1, "256 is no number from 0 to 255")),
        (("write_block8", 0, RAM, 1), (1, "data is a list of at most 65536 numbers")),
        (("read_mem", 0, RAM + 1, 16), (1, "0x20000001 is no multiple of 2")),
        (("read_mem", 0, RAM, 64), (1, "an access has 8, 16 or 32 bits, not 64")),
        (("write_mem", 0, RAM, 256, 8), (1, "256 has more than 8 bits")),
        (("unlock",), (1, "it is not locked")),
    ],
)
def test_a_wrong_request_is_told_and_the_next_is_served(client: Client, words: tuple[Any, ...], said: object) -> None:
    assert client.power_up().ask(*words) == said
    assert client.ask("read_mem", 0, RAM, 32) == 0


@pytest.mark.parametrize(
    ("line", "number", "error"),
    [
        (b"nonsense\n", -1, "the request is no JSON"),
        (b"\xff\xfe\n", -1, "the request is no JSON"),
        (b"[" * 100000 + b"\n", -1, "the request is no JSON"),
        (b"[1]\n", -1, "the request is no object with an id"),
        (b'{"request": "open"}\n', -1, "the request is no object with an id"),
        (b'{"id": 7}\n', 7, "unknown request None"),
        (b'{"id": 8, "request": ["open"]}\n', 8, "unknown request ['open']"),
        (b'{"id": 9, "request": "open", "arguments": {}}\n', 9, "open takes 0 arguments"),
    ],
)
def test_a_line_that_is_no_request(client: Client, line: bytes, number: int, error: str) -> None:
    assert client.line(line) == {"id": number, "status": 1, "error": error}
    assert client.ask("read_dp", 0) == DPIDR


def test_a_line_without_end_ends_the_connection(client: Client) -> None:
    assert client.line(b" " * (1 << 20)) is None


def test_the_next_client_after_one_that_vanished(server: PyocdProbeServer) -> None:
    first = Client(server.port).power_up()
    first.ask("lock")
    first.ask("lock")
    first.socket.sendall(b'{"id": 1, "request": "read_')
    first.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST, not FIN
    first.close()
    second = Client(server.port)
    assert second.ask("read_ap", IDR) == 0x84770001  # the probe is as it was left, and nobody's
    second.close()


def test_two_clients_share_the_probe_unless_one_has_it_locked(server: PyocdProbeServer) -> None:
    first, second = Client(server.port).power_up(), Client(server.port)
    assert second.ask("read_ap", IDR) == 0x84770001
    first.ask("lock")
    answers: list[object] = []
    waiting = threading.Thread(target=lambda: answers.append(second.ask("read_dp", 0)))
    waiting.start()
    waiting.join(0.1)
    assert answers == []
    assert first.ask("read_dp", 0) == DPIDR
    first.ask("unlock")
    waiting.join(10)
    assert answers == [DPIDR]
    first.close()
    second.close()


@pytest.mark.parametrize(
    ("failure", "answer"),
    [
        (LinkFailure.TARGET, (10, "the probe lost its target")),
        (LinkFailure.USB, (2, "the server lost its probe")),
        (LinkFailure.HANG_UP, None),
    ],
)
def test_the_link_fails_after_some_accesses(
    server: PyocdProbeServer, failure: LinkFailure, answer: tuple[int, str] | None
) -> None:
    client = Client(server.port).power_up()
    server.link.failure, server.link.commands, server.link.fail_after = failure, 0, 1
    assert client.ask("read_dp", 0) == DPIDR
    assert client.ask("flush") is None  # it does not go to the target
    if answer is None:
        assert client.line(b'{"id": 1, "request": "read_dp", "arguments": [0]}\n') is None
    else:
        assert client.ask("read_dp", 0) == answer
    assert server.link.commands == 2
    server.link.fail_after = None
    again = Client(server.port)
    assert again.ask("read_ap", IDR) == 0x84770001
    again.close()
    client.close()


def test_the_link_takes_its_time_for_the_data(client: Client, server: PyocdProbeServer) -> None:
    sizes: list[int] = []
    server.link.carry = sizes.append  # type: ignore[assignment, method-assign]
    client.power_up()
    client.ask("read_block32", 0, RAM, 3)
    client.ask("write_block8", 0, RAM, [1, 2])
    client.ask("read_ap_multiple", IDR, 2)
    assert sizes == [0, 12, 2, 8]


def test_close_ends_connections_and_frees_the_port(server: PyocdProbeServer) -> None:
    client, waiting = Client(server.port), Client(server.port)
    client.ask("lock")
    waiting.socket.sendall(b'{"id": 1, "request": "flush"}\n')
    server.close()
    assert client.line(b"") is None
    client.close()
    waiting.close()
    socket.create_server(("127.0.0.1", server.port)).close()


def test_a_defect_of_the_board_comes_to_light() -> None:
    class Defective(RecordingPort):
        def read_memory(self, address: int, size: int) -> bytes:  # noqa: ARG002
            raise ZeroDivisionError

    server = PyocdProbeServer(Defective())
    client = Client(server.port).power_up()
    assert client.line(b'{"id": 1, "request": "read_mem", "arguments": [0, 536870912, 32]}\n') is None
    client.close()
    with pytest.raises(ZeroDivisionError):
        server.close()
