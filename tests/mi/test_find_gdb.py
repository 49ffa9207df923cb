"""Which gdb is taken, and what is said when there is none."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from pathlib import Path

import pytest

from gdbflash.errors import GdbMissing
from gdbflash.mi import find_gdb as gdbs
from gdbflash.mi.find_gdb import Candidate, candidates, start_gdb, started
from tests.support.gdbservers import gdb_path

BROKEN = "echo 'missing libpython. Please install python3-dev' >&2; exit 1"
"""What the GDB of PyPI does on a machine without libpython."""


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
    plain = program(bare / "gdb")
    packaged = program(bare / "packaged")
    monkeypatch.setattr(gdbs, "_from_package", lambda: packaged)
    none_eabi = program(bare / "arm-none-eabi-gdb")
    multiarch = program(bare / "gdb-multiarch")
    assert [each.path for each in candidates()] == [multiarch, none_eabi, packaged, plain]
    named = program(bare / "named")
    monkeypatch.setenv("GDBFLASH_GDB", "named")
    assert list(candidates()) == [Candidate(named, "$GDBFLASH_GDB")]
    other = program(bare / "other")
    assert list(candidates("other")) == [Candidate(other, "--gdb")]
    assert list(candidates(str(other))) == [Candidate(other, "--gdb")]


def test_the_first_that_starts_and_knows_arm_is_taken_by_the_one_start_that_is_needed(bare: Path) -> None:
    starts = bare / "starts"
    program(bare / "gdb-multiarch", BROKEN)
    real = gdb_path("gdb-multiarch")
    taken = program(bare / "arm-none-eabi-gdb", f'echo started >>{starts}; exec {real} "$@"')
    program(bare / "gdb", f"echo never >>{starts}; exit 1")
    client = start_gdb()
    try:
        assert client.gdb == taken
        assert client.version.startswith("GNU gdb")
    finally:
        client.close()
    assert starts.read_text() == "started\n"


def test_a_named_gdb_that_does_not_start_is_not_replaced_by_another(bare: Path) -> None:
    program(bare / "gdb-multiarch", f'exec {gdb_path("gdb-multiarch")} "$@"')
    program(bare / "mine", BROKEN)
    with pytest.raises(GdbMissing, match=r"mine did not start .*missing libpython.* comes from --gdb, so no other"):
        start_gdb("mine")


def test_a_named_gdb_that_is_missing_is_not_replaced_by_another(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(bare / "gdb-multiarch")
    with pytest.raises(GdbMissing, match=r"my-gdb \(from --gdb\)"):
        start_gdb("my-gdb")
    monkeypatch.setenv("GDBFLASH_GDB", "my-gdb")
    with pytest.raises(GdbMissing, match=r"my-gdb \(from \$GDBFLASH_GDB\)"):
        start_gdb()


@pytest.mark.parametrize(
    ("system", "release", "package"),
    [
        ("Linux", {"ID": "debian"}, "`apt install gdb-multiarch`"),
        ("Linux", {"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "`apt install gdb-multiarch`"),
        ("Linux", {"ID": "fedora"}, "`dnf install gdb`"),
        ("Darwin", {}, "`brew install arm-none-eabi-gdb`"),
        ("Linux", {"ID": "other"}, "gdb-multiarch (Debian), gdb (Fedora) or arm-none-eabi-gdb (Homebrew)"),
    ],
)
def test_what_is_missing_is_said_in_the_words_of_the_system(
    bare: Path, monkeypatch: pytest.MonkeyPatch, system: str, release: dict[str, str], package: str
) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    with pytest.raises(GdbMissing) as none:
        start_gdb()
    assert none.value.message.startswith("No gdb was found. To get one: ")
    assert package in none.value.message
    host = program(bare / "gdb", BROKEN)
    with pytest.raises(GdbMissing) as unfit:
        start_gdb()
    assert f"No gdb will do. {host} did not start" in unfit.value.message
    assert package in unfit.value.message


@pytest.mark.parametrize("name", ["gdb-multiarch", "gdb-pypi"])
def test_real_gdbs_know_arm(name: str) -> None:
    started(gdb_path(name)).close()


def test_what_is_no_gdb_is_told(tmp_path: Path) -> None:
    for each in (Path("/bin/ls"), tmp_path / "missing"):
        with pytest.raises(GdbMissing, match=str(each)):
            started(each)


def test_the_packaged_gdb_is_the_one_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = gdbs._from_package()
    assert packaged == gdb_path("gdb-pypi").resolve()
    # With `pip --user` Python itself lies in /usr/bin, and so may a gdb that is not the package's.
    monkeypatch.setattr(sys, "executable", str(program(tmp_path / "python3")))
    program(tmp_path / "gdb")
    assert gdbs._from_package() == packaged

    def missing(_name: str) -> None:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "files", missing)
    assert gdbs._from_package() is None
