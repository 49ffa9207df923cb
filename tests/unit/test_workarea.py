"""The RAM that OpenOCD runs its own code in, and a loader that lies there."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gdbflash.board.faces.stlinktcp import StlinkServer
from gdbflash.board.machine import Machine
from gdbflash.errors import TargetError
from gdbflash.events import Advanced, Event, Noted
from gdbflash.flash.flasher import Flasher
from gdbflash.images.content import Content
from gdbflash.loaders.stldr import load_loader
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import started
from gdbflash.mi.target import MiTarget
from gdbflash.onchip.entry import Entry
from gdbflash.onchip.intact import LEAST, MOST, watched
from gdbflash.onchip.loaded import Operation
from gdbflash.onchip.plan_layout import plan_layout
from gdbflash.onchip.routine_code import DIGESTS
from gdbflash.options import After, CallOptions, RunOptions, VerifyMode
from gdbflash.plan.jobs import plan_write
from gdbflash.ranges import Range
from gdbflash.servers.endpoint import Endpoint
from gdbflash.servers.profiles import parse_work_area
from gdbflash.target import Beside, Stop
from tests.support.boards import LOADER
from tests.support.gdbservers import GDBS, gdb_path
from tests.support.openocd import TRANSPORTS, Openocd, running_openocd

KIB = 1024
FLASH = 0x90000000
RAM = Range(0x24000000, 48 * KIB)
"""So little that a chunk is a few KiB and there are many calls."""
OVER_THE_LOADER = "stm32h7x.cpu0 configure -work-area-phys 0x24000000"


@pytest.mark.parametrize(
    ("said", "area"),
    [
        ("536870912 65536 0\n", range(0x20000000, 0x20010000)),
        ("536870912 65536 1\n", None),
        ("0 0 0\n", None),
        ("", None),
        ("invalid command name", None),
        ("536870912 65536 0 7\n", None),
    ],
)
def test_what_openocd_says_of_its_work_area(said: str, area: range | None) -> None:
    assert parse_work_area(said) == area


CODE = (Range(0x20000004, 0x100), Range(0x20000200, 6), Range(0x20000300, 0x80))


@pytest.mark.parametrize(
    ("area", "where"),
    [
        (None, None),
        (range(0x20000000, 0x20010000), Range(0x20000004, MOST)),
        (range(0x20000010, 0x20010000), Range(0x20000010, MOST)),
        (range(0x200000FE, 0x20010000), Range(0x20000300, MOST)),
        (range(0x20000000, 0x20000004 + LEAST), Range(0x20000004, LEAST)),
        (range(0x20000000, 0x20000004 + LEAST - 1), None),
        (range(0x20000380, 0x20010000), None),
        (range(0x24000000, 0x24010000), None),
    ],
)
def test_what_is_watched_are_the_first_bytes_of_the_area_that_no_call_changes(
    area: range | None, where: Range | None
) -> None:
    assert watched(area, CODE) == where


FUNCTION = 16
"""Where the entry's table names what is called."""


@dataclass
class Bench:
    target: MiTarget
    machine: Machine
    openocd: Openocd
    folder: Path
    notes: list[str] = field(default_factory=list)
    disturb: Callable[[Event], None] = lambda _: None

    def observe(self, event: Event) -> None:
        if isinstance(event, Noted):
            self.notes.append(event.code)
        self.disturb(event)

    def flasher(self) -> Flasher:
        return Flasher(self.target, RunOptions(after=After.HALT, calls=CallOptions(ram=RAM)), self.observe)

    def run_code_in_the_work_area(self) -> None:
        """As another client may: have OpenOCD compare internal flash with a file, by a CRC computed on the target.

        OpenOCD gets no CRC where it puts our breakpoint into its own code; RAM is overwritten all the same.
        """
        file = self.folder / "bank.bin"
        if not file.exists():
            file.write_bytes(self.machine.read_memory(0x08000000, 4 * KIB))
        before = self.machine.read_memory(0x24000000, 64)
        self.openocd.run(f"catch {{verify_image {file} 0x08000000 bin}}")
        assert self.machine.read_memory(0x24000000, 64) != before, "the work area was not used"


