"""What the `gdbflash` commands of an open GDB session do.

What belongs here: from what was said (`words`, `parameters`) to what is told at the end. What a command decides is in
`commands.requests`, how GDB comes to know the commands in `register`.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gdb

from gdbflash.commands import kept as recovery
from gdbflash.commands.choices import loaders_named, run_options
from gdbflash.commands.doctor import Check, check_target
from gdbflash.commands.grammar import Command
from gdbflash.commands.hexdump import hexdump
from gdbflash.commands.lint import boot_notes, with_images
from gdbflash.commands.report import Report
from gdbflash.commands.requests import REQUESTS
from gdbflash.commands.shared_options import REACH
from gdbflash.commands.words import entry_of, file_named, load_images
from gdbflash.errors import GdbflashError, InputError, Interrupted, SetupError
from gdbflash.events import Detailed, Event, Started, bytes_in_words, counted
from gdbflash.flash.flasher import Flasher
from gdbflash.flash.internal import Internal
from gdbflash.flash.phases import Phases
from gdbflash.ingdb.connect import connect
from gdbflash.ingdb.parameters import Parameters
from gdbflash.ingdb.plain_load import unwatched
from gdbflash.ingdb.progress import Progress
from gdbflash.ingdb.session import shown, trace_commands
from gdbflash.ingdb.target import GdbTarget
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.onchip.faults import FAULTS, IPSR, exception_name
from gdbflash.options import After, Before, RunOptions, VerifyMode
from gdbflash.plan.jobs import plan_write
from gdbflash.plan.program import Program, split_program
from gdbflash.ranges import Range
from gdbflash.runlog import RunLog
from gdbflash.servers.endpoint import alone_at
from gdbflash.servers.profiles import PROFILES
from gdbflash.target import FlashRegion
from gdbflash.version import VERSION

Said = Mapping[str, Any]
"""What was said, by the names of `commands.table`, and what follows where nothing was."""
_REACH = frozenset(each.field for each in REACH)
_AFTERWARDS = {
    After.RESTORE: "The session is as it was; what Init did to clocks, pins and the flash controller stays.",
    After.RESET: "The core is halted at its first instruction; continue starts it.",
    After.RUN: "The core runs; interrupt stops it.",
}


def say(text: str) -> None:
    """Write to GDB's terminal at once."""
    gdb.write(shown(text))
    gdb.flush()


