"""What this machine holds for runs: the folder of what they remember, what one has for itself, what outlives none.

What belongs here: the state folder, locks between processes, temporary folders. A lock is the operating system's: it
ends with its process, however that ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import filelock
import platformdirs

from gdbflash.errors import OutputError, TargetInUse
from gdbflash.host.storage import is_open_to_others, is_ours, sync_directory

ENVIRONMENT = "GDBFLASH_STATE"
_OURS_ALONE = 0o700
_LONGEST_NAME = 80
_PREFIX = "gdbflash-"
_LOCK = ".lock"
_HOLDER = "gdbflash holder 1"
_SETTLED = 60.0
"""Seconds after which a folder has its lock for certain."""


def own_command_line() -> list[str]:
    """Give the words that this process was started with, also where it is not a Python; empty where nobody tells.

    Where there is no /proc, as on macOS, ps(1) tells, and words with blanks come apart.
    """
    try:
        return [os.fsdecode(each) for each in Path("/proc/self/cmdline").read_bytes().split(b"\0") if each]
    except OSError:
        pass
    try:
        said = subprocess.run(
            ["ps", "-ww", "-o", "args=", "-p", str(os.getpid())], capture_output=True, text=True, check=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return said.stdout.split()


def directory(named: Path | None = None) -> Path:
    """Name the state folder: the one named, $GDBFLASH_STATE, or gdbflash in the platform's; raises OutputError."""
    explicit = named or os.environ.get(ENVIRONMENT)
    if explicit:
        return Path(explicit)
    try:
        usual = platformdirs.user_state_path("gdbflash", appauthor=False)
    except RuntimeError:  # what pathlib raises for a user without a home
        usual = Path()
    if not usual.is_absolute():
        raise OutputError(f"There is no home directory to keep bytes in. Set {ENVIRONMENT} to a folder for them.")
    return usual


def config_directory() -> Path | None:
    """Name the folder of the user's own settings; None for a user without a home."""
    try:
        usual = platformdirs.user_config_path("gdbflash", appauthor=False)
    except RuntimeError:
        return None
    return usual if usual.is_absolute() else None


def made_directory(named: Path | None = None) -> Path:
    """Make the state folder, for its owner alone, where it is not there yet; raises OutputError, OSError.

    The platform's is ours, and is closed to others where an earlier version left it open.
    """
    folder = directory(named)
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(mode=_OURS_ALONE, parents=True, exist_ok=True)
    for each in new:
        sync_directory(each.parent)
    if not (named or os.environ.get(ENVIRONMENT)) and is_open_to_others(folder.stat()):
        folder.chmod(_OURS_ALONE)
    return folder


@contextlib.contextmanager
def held(name: str, what: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Have a target for this process alone while the body runs; raises TargetInUse when another one has it.

    name: the same for the same target. The lock lies in the usual state folder, whichever a run has for the rest, or
    two runs would not see each other. Where there can be no lock, tell says so, and the body runs all the same.
    """
    lock = None
    try:
        lock = hold(made_directory() / "locks" / f"{_as_file(name)}.lock", what)
    except (OSError, OutputError) as error:
        tell(f"Whether another process uses {what} cannot be told: {error}")
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _as_file(name: str) -> str:
    """Make a file's name of what may be a long command line, another one for each."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)
    if plain == name and len(name) <= _LONGEST_NAME:
        return name
    return f"{plain[:_LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


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
    path.parent.mkdir(mode=_OURS_ALONE, exist_ok=True)
    lock = filelock.FileLock(path, timeout=0, thread_local=False, mode=0o600)
    holder = path.with_suffix(".holder")
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise _in_use(what, holder) from error
    except NotImplementedError as error:  # a file system without locks
        raise OSError(str(error)) from error
    about = {
        "format": _HOLDER,
        "process": os.getpid(),
        "host": platform.node(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }
    with contextlib.suppress(OSError), open(holder, "w", opener=_for_owner) as file:
        json.dump(about, file)
    return Lock(lock, holder)


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _in_use(what: str, holder: Path) -> TargetInUse:
    try:
        about = json.loads(holder.read_text())
        if about.get("format", _HOLDER) != _HOLDER:
            raise ValueError(about["format"])
        process, host, since = int(about["process"]), str(about["host"]), str(about["since"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
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
        if self.path.exists():  # where a file cannot go while it is open, the lock's is still there
            shutil.rmtree(self.path, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Delete the folders of processes that were killed."""
    for folder in parent.glob(f"{_PREFIX}*"):
        lock = folder / _LOCK
        with contextlib.suppress(OSError, filelock.Timeout):
            if is_ours(lock.stat()) and time.time() - lock.stat().st_mtime > _SETTLED:
                with filelock.FileLock(lock, timeout=0, thread_local=False):
                    shutil.rmtree(folder, ignore_errors=True)
                if folder.exists():
                    shutil.rmtree(folder, ignore_errors=True)
