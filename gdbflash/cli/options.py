"""The rows of `commands.table` as click's commands, and the options that fill the settings.

What belongs here: how words become values. What is said of targets is in `reaching`, what commands do in `main`.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from gdbflash.cli.settings import Settings
from gdbflash.commands.grammar import Argument, Files, FrontEnd, Kind, Option
from gdbflash.commands.help import of_all, of_command, usage
from gdbflash.commands.shared_options import OUTPUT, REACH
from gdbflash.commands.table import COMMANDS, command_named
from gdbflash.commands.words import nearest
from gdbflash.errors import InputError
from gdbflash.options import Color

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Parsed(click.ParamType):  # type: ignore[type-arg]
    """A parameter read by one of the functions of `commands.words`."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse text; a value that is no text any more passes."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except InputError as error:
            return self.fail(error.message, param, ctx)


def _same(one: Path, other: Path) -> bool:
    """Say whether two names are of one file, be it there or not."""
    return os.path.realpath(one) == os.path.realpath(other)


class LoggedCommand(click.Command):
    """A command of the table, whose log begins when all its options are read: not over a file named by mistake."""

    def invoke(self, ctx: click.Context) -> Any:
        """Begin the log and run the command; raises InputError when its output would take the log's place."""
        settings = ctx.ensure_object(Settings)
        output = ctx.params.get("output")
        if output is not None and settings.log_file is not None and _same(Path(output), settings.log_file):
            raise InputError(f"--log and -o both name {output}. Give each a file of its own.", path=str(output))
        settings.begin()
        return super().invoke(ctx)

    def get_help(self, ctx: click.Context) -> str:  # noqa: ARG002 - click's signature
        """Show how it is used."""
        return styled(of_command(command_named(self.name or "")))

    def get_usage(self, ctx: click.Context) -> str:  # noqa: ARG002 - click's signature
        """Say in one line how it is typed."""
        return f"Usage: {usage(command_named(self.name or ''))}"


class Commands(click.Group):
    """The commands together, in the order of the table."""

    command_class = LoggedCommand

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name the commands."""
        return [each.name for each in COMMANDS if each.is_in(FrontEnd.COMMAND_LINE)]

    def get_help(self, ctx: click.Context) -> str:  # noqa: ARG002 - click's signature
        """Show all commands."""
        return styled(of_all())

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; raises UsageError that names the nearest one where there is none."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = nearest(args[0], self.list_commands(ctx))
            if near is None:
                raise
            raise click.UsageError(f"No such command {args[0]!r}. Did you mean {near!r}?", ctx) from error


def styled(text: str) -> str:
    """Print the headings of help in bold, where a terminal shows it."""
    lines = text.splitlines()
    return "\n".join(click.style(each, bold=True) if re.fullmatch(r"[A-Z][a-z ]+:", each) else each for each in lines)


def _note(name: str, value_of: Callable[[Any], Any]) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        if value:
            setattr(ctx.ensure_object(Settings), name, value_of(value))

    return callback


def color_of_help(words: Sequence[str]) -> bool | None:
    """Say whether help has colours, which is shown before all options are read; None where the terminal decides."""
    said = [after for word, after in itertools.pairwise(words) if word == "--color"]
    said += [word.removeprefix("--color=") for word in words if word.startswith("--color=")]
    if Color.ALWAYS.value in said:
        return True
    return False if Color.NEVER.value in said or os.environ.get("NO_COLOR") else None


_NOTED: dict[str, Callable[[click.Context, click.Parameter, Any], None]] = {
    "verbose": _note("verbosity", lambda _: 1),
    "quiet": _note("verbosity", lambda _: -1),
    "json": _note("as_json", bool),
    "color": _note("color", Color),
    "log": _note("log_file", Path),
    "config": _note("config_file", Path),
    "board": _note("boards", tuple),
}
"""What becomes of the options that stand before and behind every command."""


def global_options(command: Decorated) -> Decorated:
    """Add the options that stand before and behind every command."""
    for option in reversed(OUTPUT):
        said = in_clicks_words(option) | {"default": None, "expose_value": False, "callback": _NOTED[option.name]}
        command = click.option(*flags(option), **said)(command)
    return command


_SAID_BY_ENVIRONMENT = {each.field for each in REACH if each.name != "gdb"} | {"board", "config"}
"""Of these a variable of the environment may say what the command line does not. GDBFLASH_GDB is heeded elsewhere."""


def flags(option: Option) -> tuple[str, ...]:
    """Give the words of an option, and the name that what is said is kept by."""
    if option.kind is Kind.SWITCH:
        return (f"--{option.name}/--no-{option.name}", option.field)
    return (*option.flags, option.field)


def type_of(of: Option | Argument) -> click.ParamType | None:  # type: ignore[type-arg]
    """Say in click's words what a value has to be."""
    if isinstance(of, Option) and of.choices:
        return click.Choice(list(of.choices))
    if of.names is Files.FILE and not (isinstance(of, Argument) and of.many):
        return click.Path(path_type=Path)
    return None if of.parse is str else Parsed(of.metavar.lower(), of.parse)


def in_clicks_words(option: Option) -> dict[str, Any]:
    """Say an option in click's words."""
    said: dict[str, Any] = {"help": f"{option.help}."}
    if option.field in _SAID_BY_ENVIRONMENT:
        said["envvar"] = f"GDBFLASH_{option.field.upper()}"
    if option.kind is Kind.FLAG:
        return {**said, "is_flag": True}
    if option.kind is Kind.SWITCH:
        return {**said, "default": option.default}
    said |= {"type": type_of(option), "metavar": option.metavar, "required": option.required, "default": option.default}
    if option.kind is Kind.VALUES:
        said |= {"multiple": True, "default": ()}
    return said
