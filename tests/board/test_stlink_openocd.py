"""A real OpenOCD, with its stock configuration of the STM32H7, on the virtual board through the virtual ST-LINK."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gdbflash.board.faces.stlinktcp import LinkFailure, StlinkServer
from gdbflash.board.machine import Machine
from tests.support.openocd import TRANSPORTS, CommandFailed, Openocd, OpenocdFailed, running_openocd

AXI_SRAM = 0x24000000
PROGRAM = AXI_SRAM + 0x1000
COUNTER = AXI_SRAM
"""The program counts in this word: ldr, adds, str, b."""

_LOAD, _ADD, _STORE, _BRANCH = PROGRAM + 4, PROGRAM + 6, PROGRAM + 8, PROGRAM + 10
_PROGRAM_CODE = bytes.fromhex("4ff01051 0868 0130 0860 fbe7")  # mov.w r1, #0x24000000 / loop

_RAMS = (
    pytest.param(0x00000000, 0x10000, id="ITCM"),
    pytest.param(0x20000000, 0x20000, id="DTCM"),
    pytest.param(0x24000000, 0x80000, id="AXI SRAM"),
    pytest.param(0x30000000, 0x48000, id="SRAM1 to 3"),
    pytest.param(0x38000000, 0x10000, id="SRAM4"),
)


class Bench:
    """One OpenOCD on one board."""

    def __init__(self, machine: Machine, server: StlinkServer, openocd: Openocd) -> None:
        self.machine = machine
        self.server = server
        self.openocd = openocd
        self.run = openocd.run

    def start_program(self) -> None:
        """Put the counting program into RAM of the halted core and set PC to it."""
        self.machine.write_memory(PROGRAM, _PROGRAM_CODE)
        self.machine.write_memory(COUNTER, bytes(4))
        self.run(f"reg pc {PROGRAM:#x}")
        self.run("reg xPSR 0x01000000")

    def pc(self) -> int:
        return int(self.run("reg pc").split()[-1], 16)

    def count(self) -> int:
        return int(self.run(f"read_memory {COUNTER:#x} 32 1"), 16)


@pytest.fixture(scope="module", params=TRANSPORTS)
def open_bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with ExitStack() as stack:
        machine = stack.enter_context(Machine())
        server = stack.enter_context(StlinkServer(machine))
        openocd = stack.enter_context(
            running_openocd(server.port, request.param, before_init=("gdb_report_data_abort enable",))
        )
        yield Bench(machine, server, openocd)


@pytest.fixture
def bench(open_bench: Bench) -> Bench:
    """The bench of the module with its core halted after a reset."""
    open_bench.run("reset halt")
    return open_bench


def test_reset_halt_stops_at_the_reset_vector(bench: Bench) -> None:
    bench.start_program()
    text = bench.run("reset halt")
    assert "halted due to debug-request" in text
    initial = [int.from_bytes(bench.machine.read_memory(0x08000000 + 4 * i, 4), "little") for i in (0, 1)]
    assert (bench.machine.read_register("sp"), bench.machine.read_register("pc")) == (
        initial[0] & ~3,
        initial[1] & ~1,
    )


def test_core_registers(bench: Bench) -> None:
    for name, value in {"r0": 0xFFFFFFFF, "r7": 0x12345678, "lr": 0x20000001, "psp": 0x20000100}.items():
        bench.run(f"reg {name} {value:#x}")
    bench.run("reg primask 1")
    bench.run("reg d1 0x0123456789abcdef")
    bench.run("step")  # registers are written when the core leaves Debug state
    machine = bench.machine
    assert machine.read_register("r7") == 0x12345678
    assert machine.read_register("psp") == 0x20000100
    assert machine.read_register("primask") == 1
    assert (machine.read_register("s2"), machine.read_register("s3")) == (0x89ABCDEF, 0x01234567)


@pytest.mark.parametrize(("base", "size"), _RAMS)
def test_rams_to_their_last_byte(bench: Bench, base: int, size: int) -> None:
    last = base + size
    bench.run(f"write_memory {base:#x} 32 {{0x11223344 0x55667788}}")
    bench.run(f"write_memory {last - 4:#x} 16 {{0xaabb 0xccdd}}")
    bench.run(f"write_memory {last - 1:#x} 8 {{0xee}}")
    assert bench.run(f"read_memory {base:#x} 8 5") == "0x44 0x33 0x22 0x11 0x88"
    assert bench.run(f"read_memory {last - 4:#x} 32 1") == "0xeeddaabb"
    assert bench.machine.read_memory(last - 4, 4).hex() == "bbaaddee"


def test_what_is_loaded_is_dumped(bench: Bench, tmp_path: Path) -> None:
    content = random.Random(7).randbytes(256 * 1024 + 3)
    source, copy = tmp_path / "source.bin", tmp_path / "copy.bin"
    source.write_bytes(content)
    bench.run(f"load_image {source} {AXI_SRAM + 1:#x} bin")
    bench.run(f"dump_image {copy} {AXI_SRAM + 1:#x} {len(content)}")
    assert copy.read_bytes() == content
    assert bench.machine.read_memory(AXI_SRAM + 1, len(content)) == content


def test_verify_runs_an_algorithm_on_the_board(bench: Bench, tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(random.Random(8).randbytes(16 * 1024))
    bench.run(f"load_image {image} {AXI_SRAM:#x} bin")
    assert "verified 16384 bytes" in bench.run(f"verify_image {image} {AXI_SRAM:#x} bin")
    bench.machine.write_memory(AXI_SRAM + 0x1234, bytes([bench.machine.read_memory(AXI_SRAM + 0x1234, 1)[0] ^ 1]))
    with pytest.raises(CommandFailed, match="checksum mismatch"):
        bench.run(f"verify_image {image} {AXI_SRAM:#x} bin")


def test_hardware_breakpoint(bench: Bench) -> None:
    bench.start_program()
    bench.run(f"bp {_STORE:#x} 2 hw")
    try:
        for expected in (0, 1):
            bench.run("resume")
            bench.run("wait_halt 2000")
            assert (bench.pc(), bench.count()) == (_STORE, expected)
    finally:
        bench.run(f"rbp {_STORE:#x}")


def test_software_breakpoint_in_ram(bench: Bench) -> None:
    bench.start_program()
    bench.run(f"bp {_ADD:#x} 2")
    try:
        assert bench.machine.read_memory(_ADD, 2).hex() == "11be"
        bench.run("resume")
        bench.run("wait_halt 2000")
        assert (bench.pc(), bench.count()) == (_ADD, 0)
    finally:
        bench.run(f"rbp {_ADD:#x}")
    assert bench.machine.read_memory(_ADD, 2).hex() == "0130"


def test_steps(bench: Bench) -> None:
    bench.start_program()
    visited = []
    for _ in range(6):
        bench.run("step")
        visited.append(bench.pc())
    assert visited == [_LOAD, _ADD, _STORE, _BRANCH, _LOAD, _ADD]


def test_watchpoint(bench: Bench) -> None:
    bench.start_program()
    bench.run(f"wp {COUNTER:#x} 4 w")
    try:
        bench.run("resume")
        bench.run("wait_halt 2000")
        assert bench.pc() == _BRANCH
        assert bench.count() == 1
    finally:
        bench.run(f"rwp {COUNTER:#x}")


def test_memory_of_the_running_core(bench: Bench) -> None:
    bench.start_program()
    bench.run("resume")
    first = bench.count()
    wait_for(lambda: bench.count() > first)
    bench.run(f"mww {COUNTER + 4:#x} 0x80000000")
    assert bench.run(f"read_memory {COUNTER + 4:#x} 32 1") == "0x80000000"
    assert bench.run("stm32h7x.cpu0 curstate") == "running"
    bench.run("halt")
    assert _LOAD <= bench.pc() <= _BRANCH
    stopped = bench.count()
    assert bench.count() == stopped


def test_reset_run_starts_the_core(bench: Bench) -> None:
    calls = bench.server.link.commands
    bench.run("reset run")
    assert bench.server.link.commands > calls
    assert bench.run("stm32h7x.cpu0 curstate") in ("running", "reset")


@pytest.mark.parametrize("command", ["mdw 0x70000000", "mww 0x70000000 1", "read_memory 0x2407fffc 32 2"])
def test_unmapped_addresses_are_errors(bench: Bench, command: str) -> None:
    with pytest.raises(CommandFailed):
        bench.run(command)
    assert bench.run(f"read_memory {AXI_SRAM:#x} 32 1").startswith("0x")


def test_flash_driver_knows_the_part(bench: Bench) -> None:
    assert "STM32H74x/75x" in bench.run("flash probe 0")


def test_device_id(bench: Bench) -> None:
    assert int(bench.run("read_memory 0x5c001000 32 1"), 16) & 0xFFF == 0x450


def test_rom_tables_lead_to_the_components(open_bench: Bench) -> None:
    if "dapdirect" not in open_bench.openocd.log:
        with pytest.raises(CommandFailed, match="HLA"):
            open_bench.run("dap info 0")
        return
    processor, system = open_bench.run("dap info 0"), open_bench.run("dap info 2")
    assert [
        part for part in ("0x4c7", "0x00c", "0x002", "0x00e", "0x001", "0x975", "0x906") if part not in processor
    ] == []
    assert [part for part in ("0x914", "0x908", "0x961", "0x912") if part not in system] == []
    assert "No ROM table present" in open_bench.run("dap info 1")


@pytest.mark.parametrize("failure", [LinkFailure.TARGET, LinkFailure.USB])
def test_a_failing_probe_is_an_error_and_comes_back(bench: Bench, tmp_path: Path, failure: LinkFailure) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(bytes(64 * 1024))
    link = bench.server.link
    link.failure, link.fail_after = failure, 10
    try:
        with pytest.raises(CommandFailed):
            bench.run(f"load_image {image} {AXI_SRAM:#x} bin")
    finally:
        link.fail_after = None
    wait_for(lambda: succeeds(bench, "reset halt"))
    bench.run(f"load_image {image} {AXI_SRAM:#x} bin")


# -- OpenOCD of its own -----------------------------------------------------------------------------------------


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as board:
        yield board


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_next_openocd_after_one_that_was_killed(machine: Machine, transport: str) -> None:
    with StlinkServer(machine) as server:
        with running_openocd(server.port, transport) as first:
            first.run("reset halt")
            first.process.kill()
            first.process.wait()
        with running_openocd(server.port, transport) as second:
            second.run("halt")
            assert second.run("stm32h7x.cpu0 curstate") == "halted"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_connect_under_reset(machine: Machine, transport: str) -> None:
    configuration = ("reset_config srst_only srst_nogate connect_assert_srst",)
    with StlinkServer(machine) as server, running_openocd(server.port, transport, before_init=configuration) as openocd:
        openocd.run("reset halt")
        assert openocd.run("stm32h7x.cpu0 curstate") == "halted"


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_that_hangs_up(machine: Machine, transport: str) -> None:
    with StlinkServer(machine) as server:
        server.link.failure, server.link.fail_after = LinkFailure.HANG_UP, 5
        with pytest.raises(OpenocdFailed), running_openocd(server.port, transport):
            pass


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_gdb_calls_a_function(machine: Machine, tmp_path: Path, transport: str) -> None:
    gdb = shutil.which("gdb-multiarch")
    assert gdb, "gdb-multiarch is needed: apt-get install gdb-multiarch"
    machine.write_memory(PROGRAM, bytes.fromhex("4018 7047"))  # adds r0, r0, r1 / bx lr
    script = tmp_path / "call.gdb"
    with StlinkServer(machine) as server, running_openocd(server.port, transport) as openocd:
        script.write_text(
            f"""set pagination off
            set architecture armv7e-m
            target extended-remote 127.0.0.1:{openocd.gdb_port}
            monitor reset halt
            maintenance flush register-cache
            break *{AXI_SRAM:#x}
            set $r0 = 40
            set $r1 = 2
            set $sp = 0x20002000
            set $lr = {AXI_SRAM | 1:#x}
            set $xPSR = 0x01000000
            set $pc = {PROGRAM:#x}
            continue
            printf "result %d at %#x\\n", $r0, $pc
            detach
            """
        )
        done = subprocess.run(
            [gdb, "-nx", "-batch", "-iex", "set auto-load off", "-x", str(script)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert f"result 42 at {AXI_SRAM:#x}" in done.stdout, done.stdout + done.stderr


# -- plumbing ---------------------------------------------------------------------------------------------------


def wait_for(condition: Callable[[], bool], timeout: float = 20) -> None:
    """Wait until condition holds; fails the test when it never does."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.02)


def succeeds(bench: Bench, command: str) -> bool:
    """Tell whether a command works."""
    try:
        bench.run(command)
    except CommandFailed:
        return False
    return True
