"""Loaders with habits of real ones, called by a plain host on the virtual board: each does what its source says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gdbflash.board.machine import Machine
from gdbflash.elf import ElfFile, ElfSegment
from gdbflash.errors import LoaderFileError
from tests.support.cbuild import build
from tests.support.loadercalls import DidNotReturn, LoaderCalls

BASE = 0x90000000
PAGE, UNIT, BLOCK = 0x100, 0x1000, 0x10000


@pytest.fixture
def board() -> Iterator[Machine]:
    with Machine() as machine:
        yield machine


def load(board: Machine, *defines: str) -> LoaderCalls:
    return LoaderCalls(board, build("habits", *defines))


def in_flash(board: Machine, offset: int, size: int) -> bytes:
    return bytes(board.flash.memory[offset : offset + size])


def segments(path: Path) -> tuple[ElfSegment, ...]:
    return ElfFile(path.read_bytes(), path.name, LoaderFileError).segments()


# --- functions ----------------------------------------------------------------------------------------------


def test_without_a_habit_it_is_the_demo_loader(board: Machine) -> None:
    calls = load(board)
    board.flash.memory[: 2 * BLOCK] = bytes(2 * BLOCK)

    assert calls.call("Init") == calls.call("Init") == calls.call("SectorErase", BASE, BASE) == 1
    assert calls.write(BASE + 3, b"data") == 1

    assert in_flash(board, 0, 8) == b"\xff\xff\xffdata\xff"
    assert in_flash(board, BLOCK, 1) == b"\0"


@pytest.mark.parametrize("function", ["Init", "Write"])
def test_a_word_goes_astray(board: Machine, function: str) -> None:
    calls = load(board, "STRAYS")
    [image] = calls.loader.load_segments
    where = image.address + image.memory_size + 0x1A0
    if function == "Write":
        assert calls.call("Init") == 1
    board.write_memory(where - 4, bytes(12))

    assert (calls.call("Init") if function == "Init" else calls.write(BASE, b"data")) == 1

    assert board.read_memory(where - 4, 12) == bytes(4) + bytes.fromhex("a757a757") + bytes(4)


def test_delays_need_its_own_interrupts(board: Machine) -> None:
    calls = load(board, "INIT_DELAYS=5", "WRITE_DELAYS=2")
    [ticks] = [symbol.address for symbol in calls.loader.symbols if symbol.name == "uwTick"]

    assert calls.call("Init", irq=True) == calls.write(BASE, b"data", irq=True) == 1
    assert int.from_bytes(board.read_memory(ticks, 4), "little") >= 7
    vectors = int.from_bytes(board.read_memory(0xE000ED08, 4), "little")
    assert calls.loader.load_segments[0].holds(vectors)
    with pytest.raises(DidNotReturn, match="Write: None"):
        calls.call("Write", BASE, 4, 0x24020000, irq=False, timeout=0.3)


@pytest.mark.parametrize(("defines", "control"), [(("SUSPENDS_TICK",), 0), ((), 7)])
def test_the_tick_stays_on_unless_suspended(board: Machine, defines: tuple[str, ...], control: int) -> None:
    calls = load(board, "INIT_DELAYS=2", *defines)

    assert calls.call("Init", irq=True) == 1

    assert board.read_memory(0xE000E010, 1)[0] & 7 == control


def test_whole_pages_only(board: Machine) -> None:
    calls = load(board, "WHOLE_PAGES_ONLY")
    assert calls.call("Init") == 1

    assert calls.write(BASE + 1, bytes(PAGE)) == calls.write(BASE, bytes(PAGE + 4)) == 0
    assert in_flash(board, 0, 2 * PAGE) == b"\xff" * 2 * PAGE
    assert calls.write(BASE + PAGE, bytes(2 * PAGE)) == 1
    assert in_flash(board, 0, 4 * PAGE) == b"\xff" * PAGE + bytes(2 * PAGE) + b"\xff" * PAGE


def test_data_that_does_not_start_on_a_page_is_lost(board: Machine) -> None:
    calls = load(board, "PAGE_STARTS_ONLY")
    assert calls.call("Init") == 1

    assert calls.write(BASE + 4, bytes(2 * PAGE)) == 1
    assert in_flash(board, 0, 3 * PAGE) == b"\xff" * 3 * PAGE
    assert calls.write(BASE + PAGE, bytes(PAGE + 4)) == 1
    assert in_flash(board, PAGE, PAGE + 8) == bytes(PAGE + 4) + b"\xff" * 4


def test_write_erases_and_sector_erase_does_not(board: Machine) -> None:
    calls = load(board, "WRITE_ERASES")
    board.flash.memory[:BLOCK] = b"\x55" * BLOCK
    data = bytes(range(256)) * 16

    assert calls.call("Init") == calls.call("SectorErase", BASE, BASE) == 1
    assert in_flash(board, 0, BLOCK) == b"\x55" * BLOCK

    assert calls.write(BASE + 2 * UNIT - 16, data) == 1
    lost = b"\xff" * (UNIT - 16)
    assert in_flash(board, 0, 4 * UNIT) == b"\x55" * UNIT + lost + data + b"\xff" * 16 + b"\x55" * UNIT
    assert board.flash.counters.sectors_erased == 2

    # A call that goes on in the same unit erases what the one before has programmed there.
    assert calls.write(BASE + 2 * UNIT, b"more") == 1
    assert in_flash(board, 2 * UNIT, 8) == b"more" + b"\xff" * 4
    assert in_flash(board, 2 * UNIT - 16, 16) == data[:16]


def test_a_second_init_waits_for_busy(board: Machine) -> None:
    calls = load(board, "INIT_WAITS_FOR_BUSY")

    assert calls.call("Init") == calls.call("Init") == 1, "nobody has read the memory yet"
    board.read_memory(BASE, 4)
    assert calls.call("Init") == 0
    assert calls.write(BASE, b"data") == calls.call("Init") == 1, "Write ends the mapped mode"

    board.read_memory(BASE, 4)
    assert load(board, "INIT_WAITS_FOR_BUSY").call("Init") == 1, "a reset has turned QUADSPI off"


# --- files --------------------------------------------------------------------------------------------------


def test_segments_that_overlap(board: Machine) -> None:
    path = build("overlap", compiler="gcc")
    image, info = segments(path)
    offset = info.address - image.address
    assert 0 < offset < offset + len(info.data) < len(image.data)
    assert info.data.startswith(b"OVERLAP\0")
    assert image.data[offset : offset + 200] == bytes(200)

    calls = LoaderCalls(board, path)
    assert calls.call("Init") == calls.write(BASE, b"data") == 1
    assert in_flash(board, 0, 4) == b"data"


def test_segments_that_overlap_and_agree() -> None:
    image, info = segments(build("overlap", compiler="zig"))

    offset = info.address - image.address
    assert image.data[offset : offset + 200] == info.data


@pytest.mark.parametrize("compiler", ["zig", "gcc"])
def test_bss_that_no_program_header_covers(board: Machine, compiler: str) -> None:
    path = build("nobits", compiler=compiler)
    calls = LoaderCalls(board, path)
    _, image = segments(path)
    [scratch] = [symbol for symbol in calls.loader.symbols if symbol.name == "scratch"]
    assert image.memory_size == len(image.data)
    assert scratch.address >= image.address + image.memory_size
    assert scratch.size == 1024

    assert calls.call("Init") == calls.write(BASE, b"data") == calls.write(BASE + 4, b"more") == 1
    assert in_flash(board, 0, 8) == b"datamore"
    board.write_memory(scratch.address + 512, b"mine")
    assert calls.write(BASE + 8, b"lost") == 0


@pytest.mark.parametrize("compiler", ["zig", "gcc"])
def test_storage_info_in_another_ram(board: Machine, compiler: str) -> None:
    calls = LoaderCalls(board, build("info_elsewhere", compiler=compiler))
    assert [segment.address for segment in calls.loader.load_segments] == [0x20000000, 0x24000004]
    assert calls.loader.return_address == 0x24000000

    assert calls.call("Init") == calls.write(BASE, b"data") == 1
    assert in_flash(board, 0, 4) == b"data"


# --- static base --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Linked:
    """How a loader with variables relative to r9 was linked, and what r9 has to be."""

    name: str
    compiler: str
    variables: str
    sections: tuple[str, ...]
    base_is_zero: bool


ARMLINK = Linked("armlink", "zig-rwpi", "PrgData", ("DevInfo", "PrgCode", "PrgData"), False)
IAR = Linked("iar", "zig-rwpi-gnu", "P1 rw", ("P2 ro", "P1 ro", "P1 rw", "P1 zi"), True)
COUNT_PLEASE = 0xC0C0C0C0


@pytest.mark.parametrize("linked", [ARMLINK, IAR], ids=["armlink", "iar"])
def test_variables_relative_to_r9(board: Machine, linked: Linked) -> None:
    path = build(linked.name, compiler=linked.compiler)
    sections = {each.name: each for each in ElfFile(path.read_bytes(), path.name, LoaderFileError).sections()}
    assert set(linked.sections) <= set(sections)
    calls = LoaderCalls(board, path)
    calls.static_base = 0 if linked.base_is_zero else sections[linked.variables].address

    assert calls.call("Init") == calls.write(BASE, b"data") == calls.write(BASE + 4, b"more") == 1

    assert in_flash(board, 0, 8) == b"datamore"
    assert calls.call("CheckSum", BASE, 0, COUNT_PLEASE) == 2
    [area] = [symbol.address for symbol in calls.loader.symbols if symbol.name == "area"]
    assert board.read_memory(area + 0x4B84, 4) == b"\2\0\0\0"


def test_a_wrong_static_base_goes_unnoticed(board: Machine) -> None:
    calls = LoaderCalls(board, build(ARMLINK.name, "UNCHECKED", compiler=ARMLINK.compiler))
    calls.static_base = 0x24060000
    [initialised, area] = [
        next(symbol.address for symbol in calls.loader.symbols if symbol.name == name)
        for name in ("initialised", "area")
    ]
    stray = calls.static_base + area - initialised + 0x4B84
    board.write_memory(stray - 4, bytes(12))

    assert calls.call("Init") == calls.write(BASE, b"data") == 1

    assert board.read_memory(stray - 4, 12) == b"\0\0\0\0\1\0\0\0\0\0\0\0"


def test_the_wrong_static_base(board: Machine) -> None:
    assert LoaderCalls(board, build(ARMLINK.name, compiler=ARMLINK.compiler)).call("Init") == 0

    with pytest.raises(DidNotReturn, match=r"exception 3$"):
        LoaderCalls(board, build(IAR.name, compiler=IAR.compiler)).call("Init", timeout=0.3)
