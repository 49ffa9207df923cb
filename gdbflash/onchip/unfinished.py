"""A chip erase that may still go on in the chip when the next run comes.

What belongs here: the host's note that one was begun, and until when it may last. No reset of the MCU ends it, and Init
fails or waits meanwhile; only somebody who knows can wait for it.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from gdbflash.errors import CallFailed, OutputError
from gdbflash.onchip import state
from gdbflash.onchip.state import Identity


def _path(identity: Identity) -> Path:
    return state.directory() / f"{identity.file_name}.erasing"


@contextlib.contextmanager
def noted(identity: Identity, seconds: float) -> Iterator[None]:
    """Note while the body runs that a chip erase goes on, for so many seconds at most.

    The note stays when the body is left in any way but the function's own return. A folder that cannot be written is no
    reason not to erase: only the next run will not know.
    """
    with contextlib.suppress(OSError, OutputError):
        state.made_directory()
        _path(identity).write_text(json.dumps({"until": time.time() + seconds}))
    try:
        yield
    except CallFailed:
        forget(identity)
        raise
    forget(identity)


def seconds_left(identity: Identity) -> float:
    """Give for how long the chip may still erase; 0 when no chip erase was interrupted, or that is long ago."""
    try:
        left = float(json.loads(_path(identity).read_bytes())["until"]) - time.time()
    except (OSError, OutputError, ValueError, KeyError, TypeError):
        return 0.0
    return max(0.0, left)


def forget(identity: Identity) -> None:
    """Delete the note: the erase is over."""
    with contextlib.suppress(OSError, OutputError):
        _path(identity).unlink(missing_ok=True)
