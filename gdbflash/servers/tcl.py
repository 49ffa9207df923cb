"""OpenOCD's Tcl port: a second way to the OpenOCD that GDB is connected to, open while the core runs.

What belongs here: the port's framing, the proof that the same OpenOCD is behind it, and what only this port can do.
It makes a run quicker and nothing depends on it: a port that is not proved is not used, one that goes away is given up.

Source: OpenOCD User's Guide, "Tcl Scripting API", "Tcl RPC server", and "CPU Configuration", "Other $target_name
Commands".
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path

from gdbflash.errors import CommandRefused, ConnectionLost, ServerMissing
from gdbflash.runlog import Trace
from gdbflash.transfers import fill

_END = b"\x1a"
"""Ends every command and every reply."""
CONNECT_TIMEOUT = 0.5
"""Seconds to connect, and to answer before the port is proved: a stranger there may never answer."""
ANSWER_TIMEOUT = 2.5
"""Seconds for one command; OpenOCD answers nobody while its probe is silent, which takes it 1 s to notice."""
FIRST_POLL = 0.001
"""Seconds after which OpenOCD is first told to look whether the core halted; later as `poll_pause` says."""
_PROOF = "gdbflash_proof"
SLOWEST = 4096
"""Bytes a second: the slowest link that a load is waited for."""
LONGEST_REPLY = 1 << 20
"""Bytes after which whoever answers is not taken for OpenOCD any more."""


class TclPort:
    """A connection to a Tcl port; not for use by two threads at once."""

    def __init__(self, host: str, port: int, trace: Trace | None = None, patience: float = 1.0) -> None:
        """Connect; host as in `Endpoint`, an IPv6 address in brackets. Raises ServerMissing.

        patience: a factor on every time-out.
        """
        self.place = f"{host}:{port}"
        self.trace = trace
        self._patience = patience
        try:
            self._socket = socket.create_connection((host.strip("[]"), port), CONNECT_TIMEOUT * patience)
        except OSError as error:
            raise ServerMissing(
                f"OpenOCD's Tcl port was not found at {self.place} ({error.strerror or error}); "
                "name it with --tcl PORT.",
                endpoint=self.place,
            ) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self, script: str, timeout: float = ANSWER_TIMEOUT) -> str:
        """Run a Tcl script and return its result.

        Raises CommandRefused when the script fails, ConnectionLost when the port is gone, answers with something
        else, or with nothing within timeout seconds; it is closed then.
        """
        # A reply does not tell a result from an error message, so `catch` has to.
        reply = self._exchange(f'format "%d %s" [catch {{{script}}} gdbflash_said] $gdbflash_said', timeout)
        code, _, said = reply.partition(" ")
        if code == "0":
            return said
        if not code.lstrip("-").isdecimal():
            raise self._lost(f"it answered {reply[:80]!r}")
        raise CommandRefused(f"OpenOCD refused {script}: {said or code}", command=script, reply=said)

    def do(self, command: str, timeout: float = ANSWER_TIMEOUT) -> None:
        """Run a command that returns nothing, quietly: OpenOCD repeats results to its log, and to GDB.

        Raises as `run` does.
        """
        said = self._exchange(command, timeout)
        if said:
            raise CommandRefused(f"OpenOCD refused {command}: {said}", command=command, reply=said)

    def close(self) -> None:
        """Give the connection up; never raises."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def _exchange(self, command: str, timeout: float) -> str:
        if self.trace:
            self.trace(">", command)
        try:
            timeout *= self._patience
            deadline = time.monotonic() + timeout
            self._socket.settimeout(timeout)
            self._socket.sendall(command.encode() + _END)
            reply = bytearray()
            while not reply.endswith(_END):
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                chunk = self._socket.recv(1 << 16)
                reply += chunk
                if not chunk or len(reply) > LONGEST_REPLY:
                    raise self._lost("it hung up" if not chunk else "its answer has no end")
        except OSError as error:
            raise self._lost(str(error)) from error
        except BaseException:  # such as KeyboardInterrupt: the answer that is still to come would be taken for the next
            self.close()
            raise
        said = reply[:-1].decode("utf-8", "replace")
        if self.trace:
            self.trace("<", said)
        return said

    def _lost(self, why: str) -> ConnectionLost:
        self.close()
        return ConnectionLost(
            f"The connection to OpenOCD's Tcl port at {self.place} was lost ({why}); restart OpenOCD.", reply=why
        )


