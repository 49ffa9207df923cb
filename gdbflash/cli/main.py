"""The command line: arguments to calls, and what came of them to an exit code.

What belongs here: commands and exit codes. Options are in `options`, commands that are a request to a target in
`requesting`, the work in `flash.flasher`. What only commands on a target need is imported by them, so that `info` and
`--help` answer at once.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import get_completion_class

from gdbflash.cli.board import BoardOptions, run_board
from gdbflash.cli.console import failure
from gdbflash.cli.interruption import Interruption
from gdbflash.cli.loader_report import show_findings, show_loader
from gdbflash.cli.manual import chapter, topics
from gdbflash.cli.options import Commands, color_of_help, global_options, styled
from gdbflash.cli.reaching import Reach, board_names, command, loader_folders, reach_of
from gdbflash.cli.requesting import carry_out, flashing, quietly_reached, told
from gdbflash.cli.settings import Settings
from gdbflash.cli.streams import Outlet, outlets
from gdbflash.commands.grammar import FrontEnd
from gdbflash.commands.help import manual_page, of_all, of_command
from gdbflash.commands.requests import REQUESTS, Data
from gdbflash.commands.table import COMMANDS
from gdbflash.commands.words import nearest
from gdbflash.errors import (
    ConnectionLost,
    GdbflashError,
    InputError,
    Interrupted,
    OutputError,
    SetupError,
    TargetError,
)
from gdbflash.host.storage import STDIN
from gdbflash.loaders.stldr import describe, load_loader
from gdbflash.options import After, Before
from gdbflash.version import VERSION

if TYPE_CHECKING:
    pass

EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (InputError, 2),
    (SetupError, 3),
    (ConnectionLost, 3),
    (TargetError, 1),
    (OutputError, 1),
    (Interrupted, 130),
)
BUG = 70
"""EX_SOFTWARE of sysexits.h: an error that is ours."""


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="gdbflash")
@global_options
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Program external flash of STM32 boards by ST external loaders, through the GDB server you already have."""
    ctx.ensure_object(Settings)


@command(commands, "info")
def info(settings: Settings, loader: Path | tuple[Path, ...] | None) -> None:
    """Show a loader, or those of a config file."""
    for path in _named(loader):
        found = load_loader(path)
        if settings.as_json:
            settings.console.object(describe(found))
        else:
            show_loader(settings.console, found)


def _named(loader: Path | tuple[Path, ...] | None) -> tuple[Path, ...]:
    """Give the loader files that were named; raises InputError for none."""
    if not loader:
        raise InputError("No loader was given. Name a .stldr file, or have `loader` in gdbflash.toml name it.")
    return loader if isinstance(loader, tuple) else (loader,)


@command(commands, "loaders")
def loaders(settings: Settings, folders: tuple[str, ...]) -> Data:
    """List loader files."""
    from gdbflash.commands.choose_loader import Listed, listed
    from gdbflash.commands.words import file_named

    places = tuple(map(file_named, folders)) or loader_folders(settings)
    if not places:
        raise InputError(
            "No folder of loaders is known: there is no tool of the vendor's in its usual places. Name one, or have "
            "`loader-path` in gdbflash.toml name it."
        )
    found: list[Listed] = []
    for each in listed(places):
        settings.console.answer(each.line, "" if each.loader is not None else "yellow")
        found.append(each)
    if not found:
        settings.console.say(f"no loader files in {', '.join(map(str, places))}")
    return {"loaders": [each.data for each in found]}


@command(commands, "lint")
def lint(settings: Settings, loader: Path | tuple[Path, ...] | None, images: tuple[str, ...]) -> None:
    """Show what stands out in a loader, and in images for its memory."""
    from gdbflash.commands.lint import with_images

    for path in _named(loader):
        found = with_images(load_loader(path), images)
        if settings.as_json:
            settings.console.object({"path": found.path, "findings": describe(found)["findings"]})
            continue
        show_findings(settings.console, found)
        count = len(found.findings)
        settings.console.answer(f"{found.path}: {count or 'no'} finding{'s' * (count != 1)}")


def _requesting(name: str) -> None:
    """Add a command whose request `commands.requests` decides."""
    command(commands, name)(partial(carry_out, name))


for _name in REQUESTS:
    _requesting(_name)


