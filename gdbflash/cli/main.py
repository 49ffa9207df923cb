"""The command line: arguments to calls, and what came of them to an exit code.

What belongs here: commands and exit codes. Options are in `options`, the work in `flash.flasher`. What only commands
on a target need is imported by them, so that `info` and `--help` answer at once.
"""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from gdbflash import __version__
from gdbflash.cli.board import FAULTS, BoardOptions, run_board
from gdbflash.cli.console import failure
from gdbflash.cli.interruption import Interruption
from gdbflash.cli.loader_report import show_findings, show_loader
from gdbflash.cli.options import ADDRESS, NUMBER, Commands, Reach, Settings, global_options, reach_options
from gdbflash.cli.streams import Outlet, outlets
from gdbflash.commands.words import load_images, loader_for, only, parse_number, place, whole_range
from gdbflash.errors import (
    ConnectionLost,
    GdbflashError,
    InputError,
    Interrupted,
    JsonValue,
    OutputError,
    SetupError,
    TargetError,
)
from gdbflash.events import Event, Started, counted
from gdbflash.loaders.stldr import ExternalLoader, describe, load_loader
from gdbflash.options import After, Before, VerifyMode
from gdbflash.plan.jobs import EraseMode, need, plan_chip_erase, plan_erase, plan_verify, plan_write
from gdbflash.plan.summary import planned

if TYPE_CHECKING:
    from gdbflash.flash.flasher import Flasher, Report

Data = dict[str, JsonValue]

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

click.rich_click.TEXT_MARKUP = "markdown"

