from __future__ import annotations

from pathlib import Path

import pytest

from gdbflash import recovery
from gdbflash.errors import OutputError
from gdbflash.plan import Content

IDENTITY = recovery.Identity('W25Q / "x"', 0x90000000, 1 << 24, "0123456789abcdef01234567")
KEPT = Content(((0x90000000, memoryview(b"abc\n")), (0x90010000, memoryview(b"\x00\xff"))))


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))


def test_what_is_saved_is_loaded_until_it_is_removed() -> None:
    assert recovery.load(IDENTITY) is None
    path = recovery.save(IDENTITY, KEPT)
    assert path.name == "W25Q_x_-90000000-0123456789abcdef01234567.gdbflash"
    assert recovery.load(IDENTITY) == KEPT
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    recovery.remove(IDENTITY)
    assert recovery.load(IDENTITY) is None
    recovery.remove(IDENTITY)


def test_another_unit_has_another_file() -> None:
    recovery.save(IDENTITY, KEPT)
    other = recovery.Identity(IDENTITY.storage, IDENTITY.address, IDENTITY.size, "ff")
    assert recovery.load(other) is None


@pytest.mark.parametrize("damage", [b"", b"{}", b"not json\n", b'{"format": 3}\n', None])
def test_a_damaged_file_is_refused_and_not_used(damage: bytes | None) -> None:
    path = recovery.save(IDENTITY, KEPT)
    path.write_bytes(path.read_bytes()[:-1] + b"!" if damage is None else damage)
    with pytest.raises(OutputError, match="cannot be used"):
        recovery.load(IDENTITY)


def test_a_file_for_another_size_is_refused() -> None:
    recovery.save(IDENTITY, KEPT)
    with pytest.raises(OutputError, match="for another storage"):
        recovery.load(recovery.Identity(IDENTITY.storage, IDENTITY.address, 1 << 23, IDENTITY.unit))


def test_a_folder_that_cannot_be_written_stops_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "file" / "below"))
    with pytest.raises(OutputError, match="nothing was erased"):
        recovery.save(IDENTITY, KEPT)
