"""CHANGES.md names the forms that are written, and the version."""

from __future__ import annotations

from gdbflash import version
from gdbflash.flash import erase_unit, kept_files
from gdbflash.host import folders
from gdbflash.onchip import unfinished
from tests.support.cbuild import ROOT

CHANGES = (ROOT / "gdbflash" / "CHANGES.md").read_text("utf-8")


def test_it_begins_with_this_version() -> None:
    newest = next(line for line in CHANGES.splitlines() if line.startswith("## "))
    assert newest.removeprefix("## ").split(",")[0] == version.VERSION


def test_each_form_that_is_written_is_named_as_today_s() -> None:
    today = [line.split("|")[2] for line in CHANGES.splitlines() if line.startswith("| ")]
    for form in (kept_files._FORMAT, unfinished._FORMAT, erase_unit._FORMAT, folders._HOLDER):
        assert any(f"`{form}`" in each for each in today), form
    assert sum(f'"schema": {version.SCHEMA}' in each or f"schema = {version.SCHEMA}" in each for each in today) == 2
