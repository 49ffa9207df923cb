"""The next chunk is sent while the one before is programmed: through OpenOCD's Tcl port, on the virtual board."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gdbflash.board.faces.stlinktcp import StlinkServer
from gdbflash.board.machine import Machine
from gdbflash.errors import CommandRefused, ConnectionLost, OutputError
from gdbflash.events import Event, Noted
from gdbflash.flash import programming
from gdbflash.flash.flasher import Flasher
from gdbflash.images.content import Content
from gdbflash.loaders.stldr import load_loader
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import started
from gdbflash.mi.return_point import ReturnPoint
from gdbflash.mi.target import MiTarget
from gdbflash.onchip.call import Call, Returned
from gdbflash.onchip.loaded import LoadedLoader
from gdbflash.options import After, RunOptions
from gdbflash.plan.jobs import EraseMode, plan_write
from gdbflash.plan.pace import pays
from gdbflash.ranges import Range
from gdbflash.servers.endpoint import Endpoint
from gdbflash.servers.tcl import TclTarget
from gdbflash.target import Beside, WriteBeside
from tests.support.boards import LOADER
from tests.support.gdbservers import gdb_path
from tests.support.openocd import TRANSPORTS, running_openocd

FLASH = 0x90000000
CHUNK = 16 * 1024
DATA = random.Random(31).randbytes(7 * CHUNK + 1234)


@dataclass
class Bench:
    """A target with the Tcl port, and what happened on it."""

    target: MiTarget
    machine: Machine
    events: list[Event] = field(default_factory=list)
    loads: list[Range] = field(default_factory=list)
    """What was sent beside a run."""
    writes: list[tuple[Range, tuple[Range, ...]]] = field(default_factory=list)
    """The buffer of each Write, and what was sent while it ran."""
    running: list[bool] = field(default_factory=list)
    """Whether OpenOCD had let the core run when something was sent."""

    def write(self) -> list[str]:
        """Program DATA; returns the codes of notes."""
        jobs = plan_write((load_loader(LOADER),), Content.at(FLASH, DATA), erase=EraseMode.NONE)
        with Flasher(self.target, RunOptions(after=After.HALT), self.events.append) as flasher:
            flasher.write(jobs)
        assert bytes(self.machine.flash.memory[: len(DATA)]) == DATA
        return [each.code for each in self.events if isinstance(each, Noted) and each.code != "halted"]


def opened(transport: str, gdb: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(programming, "pays", lambda *_: True)
    monkeypatch.setattr(programming, "FIRST_CALL", CHUNK)
    monkeypatch.setattr(programming, "LAST_CALLS", 2 * CHUNK)
    monkeypatch.setattr(LoadedLoader, "chunk", property(lambda _: CHUNK))
    with (
        Machine() as machine,
        StlinkServer(machine) as stlink,
        running_openocd(stlink.port, transport) as openocd,
    ):
        target = connect(Endpoint(host="127.0.0.1", port=openocd.gdb_port), started(gdb_path(gdb)))
        bench = Bench(target, machine)
        load, call = TclTarget.load, LoadedLoader.call

        def noted_load(self: TclTarget, address: int, data: bytes, directory: Path) -> None:
            bench.running.append(self.is_running())
            bench.loads.append(Range(address, len(data)))
            load(self, address, data, directory)

        def noted_call(
            self: LoadedLoader,
            call_: Call,
            *inputs: tuple[int, bytes],
            there: tuple[int, bytes] | None = None,
            beside: Beside | None = None,
        ) -> Returned:
            before = len(bench.loads)
            returned = call(self, call_, *inputs, there=there, beside=beside)
            if call_.function == "Write":
                where = Range(call_.arguments[2], call_.arguments[1])
                bench.writes.append((where, tuple(bench.loads[before:])))
            return returned

        monkeypatch.setattr(TclTarget, "load", noted_load)
        monkeypatch.setattr(LoadedLoader, "call", noted_call)
        try:
            target.use_tcl("127.0.0.1", openocd.tcl_port)
            yield bench
        finally:
            target.close()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened("dapdirect_swd", "gdb-multiarch", monkeypatch)


@pytest.fixture(params=TRANSPORTS)
def any_bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    yield from opened(request.param, "gdb-pypi", monkeypatch)


def test_chunks_are_sent_beside_the_run_into_the_other_half(any_bench: Bench) -> None:
    assert any_bench.write() == []
    # The first two calls are made before there is anything to send beside them, and beside the last nothing is left.
    assert [len(beside) for _, beside in any_bench.writes] == [0, *[1] * 6, 0]
    whole_pages = -(-len(DATA) // 256) * 256
    assert sum(each.size for each in any_bench.loads) == whole_pages - 2 * CHUNK
    assert all(any_bench.running)
    for (where, beside), (following, _) in zip(any_bench.writes, any_bench.writes[1:], strict=False):
        for sent in beside:
            assert sent == following
            assert sent.end <= where.address or where.end <= sent.address


def test_what_arrives_damaged_is_sent_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    load = TclTarget.load

    def damaged(self: TclTarget, address: int, data: bytes, directory: Path) -> None:
        load(self, address, data[:-1] + bytes([data[-1] ^ 1]), directory)

    monkeypatch.setattr(TclTarget, "load", damaged)
    assert bench.write() == ["sent-again"] * 6


@pytest.mark.parametrize(
    "error",
    [
        CommandRefused("no such file", command="load_image", reply=""),
        ConnectionLost("gone", reply=""),
        OutputError("no space left", path=""),
    ],
    ids=["refused", "port lost", "full disk"],
)
def test_after_a_failure_nothing_more_is_sent_beside(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    tried: list[int] = []

    def fails(_self: TclTarget, address: int, _data: bytes, _directory: Path) -> None:
        tried.append(address)
        raise error

    monkeypatch.setattr(TclTarget, "load", fails)
    assert bench.write() == ["sent-again"]
    assert len(tried) == 1
    assert not bench.target.capabilities.moves_beside


def test_what_was_sent_is_sent_again_where_others_used_the_ram(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[bool] = []

    def overwritten(self: LoadedLoader) -> bool:
        """As another client's algorithm does it, once, where the chunk sent beside the second Write lies."""
        checks.append(len(bench.writes) == 2 and not any(checks))
        if checks[-1]:
            where = bench.loads[0]
            self.target.write_memory(where.address, bytes(where.size))
        return checks[-1]

    monkeypatch.setattr(LoadedLoader, "was_overwritten", overwritten)
    assert bench.write() == ["reloaded"]
    assert sum(checks) == 1


