"""How a target is reached, taken and left: what was said, filled in from config files, for each of the boards named.

What belongs here: making a command of a row, and one `Reach` for each board. Finding and reading config files is in
`config`, the order of their tables in `configured`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from gdbflash.cli.config import ALL
from gdbflash.cli.members import chosen
from gdbflash.cli.options import flags, global_options, in_clicks_words, type_of
from gdbflash.cli.settings import Settings
from gdbflash.commands.choices import loaders_named, run_options
from gdbflash.commands.grammar import Command, FrontEnd, Kind, Option
from gdbflash.commands.shared_options import REACH
from gdbflash.commands.table import REPORT, command_named, options_of
from gdbflash.commands.words import parse_image
from gdbflash.errors import InputError
from gdbflash.events import Detailed
from gdbflash.host.storage import STDIN
from gdbflash.loaders.library import AUTO, found_by_name, installed
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.options import Kept, RunOptions
from gdbflash.ranges import Range
from gdbflash.servers.profiles import profile_named, started_with


@dataclass(frozen=True)
class Reach:
    """How a target is reached, taken and left, as said on the command line."""

    server: str
    connect: str | None
    tcl: int | None
    launch: str | None
    probe: str | None
    gdb: str | None
    loader: tuple[Path, ...]
    ram: Range | None
    static_base: int | None
    expect_unit: str | None
    kept: str | None
    before: str | None
    after: str | None
    timeout_scale: float
    irq: bool
    ignore_init_result: bool
    is_named: bool
    """Whether --connect or --launch was typed: a dry run looks at the target then."""
    members: tuple[Member, ...] = ()
    """The boards that this process is for."""

    def loaders(self) -> tuple[ExternalLoader, ...]:
        """Read the loader files; raises InputError when none was named, PlanError, LoaderFileError."""
        if not self.loader:
            raise InputError(
                "No loader was given. Name the .stldr of your board's memory with -l FILE, or a board of gdbflash.toml "
                "with -b NAME."
            )
        return loaders_named(self.loader)

    @property
    def started_with(self) -> str | None:
        """The server's arguments, where it is to be started; raises InputError."""
        if self.launch is None:
            return None
        profile = profile_named("openocd" if self.server == "auto" else self.server)
        return started_with(profile, self.launch, self.probe)

    @property
    def patience(self) -> float:
        """The factor on time-outs of gdb and servers, which a smaller one than 1 would only make fail."""
        return max(1.0, self.timeout_scale)

    def run_options(self, loaders: tuple[ExternalLoader, ...]) -> RunOptions:
        """Fill in what was left open."""
        return run_options(loaders, vars(self))


@dataclass(frozen=True)
class Member:
    """One of the boards that a command is for."""

    name: str
    """Empty where it was not named, and is the only one."""
    reach: Reach
    said: dict[str, Any]
    """What else was said, by the names of the command's options and arguments."""


Carried = Callable[..., Any]


def command(group: click.Group, name: str) -> Callable[[Carried], click.Command]:
    """Add a command as `commands.table` describes it; its function gets Settings and what was said, by name.

    That of a command that reaches a target gets a Reach too, as `reach`.
    """
    row = command_named(name)

    def made(function: Carried) -> click.Command:
        has_loader = row.reaches or any(each.name in ("loader", "folders") for each in row.arguments)
        wrapped: Carried = click.pass_obj(_with_config(function) if has_loader else function)
        for option in reversed(options_of(row, FrontEnd.COMMAND_LINE)):
            wrapped = click.option(*flags(option), **in_clicks_words(option))(wrapped)
        for argument in reversed(row.arguments):
            wrapped = click.argument(
                argument.name,
                metavar=f"[{argument.metavar}]..."
                if argument.optional and argument.many
                else f"{argument.metavar}{'...' * argument.many}",
                type=type_of(argument),
                nargs=-1 if argument.many else 1,
                required=not argument.may_be_missing(FrontEnd.COMMAND_LINE),
            )(wrapped)
        return group.command(name, help=row.summary)(global_options(wrapped))

    return made


def _with_config(function: Carried) -> Carried:
    """Fill in from config files what the command line left open, and gather what reaches a target into one value."""

    @functools.wraps(function)
    @click.pass_context
    def gathered(ctx: click.Context, /, settings: Settings, **said: Any) -> Any:
        row = command_named(ctx.command.name or "")
        if not row.reaches:
            if not any(said.get(each) for each in ("loader", "folders")):  # else a broken config file is no reason
                _configure(ctx, settings, said)
            return function(settings, **said)
        members = [Member(each, *_reach(ctx, settings, mine)) for each, mine in _of_each(settings, said)]
        first = members[0]
        if len(members) > 1:
            expect_for_many(row, members)
        return function(settings, reach=replace(first.reach, members=tuple(members)), **first.said)

    return gathered


def loader_folders(settings: Settings) -> tuple[Path, ...]:
    """Name the folders where loaders are looked for: of the environment, config files, and the vendor's tools."""
    said = [Path(each) for each in os.environ.get("GDBFLASH_LOADER_PATH", "").split(os.pathsep) if each]
    return (*said, *settings.loader_path, *installed())


