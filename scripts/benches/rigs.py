"""The servers that are measured, each with a chip behind it and what a measurement has to know of them."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gdbflash.board.chips.w25q import W25Q
from gdbflash.board.faces.rsp import RspServer
from gdbflash.board.faces.stlinktcp import StlinkServer
from gdbflash.board.machine import Machine
from gdbflash.board.tempo import Tempo
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import start_gdb
from gdbflash.mi.target import MiTarget
from gdbflash.plan import pace
from gdbflash.ranges import Range
from gdbflash.servers.endpoint import parse_endpoint
from tests.support.boards import LOADER, LOADER_WITHOUT_READ
from tests.support.openocd import TRANSPORTS, running_openocd
from tests.support.qemuboard import AST1030, running_qemu

LINK_KIB_S = 500.0
LINK_LATENCY_US = 125.0
"""A usual probe: SWD at some MHz behind high-speed USB, whose microframes are 125 us apart."""
OPENOCD = tuple(f"OpenOCD {transport}" for transport in TRANSPORTS)
SERVERS = ("board", *OPENOCD, "QEMU")
_patience = pace.CALL_SECONDS


class Packets:
    """Counts what GDB says that it sends: the trace of a client that logs packets."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, direction: str, line: str) -> None:
        """Take a line of the traffic."""
        if direction == "<" and "Sending packet: " in line:
            self.count += line.count("Sending packet: ")


class CoreWatch:
    """Adds up how long the core runs, as the board itself sees it."""

    def __init__(self, machine: Machine) -> None:
        self.seconds = 0.0
        self._machine = machine
        self._resume = machine.resume
        self._thread = threading.Thread()
        machine.resume = self._run  # type: ignore[method-assign]

    def _run(self) -> None:
        begun = time.perf_counter()
        self._resume()
        self._thread = threading.Thread(target=self._wait, args=(begun,), daemon=True)
        self._thread.start()

    def _wait(self, begun: float) -> None:
        self._machine.wait_halted(None)
        self.seconds += time.perf_counter() - begun


@dataclass
class Rig:
    """A running server."""

    name: str
    port: int
    loader: Path
    loader_without_read: Path | None
    flash: int
    ram: Range | None
    free_ram: int
    """Where 500 KiB of RAM may be overwritten while no loader is needed there."""
    tcl_port: int | None = None
    watch: CoreWatch | None = None
    chip: W25Q | None = None
    scale: float = 1.0

    @contextmanager
    def target(self, *, tcl: bool = True, packets: Packets | None = None) -> Iterator[MiTarget]:
        """Connect to it."""
        target = connect(parse_endpoint(f"127.0.0.1:{self.port}"), start_gdb(trace=packets))
        try:
            if tcl and self.tcl_port is not None:
                target.use_tcl("127.0.0.1", self.tcl_port)
            yield target
        finally:
            target.close()


@contextmanager
def rig(name: str, *, realistic: bool = False, scale: float = 1.0) -> Iterator[Rig]:
    """Run one of SERVERS; realistic: its link and its chip take their time, stretched by scale.

    What the tool itself takes for a long call is stretched with them. QEMU has neither link nor chip to slow down.
    """
    if name == "QEMU":
        with tempfile.TemporaryDirectory() as folder, running_qemu(AST1030, Path(folder)) as qemu:
            yield Rig(name, qemu.port, AST1030.build(), None, AST1030.flash, Range(0x10000, 704 << 10), 0x20000)
        return
    tempo = Tempo(LINK_KIB_S, LINK_LATENCY_US, data_sheet=True, scale=scale) if realistic else Tempo()
    clock = tempo.clock()
    with contextlib.ExitStack() as parts:
        chip = W25Q(clock, timing=tempo.chip)
        parts.callback(chip.close)
        machine = parts.enter_context(Machine(chip, clock=clock))
        watch = CoreWatch(machine)
        pace.CALL_SECONDS = _patience * tempo.scale
        parts.callback(setattr, pace, "CALL_SECONDS", _patience)
        rest = (LOADER, LOADER_WITHOUT_READ, 0x90000000, None, 0x24001000)
        if name == "board":
            server = parts.enter_context(RspServer(machine, link=tempo.rsp_link()))
            yield Rig(name, server.port, *rest, None, watch, chip, tempo.scale)
            return
        stlink = parts.enter_context(StlinkServer(machine, link=tempo.stlink_link()))
        openocd = parts.enter_context(running_openocd(stlink.port, name.partition(" ")[2]))
        yield Rig(name, openocd.gdb_port, *rest, openocd.tcl_port, watch, chip, tempo.scale)
