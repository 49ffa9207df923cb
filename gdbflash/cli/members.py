"""Which of the boards on a command line this process is for, and what carries a board's name.

What belongs here: what a process of a gang knows of being one. Starting and hearing them is in `gang`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from gdbflash.errors import InputError

MEMBER = "GDBFLASH_GANG_MEMBER"
"""The variable that tells a process of a gang which of the boards on its command line is its own."""


def chosen(boards: Sequence[str]) -> tuple[str, ...]:
    """Give the boards that this process is for: of a gang's process one; raises InputError."""
    twice = next((each for each in boards if boards.count(each) > 1), None)
    if twice is not None:
        raise InputError(f"{twice} is named twice. Name each board once.")
    mine = os.environ.get(MEMBER)
    if mine is None:
        return tuple(boards)
    if mine not in boards:
        raise InputError(f"{MEMBER} is {mine!r}, which the command line does not name. Take it out of the environment.")
    return (mine,)


def log_of(path: Path, board: str | None = None) -> Path:
    """Name the log of a gang's process: the board's name stands before the ending."""
    board = board or os.environ.get(MEMBER)
    return path if board is None else path.with_name(f"{path.stem}-{_as_file(board)}{path.suffix}")


def _as_file(board: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", board).strip("_.") or "board"
