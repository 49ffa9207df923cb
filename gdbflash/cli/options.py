"""The options that commands share, and the settings they fill.

What belongs here: parameter types, option groups, and what was said with them. What commands do is in `main`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

from gdbflash import __version__
from gdbflash.cli.console import Console
from gdbflash.commands.words import parse_address, parse_factor, parse_number, parse_range
from gdbflash.errors import GdbflashError, InputError
from gdbflash.events import Detailed, Event, Noted
from gdbflash.loaders.stldr import ExternalLoader, load_loader
from gdbflash.options import After, Before, CallOptions, RunOptions
from gdbflash.plan.jobs import check_apart
from gdbflash.ranges import Range
from gdbflash.servers.profiles import SERVERS

if TYPE_CHECKING:
    from gdbflash.runlog import RunLog

Command = TypeVar("Command", bound=Callable[..., Any])


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


NUMBER = Parsed("number", parse_number)
ADDRESS = Parsed("address", parse_address)
FACTOR = Parsed("factor", parse_factor)
RANGE = Parsed("start:size", parse_range)


@dataclass
class Settings:
    """What the global options said; they may stand before or after the command."""

    verbosity: int = 0
    as_json: bool = False
    log_file: Path | None = None
    config_file: Path | None = None
    words: Sequence[str] = ()
    """The command line without the program's name."""
    log: RunLog | None = field(default=None, repr=False)
    _console: Console | None = field(default=None, repr=False)

    @property
    def console(self) -> Console:
        """The console for these settings, made when first needed: after all options were read."""
        if self._console is None:
            self._console = Console(as_json=self.as_json, verbosity=self.verbosity)
        return self._console

    def begin(self) -> None:
        """Begin the log where one is wanted; raises InputError, OutputError."""
        if self.log_file is not None:
            from gdbflash.runlog import RunLog  # only here: most commands keep no log

            self.log = RunLog(self.log_file, __version__, self.words)

    def end(self, exit_code: int, error: GdbflashError | None) -> None:
        """End the log with what came of the run; one that could not be kept is worth a word."""
        if self.log is None:
            return
        self.log.end(f"exit code {exit_code}", error)
        if self.log.failure:
            self.console.observe(Noted("log-ended", f"{self.log_file} is not whole: {self.log.failure}."))

    def observe(self, event: Event) -> None:
        """Show an event, and log it."""
        self.console.observe(event)
        if self.log is not None:
            self.log.observe(event)


class LoggedCommand(click.RichCommand):
    """A command whose log begins when all its options are read: not over a file that is named by mistake."""

    def invoke(self, ctx: click.Context) -> Any:
        """Begin the log and run the command."""
        ctx.ensure_object(Settings).begin()
        return super().invoke(ctx)


class Commands(click.RichGroup):
    """The commands together."""

    command_class = LoggedCommand


def _note(name: str, value_of: Callable[[Any], Any]) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        if value:
            setattr(ctx.ensure_object(Settings), name, value_of(value))

    return callback


