"""Measure gdbflash on the virtual board: every figure is a ratio within this run, for machines differ.

Prints one table: what was measured, the figure, the limit that it has to keep, and whether it does.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rich.console import Console
from rich.table import Table

from gdbflash.board.machine import Machine
from gdbflash.board.stlinktcp import StlinkServer
from gdbflash.call import Call, Returned
from gdbflash.endpoint import parse_endpoint
from gdbflash.events import Event, Finished
from gdbflash.flasher import Flasher
from gdbflash.gdbs import find_gdb
from gdbflash.image import Block
from gdbflash.layout import Layout
from gdbflash.loader import load_loader
from gdbflash.miconnect import connect
from gdbflash.mitarget import MiTarget
from gdbflash.options import After, RunOptions, VerifyMode
from gdbflash.plan import EraseMode, plan_write
from gdbflash.ranges import Range
from gdbflash.session import LoadedLoader, Operation
from tests.boards import LOADER, LOADER_WITHOUT_READ, RunningBoard, running_board
from tests.openocd import TRANSPORTS, running_openocd

FLASH = 0x90000000
MIB = 1 << 20
RAM = 0x24000000
CALLS = 200
OPENOCD_CALLS = 40
"""Each takes 0.1 s without the Tcl port."""


class Figures:
    """Collect measurements and print them."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, bool | None]] = []

    def add(self, name: str, value: float, limit: float | None = None, unit: str = "") -> None:
        """Take a figure and the most that it may be."""
        kept = None if limit is None else value <= limit
        self.rows.append((name, f"{value:.3g}{unit}", "" if limit is None else f"<= {limit:g}{unit}", kept))

    def show(self) -> bool:
        """Print the table; say whether every limit is kept."""
        table = Table("figure", "measured", "limit", "", box=None)
        for name, value, limit, kept in self.rows:
            table.add_row(name, value, limit, {True: "ok", False: "MISSED", None: ""}[kept])
        Console().print(table)
        return all(kept is not False for *_, kept in self.rows)


def timed(work: Callable[[], object]) -> float:
    """Run work once and give its seconds."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def median(work: Callable[[], object], times: int) -> float:
    """Give the median of several runs."""
    return statistics.median(timed(work) for _ in range(times))


class RawRsp:
    """The least that a call can be over the remote protocol: what gdbflash is measured against."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pending = b""
        self.ask("QStartNoAckMode")
        self._socket.sendall(b"+")

    def ask(self, packet: str) -> str:
        """Send a packet and wait for its reply."""
        self._socket.sendall(b"$%s#%02x" % (packet.encode(), sum(packet.encode()) & 0xFF))
        while True:
            start = self._pending.find(b"$")
            end = self._pending.find(b"#", start)
            if 0 <= start < end and len(self._pending) >= end + 3:
                reply, self._pending = self._pending[start + 1 : end], self._pending[end + 3 :]
                return reply.decode("latin-1")
            chunk = self._socket.recv(65536)
            if not chunk:
                raise ConnectionError("the board hung up")
            self._pending += chunk

    def close(self) -> None:
        """Leave the core as it is."""
        self.ask("D")
        self._socket.close()


NUMBERS = {**{f"r{index}": index for index in range(13)}, "sp": 13, "lr": 14, "pc": 15, "xpsr": 25}


def raw_registers(call: Call, layout: Layout) -> dict[str, int]:
    """Give all registers of a call that is entered directly, as the least that a client can do."""
    arguments = {f"r{index}": value for index, value in enumerate(call.arguments)}
    places = {"r9": layout.scratch.address, "sp": layout.stack_top, "lr": layout.return_address | 1, "pc": call.address}
    return {**dict.fromkeys(NUMBERS, 0), **arguments, **places, "xpsr": 0x01000000}


def raw_call(rsp: RawRsp, registers: dict[str, int], changed: tuple[str, ...]) -> None:
    """Write the registers that a call changes, run to the breakpoint, and read r0 and r1."""
    for name in changed:
        rsp.ask(f"P{NUMBERS[name]:x}={registers[name].to_bytes(4, 'little').hex()}")
    rsp.ask("vCont;c")
    rsp.ask("p0")
    rsp.ask("p1")


