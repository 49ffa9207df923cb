"""Which gdb is taken, and what is said when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from gdbflash.errors import GdbMissing
from gdbflash.mi import find_gdb as gdbs
from gdbflash.mi.find_gdb import find_gdb, knows_arm
from tests.support.gdbservers import gdb_path


def program(path: Path, script: str = "exit 0") -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any gdb; returns the one directory in PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("GDBFLASH_GDB", raising=False)
    monkeypatch.setattr(gdbs, "_from_package", lambda: None)
    return tmp_path


def test_the_order_of_the_search(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arm = "echo 'The target architecture is set to \"arm\".'"
    plain = program(bare / "gdb", arm)
    assert find_gdb() == plain
    packaged = program(bare / "packaged")
    monkeypatch.setattr(gdbs, "_from_package", lambda: packaged)
    assert find_gdb() == packaged
    assert find_gdb() != program(bare / "other")
    none_eabi = program(bare / "arm-none-eabi-gdb")
    assert find_gdb() == none_eabi
    multiarch = program(bare / "gdb-multiarch")
    assert find_gdb() == multiarch
    named = program(bare / "named")
    monkeypatch.setenv("GDBFLASH_GDB", "named")
    assert find_gdb() == named
    assert find_gdb("other") == bare / "other"
    assert find_gdb(str(bare / "other")) == bare / "other"


def test_no_gdb_at_all(bare: Path) -> None:
    with pytest.raises(GdbMissing, match=r'No gdb was found; install gdb-multiarch .*pip install "gdbflash\[gdb\]"'):
        find_gdb()
    assert list(bare.iterdir()) == []


def test_a_plain_gdb_without_arm_is_told_apart(bare: Path) -> None:
    gdb = program(bare / "gdb", "echo 'Undefined item: \"arm\".' >&2; exit 1")
    with pytest.raises(GdbMissing, match="does not know the ARM architecture") as caught:
        find_gdb()
    assert caught.value.data["gdb"] == str(gdb)


def test_a_named_gdb_that_is_missing_is_not_replaced_by_another(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(bare / "gdb-multiarch")
    with pytest.raises(GdbMissing, match=r"my-gdb \(from --gdb\)"):
        find_gdb("my-gdb")
    monkeypatch.setenv("GDBFLASH_GDB", "my-gdb")
    with pytest.raises(GdbMissing, match=r"my-gdb \(from \$GDBFLASH_GDB\)"):
        find_gdb()


@pytest.mark.parametrize("name", ["gdb-multiarch", "gdb-pypi"])
def test_real_gdbs_know_arm(name: str) -> None:
    assert knows_arm(gdb_path(name))


def test_what_is_no_gdb_does_not_know_arm() -> None:
    assert not knows_arm(Path("/bin/ls"))
    assert not knows_arm(Path("/nonexistent"))


def test_the_packaged_gdb_is_found_beside_this_python() -> None:
    assert gdbs._from_package() == gdb_path("gdb-pypi")
