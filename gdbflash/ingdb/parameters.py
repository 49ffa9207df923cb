"""GDB parameters for what people say to `gdbflash` once for all commands.

What belongs here: the parameters. What is said with a command counts more than one, and the table's default less.
Nothing here touches a target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gdb

from gdbflash.commands.choices import loaders_named
from gdbflash.commands.grammar import Command, FrontEnd, Kind, Option
from gdbflash.commands.shared_options import REACH
from gdbflash.commands.table import command_named, options_of
from gdbflash.commands.words import file_named
from gdbflash.errors import InputError
from gdbflash.ingdb.batch import in_batch
from gdbflash.loaders.loader import ExternalLoader

STAYING = (
    "loader",
    "server",
    "before",
    "after",
    "verify",
    "keep",
    "ram",
    "static-base",
    "irq",
    "ignore-init-result",
    "timeout-scale",
    "expect-unit",
)
"""The options that a GDB parameter says for all commands."""
_LEFT_OPEN = "auto"
"""What a parameter of words is where the option has no default."""
_MORE = {
    "loader": "In quotes where a name has blanks. `gdbflash loader FILE...` checks them too.",
    "server": "auto: tell it by asking it.",
    "keep": "They lie in the sectors that are erased for the image.",
    "ram": "Such as 0x24000000:512K. Not set: that of the device, where it is known.",
    "irq": "A few wait for the SysTick interrupt.",
    "ignore-init-result": "A few loaders return 0 and work.",
    "timeout-scale": "More than 1 for a slow chip or link.",
}
"""What else is to be known of them."""


class Parameter(gdb.Parameter):  # type: ignore[misc]
    """A GDB parameter of ours, checked when it is set."""

    def __init__(
        self,
        name: str,
        value: Any,
        kind: int,
        summary: str,
        more: str,
        choices: tuple[str, ...] = (),
        check: Callable[[str], object] | None = None,
        meanings: Mapping[str, str] | None = None,
    ) -> None:
        """Add it; meanings: what values mean, to be shown with them."""
        self.set_doc = self.show_doc = f"{summary}."
        self.__doc__ = more
        self._check = check
        self._summary = summary
        self._meanings = meanings or {}
        self.title = name
        super().__init__(f"gdbflash {name}", gdb.COMMAND_DATA, kind, *([choices] if choices else []))
        self.value = self._good = value

    def get_set_string(self) -> str:
        """Refuse a value that is none, leaving the old one."""
        if self._check is not None and self.value:
            try:
                self._check(str(self.value))
            except InputError as error:
                self.value = self._good
                raise gdb.GdbError(error.message) from None
        self._good = self.value
        return ""

    def get_show_string(self, value: str) -> str:
        """Say the value in GDB's manner."""
        meaning = self._meanings.get(value)
        return f"gdbflash {self.title} is {value or 'not set'}{f' ({meaning})' if meaning else ''}: {self._summary}."


def help_or_refuse(prefix: str, argument: str) -> None:
    """Do what GDB does for a prefix alone, or raise gdb.GdbError as it does for an unknown word behind one."""
    if argument:
        word = argument.split()[0]
        raise gdb.GdbError(f'Undefined {prefix} command: "{word}".  Try "help {prefix}".')
    gdb.execute(f"help {prefix}")


class _Prefix(gdb.Command):  # type: ignore[misc]
    """`set gdbflash` and `show gdbflash`."""

    def __init__(self, verb: str, summary: str, alone: Callable[[], None] | None = None) -> None:
        self.__doc__ = summary
        self._prefix = f"{verb} gdbflash"
        self._alone = alone
        super().__init__(self._prefix, gdb.COMMAND_DATA, gdb.COMPLETE_NONE, prefix=True)

    def invoke(self, argument: str, _from_tty: bool) -> None:
        """Do what the bare prefix does."""
        if self._alone is not None and not argument:
            self._alone()
        else:
            help_or_refuse(self._prefix, argument)


class Parameters:
    """The GDB parameters, and what they and the table make of a command's words."""

    def __init__(self) -> None:
        _Prefix("set", "What gdbflash does where a command does not say it.")
        _Prefix("show", "What gdbflash does where a command does not say it.", self._show)
        options = {each.name: each for each in (*REACH, *command_named("write").options)}
        self._all = {name: _staying(options[name]) for name in STAYING}
        self.log = Parameter(
            "log",
            "",
            gdb.PARAM_OPTIONAL_FILENAME,
            "The file that gets what is done, for bug reports",
            "Each command is added, with what GDB was told and what it said. Not set: none is kept.",
        )
        self.batch_exit = Parameter(
            "batch-exit",
            in_batch(),
            gdb.PARAM_BOOLEAN,
            "A command that fails ends GDB with exit code 1",
            "On by itself where GDB was started with -batch, so that a script or a CI job sees the failure.",
        )

    def _show(self) -> None:
        for parameter in (*self._all.values(), self.log, self.batch_exit):
            gdb.execute(f"show gdbflash {parameter.title}")

    def __getitem__(self, name: str) -> Parameter:
        return self._all[name]

    def settled(self, row: Command, said: Mapping[str, Any]) -> dict[str, Any]:
        """Fill in what a command's words leave open, from the parameters and the table; raises InputError."""
        filled = dict(said)
        for option in options_of(row, FrontEnd.GDB):
            if filled[option.field] is None:
                filled[option.field] = self._default(option)
        return filled

    def _default(self, option: Option) -> Any:
        if option.name not in self._all or option.kept_as or option.kind is Kind.VALUES:
            return option.default
        value = self._all[option.name].value
        if option.kind is Kind.SWITCH:
            return bool(value)
        return option.parse(value) if value and value != _LEFT_OPEN else option.default

    def loaders(self, files: Sequence[str] | None = None) -> tuple[ExternalLoader, ...]:
        """Read the loader files named, else those of the parameter.

        Raises InputError when none was named, PlanError when two are for one memory, LoaderFileError.
        """
        paths = files or gdb.string_to_argv(self["loader"].value or "")
        if not paths:
            raise InputError("No loader was given. Name the .stldr of your board's memory: gdbflash loader FILE.")
        return loaders_named([file_named(path) for path in paths])


def _staying(option: Option) -> Parameter:
    """Make the parameter that says an option for all commands."""
    meanings = dict(option.choices)
    if option.default is None:
        meanings[_LEFT_OPEN if option.choices else ""] = option.otherwise_in(FrontEnd.GDB)
    more = " ".join(f"{word or 'Not set'}: {meaning}." for word, meaning in meanings.items() if meaning)
    more = f"{more} {_MORE.get(option.name, '')}".strip()
    if option.kind is Kind.SWITCH:
        return Parameter(option.name, option.default, gdb.PARAM_BOOLEAN, option.help, more)
    if option.kind is Kind.VALUES:
        return Parameter(option.name, "", gdb.PARAM_OPTIONAL_FILENAME, option.help, more)
    if option.choices:
        value = option.default or _LEFT_OPEN
        return Parameter(option.name, value, gdb.PARAM_ENUM, option.help, more, tuple(meanings), meanings=meanings)
    text = "" if option.default is None else f"{option.default:g}"
    return Parameter(option.name, text, gdb.PARAM_STRING, option.help, more, check=option.parse, meanings=meanings)
