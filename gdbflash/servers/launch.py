"""Start a GDB server for one run, and stop exactly that one.

What belongs here: when a server is ready, what it says, and that it ends with the run. How its process is run: `child`.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gdbflash.errors import ConnectionLost, InputError, ServerMissing
from gdbflash.host.pipes import Inflow
from gdbflash.runlog import Trace
from gdbflash.servers.child import Child, started
from gdbflash.servers.endpoint import is_exposed, listening_ports
from gdbflash.servers.profiles import Launch, ServerProfile

READY_SECONDS = 20.0
"""Time for a server to start listening: probes that update their own firmware state take several seconds."""
STOP_SECONDS = 3.0
"""Time for a server to end when asked to; QEMU writes out its drives."""
LOOK_SECONDS = 0.05
"""Between two looks at whether a server listens or still runs."""
_ATTEMPTS = 3
"""To start it at free ports: another program may take one between the look and the start."""
_TAKEN = re.compile(r"address already in use|couldn't bind|can't bind|could not bind|port .* in use", re.IGNORECASE)
_LAST_LINES = 64
_QUOTED_LINES = 6
_TROUBLE = re.compile(r"error|fatal", re.IGNORECASE)
_KEPT_BYTES = 1 << 16


@dataclass(frozen=True)
class Launched:
    """A server that listens; endpoint is HOST:PORT."""

    endpoint: str
    process: int
    command: str
    """Its command line, quoted for a shell."""
    exposed: bool
    """Other machines can reach it, too."""
    name: str = ""
    """Its program and what the user had it told, without ports of ours: the same for the same server each time."""
    tcl_port: int | None = None
    """Where its Tcl interpreter listens, as far as it said so."""


@contextlib.contextmanager
def launched(
    profile: ServerProfile, arguments: str, *, ready_seconds: float = READY_SECONDS, trace: Trace | None = None
) -> Iterator[Launched]:
    """Run a server with a shell-like string of arguments while the body runs; trace gets all that it says.

    Where the arguments name no port it gets free ones, and others when one of those was taken meanwhile.

    Raises InputError when the arguments cannot be split, name no port where they must, or the profile has no program;
    ServerMissing when the program is missing, its port is taken, or it ends or does not listen within ready_seconds.
    The server's own words are in the message, also in that of a ConnectionLost from the body when it has ended.
    """
    launch = profile.launch
    if launch is None:
        raise InputError(f"gdbflash does not know how to start {profile.title}. Start it yourself and use --connect.")
    try:
        words = shlex.split(arguments)
    except ValueError as error:
        raise InputError(f"--launch {arguments!r} cannot be split into arguments: {error}.") from error
    given = re.search(launch.port_argument, " ".join(words)) if launch.port_argument else None
    for left in reversed(range(_ATTEMPTS)):
        ours = () if given else _free(launch)
        with contextlib.ExitStack() as stack:
            try:
                running = stack.enter_context(_running(profile, launch, ours, words, ready_seconds, trace))
            except ServerMissing as error:
                if left and ours and _TAKEN.search(error.message):
                    continue
                raise
            yield running
            return


def _free(launch: Launch) -> tuple[str, ...]:
    """Give the arguments that have a server listen at ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        gdb, tcl, other = (each.getsockname()[1] for each in sockets)
    return tuple(word.format(gdb=gdb, tcl=tcl, other=other) for word in launch.free_ports)


@contextlib.contextmanager
def _running(
    profile: ServerProfile,
    launch: Launch,
    ours: Sequence[str],
    theirs: Sequence[str],
    ready_seconds: float,
    trace: Trace | None,
) -> Iterator[Launched]:
    """Run a server with our ports and the user's arguments while the body runs; raises as `launched`."""
    words = [*launch.arguments, *ours, *theirs]
    port = _expected_port(profile, launch, words)
    program = shutil.which(launch.program)
    if program is None:
        raise ServerMissing(
            f"{launch.program} was not found. Install it, or start your server and use --connect HOST:PORT.",
            program=launch.program,
        )
    try:
        child = started(program, words)
    except OSError as error:
        raise ServerMissing(
            f"{program} could not be started ({error}). Is it for this machine?", program=program
        ) from error
    command = shlex.join([program, *words])
    if launch.typed:
        command = " ".join([launch.typed, shlex.join(words[len(launch.arguments) :])]).strip()
    name = shlex.join([launch.typed or launch.program, *theirs])
    if trace is not None:
        trace(">", command)
    with contextlib.closing(child), _Output(child.inflow, trace) as output, _stopped(child):
        try:
            port = _wait_ready(profile, launch, child, output, port, ready_seconds)
        except ServerMissing as error:
            raise ServerMissing(f"{error.message} Try its command line by itself: {command}", **error.data) from None
        tcl = re.search(launch.tcl_ready, output.text) if launch.tcl_ready else None
        tcl_port = _port(tcl["port"]) if tcl else None
        try:
            yield Launched(f"127.0.0.1:{port}", child.pid, command, is_exposed(port), name, tcl_port)
        except (ConnectionLost, ServerMissing) as error:
            if not child.ends(1.0):
                raise
            lines = output.last_lines()
            said = f"{error.message} {_end(profile, child)} {_said(lines)}"
            raise error.reworded(said, output=[*lines]) from error


