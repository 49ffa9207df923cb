"""Loaders in the manner of the vendor's HAL on the virtual board, in all their builds.

What a loader at register level asks of the board is little; these ask for clocks, supply, time and the sequences of
ST's QUADSPI driver.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from gdbflash.board.bus import BusError
from gdbflash.board.machine import Machine
from tests.support.cbuild import build
from tests.support.loadercalls import BUFFER, LoaderCalls

BASE = 0x90000000


class Build(NamedTuple):
    """One way to build the loader."""

    compiler: str
    optimise: str
    defines: tuple[str, ...]

    def __str__(self) -> str:
        return "-".join((self.compiler, self.optimise.strip("-"), *self.defines))


VARIANTS = (
    (),
    ("CLOCK_HSE", "CACHES"),
    ("CLOCK_RESET", "ERASE_4K"),
    ("PROGRAM_SINGLE", "READ_0B", "QE_BY_01"),
    ("QPI",),
    ("TICK_INTERRUPT", "ERRATA"),
)
MAPPED_VARIANTS = (("MAPPED",), ("MAPPED", "QPI", "CACHES"), ("MAPPED", "TICK_INTERRUPT", "ERASE_4K", "ERRATA"))
COMPILERS = (("gcc", "-O0"), ("gcc", "-Os"), ("zig", "-O0"), ("zig", "-Os"))


def builds(variants: tuple[tuple[str, ...], ...]) -> list[Build]:
    return [Build(*how, defines) for how in COMPILERS for defines in variants]


@pytest.fixture
def board() -> Iterator[Machine]:
    with Machine() as machine:
        yield machine


def load(board: Machine, how: Build) -> LoaderCalls:
    path = build("hal_qspi", *how.defines, optimise=how.optimise, compiler=how.compiler)
    return LoaderCalls(board, path)


@pytest.mark.parametrize("how", builds(VARIANTS), ids=str)
def test_erase_write_and_read(board: Machine, how: Build) -> None:
    calls = load(board, how)
    irq = "TICK_INTERRUPT" in how.defines
    sector = calls.loader.storage.sectors[0].size
    data = random.Random(2).randbytes(1001)
    board.flash.memory[: 4 * sector] = bytes(4 * sector)

    assert [calls.call("Init", irq=irq) for _ in range(2)] == [1, 1]
    with pytest.raises(BusError):
        board.read_memory(BASE, 4)
    assert calls.call("SectorErase", BASE + sector, BASE + 2 * sector, irq=irq) == 1
    assert calls.call("Init", irq=irq) == 1
    assert calls.write(BASE + sector + 3, data, irq=irq) == 1
    assert calls.read(BASE + sector + 3, 1001, misplaced=1, irq=irq) == data

    erased = b"\xff" * (2 * sector - 1004)
    assert bytes(board.flash.memory[: 4 * sector]) == (bytes(sector) + b"\xff" * 3 + data + erased + bytes(sector))
    assert calls.call("MassErase", 0, irq=irq) == 1
    assert board.flash.memory.tobytes().count(0xFF) == 16 << 20


@pytest.mark.parametrize("how", builds(MAPPED_VARIANTS), ids=str)
def test_loaders_without_read_map_the_chip(board: Machine, how: Build) -> None:
    calls = load(board, how)
    irq = "TICK_INTERRUPT" in how.defines
    data = random.Random(3).randbytes(1000)

    assert calls.call("Init", irq=irq) == 1
    assert board.read_memory(BASE, 2) == b"\xff\xff"
    assert calls.call("SectorErase", BASE, BASE, irq=irq) == 1
    assert calls.write(BASE + 250, data, irq=irq) == 1
    with pytest.raises(BusError):
        board.read_memory(BASE, 4)
    assert calls.call("Init", irq=irq) == 1
    assert board.read_memory(BASE + 250, 1000) == data

    board.write_memory(BUFFER, data)
    assert (calls.call("Verify", BASE + 250, BUFFER, 250, 0, irq=irq), calls.r1()) == (0, sum(data))
    assert calls.call("CheckSum", BASE + 250, 1000, 5, irq=irq) == 5 + sum(data)
    board.flash.memory[250 + 17] ^= 0x10
    assert calls.call("Verify", BASE + 250, BUFFER, 250, 0, irq=irq) != 0


def test_a_loader_that_waits_for_ticks_needs_interrupts(board: Machine) -> None:
    """It sets PRIMASK to 0 by itself: the host's choice is undone, and its own VTOR and handler are used."""
    calls = load(board, Build("gcc", "-Os", ("TICK_INTERRUPT",)))

    assert calls.call("Init") == 1

    assert int.from_bytes(board.read_memory(0xE000ED08, 4), "little") == 0x24000200
    assert board.read_register("primask") == 1
    [ticks] = [symbol.address for symbol in calls.loader.symbols if symbol.name == "uwTick"]
    assert int.from_bytes(board.read_memory(ticks, 4), "little") >= 2
