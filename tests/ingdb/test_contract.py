"""What holds for every target holds for the one inside GDB too: the same tests, another target."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import pytest

from gdbflash.board.faces.personality import PERSONALITIES
from gdbflash.board.faces.rsp import RspServer
from gdbflash.errors import GdbflashError
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import started
from gdbflash.servers.profiles import PROFILES
from gdbflash.target import Stop, StopReason
from tests.servers import test_contract
from tests.servers.test_contract import Session
from tests.support import gdbservers
from tests.support.gdbservers import CODE, GDBS, LONG, RETURN, SERVERS, RunningServer, gdb_path
from tests.support.ingdbproxy import InGdb
from tests.support.rsp_double import RAM_START, RamBoard

COUNTS_PACKETS = "test_a_call_costs_at_most_ten_packets"
"""Counted here against the other target instead."""

globals().update(
    (name, test) for name, test in vars(test_contract).items() if name.startswith("test_") and name != COUNTS_PACKETS
)

CHOSEN = ("qemu-m4", "board", "openocd-dapdirect_swd", "openocd-hla_swd-by-monitor")


def open_session(server: RunningServer, gdb: str) -> Session:
    target = InGdb(gdb_path(gdb), str(server.endpoint), PROFILES[server.profile].attach)
    return Session(server, target, gdb, target.lines)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=[each for each in LONG if each.values[0] in CHOSEN])
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with SERVERS[request.param]() as running:
        yield running


@pytest.fixture(scope="module", params=GDBS)
def shared(request: pytest.FixtureRequest, server: RunningServer) -> Iterator[list[Session]]:
    """Keep one GDB for all tests that leave it usable, as each of them has to."""
    sessions = [open_session(server, request.param)]
    try:
        yield sessions
    finally:
        sessions[0].target.close()


@pytest.fixture
def session(shared: list[Session]) -> Session:
    try:
        shared[0].target.reset_and_halt()
    except (GdbflashError, EOFError, OSError):  # what an earlier, failed test left
        shared[0].target.close()
        shared[0] = open_session(shared[0].server, shared[0].gdb)
        shared[0].target.reset_and_halt()
    return shared[0]


@pytest.fixture(params=[each for each in LONG if each.values[0] in CHOSEN])
def mortal(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with SERVERS[request.param]() as running:
        yield running


@pytest.fixture(params=GDBS)
def lone(request: pytest.FixtureRequest, mortal: RunningServer) -> Iterator[Session]:
    """A GDB of its own, connected to a server of its own."""
    session = open_session(mortal, request.param)
    session.target.reset_and_halt()
    try:
        yield session
    finally:
        session.target.close()


def packets_of_a_call(session: Session) -> list[str]:
    """Make the same call twice and give the packets of the second one."""
    target, server = session.target, session.server
    target.write_memory(server.ram + CODE, gdbservers.LEAVES_TRACES)
    for _ in range(2):
        session.lines.clear()
        gdbservers.prepare_call(target, server, r0=1, r1=7)
        assert target.run_until(server.ram + RETURN, 10).reason is StopReason.ARRIVED
        target.read_registers(["r0", "r1"])
    packets = session.packets()
    assert [packet for packet in packets if packet.startswith("vCont;c")], packets
    assert [packet for packet in packets if packet.startswith("P1=")], packets
    return packets


def test_a_call_costs_at_most_twice_the_packets_of_the_command_line(lone: Session) -> None:
    inside = packets_of_a_call(lone)
    lone.target.close()
    lines: list[str] = []
    target = connect(
        lone.server.endpoint, started(gdb_path(lone.gdb), trace=lambda way, line: lines.append(way + line))
    )
    try:
        target.reset_and_halt()
        target.log_packets(True)
        outside = packets_of_a_call(Session(lone.server, target, lone.gdb, lines))
    finally:
        target.close()
    assert len(inside) <= 2 * len(outside), (inside, outside)
    assert not [packet for packet in inside if re.match(r"[mx][0-9a-f]", packet)], "GDB unwinds the stack"


@pytest.mark.parametrize("gdb", GDBS)
def test_a_core_that_stopped_nowhere_did_not_arrive_although_its_pc_is_there(gdb: str) -> None:
    board = RamBoard()
    with RspServer(board, personality=PERSONALITIES["board"]) as server:
        target = InGdb(gdb_path(gdb), f"127.0.0.1:{server.port}")
        try:
            target.write_registers({"pc": RAM_START + 0x100})
            threading.Timer(0.1, board.registers.update, ({"pc": RAM_START},)).start()
            assert target.run_until(RAM_START, 0.3) == Stop(StopReason.TIMEOUT, RAM_START, "SIGINT")
        finally:
            target.close()


@pytest.mark.parametrize("gdb", GDBS)
def test_single_precision_registers_are_halves_of_what_the_server_has(gdb: str) -> None:
    board = RamBoard()
    with RspServer(board, personality=PERSONALITIES["board"]) as server:
        target = InGdb(gdb_path(gdb), f"127.0.0.1:{server.port}")
        try:
            target.lines.clear()
            target.write_registers({"s0": 0x7FC12345, "s1": 1, "s17": 0xC0490FDB, "fpscr": 0x03000000})
            sent = [line for line in target.lines if "$P" in line]
            assert len(sent) == 3, sent
            expected = {"s0": 0x7FC12345, "s1": 1, "s16": board.registers["s16"], "s17": 0xC0490FDB}
            assert {name: board.registers[name] for name in expected} == expected
            assert target.read_registers(expected) == expected
            assert target.read_registers(["fpscr"]) == {"fpscr": 0x03000000}
        finally:
            target.close()
