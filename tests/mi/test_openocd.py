"""OpenOCD tells late, or not at all, that memory could not be reached: nothing of that passes as data."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gdbflash.board.faces.stlinktcp import LinkFailure, StlinkLink, StlinkServer
from gdbflash.board.machine import Machine
from gdbflash.errors import ConnectionLost, GdbflashError, MemoryAccessError
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import started
from gdbflash.mi.target import MiTarget
from gdbflash.servers.endpoint import Endpoint
from tests.support import gdbservers
from tests.support.folders import left_in
from tests.support.gdbservers import BOARD_RAM, GDBS, RunningServer, gdb_path, interrupt_soon, start_call
from tests.support.openocd import TRANSPORTS, running_openocd

END_OF_RAM = BOARD_RAM + 0x80000
"""AXI SRAM has 512 KiB (RM0433, 2.3.2)."""


@dataclass
class Bench:
    target: MiTarget
    link: StlinkLink
    machine: Machine
    server: RunningServer


@pytest.fixture(params=[("gdb-multiarch", "hla_swd"), ("gdb-pypi", "dapdirect_swd")], ids="-".join)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    assert {request.param[0]} <= set(GDBS)
    assert {request.param[1]} <= set(TRANSPORTS)
    gdb, transport = request.param
    link = StlinkLink()
    with (
        Machine() as machine,
        StlinkServer(machine, link=link) as stlink,
        running_openocd(stlink.port, transport) as openocd,
    ):
        target = connect(Endpoint(host="127.0.0.1", port=openocd.gdb_port), started(gdb_path(gdb)))
        target.reset_and_halt()
        try:
            yield Bench(
                target,
                link,
                machine,
                RunningServer("openocd", openocd.gdb_port, BOARD_RAM, unmapped=0xA0000000, kill=openocd.process.kill),
            )
        finally:
            target.close()


@pytest.mark.parametrize("size", [1, 2, 100, 8192, 70001])
def test_real_zeros_are_data(bench: Bench, size: int) -> None:
    bench.target.write_memory(BOARD_RAM, b"\xff" * (size + 2))
    bench.target.write_memory(BOARD_RAM + 1, bytes(size))
    assert bench.target.read_memory(BOARD_RAM, size + 2) == b"\xff" + bytes(size) + b"\xff"
    assert bench.target.read_memory(BOARD_RAM + 1, size) == bytes(size)


@pytest.mark.parametrize("size", [2, 300, 40000])
def test_a_read_across_the_end_of_ram_is_an_error(bench: Bench, size: int) -> None:
    data = random.Random(2).randbytes(size)
    bench.target.write_memory(END_OF_RAM - size, data)
    assert bench.target.read_memory(END_OF_RAM - size, size) == data
    with pytest.raises(MemoryAccessError):
        bench.target.read_memory(END_OF_RAM - size + 1, size)


@pytest.mark.parametrize("size", [2, 8, 100, 300, 40000])
def test_a_write_across_the_end_of_ram_is_an_error(bench: Bench, size: int) -> None:
    with pytest.raises(MemoryAccessError):
        bench.target.write_memory(END_OF_RAM - size + 1, b"\x55" * size)
    bench.target.write_memory(BOARD_RAM, b"next")
    assert bench.target.read_memory(BOARD_RAM, 4) == b"next"


@pytest.mark.parametrize("failure", [LinkFailure.TARGET, LinkFailure.USB, LinkFailure.HANG_UP])
@pytest.mark.parametrize("commands", [0, 1, 3, 10])
def test_a_probe_that_fails_in_mid_transfer_yields_no_data(bench: Bench, failure: LinkFailure, commands: int) -> None:
    data = random.Random(3).randbytes(120_000)
    bench.target.write_memory(BOARD_RAM + 4, data)
    bench.link.failure = failure
    bench.link.fail_after = commands
    bench.link.commands = 0
    with pytest.raises(GdbflashError) as read:
        bench.target.read_memory(BOARD_RAM + 4, len(data))
    assert isinstance(read.value, MemoryAccessError | ConnectionLost)
    with pytest.raises(GdbflashError) as written:
        bench.target.write_memory(BOARD_RAM + 4, data)
    assert isinstance(written.value, MemoryAccessError | ConnectionLost)


@pytest.mark.parametrize("commands", [0, 2, 5])
def test_a_write_that_fails_in_the_middle_is_told(bench: Bench, commands: int) -> None:
    bench.link.fail_after = commands
    bench.link.commands = 0
    with pytest.raises(GdbflashError) as caught:
        bench.target.write_memory(BOARD_RAM + 4, random.Random(4).randbytes(120_000))
    assert isinstance(caught.value, MemoryAccessError | ConnectionLost)


@pytest.mark.parametrize("failure", [LinkFailure.TARGET, LinkFailure.USB])
def test_a_probe_that_fails_for_a_moment_yields_no_zeros(bench: Bench, failure: LinkFailure) -> None:
    data = random.Random(5).randbytes(60_000)
    bench.target.write_memory(BOARD_RAM, data)
    for commands in range(6):
        bench.link.failure = failure
        bench.link.commands = 0
        bench.link.fail_after = commands
        try:
            got = bench.target.read_memory(BOARD_RAM, len(data))
        except (MemoryAccessError, ConnectionLost):
            bench.link.fail_after = None
            continue
        assert got == data
        bench.link.fail_after = None


def test_ctrl_c_in_the_middle_of_a_transfer_leaves_the_target_usable(bench: Bench) -> None:
    data = random.Random(6).randbytes(200_000)
    bench.link.kib_per_s = 100
    for transfer in (
        lambda: bench.target.write_memory(BOARD_RAM, data),
        lambda: bench.target.read_memory(BOARD_RAM, len(data)),
    ):
        interrupt_soon(0.3)
        with pytest.raises(KeyboardInterrupt):
            transfer()
        assert left_in(bench.target.gdb_directory) == []
        bench.target.write_memory(BOARD_RAM, b"after")
        assert bench.target.read_memory(BOARD_RAM, 5) == b"after"
        assert bench.target.read_registers(["r1"]) == {"r1": 0}


@pytest.mark.parametrize("failure", [LinkFailure.TARGET, LinkFailure.USB])
def test_a_probe_that_dies_during_a_call_is_a_lost_connection(bench: Bench, failure: LinkFailure) -> None:
    start_call(bench.target, bench.server, gdbservers.SPIN)
    bench.link.failure = failure
    bench.link.commands = 0
    bench.link.fail_after = 12
    with pytest.raises(ConnectionLost):
        bench.target.run_until(BOARD_RAM, 20)
