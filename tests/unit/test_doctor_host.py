"""In-GDB use is claimed for a Python that gdbinit accepts, and for no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import gdbflash
from gdbflash.cli.doctor import LEAST_PYTHON, _inside


@pytest.mark.parametrize(
    ("version", "fine"), [("3.9.2", None), ("3.10.0", True), ("3.13.5+", True), ("2.7.18", None), ("", None)]
)
def test_the_python_of_a_gdb(version: str, fine: bool | None) -> None:
    assert _inside(version)[0] is fine


def test_gdbinit_asks_for_the_same() -> None:
    script = Path(gdbflash.__file__).with_name("gdbinit.gdb").read_text("utf-8")
    (asked,) = re.findall(r"sys\.version_info < \((\d+), (\d+)\)", script)
    assert tuple(map(int, asked)) == LEAST_PYTHON
