"""The whole way with real GDBs: batch sessions against the machine, as a user at GDB's prompt has them."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gdbflash.board.debug import HaltReason
from gdbflash.board.faces.personality import PERSONALITIES
from gdbflash.board.faces.rsp import RspServer
from gdbflash.board.machine import Machine
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import started
from gdbflash.servers.endpoint import Endpoint
from gdbflash.target import StopReason
from tests.support.gdbservers import GDBS, gdb_path
from tests.support.rsp_double import RawClient

CODE = 0x24000100
COUNTER = 0x24001000
# Thumb (ARMv7-M Architecture Reference Manual, chapter A7): r0 counts up and is stored at [r1], for ever.
COUNT = bytes.fromhex(
    "0020"  # movs r0, #0
    "0130"  # adds r0, #1
    "0860"  # str r0, [r1]
    "fce7"  # b to the adds
)
READY = (
    f"restore {{count}} binary {CODE:#x}",
    f"set $pc = {CODE:#x}",
    f"set $r1 = {COUNTER:#x}",
    f"set $sp = {COUNTER:#x}",
    "set $primask = 1",
)
RESET_HALT = {
    "board": ("monitor reset halt",),
    "stlink": ("monitor reset", "monitor halt"),
    "st-util": ("monitor reset", "monitor halt"),
    "jlink": ("monitor reset",),
    "blackmagic": (),
    "pyocd": ("monitor reset halt",),
    "probe-rs": ("monitor reset halt",),
}


class Gdb:
    """One of the GDBs in batch mode against one server."""

    def __init__(self, name: str, server: RspServer, directory: Path) -> None:
        self._command = [str(gdb_path(name)), "-nx", "-batch", "-iex", "set auto-load off", "-iex", "set osabi none"]
        self._server = server
        self._count = directory / "count.bin"
        self._count.write_bytes(COUNT)

    def arguments(self, *commands: str) -> list[str]:
        extended = self._server.personality.attach_needed
        before = [f"target {'extended-remote' if extended else 'remote'} 127.0.0.1:{self._server.port}"]
        if extended:
            before += ["monitor connect_rst enable", "monitor swd_scan", "attach 1"]
        every = [*before, *(command.format(count=self._count) for command in commands)]
        return [*self._command, *(word for command in every for word in ("-ex", command))]

    def run(self, *commands: str) -> str:
        """Give all that it printed."""
        done = subprocess.run(
            self.arguments(*commands),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
            check=False,
        )
        return done.stdout


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as running:
        yield running


@pytest.fixture
def server(machine: Machine) -> Iterator[RspServer]:
    with RspServer(machine) as running:
        yield running


@pytest.fixture(params=GDBS)
def gdb(request: pytest.FixtureRequest, server: RspServer, tmp_path: Path) -> Gdb:
    return Gdb(request.param, server, tmp_path)


def values(output: str) -> list[str]:
    """Give what print printed."""
    return [line.partition(" = ")[2] for line in output.splitlines() if line.startswith("$")]


def test_registers_are_the_machines(gdb: Gdb, machine: Machine) -> None:
    output = gdb.run(
        "monitor reset halt",
        "maintenance flush register-cache",
        *(f"set ${name} = {value:#x}" for name, value in (("r0", 0x12345678), ("r12", 0xFFFFFFFF), ("lr", 0x24000101))),
        "set $msp = 0x24002000",
        "set $psp = 0x24003000",
        "set $primask = 1",
        "set $xpsr = 0x21000000",
        "set $d1 = 1.5",
        "maintenance flush register-cache",
        *(f"print/x ${name}" for name in ("r0", "r12", "lr", "sp", "msp", "psp", "primask", "xpsr")),
        "print $d1",
        "print $s3",
    )
    assert values(output) == [
        *("0x12345678", "0xffffffff", "0x24000101", "0x24002000", "0x24002000", "0x24003000", "0x1", "0x21000000"),
        *("1.5", "1.9375"),
    ]
    assert machine.read_register("r0") == 0x12345678
    assert machine.read_register("s3") == 0x3FF80000


def test_stepping_and_breakpoints(gdb: Gdb, machine: Machine) -> None:
    output = gdb.run(
        *READY,
        "stepi",
        "stepi",
        "stepi",
        f"print/x *(int *) {COUNTER:#x}",
        f"break *{CODE + 4:#x}",
        "continue",
        "continue",
        "print $r0",
        "print/x $pc",
        f"print/x *(short *) {CODE + 4:#x}",
        "delete",
        f"hbreak *{CODE + 6:#x}",
        "continue",
        "print/x $pc",
        "delete",
        f"watch *(int *) {COUNTER:#x}",
        "continue",
        "print $r0",
    )
    assert values(output) == ["0x1", "3", hex(CODE + 4), "0x6008", hex(CODE + 6), "4"]
    assert machine.read_memory(CODE, len(COUNT)) == COUNT


def test_a_breakpoint_of_the_programs_own(gdb: Gdb) -> None:
    output = gdb.run(*READY, f"set *(short *) {CODE + 6:#x} = 0xbe00", "continue", "print/x $pc")
    assert "Program received signal SIGTRAP" in output
    assert values(output) == [hex(CODE + 6)]


def test_an_interrupt_stops_the_program(gdb: Gdb, server: RspServer, machine: Machine) -> None:
    command = gdb.arguments(*READY, "continue", "print/x (int) $pc & ~6", "print $r0 > 0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        deadline = time.monotonic() + 30
        while not server.packets["vCont;c"]:
            assert time.monotonic() < deadline, "gdb does not continue"
            time.sleep(0.01)
        machine.wait_halted(0.05)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=30)[0]
    assert "Program received signal SIGINT" in output
    assert values(output) == [hex(CODE), "1"]
    assert server.packets["\x03"] == 1


def test_a_large_piece_of_memory_there_and_back(gdb: Gdb, tmp_path: Path, machine: Machine) -> None:
    data = random.Random(3).randbytes(256 * 1024)
    (tmp_path / "data.bin").write_bytes(data)
    back = tmp_path / "back.bin"
    gdb.run(
        f"restore {tmp_path / 'data.bin'} binary 0x24010001",
        f"dump binary memory {back} 0x24010001 0x24050001",
    )
    assert back.read_bytes() == data
    assert machine.read_memory(0x24010001, len(data)) == data


@pytest.mark.parametrize("size", [1, 2, 3, 7, 0x1000 - 1, 0x1FFD, 0x3FFF, 0x4001])
def test_odd_sizes_at_odd_places(gdb: Gdb, tmp_path: Path, machine: Machine, size: int) -> None:
    data = random.Random(size).randbytes(size)
    (tmp_path / "data.bin").write_bytes(data)
    back = tmp_path / "back.bin"
    machine.write_memory(0x24000000, b"\xa5" * 0x8000)
    gdb.run(
        f"restore {tmp_path / 'data.bin'} binary 0x24000003",
        f"dump binary memory {back} 0x24000003 {0x24000003 + size:#x}",
    )
    assert back.read_bytes() == data
    assert machine.read_memory(0x24000000, size + 6) == b"\xa5" * 3 + data + b"\xa5" * 3


def test_memory_ends_where_it_ends(gdb: Gdb, machine: Machine) -> None:
    machine.write_memory(0x2407FFFC, b"abcd")
    output = gdb.run(
        "x/4c 0x2407fffc",
        "x/8xb 0x2407fffc",
        "print *(int *) 0x10000000",
        "set {{int}} 0x10000000 = 1",
        "x/1xb 0xfffffffc",
        "print 1",
    )
    assert "0x2407fffc:\t97 'a'\t98 'b'\t99 'c'\t100 'd'" in output
    for address in ("0x24080000", "0x10000000", "0xfffffffc"):
        assert f"Cannot access memory at address {address}" in output
    assert values(output) == ["1"]


def test_a_digest_by_gdbs_own_checksum(gdb: Gdb, machine: Machine, server: RspServer) -> None:
    machine.write_memory(0x24000000, b"123456789")
    assert 'received: "C0376e6e7"' in gdb.run("maintenance packet qCRC:24000000,9")
    assert server.packets["qCRC"] == 1


def test_detaching_lets_it_run_and_one_may_come_back(gdb: Gdb, machine: Machine) -> None:
    assert "detached" in gdb.run(*READY, f"break *{CODE + 4:#x}", "continue", "detach")
    assert machine.wait_halted(0.05) is None
    assert machine.read_memory(CODE, len(COUNT)) == COUNT
    output = gdb.run("print $r0 > 1", "print/x (int) $pc & ~6", "detach")
    assert values(output) == ["1", hex(CODE)]


def test_reset_halt_stands_before_the_first_instruction(gdb: Gdb) -> None:
    output = gdb.run(
        *READY,
        "monitor reset halt",
        "maintenance flush register-cache",
        "print/x $pc == (*(int *) 0x08000004 & ~1)",
        "print/x $sp == *(int *) 0x08000000",
        "print/x $lr",
        "print/x $primask",
    )
    assert values(output) == ["0x1", "0x1", "0xffffffff", "0x0"]


@pytest.mark.parametrize(("catch", "after"), [(b"01", HaltReason.VECTOR_CATCH), (b"00", None)])
def test_a_reset_through_the_cores_own_registers(
    server: RspServer, machine: Machine, catch: bytes, after: HaltReason | None
) -> None:
    with RawClient(server.port) as client:
        assert client.ask(b"Pf=00010024") == b"OK"
        assert client.ask(b"Me000edfc,4:%b000000" % catch) == b"OK"  # DEMCR.VC_CORERESET
        assert client.ask(b"Me000ed0c,4:0400fa05") == b"OK"  # AIRCR.SYSRESETREQ
        assert machine.wait_halted(0.2) is after
        assert machine.resets == 1
        client.ask(b"?")
        assert client.ask(b"pf") in (b"40000008", b"42000008")


@pytest.mark.parametrize("name", PERSONALITIES)
@pytest.mark.parametrize("which", GDBS)
def test_every_personality_debugs(which: str, name: str, machine: Machine, tmp_path: Path) -> None:
    data = random.Random(name).randbytes(10001)
    (tmp_path / "data.bin").write_bytes(data)
    back = tmp_path / "back.bin"
    with RspServer(machine, personality=PERSONALITIES[name]) as server:
        output = Gdb(which, server, tmp_path).run(
            "set mem inaccessible-by-default off",
            # What somebody has to type for a server that drops what it cannot write at once.
            "set remote memory-write-packet-size 8192",
            *RESET_HALT[name],
            "maintenance flush register-cache",
            *READY,
            "stepi",
            "stepi",
            "print/x $pc",
            f"break *{CODE + 6:#x}",
            "continue",
            "print $r0",
            "delete",
            "stepi",
            "print/x $pc",
            f"print/x *(int *) {CODE + 4:#x}",
            f"restore {tmp_path / 'data.bin'} binary 0x24010001",
            f"dump binary memory {back} 0x24010001 {0x24010001 + len(data):#x}",
            "print/x $xpsr & 0x1ff",
            "print/x *(int *) 0xe000ed00 >> 4 & 0xfff",
        )
    assert values(output) == [hex(CODE + 4), "1", hex(CODE + 2), "0xe7fc6008", "0x0", "0xc27"]
    assert back.read_bytes() == data
    assert machine.read_memory(CODE, len(COUNT)) == COUNT


@pytest.mark.parametrize("name", PERSONALITIES)
@pytest.mark.parametrize("which", GDBS)
def test_every_personality_carries_a_call(which: str, name: str, machine: Machine) -> None:
    with RspServer(machine, personality=PERSONALITIES[name]) as server:
        target = connect(Endpoint(host="127.0.0.1", port=server.port), started(gdb_path(which)))
        try:
            assert target.capabilities.server == name
            target.reset_and_halt()
            target.write_memory(CODE, bytes.fromhex("40187047"))  # adds r0, r0, r1; bx lr
            entry = {"r0": 5, "r1": 6, "sp": COUNTER, "lr": CODE - 0xFF, "pc": CODE, "xpsr": 0x01000000}
            target.write_registers(entry)
            stop = target.run_until(CODE - 0x100, 10.0)
            assert stop.reason is StopReason.ARRIVED
            assert target.read_registers(["r0"]) == {"r0": 11}
        finally:
            target.close()