_ABOVE_ZERO = click.FloatRange(min=0, min_open=True)
_SCALE = click.FloatRange(min=0, min_open=True, max=1000)
"""A chip erase of 40 s takes half a day then; systems cannot wait for much longer."""


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gdbflash")
@global_options
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Program external flash of STM32 boards by ST external loaders, through the GDB server you already have."""
    ctx.ensure_object(Settings)


@contextlib.contextmanager
def flashing(settings: Settings, reach: Reach, loaders: tuple[ExternalLoader, ...]) -> Iterator[Flasher]:
    """Reach the target and give a flasher for it while the body runs."""
    from gdbflash.flash.flasher import Flasher
    from gdbflash.mi.reach import reached

    interruption = Interruption()
    options = reach.run_options(loaders)

    def observe(event: Event) -> None:
        if isinstance(event, Started):  # connecting halts the core: from then on it has to be left as asked
            interruption.patient = True
        settings.observe(event)

    place = (reach.server, reach.connect, reach.launch, reach.gdb, settings.log)
    with (
        interruption.installed(),
        reached(*place, observe, reach.tcl) as target,
        Flasher(target, options, observe, lambda: interruption.requested) as flasher,
    ):
        yield flasher


@commands.command()
@click.argument("loader", type=click.Path(path_type=Path))
@global_options
@click.pass_obj
def info(settings: Settings, loader: Path) -> None:
    """Say what LOADER says of itself: storage, sectors, functions, segments, findings. Needs no target."""
    found = load_loader(loader)
    if settings.as_json:
        settings.console.object(describe(found))
        return
    show_loader(settings.console, found)


@commands.command()
@click.argument("loader", type=click.Path(path_type=Path))
@global_options
@click.pass_obj
def lint(settings: Settings, loader: Path) -> None:
    """Say what the author or user of LOADER should know about it. Needs no target."""
    found = load_loader(loader)
    if settings.as_json:
        settings.console.object({"path": found.path, "findings": describe(found)["findings"]})
        return
    show_findings(settings.console, found)
    count = len(found.findings)
    settings.console.say(f"{found.path}: {count or 'no'} finding{'s' * (count != 1)}")


@commands.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE[@ADDRESS]...")
@click.option("--erase", type=click.Choice([each.value for each in EraseMode]), help="What to erase before.")
@click.option(
    "--verify",
    type=click.Choice([each.value for each in VerifyMode]),
    default=VerifyMode.DIGEST.value,
    show_default=True,
    help="How to compare afterwards.",
)
@click.option("--full", is_flag=True, help="Write also what is there already.")
@click.option(
    "--keep/--no-keep",
    default=True,
    help="Keep bytes of touched sectors outside the image (default); without, all may be erased where that is quicker.",
)
@click.option("--dry-run", is_flag=True, help="Show the plan and end.")
@reach_options
@global_options
@click.pass_obj
def write(
    settings: Settings,
    images: tuple[str, ...],
    erase: str | None,
    verify: str,
    full: bool,
    keep: bool,
    dry_run: bool,
    reach: Reach,
) -> Data:
    """Erase what is needed, program and verify. A bin needs @ADDRESS; hex, srec and elf bring theirs."""
    loaders = reach.loaders()
    jobs = plan_write(loaders, load_images(images).blocks, erase=EraseMode(erase) if erase else None, keep=keep)
    if verify == VerifyMode.LOADER.value:
        for job in jobs:
            need(job.loader, "Verify")
    settings.observe(planned(jobs))
    if dry_run:
        return {"dry_run": True}
    with flashing(settings, reach, loaders) as flasher:
        report = flasher.write(jobs, VerifyMode(verify), full=full)
    settings.console.say(f"done: {report.in_words}, {counted(report.calls, 'call')}")
    return _numbers(report)


def _numbers(report: Report) -> Data:
    return {
        "bytes": report.bytes,
        "bytes_skipped": report.bytes_skipped,
        "calls": report.calls,
        "sectors_erased": report.sectors_erased,
        "verified": report.verified,
    }


@commands.command()
@click.argument("address", type=ADDRESS)
@click.argument("size")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="A .bin or .hex file.")
@reach_options
@global_options
@click.pass_obj
def read(settings: Settings, address: int, size: str, output: Path, reach: Reach) -> Data:
    """Read SIZE bytes (or `all`) from ADDRESS on into a file, which appears whole or not at all."""
    from gdbflash.images.output import OutputFile

    loaders = reach.loaders()
    loader, where = place(loaders, address, size)
    with OutputFile(output, where.address) as file:
        with flashing(settings, reach, loaders) as flasher:
            report = flasher.read(loader, where, file.write)
        file.commit()
    settings.console.say(
        f"done: {counted(report.bytes, 'byte')} from 0x{where.address:08X} in {output}, {counted(report.calls, 'call')}"
    )
    return {**_numbers(report), "file": str(output)}


@commands.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE[@ADDRESS]...")
@reach_options
@global_options
@click.pass_obj
def verify(settings: Settings, images: tuple[str, ...], reach: Reach) -> Data:
    """Compare the storage with images; exit code 1 names the first and last difference."""
    loaders = reach.loaders()
    jobs = plan_verify(loaders, load_images(images).blocks)
    with flashing(settings, reach, loaders) as flasher:
        report = flasher.verify(jobs)
    settings.console.say(
        f"done: {counted(report.bytes, 'byte')} compared, no difference, {counted(report.calls, 'call')}"
    )
    return _numbers(report)


@commands.command()
@click.argument("address", type=ADDRESS, required=False)
@click.argument("size", type=NUMBER, required=False)
@click.option("--chip", is_flag=True, help="Erase the whole storage by MassErase.")
@reach_options
@global_options
@click.pass_obj
def erase(settings: Settings, address: int | None, size: int | None, chip: bool, reach: Reach) -> Data:
    """Erase whole sectors from ADDRESS on, or everything with --chip, and see that they are blank."""
    loaders = reach.loaders()
    if chip:
        if address is not None:
            raise InputError("--chip erases everything and takes no ADDRESS and SIZE.")
        loader = only(loaders)
        sectors = plan_chip_erase(loader)
    else:
        if address is None or size is None:
            raise InputError("Say what to erase: ADDRESS SIZE, or --chip for everything.")
        where = whole_range(address, size)
        loader = loader_for(loaders, where)
        sectors = plan_erase(loader, where)
    with flashing(settings, reach, loaders) as flasher:
        report = flasher.erase(loader, sectors, chip=chip)
    settings.console.say(
        f"done: {counted(report.sectors_erased, 'sector')} erased and blank, {counted(report.calls, 'call')}"
    )
    return _numbers(report)


@commands.command("blank-check")
@click.argument("address", type=ADDRESS, required=False)
@click.argument("size", required=False)
@reach_options
@global_options
@click.pass_obj
def blank_check(settings: Settings, address: int | None, size: str | None, reach: Reach) -> Data:
    """See whether a range, or the whole storage, is erased; exit code 1 names what is not."""
    loaders = reach.loaders()
    if address is None:
        loader = only(loaders)
        where = loader.storage.span
    else:
        loader, where = place(loaders, address, size or "all")
    if loader.storage.is_ram:
        raise InputError(f"{loader.storage.name} is RAM, which has no blank state.")
    with flashing(settings, reach, loaders) as flasher:
        report = flasher.blank_check(loader, where)
    settings.console.say(f"done: {where} is blank, {counted(report.calls, 'call')}")
    return _numbers(report)


@commands.command()
@click.argument("address", type=ADDRESS)
@click.argument("size")
@reach_options
@global_options
@click.pass_obj
def checksum(settings: Settings, address: int, size: str, reach: Reach) -> Data:
    """Compute CRC-32 (zlib's) and byte sum of a range."""
    loaders = reach.loaders()
    loader, where = place(loaders, address, size)
    with flashing(settings, reach, loaders) as flasher:
        sums = flasher.checksum(loader, where)
        calls = flasher.calls
    settings.console.say(f"{where}  CRC-32 0x{sums.crc32:08X}  byte sum 0x{sums.byte_sum:08X}")
    return {"bytes": where.size, "crc32": sums.crc32, "byte_sum": sums.byte_sum, "calls": calls}


@commands.command()
@click.argument("function")
@click.argument("arguments", nargs=-1, metavar="[ARG]...")
@click.option("--init/--no-init", default=True, help="Call Init first (default), unless FUNCTION is Init.")
@reach_options
@global_options
@click.pass_obj
def call(settings: Settings, function: str, arguments: tuple[str, ...], init: bool, reach: Reach) -> Data:
    """Call one loader function raw and print r0, r1, time and stack use. An ARG `buffer` is the RAM buffer."""
    from gdbflash.onchip.loaded import raw_call

    loaders = reach.loaders()
    loader = only(loaders)
    need(loader, function)
    if len(arguments) > 4:
        raise InputError("A call takes at most four arguments, r0 to r3.")
    numbers = [None if each == "buffer" else parse_number(each) for each in arguments]
    with flashing(settings, reach, loaders) as flasher:
        buffer = flasher.open(loader).layout.buffer.address
        values = tuple(buffer if each is None else each for each in numbers)
        one = raw_call(loader, function, values)
        returned, stack = flasher.call(loader, one, init=init and function not in ("Init", "DeInit"))
    settings.console.say(
        f"{one} returned r0 = 0x{returned.r0:08X} ({returned.r0}), r1 = 0x{returned.r1:08X} "
        f"in {returned.seconds * 1000:.1f} ms; {stack} bytes of stack used so far"
    )
    return {
        "r0": returned.r0,
        "r1": returned.r1,
        "call_seconds": round(returned.seconds, 6),
        "stack_used": stack,
        "calls": flasher.calls,
    }


@commands.command()
@reach_options
@global_options
@click.pass_obj
def doctor(settings: Settings, reach: Reach) -> Data:
    """Look at gdb, server, target, RAM and registers, and say how to get what is missing.

    The core is halted to be looked at and goes on afterwards; --after and --before say otherwise.
    """
    from gdbflash.cli.doctor import Check, check_host, check_target, leave
    from gdbflash.mi.reach import reached

    checks: list[Check] = []

    def show(check: Check) -> None:
        checks.append(check)
        mark = {True: "ok", False: "MISSING", None: "-"}[check.ok]
        settings.console.say(f"{mark:8}{check.name}: {check.message}", style="red" if check.ok is False else "")

    loaders = tuple(load_loader(path) for path in reach.loader_files)
    for check in check_host(reach.gdb):
        show(check)
    try:
        place = (reach.server, reach.connect, reach.launch, reach.gdb, settings.log)
        with Interruption().installed(), reached(*place, settings.observe, reach.tcl) as target:
            if reach.before == Before.RESET.value:
                target.reset_and_halt()
            for check in check_target(target, loaders, reach.ram):
                show(check)
            show(leave(target, After(reach.after or After.RUN)))
    except (SetupError, ConnectionLost) as error:
        show(Check("server", False, error.message))
    bad = [check.name for check in checks if check.ok is False]
    if bad:
        raise SetupError(
            f"Not all is there: see {', '.join(bad)} above.",
            checks=[{"name": each.name, "ok": each.ok, "message": each.message} for each in checks],
        )
    return {"checks": [{"name": each.name, "ok": each.ok, "message": each.message} for each in checks]}


@commands.command(epilog=FAULTS)
@click.option("--port", type=click.IntRange(0, 65535), help="Port for GDB; 0 takes a free one.")
@click.option("--stlink-port", type=click.IntRange(0, 65535), help="Also be an ST-LINK for OpenOCD on this port.")
@click.option("--image", type=click.Path(dir_okay=False, path_type=Path), help="Keep the flash chip's content in FILE.")
@click.option("--personality", default="board", show_default=True, help="The GDB server to play.")
@click.option("--link-kib-s", type=_ABOVE_ZERO, metavar="X", help="Let the link carry no more than X KiB a second.")
@click.option("--link-latency-us", type=click.FloatRange(min=0), default=0, metavar="X", help="Delay of each packet.")
@click.option("--data-sheet-times", is_flag=True, help="Let erasing and programming take what the data sheet says.")
@click.option("--time-scale", type=_SCALE, default=1.0, metavar="X", help="Let all of this take X times as long.")
@click.option("--inject", multiple=True, metavar="FAULT", help="Let something go wrong (below); repeatable.")
@global_options
@click.pass_obj
def board(settings: Settings, /, **options: Any) -> None:
    """Run a virtual STM32H750 with a W25Q128 for GDB, until it is interrupted."""
    run_board(BoardOptions(**options), settings.console.plain)


@commands.command()
@global_options
@click.pass_obj
def gdbinit(settings: Settings) -> None:
    """Print the path to `source` inside GDB, alone on its line."""
    settings.console.plain(str(Path(__file__).parents[1] / "gdbinit.gdb"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
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
    begun = time.monotonic()
    outcome, error = _run(settings)
    code = outcome if isinstance(outcome, int) else 0
    if code == 0 and error is None:
        error = stdout.loss()
    if error is not None:
        code = _code_of(error)
        outcome = {"error": failure(error)}
        settings.console.error(error)
    settings.end(code, error)
    if isinstance(outcome, dict):
        settings.console.result(ok=code == 0, exit_code=code, seconds=time.monotonic() - begun, data=outcome)
    return code


def _code_of(error: GdbflashError) -> int:
    return next((number for kind, number in EXIT_CODES if isinstance(error, kind)), BUG)


def _run(settings: Settings) -> tuple[Any, GdbflashError | None]:
    """Run a command; gives its data, or click's own exit code, or None, and what went wrong."""
    try:
        outcome = commands.main(args=[*settings.words], prog_name="gdbflash", standalone_mode=False, obj=settings)
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