@contextmanager
def opened(board: RunningBoard, loader: Path, gdb: Path) -> Iterator[tuple[MiTarget, LoadedLoader]]:
    """Give a loader in RAM."""
    target = connect(parse_endpoint(board.endpoint), gdb)
    try:
        with Flasher(target, RunOptions(after=After.HALT), lambda _: None) as flasher:
            yield target, flasher.open(load_loader(loader))
    finally:
        target.close()


def measure_calls(figures: Figures, gdb: Path) -> None:
    """Compare a loader call through GDB/MI with the same call over raw RSP."""
    with running_board() as board:
        loader = load_loader(LOADER)
        call = Call("CheckSum", loader.functions["CheckSum"], (FLASH, 4, 0))
        with opened(board, LOADER, gdb) as (_, loaded):
            layout = loaded.layout
            loaded.call(Call("Init", loader.functions["Init"]))
            loaded.call(call)
            before = board.server.packets.total()
            through_mi = median(lambda: loaded.call(call), CALLS)
            packets = (board.server.packets.total() - before) / CALLS
        rsp = RawRsp(board.server.port)
        registers = raw_registers(call, layout)
        rsp.ask(f"Z0,{layout.return_address:x},2")
        changed = ("r0", "r1", "r2", "r3", "r12", "lr", "pc")
        for name, number in NUMBERS.items():
            rsp.ask(f"P{number:x}={registers[name].to_bytes(4, 'little').hex()}")
        raw = median(lambda: raw_call(rsp, registers, changed), CALLS)
        rsp.ask(f"z0,{layout.return_address:x},2")
        rsp.close()
    figures.add("RSP packets per loader call", packets, 10)
    figures.add("loader call / the same over raw RSP", through_mi / raw, 5, "x")
    figures.add("  one loader call through GDB/MI", through_mi * 1000, None, " ms")


def measure_mapped_read(figures: Figures, gdb: Path) -> None:
    """Compare reading mapped flash with one plain dump of the same range in the same GDB, and the proof of it too."""
    size = 4 * MIB
    seconds: dict[str, list[float]] = {}

    def note(event: Event) -> None:
        if isinstance(event, Finished):
            seconds.setdefault(event.phase, []).append(event.seconds)

    with running_board() as board, tempfile.TemporaryDirectory() as folder:
        board.chip.memory[:size] = random.Random(4).randbytes(size)
        target = connect(parse_endpoint(board.endpoint), gdb)
        loader = load_loader(LOADER_WITHOUT_READ)
        with Flasher(target, RunOptions(after=After.HALT), note) as flasher:
            file = Path(folder, "dump.bin")
            flasher.read(loader, Range(FLASH, 256), lambda _: None)
            seconds.clear()
            plain = []
            for _ in range(5):
                flasher.read(loader, Range(FLASH, size), lambda _: None)
                dump = f"dump binary memory {file} {FLASH:#x} {FLASH + size:#x}"
                plain.append(timed(lambda dump=dump: target._client.console(dump, timeout=60)))  # type: ignore[misc]
        target.close()
    read, proof = (statistics.median(seconds[phase]) / statistics.median(plain) for phase in ("read", "verify"))
    figures.add("reading 4 MiB of mapped flash / one dump", read, 1.3, "x")
    figures.add("  the digests that prove it / one dump", proof, None, "x")


@contextmanager
def behind_openocd(transport: str, gdb: Path) -> Iterator[tuple[RunningBoard, MiTarget, int]]:
    """Give a board with OpenOCD over its ST-LINK, a target connected to that, and OpenOCD's Tcl port."""
    with (
        running_board() as board,
        StlinkServer(board.machine) as stlink,
        running_openocd(stlink.port, transport) as openocd,
    ):
        target = connect(parse_endpoint(f"127.0.0.1:{openocd.gdb_port}"), gdb)
        try:
            yield board, target, openocd.tcl_port
        finally:
            target.close()


class CoreWatch:
    """Add up how long the core runs, as the board itself sees it."""

    def __init__(self, machine: Machine) -> None:
        self.seconds = 0.0
        self._machine = machine
        self._resume = machine.resume
        machine.resume = self._run  # type: ignore[method-assign]

    def _run(self) -> None:
        begun = time.perf_counter()
        self._resume()
        threading.Thread(target=self._wait, args=(begun,), daemon=True).start()

    def _wait(self, begun: float) -> None:
        self._machine.wait_halted(None)
        self.seconds += time.perf_counter() - begun


