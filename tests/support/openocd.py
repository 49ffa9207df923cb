"""OpenOCD for tests: the real one, on free ports, against a virtual ST-LINK."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TRANSPORTS = ("hla_swd", "dapdirect_swd")

_INTERFACES = {
    "hla_swd": (
        "source [find interface/stlink.cfg]",
        "hla_stlink_backend tcp {port}",
        "transport select hla_swd",
    ),
    "dapdirect_swd": (
        "source [find interface/stlink-dap.cfg]",
        "st-link backend tcp {port}",
        "transport select dapdirect_swd",
    ),
}
_END_OF_REPLY = b"\x1a"
_START_TIMEOUT_S = 20


class OpenocdFailed(Exception):
    """OpenOCD ended before it listened; the message is its log."""


class CommandFailed(Exception):
    """OpenOCD refused a command; the message is the command and what it said."""


@dataclass(frozen=True)
class Openocd:
    """A running OpenOCD."""

    gdb_port: int
    tcl_port: int
    log_file: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self.log_file.read_text(errors="replace")

    def run(self, command: str, timeout: float = 30) -> str:
        """Run a command through the Tcl port and return what it prints or gives; raises CommandFailed."""
        script = f"set failed [catch {{capture {{{command}}}}} text]; format {{%d %s}} [expr {{$failed != 0}}] $text"
        with socket.create_connection(("127.0.0.1", self.tcl_port), timeout) as connection:
            connection.sendall(script.encode() + _END_OF_REPLY)
            reply = b""
            while not reply.endswith(_END_OF_REPLY):
                chunk = connection.recv(65536)
                if not chunk:
                    raise ConnectionError(f"OpenOCD hung up during {command!r}:\n{self.log}")
                reply += chunk
        failed, _, text = reply[:-1].decode(errors="replace").partition(" ")
        if failed != "0":
            raise CommandFailed(f"{command}: {text.strip()}")
        return text.strip()


@contextmanager
def running_openocd(
    stlink_port: int,
    transport: str,
    *,
    before_target: tuple[str, ...] = (),
    before_init: tuple[str, ...] = (),
    target: str = "target/stm32h7x.cfg",
) -> Iterator[Openocd]:
    """Run OpenOCD with its stock configuration over the ST-LINK server at stlink_port; raises OpenocdFailed."""
    with tempfile.TemporaryDirectory() as directory:
        log_file = Path(directory, "openocd.log")
        gdb_port, tcl_port = _free_ports(2)
        commands = [
            f"gdb_port {gdb_port}",
            f"tcl_port {tcl_port}",
            "telnet_port disabled",
            *(line.format(port=stlink_port) for line in _INTERFACES[transport]),
            *before_target,
            f"source [find {target}]",
            *before_init,
            "init",
        ]
        arguments = [argument for command in commands for argument in ("-c", command)]
        with (
            log_file.open("wb") as log,
            subprocess.Popen(
                ["openocd", *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            ) as process,
        ):
            try:
                _wait_until_listening(process, gdb_port, log_file)
                yield Openocd(gdb_port, tcl_port, log_file, process)
            finally:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(listener.getsockname()[1]) for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def _wait_until_listening(process: subprocess.Popen[bytes], gdb_port: int, log_file: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    sign = f"Listening on port {gdb_port} for gdb"
    while sign not in log_file.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise OpenocdFailed(log_file.read_text(errors="replace"))
        time.sleep(0.01)