@contextmanager
def opened(transport: str, gdb: str, folder: Path) -> Iterator[Bench]:
    with (
        Machine() as machine,
        StlinkServer(machine) as stlink,
        running_openocd(stlink.port, transport, before_init=(OVER_THE_LOADER,)) as openocd,
    ):
        target = connect(Endpoint(host="127.0.0.1", port=openocd.gdb_port), started(gdb_path(gdb)))
        try:
            target.use_tcl("127.0.0.1", openocd.tcl_port)
            yield Bench(target, machine, openocd, folder)
        finally:
            target.close()


@pytest.fixture(params=zip(TRANSPORTS, GDBS, strict=True), ids="-".join)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with opened(request.param[0], request.param[1], tmp_path) as running:
        yield running


def test_code_that_runs_between_our_calls_is_noticed_and_the_loader_loaded_again(bench: Bench) -> None:
    loader = load_loader(LOADER)
    data = random.Random(21).randbytes(60 * KIB + 1)
    (job,) = plan_write((loader,), Content.at(FLASH + 5, data), keep=False)
    times = 0

    def disturb(event: Event) -> None:
        nonlocal times
        if isinstance(event, Advanced):
            times += 1
            bench.run_code_in_the_work_area()

    bench.disturb = disturb
    with bench.flasher() as flasher:
        report = flasher.write((job,), VerifyMode.READBACK)
        bench.disturb = lambda _: None
    assert report.bytes == len(data)
    assert bytes(bench.machine.flash.memory[5 : 5 + len(data)]) == data
    assert times >= 5
    assert bench.notes.count("reloaded") in (times, times - 1), "the last time nothing followed"


def test_what_was_read_while_code_ran_is_read_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    data = random.Random(22).randbytes(8 * KIB)
    bench.machine.flash.memory[: len(data)] = data
    loader = load_loader(LOADER)
    layout = plan_layout(loader, RAM)
    table = Entry(layout.entry).table
    reads_at, calls = (layout.routine.address + DIGESTS | 1).to_bytes(4, "little"), 0
    original = bench.target.run_until

    def run_until(address: int, timeout: float, beside: Beside | None = None) -> Stop:
        nonlocal calls
        reads = bench.machine.read_memory(table.address + FUNCTION, 4) == reads_at
        stop = original(address, timeout, beside)
        if reads:
            calls += 1
            if calls <= disturbed:
                bench.run_code_in_the_work_area()
        return stop

    monkeypatch.setattr(bench.target, "run_until", run_until)
    for disturbed, expected_calls in ((1, 2), (3, 3)):
        calls = 0
        bench.notes.clear()
        received: list[bytes] = []
        with bench.flasher() as flasher:
            if disturbed == 3:
                with pytest.raises(TargetError, match="keeps running code in the loader's RAM"):
                    flasher.read(loader, Range(FLASH, len(data)), received.append)
            else:
                flasher.read(loader, Range(FLASH, len(data)), received.append)
                assert b"".join(received) == data
        assert calls == expected_calls
        assert bench.notes.count("reloaded") == expected_calls - 1


def test_a_loader_outside_the_work_area_is_not_looked_at(tmp_path: Path) -> None:
    with (
        Machine() as machine,
        StlinkServer(machine) as stlink,
        running_openocd(stlink.port, "dapdirect_swd") as openocd,
    ):
        target = connect(Endpoint(host="127.0.0.1", port=openocd.gdb_port), started(gdb_path("gdb-multiarch")))
        bench = Bench(target, machine, openocd, tmp_path)
        assert target.capabilities.work_area == range(0x20000000, 0x20010000)
        loader = load_loader(LOADER)
        reads = []
        original = target.read_memory

        def read_memory(address: int, size: int) -> bytes:
            reads.append((address, size))
            return original(address, size)

        with bench.flasher() as flasher:
            loaded = flasher.open(loader, Operation.READ)
            target.read_memory = read_memory  # type: ignore[method-assign]
            for _ in range(2):
                loaded.read(Range(FLASH, 100))
        target.close()
    buffer = loaded.layout.buffer.address
    results = Entry(loaded.layout.entry).results
    layout = loaded.layout
    guards = [(each, 4) for each in (layout.stack.address, layout.buffer.end, layout.last_word)]
    assert reads == [(results.address, results.size), (buffer, 100)] * 2 + guards
