"""Large storages: flat memory, calls in proportion."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from tests.support.largeboard import BASE, MIB, SECTOR, LargeBoard, large_board

MOST_MEMORY_MIB = 200


def check(board: LargeBoard, folder: Path) -> None:
    """Verify, read, and write with one change."""
    at = f"{board.image}@{BASE:#x}"
    verified = board.run("verify", at)
    assert verified.result["bytes"] == board.size
    assert verified.result["calls"] <= 8 + board.size // MIB
    board.memory[board.size // 2] ^= 1
    written = board.run("write", at)
    assert written.result["sectors_erased"] == 1
    assert written.result["bytes_skipped"] == board.size - SECTOR
    assert written.result["calls"] <= 16 + board.size // (256 * SECTOR // 2)
    blank = board.size // 4
    board.memory[:blank] = b"\xff" * blank
    checked = board.run("blank-check", hex(BASE), hex(blank))
    out = folder / "read.bin"
    read = board.run("read", hex(BASE), "all", "-o", str(out))
    with out.open("rb") as file, memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)) as came:
        assert came == board.memory
    peaks = [each.peak_mib for each in (verified, written, checked, read)]
    assert max(peaks) < MOST_MEMORY_MIB, peaks


def test_a_storage_of_six_thousand_sectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path))
    with large_board(24 * MIB, tmp_path) as board:
        check(board, tmp_path)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_a_storage_of_sixty_five_thousand_sectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path))
    with large_board(256 * MIB, tmp_path) as board:
        check(board, tmp_path)
