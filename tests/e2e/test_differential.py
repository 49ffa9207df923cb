"""What is there already is left alone: differential writes on the virtual board, counted in the chip itself."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gdbflash.cli.main import main
from gdbflash.errors import Interrupted
from gdbflash.flash import programming
from gdbflash.flash.inspection import Inspection
from gdbflash.flash.survey import HEAD, Survey
from gdbflash.onchip.loaded import LoadedLoader
from gdbflash.ranges import Range
from tests.support.boards import LOADER, LOADER_WITHOUT_READ, RunningBoard, running_board
from tests.support.cbuild import build

KIB = 1024
FLASH = 0x90000000
SECTOR = 64 * KIB
PAGE = 256


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))


class Bench:
    """A board, an image on it, and the tool."""

    def __init__(self, board: RunningBoard, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.board = board
        self.memory = board.chip.memory
        self._folder = folder
        self._capsys = capsys

    def put(self, data: bytes | bytearray, offset: int = 0) -> None:
        self.memory[offset : offset + len(data)] = data

    def run(self, *words: str | Path, loader: Path = LOADER) -> tuple[int, dict[str, object], str]:
        """Run a command; returns exit code, result, and what people see."""
        self._capsys.readouterr()
        code = main([*map(str, words), "--json", "--connect", self.board.endpoint, "-l", str(loader)])
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, json.loads(captured.out.splitlines()[-1]), captured.err

    def write(self, data: bytes, offset: int = 0, *words: str, loader: Path = LOADER) -> tuple[int, int]:
        """Write without a failure; returns bytes skipped and sectors erased as reported."""
        code, result, shown = self.run("write", self.image(data, offset), *words, loader=loader)
        assert code == 0, shown
        skipped, erased = result["bytes_skipped"], result["sectors_erased"]
        assert isinstance(skipped, int)
        assert isinstance(erased, int)
        return skipped, erased

    def image(self, data: bytes, offset: int = 0) -> str:
        path = self._folder / "image.bin"
        path.write_bytes(data)
        return f"{path}@{FLASH + offset:#x}"

    @property
    def spent(self) -> tuple[int, int]:
        """Sectors erased and pages programmed since power-on."""
        counters = self.board.chip.counters
        return counters.bytes_erased // SECTOR, counters.pages_programmed


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Bench]:
    with running_board() as board:
        yield Bench(board, tmp_path, capsys)


both_loaders = pytest.mark.parametrize("loader", [LOADER, LOADER_WITHOUT_READ], ids=["full", "no Read"])


@both_loaders
def test_the_same_again_costs_no_flash(bench: Bench, loader: Path) -> None:
    data = random.Random(1).randbytes(3 * SECTOR + 77)
    bench.put(data, 5)
    assert bench.write(data, 5, loader=loader) == (len(data), 0)
    assert bench.spent == (0, 0)
    assert bench.write(data, 5, "--full", loader=loader) == (0, 4)
    assert bench.spent[0] == 4


@both_loaders
def test_one_changed_byte_costs_one_sector(bench: Bench, loader: Path) -> None:
    data = bytearray(random.Random(2).randbytes(6 * SECTOR))
    bench.put(data)
    data[3 * SECTOR + 1234] ^= 0x10
    assert bench.write(bytes(data), loader=loader) == (5 * SECTOR, 1)
    assert bench.spent == (1, SECTOR // PAGE)
    assert bytes(bench.memory[: len(data)]) == data


def test_other_content_is_looked_at_by_the_first_bytes_of_its_sectors(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    ask = Survey.ask

    def counted(self: Survey, pieces: Sequence[Range]) -> list[tuple[Range, bytes]]:
        answer = ask(self, pieces)
        asked.append(sum(piece.size for piece, _ in answer))
        return answer

    monkeypatch.setattr(Survey, "ask", counted)
    monkeypatch.setattr(Inspection, "verify", lambda *_, **__: None)
    monkeypatch.setattr(Inspection, "fingerprints", lambda *_: {})  # of the first erase: asks for neighbours
    data = random.Random(20).randbytes(16 * SECTOR)
    bench.put(random.Random(21).randbytes(len(data)))
    assert bench.write(data) == (0, 16)
    assert asked == [16 * HEAD]
    assert bytes(bench.memory[: len(data)]) == data
    asked.clear()
    assert bench.write(data) == (len(data), 0)
    assert sum(asked) == 16 * HEAD + len(data)


def test_the_last_byte_of_a_sector_counts_as_the_first_does(bench: Bench) -> None:
    data = random.Random(22).randbytes(16 * SECTOR)
    held = bytearray(data)
    held[3 * SECTOR - 1] ^= 1
    bench.put(held)
    bench.put(b"\xff" * SECTOR, 5 * SECTOR)
    bench.put(b"\xff" * (SECTOR - 1) + b"\x7f", 6 * SECTOR)
    assert bench.write(data) == (13 * SECTOR, 2)
    assert bytes(bench.memory[: len(data)]) == data


def test_blank_sectors_are_not_erased_and_blank_stretches_not_programmed(bench: Bench) -> None:
    data = bytearray(b"\xff" * 4 * SECTOR)
    data[:PAGE] = random.Random(3).randbytes(PAGE)
    data[2 * SECTOR + 5000 : 2 * SECTOR + 5004] = b"code"
    bench.put(b"old", 2 * SECTOR)
    bench.put(b"old", 3 * SECTOR)
    assert bench.write(bytes(data)) == (SECTOR, 2)
    assert bench.spent == (2, 2 * 4096 // PAGE)
    assert bytes(bench.memory[: len(data)]) == data


@both_loaders
def test_neighbours_in_a_sector_are_kept_and_only_there_read(bench: Bench, loader: Path) -> None:
    before = bytearray(random.Random(4).randbytes(3 * SECTOR))
    bench.put(before)
    image = bytes(before[SECTOR - 100 : SECTOR]) + b"another beginning"
    assert bench.write(image, SECTOR - 100, loader=loader) == (100, 1)
    before[SECTOR : SECTOR + 17] = b"another beginning"
    assert bytes(bench.memory[: len(before)]) == before
    assert bench.spent[0] == 1


def test_no_keep_blanks_only_what_it_erases(bench: Bench) -> None:
    bench.put(b"\0" * 2 * SECTOR)
    assert bench.write(b"new", SECTOR, "--no-keep") == (0, 1)
    assert bytes(bench.memory[: SECTOR + 4]) == bytes(SECTOR) + b"new\xff"


def test_an_interrupted_write_goes_on_where_it_was(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    before = random.Random(5).randbytes(4 * SECTOR)
    bench.put(before)
    data = random.Random(6).randbytes(3 * SECTOR)
    writes = 0
    write = LoadedLoader.write

    def interrupted(self: LoadedLoader, address: int, piece: bytes, **more: Any) -> None:
        nonlocal writes
        writes += 1
        if writes == 3:
            raise Interrupted("Interrupted by the test.")
        write(self, address, piece, **more)

    with monkeypatch.context() as patch:
        patch.setattr(LoadedLoader, "write", interrupted)
        patch.setattr(LoadedLoader, "chunk", property(lambda _: SECTOR))
        patch.setattr(programming, "LEAST_CALL", SECTOR)  # or a slow host would get smaller calls
        code, _, shown = bench.run("write", bench.image(data, 100))
    assert code == 130
    assert "the next write puts them back" in shown
    assert bench.spent[0] == 4
    skipped, erased = bench.write(data, 100)
    assert (skipped, erased) == (2 * SECTOR - 100, 0)
    assert bytes(bench.memory[: 4 * SECTOR]) == before[:100] + data + before[100 + len(data) :]


def test_the_chip_is_erased_only_where_needed(bench: Bench) -> None:
    data = random.Random(7).randbytes(1000)
    assert bench.write(data, 0, "--erase", "chip", "--no-keep") == (0, 0)
    assert bench.write(data, 0, "--erase", "chip", "--no-keep") == (1000, 0)
    assert bench.spent[0] == 0
    bench.put(b"old", 9 * SECTOR)
    assert bench.write(data, 0, "--erase", "chip", "--no-keep") == (0, 256)
    assert bytes(bench.memory[:1000]) == data
    assert bytes(bench.memory[1000:]) == b"\xff" * (256 * SECTOR - 1000)


def test_without_erase_only_what_differs_is_programmed(bench: Bench) -> None:
    data = random.Random(8).randbytes(2 * SECTOR)
    bench.put(data[:SECTOR])
    assert bench.write(data, 0, "--erase", "none") == (SECTOR, 0)
    assert bench.spent == (0, SECTOR // PAGE)


def test_small_ram_and_a_buffer_smaller_than_a_sector(bench: Bench) -> None:
    data = bytearray(random.Random(9).randbytes(3 * SECTOR))
    bench.put(data)
    data[SECTOR + 7] ^= 1
    assert bench.write(bytes(data), 0, "--ram", "0x24000000:16K") == (2 * SECTOR, 1)
    assert bytes(bench.memory[: len(data)]) == data


def test_a_skipped_sector_that_the_loader_spoils_is_found(bench: Bench) -> None:
    data = bytearray(random.Random(10).randbytes(3 * SECTOR))
    bench.put(data)
    data[SECTOR] ^= 1
    code, result, shown = bench.run("write", bench.image(bytes(data)), loader=build("misbehaving", "ERASES_ONE_MORE"))
    assert code == 1
    error = result["error"]
    assert isinstance(error, dict)
    assert (error["kind"], error["first"], error["pattern"]) == ("mismatch", FLASH + 2 * SECTOR, "all FF")
    assert "65" in shown


@pytest.mark.parametrize("verify", ["digest", "readback"])
def test_a_read_that_reads_nothing_proves_nothing(bench: Bench, verify: str) -> None:
    data = random.Random(11).randbytes(SECTOR)  # one chunk, which Write leaves in the buffer that Read is to fill
    loader = build("misbehaving", "READ_DOES_NOTHING")
    code, result, _ = bench.run("write", bench.image(data), "--full", "--verify", verify, loader=loader)
    assert code == 1
    error = result["error"]
    assert isinstance(error, dict)
    assert error["kind"] == "mismatch"


def test_digests_and_bytes_that_contradict_one_another(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    data = random.Random(12).randbytes(1000)
    bench.put(data)
    monkeypatch.setattr(Survey, "expected", lambda _self, pieces, _content: [bytes(12) for _ in pieces])
    code, result, shown = bench.run("verify", bench.image(data))
    assert code == 1
    assert "what is read is not stable" in shown
    error = result["error"]
    assert isinstance(error, dict)
    assert (error["kind"], error["first"], error["last"]) == ("mismatch", FLASH, FLASH + 999)


def test_a_blank_check_names_the_bytes(bench: Bench) -> None:
    bench.put(b"\xfe", 0x12345)
    code, result, shown = bench.run("blank-check", hex(FLASH), "1M")
    assert code == 1
    assert "1 byte differs at 0x90012345 (expected ff" in shown
    assert result["error"]["first"] == FLASH + 0x12345  # type: ignore[index]
    assert bench.run("blank-check", hex(FLASH), hex(0x12345))[0] == 0


def test_a_failing_read_is_named_as_that(bench: Bench) -> None:
    code, result, shown = bench.run("verify", bench.image(b"x"), loader=build("misbehaving", "READ_RETURNS=5"))
    assert code == 1
    assert "Read returned 5 instead of 1 while digests was computed on the target" in shown
    error = result["error"]
    assert isinstance(error, dict)
    assert (error["kind"], error["function"], error["result"]) == ("call-failed", "Read", 5)


def test_a_wrong_piece_is_counted_whole(bench: Bench) -> None:
    bench.put(bytes(SECTOR), SECTOR)
    code, result, _ = bench.run("verify", bench.image(b"\xff" * 4 * SECTOR))
    assert code == 1
    assert result["error"]["count"] == SECTOR  # type: ignore[index]
