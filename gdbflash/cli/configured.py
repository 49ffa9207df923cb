"""What config files say to a command: which files and tables count, in which order, and what their values mean.

What belongs here: the order of files and boards, and the keys. Finding and reading a file is in `config`, and what was
typed, which counts more than all of it, in `options`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gdbflash.cli.config import Config, expect_harmless, load_config, user_config
from gdbflash.commands.grammar import Files as Named
from gdbflash.commands.grammar import Kind, Option
from gdbflash.commands.shared_options import IN_FILES, REACH
from gdbflash.commands.table import command_named
from gdbflash.commands.words import file_named, nearest, parse_port
from gdbflash.errors import InputError
from gdbflash.version import SCHEMA

_OF_JOBS = ("verify", "keep", "full")
KEYS: dict[str, Option] = {
    each.name: each
    for each in (*REACH, *(each for each in command_named("write").options if each.name in _OF_JOBS), *IN_FILES)
}
"""What a file may say, of itself and of a board."""

Convert = Callable[[Option, Any], Any]
"""Makes of text what an option makes of it; raises InputError."""


@dataclass(frozen=True)
class Layer:
    """One table of one file."""

    config: Config
    values: dict[str, Any]
    board: str = ""
    """Whose it is; empty: all boards'."""

    def said(self, key: str) -> str:
        """Name a key where it stands."""
        return f"{self.config.path}: {f'board.{self.board}.' if self.board else ''}{key}"


@dataclass(frozen=True)
class Files:
    """The files that count: the user's own, then the project's or the one that was named."""

    configs: tuple[Config, ...]

    @property
    def boards(self) -> tuple[str, ...]:
        """Name all boards, in the order of the files."""
        return tuple(dict.fromkeys(name for each in self.configs for name in each.boards))

    def layers(self, board: str | None) -> tuple[Layer, ...]:
        """Give the tables that count, the weakest first; raises InputError for a board that no file has."""
        if board is not None and board not in self.boards:
            near = nearest(board, self.boards)
            known = f" There are {', '.join(self.boards)}." if self.boards else " No config file names any."
            raise InputError(
                f"There is no board {board!r}.{f' Did you mean {near!r}?' if near else known}", board=board
            )
        found = []
        for each in self.configs:
            found.append(Layer(each, each.values))
            if board in each.boards:
                found.append(Layer(each, each.boards[board], board or ""))
        return tuple(found)


def files(named: Path | None, start: Path | None) -> Files:
    """Read the files that count; raises InputError."""
    found = (user_config(), load_config(named, start))
    return Files(tuple(each for each in found if each is not None))


def settled(layers: tuple[Layer, ...], convert: Convert) -> dict[str, Any]:
    """Give what the tables say, by the options' fields; raises InputError naming file and key."""
    values: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.values.items():
            if key not in KEYS:
                near = nearest(key, list(KEYS))
                meant = f"did you mean {near}?" if near in KEYS else f"those are {', '.join(sorted(KEYS))}."
                raise InputError(
                    f"{layer.said(key)} is no option that a file may have; {meant}",
                    path=str(layer.config.path),
                    key=key,
                )
            expect_harmless(layer.config, key, value, layer.said(key))
            try:
                values[KEYS[key].field] = _value(KEYS[key], value, layer.config.path.parent, convert)
            except InputError as error:
                raise InputError(
                    f"{layer.said(key)}: {error.message.rstrip('.')}.", path=str(layer.config.path), key=key
                ) from error
    return values


def _wanted(option: Option) -> tuple[str, tuple[type, ...]]:
    """Say of which kind a value has to be, in words and as types of TOML."""
    if option.kind in (Kind.SWITCH, Kind.FLAG):
        return "true or false", (bool,)
    if isinstance(option.default, float):
        return "a number", (int, float)
    if option.parse is parse_port:
        return "a whole number", (int,)
    return "a text in quotes", (str,)


def _value(option: Option, value: Any, folder: Path, convert: Convert) -> Any:
    """Check a value by its option; raises InputError."""
    try:
        shown = repr(value)
    except ValueError as error:  # a file may write it in hex, but Python not in decimal
        raise InputError("a number in it has too many digits") from error
    if option.kind is Kind.VALUES and option.names is Named.FILE:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            raise InputError(f"{shown} is no file name and no list of them")
        return tuple(folder / file_named(each) for each in names)
    wanted, kinds = _wanted(option)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise InputError(f"{shown} is not {wanted}")
    return value if isinstance(value, bool) else convert(option, str(value))


def schema() -> dict[str, Any]:
    """Make a JSON schema of config files, for editors (json-schema.org, draft 2020-12)."""
    properties = {name: _property(option) for name, option in sorted(KEYS.items())}
    board = {"type": "object", "properties": properties, "additionalProperties": False}
    more = {
        "schema": {"const": SCHEMA, "description": "The form of this file."},
        "board": {
            "type": "object",
            "additionalProperties": board,
            "description": "Boards by name, chosen with --board.",
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "gdbflash.toml",
        "type": "object",
        "properties": {**properties, **more},
        "additionalProperties": False,
    }


def _property(option: Option) -> dict[str, Any]:
    described = {"description": f"{option.help}."}
    if option.kind is Kind.VALUES and option.names is Named.FILE:
        text = {"type": "string"}
        return {**described, "oneOf": [text, {"type": "array", "items": text}]}
    if option.choices:
        return {**described, "enum": list(option.choices)}
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return {**described, "type": kinds[_wanted(option)[1][-1]]}
