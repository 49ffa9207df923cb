"""The rows of `commands.table` as click's commands, and the settings that options fill.

What belongs here: how words, config files and global options become values. What commands do is in `main`.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gdbflash.cli.config import ALL
from gdbflash.cli.console import Console
from gdbflash.cli.members import MEMBER, chosen, log_of
from gdbflash.commands.grammar import Argument, Command, Files, FrontEnd, Kind, Option
from gdbflash.commands.help import of_all, of_command, usage
from gdbflash.commands.requests import loaders_named, run_options
from gdbflash.commands.shared_options import OUTPUT, REACH
from gdbflash.commands.table import COMMANDS, REPORT, command_named, options_of
from gdbflash.commands.words import STDIN, nearest, parse_image
from gdbflash.errors import GdbflashError, InputError
from gdbflash.events import BOARD, Detailed, Event, Noted
from gdbflash.loaders.library import AUTO, found_by_name, installed
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.options import Color, Kept, RunOptions
from gdbflash.ranges import Range
from gdbflash.servers.profiles import profile_named, started_with
from gdbflash.version import VERSION

if TYPE_CHECKING:
    from gdbflash.commands.run_record import Record, ReportFile
    from gdbflash.runlog import RunLog

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


@dataclass
class Settings:
    """What the global options said; they may stand before or after the command."""

    verbosity: int = 0
    as_json: bool = False
    color: Color = Color.AUTO
    log_file: Path | None = None
    config_file: Path | None = None
    boards: tuple[str, ...] = ()
    """Those of the config files that are meant."""
    loader_path: tuple[Path, ...] = ()
    """Folders of loaders that config files name."""
    told_of_config: bool = MEMBER in os.environ
    """What does not count in config files was said, by this process or by the one that it is a part of."""
    words: Sequence[str] = ()
    """The command line without the program's name."""
    log: RunLog | None = field(default=None, repr=False)
    record: Record = field(default_factory=dict, repr=False)
    """What is known of the run that `result` and a report tell of it: version, files, board."""
    report: ReportFile | None = None
    _console: Console | None = field(default=None, repr=False)

    @property
    def console(self) -> Console:
        """The console for these settings, made when first needed: after all options were read."""
        if self._console is None:
            self._console = Console(as_json=self.as_json, verbosity=self.verbosity, color=self.color)
        return self._console

    def begin(self) -> None:
        """Begin the log where one is wanted; raises InputError, OutputError."""
        if self.log_file is not None:
            from gdbflash.runlog import RunLog  # only here: most commands keep no log

            self.log_file = log_of(self.log_file)
            self.log = RunLog(self.log_file, VERSION, self.words)

    def end(self, exit_code: int, error: GdbflashError | None) -> None:
        """End the log with what came of the run; one that could not be kept is worth a word."""
        if self.log is None:
            return
        self.log.end(f"exit code {exit_code}", error)
        if self.log.failure:
            self.console.observe(Noted("log-ended", f"{self.log_file} is not whole: {self.log.failure}."))

    def observe(self, event: Event) -> None:
        """Show an event, and log it; of a board that was reached its identity is kept for the record."""
        if isinstance(event, Detailed) and event.code == BOARD:
            self.record |= event.data
        self.console.observe(event)
        if self.log is not None:
            self.log.observe(event)


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
        said = _settings(option) | {"default": None, "expose_value": False, "callback": _NOTED[option.name]}
        command = click.option(*_flags(option), **said)(command)
    return command


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
_SAID_BY_ENVIRONMENT = {each.field for each in REACH if each.name != "gdb"} | {"board", "config"}
"""Of these a variable of the environment may say what the command line does not. GDBFLASH_GDB is heeded elsewhere."""


def command(group: click.Group, name: str) -> Callable[[Carried], click.Command]:
    """Add a command as `commands.table` describes it; its function gets Settings and what was said, by name.

    That of a command that reaches a target gets a Reach too, as `reach`.
    """
    row = command_named(name)

    def made(function: Carried) -> click.Command:
        has_loader = row.reaches or any(each.name in ("loader", "folders") for each in row.arguments)
        wrapped: Carried = click.pass_obj(_with_config(function) if has_loader else function)
        for option in reversed(options_of(row, FrontEnd.COMMAND_LINE)):
            wrapped = click.option(*_flags(option), **_settings(option))(wrapped)
        for argument in reversed(row.arguments):
            wrapped = click.argument(
                argument.name,
                metavar=f"[{argument.metavar}]..."
                if argument.optional and argument.many
                else f"{argument.metavar}{'...' * argument.many}",
                type=_type(argument),
                nargs=-1 if argument.many else 1,
                required=not argument.may_be_missing(FrontEnd.COMMAND_LINE),
            )(wrapped)
        return group.command(name, help=row.summary)(global_options(wrapped))

    return made


def _flags(option: Option) -> tuple[str, ...]:
    if option.kind is Kind.SWITCH:
        return (f"--{option.name}/--no-{option.name}", option.field)
    return (*option.flags, option.field)


def _type(of: Option | Argument) -> click.ParamType | None:  # type: ignore[type-arg]
    if isinstance(of, Option) and of.choices:
        return click.Choice(list(of.choices))
    if of.names is Files.FILE and not (isinstance(of, Argument) and of.many):
        return click.Path(path_type=Path)
    return None if of.parse is str else Parsed(of.metavar.lower(), of.parse)


def _settings(option: Option) -> dict[str, Any]:
    """Say an option in click's words."""
    said: dict[str, Any] = {"help": f"{option.help}."}
    if option.field in _SAID_BY_ENVIRONMENT:
        said["envvar"] = f"GDBFLASH_{option.field.upper()}"
    if option.kind is Kind.FLAG:
        return {**said, "is_flag": True}
    if option.kind is Kind.SWITCH:
        return {**said, "default": option.default}
    said |= {"type": _type(option), "metavar": option.metavar, "required": option.required, "default": option.default}
    if option.kind is Kind.VALUES:
        said |= {"multiple": True, "default": ()}
    return said


def _with_config(function: Carried) -> Carried:
    """Fill in from config files what the command line left open, and gather what reaches a target into one value."""

    @functools.wraps(function)
    @click.pass_context
    def gathered(ctx: click.Context, /, settings: Settings, **said: Any) -> Any:
        row = command_named(ctx.command.name or "")
        if not row.reaches:
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
        if any(str(parse_image(image)[0]) == STDIN for image in each.said.get("images", ())):
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
    for name in names or ("",):
        if len(tables) > 1:
            settings.boards = (name,)
            yield name, {**said, "connect": None}
        else:
            yield name, {**said, "connect": name or None}


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

    found = files(settings.config_file, working_directory())
    layers = found.layers(board)
    for config in found.configs:
        for key in config.ignored if not settings.told_of_config else ():
            message = (
                f"{key} in {config.path} does not count, since nobody named that file: add --config {config.path}."
            )
            settings.observe(Noted("config-ignored", message, {"path": str(config.path), "key": key}))
    values = settled(layers, _converted)
    settings.told_of_config = True
    for layer in layers:
        whose = f" for the board {layer.board}" if layer.board else ""
        settings.observe(Detailed("config", f"Options come from {layer.config.path}{whose}: {', '.join(layer.values)}"))
    return values


def _converted(option: Option, text: str) -> Any:
    kind = _type(option)
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