class TclTarget:
    """One target of an OpenOCD whose Tcl port was proved."""

    def __init__(self, port: TclPort, name: str) -> None:
        self._port = port
        self.name = name
        """What OpenOCD calls the target, such as stm32h7x.cpu0."""

    def poll(self) -> None:
        """Have OpenOCD look at the core now, and tell GDB if it halted.

        Raises CommandRefused when it cannot, ConnectionLost.
        """
        self._port.do(f"{{{self.name}}} arp_poll")

    def is_running(self) -> bool:
        """Tell whether OpenOCD has let the core run and not seen it halt; raises CommandRefused, ConnectionLost."""
        return self._port.run(f"{{{self.name}}} curstate") == "running"

    def load(self, address: int, data: bytes, directory: Path) -> None:
        """Write bytes by a file in directory, which OpenOCD reads by itself, also while the core runs.

        Raises OutputError when the file cannot be written, CommandRefused when OpenOCD cannot read it or write what is
        in it, ConnectionLost.
        """
        file = _file_in(directory, "load_image")
        try:
            fill(file, data)
            self._transfer(f"load_image {{{file.as_posix()}}} {address:#x} bin", len(data))
        finally:
            file.unlink(missing_ok=True)

    def dump(self, address: int, size: int, directory: Path) -> bytes:
        """Read bytes by a file in directory, which OpenOCD writes by itself, also while the core runs.

        Raises CommandRefused when OpenOCD cannot read them or write the file, or not all of it; ConnectionLost.
        """
        file = _file_in(directory, "dump_image")
        try:
            self._transfer(f"dump_image {{{file.as_posix()}}} {address:#x} {size}", size)
            data = file.read_bytes()
        except OSError as error:
            said = f"{file}: {error.strerror}"
            raise CommandRefused(f"OpenOCD's file cannot be read: {said}", command="dump_image", reply=said) from error
        finally:
            file.unlink(missing_ok=True)
        if len(data) != size:
            said = f"{len(data)} bytes instead of {size}"
            raise CommandRefused(f"OpenOCD read {said}.", command="dump_image", reply=said)
        return data

    def _transfer(self, command: str, size: int) -> None:
        self._port.run(f"targets {{{self.name}}}; {command}", ANSWER_TIMEOUT + size / SLOWEST)

    def trace(self, trace: Trace | None) -> None:
        """Have what is said from now on told; None: tell nobody."""
        self._port.trace = trace

    def close(self) -> None:
        """Give the port up; never raises."""
        self._port.close()


def _file_in(directory: Path, command: str) -> Path:
    """Name the file that a command uses; raises CommandRefused where Tcl could not be told its name."""
    file = directory / "beside.bin"
    if set(file.as_posix()) & set('{}\\"$[]'):
        raise CommandRefused(f"{file} cannot be named in Tcl.", command=command, reply="a special character")
    return file


def poll_pause(passed: float) -> float:
    """Give the seconds to the next poll: looking at the core costs the short call nothing, and the long one 6 %."""
    return min(max(FIRST_POLL, passed / 16), 0.1)


def find(
    host: str, port: int, monitor: Callable[[str], str], trace: Trace | None = None, patience: float = 1.0
) -> TclTarget:
    """Connect to a Tcl port and prove that it belongs to the OpenOCD that answers monitor commands.

    monitor: pass a command through GDB's connection and return what was printed. A random value is set through it and
    must be found at the port. Raises ServerMissing when nobody listens or somebody else does, and what monitor raises.
    """
    found = TclPort(host, port, trace, patience)
    secret = secrets.token_hex(16)
    try:
        name = monitor("target current").strip()
        monitor(f"set {_PROOF} {secret}")
        try:
            proof = found.run(f"set {_PROOF}", CONNECT_TIMEOUT)
        except (CommandRefused, ConnectionLost) as error:
            proof = error.message
        monitor(f"unset {_PROOF}")
        if proof != secret:
            raise ServerMissing(
                f"{found.place} is not the Tcl port of the OpenOCD that GDB is connected to; name it with --tcl PORT.",
                endpoint=found.place,
                reply=proof,
            )
    except BaseException:
        found.close()
        raise
    return TclTarget(found, name)
