"""Carry out jobs on a target: which loader when, in what order, and how the target is left.

What belongs here: policy. Decisions that need no target are in `plan`, the use of one loader is in `onchip.loaded`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType

from gdbflash.errors import CallFailed, ConnectionLost, EraseFailed, GdbflashError, Mismatch, PrepareError, TargetError
from gdbflash.events import Noted, Observer, counted, unobserved
from gdbflash.flash.erase_unit import EraseProof, as_erased
from gdbflash.flash.erasing import Erasing
from gdbflash.flash.filling import filling, note_programmed_twice, rewritten
from gdbflash.flash.inspection import Inspection
from gdbflash.flash.keeping import Keeping
from gdbflash.flash.kept_files import KeptFile, Origin, leave, overlapping
from gdbflash.flash.phases import Phases
from gdbflash.flash.programming import Programming
from gdbflash.host import held
from gdbflash.images.content import Content
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.loaders.storage import StorageInfo
from gdbflash.onchip import quiesce
from gdbflash.onchip.call import Call, Returned
from gdbflash.onchip.faults import exception_name
from gdbflash.onchip.loaded import LoadedLoader, Operation, find_room, load
from gdbflash.onchip.placement import Save, identify
from gdbflash.onchip.state import sweep
from gdbflash.options import After, Before, CallOptions, RunOptions, VerifyMode
from gdbflash.plan.borders import blank, units_of
from gdbflash.plan.delta import Delta, everything, not_erased, remaining
from gdbflash.plan.delta import units_of as pieces_of
from gdbflash.plan.jobs import EraseMode, StorageJob, plan_storage
from gdbflash.ranges import Range, joined, without
from gdbflash.target import Target

_DEFAULTS = RunOptions()
_NOTHING = Content(())
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
class Written:
    """What was done to one storage: bytes that were there already, sectors erased, kept bytes put back."""

    skipped: int = 0
    sectors: int = 0
    restored: int = 0

    def and_also(self, other: Written) -> Written:
        """Add both up."""
        return Written(self.skipped + other.skipped, self.sectors + other.sectors, self.restored + other.restored)


@dataclass(frozen=True)
class Checksum:
    """CRC-32 (zlib's) and byte sum modulo 2^32."""

    crc32: int
    byte_sum: int


class Flasher:
    """Run jobs on one target, and leave it as asked however they end.

    Use as a context manager on a target that `connect` or `launch` gave: entering takes it and leaving leaves it as
    options say. observe gets the events. Every method may raise TargetError, PrepareError, ConnectionLost, and
    Interrupted when `cancelled` says so between two calls.
    """

    def __init__(
        self,
        target: Target,
        options: RunOptions = _DEFAULTS,
        observe: Observer = unobserved,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._target = target
        self._options = options
        self._observe = observe
        self._phases = Phases(observe, cancelled)
        self._loaded: LoadedLoader | None = None
        self._registers: dict[str, int] = {}
        self._memory: dict[int, bytes] = {}
        self._surroundings: quiesce.Surroundings | None = None
        self._calls_before = 0
        self._restoring: KeptFile | None = None
        self._mine = contextlib.ExitStack()

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
        """Have the target for this process alone; raises TargetInUse."""
        unit = identify(self._target, 0).unit
        place = self._target.capabilities.place or self._target.capabilities.server
        what = f"the unit {unit}" if unit else f"the target at {place}"
        self._mine.enter_context(held(unit or place, what, lambda said: self._observe(Noted("no-lock", said))))

    def _take(self) -> None:
        if self._options.before is Before.RESET:
            self._target.reset_and_halt()
        if self._options.after in (After.RUN, After.RESTORE):
            try:
                self._registers = self._target.read_registers(sorted(self._target.capabilities.registers))
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
            finally:
                self._leave_as(after)

    def _leave_as(self, after: After) -> None:
        if after is After.RESET:
            self._target.reset_and_run()
        elif after is After.HALT:
            self._observe(Noted("halted", "The target stays halted, with the loader in its RAM."))
        else:
            if self._surroundings is not None:
                quiesce.still(self._target, self._surroundings)
            for address, data in self._memory.items():
                self._target.write_memory(address, data)
            # Thread mode first: in the handler that a fault leads to, SP is MSP and SPSEL cannot be set (B1.4.4).
            self._target.write_registers({"xpsr": self._registers["xpsr"]})
            self._target.write_registers(self._registers)
            if self._surroundings is not None:
                quiesce.put_back(self._target, self._surroundings)
            if after is After.RUN:
                self._target.resume()

    def _leave_untouched(self) -> None:
        """Leave a target as asked that could not be taken: nothing in it was changed, but connecting has halted it."""
        if self._options.after is After.RESET:
            self._target.reset_and_run()
        elif self._options.after is After.RUN:
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
            options, save = self._loading()
            with self._phases.phase("init", label=loader.storage.name):
                self._loaded = load(self._target, loader, options, self._observe, save)
            self._loaded.pause, self._loaded.check = self._phases.pause, self._phases.check
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

    def restore(self, loader: ExternalLoader, file: KeptFile) -> Report:
        """Put the bytes of a recovery file back over whatever lies there, and delete it once they are verified."""
        self._restoring = file
        report = self.write((plan_storage(loader, file.content),))
        leave(file, ())
        return report

    def _write_storage(self, job: StorageJob, verify: VerifyMode, *, full: bool) -> Written:
        opened = self.open(job.loader)
        inspection = Inspection(opened, self._phases)
        keeping = self._keeping(opened)
        job, storage = self._as_erased(job, keeping.origin)
        asked = job.content
        delta = everything(job) if full else self._delta(inspection, job)
        programmed = units_of(delta.places, opened.unit)
        touched = (storage.span,) if job.erase is EraseMode.CHIP else (*delta.touched, *programmed)
        restored = keeping.look(inspection.read_whole, job, touched)
        if restored.pieces:
            job = plan_storage(job.loader, job.content.over(restored), erase=job.erase, keep=job.keeping)
            delta = everything(job) if full else self._delta(inspection, job)
        content = job.content.over(self._kept(inspection, delta, storage.erased_value))
        places = joined((*delta.places, *delta.keep))
        if delta.touched and not full:
            places = not_erased(content, places, storage.erased_value, storage.page_size)
        completed = filling(inspection, job, delta, content, places, opened.unit)
        content = content.over(completed)
        note_programmed_twice(job, delta, self._observe)
        saved = content.within(without(content.ranges, asked.ranges))
        proof = EraseProof(storage, keeping.origin, inspection, () if job.erase is EraseMode.CHIP else delta.erase)
        proof.look()
        written_over = rewritten(job, completed, opened.unit)
        keeping.secure(job, asked, content, (*delta.erase, *written_over), proof.saved)
        try:
            erased = self._erase(opened, job, delta, keeping, proof, content)
            if proof.written_over:
                places = joined((*places, *delta.erase))
                content = content.over(blank(without(delta.erase, content.ranges), storage.erased_value))
            for each in written_over:
                keeping.begins(each)
            Programming(opened, self._phases).program(content.within(units_of(places, opened.unit)))
            self._check(inspection, delta, content, saved, verify)
        except BaseException:
            keeping.say_where()
            raise
        keeping.done()
        return Written(asked.within(delta.skipped).size, len(erased), restored.size)

    def _as_erased(self, job: StorageJob, origin: Origin) -> tuple[StorageJob, StorageInfo]:
        """Plan a job anew where an earlier run measured a larger erase unit than its loader says."""
        storage = job.loader.storage
        if job.erase is not EraseMode.SECTORS:
            return job, storage
        wider = as_erased(storage, origin, self._observe)
        if wider is storage:
            return job, storage
        loader = replace(job.loader, storage=wider)
        planned = plan_storage(loader, job.content, erase=job.erase, keep=job.keeping)
        return replace(planned, or_chip=job.or_chip), wider

    def _keeping(self, opened: LoadedLoader) -> Keeping:
        """Look for what earlier runs kept of this storage; raises OutputError for a file that cannot be used."""
        loader, capabilities = opened.loader, self._target.capabilities
        sweep(opened.identity)
        reached = f"{capabilities.server} {capabilities.place}".strip()
        origin = Origin(opened.identity, reached, loader.sha256, loader.storage.erased_value, time.time())
        files = overlapping(loader.storage.span) if not loader.storage.is_ram else ()
        files = tuple(each for each in files if self._restoring is None or each.path != self._restoring.path)
        return Keeping(origin, loader.storage.type, self._options.kept, self._observe, files)

    def _delta(self, inspection: Inspection, job: StorageJob) -> Delta:
        """Find out what is left to do."""
        units = pieces_of(job, inspection.largest_piece)
        return remaining(job, units, inspection.states(units, job.content))

    def _check(
        self, inspection: Inspection, delta: Delta, content: Content, saved: Content, verify: VerifyMode
    ) -> None:
        """Verify what was written, and by digest or reading back also what was skipped; raises Mismatch.

        Sectors that were left alone count too: a loader may erase more than it says. Kept bytes leave the recovery file
        only after they were compared, whatever was asked for the image.
        """
        rest = without(delta.touched, content.ranges)
        if verify is VerifyMode.NONE:
            content, rest, verify = saved, (), VerifyMode.DIGEST
        if verify is VerifyMode.DIGEST and delta.is_nothing:
            return  # its digests are known already
        if content.pieces or rest:
            inspection.verify(content, rest, verify)

    def _kept(self, inspection: Inspection, delta: Delta, erased_value: int) -> Content:
        """Take the bytes that the erase takes, reading what is not blank; raises TargetError naming the way out."""
        blank = [(each.address, bytes([erased_value]) * each.size) for each in delta.blank]
        try:
            inspection.expect_still_blank(delta.blank)
            read = [(where.address, data) for where, data in inspection.read_proven(delta.keep_as_read)]
        except TargetError as error:
            raise error.reworded(
                f"The bytes to keep beside the image could not be read, so nothing was erased there: {error.message} "
                "--no-keep gives them up."
            ) from error
        return Content.of(Content.of(read).within(delta.keep).pieces, blank)

    def _erase(
        self,
        opened: LoadedLoader,
        job: StorageJob,
        delta: Delta,
        keeping: Keeping,
        proof: EraseProof,
        content: Content,
    ) -> tuple[Range, ...]:
        """Erase what is to be erased; all of it where the job says so, or allows it and nothing would be lost.

        Returns what was erased.
        """
        erasing, storage = Erasing(opened, self._phases, keeping.begins), job.loader.storage
        if job.erase is EraseMode.CHIP and delta.erase:
            return erasing.chip()
        lost = not_erased(job.content, delta.skipped, storage.erased_value, storage.page_size)
        done = self._proven(erasing, proof, keeping, opened, content)
        if proof.written_over:
            return ()
        rest = erasing.sectors(delta.erase[done:], or_chip=job.or_chip and not lost)
        return rest if len(rest) > len(delta.erase) - done else delta.erase

    def _proven(
        self,
        erasing: Erasing,
        proof: EraseProof,
        keeping: Keeping,
        opened: LoadedLoader,
        content: Content = _NOTHING,
    ) -> int:
        """Make the first calls by themselves and look what became of their neighbours; gives the sectors erased.

        content: what is to be there in the end.
        """
        done = 0
        for call in proof.calls:
            count = sum(call.where.overlaps(each) for each in proof.erased)
            erasing.one_call(call.where, count)
            done += count

            def put_back(lost: Sequence[Range], call: Range = call.where) -> None:
                places = joined((*lost, call))
                kept = keeping.kept.within(places)
                Programming(opened, self._phases).program(kept)
                Inspection(opened, self._phases).verify(kept, (), VerifyMode.DIGEST)
                keeping.done()

            if not proof.is_erased(call):
                self._write_over(opened, proof, call.where, content.within((call.where,)))
            proof.check(call, put_back)
            if proof.written_over:
                break
        return done

    def _write_over(self, opened: LoadedLoader, proof: EraseProof, where: Range, content: Content) -> None:
        """Write a sector whole that an erase left as it was, and see that Write takes away what was there.

        Raises EraseFailed where it does not.
        """
        storage = opened.loader.storage
        failed = EraseFailed(
            f"SectorErase of {where} returned 1, but the sector holds what it held. It is write-protected or worn, or "
            "needs another erase (--erase chip).",
            address=where.address,
            size=where.size,
        )
        if not content.pieces:
            raise failed
        whole = content.over(blank((where,), storage.erased_value))
        try:
            Programming(opened, self._phases).program(whole)
            Inspection(opened, self._phases).verify(whole, (), VerifyMode.DIGEST)
        except (CallFailed, Mismatch) as error:
            raise failed from error
        proof.written_over = True
        self._observe(
            Noted(
                "empty-erase",
                "SectorErase leaves sectors as they are, and Write takes away what was there: sectors are written "
                "whole, one after the other.",
            )
        )

    def verify(self, jobs: Sequence[StorageJob]) -> Report:
        """Compare storages with the content of jobs; raises Mismatch."""
        for job in jobs:
            Inspection(self.open(job.loader), self._phases).verify(job.content, (), VerifyMode.DIGEST)
        return Report(sum(job.content.size for job in jobs), calls=self.calls, verified=VerifyMode.DIGEST.value)

    def read(self, loader: ExternalLoader, where: Range, sink: Callable[[bytes], None]) -> Report:
        """Read a range of the storage and give it to sink slice by slice; raises Mismatch when it came wrong."""
        for _, data in Inspection(self.open(loader), self._phases).read_proven((where,)):
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
            whole = size == loader.storage.extent
            done = self._proven(erasing, proof, keeping, opened)
            erasing.sectors(sectors[done:], or_chip=whole and "MassErase" in loader.functions)
            keeping.done()
        Inspection(opened, self._phases).expect_blank(joined(sectors))
        return Report(size, 0, self.calls, len(sectors), VerifyMode.DIGEST.value)

    def blank_check(self, loader: ExternalLoader, where: Range) -> Report:
        """Raise Mismatch unless a range holds the value of erased bytes."""
        Inspection(self.open(loader), self._phases).expect_blank((where,))
        return Report(where.size, calls=self.calls, verified=VerifyMode.DIGEST.value)

    def checksum(self, loader: ExternalLoader, where: Range) -> Checksum:
        """Compute CRC-32 and byte sum of a range."""
        return Checksum(*Inspection(self.open(loader), self._phases).checksum(where))

    def call(self, loader: ExternalLoader, call: Call, *, init: bool) -> tuple[Returned, int]:
        """Make one raw call, after Init if so asked; returns its result and the bytes of stack used."""
        opened = self.open(loader)
        if call.function in _CHANGING:
            self._keeping(opened).called_raw(call.function)
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