class Commands:
    """What the commands do with the words that they are given."""

    def __init__(self) -> None:
        self.parameters = Parameters()
        self.progress = Progress(say, live=os.isatty(1))
        self._log: RunLog | None = None
        self._report: Report | None = None

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """Run a command; one that fails ends GDB where `batch-exit` says so, and else raises gdb.GdbError."""
        try:
            with unwatched():
                yield
        except gdb.GdbError as error:
            if not self.parameters.batch_exit.value:
                raise
            gdb.write(f"{error}\n", gdb.STDERR)
            gdb.flush(gdb.STDERR)
            gdb.execute("quit 1")

    def storages(self) -> list[Range]:
        """Give the storages of the loaders that the parameter names; raises LoaderFileError, PlanError."""
        return [each.storage.span for each in self._loaders_if_any([])]

    def _loaders_if_any(self, said: Sequence[str]) -> tuple[ExternalLoader, ...]:
        return self.parameters.loaders(said) if said or self.parameters["loader"].value else ()

    @contextlib.contextmanager
    def logged(self, words: Sequence[str]) -> Iterator[None]:
        """Add a command to the log, where the user wants one; raises InputError, OutputError."""
        if not self.parameters.log.value:
            yield
            return
        log = RunLog(file_named(self.parameters.log.value), VERSION, words, append=True)
        log("gdb", f"GDB {gdb.VERSION}")
        self._log = log
        trace_commands(log.of("gdb"))
        outcome: str = "failed"
        error: GdbflashError | None = None
        try:
            yield
            outcome = "done"
        except GdbflashError as failed:
            error = failed
            raise
        except BaseException as other:
            outcome = repr(other)
            raise
        finally:
            trace_commands(None)
            self._log = None
            log.end(outcome, error)

    def observe(self, event: Event) -> None:
        """Show an event, and log it."""
        self.progress(event)
        if self._report is not None:
            self._report.observe(event)
        if self._log is not None:
            self._log.observe(event)

    @contextlib.contextmanager
    def flashing(self, options: RunOptions, *, program: bool = True) -> Iterator[Flasher]:
        """Take the target and give a flasher; the session is given back at the end, which Ctrl-C does not stop.

        program: the user goes on with the program that is there, and is told what to expect of it.
        """
        self.observe(Started("connect"))
        with contextlib.ExitStack() as stack:
            target = self._connect(options.calls.timeout_scale)
            stack.callback(self._close, target)
            place = target.capabilities.place
            stack.enter_context(alone_at(place, lambda said: self.observe(Detailed("no-lock", said))))
            with target.interruptible() if options.before is Before.RESET else contextlib.nullcontext():
                flasher = stack.enter_context(Flasher(target, options, self.observe))
            try:
                with target.interruptible():
                    yield flasher
            except KeyboardInterrupt:
                raise Interrupted(self.progress.interrupted) from None
            finally:
                self.progress.clear()
        said = _AFTERWARDS.get(options.after, "")
        if options.after is After.RESTORE and options.before is Before.RESET:
            said = "The core is where its reset left it; what Init did to clocks, pins and the flash controller stays."
        if program and said and not (target.remarks and options.after is After.RESTORE):
            say(f"{said}\n")

    def _connect(self, patience: float = 1.0) -> GdbTarget:
        return connect(self.parameters["server"].value, patience=max(1.0, patience))

    def _close(self, target: GdbTarget) -> None:
        target.close()
        for remark in target.remarks:
            say(f"warning: {remark}\n")

    def requested(self, row: Command, said: Said) -> None:
        """Carry out a command whose request `commands.requests` decides."""
        loaders = self.parameters.loaders(said["loader"])
        own = {name: value for name, value in said.items() if name not in _REACH}
        request = REQUESTS[row.name](loaders, **own)
        if request.ends_here and request.announced is not None:
            say(f"{request.announced.summary}\n")
            return
        if request.takes_stdout:
            raise InputError("-o - is for pipes, and GDB has none. Name a file, or leave -o out for a dump.")
        outcome = request.carry_out(self.flashing(run_options(request.loaders, said, in_session=True)))
        if outcome.dump is not None:
            gdb.write("".join(f"{line}\n" for line in hexdump(*outcome.dump)))
            return
        say(f"{outcome.said}{'' if outcome.is_answer else '.'}\n")

    def kept(self, _row: Command, said: Said) -> None:
        """Look after recovery files."""
        if said["action"] == recovery.RESTORE:
            request = recovery.restore(self.parameters.loaders(said["loader"]), said["file"])
            outcome = request.carry_out(self.flashing(run_options(request.loaders, said, in_session=True)))
        else:
            output = file_named(said["output"]) if said["output"] else None
            action = said["action"] or "list"
            outcome = recovery.look(action, said["file"], older_than=said["older_than"], output=output)
        say(f"{outcome.said}{'' if outcome.is_answer else '.'}\n")

    def loader(self, _row: Command, said: Said) -> None:
        """Name the loaders that the other commands use."""
        files = [file_named(each) for each in said["files"]]
        if not files:
            gdb.execute("show gdbflash loader")
            return
        for found in loaders_named(files):
            say(f"{found.storage.name}: {found.storage.span}, {bytes_in_words(found.storage.extent)}\n")
        self.parameters["loader"].value = " ".join(_quoted(str(each.resolve())) for each in files)

    def info(self, _row: Command, said: Said) -> None:
        """Say what a loader says of itself."""
        for found in self.parameters.loaders([said["loader"]] if said["loader"] else None):
            storage = found.storage
            groups = ", ".join(f"{each.count} x {bytes_in_words(each.size)}" for each in storage.sectors)
            functions = ", ".join(f"{name} 0x{address:08X}" for name, address in sorted(found.functions.items()))
            say(
                f"{storage.name} ({storage.type_name}), {found.path}\n"
                f"  storage    {found.storage.span}, {bytes_in_words(storage.extent)}\n"
                f"  sectors    {groups or 'none'}\n"
                f"  page       {bytes_in_words(storage.page_size)}, erased 0x{storage.erased_value:02X}\n"
                f"  functions  {functions}\n"
                f"  linked at  0x{found.link_address:08X}, return trap at 0x{found.return_address:08X}\n"
                f"  r9         {found.static_base.in_words}\n"
            )
            for finding in found.findings:
                say(f"  {finding.severity}: {finding.message}\n")

    def lint(self, _row: Command, said: Said) -> None:
        """Say what the author or user of a loader should know, and of images for its memory."""
        for loader in self.parameters.loaders([said["loader"]] if said["loader"] else None):
            found = with_images(loader, said["images"] or ())
            for finding in found.findings:
                say(f"{finding.severity}: {finding.message}\n")
            say(f"{found.path}: {counted(len(found.findings), 'finding')}\n")

    def doctor(self, _row: Command, said: Said) -> None:
        """Show each check of GDB and the target, and write a report; raises SetupError naming those that failed."""
        try:
            self._look(said)
        finally:
            self._report = None

    def _look(self, said: Said) -> None:
        loaders = self._loaders_if_any(said["loader"])
        self._report = Report(file_named(said["report"]), said["serials"]) if said["report"] else None
        bad: list[str] = []
        for check in self._checks(loaders, said):
            if self._report is not None:
                self._report.checked(check)
            mark = {True: "ok", False: "MISSING", None: "-"}[check.ok]
            say(f"{mark:8}{check.name}: {check.message}\n")
            bad += [check.name] if check.ok is False else []
        if self._report is not None:
            options = run_options(loaders, said, in_session=True)
            self._report.finish(() if bad else loaders, lambda: self.flashing(options, program=False))
            say(f"report  {self._report.path}\n")
        if bad:
            raise SetupError(f"Not all is there: see {', '.join(bad)} above.")

    def _checks(self, loaders: tuple[ExternalLoader, ...], said: Said) -> Iterator[Check]:
        python = f"Python {platform.python_version()}"
        yield Check("gdbflash", True, f"{VERSION} inside GDB {gdb.VERSION} with {python}")
        try:
            target = self._connect(said["timeout_scale"])
        except GdbflashError as error:
            yield Check("server", False, error.message)
            return
        try:
            if said["before"] == Before.RESET.value:
                target.reset_and_halt()
            yield from check_target(target, loaders, said["ram"])
            if self._report is not None:
                self._report.measure_link(target, loaders, writes=said["before"] == Before.RESET.value)
        finally:
            self._close(target)
        yield Check("core", True, "it stays halted")

    def load(self, _row: Command, said: Said) -> None:
        """Load a program wherever its parts belong: external memory through the loaders, the rest by GDB's `load`."""
        path = gdb.current_progspace().filename
        images = said["images"] or ([path] if path else [])
        if not images:
            raise InputError("Say which program: gdbflash load IMAGE, or give GDB one with the file command.")
        loaders = self.parameters.loaders(said["loader"])
        content, path = load_images(images), ", ".join(images)
        spans = [each.storage.span for each in loaders]
        split_program(content, None, spans, ())  # what is never programmed
        for note in boot_notes(loaders, content):
            self.observe(note)
        regions, fault = self._looked_at()
        program = split_program(content, entry_of(images), spans, [each.where for each in regions])
        mode = VerifyMode(said["verify"])
        jobs = plan_write(loaders, program.external, keep=said["keep"]) if program.external else ()
        before = Before.RESET if fault and said["before"] is None else None
        if before:
            say(f"The core is in the handler of {fault}, and is reset: its program is loaded anew.\n")
        if jobs:
            options = run_options(loaders, {**said, "before": before.value} if before else said, in_session=True)
            after = After.RESTORE if options.before is Before.NONE else After.RESET
            with self.flashing(replace(options, after=after), program=False) as flasher:
                report = flasher.write(jobs, mode)
            say(f"{report.in_words}, {counted(report.calls, 'call')}.\n")
        if program.flash or program.ram:
            self._load_internal(program, regions, keep=said["keep"], reset=before is not None and not jobs)
            what = path if mode is not VerifyMode.NONE or not jobs else f"what GDB has loaded of {path}"
            begins = f"Start address 0x{program.entry & ~1:08x}, all" if program.entry is not None else "All"
            say(f"{begins} of {what} compared.\n")
        if jobs:
            say("What Init did to clocks, pins and the flash controller stays until a reset.\n")

    def _looked_at(self) -> tuple[tuple[FlashRegion, ...], str]:
        """Ask which internal flash the server programs, and for the fault in whose handler the core is, if any."""
        with contextlib.closing(self._connect()) as target:
            exception = target.read_registers(("xpsr",))["xpsr"] & IPSR
            return target.flash_regions(), exception_name(exception) if exception in FAULTS else ""

    def _load_internal(self, program: Program, regions: tuple[FlashRegion, ...], *, keep: bool, reset: bool) -> None:
        """Load what is not external; PC is the program's entry afterwards. Raises Interrupted."""
        with contextlib.closing(self._connect()) as target:
            try:
                with target.interruptible():
                    if reset:
                        target.reset_and_halt()
                    Internal(target, Phases(self.observe)).load(program, regions, keep=keep)
            except KeyboardInterrupt:
                raise Interrupted(
                    "Interrupted while internal flash and RAM were loaded or compared: load again. "
                    "What belongs into external memory is there."
                ) from None
            finally:
                self.progress.clear()

    def status(self, _row: Command, _said: Said) -> None:
        """Say what GDB is connected to, where the core stands, and which loaders there are."""
        try:
            with contextlib.closing(self._connect()) as target:
                registers = target.read_registers(("pc", "xpsr"))
                server = PROFILES[target.capabilities.server].title
                exception = registers["xpsr"] & IPSR
                mode = f"in the handler of {exception_name(exception)}" if exception else "in thread mode"
            say(f"server   {server}\ncore     halted at 0x{registers['pc']:08X}, {mode}\n")
        except GdbflashError as error:
            say(f"target   {error.message}\n")
        try:
            for found in self.parameters.loaders():
                say(f"loader   {found.path}: {found.storage.name} {found.storage.span}\n")
        except GdbflashError as error:
            say(f"loader   {error.message}\n")


def _quoted(path: str) -> str:
    """Quote a path for gdb.string_to_argv."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
