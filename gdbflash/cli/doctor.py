"""Look at what the command line needs beside a target, and say how to get what is missing.

What belongs here: the checks of `gdbflash doctor` of Python and gdb; those of a target are in `commands.doctor`.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator

from gdbflash.commands.doctor import Check
from gdbflash.errors import CommandRefused, GdbflashError
from gdbflash.mi.find_gdb import start_gdb
from gdbflash.version import VERSION

LEAST_PYTHON = (3, 10)
"""What `gdbinit` accepts inside gdb."""


def _inside(version: str) -> tuple[bool | None, str]:
    """Say whether the commands inside a gdb with that Python run."""
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    if numbers >= LEAST_PYTHON:
        return True, f"{version}: `gdbflash` can also be used inside this gdb"
    return None, f"{version}: the commands inside gdb need 3.10 or newer, the command line does not"


def check_host(gdb: str | None) -> Iterator[Check]:
    """Look at Python and gdb."""
    yield Check("gdbflash", True, f"{VERSION} with Python {platform.python_version()} at {sys.executable}")
    try:
        client = start_gdb(gdb)
    except GdbflashError as error:
        yield Check("gdb", False, error.message)
        return
    try:
        yield Check("gdb", True, f"{client.gdb}: {client.version}")
        version = client.console("python import sys; print(sys.version.split()[0])").console.strip()
        yield Check("gdb's Python", *_inside(version))
    except CommandRefused:
        yield Check(
            "gdb's Python", None, "none: the commands inside gdb need a gdb with Python, the command line does not"
        )
    finally:
        client.close()
