"""Carry out jobs on a target: which loader when, in what order, and how the target is left.

What belongs here: policy. Decisions that need no target are in `plan`, the use of one loader is in `onchip.loaded`.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from gdbflash.errors import ConnectionLost, GdbflashError, PrepareError, TargetError
from gdbflash.events import Noted, Observer, counted, unobserved
from gdbflash.flash.erase_unit import EraseProof
from gdbflash.flash.erasing import Erasing
from gdbflash.flash.first_erase import erase_first
from gdbflash.flash.inspection import Inspection
from gdbflash.flash.internal import Internal
from gdbflash.flash.keeping import Keeping
from gdbflash.flash.kept_files import KeptFile, Origin, leave, overlapping
from gdbflash.flash.phases import Phases
from gdbflash.flash.reading import Reading
from gdbflash.flash.writing import Writing, Written
from gdbflash.host.folders import held
from gdbflash.images.content import Content
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.onchip import quiesce
from gdbflash.onchip.call import Call, Returned
from gdbflash.onchip.device.cores import OtherCores
from gdbflash.onchip.faults import exception_name
from gdbflash.onchip.kept_registers import read_all
from gdbflash.onchip.loaded import LoadedLoader, Operation, find_room, load
from gdbflash.onchip.placement import identify, introduced
from gdbflash.onchip.prove_ram import Save
from gdbflash.onchip.state import sweep
from gdbflash.options import After, Before, CallOptions, RunOptions, VerifyMode
from gdbflash.plan import chip_erase
from gdbflash.plan.jobs import StorageJob, plan_storage, plan_write
from gdbflash.plan.program import split_program
from gdbflash.ranges import Range, joined, without
from gdbflash.target import Target

_DEFAULTS = RunOptions()
_NOTHING = Content(())
_ANOTHER_IMAGE = "Another image may be there: write this one, or compare with the one that was written."
_CHANGING = frozenset({"Write", "SectorErase", "MassErase"})
"""Functions that change the memory."""
RESTORE_BUFFER = 64 * 1024
"""Largest buffer when RAM is put back afterwards: all of it is read first, over the link."""


@dataclass(frozen=True)
class Report:
    """What was done, in numbers."""

    bytes: int
    bytes_skipped: int = 0
    calls: int = 0
    sectors_erased: int = 0
    verified: str = "none"
    bytes_restored: int = 0
    """Bytes that interrupted writes had kept, put back."""

    @property
    def in_words(self) -> str:
        """Say what a write did."""
        how = "not verified" if self.verified == VerifyMode.NONE.value else "verified"
        there = f"{counted(self.bytes_skipped, 'byte')} already there, " if self.bytes_skipped else ""
        written = counted(self.bytes - self.bytes_skipped, "byte")
        back = f", {counted(self.bytes_restored, 'kept byte')} put back" if self.bytes_restored else ""
        return f"{there}{written} written and {how}, {counted(self.sectors_erased, 'sector')} erased{back}"


@dataclass(frozen=True)
class Difference:
    """What a write would do, in numbers."""

    sectors_touched: int
    sectors_erased: int
    bytes_programmed: int
    bytes_skipped: int
    bytes_kept: int


@dataclass(frozen=True)
class Checksum:
    """CRC-32 (zlib's) and byte sum modulo 2^32."""

    crc32: int
    byte_sum: int


class Flasher:
    """Run jobs on one target, and leave it as asked however they end.

    Use as a context manager on a target that `connect` or `launch` gave: entering takes it and leaving leaves it as
    options say. observe gets the events. state is the folder for what is remembered until the next run, such as bytes
    to keep of a write that is cut off; None: $GDBFLASH_STATE, or gdbflash in the platform's state folder. Every method
    may raise TargetError, PrepareError, ConnectionLost, and Interrupted when `cancelled` says so between two calls.
    """

    def __init__(
        self,
        target: Target,
        options: RunOptions = _DEFAULTS,
        observe: Observer = unobserved,
        cancelled: Callable[[], bool] = lambda: False,
        state: str | os.PathLike[str] | None = None,
    ) -> None:
        self._target = target
        self._options = options
        self._observe = observe
        self._phases = Phases(observe, cancelled)
        self._folder = None if state is None else Path(state)
        self._loaded: LoadedLoader | None = None
        self._registers: dict[str, int] = {}
        self._memory: dict[int, bytes] = {}
        self._surroundings: quiesce.Surroundings | None = None
        self._calls_before = 0
        self._restoring: KeptFile | None = None
        self._mine = contextlib.ExitStack()
        self._others = OtherCores(target, observe)
        self._device_id: int | None = None

    def __enter__(self) -> Flasher:
        self._claim()
        try:
            self._take()
        except BaseException as error:
            try:
                if not isinstance(error, ConnectionLost):
                    self._leave_untouched()
            except GdbflashError as trouble:
                self._observe(Noted("close-failed", f"Leaving the target failed too: {trouble.message}"))
            finally:
                self._mine.close()
            raise
        return self

    def _claim(self) -> None:
        """Have the target for this process alone; raises TargetInUse, and PrepareError where it is another unit."""
        device = identify(self._target, 0)
        self._observe(introduced(self._target, device))
        unit, self._device_id = device.unit, device.device_id
        expected = self._options.expected_unit
        if expected is not None and unit != expected:
            which = f"the unit {unit}" if unit else "a unit that tells no unique ID"
            raise PrepareError(
                f"This is {which}, not {expected}, which was expected. Nothing was touched; look at which "
                "board is connected.",
                unit=unit,
                expected=expected,
            )
        place = self._target.capabilities.place or self._target.capabilities.server
        what = f"the unit {unit}" if unit else f"the target at {place}"
        self._mine.enter_context(held(unit or place, what, lambda said: self._observe(Noted("no-lock", said))))

    def _take(self) -> None:
        self._others.look()
        if self._options.before is Before.RESET:
            self._target.reset_and_halt()
        self._others.hold(self._device_id)
        if self._options.after in (After.RUN, After.RESTORE):
            try:
                self._registers = read_all(self._target)
            except TargetError as error:
                raise PrepareError(f"The target's registers cannot be kept: {error.message}", **error.data) from error
        if self._options.before is Before.NONE:
            check_thread_mode(self._target)
            self._surroundings = quiesce.quieten(self._target)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not isinstance(error, ConnectionLost):
                self._leave()
        except GdbflashError as trouble:
            if error is None:
                raise
            self._observe(Noted("close-failed", f"Leaving the target failed too: {trouble.message}"))
        finally:
            self._mine.close()

    def _leave(self) -> None:
        after = self._options.after
        with self._phases.phase("close"):
            try:
                if self._loaded is not None:
                    self._loaded.check_guards()
                    self._loaded.watchdog.put_back()
            finally:
                self._leave_as(after)

    def _leave_as(self, after: After) -> None:
        if after is After.RESET:
            self._target.reset_and_run(self._others.ran)
        elif after is After.HALT:
            too = "".join(f", and so does {name}" for name in self._others.held)
            said = f"The target stays halted, with the loader in its RAM{too}."
            if self._target.capabilities.lets_core_go:
                said = "The target is halted, but this server lets it run when GDB goes: it does not stay so. "
                said += "With --after reset the program starts as it should."
            self._observe(Noted("halted", said))
        else:
            if self._loaded is not None:
                self._loaded.give_back_limit()
            self._put_back_memory()
            # Thread mode first: in the handler that a fault leads to, SP is MSP and SPSEL cannot be set (B1.4.4).
            self._target.write_registers({"xpsr": self._registers["xpsr"]})
            self._target.write_registers(self._registers)
            if self._surroundings is not None:
                quiesce.put_back(self._target, self._surroundings)
            self._others.let_go()
            if after is After.RUN:
                self._target.resume()

    def _put_back_memory(self) -> None:
        if self._surroundings is not None:
            quiesce.still(self._target, self._surroundings)
        while self._memory:
            address, data = self._memory.popitem()
            self._target.write_memory(address, data)

    def _leave_untouched(self) -> None:
        """Leave a target as asked that could not be taken: nothing in it was changed, but connecting has halted it."""
        if self._options.after is After.RESET:
            self._target.reset_and_run(self._others.ran)
        elif self._options.after is not After.HALT:
            self._others.let_go()
            if self._options.after is After.RUN:
                self._target.resume()

    @property
    def calls(self) -> int:
        """Count the loader calls made so far."""
        return self._calls_before + (self._loaded.calls if self._loaded else 0)

    def open(self, loader: ExternalLoader, operation: Operation | None = None) -> LoadedLoader:
        """Put a loader into RAM unless it is there already, and make it ready for one kind of use."""
        if self._loaded is None or self._loaded.loader is not loader:
            self._calls_before = self.calls
            earlier, self._loaded = self._loaded, None
            if earlier is not None:
                earlier.check_guards()  # the next one's image lies over them
                earlier.give_back_limit()
                earlier.watchdog.put_back()
            options, save = self._loading()
            with self._phases.phase("init", label=loader.storage.name):
                self._loaded = load(self._target, loader, options, self._phases, save, self._folder)
        if operation is not None:
            self._loaded.begin(operation)
        return self._loaded

    def _loading(self) -> tuple[CallOptions, Save | None]:
        """Say how loaders are put into RAM, and what is to be told of the RAM they use."""
        before, after = self._options.before, self._options.after
        calls = replace(self._options.calls, may_reset=before is Before.RESET)
        if after is After.RESTORE or (before is Before.NONE and after is After.RUN):
            return replace(calls, largest_buffer=RESTORE_BUFFER), self._save
        return calls, None

    def _save(self, places: Sequence[Range]) -> None:
        """Keep what RAM holds before it is used; what an earlier loader saved is not read again."""
        saved = [Range(address, len(data)) for address, data in self._memory.items()]
        for place in without(places, saved):
            self._memory[place.address] = self._target.read_memory(place.address, place.size)

    def write(
        self, jobs: Sequence[StorageJob], verify: VerifyMode = VerifyMode.DIGEST, *, full: bool = False
    ) -> Report:
        """Erase, program and verify what differs; with full, all of it.

        Kept bytes lie in a recovery file from before the first erase until they are verified. What interrupted writes
        left is put back where it is certain that it belongs there. Raises KeptUnclear where it is not, before anything
        is touched, and OutputError when a recovery file cannot be written or used.
        """
        written = Written()
        if len(jobs) > 1:  # what does not fit is to be known before anything is erased
            for job in jobs:
                find_room(self._target, job.loader, *self._loading())
        for job in jobs:
            written = written.and_also(self._write_storage(job, verify, full=full))
        size = sum(job.content.size for job in jobs)
        return Report(size, written.skipped, self.calls, written.sectors, verify.value, written.restored)

    def look(self, jobs: Sequence[StorageJob], *, full: bool = False) -> Difference:
        """Find out what `write` would do now; changes nothing but the RAM that the loader uses."""
        touched = erased = programmed = skipped = kept = 0
        for job in jobs:
            opened = self.open(job.loader)
            delta = Writing(opened, self._phases, self._keeping(opened), VerifyMode.NONE, full=full).look(job)
            touched += len(job.sectors)
            erased += len(delta.erase)
            programmed += job.content.within(delta.places).size
            skipped += job.content.within(delta.skipped).size
            kept += sum(each.size for each in delta.keep)
        return Difference(touched, erased, programmed, skipped, kept)

    def load(
        self,
        content: Content,
        entry: int | None,
        loaders: Sequence[ExternalLoader] = (),
        verify: VerifyMode = VerifyMode.DIGEST,
        *,
        keep: bool = True,
    ) -> Report:
        """Bring a program to where its parts belong: external memory, internal flash by the server's means, then RAM.

        All is compared. What is not external is compared whatever verify says. Raises PlanError for what cannot be
        programmed, before anything is touched, and as `write` does.
        """
        regions = self._target.flash_regions()
        server = self._target.capabilities.server
        spans = [each.storage.span for each in loaders]
        program = split_program(content, entry, spans, [each.where for each in regions], server=server)
        jobs = plan_write(loaders, program.external, keep=keep) if program.external else ()
        report = self.write(jobs, verify) if jobs else Report(0, verified=VerifyMode.DIGEST.value)
        inside = program.flash.size + program.ram.size
        if not inside:
            return report
        if self._loaded is not None:  # its RAM is used now, and what Init did to the clocks is not what servers expect
            self._calls_before = self.calls
            loaded, self._loaded = self._loaded, None
            loaded.check_guards()
            if self._options.before is Before.RESET:
                self._target.reset_and_halt()
            self._put_back_memory()  # not over what is loaded
        Internal(self._target, self._phases, self._folder).load(program, regions, keep=keep)
        return replace(report, bytes=report.bytes + inside)

    def restore(self, loader: ExternalLoader, file: KeptFile) -> Report:
        """Put the bytes of a recovery file back over whatever lies there, and delete it once they are verified."""
        self._restoring = file
        report = self.write((plan_storage(loader, file.content),))
        leave(file, ())
        return report

    def _write_storage(self, job: StorageJob, verify: VerifyMode, *, full: bool) -> Written:
        opened = self.open(job.loader)
        keeping = self._keeping(opened)
        return Writing(opened, self._phases, keeping, verify, full=full).write(job)

    def _keeping(self, opened: LoadedLoader) -> Keeping:
        """Look for what earlier runs kept of this storage; raises OutputError for a file that cannot be used."""
        loader, capabilities = opened.loader, self._target.capabilities
        sweep(opened.identity)
        reached = f"{capabilities.server} {capabilities.place}".strip()
        origin = Origin(opened.identity, reached, loader.sha256, loader.storage.erased_value, time.time())
        files = overlapping(loader.storage.span, self._folder) if not loader.storage.is_ram else ()
        files = tuple(each for each in files if self._restoring is None or each.path != self._restoring.path)
        return Keeping(origin, loader.storage.type, self._options.kept, self._observe, files)

    def verify(self, jobs: Sequence[StorageJob]) -> Report:
        """Compare storages with the content of jobs; raises Mismatch."""
        for job in jobs:
            inspection = Inspection(self.open(job.loader), self._phases)
            inspection.verify(job.content, (), VerifyMode.DIGEST, advice=_ANOTHER_IMAGE)
        return Report(sum(job.content.size for job in jobs), calls=self.calls, verified=VerifyMode.DIGEST.value)

    def read(
        self, loader: ExternalLoader, where: Range, sink: Callable[[bytes], None], *, twice: bool = False
    ) -> Report:
        """Read a range of the storage and give it to sink slice by slice; raises Mismatch when it came wrong.

        What a loader's Read fetches is read once, and samples of it twice; with twice all of it.
        """
        opened = self.open(loader)
        in_one_pass = "Read" in loader.functions and not twice
        read = Reading(opened, self._phases).read if in_one_pass else Inspection(opened, self._phases).read_proven
        for _, data in read((where,)):
            sink(data)
        return Report(where.size, calls=self.calls, verified=VerifyMode.DIGEST.value)

    def erase(self, loader: ExternalLoader, sectors: Sequence[Range], *, chip: bool = False) -> Report:
        """Erase sectors (with chip: all of them, by MassErase) and see that they are blank; raises Mismatch."""
        opened = self.open(loader)
        keeping = self._keeping(opened)
        inspection = Inspection(opened, self._phases)
        proof = EraseProof(loader.storage, keeping.origin, inspection, () if chip else sectors)
        proof.look()
        keeping.erased_on_purpose((loader.storage.span,) if chip else sectors)
        keeping.keep_beside(proof.saved)
        erasing = Erasing(opened, self._phases, keeping.begins)
        size = sum(each.size for each in sectors)
        if chip:
            erasing.chip()
        else:
            or_chip = chip_erase.is_allowed(loader.functions, without((loader.storage.span,), sectors))
            done = erase_first(opened, self._phases, erasing, proof, keeping)
            erasing.sectors(sectors[done:], or_chip=or_chip)
            keeping.done()
        Inspection(opened, self._phases).expect_blank(joined(sectors))
        return Report(size, 0, self.calls, len(sectors), VerifyMode.DIGEST.value)

    def blank_check(self, loader: ExternalLoader, where: Range) -> Report:
        """Raise Mismatch, as soon as that is known, unless a range holds the value of erased bytes."""
        Inspection(self.open(loader), self._phases).expect_blank((where,), to_the_end=False)
        return Report(where.size, calls=self.calls, verified=VerifyMode.DIGEST.value)

    def checksum(self, loader: ExternalLoader, where: Range) -> Checksum:
        """Compute CRC-32 and byte sum of a range."""
        return Checksum(*Inspection(self.open(loader), self._phases).checksum(where))

    def call(self, loader: ExternalLoader, call: Call, *, init: bool) -> tuple[Returned, int]:
        """Make one raw call, after Init if so asked; returns its result and the bytes of stack used."""
        opened = self.open(loader)
        if call.function in _CHANGING:
            self._keeping(opened).called_raw(call.function)
        unit = {"Read": opened.border, "Write": opened.unit}.get(call.function, 1)
        odd = [each for each in call.arguments[:2] if each % unit]
        if odd:
            self._observe(
                Noted(
                    "odd-place",
                    f"0x{odd[0]:X} is no multiple of {unit}: nothing is rounded here, and after such a "
                    f"{call.function} some loaders return 1 and have done something else.",
                    {"unit": unit},
                )
            )
        if init:
            opened.begin(Operation.READ)
        returned = opened.call(call)
        return returned, opened.stack_used()


def check_thread_mode(target: Target) -> None:
    """Raise PrepareError when the core is stopped inside an exception handler.

    To the NVIC a loader run there would be part of the handler: its faults could lock up the core, and clearing what
    they leave active would clear the program's own exception (Armv7-M ARM, B1.5.15 and B3.2.6, VECTCLRACTIVE).
    """
    exception = target.read_registers(("xpsr",))["xpsr"] & 0x1FF
    if exception:
        raise PrepareError(
            f"The core is stopped inside the handler of {exception_name(exception)}, where no loader can run. "
            "Let it return (finish, or a breakpoint outside), or use --before reset.",
            exception=exception,
        )
