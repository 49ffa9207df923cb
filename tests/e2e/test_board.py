"""The whole tool, as a user runs it, with real GDBs against the virtual board."""

from __future__ import annotations

import json
import random
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path

import bincopy
import pytest

from gdbflash.cli.main import main
from tests.support.boards import GDBS, LOADER, LOADER_WITHOUT_READ, RunningBoard, running_board
from tests.support.cbuild import build
from tests.support.folders import left_in

KIB = 1024
MIB = 1024 * KIB
FLASH = 0x90000000


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))


@pytest.fixture
def board() -> Iterator[RunningBoard]:
    with running_board() as running:
        yield running


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, list[dict[str, object]], str]:
    """Run a command with --json; returns exit code, the JSON objects and what people see."""
    capsys.readouterr()
    code = main([*map(str, words), "--json"])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, [json.loads(line) for line in captured.out.splitlines()], captured.err


def image_file(tmp_path: Path, data: bytes, name: str = "image.bin") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("loader", [LOADER, LOADER_WITHOUT_READ], ids=["full", "no Read"])
@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_a_mebibyte_is_written_verified_and_read_back(
    board: RunningBoard, tmp_path: Path, capsys: pytest.CaptureFixture[str], gdb: Path, loader: Path
) -> None:
    data = random.Random(7).randbytes(MIB)
    board.chip.memory[:MIB] = random.Random(8).randbytes(MIB)
    reach = ["--connect", board.endpoint, "-l", str(loader), "--gdb", str(gdb)]
    code, events, _ = run(capsys, "write", f"{image_file(tmp_path, data)}@{FLASH:#x}", *reach)
    assert code == 0
    assert bytes(board.chip.memory[:MIB]) == data
    assert bytes(board.chip.memory[MIB : MIB + 64 * KIB]) == b"\xff" * 64 * KIB
    result = events[-1]
    assert (result["event"], result["ok"], result["bytes"], result["sectors_erased"]) == ("result", True, MIB, 16)
    assert (result["bytes_skipped"], result["verified"]) == (0, "digest")
    assert [each["phase"] for each in events if each["event"] == "finish"] == [
        "connect",
        "init",
        "read",
        "erase",
        "program",
        "verify",
        "close",
    ]
    assert run(capsys, "verify", f"{tmp_path / 'image.bin'}@{FLASH:#x}", *reach)[0] == 0
    back = tmp_path / "back.bin"
    assert run(capsys, "read", hex(FLASH), "1M", "-o", back, *reach)[0] == 0
    assert back.read_bytes() == data


@pytest.mark.parametrize("loader", [LOADER, LOADER_WITHOUT_READ], ids=["full", "no Read"])
def test_odd_places_keep_every_neighbour(
    board: RunningBoard, tmp_path: Path, capsys: pytest.CaptureFixture[str], loader: Path
) -> None:
    before = random.Random(1).randbytes(3 * 64 * KIB)
    board.chip.memory[: len(before)] = before
    expected = bytearray(before)
    specifications = []
    for index, (offset, size) in enumerate([(1, 1), (255, 3), (0xFFFD, 300), (0x20001, 0xFFFE)]):
        data = random.Random(100 + index).randbytes(size)
        expected[offset : offset + size] = data
        specifications.append(f"{image_file(tmp_path, data, f'{index}.bin')}@{FLASH + offset:#x}")
    reach = ["--connect", board.endpoint, "-l", str(loader)]
    code, events, _ = run(capsys, "write", *specifications, *reach)
    assert code == 0
    assert bytes(board.chip.memory[: len(before)]) == bytes(expected)
    assert events[-1]["sectors_erased"] == 3
    assert left_in(tmp_path / "state") == []
    back = tmp_path / "back.bin"
    assert run(capsys, "read", hex(FLASH + 3), str(3 * 64 * KIB - 5), "-o", back, *reach)[0] == 0
    assert back.read_bytes() == bytes(expected[3:-2])


