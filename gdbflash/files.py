"""Read an input file whole, with every failure as one sentence.

What belongs here: what loader and firmware files have in common before anybody looks at their bytes.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import InputError


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