class _Output:
    """What a server prints, read all the time, so that it never blocks on a full terminal."""

    def __init__(self, inflow: Inflow, trace: Trace | None = None) -> None:
        self._inflow = inflow
        self._trace = trace
        self._bytes = b""
        self._line = b""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> _Output:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()  # before the descriptor is closed, and its number somebody else's
        self._tell(b"\n" if self._line else b"")

    def _read(self) -> None:
        while not self._over.is_set():
            try:
                piece = self._inflow.read(LOOK_SECONDS)
            except OSError:  # EIO: nobody has the other side open any more (Linux, pty(7))
                return
            if piece is None:
                continue
            if not piece:  # the same of a pipe, and of a terminal elsewhere
                return
            self._bytes = (self._bytes + piece)[-_KEPT_BYTES:]
            self._tell(piece)

    def _tell(self, piece: bytes) -> None:
        """Pass lines on as they become whole."""
        if self._trace is not None:
            *lines, self._line = (self._line[-_KEPT_BYTES:] + piece).split(b"\n")
            for line in lines:
                self._trace("<", _plain(line).rstrip("\r"))

    @property
    def text(self) -> str:
        """The end of what was printed so far."""
        return _plain(self._bytes)

    def last_lines(self) -> list[str]:
        """Return the last lines once a server has ended, which does not mean that all of them have been read."""
        self._thread.join(LOOK_SECONDS * 4)
        return [line.strip() for line in re.split(r"[\r\n]+", self.text) if line.strip()][-_LAST_LINES:]


def _plain(said: bytes) -> str:
    """Decode what a program prints to a terminal, without colours and other control sequences (ECMA-48, 5.4)."""
    return re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", said.decode("utf-8", "replace"))


def _expected_port(profile: ServerProfile, launch: Launch, words: Sequence[str]) -> int | None:
    """Return the port that is going to listen, None when only the server's words can tell.

    Raises InputError when nothing can tell, ServerMissing when somebody listens there already.
    """
    given = re.search(launch.port_argument, " ".join(words)) if launch.port_argument else None
    port = profile.default_port
    if given and given["port"]:
        named = _port(given["port"])
        if named is None:
            raise InputError(
                f"The arguments for {profile.title} name a port above 65535, the highest that there is. "
                f"Name one of this machine, as in: {profile.start_with}",
                server=profile.name,
            )
        port = named
    if (given is None and not launch.ready) or (given and given.groupdict().get("elsewhere")):
        raise InputError(
            f"The arguments for {profile.title} do not say where it shall listen for GDB. "
            f"Name a port of this machine, as in: {profile.start_with}",
            server=profile.name,
        )
    if not listening_ports([port]):
        return port or None
    if given is None:
        return None  # somebody at the default port, which the server at hand may not even want
    raise ServerMissing(
        f"Somebody listens at port {port} already, where {profile.title} was to be started. "
        "End that server, connect to it with --connect, or name another port.",
        port=port,
    )


def _port(digits: str) -> int | None:
    """Read the number of a port; None where it is none."""
    return int(digits) if re.match(r"\d{1,5}\Z", digits) and int(digits) <= 0xFFFF else None


def _wait_ready(
    profile: ServerProfile, launch: Launch, child: Child, output: _Output, port: int | None, seconds: float
) -> int:
    """Wait until the server says that it listens, or can be seen to; returns its port. Raises ServerMissing."""
    deadline = time.monotonic() + seconds
    what = f"{profile.title} did not listen within {seconds:g} s."
    while time.monotonic() < deadline:
        ready = re.search(launch.ready, output.text) if launch.ready else None
        if ready:
            return _port(ready.groupdict().get("port") or "") or port or profile.default_port
        if child.ends(LOOK_SECONDS):
            what = _end(profile, child)
            break
        if port is not None and listening_ports([port]):
            return port
    lines = output.last_lines()
    raise ServerMissing(f"{what} {_said(lines)}", output=[*lines])


def _said(lines: Sequence[str]) -> str:
    """Quote last words: from the first one about an error on (QEMU dumps registers behind it), else the very last."""
    trouble = next((index for index, line in enumerate(lines) if _TROUBLE.search(line)), None)
    quoted = lines[-_QUOTED_LINES:] if trouble is None else lines[trouble : trouble + _QUOTED_LINES]
    return f"It said: {' / '.join(quoted).rstrip('.')}." if quoted else "It said nothing."


def _end(profile: ServerProfile, child: Child) -> str:
    return f"{profile.title} ended with {child.how_it_ended()}."


@contextlib.contextmanager
def _stopped(child: Child) -> Iterator[None]:
    """End the server and all that it started after the body."""
    try:
        yield
    finally:
        child.stop(STOP_SECONDS)
