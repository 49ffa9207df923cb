"""What the host remembers of targets between two runs: whose files these are, and how they get into their folder.

What belongs here: names, and writing that survives a crash; not what is remembered.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from gdbflash.errors import OutputError
from gdbflash.host.folders import directory
from gdbflash.host.storage import put_in_place, sync_directory


@dataclass(frozen=True)
class Identity:
    """A storage on a unit; unit is the MCU's unique ID in hex, or empty if unknown."""

    storage: str
    address: int
    size: int
    unit: str
    folder: Path | None = field(default=None, compare=False)
    """The state folder where what is remembered of it lies; None: the usual one."""

    @property
    def file_name(self) -> str:
        """A name, without an ending, that is the same for the same storage on the same unit."""
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", self.storage)[:60]
        return f"{name}-{self.address:08X}-{self.unit or 'unknown-unit'}"


def write_whole(path: Path, parts: Iterable[bytes]) -> None:
    """Write and sync a file for its owner alone, which appears under its name whole or not at all; raises OSError."""
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".part", dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        put_in_place(partial, path)
        sync_directory(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def sweep(identity: Identity) -> None:
    """Delete what a killed run left half written; only for who has the unit, so that it is nobody's any more."""
    with contextlib.suppress(OSError, OutputError):
        if identity.unit:
            for each in directory(identity.folder).glob(f".{identity.file_name}-*.part"):
                each.unlink(missing_ok=True)


def append_line(path: Path, line: bytes) -> None:
    """Add a line to a file and sync it; raises OSError."""
    with path.open("ab") as file:
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def remove(path: Path) -> None:
    """Delete a file for good; one that is gone already is fine. Raises OSError."""
    path.unlink(missing_ok=True)
    sync_directory(path.parent)
