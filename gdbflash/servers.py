"""Start a GDB server for one run, and stop exactly that one.

What belongs here: child processes that are servers, and `pexpect`. A server runs on a pseudo-terminal of its own:
it prints line by line, a Ctrl-C meant for us does not reach it, and it is hung up on should we be killed.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pexpect

from .errors import InputError, ServerMissing
from .profiles import ServerProfile

READY_SECONDS = 20.0
"""Time for a server to start listening: probes that update their own firmware state take several seconds."""
STOP_SECONDS = 3.0
_LAST_LINES = 8


@dataclass(frozen=True)
class Launched:
    """A server that listens; endpoint is HOST:PORT."""

    endpoint: str
    process: int


@contextlib.contextmanager
def launched(profile: ServerProfile, arguments: str) -> Iterator[Launched]:
    """Run a server with a shell-like string of arguments while the body runs.

    Raises InputError when the arguments cannot be split or the profile has no program, ServerMissing when the
    program is missing, ends, or does not say within READY_SECONDS that it listens; its own words are in the message.
    """
    if profile.launch is None:
        raise InputError(f"gdbflash does not know how to start {profile.name}. Start it yourself and use --connect.")
    try:
        words = [*profile.launch.arguments, *shlex.split(arguments)]
    except ValueError as error:
        raise InputError(f"--launch {arguments!r} cannot be split into arguments: {error}.") from error
    program = shutil.which(profile.launch.program)
    if program is None:
        raise ServerMissing(
            f"{profile.launch.program} was not found. Install it, or start your server and use --connect HOST:PORT.",
            program=profile.launch.program,
        )
    child = pexpect.spawn(program, words, encoding="utf-8", codec_errors="replace", echo=False, timeout=READY_SECONDS)
    try:
        port = _wait_ready(profile, child, [program, *words])
        draining = threading.Thread(target=_drain, args=(child,), daemon=True)
        draining.start()
        yield Launched(f"127.0.0.1:{port}", child.pid)
    finally:
        _stop(child)


def _wait_ready(profile: ServerProfile, child: pexpect.spawn, command: list[str]) -> int:
    """Wait until the server says that it listens; returns its port."""
    assert profile.launch is not None
    found = child.expect([profile.launch.ready, pexpect.EOF, pexpect.TIMEOUT])
    if found == 0:
        return int(child.match.groupdict().get("port") or profile.default_port)
    lines = [line for line in re.split(r"[\r\n]+", child.before or "") if line.strip()]
    said = " / ".join(lines[-_LAST_LINES:]) or "nothing"
    what = "ended" if found == 1 else f"did not listen within {READY_SECONDS:g} s"
    raise ServerMissing(
        f"{profile.name} {what}; it said: {said}. Try its command line by itself: {shlex.join(command)}",
        output=lines[-_LAST_LINES:],
    )


def _drain(child: pexpect.spawn) -> None:
    """Read on until the end, so that the server never blocks on a full terminal."""
    with contextlib.suppress(pexpect.EOF, OSError, ValueError):
        while True:
            with contextlib.suppress(pexpect.TIMEOUT):
                child.read_nonblocking(65536, timeout=1)


def _stop(child: pexpect.spawn) -> None:
    """End the server: politely, then for certain."""
    child.ptyproc.delayafterterminate = STOP_SECONDS / 10
    child.close(force=True)
