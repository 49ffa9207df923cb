"""Places where no usable GDB server is: one sentence with the next thing to try, and soon."""

from __future__ import annotations

import http.server
import os
import re
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gdbflash.errors import CommandRefused, ConnectionLost, GdbMissing, PrepareError, ServerMissing, SetupError
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import started
from gdbflash.servers.endpoint import Endpoint
from gdbflash.servers.profiles import PROFILES
from tests.support.gdbservers import GDBS, RunningServer, free_port, gdb_path, running_qemu

SOON = 10.0
"""Seconds until the sentence has come; a bound of the promise, far from what it takes."""


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[Endpoint]:
    """Run a one-connection-at-a-time TCP server whose manners are serve's."""
    open_ones: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                open_ones.append(connection)
                try:
                    serve(connection)
                except OSError:
                    connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield Endpoint(host="127.0.0.1", port=listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in open_ones:
                connection.close()
            thread.join()


def says_nothing(_: socket.socket) -> None:
    pass


def hangs_up(connection: socket.socket) -> None:
    connection.close()


def resets(connection: socket.socket) -> None:
    connection.recv(10)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def greets_like_ssh(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")


def acknowledges_only(connection: socket.socket) -> None:
    while connection.recv(4096):
        connection.sendall(b"+")


def knows_nothing(connection: socket.socket) -> None:
    """Answer every packet with the empty packet: a server, but of no target."""
    while data := connection.recv(4096):
        connection.sendall(b"+$#00" * data.count(b"$"))


def refuse(endpoint: Endpoint, gdb: str, profile: str | None = None) -> SetupError:
    before = set(threading.enumerate())
    begun = time.monotonic()
    with pytest.raises(SetupError) as caught:
        connect(endpoint, started(gdb_path(gdb)), profile=PROFILES[profile] if profile else None)
    assert time.monotonic() - begun < SOON
    assert set(threading.enumerate()) == before
    assert caught.value.message.count(". ") <= 1, "two sentences at most"
    return caught.value


@pytest.mark.parametrize("gdb", GDBS)
def test_nobody_listens(gdb: str) -> None:
    endpoint = Endpoint(host="127.0.0.1", port=free_port())
    error = refuse(endpoint, gdb, "openocd")
    assert isinstance(error, ServerMissing)
    assert error.message == (
        f"Nobody listens at {endpoint}; start openocd -f interface/stlink.cfg -f target/stm32h7x.cfg, "
        "or name its place with --connect."
    )
    assert error.data["endpoint"] == str(endpoint)
    assert refuse(endpoint, gdb).message == (
        f"Nobody listens at {endpoint}; start your GDB server, or name its place with --connect."
    )


@pytest.mark.parametrize("gdb", GDBS)
def test_an_unknown_host(gdb: str) -> None:
    error = refuse(Endpoint(host="no-such-host.invalid", port=3333), gdb)
    assert error.message == ("The host of no-such-host.invalid:3333 is not known; give another one with --connect.")


@pytest.mark.parametrize("gdb", GDBS)
@pytest.mark.parametrize("serve", [hangs_up, resets])
def test_a_server_that_hangs_up(gdb: str, serve: Callable[[socket.socket], None]) -> None:
    with listening(serve) as endpoint:
        error = refuse(endpoint, gdb)
    assert isinstance(error, ServerMissing)
    assert error.message == (
        f"{endpoint} hung up at once; is it a GDB server, does it see its target (its own output tells), "
        "and is another debugger connected to it? If its probe went away, restart it."
    )


@pytest.mark.parametrize(
    ("gdb", "serve"),
    [*((gdb, says_nothing) for gdb in GDBS), ("gdb-pypi", greets_like_ssh), ("gdb-multiarch", acknowledges_only)],
)
def test_a_server_that_never_answers(gdb: str, serve: Callable[[socket.socket], None]) -> None:
    with listening(serve) as endpoint:
        error = refuse(endpoint, gdb)
    assert isinstance(error, ServerMissing)
    assert error.message == (
        f"{endpoint} does not answer as a GDB server; is it one, and is another debugger connected to it? "
        "If not, restart it and check the probe."
    )


@pytest.mark.parametrize("gdb", GDBS)
def test_a_server_without_a_target(gdb: str) -> None:
    with listening(knows_nothing) as endpoint:
        assert isinstance(refuse(endpoint, gdb), ServerMissing | PrepareError)


class Quiet(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("gdb", GDBS)
def test_a_web_server(gdb: str) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            endpoint = Endpoint(host="127.0.0.1", port=server.server_address[1])
            begun = time.monotonic()
            with pytest.raises(
                ServerMissing, match=f"{endpoint} (does not answer as|hung up at once; is it) a GDB server"
            ):
                connect(endpoint, started(gdb_path(gdb)))
            assert time.monotonic() - begun < SOON
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("gdb", GDBS)
def test_a_device_that_is_no_debugger(gdb: str) -> None:
    assert isinstance(refuse(Endpoint(device="/dev/null"), gdb, "blackmagic"), ServerMissing)
    assert "cannot be reached" in refuse(Endpoint(device="/dev/ttyNOTHING"), gdb).message


@pytest.mark.parametrize("program", ["/bin/true", "/bin/cat"])
def test_a_program_that_is_no_gdb(program: str) -> None:
    with pytest.raises(GdbMissing):
        started(Path(program))


def test_a_gdb_without_arm(tmp_path: Path) -> None:
    gdb = tmp_path / "gdb"
    gdb.write_text(
        '#!/bin/sh\nwhile read line; do n="${line%%-*}"; case "$line" in\n'
        '*architecture*) echo "$n^error,msg=\\"Undefined item: \\\\\\"arm\\\\\\".\\"";;\n'
        '*) echo "$n^done";; esac; done\n'
    )
    gdb.chmod(0o755)
    with pytest.raises(GdbMissing, match=r"does not know the ARM architecture\."):
        started(gdb)


@pytest.fixture
def qemu() -> Iterator[RunningServer]:
    with running_qemu("netduinoplus2") as server:
        yield server


@pytest.mark.parametrize("gdb", GDBS)
def test_a_profile_that_is_not_the_servers_fails_with_its_words(gdb: str, qemu: RunningServer) -> None:
    with pytest.raises(PrepareError, match=r"unknown command: 'swd_scan'. Is the board powered"):
        connect(qemu.endpoint, started(gdb_path(gdb)), profile=PROFILES["blackmagic"])
    with pytest.raises(PrepareError, match=r"answer as OpenOCD does: unknown command: 'format'. Name the"):
        connect(qemu.endpoint, started(gdb_path(gdb)), profile=PROFILES["openocd"])
    target = connect(qemu.endpoint, started(gdb_path(gdb)), profile=PROFILES["stlink"])
    try:
        with pytest.raises(PrepareError, match=r"could not be reset .* ST-LINK GDB server: .*unknown command: 'reset'"):
            target.reset_and_halt()
        with pytest.raises(CommandRefused, match="unknown command: 'nonsense'"):
            target.monitor("nonsense 1 2")
        assert re.match(r"\d+\.\d+", target.monitor("info version"))
    finally:
        target.close()


@pytest.mark.parametrize("gdb", GDBS)
def test_gdb_killed_in_the_middle(gdb: str, qemu: RunningServer) -> None:
    target = connect(qemu.endpoint, started(gdb_path(gdb)))
    target.write_memory(qemu.ram, bytes.fromhex("fee7"))
    target.write_registers({"pc": qemu.ram, "xpsr": 0x01000000})
    threading.Timer(0.2, os.kill, (target.gdb_pid, signal.SIGKILL)).start()
    with pytest.raises(ConnectionLost, match="gdb ended in the middle"):
        target.run_until(qemu.ram + 0x100, 60)
    target.close()


@pytest.mark.parametrize("gdb", GDBS)
def test_a_server_that_falls_silent_is_told_and_left(gdb: str, qemu: RunningServer) -> None:
    target = connect(qemu.endpoint, started(gdb_path(gdb)))
    target.write_memory(qemu.ram, bytes.fromhex("fee7"))
    target.write_registers({"pc": qemu.ram, "xpsr": 0x01000000})
    assert qemu.freeze is not None
    qemu.freeze()
    with pytest.raises(ConnectionLost, match="the GDB server or the probe hangs"):
        target.run_until(qemu.ram + 0x100, 0.1)
    target.close()
    with pytest.raises(ProcessLookupError):
        os.kill(target.gdb_pid, 0)


@pytest.mark.parametrize("gdb", GDBS)
def test_a_server_that_falls_silent_between_commands(gdb: str, qemu: RunningServer) -> None:
    target = connect(qemu.endpoint, started(gdb_path(gdb)))
    assert qemu.freeze is not None
    qemu.freeze()
    with pytest.raises(ConnectionLost):
        target.read_memory(qemu.ram, 4)
    target.close()
    with pytest.raises(ProcessLookupError):
        os.kill(target.gdb_pid, 0)
