"""Finding a GDB that can debug ARM."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from gdbflash.errors import GdbMissing

NAMES = ("gdb-multiarch", "arm-none-eabi-gdb")
"""GDBs whose names promise ARM."""
ENVIRONMENT = "GDBFLASH_GDB"
INSTALL = 'install gdb-multiarch or arm-none-eabi-gdb, or `pip install "gdbflash[gdb]"`, or name one with --gdb'
CHECK_TIMEOUT = 20.0
"""Seconds for a GDB to start, say what it knows, and end."""


def find_gdb(explicit: str | None = None) -> Path:
    """Return the GDB to use: explicit, $GDBFLASH_GDB, one named for ARM, that of the PyPI extra, or a plain one.

    A name is looked up in PATH. The first two are taken at their word; a plain `gdb` only if it knows ARM
    (often it knows the host's processor alone). Raises GdbMissing with how to install one.
    """
    for name, origin in ((explicit, "--gdb"), (os.environ.get(ENVIRONMENT), f"${ENVIRONMENT}")):
        if name:
            found = shutil.which(name)
            if found is None:
                raise GdbMissing(
                    f"{name} (from {origin}) is not a program that can be run; {INSTALL}.", gdb=name, origin=origin
                )
            return Path(found).absolute()
    for name in NAMES:
        if found := shutil.which(name):
            return Path(found).absolute()
    if packaged := _from_package():
        return packaged
    plain = shutil.which("gdb")
    if plain and knows_arm(Path(plain)):
        return Path(plain).absolute()
    why = f"{plain} does not know the ARM architecture" if plain else "No gdb was found"
    raise GdbMissing(f"{why}; {INSTALL}.", gdb=plain)


def knows_arm(gdb: Path) -> bool:
    """Say whether this program runs as a GDB that knows ARM."""
    argv = [str(gdb), "-nx", "-q", "-batch", "-iex", "set auto-load off", "-ex", "set architecture arm"]
    try:
        done = subprocess.run(
            [*argv, "-ex", "show architecture"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CHECK_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b'set to "arm"' in done.stdout


def _from_package() -> Path | None:
    """Return the `gdb` script of the PyPI package gdb-for-pwndbg, where it is installed beside this Python."""
    if importlib.util.find_spec("gdb_for_pwndbg") is None:
        return None
    script = Path(sys.executable).parent / "gdb"
    return script if os.access(script, os.X_OK) else None
