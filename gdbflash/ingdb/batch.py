"""Whether GDB was started to run commands and end, as in CI.

What belongs here: reading GDB's own command line, since GDB tells nobody of `-batch` otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

from gdbflash.host.folders import own_command_line

_EXECUTE = ("ex", "iex", "eiex", "eval-command", "init-eval-command", "early-init-eval-command")
_SCRIPT = ("x", "ix", "eix", "command", "init-command", "early-init-command")
_OTHERS = ("symbols", "s", "exec", "e", "se", "core", "c", "pid", "p", "cd", "d", "directory", "data-directory", "D")
_TAKE_A_WORD = frozenset((*_EXECUTE, *_SCRIPT, *_OTHERS, "tty", "b", "l", "i", "interpreter"))
"""GDB's options that take the next word for their value (GDB manual, "Invoking GDB")."""


def wanted_by(words: Sequence[str]) -> bool:
    """Say whether a command line of GDB asks for batch mode, by `-batch` or `-batch-silent`."""
    taken = False
    for word in words:
        if word in ("--args", "-args"):
            return False
        dashes = len(word) - len(word.lstrip("-"))
        name = word.lstrip("-") if dashes in (1, 2) else ""
        if not taken and name in ("batch", "batch-silent"):
            return True
        taken = not taken and name in _TAKE_A_WORD
    return False


def in_batch() -> bool:
    """Say whether this GDB runs in batch mode; False where the system tells of no command line."""
    return wanted_by(own_command_line()[1:])
