"""What each command decides: which loader is meant, what is allowed and needed, and what is told at the end.

What belongs here: from what was said, by the names of `table`, to a frozen `Request`, before anything is touched; and
from what the flasher reports to an `Outcome`. A front end reaches the target and shows what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gdbflash.commands.lint import boot_notes
from gdbflash.commands.words import entry_of, file_named, load_images, parse_number, whole_range
from gdbflash.errors import InputError, JsonValue
from gdbflash.events import Noted, Planned, counted
from gdbflash.images.content import Content
from gdbflash.images.output import OutputFile, encoded, form_of
from gdbflash.loaders.loader import ExternalLoader, need
from gdbflash.options import Form, ReadMode, VerifyMode
from gdbflash.plan.jobs import (
    EraseMode,
    StorageJob,
    holder,
    plan_chip_erase,
    plan_erase,
    plan_verify,
    plan_write,
)
from gdbflash.plan.program import split_program
from gdbflash.plan.summary import planned
from gdbflash.ranges import Range, joined

if TYPE_CHECKING:
    from gdbflash.flash.flasher import Difference, Flasher, Report

Data = dict[str, JsonValue]
Reached = AbstractContextManager["Flasher"]
"""A flasher for the target while the body runs."""
_MOST_ARGUMENTS = 4
"""r0 to r3 (AAPCS32, "Parameter passing"); none of the loader functions takes more."""


@dataclass(frozen=True)
class Outcome:
    """What came of a command."""

    said: str
    """For people, without the full stop."""
    data: Data
    is_answer: bool = False
    """It is what was asked for, not the end of a job."""
    dump: tuple[int, bytes] | None = None
    """Bytes that were asked for, with the address of the first; said then tells of them."""
    raw: bytes | None = None
    """Bytes that are to go to stdout as they are."""


@dataclass(frozen=True)
class Request:
    """What a command is going to do; subclasses say what."""

    loaders: tuple[ExternalLoader, ...]

    @property
    def announced(self) -> Planned | None:
        """Give what is to be said before it begins."""
        return None

    @property
    def notes(self) -> tuple[Noted, ...]:
        """Give what the user should know before it begins."""
        return ()

    @property
    def ends_here(self) -> bool:
        """Say whether no more was wanted than what is announced."""
        return False

    @property
    def takes_stdout(self) -> bool:
        """Say whether stdout is to carry bytes and nothing else."""
        return False

    def carry_out(self, reached: Reached) -> Outcome:
        """Reach the target and do it; raises what `Flasher` raises, OutputError."""
        with reached as flasher:
            return self.run(flasher)

    def run(self, flasher: Flasher) -> Outcome:
        """Do it on a target that was reached; raises what `Flasher` raises."""
        raise NotImplementedError


@dataclass(frozen=True)
class Write(Request):
    """Bring jobs to their storages."""

    jobs: tuple[StorageJob, ...]
    mode: VerifyMode
    full: bool = False
    dry_run: bool = False

    @property
    def announced(self) -> Planned:
        """Give the plan."""
        return planned(self.jobs, full=self.full)

    @property
    def ends_here(self) -> bool:
        """Say whether the plan was all that was wanted."""
        return self.dry_run

    def run(self, flasher: Flasher) -> Outcome:
        """Erase, program and verify; of a dry run, only look."""
        if self.dry_run:
            return _difference(flasher.look(self.jobs, full=self.full))
        report = flasher.write(self.jobs, self.mode, full=self.full)
        return outcome_of(report.in_words, report)


def write(
    loaders: tuple[ExternalLoader, ...],
    *,
    images: Sequence[str],
    erase: str | None,
    verify: str,
    full: bool,
    keep: bool,
    dry_run: bool,
    only_external: bool = False,
) -> Write:
    """Decide a write; raises InputError, ImageFileError, PlanError."""
    content = load_images(images)
    if only_external:
        content = content.within(joined(each.storage.span for each in loaders))
    jobs = plan_write(loaders, content, erase=EraseMode(erase) if erase else None, keep=keep)
    mode = VerifyMode(verify)
    if mode is VerifyMode.LOADER:
        for job in jobs:
            need(job.loader, "Verify")
    return Write(loaders, jobs, mode, full, dry_run)


def _difference(found: Difference) -> Outcome:
    """Tell what a write would do."""
    of = f" of {found.sectors_touched} touched" if found.sectors_touched else ""
    kept = f", {counted(found.bytes_kept, 'byte')} beside it kept" if found.bytes_kept else ""
    return Outcome(
        f"{counted(found.sectors_erased, 'sector')}{of} would be erased, {counted(found.bytes_programmed, 'byte')} "
        f"programmed{kept}, and {counted(found.bytes_skipped, 'byte')} are there already. Nothing was changed",
        {
            "dry_run": True,
            "sectors_erased": found.sectors_erased,
            "sectors_touched": found.sectors_touched,
            "bytes": found.bytes_programmed,
            "bytes_skipped": found.bytes_skipped,
            "bytes_kept": found.bytes_kept,
        },
    )


@dataclass(frozen=True)
class Load(Request):
    """Bring a whole program to where its parts belong."""

    content: Content
    entry: int | None
    mode: VerifyMode
    keep: bool

    @property
    def notes(self) -> tuple[Noted, ...]:
        """Say what the boot ROM would not start."""
        return boot_notes(self.loaders, self.content)

    def run(self, flasher: Flasher) -> Outcome:
        """Program all parts, and compare them."""
        report = flasher.load(self.content, self.entry, self.loaders, self.mode, keep=self.keep)
        written = counted(report.bytes - report.bytes_skipped, "byte")
        there = f"{counted(report.bytes_skipped, 'byte')} already there, " if report.bytes_skipped else ""
        begins = f", start address 0x{self.entry & ~1:08x}" if self.entry is not None else ""
        return outcome_of(f"{there}{written} loaded and compared{begins}", report, entry=self.entry)


def load(loaders: tuple[ExternalLoader, ...], *, images: Sequence[str], verify: str, keep: bool) -> Load:
    """Decide a load; raises InputError, ImageFileError, PlanError."""
    if not images:
        raise InputError("Say which program: load IMAGE, such as the ELF or HEX file of your build.")
    content, entry = load_images(images), entry_of(images)
    split_program(content, entry, [each.storage.span for each in loaders], ())  # what is never programmed
    return Load(loaders, content, entry, VerifyMode(verify), keep)


@dataclass(frozen=True)
class Read(Request):
    """Read a range into a file, to stdout, or to be looked at."""

    loader: ExternalLoader
    where: Range
    output: Path | None
    """None: to be looked at, or with a form to go to stdout."""
    form: Form | None
    twice: bool = False

    @property
    def takes_stdout(self) -> bool:
        """Say whether it goes to stdout as it is."""
        return self.output is None and self.form is not None

    def carry_out(self, reached: Reached) -> Outcome:
        """Read; the file takes its place when the target was left, and nothing is shown that was not proven."""
        if self.output is None:
            return self._shown(reached)
        with OutputFile(self.output, self.where.address, self.form or Form.BIN) as file:
            with reached as flasher:
                report = flasher.read(self.loader, self.where, file.write, twice=self.twice)
            file.commit()
        was = ", which was read-only" if file.was_read_only else ""
        said = f"{counted(report.bytes, 'byte')} from 0x{self.where.address:08X} in {self.output}{was}"
        return outcome_of(said, report, file=str(self.output))

    def _shown(self, reached: Reached) -> Outcome:
        data = bytearray()
        with reached as flasher:
            report = flasher.read(self.loader, self.where, data.extend, twice=self.twice)
        outcome = outcome_of(f"{counted(report.bytes, 'byte')} from 0x{self.where.address:08X}", report)
        if self.form is not None:
            return replace(outcome, raw=encoded(self.form, self.where.address, bytes(data)))
        return replace(
            outcome, data={**outcome.data, "data": data.hex()}, is_answer=True, dump=(self.where.address, bytes(data))
        )


def read(
    loaders: tuple[ExternalLoader, ...],
    *,
    address: int,
    size: str,
    output: str | Path | None = None,
    format: str | None = None,  # noqa: A002 - as the option is called
    read_mode: str = ReadMode.SAMPLES.value,
) -> Read:
    """Decide a read; raises InputError, PlanError."""
    wanted = Form(format) if format else None
    if output is None and wanted:
        raise InputError("--format says what a file is to be: name one with -o FILE, or -o - for stdout.")
    loader, where = place(loaders, address, size)
    twice = ReadMode(read_mode) is ReadMode.TWICE
    if output is None or str(output) == "-":
        return Read(loaders, loader, where, None, (wanted or Form.BIN) if output else None, twice)
    path = file_named(str(output))
    return Read(loaders, loader, where, path, wanted or form_of(path), twice)


@dataclass(frozen=True)
class Verify(Request):
    """Compare storages with jobs."""

    jobs: tuple[StorageJob, ...]

    def run(self, flasher: Flasher) -> Outcome:
        """Compare."""
        report = flasher.verify(self.jobs)
        return outcome_of(f"{counted(report.bytes, 'byte')} compared, no difference", report)


def verify(loaders: tuple[ExternalLoader, ...], *, images: Sequence[str]) -> Verify:
    """Decide a comparison; raises InputError, ImageFileError, PlanError."""
    return Verify(loaders, tuple(plan_verify(loaders, load_images(images))))


@dataclass(frozen=True)
class Erase(Request):
    """Erase sectors."""

    loader: ExternalLoader
    sectors: tuple[Range, ...]
    chip: bool

    def run(self, flasher: Flasher) -> Outcome:
        """Erase, and see that they are blank."""
        report = flasher.erase(self.loader, self.sectors, chip=self.chip)
        return outcome_of(f"{counted(report.sectors_erased, 'sector')} erased and blank", report)


def erase(loaders: tuple[ExternalLoader, ...], *, address: int | None, size: str | None, chip: bool) -> Erase:
    """Decide an erase; raises InputError, PlanError."""
    if chip:
        if address is not None:
            raise InputError("--chip erases everything and takes no ADDRESS and SIZE.")
        loader = only(loaders)
        return Erase(loaders, loader, plan_chip_erase(loader), chip=True)
    if address is None or size is None:
        raise InputError("Say what to erase: ADDRESS SIZE, or --chip for everything.")
    loader, where = place(loaders, address, size)
    return Erase(loaders, loader, plan_erase(loader, where), chip=False)


@dataclass(frozen=True)
class BlankCheck(Request):
    """See whether a range is erased."""

    loader: ExternalLoader
    where: Range

    def run(self, flasher: Flasher) -> Outcome:
        """Look at it."""
        return outcome_of(f"{self.where} is blank", flasher.blank_check(self.loader, self.where))


def blank_check(loaders: tuple[ExternalLoader, ...], *, address: int | None, size: str | None) -> BlankCheck:
    """Decide a blank check; raises InputError, PlanError."""
    if address is None:
        loader = only(loaders)
        where = loader.storage.span
    else:
        loader, where = place(loaders, address, size or "all")
    if loader.storage.is_ram:
        raise InputError(f"{loader.storage.name} is RAM, which has no blank state.")
    return BlankCheck(loaders, loader, where)


@dataclass(frozen=True)
class Checksum(Request):
    """Compute sums of a range."""

    loader: ExternalLoader
    where: Range

    def run(self, flasher: Flasher) -> Outcome:
        """Compute them."""
        sums = flasher.checksum(self.loader, self.where)
        return Outcome(
            f"{self.where}  CRC-32 0x{sums.crc32:08X}  byte sum 0x{sums.byte_sum:08X}",
            {"bytes": self.where.size, "crc32": sums.crc32, "byte_sum": sums.byte_sum, "calls": flasher.calls},
            is_answer=True,
        )


def checksum(loaders: tuple[ExternalLoader, ...], *, address: int, size: str) -> Checksum:
    """Decide sums; raises InputError, PlanError."""
    return Checksum(loaders, *place(loaders, address, size))


@dataclass(frozen=True)
class RawCall(Request):
    """Call one function."""

    loader: ExternalLoader
    function: str
    arguments: tuple[int | None, ...]
    """None: the address of the RAM buffer."""
    init: bool

    def run(self, flasher: Flasher) -> Outcome:
        """Call it."""
        from gdbflash.onchip.loaded import raw_call  # only here: what no target is reached for should answer at once

        buffer = flasher.open(self.loader).layout.buffer.address
        one = raw_call(self.loader, self.function, tuple(buffer if each is None else each for each in self.arguments))
        returned, stack = flasher.call(self.loader, one, init=self.init)
        return Outcome(
            f"{one} returned r0 = 0x{returned.r0:08X} ({returned.r0}), r1 = 0x{returned.r1:08X} "
            f"in {returned.seconds * 1000:.1f} ms; {stack} bytes of stack used so far",
            {
                "r0": returned.r0,
                "r1": returned.r1,
                "call_seconds": round(returned.seconds, 6),
                "stack_used": stack,
                "calls": flasher.calls,
            },
            is_answer=True,
        )


def call(loaders: tuple[ExternalLoader, ...], *, function: str, arguments: Sequence[int | None], init: bool) -> RawCall:
    """Decide a raw call; raises InputError, PlanError."""
    loader = only(loaders)
    need(loader, function)
    if len(arguments) > _MOST_ARGUMENTS:
        raise InputError("A call takes at most four arguments, r0 to r3.")
    return RawCall(loaders, loader, function, tuple(arguments), init and function not in ("Init", "DeInit"))


REQUESTS: Mapping[str, Callable[..., Request]] = {
    "write": write,
    "load": load,
    "read": read,
    "verify": verify,
    "erase": erase,
    "blank-check": blank_check,
    "checksum": checksum,
    "call": call,
}
"""What decides the commands of every front end, by their names; each takes the loaders and what was said."""


def place(loaders: Sequence[ExternalLoader], address: int, size: str) -> tuple[ExternalLoader, Range]:
    """Find the loader and range meant by ADDRESS SIZE, where SIZE may be `all`: up to the end of the storage.

    Raises InputError, PlanError.
    """
    if size == "all":
        loader = holder(loaders, Range(address, 1))
        return loader, Range(address, loader.storage.end - address)
    where = whole_range(address, parse_number(size))
    return holder(loaders, where), where


def only(loaders: Sequence[ExternalLoader]) -> ExternalLoader:
    """Give the one loader there is; raises InputError when there are more."""
    if len(loaders) != 1:
        raise InputError("Several loaders were given: name one with -l, or an ADDRESS and SIZE.")
    return loaders[0]


def outcome_of(said: str, report: Report, **more: JsonValue) -> Outcome:
    """Tell what a report says."""
    return Outcome(
        f"{said}, {counted(report.calls, 'call')}",
        {
            "bytes": report.bytes,
            "bytes_skipped": report.bytes_skipped,
            "bytes_restored": report.bytes_restored,
            "calls": report.calls,
            "sectors_erased": report.sectors_erased,
            "verified": report.verified,
            **more,
        },
    )
