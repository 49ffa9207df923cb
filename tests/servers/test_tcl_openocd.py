"""The Tcl port of a real OpenOCD, beside GDB's connection to it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from gdbflash.board.faces.stlinktcp import StlinkServer
from gdbflash.board.machine import Machine
from gdbflash.errors import ConnectionLost, ServerMissing
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import started
from gdbflash.mi.target import MiTarget
from gdbflash.servers.endpoint import Endpoint
from gdbflash.target import Stop, StopReason
from tests.support import gdbservers
from tests.support.gdbservers import BOARD_RAM, CODE, GDBS, RETURN, RunningServer, gdb_path, start_call
from tests.support.openocd import TRANSPORTS, Openocd, running_openocd


@dataclass
class Bench:
    """A target whose OpenOCD does not look at its core by itself: only the Tcl port can tell of a halt."""

    target: MiTarget
    openocd: Openocd
    machine: Machine
    stlink: StlinkServer

    @property
    def server(self) -> RunningServer:
        return RunningServer("openocd", self.openocd.gdb_port, BOARD_RAM, 0xA0000000, self.openocd.process.kill)


@contextmanager
def opened(transport: str, gdb: str) -> Iterator[Bench]:
    with (
        Machine() as machine,
        StlinkServer(machine) as stlink,
        running_openocd(stlink.port, transport) as openocd,
    ):
        target = connect(Endpoint(host="127.0.0.1", port=openocd.gdb_port), started(gdb_path(gdb)))
        try:
            target.reset_and_halt()
            yield Bench(target, openocd, machine, stlink)
        finally:
            target.close()


@pytest.fixture(params=zip(TRANSPORTS, GDBS, strict=True), ids="-".join)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with opened(*request.param) as running:
        yield running


def reaches_running_core(target: MiTarget) -> bool:
    return target.capabilities.memory_while_running


class Relay:
    """A port that passes everything on to another one, until it is closed."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, args=(port,), daemon=True).start()

    def _accept(self, port: int) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(("127.0.0.1", port))
        self._ends += [near, far]
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(4096):
                sink.sendall(chunk)

    def close(self) -> None:
        self._listener.close()
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def test_a_halt_is_told_at_once(bench: Bench) -> None:
    assert not reaches_running_core(bench.target)
    bench.target.use_tcl("127.0.0.1", bench.openocd.tcl_port)
    assert reaches_running_core(bench.target)
    bench.openocd.run("poll off")
    for argument in range(3):
        start_call(bench.target, bench.server, gdbservers.ADD, r0=argument, r1=0x22)
        assert bench.target.run_until(BOARD_RAM + RETURN, 10) == Stop(StopReason.ARRIVED, BOARD_RAM + RETURN)
        assert bench.target.read_registers(["r0"]) == {"r0": argument + 0x22}
    assert bench.openocd.run("info exists gdbflash_proof") == "0"


def test_a_call_that_never_returns_ends_with_the_time(bench: Bench) -> None:
    bench.target.use_tcl("127.0.0.1", bench.openocd.tcl_port)
    start_call(bench.target, bench.server, gdbservers.COUNT_FOR_EVER)
    stop = bench.target.run_until(BOARD_RAM + RETURN, 0.3)
    assert stop.reason is StopReason.TIMEOUT
    assert stop.pc - BOARD_RAM in (CODE, CODE + 2)
    start_call(bench.target, bench.server, gdbservers.ADD, r0=1, r1=2)
    assert bench.target.run_until(BOARD_RAM + RETURN, 10).reason is StopReason.ARRIVED


def test_polls_become_rare_in_a_long_call(bench: Bench) -> None:
    polls = 0
    bench.target.use_tcl("127.0.0.1", bench.openocd.tcl_port)
    found = bench.target._tcl
    assert found is not None
    original = found.poll

    def counted() -> None:
        nonlocal polls
        polls += 1
        original()

    found.poll = counted  # type: ignore[method-assign]
    start_call(bench.target, bench.server, gdbservers.SPIN)
    assert bench.target.run_until(BOARD_RAM + RETURN, 1.6).reason is StopReason.TIMEOUT
    # 16 of 1 ms, then each 17/16 later than the one before: ln(1.6 / 0.016) / ln(17/16) = 76 more
    assert 10 <= polls <= 92


def test_a_port_that_vanishes_in_the_middle_of_a_call_is_done_without(bench: Bench) -> None:
    relay = Relay(bench.openocd.tcl_port)
    bench.target.use_tcl("127.0.0.1", relay.port)
    start_call(bench.target, bench.server, gdbservers.COUNT_FOR_EVER)
    threading.Timer(0.2, relay.close).start()
    assert bench.target.run_until(BOARD_RAM + RETURN, 0.6).reason is StopReason.TIMEOUT
    assert not reaches_running_core(bench.target)
    start_call(bench.target, bench.server, gdbservers.ADD, r0=1, r1=2)
    assert bench.target.run_until(BOARD_RAM + RETURN, 10).reason is StopReason.ARRIVED
    assert bench.target.read_registers(["r0"]) == {"r0": 3}


def test_an_openocd_that_dies_takes_both_connections_with_it(bench: Bench) -> None:
    bench.target.use_tcl("127.0.0.1", bench.openocd.tcl_port)
    start_call(bench.target, bench.server, gdbservers.SPIN)
    threading.Timer(0.2, bench.openocd.process.kill).start()
    with pytest.raises(ConnectionLost, match="restart the server"):
        bench.target.run_until(BOARD_RAM + RETURN, 60)


def test_another_openocd_is_not_taken_for_ours(bench: Bench) -> None:
    with (
        Machine() as machine,
        StlinkServer(machine) as stlink,
        running_openocd(stlink.port, "hla_swd") as other,
        pytest.raises(ServerMissing, match="not the Tcl port of the OpenOCD that GDB is connected to"),
    ):
        bench.target.use_tcl("127.0.0.1", other.tcl_port)
    assert not reaches_running_core(bench.target)
    start_call(bench.target, bench.server, gdbservers.ADD, r0=1, r1=2)
    assert bench.target.run_until(BOARD_RAM + RETURN, 10).reason is StopReason.ARRIVED


def test_gdbs_own_port_is_not_taken_for_the_tcl_port(bench: Bench) -> None:
    with pytest.raises(ServerMissing):
        bench.target.use_tcl("127.0.0.1", bench.openocd.gdb_port)
    assert bench.target.read_memory(BOARD_RAM, 4) == bench.machine.read_memory(BOARD_RAM, 4)