@command(commands, "kept")
def kept(settings: Settings, reach: Reach, action: str | None, file: str | None, **said: Any) -> Data:
    """Look after recovery files."""
    from gdbflash.commands import kept as recovery

    if action == recovery.RESTORE:
        request = recovery.restore(reach.loaders(), file)
        return told(settings, request.carry_out(flashing(settings, reach, request.loaders)))
    return told(settings, recovery.look(action or "list", file, **said))


@command(commands, "doctor")
def doctor(settings: Settings, reach: Reach, report: Path | None, serials: bool) -> Data:
    """Show each check, and write a report of them; raises SetupError naming those that failed."""
    from gdbflash.cli.doctor import check_host
    from gdbflash.commands.doctor import Check, check_target, leave
    from gdbflash.commands.report import Report
    from gdbflash.mi.reach import reached

    checks: list[Check] = []
    file = None if report is None else Report(report, serials)

    def show(check: Check) -> None:
        checks.append(check)
        mark = {True: "ok", False: "MISSING", None: "-"}[check.ok]
        settings.console.answer(f"{mark:8}{check.name}: {check.message}", "red" if check.ok is False else "")
        if file is not None:
            file.checked(check)

    loaders = tuple(load_loader(path) for path in reach.loader)
    for check in check_host(reach.gdb):
        show(check)
    try:
        place = (reach.server, reach.connect, reach.started_with, reach.gdb, settings.log)
        with Interruption().installed(), reached(*place, settings.observe, reach.tcl, reach.patience) as target:
            try:
                if reach.before == Before.RESET.value:
                    target.reset_and_halt()
                for check in check_target(target, loaders, reach.ram):
                    show(check)
                if file is not None:
                    file.measure_link(target, loaders, writes=reach.before == Before.RESET.value)
            finally:  # interrupted, too, it is left as asked
                show(leave(target, After(reach.after or After.RUN)))
    except (SetupError, ConnectionLost) as error:
        show(Check("server", False, error.message))
    if file is not None:
        all_there = all(check.ok is not False for check in checks)
        file.finish(loaders if all_there else (), lambda: flashing(settings, reach, loaders, file.observe))
        settings.console.say(f"report  {file.path}")
    bad = [check.name for check in checks if check.ok is False]
    if bad:
        raise SetupError(
            f"Not all is there: see {', '.join(bad)} above.",
            checks=[{"name": each.name, "ok": each.ok, "message": each.message} for each in checks],
        )
    return {"checks": [{"name": each.name, "ok": each.ok, "message": each.message} for each in checks]}


@command(commands, "boards")
def boards(settings: Settings, schema: bool) -> Data | None:
    """List boards, or print the schema of what they are written in."""
    from gdbflash.cli import configured as files
    from gdbflash.cli.boards import Seen, look

    if schema:
        settings.console.plain(json.dumps(files.schema(), indent=2))
        return None
    found: list[Seen] = []
    for name in board_names(settings):
        reach, notes = reach_of(settings, name)
        with Interruption().installed():
            seen = look(name, notes, partial(quietly_reached, settings, reach), reach.expect_unit)
        for line in seen.lines:
            settings.console.answer(line)
        found.append(seen)
    return {"boards": [each.data for each in found]}


@command(commands, "board")
def board(settings: Settings, /, **options: Any) -> None:
    """Run a virtual board."""
    run_board(BoardOptions(**options), settings.console.plain)


@command(commands, "gdbinit")
def gdbinit(settings: Settings) -> None:
    """Print the path."""
    settings.console.plain(str(Path(__file__).parents[1] / "gdbinit.gdb"))


@command(commands, "integrate")
def integrate(settings: Settings, tool: str, output: Path | None) -> Data:
    """Print or write the files for a tool, and say what is to be done with them."""
    from gdbflash.integrations import tools

    folder = tools.place_in_repository(output) if output is not None else "gdbflash"
    texts = tools.filled(tool, _own_command(), folder)
    data: Data = {"files": dict(texts)}
    if output is not None:
        written = [str(path) for path in tools.write_new(output, texts)]
        data = {"written": list(written)}
        settings.console.say(f"done: {', '.join(written)} written")
    elif not settings.as_json:
        for path, text in texts.items():
            settings.console.plain(f"==> {path} <==\n{text}" if len(texts) > 1 else text.rstrip("\n"))
    settings.console.tell(tools.next_steps(tool, folder))
    return data


def _own_command() -> list[str]:
    """Give what starts this gdbflash from anywhere: the script that pip made beside its Python, or that Python."""
    script = Path(sys.executable).parent / "gdbflash"
    return [str(script)] if script.is_file() else [sys.executable, "-m", "gdbflash"]


