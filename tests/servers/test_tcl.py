"""OpenOCD's Tcl port, as a double that misbehaves in every way plays it."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from gdbflash.errors import CommandRefused, ConnectionLost, ServerMissing
from gdbflash.servers import tcl
from gdbflash.servers.tcl import TclPort, find

Answer = Callable[[bytes], bytes]


@contextmanager
def answering(answer: Answer, host: str = "127.0.0.1") -> Iterator[tuple[int, list[bytes]]]:
    """Serve one client: each command goes to answer, and what it gives is sent as it is; empty hangs up.

    Yields the port and the commands received so far.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    received: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            rest = b""
            while chunk := connection.recv(4096):
                *commands, rest = (rest + chunk).split(b"\x1a")
                for command in commands:
                    received.append(command)
                    reply = answer(command)
                    if not reply:
                        return
                    try:
                        connection.sendall(reply)
                    except OSError:
                        return

    with socket.create_server((host, 0), family=family) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1], received
        finally:
            with closing(socket.socket(family)) as last:  # wakes an accept that nobody came for
                last.connect_ex(listener.getsockname()[:2])
            thread.join(5)
    assert not thread.is_alive()


def test_a_script_and_its_result() -> None:
    with (
        answering(lambda _: b"0 some result\nof lines\x1a") as (port, received),
        closing(TclPort("127.0.0.1", port)) as it,
    ):
        assert it.run("target names") == "some result\nof lines"
        assert it.run("version") == "some result\nof lines"
    assert received == [
        b'format "%d %s" [catch {target names} gdbflash_said] $gdbflash_said',
        b'format "%d %s" [catch {version} gdbflash_said] $gdbflash_said',
    ]


def test_an_ipv6_address_in_brackets() -> None:
    with answering(lambda _: b"0 \x1a", "::1") as (port, _), closing(TclPort("[::1]", port)) as it:
        assert it.run("poll") == ""


@pytest.mark.parametrize("reply", [b'1 can\'t read "x"\x1a', b"-4 \x1a"])
def test_a_script_that_fails_is_refused_and_the_port_stays_usable(reply: bytes) -> None:
    replies = iter([reply, b"0 fine\x1a"])
    with answering(lambda _: next(replies)) as (port, _), closing(TclPort("127.0.0.1", port)) as it:
        with pytest.raises(CommandRefused, match="OpenOCD refused set x: ") as caught:
            it.run("set x")
        assert caught.value.data["reply"] == reply[:-1].decode().partition(" ")[2]
        assert it.run("set y") == "fine"


def test_a_quiet_command_is_sent_as_it_is() -> None:
    replies = iter([b"\x1a", b"target not examined\x1a"])
    with answering(lambda _: next(replies)) as (port, received), closing(TclPort("127.0.0.1", port)) as it:
        it.do("cpu arp_poll")
        with pytest.raises(CommandRefused, match="cpu arp_poll: target not examined"):
            it.do("cpu arp_poll")
    assert received == [b"cpu arp_poll"] * 2


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"", "it hung up"),
        (b"0 cut off", "timed out"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n\x1a", "it answered 'HTTP/1.1 400"),
        (b"\x1a", "it answered ''"),
        (b"\xff\xfe\x1a", "it answered"),
        (b"x" * (tcl.LONGEST_REPLY + 1), "its answer has no end"),
    ],
)
def test_what_is_no_answer_is_a_lost_connection(reply: bytes, why: str) -> None:
    with answering(lambda _: reply) as (port, _):
        it = TclPort("127.0.0.1", port)
        with pytest.raises(ConnectionLost, match=re.escape(why)):
            it.run("version", 0.2)
        with pytest.raises(ConnectionLost):
            it.run("version")


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ServerMissing, match=rf"127\.0\.0\.1:{port} .*--tcl PORT"):
        TclPort("127.0.0.1", port)


class Monitor:
    """What GDB's connection passes on: it has variables, and one target."""

    def __init__(self) -> None:
        self.variables: dict[str, str] = {}

    def __call__(self, command: str) -> str:
        words = command.split()
        if words[0] == "set":
            self.variables[words[1]] = words[2]
            return words[2] + "\n"
        if words[0] == "unset":
            del self.variables[words[1]]
            return ""
        assert command == "target current"
        return "stm32h7x.cpu0\n"

    def answer(self, command: bytes) -> bytes:
        found = re.search(rb"catch \{set (\w+)\}", command)
        if found is None:
            return b"\x1a"
        value = self.variables.get(found[1].decode())
        return b"0 %s\x1a" % value.encode() if value else b"1 no such variable\x1a"


def test_the_same_openocd_is_proved() -> None:
    monitor = Monitor()
    with answering(monitor.answer) as (port, received):
        found = find("127.0.0.1", port, monitor)
        assert found.name == "stm32h7x.cpu0"
        found.poll()
        found.close()
    assert received[-1] == b"{stm32h7x.cpu0} arp_poll"
    assert monitor.variables == {}


def test_each_proof_is_another() -> None:
    monitor = Monitor()
    seen: set[str] = set()

    def answer(command: bytes) -> bytes:
        seen.update(monitor.variables.values())
        return monitor.answer(command)

    for _ in range(2):
        with answering(answer) as (port, _):
            find("127.0.0.1", port, monitor).close()
    assert len(seen) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in seen)


@pytest.mark.parametrize(
    "answer", [Monitor().answer, lambda _: b"0 stale\x1a", lambda _: b"", lambda _: b"HTTP/1.1 200"]
)
def test_another_one_is_not_used(answer: Answer) -> None:
    monitor = Monitor()
    refused = pytest.raises(ServerMissing, match="not the Tcl port of the OpenOCD that GDB is connected to")
    with answering(answer) as (port, received), refused:
        find("127.0.0.1", port, monitor)
    assert len(received) == 1
    assert monitor.variables == {}


def test_a_connection_of_gdb_that_is_lost_meanwhile_is_told() -> None:
    def monitor(_: str) -> str:
        raise ConnectionLost("gone")

    with answering(lambda _: b"0 \x1a") as (port, _), pytest.raises(ConnectionLost, match="gone"):
        find("127.0.0.1", port, monitor)


def test_an_answer_that_comes_by_drips_has_its_time() -> None:
    """The time is for the whole answer."""
    over = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while not over.wait(0.05):
                connection.sendall(b"0")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        try:
            it = TclPort("127.0.0.1", listener.getsockname()[1])
            with closing(it), pytest.raises(ConnectionLost, match="timed out"):
                it.run("version", 0.5)
        finally:
            over.set()
            thread.join()
