"""Where a GDB server is reached: HOST:PORT or a serial device, and which ports listen on this machine.

What belongs here: the strict reading of what a user names. GDB's `target remote` runs a shell command when its
argument begins with "|", so nothing reaches it that is not one of the two shapes below.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import re
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from gdbflash.errors import InputError, ServerMissing
from gdbflash.host.folders import held
from gdbflash.host.storage import SERIAL, SERIAL_EXAMPLE, is_serial, serial_trouble

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_])?\Z")
_IPV6 = re.compile(r"\[[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9_.-]{1,15})?\]\Z")
_TRANSPORT = re.compile(r"(?:tcp|udp)[46]?:")
"""What GDB takes before HOST:PORT (Debugging with GDB, "Connecting to a Remote Target")."""
_HERE = frozenset({"127.0.0.1", "[::1]", "localhost"})
_LISTEN = "0A"
"""State TCP_LISTEN in /proc/net/tcp (Linux, include/net/tcp_states.h)."""


@dataclass(frozen=True)
class Endpoint:
    """A validated place of a GDB server."""

    host: str = ""
    """A name, an IPv4 address, or an IPv6 address in brackets; empty for a serial device."""
    port: int = 0
    device: str = ""

    def __str__(self) -> str:
        return self.device or f"{self.host}:{self.port}"


def parse_endpoint(text: str) -> Endpoint:
    """Read HOST:PORT, [IPV6]:PORT, :PORT or the path of a serial device; raises InputError."""
    if SERIAL.match(text):
        return Endpoint(device=text)
    host, colon, port = text.rpartition(":")
    number = int(port) if re.match(r"[0-9]{1,5}\Z", port) else 0
    host = host if host or not colon else "127.0.0.1"
    if not 1 <= number <= 0xFFFF or not (_HOST.match(host) or _IPV6.match(host)):
        raise InputError(
            f"{text!r} is not a place of a GDB server: give HOST:PORT such as 127.0.0.1:3333, "
            f"[::1]:3333, or a serial device such as {SERIAL_EXAMPLE}.",
            endpoint=text,
        )
    return Endpoint(host=host, port=number)


def alone_at(place: str, tell: Callable[[str], None]) -> AbstractContextManager[None]:
    """Have a server's place for this process alone, however it is written, as `host.held` has a target."""
    try:
        endpoint = parse_endpoint(_TRANSPORT.sub("", place))
    except InputError:  # GDB has ways that we have not, such as a pipe
        name = place
    else:
        host = "localhost" if endpoint.host in _HERE else endpoint.host.lower()
        name = os.path.realpath(endpoint.device) if endpoint.device else f"{host}:{endpoint.port}"
    return held(f"at {name}", f"the server at {place}", tell)


def check_device(endpoint: Endpoint) -> None:
    """Make sure that a serial endpoint is a serial device; raises ServerMissing. Does not open it."""
    if not endpoint.device:
        return
    if trouble := serial_trouble(endpoint.device):
        raise ServerMissing(
            f"The serial device {endpoint.device} cannot be reached ({trouble}); "
            "is the probe plugged in, and is it the right name?",
            endpoint=endpoint.device,
        )
    if not is_serial(endpoint.device):
        raise ServerMissing(
            f"{endpoint.device} is not a serial device; name the probe's GDB port, such as {SERIAL_EXAMPLE}.",
            endpoint=endpoint.device,
        )


def listening_ports(candidates: Iterable[int]) -> list[int]:
    """Return those TCP ports that listen on this machine's loopback, in the order given.

    Without connecting: a connection ends servers that serve one client or exit on disconnect. The kernel's
    table is asked (Linux, proc(5)); elsewhere a port that cannot be bound is taken to listen.
    """
    tables = _tables()
    if not tables:
        return [port for port in candidates if _is_bound(port)]
    found = {port for address, port in _listeners(tables) if _reaches_loopback(address)}
    return [port for port in candidates if port in found]


def is_exposed(port: int) -> bool:
    """Say whether other machines can reach a listener at this TCP port; False where the kernel does not tell."""
    return any(port == each and not _ip(address).is_loopback for address, each in _listeners(_tables()))


def _tables() -> list[Path]:
    return [table for name in ("tcp", "tcp6") if (table := Path("/proc/net", name)).exists()]


def _listeners(tables: Iterable[Path]) -> Iterator[tuple[str, int]]:
    """Yield address, as the table writes it, and port of all that listen."""
    for table in tables:
        for row in table.read_text("ascii").splitlines()[1:]:
            local, state = row.split()[1], row.split()[3]
            address, port = local.split(":")
            if state == _LISTEN:
                yield address, int(port, 16)


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Read an address as the table writes it, in words of host byte order; IPv4 within IPv6 becomes IPv4."""
    data = bytes.fromhex(address)
    if sys.byteorder == "little":
        data = b"".join(data[start : start + 4][::-1] for start in range(0, len(data), 4))
    found = ipaddress.ip_address(data)
    return getattr(found, "ipv4_mapped", None) or found


def _reaches_loopback(address: str) -> bool:
    """Say whether 127.0.0.1 reaches a listener at this address."""
    found = _ip(address)
    return found.is_unspecified or (found.version == 4 and found.is_loopback)


def _is_bound(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False
