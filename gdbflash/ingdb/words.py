"""The rows of `commands.table` as parsers of the words behind a command inside GDB.

What belongs here: argparse. What is not said stays None, and is filled in from the GDB parameters and the table by
`parameters`.
"""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from gdbflash.commands.grammar import Argument, Command, FrontEnd, Kind, Option
from gdbflash.commands.table import options_of
from gdbflash.errors import InputError

GDB = FrontEnd.GDB


class Shown(Exception):
    """The user asked for help, and has it."""


class Words(argparse.ArgumentParser):
    """A parser of a command's words that raises InputError, and ends no process."""

    def __init__(self, row: Command) -> None:
        super().__init__(prog=f"gdbflash {row.name}", description=row.more or None, allow_abbrev=False)
        self.row = row
        self.options = options_of(row, GDB)
        for argument in row.arguments:
            self._argument(argument)
        for option in self.options:
            self._option(option)

    def _argument(self, row: Argument) -> None:
        optional = row.may_be_missing(GDB)
        nargs = ("*" if optional else "+") if row.many else ("?" if optional else None)
        self.add_argument(row.name, nargs=nargs, type=row.parse, metavar=row.metavar)

    def _option(self, row: Option) -> None:
        said: dict[str, Any] = {"dest": row.field, "default": None, "help": _help(row)}
        if row.kind is Kind.SWITCH:
            said["action"] = argparse.BooleanOptionalAction
            self.add_argument(f"--{row.name}", **said)
        elif row.kind is Kind.FLAG:
            self.add_argument(*row.flags, action="store_true", **said)
        elif row.choices:
            self.add_argument(*row.flags, choices=list(row.choices), required=row.required, **said)
        else:
            action = "append" if row.kind is Kind.VALUES else "store"
            said |= {"action": action, "type": row.parse, "metavar": row.metavar, "required": row.required}
            self.add_argument(*row.flags, **said)

    def said(self, words: list[str]) -> dict[str, Any]:
        """Read words; what was not said is None. Raises InputError, Shown."""
        return vars(self.parse_args(words))

    def error(self, message: str) -> NoReturn:
        """Raise InputError with argparse's message and the usage."""
        usage = " ".join(self.format_usage().split()).replace("usage:", "Usage:")
        raise InputError(f"{message[:1].upper()}{message[1:]}. {usage}")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:  # noqa: ARG002 - argparse's signature
        """End reading after help was shown."""
        raise Shown


def _help(row: Option) -> str:
    default = row.otherwise_in(GDB)
    if not default and row.default is not None and row.kind is not Kind.FLAG:
        default = "on" if row.default is True else "off" if row.default is False else str(row.default)
    meanings = "; ".join(f"{word}: {meaning}" for word, meaning in row.choices.items() if meaning)
    told = f"{row.help}{f' ({meanings})' if meanings else ''}{f' (default: {default})' if default else ''}"
    return told.replace("%", "%%")