def test_what_was_meant_for_a_run_that_failed_is_not_sent_beside_a_later_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_self: ReturnPoint, address: int) -> None:
        raise CommandRefused(f"No breakpoint can be set at {address:#x}.", command="", reply="")

    with monkeypatch.context() as patch:
        patch.setattr(ReturnPoint, "set", fails)
        with pytest.raises(CommandRefused):
            bench.target.run_until(0x24000000, 1, WriteBeside(0x24010000, b"late"))
    bench.target.run_until(0x24000000, 0.1)
    assert bench.loads == []


def test_without_the_tcl_port_it_is_refused(bench: Bench) -> None:
    bench.target._loads = False
    with pytest.raises(CommandRefused, match="moves no memory while the core runs"):
        bench.target.run_until(0x24000000, 1, WriteBeside(0x24010000, b"data"))


@pytest.mark.parametrize(
    ("filling", "running", "whole", "worth"),
    [
        (0.25, 0.25, 0.52, True),
        (0.4, 0.1, 0.52, True),
        (0.48, 0.02, 0.52, False),  # the link is far slower than the chip
        (0.02, 0.48, 0.52, False),  # far faster
        (0.01, 0.01, 0.12, False),  # the call costs more than what it moves
    ],
)
def test_it_pays_where_link_and_chip_are_about_as_fast(
    filling: float, running: float, whole: float, worth: bool
) -> None:
    assert pays(filling, running, whole) is worth
