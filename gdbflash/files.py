"""Read an input file, with every failure as one sentence.

What belongs here: what loader and firmware files have in common before anybody looks at their bytes.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import stat
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gdbflash.host.pipes import wait_for
from gdbflash.host.storage import nameless, opened, read_at

if TYPE_CHECKING:
    from gdbflash.errors import InputError


def read_file(
    path: str | os.PathLike[str], largest: int, defect: type[InputError], *, may_be_empty: bool = False
) -> bytes:
    """Read at most largest bytes of a regular file; raises defect when it is none, unreadable, empty or too large."""
    name = os.fspath(path)
    with _sentences(name, defect), opened(path) as file:
        size = _regular_size(file, name, defect)
        # Asked of the file before it is read: the answer to a disk image given by mistake has to come at once.
        data = b"" if size > largest else file.readall()
    return _checked(data, size, largest, name, defect, may_be_empty=may_be_empty)


def read_image(
    path: str | os.PathLike[str], in_memory: int, largest: int, defect: type[InputError]
) -> bytes | FileBytes:
    """Read at most largest bytes of a regular file, or of a pipe to its end; raises defect.

    Of more than in_memory bytes of a regular file a copy is made that nobody else knows, where there is room for it.
    """
    name = os.fspath(path)
    size = 0
    with _sentences(name, defect), opened(path) as file:
        if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            data = _to_the_end(file, largest)
        else:
            size = _regular_size(file, name, defect)
            if in_memory < size <= largest and (copy := _copied(file, size)) is not None:
                return copy
            data = b"" if size > largest else file.readall()
    return _checked(data, size, largest, name, defect)


def _checked(
    data: bytes, size: int, largest: int, name: str, defect: type[InputError], *, may_be_empty: bool = False
) -> bytes:
    if max(size, len(data)) > largest:
        raise defect(
            f"{name} has more than {largest >> 20} MiB, which cannot be what is meant. Check its name.", path=name
        )
    if not data and not may_be_empty:
        raise defect(f"{name} is empty. Build or copy it again.", path=name)
    return data


@contextlib.contextmanager
def _sentences(name: str, defect: type[InputError]) -> Iterator[None]:
    """Say what hinders reading as defect does."""
    try:
        yield
    except IsADirectoryError as error:
        raise defect(f"{name} is a directory. Name the file in it.", path=name) from error
    except FileNotFoundError as error:
        raise defect(f"{name} does not exist. Check its name and the directory.", path=name) from error
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise defect(f"{name} cannot be read: {reason}. Check its name and rights.", path=name) from error


def _regular_size(file: io.FileIO, name: str, defect: type[InputError]) -> int:
    """Give the size of a regular file; raises defect for what is none."""
    status = os.fstat(file.fileno())
    if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        raise defect(f"{name} is a device, not a file. Name the file itself.", path=name)
    if not stat.S_ISREG(status.st_mode):
        raise defect(f"{name} is a pipe or a socket, not a file. Name the file itself.", path=name)
    return status.st_size


def _to_the_end(pipe: io.FileIO, largest: int) -> bytes:
    """Read a pipe until who writes to it is done; a byte more than largest is enough to see that it is too much."""
    data = bytearray()
    while len(data) <= largest:
        wait_for(pipe.fileno())
        piece = pipe.read(1 << 20)
        if piece is not None:  # nothing yet, though something was to come
            if not piece:
                break
            data += piece
    return bytes(data)


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
            chunk = read_at(self._descriptor, self._size - len(data), self._start + len(data))
            if not chunk:
                raise OSError(f"{self._size} bytes of a temporary file are not there any more")
            data += chunk
        return bytes(data)


def _copied(file: io.FileIO, size: int) -> FileBytes | None:
    """Copy a file to where its content stays; None where there is no room."""
    try:
        descriptor = nameless()
        copied = FileBytes(descriptor, size)
        with open(descriptor, "wb", closefd=False) as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
    except OSError:
        file.seek(0)
        return None
    if os.fstat(descriptor).st_size != size:
        file.seek(0)
        return None
    return copied
