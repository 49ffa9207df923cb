"""The whole tool, as a user runs it, through a real OpenOCD over the virtual board's ST-LINK."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gdbflash.board.faces.stlinktcp import LinkFailure, StlinkServer
from gdbflash.board.machine import Machine
from gdbflash.cli.main import main
from tests.support.boards import GDBS, LOADER
from tests.support.cbuild import build
from tests.support.faultbench import CAMPAIGN
from tests.support.openocd import TRANSPORTS, Openocd, running_openocd
from tests.support.tally import Tally

KIB = 1024
FLASH = 0x90000000
OFFSET, SIZE = 0x1FFFD, 256 * KIB + 7
"""An odd place and size: six sectors of 64 KiB, the first and the last of them touched by a few bytes."""


@dataclass
class Bench:
    """A board behind its ST-LINK and an OpenOCD, and gdbflash run on it."""

    machine: Machine
    stlink: StlinkServer
    openocd: Openocd
    capsys: pytest.CaptureFixture[str]
    reach: tuple[str, ...] = ()
    transport: str = ""
    tally: Tally = field(default_factory=Tally)

    def run(self, *words: str | Path, loader: Path = LOADER) -> tuple[int, list[dict[str, object]], str]:
        """Run a command with --json; returns exit code, the JSON objects and what people see."""
        self.capsys.readouterr()
        place = ("--connect", f"127.0.0.1:{self.openocd.gdb_port}", "-l", str(loader), *self.reach)
        code = main([*map(str, words), *place, "--json"])
        captured = self.capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, [json.loads(line) for line in captured.out.splitlines()], captured.err

    @property
    def tcl(self) -> tuple[str, str]:
        return ("--tcl", str(self.openocd.tcl_port))


@contextmanager
def opened(transport: str, capsys: pytest.CaptureFixture[str], *before_init: str) -> Iterator[Bench]:
    with (
        Machine() as machine,
        StlinkServer(machine) as stlink,
        running_openocd(stlink.port, transport, before_init=before_init) as openocd,
    ):
        yield Bench(machine, stlink, openocd, capsys)


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))


@pytest.fixture(params=TRANSPORTS)
def bench(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], record_property: Callable[[str, object], None]
) -> Iterator[Bench]:
    with opened(request.param, capsys) as running:
        running.transport = request.param
        yield running
    running.tally.tell(record_property)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.bin"
    path.write_bytes(random.Random(11).randbytes(SIZE))
    return path


@pytest.mark.parametrize("server", ["auto", "openocd"])
@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_a_quarter_mebibyte_at_odd_places(bench: Bench, tmp_path: Path, image: Path, gdb: Path, server: str) -> None:
    before = random.Random(12).randbytes(8 * 64 * KIB)
    bench.machine.flash.memory[: len(before)] = before
    data = image.read_bytes()
    # One of the two runs with the Tcl port, the other by GDB's connection alone.
    bench.reach = ("--gdb", str(gdb), "--server", server, *(bench.tcl if server == "openocd" else ()))
    code, events, shown = bench.run("write", f"{image}@{FLASH + OFFSET:#x}")
    assert code == 0, shown
    assert bytes(bench.machine.flash.memory[: len(before)]) == before[:OFFSET] + data + before[OFFSET + SIZE :]
    assert (events[-1]["bytes"], events[-1]["sectors_erased"]) == (SIZE, 6)
    code, _, shown = bench.run("verify", f"{image}@{FLASH + OFFSET:#x}")
    assert code == 0, shown
    back = tmp_path / "back.bin"
    code, _, shown = bench.run("read", hex(FLASH + OFFSET), str(SIZE), "-o", back)
    assert code == 0, shown
    assert back.read_bytes() == data


def runs(machine: Machine) -> bool:
    return machine.halted is None


def test_the_target_is_left_as_asked(bench: Bench) -> None:
    machine = bench.machine
    job = ("checksum", hex(FLASH), "5000")
    bench.reach = bench.tcl
    assert bench.run(*job)[0] == 0
    assert runs(machine)
    assert machine.resets > 1
    assert bench.run(*job, "--after", "halt")[0] == 0
    assert not runs(machine)

    bench.openocd.run("reset halt")
    ram = random.Random(13).randbytes(0x20000)
    machine.write_memory(0x24000000, ram)
    registers = {f"r{number}": 0x01010101 * number for number in range(13)}
    for name, value in registers.items():
        bench.openocd.run(f"reg {name} {value:#x}")
    resets = machine.resets
    code, _, shown = bench.run(*job, "--after", "restore")
    assert code == 0, shown
    assert machine.resets == resets
    assert not runs(machine)
    assert machine.read_memory(0x24000000, len(ram)) == ram
    assert bench.openocd.run(f"get_reg {{{' '.join(registers)}}}").split()[1::2] == [
        f"{value:#010x}" for value in registers.values()
    ]
    code, _, shown = bench.run(*job, "--before", "none", "--after", "run")
    assert code == 0, shown
    assert runs(machine)
    assert machine.resets == resets


@pytest.mark.parametrize("with_tcl", [False, True], ids=["gdb", "tcl"])
def test_a_loader_that_hangs_is_stopped_and_the_next_run_works(bench: Bench, image: Path, with_tcl: bool) -> None:
    bench.reach = (*(bench.tcl if with_tcl else ()), "--timeout-scale", "0.5")
    hanging = build("misbehaving", "IN_WRITE=hang")
    write = ("write", f"{image}@{FLASH:#x}", "--no-keep")
    code, events, shown = bench.run(*write, loader=hanging)
    assert code == 1
    error = error_of(events)
    assert (error["kind"], error["function"]) == ("call-timeout", "Write")
    assert "did not return within" in shown
    assert bench.machine.halted is None, "the target is reset and runs"
    bench.reach = ()
    code, _, shown = bench.run(*write)
    assert code == 0, shown
    assert bytes(bench.machine.flash.memory[:SIZE]) == image.read_bytes()


def test_a_tcl_port_that_is_another_openocds_is_told_and_not_used(bench: Bench) -> None:
    bench.reach = ("--tcl", str(bench.openocd.gdb_port))
    code, events, _ = bench.run("checksum", hex(FLASH), "100")
    assert code == 0
    notes = [each["message"] for each in events if each["event"] == "note" and each["code"] == "tcl-unused"]
    assert len(notes) == 1
    assert str(notes[0]).endswith("Without it no data is sent while a loader runs.")


def test_the_doctor_tells_of_the_tcl_port(bench: Bench) -> None:
    for reach, found in ((bench.tcl, True), (("--tcl", "1"), None)):
        bench.reach = reach
        code, events, shown = bench.run("doctor")
        assert code == 0, shown
        checks = events[-1]["checks"]
        assert isinstance(checks, list)
        assert [each["ok"] for each in checks if each["name"] == "Tcl port"] == [found]


def test_the_doctor_lets_the_core_go_on(bench: Bench) -> None:
    machine = bench.machine
    machine.write_memory(0x24000100, bytes.fromhex("0130 fde7"))  # loop: adds r0, #1; b loop
    machine.write_register("pc", 0x24000100)
    machine.write_register("xpsr", 0x01000000)
    machine.resume()
    for more, halted in (((), False), (("--after", "halt"), True), (("--after", "run"), False)):
        code, events, shown = bench.run("doctor", *more)
        assert code == 0, shown
        assert (machine.halted is not None) is halted
        said = "it stays halted" if halted else "it was halted to be looked at and goes on"
        assert {"name": "core", "ok": True, "message": said} in events[-1]["checks"]  # type: ignore[operator]
    machine.halt()
    assert machine.read_register("pc") in (0x24000100, 0x24000102)


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_breakpoints_of_the_kind_that_the_users_configuration_forces(
    capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    with opened("dapdirect_swd", capsys, f"gdb_breakpoint_override {kind}") as bench:
        bench.machine.flash.memory[:4] = b"\1\2\3\4"
        for _ in range(2):
            code, events, shown = bench.run("call", "CheckSum", hex(FLASH), "4", "100")
            assert (code, events[-1]["r0"]) == (0, 110), shown
        assert bench.openocd.run("bp") == "", "a breakpoint was left behind"


# -- a probe that fails in the middle ---------------------------------------------------------------------------

SHORT = random.Random(14).randbytes(5000)
PLACE = 3


@dataclass
class ShortJob:
    """A write or a read of 5000 bytes, on a fresh chip each time."""

    bench: Bench
    kind: str
    folder: Path

    def run(self) -> tuple[int, list[dict[str, object]], str]:
        memory = self.bench.machine.flash.memory
        memory[: 64 * KIB] = b"\xff" * 64 * KIB
        place = hex(FLASH + PLACE)
        if self.kind == "write":
            (self.folder / "short.bin").write_bytes(SHORT)
            return self.bench.run("write", f"{self.folder / 'short.bin'}@{place}", "--no-keep")
        memory[PLACE : PLACE + len(SHORT)] = SHORT
        (self.folder / "back.bin").unlink(missing_ok=True)
        return self.bench.run("read", place, str(len(SHORT)), "-o", self.folder / "back.bin")

    def done(self) -> bool:
        """Tell of a run that ended well whether all bytes are where they should be; it is counted."""
        if self.kind == "write":
            memory = self.bench.machine.flash.memory
            return self.bench.tally.compare(bytes(memory[PLACE : PLACE + len(SHORT)]) == SHORT)
        back = self.folder / "back.bin"
        return self.bench.tally.compare(back.exists() and back.read_bytes() == SHORT)


def places_to_fail(total: int, config: pytest.Config) -> list[int]:
    """Choose after how many commands the probe fails: all over a job, everywhere with --full."""
    return list(range(total)) if config.getoption("--full") else [total * part // 7 for part in range(1, 7)]


@pytest.mark.timeout(CAMPAIGN)
@pytest.mark.parametrize("kind", ["write", "read"])
@pytest.mark.parametrize("failure", [LinkFailure.TARGET, LinkFailure.USB])
def test_a_probe_that_fails_never_passes_for_success(
    bench: Bench, tmp_path: Path, pytestconfig: pytest.Config, failure: LinkFailure, kind: str
) -> None:
    job = ShortJob(bench, kind, tmp_path)
    bench.reach = bench.tcl
    bench.stlink.link.commands = 0
    assert job.run()[0] == 0
    assert job.done()
    total = bench.stlink.link.commands
    failed = 0
    for commands in places_to_fail(total, pytestconfig):
        bench.stlink.link.failure, bench.stlink.link.fail_after = failure, commands
        bench.tally.faults += 1
        code, events, shown = job.run()
        bench.stlink.link.fail_after = None
        assert code in (0, 3), shown
        assert code == 3 or job.done(), f"wrong bytes passed after {commands} commands"
        if code == 3:
            failed += 1
            assert error_of(events)["kind"] in ("connection-lost", "prepare", "server-missing")
            if kind == "read":
                assert not (tmp_path / "back.bin").exists()
        wait_until_examined(bench)
        code, _, shown = job.run()
        assert code == 0, shown
        assert job.done()
    assert failed >= 4


@pytest.mark.timeout(CAMPAIGN)
@pytest.mark.parametrize("kind", ["write", "read"])
def test_one_command_that_fails_never_passes_for_success(
    bench: Bench, tmp_path: Path, pytestconfig: pytest.Config, kind: str
) -> None:
    """A single lost register access is told by OpenOCD in its log only: the call's own account must tell it."""
    job = ShortJob(bench, kind, tmp_path)
    bench.reach = bench.tcl
    bench.stlink.link.commands = 0
    assert job.run()[0] == 0
    total = bench.stlink.link.commands
    step = 1 if pytestconfig.getoption("--full") else 61  # prime: no phase of the job's own rhythm
    for commands in range(0, total, step):
        link = bench.stlink.link
        link.failure, link.fail_count, link.fail_after = LinkFailure.TARGET, 1, commands
        bench.tally.faults += 1
        code, events, shown = job.run()
        link.fail_after = link.fail_count = None
        assert code in (1, 3) or job.done(), f"wrong bytes passed after {commands} commands: {shown}"
        if code:
            assert error_of(events)["message"]
        wait_until_examined(bench)
    code, _, shown = job.run()
    assert code == 0, shown
    assert job.done()


