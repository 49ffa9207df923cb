"""What one process has for itself at a time: a target, a temporary folder.

What belongs here: locks between processes, and folders that outlive nobody. A lock is the operating system's: it ends
with its process, however that ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import filelock

from gdbflash.errors import TargetInUse

_PREFIX = "gdbflash-"
_LOCK = ".lock"
_SETTLED = 60.0
"""Seconds after which a folder has its lock for certain."""


@dataclass(frozen=True)
class Lock:
    """Something that this process has for itself."""

    _lock: filelock.BaseFileLock
    _holder: Path

    def release(self) -> None:
        """Let others have it."""
        with contextlib.suppress(OSError):
            self._holder.unlink(missing_ok=True)
        self._lock.release()


def hold(path: Path, what: str) -> Lock:
    """Have what a file stands for, until it is released; raises TargetInUse when another process has it, OSError."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    lock = filelock.FileLock(path, timeout=0, thread_local=False)
    holder = path.with_suffix(".holder")
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise _in_use(what, holder) from error
    about = {"process": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    with contextlib.suppress(OSError):
        holder.write_text(json.dumps(about))
    return Lock(lock, holder)


def _in_use(what: str, holder: Path) -> TargetInUse:
    try:
        about = json.loads(holder.read_text())
        process, host, since = int(about["process"]), str(about["host"]), str(about["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return TargetInUse(f"Another process of gdbflash has {what}. Wait for its end, or end it.")
    return TargetInUse(
        f"Process {process} on {host} has had {what} since {since}. Wait for its end, or end it.",
        process=process,
        host=host,
        since=since,
    )


class TemporaryFolder:
    """A folder for files of this process, removed at its end, or by the next one where this one was killed."""

    def __init__(self, parent: Path | None = None) -> None:
        """Make it; raises OSError."""
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        self._lock = filelock.FileLock(self.path / _LOCK, timeout=0, thread_local=False)
        with contextlib.suppress(OSError, filelock.Timeout):  # without it the folder merely stays where we are killed
            self._lock.acquire()
        _sweep(self.path.parent)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Delete it; what cannot be deleted stays."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._lock.release()


def _sweep(parent: Path) -> None:
    """Delete the folders of processes that were killed."""
    for folder in parent.glob(f"{_PREFIX}*"):
        lock = folder / _LOCK
        with contextlib.suppress(OSError, filelock.Timeout):
            if lock.stat().st_uid == os.getuid() and time.time() - lock.stat().st_mtime > _SETTLED:
                with filelock.FileLock(lock, timeout=0, thread_local=False):
                    shutil.rmtree(folder, ignore_errors=True)
