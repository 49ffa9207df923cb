"""Files where systems differ: opening, places in one, files without a name, taking another's place, serial devices.

What belongs here: what POSIX does with one call and Windows otherwise. There an open file can be neither deleted nor
replaced, a folder not synced, and a serial device has no name among the files.

Source: Microsoft, Naming Files, Paths, and Namespaces; QueryDosDevice; _open.
"""

from __future__ import annotations

import io
import os
import re
import stat
import sys
import tempfile
import threading
from pathlib import Path

STDIN = "/dev/stdin"
"""A name for what is piped in, on every system."""

_PLACES = threading.Lock()


def read_by_seeking(descriptor: int, size: int, start: int) -> bytes:
    """Read as `read_at` does, where there is no call for it."""
    with _PLACES:
        os.lseek(descriptor, start, os.SEEK_SET)
        return os.read(descriptor, size)


if sys.platform == "win32":
    import ctypes

    SERIAL = re.compile(r"(?:\\\\\.\\)?COM[1-9][0-9]{0,2}\Z", re.IGNORECASE)
    """The name of a serial device."""
    SERIAL_EXAMPLE = "COM3"

    def serial_trouble(name: str) -> str:
        """Say why a name is that of no serial device that is there, without opening it; empty where it is."""
        plain = name.rpartition("\\")[2]
        found = ctypes.windll.kernel32.QueryDosDeviceW(plain, ctypes.create_unicode_buffer(1024), 1024)
        return "" if found else "no such port"

    def is_serial(_name: str) -> bool:
        """Tell whether what is there is a serial device: its name says so here."""
        return True

    def opened(path: str | os.PathLike[str]) -> io.FileIO:
        """Open a file for reading; raises OSError."""
        if Path(path) == Path(STDIN):
            return io.FileIO(os.dup(0))
        if Path(path).is_dir():  # opening one is "permission denied" here
            raise IsADirectoryError(str(path))
        return io.FileIO(path)

    def nameless() -> int:
        """Open a temporary file that is gone when it is closed; raises OSError."""
        handle, name = tempfile.mkstemp(prefix="gdbflash-")
        os.close(handle)
        return os.open(name, os.O_RDWR | os.O_BINARY | os.O_NOINHERIT | os.O_TEMPORARY)

    read_at = read_by_seeking

    def sync_directory(_folder: Path) -> None:
        """Have the names in a folder survive a crash: NTFS keeps a journal of them by itself."""

    def put_in_place(partial: Path, target: Path) -> None:
        """Have a closed file take the place of another one, also of one that is read-only; raises OSError."""
        mode = partial.stat().st_mode
        before = target.stat().st_mode if target.exists() else None
        try:
            if before is not None:
                target.chmod(before | stat.S_IWRITE)
            partial.replace(target)
        except OSError:
            partial.chmod(mode | stat.S_IWRITE)  # it has to be deleted
            if before is not None:
                target.chmod(before)
            raise

    def is_ours(_status: os.stat_result) -> bool:
        """Tell whether a file in the temporary folder is this user's: that folder is for one user alone here."""
        return True

    def is_open_to_others(_status: os.stat_result) -> bool:
        """Tell whether a mode lets others in: no mode tells here, folders inherit who may."""
        return False
else:
    SERIAL = re.compile(r"/[A-Za-z0-9_./:@+-]+\Z")
    """The name of a serial device."""
    SERIAL_EXAMPLE = "/dev/ttyACM0"

    def serial_trouble(name: str) -> str:
        """Say why a name is that of no serial device that is there, without opening it; empty where it is."""
        try:
            Path(name).stat()
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def is_serial(name: str) -> bool:
        """Tell whether what is there is a serial device, as far as its name's kind says so; raises OSError."""
        return stat.S_ISCHR(Path(name).stat().st_mode)

    def opened(path: str | os.PathLike[str]) -> io.FileIO:
        """Open a file once, without waiting for whoever may write to it; raises OSError."""
        return io.FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_CLOEXEC))

    def nameless() -> int:
        """Open a temporary file that is gone when it is closed; raises OSError."""
        descriptor, name = tempfile.mkstemp(prefix="gdbflash-")
        os.unlink(name)  # noqa: PTH108 - a name of ours, gone while the file stays
        return descriptor

    def read_at(descriptor: int, size: int, start: int) -> bytes:
        """Read up to size bytes from a place in a file on; raises OSError."""
        return os.pread(descriptor, size, start)

    def sync_directory(folder: Path) -> None:
        """Have the names in a folder survive a crash; raises OSError."""
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def put_in_place(partial: Path, target: Path) -> None:
        """Have a closed file take the place of another one, also of one that is read-only; raises OSError."""
        partial.replace(target)

    def is_ours(status: os.stat_result) -> bool:
        """Tell whether a file is this user's."""
        return status.st_uid == os.getuid()

    def is_open_to_others(status: os.stat_result) -> bool:
        """Tell whether a mode lets others in."""
        return bool(status.st_mode & 0o077)
