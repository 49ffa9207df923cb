"""The log of one run: who said what to whom, and when, for a person to attach to a bug report.

What belongs here: the file that `--log` names, its form, and the `Trace` that other modules speak into. The command
line, file names and all traffic are in it as they are; nothing of the environment is.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import platform
import shlex
import stat
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TextIO

from gdbflash.errors import GdbflashError, InputError, OutputError
from gdbflash.events import Advanced, Event, Finished, Planned, Started, Waited

Trace = Callable[[str, str], None]
"""Called with a direction (">" sent, "<" received) or a speaker's name, and each line said."""

_FIRST_WORDS = "gdbflash log"


class RunLog:
    """A file of lines `SECONDS SPEAKER TEXT` under a header; may be written to by several threads.

    A disk that fills up ends the log, never the run: `failure` then says why.
    """

    def __init__(self, path: Path, version: str, words: Sequence[str], *, append: bool = False) -> None:
        """Begin the file, or with append a part of it, for a command line.

        A log that lies there is kept, as PATH.1, PATH.2 and so on. Raises InputError for a file that is no log,
        OutputError.
        """
        self.failure = ""
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        try:
            if _is_log(path) and not append:
                _put_aside(path)
            self._file: TextIO | None = path.open("a" if append else "w", encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise OutputError(
                f"The log {path} cannot be written ({error.strerror}). Name another file with --log.", path=str(path)
            ) from error
        self._write(
            f"{_FIRST_WORDS} of {datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z}; times are seconds since then\n"
            f"version   {version}\n"
            f"python    {platform.python_version()} at {sys.executable}\n"
            f"platform  {platform.platform()}\n"
            f"command   {shlex.join(('gdbflash', *words))}\n"
        )

    def __call__(self, speaker: str, text: str) -> None:
        """Add what was said, a line each."""
        now = time.monotonic() - self._begun
        self._write("".join(f"{now:10.4f} {speaker} {line}\n" for line in text.splitlines() or [""]))

    def observe(self, event: Event) -> None:
        """Add an event."""
        self("event", _in_words(event))

    def of(self, name: str) -> Trace:
        """Give a trace whose directions get a name before them, such as "gdb >"."""
        return lambda direction, line: self(f"{name} {direction}", line)

    def _write(self, text: str) -> None:
        with self._lock:
            if self._file is None:
                return
            try:
                self._file.write(text)
                self._file.flush()  # what led to a crash is what is wanted most
            except OSError as error:
                self.failure = error.strerror or str(error)
                self._give_up()

    def _give_up(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # the same failure again, when what is buffered is written
                self._file.close()
            self._file = None

    def end(self, outcome: str, error: GdbflashError | None = None) -> None:
        """Add what came of the run and how long it took, and close the file."""
        if error is not None:
            self("error", "\n".join((error.message, *error.report)))
            self("error", json.dumps({"kind": error.kind, **error.data}))
        self("result", f"{outcome} after {time.monotonic() - self._begun:.3f} s")
        with self._lock:
            self._give_up()


def _in_words(event: Event) -> str:
    if isinstance(event, Started):
        return f"{event.phase} begins: {event.total} bytes {event.label}".rstrip()
    if isinstance(event, Advanced):
        return f"{event.phase}: {event.done} bytes done"
    if isinstance(event, Waited):
        return f"the chip is waited for: {event.done:.1f} s of up to {event.total:.1f} s"
    if isinstance(event, Finished):
        return f"{event.phase} ends after {event.seconds:.3f} s"
    return event.summary if isinstance(event, Planned) else f"{event.code}: {event.message}"


def _is_log(path: Path) -> bool:
    """Say whether a log lies there.

    Raises OSError, and InputError for a file that is no log, such as a firmware image whose option was forgotten.
    """
    if not path.exists() or not stat.S_ISREG(path.stat().st_mode):
        return False
    with path.open("rb") as file:
        begin = file.read(len(_FIRST_WORDS))
    if begin and begin != _FIRST_WORDS.encode():
        raise InputError(
            f"{path} exists and is no log of gdbflash, so it is not overwritten. Name another file with --log.",
            path=str(path),
        )
    return bool(begin)


def _put_aside(path: Path) -> None:
    """Give a log the first number behind its name that is free; raises OSError."""
    for number in itertools.count(1):
        kept = path.with_name(f"{path.name}.{number}")
        try:
            os.link(path, kept)  # fails where the name is taken, also by another process at this moment
        except FileExistsError:
            continue
        except OSError:  # a file system without links
            if kept.exists():
                continue
            path.rename(kept)
            return
        path.unlink()
        return
