"""A chip erase that may still go on in the chip when the next run comes.

What belongs here: the host's note that one was begun, and for how long it may last. No reset of the MCU ends it, and
Init fails or waits meanwhile; only somebody who knows can wait for it.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

from gdbflash.errors import CallFailed, OutputError
from gdbflash.host.folders import directory, made_directory
from gdbflash.onchip import state
from gdbflash.onchip.state import Identity

_KIND = "gdbflash erasing "
_FORMAT = f"{_KIND}2"
_LEAST, _MOST = 60.0, 3600.0
_SECONDS_PER_MIB = 30.0
"""Twice and more what the slowest serial NOR chips take at most (W25Q128JV data sheet, tCE: 200 s for 16 MiB)."""


class Odd(Exception):
    """A note that says nothing that can be so; its message names it and why."""


def _path(identity: Identity) -> Path:
    return directory(identity.folder) / f"{identity.file_name}.erasing"


def longest(size: int) -> float:
    """Give the seconds for which a chip erase of so many bytes is waited for at most."""
    return min(_MOST, max(_LEAST, _SECONDS_PER_MIB * size / (1 << 20)))


@contextlib.contextmanager
def noted(identity: Identity, seconds: float) -> Iterator[None]:
    """Note while the body runs that a chip erase goes on, for so many seconds at most.

    The note stays when the body is left in any way but the function's own return. A folder that cannot be written is no
    reason not to erase: only the next run will not know.
    """
    with contextlib.suppress(OSError, OutputError):
        made_directory(identity.folder)
        note = {"format": _FORMAT, "begun": time.time(), "seconds": max(0.0, min(seconds, longest(identity.size)))}
        state.write_whole(_path(identity), [json.dumps(note).encode()])
    try:
        yield
    except CallFailed:
        forget(identity)
        raise
    forget(identity)


def seconds_left(identity: Identity) -> float:
    """Give for how long the chip may still erase; 0 when no chip erase was interrupted, or that is long ago.

    Never longer than an erase of this storage takes, whatever the clock was set to since. Raises Odd for a note that
    says what cannot be.
    """
    try:
        path = _path(identity)
        data = path.read_bytes()
    except (OSError, OutputError):
        return 0.0
    try:
        note = json.loads(data)
        form = str(note["format"])
        if form != _FORMAT and form.startswith(_KIND):
            raise Odd(f"{path} tells of an interrupted chip erase as another version of gdbflash does: it is ignored.")
        if form != _FORMAT:
            raise ValueError(form)
        begun, seconds = float(note["begun"]), float(note["seconds"])
        if not (math.isfinite(begun) and math.isfinite(seconds) and seconds >= 0):
            raise ValueError(seconds)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise Odd(
            f"{path} should tell of an interrupted chip erase, and says what cannot be: it is ignored."
        ) from error
    seconds = min(seconds, longest(identity.size))
    return max(0.0, min(seconds, begun + seconds - time.time()))


def forget(identity: Identity) -> None:
    """Delete the note: the erase is over."""
    with contextlib.suppress(OSError, OutputError):
        _path(identity).unlink(missing_ok=True)
