"""Places of servers: what is taken, and above all what is not."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbflash.errors import InputError, ServerMissing
from gdbflash.servers.endpoint import Endpoint, check_device, is_exposed, listening_ports, parse_endpoint


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:3333", Endpoint(host="127.0.0.1", port=3333)),
        ("localhost:1", Endpoint(host="localhost", port=1)),
        (":61234", Endpoint(host="127.0.0.1", port=61234)),
        ("my-probe.lab.example:65535", Endpoint(host="my-probe.lab.example", port=65535)),
        ("[::1]:3333", Endpoint(host="[::1]", port=3333)),
        ("[fe80::1%eth0]:3333", Endpoint(host="[fe80::1%eth0]", port=3333)),
        ("/dev/ttyACM0", Endpoint(device="/dev/ttyACM0")),
        (
            "/dev/serial/by-id/usb-Black_Magic_Debug-if00",
            Endpoint(device="/dev/serial/by-id/usb-Black_Magic_Debug-if00"),
        ),
    ],
)
def test_places(text: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(text) == endpoint


@pytest.mark.parametrize(
    "text",
    [
        "| touch /tmp/x",
        "|touch",
        " 127.0.0.1:3333",
        "127.0.0.1:3333 ",
        "127.0.0.1:3333\n-gdb-exit",
        "127.0.0.1: 3333",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:0x50",
        "127.0.0.1:٣٣٣٣",
        "127.0.0.1",
        "3333",
        "::1:3333",
        "[::1]3333",
        "[|id]:3333",
        "-host:3333",
        'a"b:3333',
        "a;b:3333",
        "/dev/tty ACM0",
        "/dev/tty\nACM0",
        "dev/ttyACM0",
        "/",
        "",
        ":",
    ],
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a place of a GDB server"):
        parse_endpoint(text)


@given(st.text(st.characters(codec="utf-8")) | st.from_regex(r"\|?\s*[a-z]{1,3}:[0-9]{1,6}\s*", fullmatch=True))
def test_nothing_that_is_taken_can_hold_more_than_a_place(text: str) -> None:
    try:
        shown = str(parse_endpoint(text))
    except InputError:
        return
    assert shown.isascii()
    assert not set(shown) & set(" \t\r\n|;&`$\"'\\<>(){}*?!#")


def test_a_serial_device_must_be_one(tmp_path: Path) -> None:
    check_device(Endpoint(host="127.0.0.1", port=1))
    check_device(Endpoint(device="/dev/null"))
    with pytest.raises(ServerMissing, match="cannot be reached"):
        check_device(Endpoint(device="/dev/ttyNOTHING"))
    plain = tmp_path / "file"
    plain.touch()
    os.mkfifo(tmp_path / "fifo")  # opening it would block
    for path in (plain, tmp_path / "fifo", tmp_path):
        with pytest.raises(ServerMissing, match="not a serial device"):
            check_device(Endpoint(device=str(path)))


def test_listening_ports_are_found_without_a_connection() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as loopback,
        socket.create_server(("", 0)) as everywhere,
        socket.create_server(("127.0.0.2", 0)) as elsewhere,
        socket.socket() as bound,
    ):
        bound.bind(("127.0.0.1", 0))
        ports = [listener.getsockname()[1] for listener in (everywhere, bound, loopback)]
        assert listening_ports(ports) == [ports[0], ports[2]]
        assert listening_ports([elsewhere.getsockname()[1]]) in ([], [elsewhere.getsockname()[1]])
        for listener in (loopback, everywhere):
            listener.settimeout(0)
            with pytest.raises(BlockingIOError):
                listener.accept()


def test_a_listener_on_both_families_is_found() -> None:
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        assert listening_ports([listener.getsockname()[1]]) == [listener.getsockname()[1]]


@pytest.mark.parametrize(
    ("place", "family", "exposed"),
    [
        ("127.0.0.1", socket.AF_INET, False),
        ("127.0.0.2", socket.AF_INET, False),
        ("", socket.AF_INET, True),
        ("::1", socket.AF_INET6, False),
        ("::ffff:127.0.0.1", socket.AF_INET6, False),
        ("::", socket.AF_INET6, True),
    ],
)
def test_a_listener_that_other_machines_reach_is_told(place: str, family: socket.AddressFamily, exposed: bool) -> None:
    mapped = place.startswith("::ffff")
    with socket.create_server((place, 0), family=family, dualstack_ipv6=mapped) as listener:
        assert is_exposed(listener.getsockname()[1]) is exposed