@command(commands, "completion")
def completion(settings: Settings, shell: str) -> None:
    """Print a shell's script; click makes it."""
    found = get_completion_class(shell)
    assert found is not None, shell
    settings.console.plain(found(commands, {}, "gdbflash", "_GDBFLASH_COMPLETE").source())


@command(commands, "help")
def help_(settings: Settings, subject: str | None, man: bool) -> None:
    """Show help of a command, or a chapter of the manual."""
    known = {each.name: each for each in COMMANDS if each.is_in(FrontEnd.COMMAND_LINE)}
    row, chapters = known.get(subject or ""), topics()
    if subject in chapters and not man:
        settings.console.markdown(chapter(subject))
        return
    if subject is not None and row is None:
        near = nearest(subject, [*known, *chapters])
        meant = f" Did you mean {near!r}?" if near else ""
        raise InputError(f"There is no help on {subject!r}.{meant} `gdbflash help` names all there is.")
    if man:
        settings.console.plain(manual_page(row, VERSION))
    else:
        text = of_command(row) if row is not None else of_all(tuple(chapters.items()))
        click.echo(styled(text), color=click.get_current_context().color)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    # What begins with a dash would be taken for an option.
    words = [
        f"{STDIN}{word[1:]}" if word.startswith("-@") else word for word in (sys.argv[1:] if argv is None else argv)
    ]
    # Usage errors come before all options are read, and programs want them as JSON all the same.
    settings = Settings(as_json="--json" in words, words=words)
    with outlets() as stdout:
        code = _ended(settings, stdout)
        lost = stdout.loss() if code == 0 else None
        if lost is not None:  # with the last line of all
            settings.console.error(lost)
            return _code_of(lost)
    return code


def _ended(settings: Settings, stdout: Outlet) -> int:
    """Run a command and tell its end to people, log and programs; gives the exit code."""
    started = time.monotonic()
    outcome, error = _run(settings)
    code = outcome if isinstance(outcome, int) else 0
    if code == 0 and error is None:
        error = stdout.loss()
    if error is not None:
        code = _code_of(error)
        outcome = {"error": failure(error)}
        settings.console.error(error)
    if isinstance(outcome, dict):
        told = {"ok": code == 0, "exit_code": code, "seconds": round(time.monotonic() - started, 3)}
        outcome = {**told, **settings.record, **outcome}
        lost = _reported(settings, outcome)
        if lost is not None and code == 0:
            code, error = _code_of(lost), lost
            outcome |= {"ok": False, "exit_code": code, "error": failure(lost)}
    settings.end(code, error)
    if isinstance(outcome, dict):
        settings.console.result(outcome)
    return code


def _reported(settings: Settings, run: Data) -> OutputError | None:
    """Write the report that is wanted; gives what went wrong, and shows it."""
    if settings.report is None:
        return None
    try:
        boards = run.get("boards")
        settings.report.write(
            [each for each in boards if isinstance(each, dict)] if isinstance(boards, list) else [run]
        )
    except OutputError as error:
        settings.console.error(error)
        return error
    return None


def _code_of(error: GdbflashError) -> int:
    return next((number for kind, number in EXIT_CODES if isinstance(error, kind)), BUG)


def _run(settings: Settings) -> tuple[Any, GdbflashError | None]:
    """Run a command; gives its data, or click's own exit code, or None, and what went wrong."""
    try:
        color = color_of_help(settings.words)
        words = [*settings.words]
        outcome = commands.main(words, "gdbflash", standalone_mode=False, obj=settings, color=color)
    except click.ClickException as usage:
        return None, InputError(_usage(usage))
    except (KeyboardInterrupt, click.Abort):
        return None, Interrupted("Interrupted; the target was left as asked where it could be reached.")
    except GdbflashError as failed:
        return None, failed
    except Exception as bug:
        settings.console.stop_progress()
        traceback.print_exc(file=sys.stderr)
        if settings.log is not None:
            settings.log("bug", traceback.format_exc())
        return None, GdbflashError(f"This is a bug of gdbflash, please report it: {type(bug).__name__}: {bug}")
    return outcome, None


def _usage(error: click.ClickException) -> str:
    """Say what is wrong with a command line, and where its help is."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if isinstance(error, click.NoSuchOption) and error.option_name[1:2].isdigit():
        return f"{error.option_name} is no option, and no number here can be negative."
    place = f" See {context.command_path} --help." if context is not None else ""
    return f"{error.format_message()}{place}"
