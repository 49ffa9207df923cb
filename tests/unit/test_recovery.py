from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gdbflash.errors import OutputError
from gdbflash.onchip import recovery
from gdbflash.plan.jobs import Content

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


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user for whom permissions count, while the body runs."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_is_none_is_told_from_a_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    for name, why in (("file", "Not a directory"), ("file/state", "Not a directory"), ("loop", "Too many levels")):
        monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / name))
        with pytest.raises(OutputError) as caught:
            recovery.load(IDENTITY)
        said = f"The folder {tmp_path / name} for bytes to keep cannot be used: {why}"
        assert caught.value.message.startswith(said)
        assert caught.value.message.endswith(". Set GDBFLASH_STATE to a folder that can be used.")
        assert caught.value.data == {"path": str(tmp_path / name)}


def test_permissions_of_folder_and_file_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own is root's alone, if root runs it
        Path(name).chmod(0o755)
        folder = Path(name, "state")
        monkeypatch.setenv("GDBFLASH_STATE", str(folder))
        path = recovery.save(IDENTITY, KEPT)
        path.chmod(0)
        with as_nobody(), pytest.raises(OutputError, match=r"The recovery file .* Permission denied\. Move it away"):
            recovery.load(IDENTITY)
        folder.chmod(0)
        with as_nobody(), pytest.raises(OutputError, match=r"The folder .* Permission denied\. Set GDBFLASH_STATE"):
            recovery.load(IDENTITY)
        folder.chmod(0o755)


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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(["format", "address", "size", "stretches", "sha256"])
NUMBERS = st.integers(-2, 5) | st.sampled_from([0x90000000, 0x90FFFFFF, 1 << 32, -(1 << 70), 1e400, 2.5, None, "4"])


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(FIELDS, JSON, max_size=2), st.none() | st.lists(st.tuples(NUMBERS, NUMBERS), max_size=3))
def test_a_file_made_by_others_is_refused_or_within_the_storage(
    changes: dict[str, Any], stretches: list[tuple[Any, Any]] | None
) -> None:
    """With a checksum that is right."""
    path = recovery.save(IDENTITY, KEPT)
    line, _, data = path.read_bytes().partition(b"\n")
    head = {**json.loads(line), **({"stretches": stretches} if stretches is not None else {}), **changes}
    path.write_bytes(json.dumps(head).encode() + b"\n" + data)
    try:
        content = recovery.load(IDENTITY)
    except OutputError:
        return
    assert content is not None
    assert content.size == len(data)
    assert all(0x90000000 <= each.address <= each.end <= 0x91000000 for each in content.ranges)


@pytest.mark.parametrize(
    "stretches",
    [[[0x90000000, 3], [0x90000001, 3]], [[0x8FFFFFFF, 6]], [[0x90FFFFFF, 6]], [[0x90000010, 3], [0x90000000, 3]]],
)
def test_stretches_that_no_job_has_are_refused(stretches: list[list[int]]) -> None:
    path = recovery.save(IDENTITY, KEPT)
    line, _, data = path.read_bytes().partition(b"\n")
    head = {**json.loads(line), "stretches": stretches, "sha256": hashlib.sha256(data).hexdigest()}
    path.write_bytes(json.dumps(head).encode() + b"\n" + data)
    with pytest.raises(OutputError, match="damaged or for another storage"):
        recovery.load(IDENTITY)


def test_lists_without_end_are_refused() -> None:
    path = recovery.save(IDENTITY, KEPT)
    path.write_bytes(b"[" * 100000 + b"\n")
    with pytest.raises(OutputError, match="its first line is damaged"):
        recovery.load(IDENTITY)


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GDBFLASH_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", "~nobody-of-that-name/state")
    with pytest.raises(OutputError, match="Set GDBFLASH_STATE"):
        recovery.save(IDENTITY, KEPT)
