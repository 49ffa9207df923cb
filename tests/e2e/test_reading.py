"""Reading in one pass: each chunk is proven, and one half of the buffer travels while Read fills the other."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gdbflash.board.faces.stlinktcp import StlinkServer
from gdbflash.board.machine import Machine
from gdbflash.errors import CommandRefused, ConnectionLost, GdbflashError, Mismatch
from gdbflash.events import Event, Noted
from gdbflash.flash import reading
from gdbflash.flash.flasher import Flasher
from gdbflash.loaders.stldr import load_loader
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import started
from gdbflash.mi.target import MiTarget
from gdbflash.options import After, RunOptions
from gdbflash.ranges import Range
from gdbflash.servers.endpoint import Endpoint
from gdbflash.servers.tcl import TclTarget
from tests.support.cbuild import build
from tests.support.gdbservers import gdb_path
from tests.support.openocd import TRANSPORTS, running_openocd

FLASH = 0x90000000
CHUNK = 8192
SIZE = 9 * CHUNK + 77


@dataclass
class Bench:
    """A target with the Tcl port, and what came of reading."""

    target: MiTarget
    machine: Machine
    dumps: list[Range] = field(default_factory=list)
    """What came beside a run."""
    running: list[bool] = field(default_factory=list)
    """Whether OpenOCD had let the core run then."""
    events: list[Event] = field(default_factory=list)

    def read(self, *, twice: bool = False) -> bytes:
        data = bytearray()
        with Flasher(self.target, RunOptions(after=After.HALT), self.events.append) as flasher:
            flasher.read(load_loader(build("hal_qspi")), Range(FLASH + 3, SIZE), data.extend, twice=twice)
        return bytes(data)

    @property
    def held(self) -> bytes:
        return bytes(self.machine.flash.memory[3 : 3 + SIZE])

    @property
    def notes(self) -> list[str]:
        return [each.code for each in self.events if isinstance(each, Noted) and each.code != "halted"]


def opened(transport: str, gdb: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(reading, "pays", lambda *_: True)
    for name in ("FIRST_CHUNK", "LEAST_CHUNK", "LARGEST_HALF"):
        monkeypatch.setattr(reading, name, CHUNK)
    dump = TclTarget.dump
    with (
        Machine() as machine,
        StlinkServer(machine) as stlink,
        running_openocd(stlink.port, transport) as openocd,
    ):
        machine.flash.memory[: 2 * SIZE] = random.Random(8).randbytes(2 * SIZE)
        target = connect(Endpoint(host="127.0.0.1", port=openocd.gdb_port), started(gdb_path(gdb)))
        bench = Bench(target, machine)

        def noted(self: TclTarget, address: int, size: int, directory: Path) -> bytes:
            bench.running.append(self.is_running())
            bench.dumps.append(Range(address, size))
            return dump(self, address, size, directory)

        monkeypatch.setattr(TclTarget, "dump", noted)
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


def test_chunks_travel_while_the_next_one_is_read(any_bench: Bench) -> None:
    assert any_bench.read() == any_bench.held
    assert any_bench.notes == []
    # The first is read before it is known whether it pays, and beside the last one's way nothing is left to read.
    assert len(any_bench.dumps) >= 7
    assert all(any_bench.running[:-1]), "the last call reads 77 bytes, and may have ended"
    halves = {each.address for each in any_bench.dumps}
    assert all(one.address != other.address for one, other in zip(any_bench.dumps, any_bench.dumps[1:], strict=False))
    assert len(halves) <= 4, "each half, at two places within a word"


def test_all_of_it_twice_on_request(bench: Bench) -> None:
    assert bench.read(twice=True) == bench.held
    assert bench.dumps == []


def test_what_comes_damaged_beside_a_run_is_taken_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    dump = TclTarget.dump

    def damaged(self: TclTarget, address: int, size: int, directory: Path) -> bytes:
        data = dump(self, address, size, directory)
        return data[:-1] + bytes([data[-1] ^ 1])

    monkeypatch.setattr(TclTarget, "dump", damaged)
    assert bench.read() == bench.held
    assert set(bench.notes) == {"read-again"}
    assert len(bench.notes) == len(bench.dumps) >= 7


@pytest.mark.parametrize(
    "error",
    [CommandRefused("no such file", command="dump_image", reply=""), ConnectionLost("gone", reply="")],
    ids=["refused", "port lost"],
)
def test_after_a_failure_nothing_more_is_brought_beside(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: GdbflashError
) -> None:
    tried: list[int] = []

    def fails(_self: TclTarget, address: int, _size: int, _directory: Path) -> bytes:
        tried.append(address)
        raise error

    monkeypatch.setattr(TclTarget, "dump", fails)
    assert bench.read() == bench.held
    assert len(tried) == 1
    assert not bench.target.capabilities.moves_beside


def test_bytes_that_change_on_the_way_are_not_given(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    read_memory = MiTarget.read_memory

    def changed(self: MiTarget, address: int, size: int) -> bytes:
        data = read_memory(self, address, size)
        return data if size != CHUNK - 3 else bytes([data[0] ^ 0x80]) + data[1:]

    monkeypatch.setattr(MiTarget, "read_memory", changed)
    with pytest.raises(Mismatch, match="is not what the target's RAM held") as caught:
        bench.read()
    assert caught.value.data["first"] == FLASH + 3


def test_a_file_that_is_too_short_is_no_answer(bench: Bench, tmp_path: Path) -> None:
    port = bench.target._tcl
    assert port is not None
    with pytest.raises(CommandRefused, match="OpenOCD"):
        port.dump(0x24000000, 16, tmp_path / "there is none")
    with pytest.raises(CommandRefused, match="cannot be named in Tcl"):
        port.dump(0x24000000, 16, Path("/tmp/a[b]"))
