"""Read an input file, with every failure as one sentence.

What belongs here: what loader and firmware files have in common before anybody looks at their bytes.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gdbflash.errors import InputError


def read_file(
    path: str | os.PathLike[str], largest: int, defect: type[InputError], *, may_be_empty: bool = False
) -> bytes:
    """Read at most largest bytes; raises defect when the file is unreadable, empty, too large or no file at all."""
    name = os.fspath(path)
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - path may be any PathLike
            status = os.fstat(file.fileno())
            if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
                raise defect(f"{name} is a device, not a file. Name the file itself.", path=name)
            # Asked of the file before it is read: the answer to a disk image given by mistake has to come at once.
            data = b"" if status.st_size > largest else file.readall()
    except IsADirectoryError as error:
        raise defect(f"{name} is a directory. Name the file in it.", path=name) from error
    except FileNotFoundError as error:
        raise defect(f"{name} does not exist. Check its name and the directory.", path=name) from error
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise defect(f"{name} cannot be read: {reason}. Check its name and rights.", path=name) from error
    if max(status.st_size, len(data)) > largest:
        raise defect(
            f"{name} has more than {largest >> 20} MiB, which cannot be what is meant. Check its name.", path=name
        )
    if not data and not may_be_empty:
        raise defect(f"{name} is empty. Build or copy it again.", path=name)
    return data


class FileBytes:
    """Bytes that lie in a file until they are asked for: a slice is of this kind too, `bytes()` reads.

    The file is a copy that nobody else knows: what an image was planned as is what is written, however long that takes.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        """Take over a descriptor."""
        self._descriptor = descriptor
        self._closed = weakref.finalize(self, os.close, descriptor)
        self._of = self
        self._start = 0
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, where: slice) -> FileBytes:
        start, stop, step = where.indices(self._size)
        if step != 1:
            raise ValueError("no steps")
        part = FileBytes.__new__(FileBytes)
        part._descriptor, part._of = self._descriptor, self._of
        part._start, part._size = self._start + start, max(0, stop - start)
        return part

    def __bytes__(self) -> bytes:
        data = bytearray()
        while len(data) < self._size:
            chunk = os.pread(self._descriptor, self._size - len(data), self._start + len(data))
            if not chunk:
                raise OSError(f"{self._size} bytes of a temporary file are not there any more")
            data += chunk
        return bytes(data)


def copy_away(path: str | os.PathLike[str], least: int, most: int) -> FileBytes | None:
    """Copy a file of least to most bytes to where its content stays; None where there is none, or no room."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - path may be any PathLike
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or not least <= status.st_size <= most:
                return None
            descriptor, name = tempfile.mkstemp(prefix="gdbflash-")
            os.unlink(name)  # noqa: PTH108 - a name of ours, gone while the file stays
            copied = FileBytes(descriptor, status.st_size)
            with open(descriptor, "wb", closefd=False) as copy:
                shutil.copyfileobj(file, copy, 1 << 20)
    except (OSError, ValueError):
        return None
    return copied if os.fstat(descriptor).st_size == len(copied) else None
