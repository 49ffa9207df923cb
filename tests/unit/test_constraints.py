"""scripts/constraints.txt says what the tests ran with."""

from __future__ import annotations

import importlib.metadata
import re

from packaging.requirements import Requirement

from tests.support.cbuild import ROOT

_NOT_PINNED = {"gdbflash", "pip", "setuptools"}
"""The project, and what python3 -m venv brings."""


def test_what_is_installed_is_what_is_pinned() -> None:
    lines = (ROOT / "scripts/constraints.txt").read_text().splitlines()
    pins = [Requirement(each) for each in lines if not each.startswith("#")]
    pinned = {_normal(each.name): str(each.specifier) for each in pins if each.marker is None or each.marker.evaluate()}
    found = {_normal(each.name): f"=={each.version}" for each in importlib.metadata.distributions()}
    assert {name: found[name] for name in found.keys() - _NOT_PINNED} == pinned


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