def test_without_keep_the_rest_of_the_sector_is_blank(
    board: RunningBoard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board.chip.memory[: 64 * KIB] = bytes(64 * KIB)
    image = image_file(tmp_path, b"hello")
    assert (
        run(capsys, "write", f"{image}@{FLASH + 9:#x}", "--no-keep", "--connect", board.endpoint, "-l", LOADER)[0] == 0
    )
    assert bytes(board.chip.memory[: 64 * KIB]) == b"\xff" * 9 + b"hello" + b"\xff" * (64 * KIB - 14)


@pytest.mark.parametrize("form", ["hex", "srec"])
def test_images_of_several_blocks(
    board: RunningBoard, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    file = bincopy.BinFile()
    file.add_binary(b"first block", FLASH + 0x10)
    file.add_binary(b"second", FLASH + 0x70003)
    path = image_file(tmp_path, (file.as_ihex() if form == "hex" else file.as_srec()).encode(), f"image.{form}")
    assert run(capsys, "write", path, "--connect", board.endpoint, "-l", LOADER)[0] == 0
    assert bytes(board.chip.memory[0x10:0x1B]) == b"first block"
    assert bytes(board.chip.memory[0x70003:0x70009]) == b"second"
    back = tmp_path / "back.hex"
    assert run(capsys, "read", hex(FLASH + 0x10), "11", "-o", back, "--connect", board.endpoint, "-l", LOADER)[0] == 0
    read_back = bincopy.BinFile(str(back))
    assert (read_back.minimum_address, bytes(read_back.as_binary())) == (FLASH + 0x10, b"first block")


@pytest.mark.parametrize("mode", ["digest", "readback", "loader", "none"])
def test_verify_modes(board: RunningBoard, tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str) -> None:
    data = random.Random(3).randbytes(70001)
    code, events, _ = run(
        capsys,
        "write",
        f"{image_file(tmp_path, data)}@{FLASH + 1:#x}",
        "--verify",
        mode,
        "--connect",
        board.endpoint,
        "-l",
        LOADER,
    )
    assert code == 0
    assert events[-1]["verified"] == mode
    assert bytes(board.chip.memory[1:70002]) == data


def test_verify_names_the_difference(board: RunningBoard, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(random.Random(3).randbytes(5000))
    board.chip.memory[100:5100] = bytes(data)
    data[17] ^= 1
    data[4000] ^= 0x80
    image = image_file(tmp_path, bytes(data))
    code, events, shown = run(capsys, "verify", f"{image}@{FLASH + 100:#x}", "--connect", board.endpoint, "-l", LOADER)
    assert code == 1
    error = events[-1]["error"]
    assert isinstance(error, dict)
    assert (error["kind"], error["first"], error["last"], error["count"]) == (
        "mismatch",
        FLASH + 117,
        FLASH + 4100,
        2,
    )
    assert "2 bytes differ from 0x90000075 to 0x90001004" in shown


def test_erase_blank_check_and_checksum(board: RunningBoard, capsys: pytest.CaptureFixture[str]) -> None:
    data = random.Random(5).randbytes(4 * 64 * KIB)
    board.chip.memory[: len(data)] = data
    reach = ["--connect", board.endpoint, "-l", str(LOADER)]
    code, events, _ = run(capsys, "checksum", hex(FLASH + 7), "100001", *reach)
    part = data[7 : 7 + 100001]
    assert (code, events[-1]["crc32"], events[-1]["byte_sum"]) == (0, zlib.crc32(part), sum(part))
    code, _, shown = run(capsys, "blank-check", hex(FLASH), "64K", *reach)
    assert code == 1
    assert ". Something is programmed there: erase it. What an erase leaves so is write-protected or worn." in shown
    code, events, shown = run(capsys, "blank-check", *reach)
    assert code == 1
    assert "Nothing behind 0x9000FFFF was looked at." in shown
    assert all(int(str(each["done"])) < MIB for each in events if each["event"] == "advance")
    code, events, shown = run(capsys, "erase", hex(FLASH + 0x100), "64K", *reach)
    assert code == 2
    assert "whole sectors. The sectors it lies in are 0x90000000 0x20000" in shown
    assert bytes(board.chip.memory[: len(data)]) == data
    assert run(capsys, "erase", hex(FLASH + 64 * KIB), "128K", *reach)[0] == 0
    assert bytes(board.chip.memory[: len(data)]) == data[: 64 * KIB] + b"\xff" * 128 * KIB + data[192 * KIB :]
    assert run(capsys, "blank-check", hex(FLASH + 64 * KIB), "128K", *reach)[0] == 0
    assert run(capsys, "erase", "--chip", *reach)[0] == 0
    assert bytes(board.chip.memory) == b"\xff" * 16 * MIB


def test_a_raw_call_shows_its_registers(board: RunningBoard, capsys: pytest.CaptureFixture[str]) -> None:
    board.chip.memory[:4] = b"\1\2\3\4"
    reach = ["--connect", board.endpoint, "-l", str(LOADER)]
    code, events, shown = run(capsys, "call", "CheckSum", hex(FLASH), "4", "100", *reach)
    assert (code, events[-1]["r0"]) == (0, 110)
    assert "CheckSum(0x90000000, 0x4, 0x64) returned r0 = 0x0000006E (110)" in shown
    used = events[-1]["stack_used"]
    assert isinstance(used, int)
    assert 0 < used < 1024
    assert run(capsys, "call", "Init", *reach)[1][-1]["r0"] == 1
    code, _, shown = run(capsys, "call", "Reed", *reach)
    assert code == 2
    assert "exports no Reed (only CheckSum, DeInit, Init," in shown


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["write", "{image}@0x80000000"], 2, "0x80000000-0x800003E7 lies outside the storage"),
        (["write", "{image}@0x90FFFFFF"], 2, "runs 999 bytes past the end of W25Q128_H750_QSPI"),
        (["write", "{image}"], 2, "@"),
        (["write", "missing.bin@0x90000000"], 2, "missing.bin"),
        (["write", "{image}@0x90000000", "--verify", "loader", "-l", "{noread}"], 2, "overlap"),
        (["write", "{image}@0x90000000", "--gdb", "/nowhere/gdb"], 3, "/nowhere/gdb (from --gdb)"),
        (["write", "{image}@0x90000000", "--erase", "chip"], 2, "A chip erase would lose"),
        (["write", "{image}@0x90000000", "--connect", "| touch x"], 2, "is not a place of a GDB server"),
        (["read", "0x90000000", "1K", "-o", "x.bin", "-l", "{noread}"], 2, "overlap at 0x90000000"),
        (["read", "0x90000000", "0", "-o", "x.bin"], 2, "nothing to work on"),
        (["read", "0x90000000", "all", "-o", "/nowhere/x.bin"], 1, "/nowhere/x.bin could not be written"),
        (["blank-check", "0x90000000", "17M"], 2, "runs 1048576 bytes past the end"),
    ],
)
def test_what_is_wrong_is_said_and_touches_nothing(
    board: RunningBoard,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    message: str,
) -> None:
    image = image_file(tmp_path, bytes(1000))
    filled = [word.format(image=image, noread=LOADER_WITHOUT_READ) for word in words]
    reach = [] if "--connect" in words else ["--connect", board.endpoint]
    before = bytes(board.chip.memory)
    found, events, shown = run(capsys, *filled, *reach, "-l", LOADER)
    assert found == code
    assert message in shown
    result = events[-1]
    assert (result["ok"], result["exit_code"]) == (False, code)
    assert not board.server.packets
    assert bytes(board.chip.memory) == before