def _found(settings: Settings, path: Path) -> Path:
    """Give the file that -l means: one that is there, else one of that name in a folder of loaders."""
    if len(path.parts) != 1 or path.exists() or str(path) == AUTO:
        return path
    folders = loader_folders(settings)
    return found_by_name(str(path), folders) if folders else path


def expect_for_many(row: Command, members: Sequence[Member]) -> None:
    """Raise InputError for what makes no sense with many boards."""
    named = f"and {len(members)} are named"
    if REPORT not in row.options:
        raise InputError(f"{row.name} takes one board at a time, {named}. Name one.")
    for each in members:
        if each.reach.kept not in (None, Kept.ASK.value):
            raise InputError(
                f"--kept {each.reach.kept} decides about one board, {named}. Leave it out, and say it of the board "
                "that stops because of kept bytes."
            )
        if any(parse_image(image)[0].as_posix() == STDIN for image in each.said.get("images", ())):
            raise InputError(f"{len(members)} boards cannot all read the image from stdin. Name a file.")
        for name in ("launch", "tcl") if each.reach.connect == each.name else ():
            if getattr(each.reach, name) is not None:
                raise InputError(f"--{name} is for one server, {named}. Leave it out.")


def _of_each(settings: Settings, said: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what was said for each board that this process is for, with the board's name; raises InputError."""
    places, tables = tuple(said["connect"]), settings.boards
    if ALL in tables:
        settings.boards = ()
        tables = board_names(settings)
    if len(tables) > 1 and places:
        raise InputError(f"{len(tables)} boards are named, and --connect says where one is. Leave it out.")
    names = chosen(tables if len(tables) > 1 else places)
    settings.boards = tables
    if not names:
        yield "", {**said, "connect": None}
    for name in names:
        if len(tables) > 1:
            settings.boards = (name,)
            yield name, {**said, "connect": None}
        else:
            yield name, {**said, "connect": name}


def _reach(ctx: click.Context, settings: Settings, said: dict[str, Any]) -> tuple[Reach, dict[str, Any]]:
    """Fill in from config files, and take what reaches a target out of it; gives the rest too. Raises InputError."""
    named = any(said.get(name) is not None for name in ("connect", "launch"))
    _configure(ctx, settings, said)
    said["loader"] = tuple(_found(settings, each) for each in said["loader"])
    return _taken_out(said, named), said


def _taken_out(said: dict[str, Any], named: bool) -> Reach:
    """Take what reaches a target out of all that was said."""
    ours = {"is_named", "members"}
    fields = {name: said.pop(name, None) for name in Reach.__dataclass_fields__ if name not in ours}
    return Reach(**fields, is_named=named)


def reach_of(settings: Settings, board: str) -> tuple[Reach, str]:
    """Give how a board of the config files is reached, and what else they say of it; raises InputError."""
    said: dict[str, Any] = {each.field: () if each.kind is Kind.VALUES else each.default for each in REACH}
    values = configured(settings, board)
    said |= {"connect": None, **{name: value for name, value in values.items() if name in said}}
    return _taken_out(said, False), str(values.get("notes", ""))


def board_names(settings: Settings) -> tuple[str, ...]:
    """Name the boards that were named, or all that config files have; raises InputError where there are none."""
    from gdbflash.cli.configured import files

    names = settings.boards or files(settings.config_file, working_directory()).boards
    if not names:
        raise InputError(
            "No config file names a board. Write a table [board.NAME] into gdbflash.toml: `gdbflash help options` "
            "shows how."
        )
    return names


def configured(settings: Settings, board: str | None) -> dict[str, Any]:
    """Give what config files say of a board, or of any, by the options' fields; raises InputError."""
    from gdbflash.cli.configured import files, settled  # only some commands read them

    layers = files(settings.config_file, working_directory()).layers(board)
    values = settled(layers, _converted)
    for layer in layers:
        whose = f" for the board {layer.board}" if layer.board else ""
        settings.observe(Detailed("config", f"Options come from {layer.config.path}{whose}: {', '.join(layer.values)}"))
    return values


def _converted(option: Option, text: str) -> Any:
    kind = type_of(option)
    try:
        return text if kind is None else kind.convert(text, None, None)
    except click.BadParameter as error:
        raise InputError(error.message) from error


def _configure(ctx: click.Context, settings: Settings, said: dict[str, Any]) -> None:
    """Fill in from the config files what the command line left open; raises InputError naming file and key."""
    if len(settings.boards) > 1:
        raise InputError("Several boards were named, and one command works on one.")
    values = configured(settings, settings.boards[0] if settings.boards else None)
    settings.loader_path = values.get("loader_path", ())
    for name, value in values.items():
        source = ctx.get_parameter_source(name)  # None where the command has no such option
        if source is None or name not in said:
            continue
        if name == "images":
            if ctx.command.name == "load" and not said[name]:
                said[name] = tuple(map(str, value))
        elif source.name == "DEFAULT":
            said[name] = value


def working_directory() -> Path | None:
    """Give the folder in which a config file is looked for; None where it was deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None
