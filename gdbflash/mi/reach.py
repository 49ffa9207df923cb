"""From what was said about server and gdb to an open target, and back to nothing left running.

What belongs here: choosing, launching and connecting in the right order, and ending in the reverse one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from gdbflash.errors import ServerMissing
from gdbflash.events import Detailed, Finished, Noted, Observer, Started, unobserved
from gdbflash.mi.connect import connect as connect_gdb
from gdbflash.mi.find_gdb import start_gdb
from gdbflash.mi.target import MiTarget
from gdbflash.runlog import RunLog
from gdbflash.servers.endpoint import Endpoint, alone_at, listening_ports, parse_endpoint
from gdbflash.servers.launch import READY_SECONDS, launched
from gdbflash.servers.profiles import CANDIDATE_PORTS, ServerProfile, choose_port, profile_named


@dataclass(frozen=True)
class Place:
    """Which server is meant and where; profile None is to be told by asking."""

    profile: ServerProfile | None
    endpoint: Endpoint
    name: str
    """What it is called where no unit can be told: the same for the same server each time."""
    tcl_port: int | None = None
    """Where its Tcl interpreter is known to listen."""


@contextlib.contextmanager
def place(
    server: str,
    connect: Endpoint | None,
    launch: str | None,
    observe: Observer,
    log: RunLog | None = None,
    patience: float = 1.0,
) -> Iterator[Place]:
    """Find the server, started for this run where so asked, and have it for this process alone.

    Raises InputError, ServerMissing, TargetInUse.
    """
    profile = None if server == "auto" else profile_named(server)
    ours = profile is not None and profile.name == "board" and connect is None
    if launch is not None or ours:
        profile = profile or profile_named("openocd")
        trace = log.of(profile.name) if log else None
        with launched(profile, launch or "", ready_seconds=READY_SECONDS * patience, trace=trace) as running:
            observe(Detailed("launched", f"Process {running.process} is {running.command}", {"pid": running.process}))
            if running.exposed:
                observe(Noted("exposed", _exposed(profile)))
            endpoint = connect or parse_endpoint(running.endpoint)
            yield Place(profile, endpoint, running.name, running.tcl_port)
        return
    if connect is None:
        connect = Endpoint("127.0.0.1", _port(profile))
    # Who merely connects halts the core, in the middle of what another process has it do.
    with alone_at(str(connect), lambda said: observe(Detailed("no-lock", said))):
        yield Place(profile, connect, str(connect))


def _port(profile: ServerProfile | None) -> int:
    """Choose the usual port that listens; raises ServerMissing, or TargetInUse naming the run that has the server.

    A server that serves one client listens no more while it has one.
    """
    try:
        return choose_port(profile, listening_ports(CANDIDATE_PORTS))
    except ServerMissing as error:
        for port in CANDIDATE_PORTS if error.data.get("ports") == [] else ():
            with alone_at(f"127.0.0.1:{port}", lambda _: None):
                pass
        raise


def _exposed(profile: ServerProfile) -> str:
    return (
        f"The {profile.title} listens on every network of this machine, not on 127.0.0.1 alone: until it is stopped, "
        f"others can use it. Have it listen here only, as in: {profile.start_with}"
    )


@contextlib.contextmanager
def reached(
    server: str,
    connect: str | None,
    launch: str | None,
    gdb: str | None,
    log: RunLog | None,
    observe: Observer,
    tcl: int | None = None,
    patience: float = 1.0,
) -> Iterator[MiTarget]:
    """Connect to a target while the body runs; log gets the traffic with gdb and servers.

    patience: a factor on every time-out of gdb and servers.

    Raises InputError, GdbMissing, ServerMissing, TargetInUse, PrepareError, ConnectionLost.
    """
    endpoint = None if connect is None else parse_endpoint(connect)
    trace = log.of("gdb") if log else None
    with contextlib.ExitStack() as stack:
        client = start_gdb(gdb, trace=trace, patience=patience)
        stack.callback(client.kill)
        found = stack.enter_context(place(server, endpoint, launch, observe, log, patience))
        begun = time.monotonic()
        observe(Started("connect", label=f"{found.profile.name if found.profile else 'server'} at {found.endpoint}"))
        target = connect_gdb(found.endpoint, client, found.name, profile=found.profile, packets=log is not None)
        stack.callback(target.close)
        observe(Detailed("gdb", f"gdb is {client.gdb}: {target.gdb_version}", {"gdb": str(client.gdb)}))
        told = "as named" if found.profile else "told by its answers"
        observe(Detailed("server", f"The server is {target.profile.title}, {told}; it supports {target.supported}"))
        _use_tcl(target, found.endpoint, tcl or found.tcl_port, observe, log)
        observe(Finished("connect", time.monotonic() - begun))
        yield target


def connect(
    address: str | None = None,
    server: str = "auto",
    *,
    tcl: int | None = None,
    gdb: str | None = None,
    observe: Observer = unobserved,
    patience: float = 1.0,
) -> AbstractContextManager[MiTarget]:
    """Connect to a GDB server that runs, while a block does.

    address: HOST:PORT or a serial device, else the one usual port on this machine that listens. server: a name that
    `--server` knows, or "auto" to tell it by asking. tcl: OpenOCD's Tcl port, where it is not the usual one. gdb: the
    program, else the first that is found. patience: a factor on every time-out of gdb and servers. Entering halts the
    core and raises InputError, GdbMissing, ServerMissing, TargetInUse, PrepareError, ConnectionLost.
    """
    return reached(server, address, None, gdb, None, observe, tcl, patience)


def launch(
    arguments: str = "",
    server: str = "openocd",
    *,
    gdb: str | None = None,
    observe: Observer = unobserved,
    patience: float = 1.0,
) -> AbstractContextManager[MiTarget]:
    """Start a GDB server with these arguments, connect to it, and stop it when the block ends; else as `connect`."""
    return reached(server, None, arguments, gdb, None, observe, None, patience)


def _use_tcl(
    target: MiTarget, endpoint: Endpoint, port: int | None, observe: Observer, log: RunLog | None = None
) -> None:
    """Use the server's Tcl port where it has one; a port that was named and is not the right one is worth a word."""
    usual = target.profile.tcl_port
    try:
        if usual and endpoint.host:
            target.use_tcl(endpoint.host, port or usual, log.of("tcl") if log else None)
            observe(Detailed("tcl", f"Its Tcl port {port or usual} is used to see at once when a call ends."))
        elif port:
            observe(Noted("tcl-unused", f"--tcl is for OpenOCD; the {target.profile.title} has no Tcl port."))
    except ServerMissing as error:
        kind = Noted if port else Detailed
        observe(kind("tcl-unused", f"{error.message} Without it no data is sent while a loader runs."))