def test_nobody_listening(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    image = image_file(tmp_path, b"x")
    code, _, shown = run(capsys, "write", f"{image}@{FLASH:#x}", "--connect", f"127.0.0.1:{port}", "-l", LOADER)
    assert code == 3
    assert f"Nobody listens at 127.0.0.1:{port}" in shown


def test_a_loader_whose_init_returns_0(board: RunningBoard, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loader = build("misbehaving", "INIT_RETURNS=0")
    before = bytes(board.chip.memory)
    image = image_file(tmp_path, b"x")
    code, events, shown = run(capsys, "write", f"{image}@{FLASH:#x}", "--connect", board.endpoint, "-l", loader)
    assert code == 1
    assert "returned 0 instead of 1, twice" in shown
    error = events[-1]["error"]
    assert isinstance(error, dict)
    assert (error["kind"], error["function"], error["result"]) == ("call-failed", "Init", 0)
    assert bytes(board.chip.memory) == before


def test_a_dry_run_connects_to_nobody(board: RunningBoard, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = image_file(tmp_path, bytes(1000))
    words = ["write", f"{image}@{FLASH + 0xFFF0:#x}", "--dry-run", "-l", str(LOADER)]
    code, events, shown = run(capsys, *words)
    assert code == 0
    assert events[0] == {
        "schema": 1,
        "event": "plan",
        "storages": [
            {
                "storage": "W25Q128_H750_QSPI",
                "loader": str(LOADER),
                "ranges": [[FLASH + 0xFFF0, 1000]],
                "bytes": 1000,
                "erase": "sectors",
                "sectors": 2,
                "sector_bytes": 131072,
                "keep": [[FLASH, 0xFFF0], [FLASH + 0x103D8, 0xFC28]],
            }
        ],
    }
    assert "touches 2 sectors, erases only those that differ, keeps 127 KiB beside it" in shown
    assert not board.server.packets


@pytest.mark.parametrize("full", [False, True])
def test_a_dry_run_with_a_place_looks_and_tells_the_real_number(
    board: RunningBoard, tmp_path: Path, capsys: pytest.CaptureFixture[str], full: bool
) -> None:
    data = random.Random(5).randbytes(3 * 0x10000)
    board.chip.memory[: len(data)] = data
    before = bytes(board.chip.memory)
    changed = data[:0x10000] + bytes(0x10000) + data[0x20000:-1] + bytes([data[-1] ^ 1])
    words = ["write", f"{image_file(tmp_path, changed)}@{FLASH:#x}", "--dry-run", "-l", str(LOADER)]
    code, events, shown = run(capsys, *words, "--connect", board.endpoint, *(["--full"] if full else []))
    assert code == 0, shown
    assert bytes(board.chip.memory) == before
    result = events[-1]
    wanted = (3, 3, 3 * 0x10000, 0) if full else (3, 2, 2 * 0x10000, 0x10000)
    assert tuple(result[key] for key in ("sectors_touched", "sectors_erased", "bytes", "bytes_skipped")) == wanted
    assert f"{wanted[1]} sectors of 3 touched would be erased" in shown
    assert not board.machine.halted  # left as a write would leave it
