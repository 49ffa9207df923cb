"""Options in a file: `gdbflash.toml`, or the table `[tool.gdbflash]` of a project's `pyproject.toml`.

What belongs here: finding the file, reading it, and which keys one that was found by itself may have. What the values
mean is in `configured`. The user's own file counts as named. A file that came with somebody's project must not choose a
program to run, nor what becomes of bytes that were kept; nor a machine to connect to, since GDB lets its server open
files on this one (Debugging with GDB, "File-I/O Remote Protocol Extension").
"""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gdbflash.errors import InputError
from gdbflash.files import read_file
from gdbflash.host.folders import config_directory
from gdbflash.version import SCHEMA

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAME = "gdbflash.toml"
PROJECT = "pyproject.toml"
LARGEST_FILE = 1 << 20
_MOST_DOTS = 1000
_TABLE = "tool.gdbflash"
_ROOT = ".git"
ALL = "all"
"""What means every board, and so is no name of one."""
_NAMED_ONLY = frozenset({"gdb", "launch", "kept"})


@dataclass(frozen=True)
class Config:
    """What a file says."""

    path: Path
    values: dict[str, Any]
    boards: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What it says of single boards, by their names."""
    was_found: bool = False
    """Nobody named it: `expect_harmless` holds for what it says."""


def load_config(named: Path | None, start: Path | None) -> Config | None:
    """Read the file that was named, or else the nearest one from the folder start on; None where there is none.

    Raises InputError when it cannot be read or is no TOML.
    """
    if named is not None:
        return _config(named)
    for folder in _folders(start) if start is not None else ():
        for name in (NAME, PROJECT):
            path = folder / name
            if os.path.lexists(path) and (name == NAME or _TABLE.encode() in _bytes(path)):
                return replace(_config(path), was_found=True)
    return None


def user_config() -> Config | None:
    """Read the user's own file; None where there is none. Raises InputError as `load_config`."""
    folder = config_directory()
    path = folder / NAME if folder is not None else None
    return _config(path) if path is not None and os.path.lexists(path) else None


def _config(path: Path) -> Config:
    values = _read(path)
    boards = values.pop("board", {})
    if not isinstance(boards, dict) or not all(isinstance(each, dict) for each in boards.values()):
        raise InputError(f"{path}: a board is a table of its own: [board.NAME].", path=str(path), key="board")
    if ALL in boards:
        raise InputError(f"{path}: no board can be called {ALL}, which means all.", path=str(path), key=f"board.{ALL}")
    return Config(path, values, boards=boards)


def _folders(start: Path) -> Iterator[Path]:
    """Yield start and the folders above it up to the project's (with .git) or the home folder; else start alone.

    Elsewhere the folders above, such as /tmp, may be anybody's.
    """
    above = [start, *start.parents]
    for index, folder in enumerate(above):
        if os.path.lexists(folder / _ROOT) or str(folder) == os.environ.get("HOME"):
            yield from above[: index + 1]
            return
    yield start


def _bytes(path: Path) -> bytes:
    return read_file(path, LARGEST_FILE, InputError, may_be_empty=True)


def _read(path: Path) -> dict[str, Any]:
    data = _bytes(path)
    if max(line.count(b".") for line in data.split(b"\n")) > _MOST_DOTS:
        # TOML's readers keep each beginning of a dotted key: an 80 KB one takes gigabytes.
        raise InputError(f"{path} has more than {_MOST_DOTS} dots in a line, which no option needs.", path=str(path))
    try:
        values: dict[str, Any] = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no TOML: {error}.", path=str(path)) from error
    if path.name != PROJECT:
        return _without_schema(path, values)
    tools = values.get("tool")
    table = tools.get("gdbflash") if isinstance(tools, dict) else None
    if not isinstance(table, dict):
        raise InputError(f"{path} has no table [{_TABLE}].", path=str(path))
    return _without_schema(path, table)


def _without_schema(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Give the options alone; raises InputError for those of another form."""
    schema = values.get("schema", SCHEMA)
    if type(schema) is not int or schema != SCHEMA:
        raise InputError(
            f"{path}: this version of gdbflash reads options with schema = {SCHEMA} alone. Install the version that "
            "the file was made for, or say the options as `gdbflash write --help` has them.",
            path=str(path),
            key="schema",
        )
    return {key: value for key, value in values.items() if key != "schema"}


def expect_harmless(config: Config, key: str, value: object, said: str) -> None:
    """Raise InputError for what a file that nobody named may not say; said: the key, where it stands.

    To go on without it would be to go on with another board: the one at the usual port.
    """
    if config.was_found and not _may_be_found(key, value):
        raise InputError(
            f"{said} may not come from a file that nobody named, since it came with the project. Look at it, then add "
            f"--config {config.path}, or move the line to your own gdbflash.toml.",
            path=str(config.path),
            key=key,
        )


def _may_be_found(key: str, value: object) -> bool:
    """Say whether a key may stand in a file that nobody named."""
    if key == "connect" and isinstance(value, str):
        return value.startswith("/") or _is_here(value.rpartition(":")[0])
    return key not in _NAMED_ONLY


def _is_here(host: str) -> bool:
    try:
        return host in ("", "localhost") or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
