"""What every GDB server must do through every GDB, or be told that it cannot."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from gdbflash.errors import CommandRefused, ConnectionLost, GdbflashError, MemoryAccessError
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import started
from gdbflash.mi.target import MiTarget
from gdbflash.target import Stop, StopReason
from tests.support import gdbservers
from tests.support.gdbservers import (
    CODE,
    GDBS,
    HANDLER,
    LONG,
    RETURN,
    SERVERS,
    STACK,
    TABLE,
    RunningServer,
    gdb_path,
    interrupt_soon,
    start_call,
)

SIZES = (1, 2, 3, 4, 7, 64, 255, 256, 257, 1000, 4096, 5003)


@dataclass
class Session:
    """A target that is connected, its server, and the lines that went to and from gdb."""

    server: RunningServer
    target: MiTarget
    gdb: str
    lines: list[str] = field(default_factory=list)

    def packets(self) -> list[str]:
        """Give the packets sent since lines was cleared, when GDB logs them."""
        return re.findall(r"Sending packet: \$(.*?)#[0-9a-f]{2}", "\n".join(self.lines))


def open_session(server: RunningServer, gdb: str) -> Session:
    lines: list[str] = []
    target = connect(server.endpoint, started(gdb_path(gdb), trace=lambda way, line: lines.append(way + line)))
    return Session(server, target, gdb, lines)


@pytest.fixture(scope="module", params=LONG)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    """Run a server for all tests that leave it alive."""
    with SERVERS[request.param]() as running:
        yield running


@pytest.fixture(scope="module", params=GDBS)
def shared(request: pytest.FixtureRequest, server: RunningServer) -> Iterator[list[Session]]:
    """Keep one connection for all tests that leave it usable, as each of them has to."""
    sessions = [open_session(server, request.param)]
    try:
        yield sessions
    finally:
        sessions[0].target.close()


@pytest.fixture
def session(shared: list[Session]) -> Session:
    try:
        shared[0].target.reset_and_halt()
    except GdbflashError:  # what an earlier, failed test left
        shared[0].target.close()
        shared[0] = open_session(shared[0].server, shared[0].gdb)
        shared[0].target.reset_and_halt()
    shared[0].lines.clear()
    return shared[0]


@pytest.fixture(params=GDBS)
def lone(request: pytest.FixtureRequest, mortal: RunningServer) -> Iterator[Session]:
    """A connection of its own, to a server of its own."""
    session = open_session(mortal, request.param)
    session.target.reset_and_halt()
    try:
        yield session
    finally:
        session.target.close()


@pytest.fixture(params=LONG)
def mortal(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with SERVERS[request.param]() as running:
        yield running


def test_the_server_is_told_by_its_own_words(session: Session) -> None:
    assert session.target.capabilities.server == session.server.profile
    assert {*(f"r{number}" for number in range(13)), "sp", "lr", "pc", "xpsr"} <= session.target.capabilities.registers


def test_registers_keep_what_is_written(session: Session) -> None:
    values = {f"r{number}": 0x11111111 * number for number in range(13)}
    values |= {"sp": session.server.ram + 0x400, "lr": 0xFFFFFFFF, "pc": session.server.ram + 0x200}
    session.target.write_registers(values)
    assert session.target.read_registers(values) == values
    assert session.target.read_registers([]) == {}


def test_an_unknown_register_is_refused_before_any_is_written(session: Session) -> None:
    session.target.write_registers({"r0": 1})
    with pytest.raises(CommandRefused, match="no register r99"):
        session.target.write_registers({"r0": 2, "r99": 3})
    with pytest.raises(CommandRefused, match="no register r99"):
        session.target.read_registers(["r99"])
    assert session.target.read_registers(["r0"]) == {"r0": 1}


@pytest.mark.parametrize("offset", [0, 1, 3])
def test_memory_at_odd_addresses_and_sizes(session: Session, offset: int) -> None:
    background = random.Random(1).randbytes(8192)
    session.target.write_memory(session.server.ram, background)
    for size in SIZES:
        data = random.Random(size).randbytes(size)
        session.target.write_memory(session.server.ram + 1024 + offset, data)
        assert session.target.read_memory(session.server.ram + 1024 + offset, size) == data
        expected = background[: 1024 + offset] + data + background[1024 + offset + size :]
        background = expected
        assert session.target.read_memory(session.server.ram, 8192) == expected
    assert session.target.read_memory(session.server.ram, 0) == b""


def test_much_memory_at_once(session: Session) -> None:
    """More than any packet carries, and than some servers can write of one."""
    data = random.Random(20_001).randbytes(20_001)
    session.target.write_memory(session.server.ram + 0x400, data)
    assert session.target.read_memory(session.server.ram + 0x400, len(data)) == data


@pytest.mark.parametrize("size", [1, 4, 255, 256, 20000])
def test_unreachable_memory_is_an_error(session: Session, size: int) -> None:
    if not session.server.tells_failed_reads:  # what is read of a loader's memory is compared by digests
        assert session.target.read_memory(session.server.unmapped, size) == bytes(size)
        return
    with pytest.raises(MemoryAccessError) as caught:
        session.target.read_memory(session.server.unmapped, size)
    assert caught.value.data["address"] == session.server.unmapped
    assert caught.value.data["size"] == size


def test_a_call_returns_and_leaves_its_results(session: Session) -> None:
    start_call(session.target, session.server, gdbservers.ADD, r0=0xFFFFFFF0, r1=0x22)
    stop = session.target.run_until(session.server.ram + RETURN, 10)
    assert stop == Stop(StopReason.ARRIVED, session.server.ram + RETURN)
    assert session.target.read_registers(["r0", "r1"]) == {"r0": 0x12, "r1": 0x22}


def test_calls_do_not_see_what_earlier_ones_left(session: Session) -> None:
    for _ in range(3):
        start_call(session.target, session.server, gdbservers.LEAVES_TRACES)
        assert session.target.run_until(session.server.ram + RETURN, 10).reason is StopReason.ARRIVED
        assert session.target.read_registers(["r0", "r1", "r12"]) == {"r0": 1, "r1": 2, "r12": 0xFFFFFFFF}
        start_call(session.target, session.server, gdbservers.ADD)
        assert session.target.read_registers(["r12", "sp"]) == {"r12": 0, "sp": session.server.ram + STACK}
        assert session.target.run_until(session.server.ram + RETURN | 1, 10).reason is StopReason.ARRIVED
        assert session.target.read_registers(["r0", "r1", "r12"]) == {"r0": 0, "r1": 0, "r12": 0}


def test_a_call_costs_at_most_ten_packets(session: Session) -> None:
    target, server = session.target, session.server

    def call(argument: int) -> int:
        gdbservers.prepare_call(target, server, r0=argument, r1=7)
        assert target.run_until(server.ram + RETURN, 10).reason is StopReason.ARRIVED
        return target.read_registers(["r0", "r1"])["r0"]

    target.write_memory(server.ram + CODE, gdbservers.ADD)
    assert call(1) == 8
    target.log_packets(True)
    session.lines.clear()
    assert call(2) == 9
    first = session.packets()
    session.lines.clear()
    assert call(3) == 10
    target.log_packets(False)
    assert len(first) <= 10, first
    assert [packet.split(":")[0] for packet in first if packet[0] in "mxg"] == ["g"], "GDB unwinds the stack"
    assert len(session.packets()) == len(first)


def test_memory_round_the_return_address_can_be_read_between_calls(session: Session) -> None:
    start = session.server.ram + RETURN
    for number in range(2):
        session.target.write_memory(start, bytes([number]) * 64)
        start_call(session.target, session.server, gdbservers.ADD, r0=number, r1=1)
        assert session.target.run_until(start, 10).reason is StopReason.ARRIVED
        there = session.server.returns_to.ljust(2, bytes([number])) + bytes([number]) * 62
        assert session.target.read_memory(start, 64) == there
        assert session.target.read_memory(start, 2048)[:64] == there


def test_the_return_address_may_change(session: Session) -> None:
    for place in (RETURN, 0x200, RETURN):
        session.target.write_memory(session.server.ram + place, bytes(8))
        start_call(session.target, session.server, gdbservers.ADD, lr=session.server.ram + place | 1)
        stop = session.target.run_until(session.server.ram + place, 10)
        assert stop == Stop(StopReason.ARRIVED, session.server.ram + place)


def test_a_call_that_never_returns_ends_with_the_time_and_the_target_stays_usable(session: Session) -> None:
    start_call(session.target, session.server, gdbservers.COUNT_FOR_EVER)
    stop = session.target.run_until(session.server.ram + RETURN, 0.2)
    assert stop.reason is StopReason.TIMEOUT
    assert stop.pc - session.server.ram in (CODE, CODE + 2)
    counted = session.target.read_registers(["r0"])["r0"]
    assert counted > 0
    assert session.target.read_registers(["r0"])["r0"] == counted, "the core still runs"
    test_a_call_returns_and_leaves_its_results(session)


def test_a_call_that_faults_ends_in_the_handler(session: Session) -> None:
    server, target = session.server, session.target
    target.write_memory(server.ram + HANDLER, gdbservers.SPIN)
    handler = server.ram + HANDLER | 1
    words = [server.ram + STACK, *[handler] * 15]
    table = server.ram + TABLE if server.vectors is None else server.vectors
    target.write_memory(table, b"".join(word.to_bytes(4, "little") for word in words))
    if server.vectors is None:
        target.write_memory(0xE000ED08, table.to_bytes(4, "little"))  # VTOR
    start_call(target, server, gdbservers.UNDEFINED)
    stop = target.run_until(server.ram + RETURN, 0.3)
    assert stop.reason is not StopReason.ARRIVED
    assert stop.pc == server.ram + HANDLER
    assert target.read_registers(["xpsr"])["xpsr"] & 0x1FF == 3
    target.reset_and_halt()
    test_a_call_returns_and_leaves_its_results(session)


# QEMU makes a HardFault of BKPT.
@pytest.mark.parametrize("server", [name for name in SERVERS if not name.startswith("qemu")], indirect=True)
def test_a_breakpoint_instruction_halts_where_it_stands(session: Session) -> None:
    start_call(session.target, session.server, gdbservers.HALT_HERE)
    stop = session.target.run_until(session.server.ram + RETURN, 10)
    assert stop == Stop(StopReason.ELSEWHERE, session.server.ram + CODE, "SIGTRAP")
    test_a_call_returns_and_leaves_its_results(session)


def test_ctrl_c_during_a_call_leaves_the_target_halted_and_usable(session: Session) -> None:
    start_call(session.target, session.server, gdbservers.COUNT_FOR_EVER)
    interrupt_soon(0.2)
    with pytest.raises(KeyboardInterrupt):
        session.target.run_until(session.server.ram + RETURN, 30)
    counted = session.target.read_registers(["r0"])["r0"]
    assert counted > 0
    assert session.target.read_registers(["r0"])["r0"] == counted
    test_a_call_returns_and_leaves_its_results(session)


def test_reset_and_halt_counts_as_a_disturbance_and_gives_fresh_registers(session: Session) -> None:
    before = session.target.disturbances
    session.target.write_registers({"r7": 0x12345678, "pc": session.server.ram + 0x200})
    session.target.reset_and_halt()
    assert session.target.disturbances == before + 1
    assert session.target.read_registers(["pc"])["pc"] != session.server.ram + 0x200
    assert session.target.read_registers(["xpsr"])["xpsr"] & 0x1FF == 0


def test_disconnect_leaves_the_core_as_it_is_for_the_next_session(lone: Session) -> None:
    start_call(lone.target, lone.server, gdbservers.ADD, r0=3, r1=4)
    lone.target.close()
    lone.target.close()
    again = connect(lone.server.endpoint, started(gdb_path(lone.gdb)))
    try:
        registers = again.read_registers(["pc", "r0", "r1"])
        if not lone.server.keeps_halted:
            assert registers["pc"] != lone.server.ram + CODE
            return
        assert registers == {"pc": lone.server.ram + CODE, "r0": 3, "r1": 4}
        assert again.run_until(lone.server.ram + RETURN, 10).reason is StopReason.ARRIVED
        assert again.read_registers(["r0"]) == {"r0": 7}
    finally:
        again.close()


def test_resume_sets_the_core_running_and_leaves_no_breakpoint(lone: Session) -> None:
    start_call(lone.target, lone.server, gdbservers.ADD)
    assert lone.target.run_until(lone.server.ram + RETURN, 10).reason is StopReason.ARRIVED
    lone.target.write_memory(lone.server.ram + RETURN, gdbservers.COUNT_FOR_EVER)
    lone.target.resume()
    lone.target.close()
    again = connect(lone.server.endpoint, started(gdb_path(lone.gdb)))
    try:
        registers = again.read_registers(["pc", "r0"])
        if not lone.server.keeps_halted:  # it was reset: that it ran is told by what it counted
            assert registers["r0"] > 0
            return
        assert registers["pc"] - lone.server.ram in (RETURN, RETURN + 2)
        assert registers["r0"] > 0
    finally:
        again.close()


def test_a_server_that_dies_during_a_call_is_reported_at_once(lone: Session) -> None:
    start_call(lone.target, lone.server, gdbservers.SPIN)
    threading.Timer(0.2, lone.server.kill).start()
    with pytest.raises(ConnectionLost, match="restart the server"):
        lone.target.run_until(lone.server.ram + RETURN, 60)
    with pytest.raises(ConnectionLost):
        lone.target.read_memory(lone.server.ram, 4)
    lone.target.close()


def test_a_server_that_dies_between_commands_is_reported(lone: Session) -> None:
    lone.server.kill()
    with pytest.raises(ConnectionLost):
        lone.target.write_memory(lone.server.ram, bytes(5000))
    with pytest.raises(ConnectionLost):
        lone.target.run_until(lone.server.ram, 60)
