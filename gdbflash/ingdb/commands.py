"""What the `gdbflash` commands of an open GDB session do.

What belongs here: from words that are read (`parameters`) to what is said at the end. How GDB comes to know the
commands is in `register`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

import gdb

from gdbflash import __version__
from gdbflash.commands.words import load_images, only, place
from gdbflash.errors import GdbflashError, InputError, Interrupted
from gdbflash.events import Event, Started, bytes_in_words, counted
from gdbflash.flash.flasher import Flasher
from gdbflash.images.output import OutputFile
from gdbflash.ingdb import load as gdbload
from gdbflash.ingdb.connect import connect
from gdbflash.ingdb.parameters import Parameters, named
from gdbflash.ingdb.progress import Progress
from gdbflash.ingdb.session import shown, trace_commands
from gdbflash.ingdb.target import GdbTarget
from gdbflash.loaders.stldr import load_loader
from gdbflash.onchip.faults import exception_name
from gdbflash.onchip.loaded import raw_call
from gdbflash.options import After, Before, RunOptions, VerifyMode
from gdbflash.plan.jobs import EraseMode, check_apart, need, plan_chip_erase, plan_erase, plan_verify, plan_write
from gdbflash.plan.summary import planned
from gdbflash.runlog import RunLog
from gdbflash.servers.profiles import PROFILES

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

    @contextlib.contextmanager
    def logged(self, words: Sequence[str]) -> Iterator[None]:
        """Add a command to the log, where the user wants one; raises InputError, OutputError."""
        if not self.parameters.log.value:
            yield
            return
        log = RunLog(named(self.parameters.log.value), __version__, words, append=True)
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
        if self._log is not None:
            self._log.observe(event)

    @contextlib.contextmanager
    def flashing(self, options: RunOptions, *, program: bool = True) -> Iterator[Flasher]:
        """Take the target and give a flasher; the session is given back at the end, which Ctrl-C does not stop.

        program: the user goes on with the program that is there, and is told what to expect of it.
        """
        self.observe(Started("connect"))
        with contextlib.ExitStack() as stack:
            target = self._connect()
            stack.callback(self._close, target)
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

    def _connect(self) -> GdbTarget:
        return connect(self.parameters.server.value, self.parameters.tcl.value)

    def _close(self, target: GdbTarget) -> None:
        target.close()
        for remark in target.remarks:
            say(f"warning: {remark}\n")

    def loader(self, words: argparse.Namespace) -> None:
        """Name the loaders that the other commands use."""
        if words.files:
            loaders = [load_loader(named(path)) for path in words.files]
            check_apart(loaders)
            for found in loaders:
                say(f"{found.storage.name}: {found.storage.span}, {bytes_in_words(found.storage.extent)}\n")
            self.parameters.loader.value = " ".join(_quoted(str(named(each).resolve())) for each in words.files)
        else:
            gdb.execute("show gdbflash loader")

    def info(self, words: argparse.Namespace) -> None:
        """Say what a loader says of itself."""
        paths = [words.file] if words.file else None
        for found in self.parameters.loaders(argparse.Namespace(loader=paths)):
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
            )
            for finding in found.findings:
                say(f"  {finding.severity}: {finding.message}\n")

    def write(self, words: argparse.Namespace) -> None:
        """Erase what is needed, program and verify."""
        loaders = self.parameters.loaders(words)
        mode = self.parameters.verify_mode(words.verify)
        erase = EraseMode(words.erase) if words.erase else None
        jobs = plan_write(
            loaders, load_images(words.images).blocks, erase=erase, keep=self.parameters.keeps(words.keep)
        )
        if mode is VerifyMode.LOADER:
            for job in jobs:
                need(job.loader, "Verify")
        if words.dry_run:
            say(f"{planned(jobs).summary}\n")
            return
        with self.flashing(self.parameters.run_options(words, loaders)) as flasher:
            report = flasher.write(jobs, mode, full=words.full)
        say(f"{report.in_words}, {counted(report.calls, 'call')}.\n")

    def read(self, words: argparse.Namespace) -> None:
        """Read storage into a file, which appears whole or not at all."""
        loaders = self.parameters.loaders(words)
        loader, where = place(loaders, words.address, words.size)
        with OutputFile(named(words.output), where.address) as file:
            with self.flashing(self.parameters.run_options(words, loaders)) as flasher:
                report = flasher.read(loader, where, file.write)
            file.commit()
        say(
            f"{counted(report.bytes, 'byte')} from 0x{where.address:08X} in {words.output}, "
            f"{counted(report.calls, 'call')}.\n"
        )

    def verify(self, words: argparse.Namespace) -> None:
        """Compare storage with images."""
        loaders = self.parameters.loaders(words)
        jobs = plan_verify(loaders, load_images(words.images).blocks)
        with self.flashing(self.parameters.run_options(words, loaders)) as flasher:
            report = flasher.verify(jobs)
        say(f"{counted(report.bytes, 'byte')} compared, no difference, {counted(report.calls, 'call')}.\n")

    def erase(self, words: argparse.Namespace) -> None:
        """Erase whole sectors and see that they are blank."""
        loaders = self.parameters.loaders(words)
        if words.chip:
            if words.address is not None:
                raise InputError("--chip erases everything and takes no ADDRESS and SIZE.")
            loader = only(loaders)
            sectors = plan_chip_erase(loader)
        else:
            if words.size is None:
                raise InputError("Say what to erase: ADDRESS SIZE, or --chip for everything.")
            loader, where = place(loaders, words.address, words.size)
            sectors = plan_erase(loader, where)
        with self.flashing(self.parameters.run_options(words, loaders)) as flasher:
            report = flasher.erase(loader, sectors, chip=words.chip)
        say(f"{counted(report.sectors_erased, 'sector')} erased and blank, {counted(report.calls, 'call')}.\n")

    def blank_check(self, words: argparse.Namespace) -> None:
        """See whether a range, or the whole storage, is erased."""
        loaders = self.parameters.loaders(words)
        if words.address is None:
            loader = only(loaders)
            where = loader.storage.span
        else:
            loader, where = place(loaders, words.address, words.size or "all")
        if loader.storage.is_ram:
            raise InputError(f"{loader.storage.name} is RAM, which has no blank state.")
        with self.flashing(self.parameters.run_options(words, loaders)) as flasher:
            report = flasher.blank_check(loader, where)
        say(f"{where} is blank, {counted(report.calls, 'call')}.\n")

    def checksum(self, words: argparse.Namespace) -> None:
        """Compute CRC-32 (zlib's) and byte sum of a range."""
        loaders = self.parameters.loaders(words)
        loader, where = place(loaders, words.address, words.size)
        with self.flashing(self.parameters.run_options(words, loaders)) as flasher:
            sums = flasher.checksum(loader, where)
        say(f"{where}  CRC-32 0x{sums.crc32:08X}  byte sum 0x{sums.byte_sum:08X}\n")

    def call(self, words: argparse.Namespace) -> None:
        """Call one loader function raw."""
        loader = only(self.parameters.loaders(words))
        need(loader, words.function)
        if len(words.arguments) > 4:
            raise InputError("A call takes at most four arguments, r0 to r3.")
        with self.flashing(self.parameters.run_options(words, (loader,))) as flasher:
            buffer = flasher.open(loader).layout.buffer.address
            values = tuple(buffer if each is None else each for each in words.arguments)
            one = raw_call(loader, words.function, values)
            init = words.init and words.function not in ("Init", "DeInit")
            returned, stack = flasher.call(loader, one, init=init)
        say(
            f"{one} returned r0 = 0x{returned.r0:08X} ({returned.r0}), r1 = 0x{returned.r1:08X} "
            f"in {returned.seconds * 1000:.1f} ms; {stack} bytes of stack used so far.\n"
        )

    def load(self, words: argparse.Namespace) -> None:
        """Load a program wherever its parts belong: external memory through the loaders, the rest by GDB's `load`."""
        path = words.file or gdb.current_progspace().filename
        if path is None:
            raise InputError("Say which program: gdbflash load ELF, or give GDB one with the file command.")
        loaders = self.parameters.loaders(words)
        program = gdbload.split_program(named(path), loaders, gdbload.flash_regions())
        mode = self.parameters.verify_mode(words.verify)
        jobs = plan_write(loaders, program.external, keep=self.parameters.keeps(words.keep)) if program.external else ()
        if jobs:
            options = self.parameters.run_options(words, loaders)
            after = After.RESTORE if options.before is Before.NONE else After.RESET
            with self.flashing(replace(options, after=after), program=False) as flasher:
                report = flasher.write(jobs, mode)
            say(f"{report.in_words}, {counted(report.calls, 'call')}.\n")
        if program.flash or program.ram:
            try:
                gdbload.load_internal(program, say)
                with contextlib.closing(self._connect()) as target, target.interruptible():
                    gdbload.compare_internal(program, target)
            except KeyboardInterrupt:
                raise Interrupted(
                    "Interrupted while GDB's own load was under way or compared: load again. "
                    "What belongs into external memory is there."
                ) from None
            what = path if mode is not VerifyMode.NONE or not jobs else f"what GDB has loaded of {path}"
            say(f"Start address 0x{program.entry & ~1:08x}, all of {what} compared.\n")
        if jobs:
            say("What Init did to clocks, pins and the flash controller stays until a reset.\n")

    def status(self, _words: argparse.Namespace) -> None:
        """Say what GDB is connected to, where the core stands, and which loaders there are."""
        try:
            with contextlib.closing(self._connect()) as target:
                registers = target.read_registers(("pc", "xpsr"))
                server = PROFILES[target.capabilities.server].title
                exception = registers["xpsr"] & 0x1FF
                mode = f"in the handler of {exception_name(exception)}" if exception else "in thread mode"
            say(f"server   {server}\ncore     halted at 0x{registers['pc']:08X}, {mode}\n")
        except GdbflashError as error:
            say(f"target   {error.message}\n")
        try:
            for found in self.parameters.loaders(argparse.Namespace(loader=None)):
                say(f"loader   {found.path}: {found.storage.name} {found.storage.span}\n")
        except GdbflashError as error:
            say(f"loader   {error.message}\n")


def _quoted(path: str) -> str:
    """Quote a path for gdb.string_to_argv."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