def program(target: MiTarget, watch: CoreWatch, data: bytes) -> tuple[float, float, tuple[int, ...]]:
    """Program data into a blank chip; gives the seconds of it all, those that Write ran, and the sizes of its calls."""
    events: list[Event] = []
    running, sizes = [], []
    loader = load_loader(LOADER)
    jobs = plan_write((loader,), (Block(FLASH, data),), erase=EraseMode.NONE)
    with Flasher(target, RunOptions(after=After.HALT), events.append) as flasher:
        opened = flasher.open(loader)
        perform = opened.call

        def call(call: Call, data: bytes = b"") -> Returned:
            before = watch.seconds
            returned = perform(call, data)
            if call.function == "Write":
                running.append(watch.seconds - before)
                sizes.append(len(data))
            return returned

        opened.call = call  # type: ignore[method-assign]
        flasher.write(jobs, VerifyMode.NONE, full=True)
    whole = sum(each.seconds for each in events if isinstance(each, Finished) and each.phase == "program")
    return whole, sum(running), tuple(sizes)


def measure_openocd(figures: Figures, gdb: Path, transport: str) -> None:
    """Measure a loader call with and without the Tcl port, and a write against what it is made of."""
    loader = load_loader(LOADER)
    call = Call("CheckSum", loader.functions["CheckSum"], (FLASH, 4, 0))
    data = random.Random(6).randbytes(MIB)
    with behind_openocd(transport, gdb) as (board, target, tcl_port):
        with Flasher(target, RunOptions(after=After.HALT), lambda _: None) as flasher:
            loaded = flasher.open(loader, Operation.READ)
            alone = median(lambda: loaded.call(call), OPENOCD_CALLS)
            target.use_tcl("127.0.0.1", tcl_port)
            with_tcl = median(lambda: loaded.call(call), OPENOCD_CALLS)
        whole, running, sizes = program(target, CoreWatch(board.machine), data)
        if bytes(board.chip.memory[:MIB]) != data:
            raise SystemExit(f"OpenOCD, {transport}: what was written is not in the chip")
        sent = sum(timed(lambda size=size: target.write_memory(RAM, data[:size])) for size in sizes)  # type: ignore[misc]
    figures.add(f"OpenOCD, {transport}: a loader call", with_tcl * 1000, 40, " ms")
    figures.add("  the same without the Tcl port", alone * 1000, None, " ms")
    figures.add("  writing 1 MiB / (restore + run time of the Write calls)", whole / (sent + running), 1.3, "x")
    figures.add("  calls it took", len(sizes))


def measure_info(figures: Figures) -> None:
    """Time `gdbflash info` as a process."""
    command = [sys.executable, "-m", "gdbflash", "info", str(LOADER)]
    run = lambda: subprocess.run(command, check=True, capture_output=True)  # noqa: E731
    run()
    figures.add("gdbflash info", median(run, 7), 0.3, " s")


def measure_memory(figures: Figures) -> None:
    """Write a 16 MiB image in a process of its own and ask for its peak memory."""
    with running_board() as board, tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "image.bin")
        image.write_bytes(random.Random(5).randbytes(16 * MIB))
        words = [sys.executable, "-m", "gdbflash", "-q", "write", f"{image}@{FLASH:#x}", "--connect", board.endpoint]
        child = subprocess.Popen([*words, "-l", str(LOADER)], env={**os.environ, "GDBFLASH_STATE": folder})
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"writing 16 MiB ended with exit code {child.returncode}")
    # ru_maxrss counts KiB on Linux, bytes on macOS (getrusage(2)).
    peak = usage.ru_maxrss / (1024 if sys.platform != "darwin" else MIB)
    figures.add("peak memory of writing 16 MiB", peak, 150, " MiB")


def main() -> int:
    """Run the measurements and print the table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    gdb = find_gdb()
    figures = Figures()
    measure_info(figures)
    measure_calls(figures, gdb)
    measure_mapped_read(figures, gdb)
    for transport in TRANSPORTS:
        measure_openocd(figures, gdb, transport)
    measure_memory(figures)
    return 0 if figures.show() else 1


if __name__ == "__main__":
    sys.exit(main())
