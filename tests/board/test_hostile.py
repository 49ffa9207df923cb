"""What reaches the virtual board's ports: no stream of bytes harms it, and no other machine can send any."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gdbflash.board.faces.packets import escape, frame
from gdbflash.board.faces.rsp import RspServer
from gdbflash.board.faces.stlinktcp import StlinkServer
from gdbflash.events import Event, Noted
from gdbflash.mi.reach import place
from gdbflash.servers.launch import launched
from gdbflash.servers.profiles import PROFILES
from tests.support.boards import running_board
from tests.support.debugport import RecordingPort
from tests.support.gdbservers import free_port
from tests.support.rsp_double import RawClient

PACKETS = (
    b"m24000000,4",
    b"M24000000,2:beef",
    b"X24000000,2:ab",
    b"x24000000,8",
    b"p0",
    b"P0=78563412",
    b"g",
    b"G" + b"00" * 17 * 4,
    b"Z0,24000100,2",
    b"z1,24000100,2",
    b"Z2,24000100,4",
    b"vCont;s:1",
    b"qCRC:24000000,100",
    b"qXfer:features:read:target.xml:0,ffb",
    b"qRcmd,72657365742068616c74",
    b"vFlashErase:08000000,20000",
    b"vFlashWrite:08000000:abc",
    b"vFlashDone",
    b"qSupported:swbreak+",
    b"Hc-1",
    b"T1",
    b"D",
)
NUMBERS = st.sampled_from([b"0", b"ffffffff", b"100000000", b"-1", b"", b"zz", b"fffffffffffffffffffff", b"80000000"])


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    packet = draw(st.sampled_from(PACKETS))
    for number in draw(st.lists(NUMBERS, max_size=2)):
        places = [found.span() for found in re.finditer(rb"[0-9a-f]+", packet)]
        if places:
            start, end = draw(st.sampled_from(places))
            packet = packet[:start] + number + packet[end:]
    data = bytearray(packet)
    for at, value in draw(st.lists(st.tuples(st.integers(0, max(0, len(data) - 1)), st.integers(0, 255)), max_size=2)):
        data[at : at + 1] = bytes([value])
    return escape(bytes(data[: draw(st.none() | st.integers(0, len(data)))]))


@pytest.fixture(scope="module")
def server() -> Iterator[RspServer]:
    with running_board() as board:
        yield board.server


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(packets(), min_size=1, max_size=6))
@example([b"m24000000,ffffffff", b"qCRC:0,ffffffff", b"X24000000,ffffffff:"])
@example([b"vFlashErase:08000000,ffffffff", b"vFlashWrite:ffffffff:abc", b"vFlashDone"])
def test_no_packet_harms_the_board(server: RspServer, sent: list[bytes]) -> None:
    with RawClient(server.port) as client:
        client.no_ack()
        # An interrupt behind each: one that lets the core run is answered when it halts.
        client.send(b"".join(frame(packet) + b"\x03" for packet in sent))
    with RawClient(server.port) as client:
        assert client.ask(b"?").startswith(b"T")
        assert client.ask(b"m24000000,4")


REQUEST = struct.Struct("<B3xI16sB3xI")
GOOD = (
    b"\x06\x01\0\0",
    b"\x00\x00",
    b"\x01",
    bytes.fromhex("0200000029000000"),
    bytes.fromhex("0300000001000000"),
    REQUEST.pack(5, 1, b"\xf2\x30\xa3", 1, 2),
    REQUEST.pack(5, 1, bytes.fromhex("f20700000020 0400"), 1, 4),
    REQUEST.pack(5, 1, bytes.fromhex("f20800000020 0400"), 0, 4) + b"abcd",
    REQUEST.pack(5, 1, bytes.fromhex("f236f0ed00e0"), 1, 8),
    REQUEST.pack(5, 1, bytes.fromhex("f2420410"), 1, 128),
    REQUEST.pack(5, 1, b"\xf1", 1, 6),
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    if draw(st.booleans()):
        command = draw(st.sampled_from([b"\xf2", b"\xf3", b"\xf5", b"\xf7", b"\xfb"])) + draw(st.binary(max_size=15))
        size = draw(st.sampled_from([0, 1, 2, 4, 8, 64, 512, 10240, 10241, 0xFFFFFFFF]))
        return REQUEST.pack(5, 1, command, draw(st.integers(0, 4)), size) + draw(st.binary(max_size=64))
    data = bytearray(draw(st.sampled_from(GOOD)))
    for at, value in draw(st.lists(st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255)), max_size=3)):
        data[at] = value
    return bytes(data)


@settings(max_examples=60)
@given(st.lists(requests(), min_size=1, max_size=5))
@example([REQUEST.pack(5, 1, bytes.fromhex("f207ffffffffffff"), 1, 10240)])
@example([REQUEST.pack(5, 1, b"", 0, 0)])
def test_no_request_harms_the_probe(sent: list[bytes]) -> None:
    with StlinkServer(RecordingPort()) as probe:  # whose end tells what went wrong in a connection
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", probe.port), 10) as client:
            client.sendall(bytes.fromhex("0300000001000000") + b"".join(sent))
            client.shutdown(socket.SHUT_WR)
            while client.recv(1 << 16):
                pass
        with socket.create_connection(("127.0.0.1", probe.port), 10) as client:
            client.sendall(b"\x01")
            assert client.recv(4) == b"\1\0\0\0"


def listeners(process: int) -> set[str]:
    """Name the addresses at which a process listens on TCP, as /proc/net/tcp has them, with those of IPv6."""
    links = (str(each.readlink()) for each in Path(f"/proc/{process}/fd").iterdir())
    inodes = {found[1] for link in links if (found := re.match(r"socket:\[(\d+)\]", link))}
    rows = [row.split() for table in ("tcp", "tcp6") for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes}


LOOPBACK = {"0100007F"}


def test_the_board_listens_on_this_machine_only() -> None:
    words = [sys.executable, "-m", "gdbflash", "board", "--port", "0", "--stlink-port", "0", "--pyocd-port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert re.search(r"(.* on 127\.0\.0\.1:\d+){3}", process.stdout.readline())
            assert listeners(process.pid) == LOOPBACK
        finally:
            process.send_signal(signal.SIGTERM)


def test_launched_servers_listen_on_this_machine_only() -> None:
    with launched(PROFILES["board"], "") as board:
        assert listeners(board.process) == LOOPBACK
        assert not board.exposed
    with StlinkServer(RecordingPort()) as stlink:
        arguments = (
            f"-c 'source [find interface/stlink.cfg]' -c 'hla_stlink_backend tcp {stlink.port}' "
            f"-c 'gdb_port {free_port()}' -c 'tcl_port {free_port()}' -c 'telnet_port {free_port()}' "
            "-c 'source [find target/stm32h7x.cfg]'"
        )
        with launched(PROFILES["openocd"], arguments) as openocd:
            assert listeners(openocd.process) == LOOPBACK
            assert not openocd.exposed
    qemu = "-M lm3s6965evb -S -nographic -monitor none -serial none -gdb tcp:127.0.0.1:{}"
    with launched(PROFILES["qemu"], qemu.format(free_port())) as running:
        assert listeners(running.process) == LOOPBACK
        assert not running.exposed


def test_one_that_listens_everywhere_is_told() -> None:
    """QEMU does where no address is given."""
    told: list[Event] = []
    arguments = f"-M lm3s6965evb -S -nographic -monitor none -serial none -gdb tcp::{free_port()}"
    with place("qemu", None, arguments, told.append):
        pass
    (note,) = (event for event in told if isinstance(event, Noted))
    assert note.code == "exposed"
    assert "The QEMU listens on every network of this machine" in note.message
    assert "-gdb tcp:127.0.0.1:1234" in note.message
