"""stdout and stderr that may be lost: a reader goes away, a disk fills up, a terminal hangs up.

What belongs here: seeing to it that no print ends a run. What is done to a chip comes to its own end and its own exit
code, whether or not it can be told.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO, cast

from gdbflash.errors import OutputError

_READER_LEFT = frozenset({errno.EPIPE, errno.ECONNRESET})


class Outlet:
    """A stream that falls silent when printing to it fails; stands where a text file is expected."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._was_terminal = stream.isatty()
        self._failure: OSError | None = None
        if isinstance(stream, io.TextIOWrapper):
            # A name or a sign that this terminal cannot show must not end a run either.
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text, or nothing any more."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def write_bytes(self, data: bytes) -> None:
        """Write bytes as they are, or nothing any more."""
        self._try(self._stream.flush)
        self._try(lambda: self._stream.buffer.write(data))

    def flush(self) -> None:
        """Flush the stream, or nothing any more."""
        self._try(self._stream.flush)

    def loss(self) -> OutputError | None:
        """Say that not all was printed; None where it was, or where nobody is left to miss it."""
        self.flush()
        if self._failure is None or self._reader_left(self._failure.errno):
            return None
        reason = self._failure.strerror or str(self._failure)
        return OutputError(
            f"What was to be printed is not whole ({reason}), though the command itself was done. Make room for it, "
            "or send it elsewhere.",
            path="stdout",
        )

    def _reader_left(self, number: int | None) -> bool:
        # Of a terminal that hung up, EIO is all that is heard where the signal is ignored or goes to others.
        return number in _READER_LEFT or (number == errno.EIO and self._was_terminal)

    def _try(self, action: Callable[[], object]) -> None:
        if self._failure is not None:
            return
        try:
            action()
        except OSError as error:
            self._failure = error
            self._discard()

    def _discard(self) -> None:
        """Let what is still buffered go nowhere: it would fail again at exit, with a traceback."""
        with contextlib.suppress(OSError):  # a stream without a file has nothing to fail at
            nowhere = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(nowhere, self._stream.fileno())
            finally:
                os.close(nowhere)


@contextlib.contextmanager
def outlets() -> Iterator[Outlet]:
    """Put outlets in the place of stdout and stderr while the body runs; gives that of stdout."""
    before = sys.stdout, sys.stderr
    with Path(os.devnull).open("w") as nowhere:  # for a stream that was closed from the beginning
        stdout, stderr = (Outlet(stream or nowhere) for stream in before)
        sys.stdout, sys.stderr = cast("TextIO", stdout), cast("TextIO", stderr)
        try:
            yield stdout
        finally:
            stdout.flush()
            stderr.flush()
            sys.stdout, sys.stderr = before
