"""Real GDB servers for tests: started on free ports, with what a test must know about their memory."""

from __future__ import annotations

import contextlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from gdbflash.board.faces.personality import PERSONALITIES
from gdbflash.board.faces.rsp import RspServer
from gdbflash.board.faces.stlinktcp import StlinkServer
from gdbflash.board.machine import Machine
from gdbflash.mi.target import MiTarget
from gdbflash.servers.endpoint import Endpoint, listening_ports
from gdbflash.servers.monitored_run import BKPT
from tests.support.openocd import TRANSPORTS, running_openocd
from tests.support.stutil import running_st_util

START_SECONDS = 20.0
BOARD_RAM = 0x24000000
"""AXI SRAM of the STM32H750 (RM0433, 2.3.2)."""

GDBS = {"gdb-multiarch": shutil.which("gdb-multiarch"), "gdb-pypi": str(Path(sys.executable).parent / "gdb")}
"""Both GDBs that a machine set up for the tests has."""


def gdb_path(name: str) -> Path:
    """Return a GDB of GDBS; a missing one is a failure of the set-up, not a reason to skip."""
    path = GDBS[name]
    assert path is not None, f"{name} is not installed"
    assert Path(path).exists(), f"{name} is not installed"
    return Path(path)


@dataclass(frozen=True)
class RunningServer:
    """A GDB server that listens."""

    profile: str
    """What it must be told to be."""
    port: int
    ram: int
    """Start of 64 KiB of RAM."""
    unmapped: int
    """Where nothing is, and a read is refused."""
    kill: Callable[[], None]
    """End it at once, as a crash would."""
    freeze: Callable[[], None] | None = None
    """Leave it there, but silent for ever; None where it is part of the test's own process."""
    vectors: int | None = None
    """Where the vector table must lie; None: wherever VTOR says."""
    tells_failed_reads: bool = True
    """Else they are answered with zeros."""
    keeps_halted: bool = True
    """Else the core runs, or is reset, when a client goes or comes."""
    returns_to: bytes = b""
    """What lies at the return address, as loaders are called; empty: nothing is put there."""

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(host="127.0.0.1", port=self.port)


def interrupt_soon(seconds: float) -> None:
    """Press Ctrl-C in the test's own thread after so many seconds."""
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(seconds, signal.pthread_kill, (main, signal.SIGINT)).start()


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait for the port without connecting: QEMU serves one client and takes a second one's place."""
    deadline = time.monotonic() + START_SECONDS
    while not listening_ports([port]):
        assert process.poll() is None, f"the server ended with status {process.returncode}"
        assert time.monotonic() < deadline, "the server does not listen"
        time.sleep(0.01)


def _no_core_files() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # QEMU aborts on a lockup


