"""The demo loader's machine code on the virtual board, called straight through the debug port."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from gdbflash.board.bus import BusError
from gdbflash.board.chips.facts import DATA_SHEET
from gdbflash.board.chips.w25q import W25Q
from gdbflash.board.chips.wires import Wires
from gdbflash.board.clock import Clock
from gdbflash.board.machine import Machine
from tests.board.test_demo_loader import FULL, WITHOUT_READ
from tests.support.cbuild import build
from tests.support.loadercalls import BUFFER, LoaderCalls

BASE = 0x90000000
LAST = 0x90FFFFFF
BLOCK = 0x10000


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def board() -> Iterator[Machine]:
    with Machine() as machine:
        yield machine


@pytest.fixture
def loader(board: Machine) -> LoaderCalls:
    calls = LoaderCalls(board, FULL)
    assert calls.call("Init") == 1
    return calls


def test_init_maps_the_chip(board: Machine) -> None:
    board.flash.memory[:4] = b"\x12\x34\x56\x78"
    board.flash.memory[-4:] = b"tail"
    calls = LoaderCalls(board, FULL)
    with pytest.raises(BusError):
        board.read_memory(BASE, 4)

    assert calls.call("Init") == 1

    assert board.read_memory(BASE, 4) == b"\x12\x34\x56\x78"
    assert board.read_memory(LAST - 3, 4) == b"tail"


def test_init_sets_quad_enable_once(board: Machine) -> None:
    assert not board.flash.core.quad_enabled
    calls = LoaderCalls(board, FULL)

    assert [calls.call("Init"), calls.call("Init")] == [1, 1]

    assert board.flash.core.quad_enabled


def test_init_fails_while_the_chip_is_busy_and_works_afterwards() -> None:
    """A reset of the MCU does not end a chip erase."""
    clock = Clock()
    flash = W25Q(clock, timing=DATA_SHEET, quad_enable=True)
    with Machine(flash, clock=clock) as board:
        flash.core.write_enable()
        flash.core.erase_chip()
        calls = LoaderCalls(board, FULL)

        assert calls.call("Init") == 0
        assert calls.write(BASE, b"data") == 0
        clock.skip(40.0)
        assert calls.call("Init") == 1
        assert calls.write(BASE, b"data") == 1
        assert bytes(flash.memory[:5]) == b"data\xff"
    flash.close()


def leave_continuous_read_on(wires: Wires) -> None:
    wires.send(b"\xeb", 1)
    wires.send(b"\x00\x00\x00\xa0", 4)
    wires.dummy(4, 4)
    wires.receive(4, 4)


def enter_qpi(wires: Wires) -> None:
    wires.send(b"\x38", 1)


def power_down(wires: Wires) -> None:
    wires.send(b"\xb9", 1)


@pytest.mark.parametrize("leave", [leave_continuous_read_on, enter_qpi, power_down])
def test_init_finds_the_chip_in_any_state(leave: Callable[[Wires], None]) -> None:
    clock = Clock()
    flash = W25Q(clock, quad_enable=True)
    with Machine(flash, clock=clock) as board:
        wires = Wires(flash)
        wires.select()
        leave(wires)
        wires.deselect()
        calls = LoaderCalls(board, FULL)

        assert calls.call("Init") == calls.write(BASE, b"data") == 1
        assert calls.read(BASE, 5) == b"data\xff"
    flash.close()


def test_a_write_protected_chip_shows_only_in_its_content(board: Machine, loader: LoaderCalls) -> None:
    """BP2..BP0 protect all of the array; the chip reports no error."""
    board.flash.core.write_enable()
    board.flash.core.write_status(1, b"\x1c")

    assert loader.write(BASE, b"data") == 1

    assert bytes(board.flash.memory[:4]) == b"\xff\xff\xff\xff"


def test_nothing_works_before_init(board: Machine) -> None:
    calls = LoaderCalls(board, FULL)

    assert calls.write(BASE, b"data") == 0
    assert calls.call("SectorErase", BASE, BASE) == 0
    assert calls.call("MassErase", 0) == 0
    assert calls.call("Read", BASE, 4, BUFFER) == 0
    assert calls.call("CheckSum", BASE, 4, 7) == 0
    assert (calls.call("Verify", BASE, BUFFER, 1, 0), calls.r1()) == (BASE, 0)


def test_deinit_gives_all_back(board: Machine, loader: LoaderCalls) -> None:
    assert loader.call("DeInit") == 1

    with pytest.raises(BusError):
        board.read_memory(BASE, 4)
    assert board.read_memory(0x58020400, 4) == b"\xbf\xfe\xff\xff", "GPIOB as after reset, but for PB4 and PB3 (JTAG)"
    assert loader.write(BASE, b"data") == 0
    assert loader.call("Init") == 1


@pytest.mark.parametrize(
    ("address", "size", "misplaced"),
    [
        (BASE, 1, 0),
        (BASE, 256, 0),
        (BASE + 255, 2, 1),
        (BASE + 1, 255, 2),
        (BASE + 3, 1001, 3),
        (BASE + 0x1234, 0x3001, 1),
        (LAST, 1, 0),
        (LAST - 299, 300, 0),
    ],
)
def test_write_and_read_at_any_alignment(
    board: Machine, loader: LoaderCalls, address: int, size: int, misplaced: int
) -> None:
    data = noise(size)
    offset = address - BASE

    assert loader.write(address, data, misplaced=misplaced) == 1

    assert bytes(board.flash.memory[offset : offset + size]) == data
    assert sum(1 for byte in board.flash.memory[max(offset - 512, 0) : offset] if byte != 0xFF) == 0
    assert sum(1 for byte in board.flash.memory[offset + size : offset + size + 512] if byte != 0xFF) == 0
    assert loader.read(address, size, misplaced=misplaced) == data


def test_write_only_clears_bits(board: Machine, loader: LoaderCalls) -> None:
    assert loader.write(BASE, b"\xf0\x0f\xff\x00") == 1
    assert loader.write(BASE, b"\x3c\x3c\x55\xff") == 1

    assert bytes(board.flash.memory[:4]) == b"\x30\x0c\x55\x00"


def test_write_and_erase_leave_the_chip_unmapped(board: Machine, loader: LoaderCalls) -> None:
    for call in (("SectorErase", BASE, BASE), ("Write", BASE, 4, BUFFER), ("MassErase", 0)):
        assert loader.call(*call) == 1
        with pytest.raises(BusError):
            board.read_memory(BASE, 4)
        assert loader.call("Init") == 1
        board.read_memory(BASE, 4)


@pytest.mark.parametrize(
    ("start", "end", "erased"),
    [
        (BASE, BASE, (0, 1)),
        (BASE + BLOCK, BASE + BLOCK, (1, 2)),
        (BASE + BLOCK + 5, BASE + 2 * BLOCK + 1, (1, 3)),
        (BASE, BASE + BLOCK, (0, 2)),
        (LAST, LAST, (255, 256)),
    ],
)
def test_erase_takes_both_ends(
    board: Machine, loader: LoaderCalls, start: int, end: int, erased: tuple[int, int]
) -> None:
    board.flash.memory[:] = bytes(len(board.flash.memory))

    assert loader.call("SectorErase", start, end) == 1

    first, stop = (index * BLOCK for index in erased)
    assert bytes(board.flash.memory) == bytes(first) + b"\xff" * (stop - first) + bytes((16 << 20) - stop)


def test_erase_of_4_kib_sectors(board: Machine) -> None:
    board.flash.memory[:BLOCK] = bytes(BLOCK)
    calls = LoaderCalls(board, build("misbehaving", "SECTOR=0x1000u"))
    assert calls.loader.storage.sectors[0].count == 4096

    assert (calls.call("Init"), calls.call("SectorErase", BASE + 0x1000, BASE + 0x2000)) == (1, 1)

    assert bytes(board.flash.memory[:BLOCK]) == bytes(0x1000) + b"\xff" * 0x2000 + bytes(0xD000)


def test_mass_erase(board: Machine, loader: LoaderCalls) -> None:
    board.flash.memory[:] = bytes(len(board.flash.memory))

    assert loader.call("MassErase", 0) == 1

    assert board.flash.memory.tobytes().count(0xFF) == 16 << 20


@pytest.mark.parametrize(
    "call",
    [
        ("Write", BASE - 1, 1, BUFFER),
        ("Write", LAST, 2, BUFFER),
        ("Write", BASE, 0xFFFFFFFF, BUFFER),
        ("Read", LAST + 1, 1, BUFFER),
        ("Read", LAST, 2, BUFFER),
        ("SectorErase", LAST + 1, LAST + 1),
        ("SectorErase", BASE, LAST + 1),
        ("SectorErase", 0, BASE),
    ],
)
def test_what_is_outside_the_chip_is_refused(board: Machine, loader: LoaderCalls, call: tuple[str, int, int]) -> None:
    assert loader.call(*call) == 0
    assert board.flash.memory.tobytes().count(0xFF) == 16 << 20


def test_verify_and_checksum(board: Machine, loader: LoaderCalls) -> None:
    data = noise(4096)
    board.flash.memory[64 : 64 + 4096] = data
    board.write_memory(BUFFER, data)

    assert (loader.call("Verify", BASE + 64, BUFFER, 1024, 0), loader.r1()) == (0, sum(data))
    assert loader.call("CheckSum", BASE + 64, 4096, 1000) == 1000 + sum(data)
    assert loader.call("CheckSum", BASE + 65, 3, 0xFFFFFFFF) == sum(data[1:4]) - 1, "modulo 2^32"


def test_verify_names_the_first_difference(board: Machine, loader: LoaderCalls) -> None:
    data = noise(4096)
    board.flash.memory[:4096] = data
    for index in (17, 400):
        board.flash.memory[index] ^= 1
    board.write_memory(BUFFER, data)

    assert loader.call("Verify", BASE, BUFFER, 1024, 0) == BASE + 17
    assert loader.r1() == sum(board.flash.memory[:4096])


def test_verify_leaves_padding_out(board: Machine, loader: LoaderCalls) -> None:
    board.flash.memory[:16] = bytes(range(16))
    board.write_memory(BUFFER, b"\xee\xee\xee" + bytes(range(3, 14)) + b"\xee\xee")

    assert (loader.call("Verify", BASE, BUFFER, 4, 0x00020003), loader.r1()) == (0, sum(range(3, 14)))
    assert loader.call("Verify", BASE, BUFFER, 4, 0x00020002) == BASE + 2
    assert loader.call("Verify", BASE, BUFFER, 4, 0x00010003) == BASE + 14


def test_verify_and_checksum_map_the_chip_themselves(board: Machine, loader: LoaderCalls) -> None:
    assert loader.write(BASE, b"abcd") == 1

    assert (loader.call("Verify", BASE, BUFFER, 1, 0), loader.r1()) == (0, sum(b"abcd"))
    assert loader.write(BASE + 4, b"efgh") == 1
    assert loader.call("CheckSum", BASE, 8, 0) == sum(b"abcdefgh")
    assert board.read_memory(BASE, 8) == b"abcdefgh"


def test_without_read_the_window_serves(board: Machine) -> None:
    calls = LoaderCalls(board, WITHOUT_READ)
    data = noise(5000)

    assert (calls.call("Init"), calls.call("SectorErase", BASE, BASE), calls.write(BASE + 7, data)) == (1, 1, 1)
    assert calls.call("Init") == 1

    assert board.read_memory(BASE + 7, 5000) == data


def test_a_debugger_that_looks_on_does_not_disturb(board: Machine, loader: LoaderCalls) -> None:
    """Each look holds the core between two instructions, and no access to a register is lost or made twice."""
    data = noise(0x4000)
    board.write_memory(BUFFER, data)
    looks = 0

    loader.start("Write", BASE + 1, len(data), BUFFER)
    while board.wait_halted(0.0) is None:
        assert board.read_memory(BUFFER, 4) == data[:4]
        looks += 1

    assert board.read_register("r0") == 1
    assert looks > 10
    assert bytes(board.flash.memory[: 1 + len(data)]) == b"\xff" + data


def test_the_mapped_chip_is_memory_to_the_core(
    board: Machine, loader: LoaderCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loader sets one address bit more than the chip has, as the errata sheet wants: its content repeats."""
    select = board.flash.select
    commands = 0

    def counted_select() -> None:
        nonlocal commands
        commands += 1
        select()

    monkeypatch.setattr(board.flash, "select", counted_select)
    board.flash.memory[:5] = board.flash.memory[-5:] = b"\x01\x02\x03\x04\x05"

    assert loader.call("CheckSum", BASE, 16 << 20, 0) == 30 + 0xFF * ((16 << 20) - 10)
    assert commands < 20
    assert board.read_memory(LAST - 3, 8) == b"\x02\x03\x04\x05\x01\x02\x03\x04"


def test_a_page_costs_few_register_accesses(
    board: Machine, loader: LoaderCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each one costs microseconds in emulation, and 64 of them are the data."""
    read, write = board.quadspi.read, board.quadspi.write
    accesses = 0

    def counted_read(offset: int, size: int) -> int:
        nonlocal accesses
        accesses += 1
        return read(offset, size)

    def counted_write(offset: int, size: int, value: int) -> None:
        nonlocal accesses
        accesses += 1
        write(offset, size, value)

    monkeypatch.setattr(board.quadspi, "read", counted_read)
    monkeypatch.setattr(board.quadspi, "write", counted_write)

    assert loader.write(BASE, noise(16 * 256)) == 1

    assert 64 < accesses / 16 < 100
