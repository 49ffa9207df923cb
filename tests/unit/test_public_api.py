"""The public API: what `import gdbflash` gives, what it costs, and that its names say what they are."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import gdbflash
from gdbflash import api

TOP = Path(__file__).parents[2]


def test_every_public_name_is_given_and_described() -> None:
    for name in api.__all__:
        value = getattr(gdbflash, name)
        assert value is getattr(api, name)
        assert name in ("Event", "Observer") or value.__doc__, name  # those two are aliases


def test_no_other_name_is() -> None:
    with pytest.raises(AttributeError, match=r"^module 'gdbflash' has no attribute 'Phases'$"):
        _ = getattr(gdbflash, "Phases")  # noqa: B009 - mypy knows that there is none


def test_importing_the_package_imports_nothing_of_it_but_its_version() -> None:
    ours = "import sys, gdbflash; print(*sorted(each for each in sys.modules if each.split('.')[0] == 'gdbflash'))"
    done = subprocess.run([sys.executable, "-c", ours], cwd=TOP, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["gdbflash", "gdbflash.version"]


def test_the_version_is_that_of_the_package() -> None:
    assert re.findall(r'(?m)^version = "(.*)"$', (TOP / "pyproject.toml").read_text("utf-8")) == [gdbflash.__version__]