@contextlib.contextmanager
def running_qemu(machine: str, *arguments: str, ram: int = 0x20000000) -> Iterator[RunningServer]:
    """Run QEMU with a Cortex-M board, halted at reset."""
    port = free_port()
    command = ["qemu-system-arm", "-M", machine, "-S", "-gdb", f"tcp:127.0.0.1:{port}", "-nographic"]
    with subprocess.Popen(
        [*command, "-monitor", "none", "-serial", "none", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_no_core_files,
    ) as process:
        try:
            wait_until_listening(port, process)
            yield RunningServer(
                "qemu",
                port,
                ram,
                unmapped=0xA0000000,
                kill=process.kill,
                freeze=partial(process.send_signal, signal.SIGSTOP),
                vectors=0,
            )
        finally:
            process.kill()


@contextlib.contextmanager
def running_board(personality: str) -> Iterator[RunningServer]:
    """Run the virtual board behind its own GDB server, in one of its personalities."""
    with (
        Machine() as machine,
        RspServer(machine, personality=PERSONALITIES[personality], persistent=True) as server,
    ):
        yield RunningServer(personality, server.port, BOARD_RAM, unmapped=0xA0000000, kill=server.close)


@contextlib.contextmanager
def running_openocd_over_stlink(transport: str, returns_to: bytes = b"") -> Iterator[RunningServer]:
    """Run the real OpenOCD, with its stock configuration, over the virtual board's ST-LINK."""
    with (
        Machine() as machine,
        StlinkServer(machine) as stlink,
        running_openocd(stlink.port, transport) as openocd,
    ):
        yield RunningServer(
            "openocd",
            openocd.gdb_port,
            BOARD_RAM,
            unmapped=0xA0000000,
            kill=openocd.process.kill,
            freeze=partial(openocd.process.send_signal, signal.SIGSTOP),
            returns_to=returns_to,
        )


@contextlib.contextmanager
def running_st_util_over_stlink() -> Iterator[RunningServer]:
    """Run the real st-util over the virtual board's ST-LINK."""
    with Machine() as machine, StlinkServer(machine) as stlink, running_st_util(stlink.port, free_port()) as st_util:
        yield RunningServer(
            "st-util",
            st_util.gdb_port,
            BOARD_RAM,
            unmapped=0xA0000000,
            kill=st_util.process.kill,
            freeze=partial(st_util.process.send_signal, signal.SIGSTOP),
            tells_failed_reads=False,
            keeps_halted=False,
        )


SERVERS: dict[str, Callable[[], AbstractContextManager[RunningServer]]] = {
    "qemu-m4": lambda: running_qemu("netduinoplus2"),
    "qemu-m3": lambda: running_qemu("lm3s6965evb"),
    **{name: partial(running_board, name) for name in PERSONALITIES},
    "st-util-real": running_st_util_over_stlink,
    **{f"openocd-{transport}": partial(running_openocd_over_stlink, transport) for transport in TRANSPORTS},
    **{f"openocd-{each}-by-monitor": partial(running_openocd_over_stlink, each, BKPT) for each in TRANSPORTS},
}
"""Every server that the contract is run against."""

LONG = [
    pytest.param(each, marks=[pytest.mark.full] if each.endswith(("-by-monitor", "-real")) else []) for each in SERVERS
]
"""The same, as parameters of a test."""

# Thumb code, hand-assembled (ARMv7-M Architecture Reference Manual, chapter A7).
ADD = bytes.fromhex("40187047")  # adds r0, r0, r1; bx lr
LEAVES_TRACES = bytes.fromhex(  # a function that changes r2..r12, APSR and the stack, and returns 64 bits
    "10b4"  # push {r4}
    "4ff0ff32"  # mov.w r2, #-1
    "1346"  # mov r3, r2
    "9446"  # mov r12, r2
    "10bc"  # pop {r4}
    "0120"  # movs r0, #1
    "0221"  # movs r1, #2
    "7047"  # bx lr
)
SPIN = bytes.fromhex("fee7")  # b .
COUNT_FOR_EVER = bytes.fromhex("0130fde7")  # adds r0, #1; b to it
HALT_HERE = bytes.fromhex("00be7047")  # bkpt #0; bx lr
UNDEFINED = bytes.fromhex("00de7047")  # udf #0: a UsageFault, escalated to HardFault

RETURN = 0x0
"""Offset of the return word in RAM, as loaders linked at RAM + 4 leave it."""
CODE = 0x100
HANDLER = 0x300
TABLE = 0x400
STACK = 0x8000


def start_call(target: MiTarget, server: RunningServer, code: bytes, **registers: int) -> None:
    """Put code into RAM and set every register for a call of it."""
    target.write_memory(server.ram + CODE, code)
    if server.returns_to:
        place = registers.get("lr", server.ram + RETURN) & ~1
        target.write_memory(place, server.returns_to)
    prepare_call(target, server, **registers)


def prepare_call(target: MiTarget, server: RunningServer, **registers: int) -> None:
    """Set every register for a call of the code that is there."""
    known = target.capabilities.registers
    values = {
        "control": 0,
        "psp": 0,
        "msp": server.ram + STACK,
        "primask": 1,
        **{f"r{number}": 0 for number in range(13)},
        "sp": server.ram + STACK,
        "lr": server.ram + RETURN | 1,
        "pc": server.ram + CODE,
        "xpsr": 0x01000000,
        **registers,
    }
    target.write_registers({name: value for name, value in values.items() if name in known})
