"""Loaders of every kind that other people build: written and read at odd places, nothing else changed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gdbflash.board.mishaps.occasion import Occasion
from gdbflash.board.mishaps.places import Flip, Mishap, Return
from gdbflash.loaders.stldr import load_loader
from gdbflash.onchip.device.lookup import ram_around
from gdbflash.onchip.plan_layout import plan_layout
from tests.support.boards import LOADER, running_board
from tests.support.cbuild import build
from tests.support.commandline import CommandLine
from tests.support.wildkinds import KINDS, Bench, board_for

pytestmark = pytest.mark.erase_proof

FLASH = 0x90000000
AREA = 512 * 1024
SECTOR = 64 * 1024


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    return CommandLine(capsys)


class Places:
    """Places of an area, most of them odd, and what is written there."""

    def __init__(self, seed: str) -> None:
        self._rng = random.Random(seed)

    def one(self) -> tuple[int, bytes]:
        size = self._rng.choice((1, 2, 15, 255, 257, 4097, 30_001, 70_003))
        data = bytearray(self._rng.randbytes(size))
        if self._rng.random() < 0.4:  # a stretch that is as after an erase
            start = self._rng.randrange(size)
            data[start:] = b"\xff" * (size - start)
        return self._rng.randrange(AREA - size), bytes(data)


def words_for(board: Bench, loader: Path) -> list[str]:
    return ["--connect", board.endpoint, "-l", str(loader)]


@pytest.mark.parametrize("name", KINDS)
def test_is_written_and_read_at_odd_places(
    name: str, run: CommandLine, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    kind = KINDS[name]
    image, back = tmp_path / "image.bin", tmp_path / "back.bin"
    places = Places(name)
    with board_for(kind) as board:
        words = words_for(board, kind.loader)
        held = bytearray(random.Random(name).randbytes(AREA))
        held[3 * SECTOR : 5 * SECTOR] = b"\xff" * 2 * SECTOR
        board.memory[:AREA] = held
        for _ in range(50 if pytestconfig.getoption("--full") else 4):
            at, data = places.one()
            image.write_bytes(data)
            written = run("write", f"{image}@{FLASH + at:#x}", *words)
            assert written.code == 0, written.shown
            held[at : at + len(data)] = data
            assert bytes(board.memory[:AREA]) == bytes(held), f"{len(data)} bytes at {at:#x}"
            at, data = places.one()
            read = run("read", hex(FLASH + at), str(len(data)), "-o", str(back), *words)
            assert read.code == 0, read.shown
            assert back.read_bytes() == bytes(held[at : at + len(data)]), f"{len(data)} bytes from {at:#x}"


@pytest.mark.parametrize("name", [name for name in KINDS if not name.startswith("empty-erase")])
def test_without_an_erase_nothing_beside_changes(name: str, run: CommandLine, tmp_path: Path) -> None:
    kind = KINDS[name]
    image = tmp_path / "image.bin"
    data = random.Random(name).randbytes(5001)
    image.write_bytes(data)
    with board_for(kind) as board:
        held = bytearray(b"\xff" * AREA)
        held[:0x1230] = random.Random(3).randbytes(0x1230)
        board.memory[:AREA] = held
        written = run("write", f"{image}@{FLASH + 0x1233:#x}", "--erase", "none", *words_for(board, kind.loader))
        assert written.code == 0, written.shown
        held[0x1233 : 0x1233 + 5001] = data
        assert bytes(board.memory[:AREA]) == bytes(held)


@pytest.mark.parametrize("name", KINDS)
def test_without_keep_the_rest_of_its_sectors_is_blank(name: str, run: CommandLine, tmp_path: Path) -> None:
    kind = KINDS[name]
    image = tmp_path / "image.bin"
    data = random.Random(name).randbytes(3001)
    image.write_bytes(data)
    with board_for(kind) as board:
        held = bytearray(random.Random(4).randbytes(AREA))
        board.memory[:AREA] = held
        options = ["--no-keep", "--erase", "sectors"]
        written = run("write", f"{image}@{FLASH + 0x20123:#x}", *options, *words_for(board, kind.loader))
        assert written.code == 0, written.shown
        found = bytes(board.memory[:AREA])
        assert found[0x20123 : 0x20123 + 3001] == data
        changed = [at for at in range(AREA) if found[at] != held[at] and not 0x20123 <= at < 0x20123 + 3001]
        assert all(found[at] == 0xFF for at in changed)
        assert changed[0] >= 0x20000
        assert changed[-1] < 0x40000


@pytest.mark.parametrize(
    ("name", "code"),
    [("empty-erase", "empty-erase"), ("own-tick", "own-interrupt"), ("init-waits", "init-again")],
)
def test_what_a_loader_wants_is_said_once(name: str, code: str, run: CommandLine, tmp_path: Path) -> None:
    kind = KINDS[name]
    image = tmp_path / "image.bin"
    image.write_bytes(bytes(range(200)))
    with board_for(kind) as board:
        board.memory[:AREA] = random.Random(5).randbytes(AREA)
        written = run("write", f"{image}@{FLASH + 33:#x}", *words_for(board, kind.loader))
        assert written.code == 0, written.shown
        assert [each.get("code") for each in written.events].count(code) == 1, written.shown


@pytest.mark.parametrize("writes", [True, False])
def test_a_protected_sector_is_told_from_one_that_write_erases(writes: bool, run: CommandLine, tmp_path: Path) -> None:
    """SectorErase says 1 and does nothing; Write only takes bits away, or does nothing either."""
    image = tmp_path / "image.bin"
    image.write_bytes(random.Random(7).randbytes(3000))
    functions = load_loader(LOADER).functions
    silent = ["SectorErase"] if writes else ["SectorErase", "Write"]
    with running_board() as board:
        board.chip.memory[:AREA] = b"\x55" * AREA
        board.machine.plan_mishaps([Mishap(functions[each] & ~1, Return(1), Occasion(1, None)) for each in silent])
        words = ["--connect", board.endpoint, "-l", str(LOADER)]
        written = run("write", f"{image}@{FLASH + 0x1001:#x}", *words)
        assert (written.code, written.result["error"]["kind"]) == (1, "erase-failed"), written.shown
        assert "It is write-protected or worn, or needs another erase" in written.shown
        assert "Bytes to keep are safe in" in written.shown
        assert bytes(board.chip.memory[SECTOR:AREA]) == b"\x55" * (AREA - SECTOR)


@pytest.mark.parametrize(("writes", "how"), [(True, "are there all the same"), (False, "are not there")])
def test_a_write_that_returns_0_says_whether_the_bytes_are_there(
    writes: bool, how: str, run: CommandLine, tmp_path: Path
) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(random.Random(8).randbytes(256))
    loader = build("misbehaving", "WRITE_RETURNS=0") if writes else LOADER
    with running_board() as board:
        if not writes:
            write = load_loader(LOADER).functions["Write"] & ~1
            board.machine.plan_mishaps([Mishap(write, Return(0), Occasion(1, None))])
        written = run("write", f"{image}@{FLASH:#x}", "--connect", board.endpoint, "-l", str(loader))
        assert (written.code, written.result["error"]["kind"]) == (1, "call-failed"), written.shown
        assert "returned 0 instead of 1. The loader reports a failure" in written.shown
        assert f"The bytes {how}." in written.shown


def test_erase_with_a_loader_that_cannot_says_so(run: CommandLine) -> None:
    kind = KINDS["empty-erase"]
    with board_for(kind) as board:
        board.memory[:AREA] = random.Random(6).randbytes(AREA)
        before = bytes(board.memory[:AREA])
        erased = run("erase", hex(FLASH), "0x20000", *words_for(board, kind.loader))
        assert (erased.code, erased.result["error"]["kind"]) == (1, "erase-failed"), erased.shown
        assert "the sector holds what it held" in erased.shown
        assert bytes(board.memory[:AREA]) == before


@pytest.mark.parametrize("function", ["Init", "Read"])
def test_a_stray_write_into_our_code_is_named(function: str, run: CommandLine, tmp_path: Path) -> None:
    loader = load_loader(LOADER)
    layout = plan_layout(loader, ram_around(loader.link_address, 0x450)[0])
    with running_board() as board:
        place = layout.routine.address + 0x20
        stray = Flip("", place, 1)
        board.machine.plan_mishaps([Mishap(loader.functions[function] & ~1, stray, Occasion(1, 1))])
        words = ["-o", str(tmp_path / "back.bin"), "--connect", board.endpoint, "-l", str(LOADER)]
        read = run("read", hex(FLASH), "3000", *words)
        assert (read.code, read.result["error"]["kind"]) == (1, "stray-write"), read.shown
        assert f"{function} wrote into RAM that the loader does not declare: 0x{place:08X}" in read.shown


def test_an_erased_value_that_is_not_the_declared_one_is_an_error_that_names_both(
    run: CommandLine, tmp_path: Path
) -> None:
    data = bytearray(LOADER.read_bytes())
    data[data.index(b"W25Q128_H750_QSPI\0") + 116] = 0x00
    loader, image = tmp_path / "W25Q128_H750_QSPI.stldr", tmp_path / "image.bin"
    loader.write_bytes(data)
    image.write_bytes(random.Random(8).randbytes(3000))
    with running_board() as board:
        board.chip.memory[:AREA] = random.Random(9).randbytes(AREA)
        written = run("write", f"{image}@{FLASH + 0x1001:#x}", "--connect", board.endpoint, "-l", str(loader))
        assert (written.code, written.result["error"]["kind"]) == (1, "erase-failed"), written.shown
        assert "it holds 0xFF now, and the loader declares 0x00 for erased bytes" in written.shown
        assert "Bytes to keep are safe in" in written.shown


def test_init_again_goes_from_way_to_way(run: CommandLine, tmp_path: Path) -> None:
    """One wants its data as it was left, one a reset, which a program in whose middle we are does not get."""
    image = tmp_path / "image.bin"
    image.write_bytes(bytes(range(200)))
    twice = build("misbehaving", "REQUIRES_INIT_TWICE")
    waits = KINDS["init-waits"].loader
    with running_board() as board:
        words = ["--connect", board.endpoint, "-l"]
        board.chip.memory[:AREA] = random.Random(5).randbytes(AREA)
        written = run("write", f"{image}@{FLASH + 33:#x}", *words, twice)
        assert written.code == 0, written.shown
        assert "Init works with the data as the last call left them, and not otherwise" in written.shown
        written = run("write", f"{image}@{FLASH + 99:#x}", *words, waits)
        assert written.code == 0, written.shown
        assert "Init works after a reset of the target, and not otherwise" in written.shown
        written = run("write", f"{image}@{FLASH + 155:#x}", "--before", "none", "--after", "halt", *words, waits)
        assert (written.code, written.result["error"]["kind"]) == (1, "call-failed"), written.shown
        assert "It was not reset in between, as --before none asks: use --before reset" in written.shown
