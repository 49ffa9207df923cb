"""The files of kept bytes: their form, their place, and what becomes of damaged ones."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gdbflash.errors import OutputError
from gdbflash.flash import kept_files
from gdbflash.flash.kept_files import KeptFile, KeptSector, Origin
from gdbflash.host.folders import directory, made_directory
from gdbflash.images.content import Content
from gdbflash.onchip import state
from gdbflash.onchip.state import Identity
from gdbflash.plan.kept import Belongs, belongs, can_become
from gdbflash.ranges import Range

AT = 0x90000000
IDENTITY = Identity('W25Q / "x"', AT, 1 << 24, "0123456789abcdef01234567")
ORIGIN = Origin(IDENTITY, "openocd 127.0.0.1:3333", "ab" * 32, 0xFF, 1700000000.25)
FIRST = KeptSector(Range(AT, 8), (Range(AT, 2), Range(AT + 5, 3)), (b"01234567", b"01xxx567"))
SECOND = KeptSector(Range(AT + 64, 4), (Range(AT + 64, 1),), (b"\n\n\n\n",), begun=True)


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))


def saved() -> KeptFile:
    return kept_files.save(ORIGIN, (FIRST, SECOND))


def test_what_is_saved_is_read() -> None:
    assert list(kept_files.files()) == []
    file = saved()
    assert file.path.name.startswith("W25Q_x_-90000000-0123456789abcdef01234567-20231114T221320-")
    assert kept_files.read(file.path) == file
    assert file.content == Content(
        ((AT, memoryview(b"01")), (AT + 5, memoryview(b"567")), (AT + 64, memoryview(b"\n")))
    )
    assert list(kept_files.files()) == [file]


def test_files_and_folder_are_their_owners_alone() -> None:
    path = saved().path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_each_run_has_a_file_of_its_own() -> None:
    assert saved().path != saved().path
    assert len(list(kept_files.files())) == 2
    assert kept_files.overlapping(Range(AT + (1 << 24), 1)) == ()
    assert len(kept_files.overlapping(Range(AT + (1 << 24) - 1, 100))) == 2


def test_what_is_begun_and_what_is_unclear_is_added_to_it() -> None:
    file = saved()
    assert not kept_files.read(file.path).sectors[0].begun
    kept_files.say_begun(file, Range(AT + 7, 1))
    kept_files.say_unclear(file, "Write was called")
    found = kept_files.read(file.path)
    assert [each.begun for each in found.sectors] == [True, True]
    assert found.unclear == "Write was called"
    # A line that was cut off was followed by no erase.
    other = saved()
    with other.path.open("ab") as cut:
        cut.write(b'{"erasing": [2415919104, 8]}')
    assert not kept_files.read(other.path).sectors[0].begun


def test_what_is_left_of_a_file_stays_begun() -> None:
    file = saved()
    kept_files.say_begun(file, Range(AT, 8))
    found = kept_files.read(file.path)
    kept_files.leave(found, found.sectors[:1])
    assert kept_files.read(file.path).sectors == found.sectors[:1]
    assert kept_files.read(file.path).sectors[0].begun
    kept_files.leave(found, ())
    assert not file.path.exists()


def test_what_a_killed_run_left_half_written_is_removed_by_the_next_one_of_its_unit() -> None:
    folder = saved().path.parent
    (folder / f".{IDENTITY.file_name}-x-y.part").touch()
    other = folder / f".{Identity('W25Q', AT, 1 << 24, '').file_name}-x-y.part"
    other.touch()
    state.sweep(IDENTITY)
    state.sweep(Identity("W25Q", AT, 1 << 24, ""))
    assert list(folder.glob(".*.part")) == [other]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, bytes | set[str]]]:
    """What is synced, with what it holds at that time: a file's bytes, a folder's names."""
    found: list[tuple[Path, bytes | set[str]]] = []

    def fsync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        found.append((path, {each.name for each in path.iterdir()} if path.is_dir() else path.read_bytes()))

    monkeypatch.setattr(os, "fsync", fsync)
    return found


def test_each_step_is_synced(synced: list[tuple[Path, bytes | set[str]]], tmp_path: Path) -> None:
    """The new folder in its parent, the bytes before the name, the name in its folder, the line before the erase."""
    folder = tmp_path / "state"
    file = saved()
    whole = file.path.read_bytes()
    made, (partial, content), named = synced
    assert made == (tmp_path, {"state"})
    assert (partial.parent, partial.suffix, content) == (folder, ".part", whole)
    assert named == (folder, {file.path.name})
    kept_files.say_begun(file, Range(AT, 8))
    assert synced[3:] == [(file.path, whole + b'{"erasing": [2415919104, 8]}\n')]
    kept_files.say_unclear(file, "why")
    assert synced[4:] == [(file.path, file.path.read_bytes())]
    kept_files.leave(kept_files.read(file.path), (FIRST,))
    (partial, content), named = synced[5:]
    assert (partial.suffix, content, named) == (".part", file.path.read_bytes(), (folder, {file.path.name}))
    kept_files.leave(file, ())
    assert synced[7:] == [(folder, set())]


def test_each_new_folder_on_the_way_is_synced_in_its_parent(
    synced: list[tuple[Path, bytes | set[str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "one" / "two"))
    for _ in range(2):
        made_directory()
    assert dict(synced) == {tmp_path: {"one"}, tmp_path / "one": {"two"}}
    assert len(synced) == 2


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
            kept_files.paths()
        said = f"The folder {tmp_path / name} for bytes to keep cannot be used: {why}"
        assert caught.value.message.startswith(said)
        assert caught.value.message.endswith(". Set GDBFLASH_STATE to a folder that can be used.")
        assert caught.value.data == {"path": str(tmp_path / name)}


def test_permissions_of_folder_and_file_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own is root's alone, if root runs it
        Path(name).chmod(0o755)
        folder = Path(name, "state")
        monkeypatch.setenv("GDBFLASH_STATE", str(folder))
        path = saved().path
        folder.chmod(0o755)
        path.chmod(0)
        with as_nobody(), pytest.raises(OutputError, match=r"The recovery file .* Permission denied\. Nothing was"):
            list(kept_files.files())
        folder.chmod(0)
        with as_nobody(), pytest.raises(OutputError, match=r"The folder .* Permission denied\. Set GDBFLASH_STATE"):
            list(kept_files.files())
        folder.chmod(0o755)


@pytest.mark.parametrize("damage", [b"", b"{}", b"not json\n", b'{"format": 3}\n', b"[" * 100000 + b"\n", None])
def test_a_damaged_file_is_refused_and_not_used(damage: bytes | None) -> None:
    path = saved().path
    data = path.read_bytes()
    path.write_bytes(data.replace(b"01234567", b"01234568") if damage is None else damage)
    with pytest.raises(OutputError, match=r"used: it is damaged\. Nothing was touched; `gdbflash kept discard"):
        list(kept_files.files())


def test_a_file_of_a_later_version_is_refused_by_its_name() -> None:
    path = saved().path
    path.write_bytes(path.read_bytes().replace(b"gdbflash recovery 2", b"gdbflash recovery 3"))
    with pytest.raises(
        OutputError, match=r"its form is 'gdbflash recovery 3', which this version of gdbflash does not"
    ):
        list(kept_files.files())


def test_a_folder_that_cannot_be_written_stops_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "file" / "below"))
    with pytest.raises(OutputError, match="nothing was erased"):
        saved()


def test_the_earlier_form_is_read_and_nothing_in_it_is_certain(tmp_path: Path) -> None:
    head = {
        "format": "gdbflash recovery 1",
        "storage": "W25Q",
        "address": AT,
        "size": 1 << 24,
        "unit": "00ff",
        "stretches": [[AT, 3], [AT + 16, 2]],
        "sha256": hashlib.sha256(b"abcde").hexdigest(),
    }
    path = tmp_path / "state" / "W25Q-90000000-00ff.gdbflash"
    path.parent.mkdir()
    path.write_bytes(json.dumps(head).encode() + b"\nabcde")
    (file,) = kept_files.files()
    assert file.content == Content(((AT, memoryview(b"abc")), (AT + 16, memoryview(b"de"))))
    assert file.unclear
    assert not file.origin.same_owner(ORIGIN)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(["format", "address", "size", "sectors", "sha256", "begun", "erased_value", "unclear"])
NUMBERS = st.integers(-2, 5) | st.sampled_from([AT, AT + (1 << 24) - 1, 1 << 32, -(1 << 70), 1e400, 2.5, None, "4"])
SECTORS = st.fixed_dictionaries(
    {"address": NUMBERS, "size": NUMBERS, "kept": st.lists(st.tuples(NUMBERS, NUMBERS), max_size=2), "meant": NUMBERS}
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(FIELDS, JSON, max_size=2), st.none() | st.lists(SECTORS, max_size=2))
def test_a_file_made_by_others_is_refused_or_within_its_storage(
    changes: dict[str, Any], sectors: list[dict[str, Any]] | None
) -> None:
    """With a checksum that is right."""
    path = made_directory() / "made.gdbflash"
    line, _, data = b"".join(kept_files._parts(ORIGIN, (FIRST, SECOND))).partition(b"\n")  # a save syncs each time
    more = {"sectors": [{**each, "begun": False} for each in sectors]} if sectors is not None else {}
    head = {**json.loads(line), **more, **changes}
    try:
        size = sum(each["size"] * each["meant"] for each in head["sectors"])
        head["sha256"] = hashlib.sha256(data[:size]).hexdigest()
    except (TypeError, KeyError, IndexError, ValueError, OverflowError):
        pass
    path.write_bytes(json.dumps(head).encode() + b"\n" + data)
    try:
        file = kept_files.read(path)
    except OutputError:
        return
    finally:
        path.unlink()
    for sector in file.sectors:
        assert file.origin.storage.address <= sector.where.address < sector.where.end <= file.origin.storage.end
        assert all(len(each) == sector.where.size for each in sector.meant)
        assert sector.content.ranges == tuple(each for each in sector.content.ranges if each.size)


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GDBFLASH_STATE")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME")

    def nobody(_uid: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(OutputError, match="Set GDBFLASH_STATE"):
        directory()


def slowly_can_become(found: bytes, meant: bytes, erased: int) -> bool:
    return all((now ^ erased) & ~(then ^ erased) & 0xFF == 0 for now, then in zip(found, meant, strict=True))


@given(st.binary(min_size=1, max_size=40), st.data(), st.sampled_from([0xFF, 0x00, 0x5A]))
def test_programming_alone_turns_one_into_the_other(meant: bytes, data: st.DataObject, erased: int) -> None:
    masks = data.draw(st.binary(min_size=len(meant), max_size=len(meant)))
    between = bytes(((then ^ erased) & mask) ^ erased for then, mask in zip(meant, masks, strict=True))
    assert can_become(between, meant, erased)
    other = data.draw(st.binary(min_size=len(meant), max_size=len(meant)))
    assert can_become(other, meant, erased) == slowly_can_become(other, meant, erased)


WHERE = Range(AT, 8)
KEPT = Content.at(AT + 6, b"67")


@pytest.mark.parametrize(
    ("found", "begun", "how"),
    [
        (b"abcdef67", False, Belongs.THERE),
        (b"abcdef67", True, Belongs.THERE),
        (b"\xff" * 8, True, Belongs.CERTAIN),
        (b"\xff" * 8, False, Belongs.UNCLEAR),
        (b"0123\xff\xff\xff\xff", True, Belongs.CERTAIN),
        (b"0123\xff\xff\xff\x7f", True, Belongs.CERTAIN),
        (b"0123\xff\xff\xff\xfb", True, Belongs.UNCLEAR),  # 7 has no 0 there
        (b"\x00123\xff\xff\xff\xff", True, Belongs.UNCLEAR),  # another tool's bytes beside the kept ones
        (b"old!\xff\xff\xff\xff", True, Belongs.CERTAIN),  # what a run before that one meant
    ],
)
def test_whether_bytes_belong_to_what_a_sector_holds(found: bytes, begun: bool, how: Belongs) -> None:
    meant = (b"01234567", b"old!4567")
    assert belongs(found, WHERE, KEPT, meant, erased_value=0xFF, begun=begun) is how
