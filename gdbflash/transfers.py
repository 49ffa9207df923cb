"""The files in which bytes travel to and from gdb.

What belongs here: what goes wrong with them, which is the host's trouble and none of the target's.
"""

from __future__ import annotations

import os
from pathlib import Path

from gdbflash.errors import OutputError


def fill(path: Path, data: bytes) -> None:
    """Write a file for gdb to read; raises OutputError."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise _unusable(path, os.strerror(error.errno or 0)) from error


def check_reply(path: Path, reply: str) -> None:
    """Raise OutputError when what gdb refused a command with is about the file that it should have written."""
    _, named, why = reply.partition(f"{path.name}: ")
    if named:
        raise _unusable(path, why.strip().rstrip("."))


def _unusable(path: Path, why: str) -> OutputError:
    return OutputError(
        f"The temporary file {path} could not be written ({why}). Free some space, or set TMPDIR to another folder.",
        path=str(path),
    )
