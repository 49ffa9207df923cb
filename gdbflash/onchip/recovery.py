"""Old bytes of touched sectors, kept safe on the host while the chip does not hold them.

What belongs here: the recovery file, its place, its form. A file holds one JSON line that names the storage and the
stretches, with a SHA-256 over the bytes that follow it in the same order. It is complete and synced before it gets
its name, so a file that exists can be used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gdbflash.errors import OutputError
from gdbflash.plan.jobs import Content

_FORMAT = "gdbflash recovery 1"


@dataclass(frozen=True)
class Identity:
    """Which storage on which unit the bytes belong to; unit is the MCU's unique ID in hex, or empty if unknown."""

    storage: str
    address: int
    size: int
    unit: str

    @property
    def file_name(self) -> str:
        """A name that is the same for the same storage on the same unit."""
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", self.storage)[:60]
        return f"{name}-{self.address:08X}-{self.unit or 'unknown-unit'}.gdbflash"


def directory() -> Path:
    """Name the folder of recovery files: $GDBFLASH_STATE, or gdbflash in the XDG state folder; raises OutputError."""
    explicit = os.environ.get("GDBFLASH_STATE")
    if explicit:
        return Path(explicit)
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    try:
        return Path(state).expanduser() / "gdbflash"
    except RuntimeError as error:  # what pathlib raises for a user without one
        raise OutputError(
            "There is no home directory to keep bytes in. Set GDBFLASH_STATE to a folder for them.", path=state
        ) from error


def path_for(identity: Identity) -> Path:
    """Name the recovery file of a storage."""
    return directory() / identity.file_name


def save(identity: Identity, kept: Content) -> Path:
    """Write and sync the recovery file, in one piece or not at all; raises OutputError."""
    path = path_for(identity)
    digest = hashlib.sha256()
    for _, data in kept.pieces:
        digest.update(bytes(data))
    head = {
        "format": _FORMAT,
        "storage": identity.storage,
        "address": identity.address,
        "size": identity.size,
        "unit": identity.unit,
        "stretches": [[address, len(data)] for address, data in kept.pieces],
        "sha256": digest.hexdigest(),
    }
    # One name, so that what a killed run left is written over by the next.
    partial = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(json.dumps(head).encode() + b"\n")
            for _, data in kept.pieces:
                file.write(bytes(data))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise OutputError(
            f"The bytes to keep could not be saved to {path} ({error.strerror}), so nothing was erased there. "
            "Free some space, set GDBFLASH_STATE to another folder, or add --no-keep.",
            path=str(path),
        ) from error
    return path


def load(identity: Identity) -> Content | None:
    """Read the recovery file of a storage; None when there is none. Raises OutputError for an unusable one."""
    path = path_for(identity)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        why = error.strerror or str(error)
        raise (_unusable(path, why) if _can_be_entered(path.parent) else _no_folder(path.parent, why)) from error
    line, _, data = raw.partition(b"\n")
    try:
        head = json.loads(line)
        stretches = [(int(address), int(size)) for address, size in head["stretches"]]
        same = (head["format"], head["address"], head["size"]) == (_FORMAT, identity.address, identity.size)
        sound = head["sha256"] == hashlib.sha256(data).hexdigest() and _fit(stretches, identity, len(data))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise _unusable(path, "its first line is damaged") from error
    if not (same and sound):
        raise _unusable(path, "its content is damaged or for another storage")
    return Content(tuple(_cut(stretches, memoryview(data))))


def _fit(stretches: list[tuple[int, int]], identity: Identity, size: int) -> bool:
    """Say whether stretches of so many bytes in all lie in the storage, in order and apart."""
    end = identity.address
    for address, length in stretches:
        if address < end or length < 0:
            return False
        end = address + length
    return end <= identity.address + identity.size and sum(length for _, length in stretches) == size


def _cut(stretches: list[tuple[int, int]], data: memoryview) -> Iterator[tuple[int, memoryview]]:
    offset = 0
    for address, size in stretches:
        yield address, data[offset : offset + size]
        offset += size


def _unusable(path: Path, why: str) -> OutputError:
    return OutputError(
        f"The recovery file {path} of an earlier, interrupted write cannot be used: {why}. "
        "Move it away to go on without the bytes it should hold.",
        path=str(path),
    )


def replace(identity: Identity, kept: Content) -> None:
    """Have the recovery file hold just these bytes, or no file where there are none; raises OutputError."""
    if kept.pieces:
        save(identity, kept)
    else:
        remove(identity)


def _no_folder(folder: Path, why: str) -> OutputError:
    return OutputError(
        f"The folder {folder} for bytes to keep cannot be used: {why}. "
        "Set GDBFLASH_STATE to a folder that can be used.",
        path=str(folder),
    )


def _can_be_entered(folder: Path) -> bool:
    try:
        os.stat(f"{folder}/.")  # noqa: PTH116 - a Path would leave the dot away, which asks for the right to enter
    except OSError:
        return False
    return True


def remove(identity: Identity) -> None:
    """Delete the recovery file; one that is gone already is fine."""
    path = path_for(identity)
    path.unlink(missing_ok=True)
    if path.parent.is_dir():
        _sync_directory(path.parent)


def _sync_directory(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