def global_options(command: Command) -> Command:
    """Add -v, -q, --json, --log and --config."""
    for option in (
        click.option(
            "-v",
            "--verbose",
            is_flag=True,
            expose_value=False,
            callback=_note("verbosity", lambda _: 1),
            help="Say also what is found and done on the way: each call, the RAM, the server.",
        ),
        click.option(
            "-q",
            "--quiet",
            is_flag=True,
            expose_value=False,
            callback=_note("verbosity", lambda _: -1),
            help="Say nothing but errors.",
        ),
        click.option(
            "--json",
            is_flag=True,
            expose_value=False,
            callback=_note("as_json", bool),
            help="One JSON object a line on stdout.",
        ),
        click.option(
            "--log",
            type=click.Path(dir_okay=False, path_type=Path),
            expose_value=False,
            callback=_note("log_file", Path),
            help="Write all traffic with gdb and servers, time-stamped, to FILE: for bug reports.",
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            metavar="FILE",
            expose_value=False,
            callback=_note("config_file", Path),
            help="Take options from FILE; else from gdbflash.toml or pyproject.toml of the project.",
        ),
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class Reach:
    """How a target is reached, taken and left, as said on the command line."""

    server: str
    connect: str | None
    tcl: int | None
    launch: str | None
    gdb: str | None
    loader_files: tuple[Path, ...]
    ram: Range | None
    before: str | None
    after: str | None
    timeout_scale: float
    irq: bool
    ignore_init_result: bool

    def loaders(self) -> tuple[ExternalLoader, ...]:
        """Read the loader files; raises InputError when none was named or two are for one memory, LoaderFileError."""
        if not self.loader_files:
            raise InputError("No loader was given. Name the .stldr of your board's memory with -l FILE.")
        loaders = tuple(load_loader(path) for path in self.loader_files)
        check_apart(loaders)
        return loaders

    def run_options(self, loaders: tuple[ExternalLoader, ...]) -> RunOptions:
        """Fill in the defaults that depend on one another and on the kind of storage."""
        after = After(self.after or ("halt" if any(each.storage.is_ram for each in loaders) else "reset"))
        before = Before(self.before or ("none" if after is After.RESTORE else "reset"))
        calls = CallOptions(self.ram, self.irq, self.ignore_init_result, self.timeout_scale)
        return RunOptions(before, after, calls)


_REACH_OPTIONS = (
    click.option("--server", type=click.Choice(SERVERS), default="auto", show_default=True, help="The GDB server."),
    click.option("--connect", metavar="HOST:PORT", help="Where it listens, or a serial device."),
    click.option("--tcl", type=click.IntRange(1, 65535), metavar="PORT", help="OpenOCD's Tcl port."),
    click.option("--launch", metavar="ARGS", help="Start the server with these arguments and stop it afterwards."),
    click.option("--gdb", metavar="PATH", help="The gdb to use."),
    click.option(
        "-l",
        "--loader",
        "loader_files",
        type=click.Path(path_type=Path),
        multiple=True,
        metavar="FILE",
        help="A .stldr; repeat it, one per memory.",
    ),
    click.option("--ram", type=RANGE, metavar="START:SIZE", help="RAM to use, where the device is not known."),
    click.option("--before", type=click.Choice([each.value for each in Before]), help="How the target is taken."),
    click.option("--after", type=click.Choice([each.value for each in After]), help="How the target is left."),
    click.option(
        "--timeout-scale",
        type=FACTOR,
        default="1",
        metavar="X",
        help="Multiply every time-out.",
    ),
    click.option("--irq/--no-irq", default=False, help="Let the loader take interrupts."),
    click.option(
        "--ignore-init-result/--no-ignore-init-result", default=False, help="Go on although Init did not return 1."
    ),
)


def reach_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that reach a target; the command gets them as `reach`."""

    @click.pass_context
    @functools.wraps(command)
    def gathered(ctx: click.Context, *args: Any, **kwargs: Any) -> Any:
        fields = {name: kwargs.pop(name) for name in Reach.__dataclass_fields__}
        _configure(ctx, fields)
        return command(*args, reach=Reach(**fields), **kwargs)

    wrapped: Callable[..., Any] = gathered
    for option in reversed(_REACH_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def _configure(ctx: click.Context, fields: dict[str, Any]) -> None:
    """Fill in from the config file what the command line left open; raises InputError naming file and key."""
    from gdbflash.cli.config import load_config  # only commands on a target have one

    settings = ctx.ensure_object(Settings)
    config = load_config(settings.config_file, Path.cwd())
    if config is None:
        return
    known = {max(each.opts, key=len).lstrip("-"): each for each in ctx.command.params if each.name in fields}
    for key, value in config.values.items():
        if key not in known:
            raise InputError(
                f"{config.path}: {key} is no option that a file may have; those are {', '.join(sorted(known))}.",
                path=str(config.path),
                key=key,
            )
        try:
            checked = _value(known[key], value, config.path.parent, ctx)
        except (click.BadParameter, InputError) as error:
            raise InputError(
                f"{config.path}: {key}: {error.message.rstrip('.')}.", path=str(config.path), key=key
            ) from error
        name = known[key].name or ""
        source = ctx.get_parameter_source(name)
        if source is not None and source.name == "DEFAULT":
            fields[name] = checked
    for key in config.ignored:
        message = f"{key} in {config.path} does not count, since nobody named that file: add --config {config.path}."
        settings.observe(Noted("config-ignored", message, {"path": str(config.path), "key": key}))
    settings.observe(Detailed("config", f"Options come from {config.path}: {', '.join(config.values)}"))


def _value(parameter: click.Parameter, value: Any, folder: Path, ctx: click.Context) -> Any:
    """Check a value of a config file by its option; raises InputError, BadParameter."""
    try:
        shown = repr(value)
    except ValueError as error:  # a file may write it in hex, but Python not in decimal
        raise InputError("a number in it has too many digits") from error
    if parameter.name == "loader_files":
        files = [value] if isinstance(value, str) else value
        if not isinstance(files, list) or not all(isinstance(each, str) for each in files):
            raise InputError(f"{shown} is no file name and no list of them")
        return tuple(folder / each for each in files)
    wanted: str
    kinds: tuple[type, ...]
    if isinstance(parameter, click.Option) and parameter.is_flag:
        wanted, kinds = "true or false", (bool,)
    elif parameter.type is FACTOR:
        wanted, kinds = "a number", (int, float)
    elif isinstance(parameter.type, click.IntRange):
        wanted, kinds = "a whole number", (int,)
    else:
        wanted, kinds = "a text in quotes", (str,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise InputError(f"{shown} is not {wanted}")
    return value if isinstance(value, bool) else parameter.type.convert(str(value), parameter, ctx)
