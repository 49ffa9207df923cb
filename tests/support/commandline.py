"""The command line as scripts use it: a command, its exit code, its JSON lines, and what people see."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gdbflash.cli.main import main
from gdbflash.version import SCHEMA


@dataclass(frozen=True)
class Outcome:
    """What came of one command."""

    code: int
    events: list[dict[str, Any]]
    shown: str

    @property
    def result(self) -> dict[str, Any]:
        """The last JSON line."""
        return self.events[-1]

    @property
    def sentence(self) -> str:
        """The one line that people see of a command that failed."""
        (line,) = self.shown.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")


class CommandLine:
    """Runs commands with --json; every one ends without a traceback."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str | Path) -> Outcome:
        self._capsys.readouterr()
        code = main(["--json", *map(str, words)])
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        assert code != 70, captured.err
        events = [json.loads(line) for line in captured.out.splitlines()]
        assert {each.pop("schema", None) for each in events} <= {SCHEMA}
        return Outcome(code, events, captured.err)
