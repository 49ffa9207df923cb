"""Files of what was read: whole, synced before they have their name, or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gdbflash.images.output import OutputFile


def test_all_is_synced_before_it_takes_the_place_of_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "back.bin"
    path.write_bytes(b"old")
    synced: list[tuple[bytes, bytes]] = []

    def fsync(handle: int) -> None:
        synced.append((Path(f"/proc/self/fd/{handle}").read_bytes(), path.read_bytes()))

    monkeypatch.setattr(os, "fsync", fsync)
    with OutputFile(path, 0) as file:
        file.write(b"ne")
        file.write(b"w")
        file.commit()
    assert synced == [(b"new", b"old")]
    assert path.read_bytes() == b"new"


def test_what_is_not_committed_leaves_nothing(tmp_path: Path) -> None:
    with OutputFile(tmp_path / "back.bin", 0) as file:
        file.write(b"new")
    assert list(tmp_path.iterdir()) == []
