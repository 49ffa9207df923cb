"""From what was said about server and gdb to an open target, and back to nothing left running.

What belongs here: choosing, launching and connecting in the right order, and ending in the reverse one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from .endpoint import Endpoint, listening_ports, parse_endpoint
from .errors import OutputError, ServerMissing
from .events import Finished, Noted, Observer, Started
from .gdbs import find_gdb
from .mi import Trace
from .miconnect import connect as connect_gdb
from .mitarget import MiTarget
from .profiles import CANDIDATE_PORTS, ServerProfile, choose_port, profile_named
from .servers import launched


@dataclass(frozen=True)
class Place:
    """Which server is meant and where; profile None is to be told by asking."""

    profile: ServerProfile | None
    endpoint: Endpoint


@contextlib.contextmanager
def place(server: str, connect: str | None, launch: str | None) -> Iterator[Place]:
    """Find the server, started for this run where so asked; raises InputError, ServerMissing."""
    profile = None if server == "auto" else profile_named(server)
    if profile is not None and (launch is not None or (profile.name == "board" and connect is None)):
        with launched(profile, launch or "") as running:
            yield Place(profile, parse_endpoint(connect or running.endpoint))
        return
    if launch is not None:
        profile = profile_named("openocd")
        with launched(profile, launch) as running:
            yield Place(profile, parse_endpoint(connect or running.endpoint))
        return
    if connect is not None:
        yield Place(profile, parse_endpoint(connect))
        return
    port = choose_port(profile, listening_ports(CANDIDATE_PORTS))
    yield Place(profile, Endpoint(host="127.0.0.1", port=port))


@contextlib.contextmanager
def traffic_log(path: Path | None) -> Iterator[Trace | None]:
    """Open the file that gets gdb's traffic, time-stamped; raises OutputError."""
    if path is None:
        yield None
        return
    begun = time.monotonic()
    try:
        file: TextIO = path.open("w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise OutputError(f"The log {path} cannot be written ({error.strerror}).", path=str(path)) from error
    with file:

        def write(direction: str, line: str) -> None:
            file.write(f"{time.monotonic() - begun:10.4f} {direction} {line}\n")
            file.flush()

        yield write


@contextlib.contextmanager
def reached(
    server: str,
    connect: str | None,
    launch: str | None,
    gdb: str | None,
    log: Path | None,
    observe: Observer,
    tcl: int | None = None,
) -> Iterator[MiTarget]:
    """Connect to a target while the body runs.

    Raises InputError, GdbMissing, ServerMissing, PrepareError, ConnectionLost, OutputError.
    """
    program = find_gdb(gdb)
    with traffic_log(log) as trace, place(server, connect, launch) as found:
        begun = time.monotonic()
        observe(Started("connect", label=f"{found.profile.name if found.profile else 'server'} at {found.endpoint}"))
        target = connect_gdb(found.endpoint, program, profile=found.profile, trace=trace)
        try:
            _use_tcl(target, found.endpoint, tcl, observe)
            observe(Finished("connect", time.monotonic() - begun))
            yield target
        finally:
            target.close()


def _use_tcl(target: MiTarget, endpoint: Endpoint, port: int | None, observe: Observer) -> None:
    """Use the server's Tcl port where it has one; a port that was named and is not the right one is worth a word."""
    usual = target.profile.tcl_port
    try:
        if usual and endpoint.host:
            target.use_tcl(endpoint.host, port or usual)
        elif port:
            observe(Noted("tcl-unused", f"--tcl is for OpenOCD; the {target.profile.title} has no Tcl port."))
    except ServerMissing as error:
        if port:
            observe(Noted("tcl-unused", f"{error.message} Without it each call takes up to 0.1 s longer."))
