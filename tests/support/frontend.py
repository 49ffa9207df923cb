"""A front end that speaks MI to GDB and takes the first result record for the result, as some do."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType


@dataclass(frozen=True)
class Answer:
    """What came up to the first result record of a command: that record, what was shown, and what else was told."""

    result: str
    shown: str
    notices: list[str]


class FrontEnd:
    """GDB with its MI on pipes."""

    def __init__(self, gdb: Path, state: Path) -> None:
        words = [str(gdb), "-nx", "-q", "-i=mi2", "-iex", "set debuginfod enabled off"]
        env = dict(os.environ, GDBFLASH_STATE=str(state))
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self._token = 0

    def console(self, line: str) -> Answer:
        """Pass a line to GDB's own prompt."""
        return self.send(f'-interpreter-exec console "{line}"')

    def send(self, command: str) -> Answer:
        """Send an MI command, and read up to the first result record with its token."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._token += 1
        self._process.stdin.write(f"{self._token}{command}\n")
        self._process.stdin.flush()
        shown = ""
        notices: list[str] = []
        for line in self._process.stdout:
            if line.startswith(f"{self._token}^"):
                return Answer(line.rstrip().removeprefix(str(self._token)), shown, notices)
            if line.startswith("~"):
                shown += line[2:-2].replace("\\n", "\n")
            elif line.startswith(("*", "=")):
                notices.append(line.rstrip())
        raise AssertionError(f"GDB ended in {command}: {shown}")

    def __enter__(self) -> FrontEnd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
