"""Reading pipes with a time-out, one or many at once.

What belongs here: waiting for bytes. Windows has no poll for pipes: there a thread reads each one. Both ways are here
on every system, so that tests can run the other one, too.
"""

from __future__ import annotations

import os
import queue
import selectors
import sys
import threading
from collections.abc import Generator, Sequence
from typing import IO, Protocol, TypeVar

SLICE = 1 << 16
"""Bytes that are read at once."""
_WAITING = 64
"""Slices that may wait to be taken: then the thread reads no further, and who writes waits as on a full pipe."""
_LOOK = 0.1
"""Seconds of one wait: Windows heeds Ctrl-C only between two."""
_SCHEDULED = 0.02
"""Seconds that what is in the pipe may need to come through the thread."""
_LEAVE = 1.0
"""Seconds for a thread to notice that nobody wants to hear any more."""

Key = TypeVar("Key")


class Inflow(Protocol):
    """Bytes that come in through a descriptor."""

    def read(self, seconds: float) -> bytes | None:
        """Return what is there within that time, None for nothing, no bytes at the end; raises OSError."""

    def close(self) -> None:
        """Stop reading, before the descriptor is closed; where something still waits, that stays behind."""


class Threaded:
    """An inflow that a thread reads: for systems that cannot wait for a pipe with a time-out."""

    def __init__(self, descriptor: int) -> None:
        """Begin to read."""
        self._descriptor = descriptor
        self._slices: queue.Queue[bytes | OSError] = queue.Queue(_WAITING)
        self._end: bytes | OSError | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="gdbflash", daemon=True)
        self._thread.start()

    def read(self, seconds: float) -> bytes | None:
        """Return as `Inflow.read`."""
        left = max(seconds, _SCHEDULED)
        while self._end is None:
            try:
                piece = self._slices.get(timeout=min(left, _LOOK))
            except queue.Empty:
                left -= _LOOK
                if left <= 0:
                    return None
                continue
            if isinstance(piece, bytes) and piece:
                return piece
            self._end = piece
        if isinstance(self._end, OSError):
            raise self._end
        return self._end

    def close(self) -> None:
        """Stop as `Inflow.close`."""
        self._over.set()
        self._thread.join(_LEAVE)

    def _listen(self) -> None:
        while not self._over.is_set():
            piece: bytes | OSError
            try:
                piece = os.read(self._descriptor, SLICE)
            except OSError as error:
                piece = error
            if not self._pass_on(piece) or not isinstance(piece, bytes) or not piece:
                return

    def _pass_on(self, piece: bytes | OSError) -> bool:
        """Wait until there is room for a slice; tell whether somebody still wants it."""
        while not self._over.is_set():
            try:
                self._slices.put(piece, timeout=_LOOK)
            except queue.Full:
                continue
            return True
        return False


def threaded_heard(pipes: Sequence[tuple[Key, IO[bytes]]]) -> Generator[tuple[Key, bytes], None, None]:
    """Yield as `heard` does, by threads."""
    inflows = {key: Threaded(pipe.fileno()) for key, pipe in pipes}
    try:
        while inflows:
            for key, inflow in list(inflows.items()):
                data = inflow.read(0)
                if data is None:
                    continue
                if not data:
                    del inflows[key]
                yield key, data
    finally:
        for each in inflows.values():
            each.close()


def selected_heard(pipes: Sequence[tuple[Key, IO[bytes]]]) -> Generator[tuple[Key, bytes], None, None]:
    """Yield as `heard` does, by what the system has for it."""
    with selectors.DefaultSelector() as waiting:
        for key, pipe in pipes:
            waiting.register(pipe, selectors.EVENT_READ, key)
        while waiting.get_map():
            for ready, _ in waiting.select():
                data = os.read(ready.fd, SLICE)
                if not data:
                    waiting.unregister(ready.fileobj)
                yield ready.data, data


if sys.platform == "win32":

    def inflow(descriptor: int) -> Inflow:
        """Give what reads a descriptor."""
        return Threaded(descriptor)

    def wait_for(_descriptor: int) -> None:
        """Wait until there is something to read: reading does that here."""

    heard = threaded_heard
else:
    import select

    class Polled:
        """An inflow that the system tells of."""

        def __init__(self, descriptor: int) -> None:
            self._descriptor = descriptor
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLIN)

        def read(self, seconds: float) -> bytes | None:
            """Return as `Inflow.read`."""
            return os.read(self._descriptor, SLICE) if self._poll.poll(seconds * 1000) else None

        def close(self) -> None:
            """Stop as `Inflow.close`: nothing reads by itself."""

    def inflow(descriptor: int) -> Inflow:
        """Give what reads a descriptor."""
        return Polled(descriptor)

    def wait_for(descriptor: int) -> None:
        """Wait until there is something to read."""
        waiting = select.poll()
        waiting.register(descriptor, select.POLLIN)
        waiting.poll()

    heard = selected_heard
"""Yields the key of a pipe and what came through it, no bytes at its end, until all have ended."""
