"""The process of a server: on a pseudo-terminal in a session of its own, or behind a pipe where there are none.

What belongs here: `pexpect`, and what stands in its place on Windows. On a terminal a server prints line by line and
is hung up on should we be killed; both ways a Ctrl-C meant for us does not reach it.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

import pexpect

from gdbflash.host.pipes import Inflow, inflow
from gdbflash.host.processes import OWN_GROUP, TERMINALS, before_server, kill_group, terminate_group

LOOK_SECONDS = 0.01
"""Between two looks at whether a server still runs."""


class Child:
    """A server's process."""

    pid: int
    inflow: Inflow
    """What it prints."""

    def how_it_ended(self) -> str:
        """Say by what it ended, once it has."""
        raise NotImplementedError

    def close(self) -> None:
        """Close what it printed to, when nobody reads that any more, and wait for the process."""
        raise NotImplementedError

    def _is_alive(self) -> bool:
        raise NotImplementedError

    def ends(self, seconds: float) -> bool:
        """Say whether it has ended or does so within that time."""
        deadline = time.monotonic() + seconds
        while self._is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_SECONDS)
        return True

    def stop(self, seconds: float) -> None:
        """End it and all that it started: politely, and after that time for certain."""
        try:
            terminate_group(self.pid)
            self.ends(seconds)
        finally:
            kill_group(self.pid)


class OnTerminal(Child):
    """A server on a pseudo-terminal."""

    def __init__(self, program: str, words: Sequence[str]) -> None:
        """Start it; raises OSError."""
        # The size of the terminal keeps servers that look at it from cutting their lines.
        self._child = pexpect.spawn(program, list(words), echo=False, dimensions=(24, 1000), preexec_fn=before_server)
        self.pid = self._child.pid
        self.inflow = inflow(self._child.child_fd)

    def how_it_ended(self) -> str:
        """Say by what it ended, once it has."""
        number = self._child.signalstatus
        return f"signal {number}" if number else f"status {self._child.exitstatus}"

    def close(self) -> None:
        """Close the terminal, when nobody reads it any more, and wait for the process."""
        self._child.ptyproc.delayafterclose = 0
        self._child.close(force=True)

    def _is_alive(self) -> bool:
        return bool(self._child.isalive())


class OnPipe(Child):
    """A server behind a pipe: it may keep lines back until it has more of them."""

    def __init__(self, program: str, words: Sequence[str]) -> None:
        """Start it; raises OSError."""
        self._process = subprocess.Popen(
            [program, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            **OWN_GROUP,
        )
        assert self._process.stdout is not None
        self._stdout = self._process.stdout
        self.pid = self._process.pid
        self.inflow = inflow(self._stdout.fileno())

    def how_it_ended(self) -> str:
        """Say by what it ended, once it has."""
        code = self._process.returncode
        return f"signal {-code}" if code < 0 else f"status {code}"

    def close(self) -> None:
        """Wait for the process, and close the pipe, when nobody reads it any more."""
        self._process.wait()
        self.inflow.close()
        self._stdout.close()

    def _is_alive(self) -> bool:
        return self._process.poll() is None


def started(program: str, words: Sequence[str]) -> Child:
    """Start a server; raises OSError."""
    return OnTerminal(program, words) if TERMINALS else OnPipe(program, words)
