"""A GDB that a person sits in front of: a terminal, a prompt, and keys to press."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect

from tests.support.cbuild import ROOT

GDBINIT = ROOT / "gdbinit"
PROMPT = "(gdb) "
PATIENCE = 60.0
"""Seconds for a command; a machine that runs other tests beside this one is slow."""


class Terminal:
    """GDB in a terminal of 24 lines, as it comes: confirm, pagination and readline on."""

    def __init__(self, gdb: Path, *arguments: str, state: Path, cwd: Path | None = None) -> None:
        environment = {**os.environ, "TERM": "dumb", "LC_ALL": "C", "GDBFLASH_STATE": str(state), "HOME": str(state)}
        environment.pop("VIRTUAL_ENV", None)
        self.child = pexpect.spawn(
            str(gdb),
            ["-nx", "-q", "-iex", "set debuginfod enabled off", *arguments],
            cwd=str(cwd) if cwd else None,
            env=environment,
            encoding="utf-8",
            codec_errors="replace",
            dimensions=(24, 200),
            timeout=PATIENCE,
        )
        self.child.delaybeforesend = None
        self.greeting = self.wait()

    def wait(self) -> str:
        """Wait for the prompt and give what was shown before it."""
        self.child.expect_exact(PROMPT)
        return str(self.child.before).replace("\r\n", "\n")

    def send(self, line: str) -> None:
        """Type a line."""
        self.child.sendline(line)

    def run(self, line: str) -> str:
        """Type a line and give what it shows, without the echo."""
        self.send(line)
        shown = self.wait()
        return shown.partition("\n")[2]

    def press_ctrl_c(self) -> None:
        """Press Ctrl-C."""
        self.child.sendintr()

    def value(self, expression: str) -> int:
        """Evaluate an expression to a number."""
        shown = self.run(f"output/x {expression}")
        found = re.search(r"0x[0-9a-f]+", shown)
        assert found is not None, shown
        return int(found[0], 16)


@contextmanager
def gdb_terminal(gdb: Path, *arguments: str, state: Path, cwd: Path | None = None) -> Iterator[Terminal]:
    """Start GDB in a terminal, and end it."""
    terminal = Terminal(gdb, *arguments, state=state, cwd=cwd)
    try:
        yield terminal
    finally:
        terminal.child.kill(signal.SIGKILL)
        terminal.child.wait()
        terminal.child.close()
