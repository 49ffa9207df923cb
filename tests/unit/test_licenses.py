"""gdbflash/LICENSES.md names every package that gdbflash brings, and what each states."""

from __future__ import annotations

import importlib.metadata
import re

import pytest
from packaging.requirements import Requirement

from tests.support.cbuild import ROOT

_EXTRAS = ("gdb", "board", "labgrid")
_ELSEWHERE = {"tomli", "colorama", "typing-extensions"}
"""What is needed on other systems or Pythons than this, and need not be installed."""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed() -> dict[str, str]:
    """Give the names of all packages that an installation with the extras brings here, each by its normal form."""
    found: dict[str, str] = {}
    waiting = [("gdbflash", extra) for extra in ("", *_EXTRAS)]
    while waiting:
        name, extra = waiting.pop()
        for line in importlib.metadata.requires(name) or ():
            requirement = Requirement(line)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            if normal(requirement.name) not in found:
                found[normal(requirement.name)] = requirement.name
                waiting += [(requirement.name, each) for each in ("", *requirement.extras)]
    return found


def table() -> dict[str, tuple[str, str, str]]:
    """Read the rows: licence, how it is stated, and what it comes with."""
    rows = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in (ROOT / "gdbflash" / "LICENSES.md").read_text("utf-8").splitlines()
        if line.startswith("| ") and not line.startswith("| package")
    ]
    return {normal(name): (licence, stated, extra) for name, licence, stated, extra in rows}


def stated(name: str) -> str:
    """Give what a package says of its licence; empty where it says nothing."""
    said = importlib.metadata.metadata(name)
    for key in ("License-Expression", "License"):
        told = str((said.get_all(key) or [""])[0]).partition("\n")[0].strip()
        if told not in ("", "UNKNOWN"):
            return told
    classifiers = said.get_all("Classifier") or []
    return ", ".join(each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License"))


def test_every_package_is_in_the_table_and_no_other() -> None:
    assert table().keys() - _ELSEWHERE == needed().keys() - _ELSEWHERE


@pytest.mark.parametrize("name", sorted(needed()))
def test_a_package_states_what_the_table_says(name: str) -> None:
    assert stated(name) == table()[name][1]


def test_what_is_under_the_gpl_comes_with_an_extra_alone() -> None:
    assert {name: row[2] for name, row in table().items() if "GPL" in row[0]} == {
        "gdb-for-pwndbg": "`gdb`",
        "labgrid": "`labgrid`",
        "pyudev": "`labgrid`",
        "unicorn": "`board`",
    }