def error_of(events: list[dict[str, object]]) -> dict[str, object]:
    error = events[-1]["error"]
    assert isinstance(error, dict)
    return error


def wait_until_examined(bench: Bench) -> None:
    """Have OpenOCD look for the target anew, which it does by itself, less and less often."""
    target = bench.openocd.run("target current")
    for _ in range(20):
        bench.openocd.run(f"catch {{{target} arp_examine}}")
        bench.openocd.run("poll")
        if bench.openocd.run(f"{target} was_examined") == "1":
            return
    raise AssertionError("OpenOCD did not find its target again")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_openocd_that_never_reconnects_has_to_be_restarted_and_this_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, transport: str
) -> None:
    with Machine() as machine, StlinkServer(machine) as stlink:
        with running_openocd(stlink.port, transport) as openocd:
            job = ShortJob(Bench(machine, stlink, openocd, capsys, ("--server", "openocd")), "write", tmp_path)
            assert job.run()[0] == 0
            # How often OpenOCD looks at a running core depends on how busy this host is.
            stlink.link.failure, stlink.link.fail_after = LinkFailure.HANG_UP, stlink.link.commands // 8
            code, events, _ = job.run()
            assert (code, error_of(events)["kind"]) == (3, "connection-lost")
            assert "and restart the server." in str(error_of(events)["message"])
            stlink.link.fail_after = None
            code, events, _ = job.run()
            assert code == 3
            message = str(error_of(events)["message"])
            assert any(advice in message for advice in ("and restart the server.", "went away, restart it."))
        with running_openocd(stlink.port, transport) as openocd:
            job.bench.openocd = openocd
            assert job.run()[0] == 0
            assert job.done()


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("kind", ["write", "read"])
def test_an_openocd_that_is_killed_is_a_lost_connection(bench: Bench, tmp_path: Path, kind: str, part: float) -> None:
    job = ShortJob(bench, kind, tmp_path)
    bench.reach = bench.tcl
    bench.stlink.link.commands = 0
    assert job.run()[0] == 0
    enough = int(bench.stlink.link.commands * part)
    bench.stlink.link.commands = 0
    ended = threading.Event()

    def kill() -> None:
        while bench.stlink.link.commands < enough and not ended.is_set():
            time.sleep(0.001)
        bench.openocd.process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    code, events, shown = job.run()
    ended.set()
    killer.join()
    bench.tally.faults += 1
    assert (code, error_of(events)["kind"]) == (3, "connection-lost"), shown
    assert "restart the server" in shown
    assert not (tmp_path / "back.bin").exists()
    if part == 0.6:
        with running_openocd(bench.stlink.port, bench.transport) as openocd:
            bench.openocd, bench.reach = openocd, ()
            code, _, shown = job.run()
            assert code == 0, shown
            assert job.done()
