"""A loader for two chips in dual-flash mode, called by a plain host on a board that has them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gdbflash.board.chips.pair import FlashPair
from gdbflash.board.clock import Clock
from gdbflash.board.machine import Machine
from tests.support.cbuild import build
from tests.support.loadercalls import BUFFER, LoaderCalls

BASE, SIZE = 0x90000000, 32 << 20
DATA = bytes(range(1, 65))


@pytest.fixture
def board() -> Iterator[Machine]:
    clock = Clock()
    pair = FlashPair(clock)
    with Machine(pair, clock=clock) as machine:
        yield machine
    pair.close()


def load(board: Machine, *defines: str) -> LoaderCalls:
    calls = LoaderCalls(board, build("dual_qspi", *defines))
    assert calls.call("Init") == 1
    return calls


def test_it_uses_both_chips(board: Machine) -> None:
    calls = load(board)
    data = bytes(number * 7 & 0xFF for number in range(3000))

    assert calls.write(BASE + 0x1FE, data) == 1

    assert bytes(board.storage[0x1FE:][: len(data)]) == data
    assert bytes(board.chips[1].memory[0xFF:][:1500]) == data[1::2]
    assert calls.read(BASE + 0x1FE, len(data)) == data
    assert calls.read(BASE + SIZE - 4, 4) == b"\xff" * 4
    assert calls.call("Init") == 1
    assert board.read_memory(BASE + 0x1FF, 5) == data[1:6], "mapped, every address is good"


@pytest.mark.parametrize(("defines", "sector"), [((), 0x20000), (("SECTOR=0x2000u",), 0x2000)])
def test_it_erases_in_both_chips(board: Machine, defines: tuple[str, ...], sector: int) -> None:
    calls = load(board, *defines)
    board.storage[: 4 * sector] = bytes(4 * sector)

    assert calls.call("SectorErase", BASE + sector, BASE + 2 * sector) == 1
    assert bytes(board.storage[: 4 * sector]) == bytes(sector) + b"\xff" * 2 * sector + bytes(sector)

    assert calls.call("MassErase", 0) == 1
    assert bytes(board.storage[: 4 * sector]) == b"\xff" * 4 * sector


def test_a_read_from_an_odd_address_gives_bytes_from_one_lower(board: Machine) -> None:
    calls = load(board)
    board.storage[:64] = DATA

    assert calls.read(BASE + 5, 8) == DATA[4:12]
    assert calls.read(BASE + 4, 7) == DATA[4:11]


def test_a_write_to_an_odd_address_programs_one_lower(board: Machine) -> None:
    calls = load(board)

    assert calls.write(BASE + 5, DATA) == 1
    assert bytes(board.storage[:70]) == b"\xff" * 4 + DATA + b"\xff" * 2

    assert calls.write(BASE + 0x100, DATA[:5]) == 1
    assert bytes(board.storage[0x100:0x108]) == DATA[:5] + b"\xff" * 3


def test_odd_numbers_of_bytes_become_even_when_dlr_counts(board: Machine) -> None:
    calls = load(board, "COUNTS_BY_DLR")
    board.write_memory(BUFFER, DATA)

    assert calls.call("Write", BASE, 5, BUFFER) == 1
    assert bytes(board.storage[:8]) == DATA[:6] + b"\xff" * 2

    board.write_memory(BUFFER, bytes(8))
    assert calls.call("Read", BASE, 3, BUFFER) == 1
    assert board.read_memory(BUFFER, 8) == DATA[:4] + bytes(4)


def test_a_single_chip_is_not_enough() -> None:
    with Machine() as machine:
        calls = LoaderCalls(machine, build("dual_qspi", "STATUS_READS=10u"))
        assert calls.call("Init") == 0
