"""Look at what the command line needs beside a target, and say how to get what is missing.

What belongs here: the checks of `gdbflash doctor` of Python and gdb; those of a target are in `commands.doctor`.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator

from gdbflash.commands.doctor import Check
from gdbflash.errors import CommandRefused, GdbflashError
from gdbflash.mi.find_gdb import start_gdb
from gdbflash.version import VERSION


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
        yield Check("gdb's Python", True, f"{version}: `gdbflash` can also be used inside this gdb")
    except CommandRefused:
        yield Check(
            "gdb's Python", None, "none: the commands inside gdb need a gdb with Python, the command line does not"
        )
    finally:
        client.close()
