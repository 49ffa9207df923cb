"""Carry out jobs on a target: which loader when, in what order, and how the target is left.

What belongs here: policy. Decisions that need no target are in `plan`, the use of one loader is in `session`.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType

from . import quiesce, recovery
from .call import Call, Returned, exception_name
from .compare import Comparison
from .errors import ConnectionLost, GdbflashError, Interrupted, Mismatch, PrepareError, TargetError
from .events import Advanced, Finished, Noted, Observer, Phase, Started
from .loader import ExternalLoader, Sector
from .options import After, Before, RunOptions, VerifyMode
from .plan import Content, EraseMode, StorageJob, erase_steps, plan_storage, spans, transfer_steps
from .ranges import Range, joined, without
from .session import LoadedLoader, Operation, load
from .target import Target

ERASE_CALL = 64 * 1024
"""Bytes that one SectorErase call covers at most, unless one sector is larger: about a second of erasing."""
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


@dataclass(frozen=True)
class Checksum:
    """CRC-32 (zlib's) and byte sum modulo 2^32."""

    crc32: int
    byte_sum: int


class Flasher:
    """Run jobs on one target, and leave it as asked however they end.

    Use as a context manager. Every method may raise TargetError, PrepareError, ConnectionLost, and Interrupted when
    `cancelled` says so between two calls.
    """

    def __init__(
        self, target: Target, options: RunOptions, observe: Observer, cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        self._target = target
        self._options = options
        self._observe = observe
        self._cancelled = cancelled
        self._loaded: LoadedLoader | None = None
        self._registers: dict[str, int] = {}
        self._memory: dict[int, bytes] = {}
        self._surroundings: quiesce.Surroundings | None = None
        self._calls_before = 0

    def __enter__(self) -> Flasher:
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
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ConnectionLost):
            return
        try:
            self._leave()
        except GdbflashError as trouble:
            if error is None:
                raise
            self._observe(Noted("close-failed", f"Leaving the target failed too: {trouble.message}"))

    def _leave(self) -> None:
        after = self._options.after
        with self._phase("close"):
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
            self._target.write_registers(self._registers)
            if self._surroundings is not None:
                quiesce.put_back(self._target, self._surroundings)
            if after is After.RUN:
                self._target.resume()

    @contextmanager
    def _phase(self, phase: Phase, total: int = 0, label: str = "") -> Iterator[Callable[[int], None]]:
        """Report a phase; yields the function that is told of each piece of progress in bytes."""
        self._observe(Started(phase, total, label))
        begun = time.monotonic()
        done = 0

        def advance(size: int) -> None:
            nonlocal done
            done += size
            self._observe(Advanced(phase, done))
            if self._cancelled():
                raise Interrupted(f"Interrupted during {phase}, after {done} of {total} bytes.", phase=phase, done=done)

        yield advance
        self._observe(Finished(phase, time.monotonic() - begun))

    @property
    def calls(self) -> int:
        """Count the loader calls made so far."""
        return self._calls_before + (self._loaded.calls if self._loaded else 0)

    def open(self, loader: ExternalLoader, operation: Operation | None = None) -> LoadedLoader:
        """Put a loader into RAM unless it is there already, and make it ready for one kind of use."""
        if self._loaded is None or self._loaded.loader is not loader:
            self._calls_before = self.calls
            self._loaded = None
            options = self._options.calls
            saving = self._options.before is Before.NONE and self._options.after in (After.RESTORE, After.RUN)
            if saving:
                options = replace(options, largest_buffer=RESTORE_BUFFER)
            with self._phase("init", label=loader.storage.name):
                self._loaded = load(self._target, loader, options, self._observe, self._save if saving else None)
        if operation is not None:
            self._loaded.begin(operation)
        return self._loaded

    def _save(self, places: Sequence[Range]) -> None:
        """Keep what RAM holds before it is used; what an earlier loader saved is not read again."""
        saved = [Range(address, len(data)) for address, data in self._memory.items()]
        for place in without(places, saved):
            self._memory[place.address] = self._target.read_memory(place.address, place.size)

    def write(self, jobs: Sequence[StorageJob], verify: VerifyMode = VerifyMode.READBACK) -> Report:
        """Erase, program and verify; kept bytes lie in a recovery file from before the first erase until the end.

        Raises also OutputError when the recovery file cannot be written or used.
        """
        sectors = sum(self._write_storage(job, verify) for job in jobs)
        size = sum(job.content.size for job in jobs)
        return Report(size, calls=self.calls, sectors_erased=sectors, verified=verify.value)

    def _write_storage(self, job: StorageJob, verify: VerifyMode) -> int:
        """Write one storage; returns how many sectors were erased."""
        storage = job.loader.storage
        opened = self.open(job.loader)
        identity = recovery.Identity(storage.name, storage.address, storage.extent, opened.device.unit)
        asked = job.content
        job = self._with_recovered(job, identity)
        content = job.content.over(self._read_kept(opened, job))
        saved = content.within(without(content.ranges, asked.ranges))
        if saved.pieces:
            recovery.save(identity, saved)
        try:
            if job.erase is not EraseMode.NONE:
                self._erase(opened, job.sectors, chip=job.erase is EraseMode.CHIP)
            self._program(opened, content)
            # Kept bytes leave the recovery file only after they were compared, whatever was asked for the image.
            self._verify(opened, saved if verify is VerifyMode.NONE else content, verify)
            if verify is not VerifyMode.NONE:
                self._expect_blank(opened, without(spans(job.sectors), content.ranges))
        except BaseException:
            if saved.pieces:
                path = recovery.path_for(identity)
                self._observe(Noted("kept", f"Bytes to keep are safe in {path}; the next write puts them back."))
            raise
        if saved.pieces:
            recovery.remove(identity)
        return len(job.sectors)

    def _with_recovered(self, job: StorageJob, identity: recovery.Identity) -> StorageJob:
        """Add the bytes that an interrupted write left in its recovery file to a job."""
        recovered = recovery.load(identity)
        if recovered is None:
            return job
        path = recovery.path_for(identity)
        if job.erase is not EraseMode.SECTORS:
            self._observe(
                Noted("recovery-left", f"{path} of an interrupted write stays: only --erase sectors applies it.")
            )
            return job
        whose = "" if identity.unit else " (the device told no unique ID: it may be from another board)"
        self._observe(
            Noted(
                "recovered",
                f"{recovered.size} bytes kept by an interrupted write are put back from {path}{whose}.",
                {"path": str(path), "bytes": recovered.size},
            )
        )
        return plan_storage(job.loader, job.content.over(recovered), erase=job.erase)

    def _read_kept(self, opened: LoadedLoader, job: StorageJob) -> Content:
        """Read the bytes that the erase would take; raises TargetError naming the way out."""
        try:
            pieces = self._read_places(opened, Operation.READ, "read", job.keep)
            return Content(tuple((where.address, memoryview(data)) for where, data in pieces))
        except TargetError as error:
            raise type(error)(
                f"The bytes to keep beside the image could not be read, and nothing was erased: {error.message} "
                "--no-keep gives them up.",
                **error.data,
            ) from error

    def _read_places(
        self, opened: LoadedLoader, operation: Operation, phase: Phase, places: Sequence[Range]
    ) -> Iterator[tuple[Range, bytes]]:
        """Read places slice by slice as one phase; nothing at all happens where there are none."""
        if not places:
            return
        with self._phase(phase, sum(each.size for each in places)) as advance:
            opened.begin(operation)
            for where in transfer_steps(places, opened.slice, opened.loader.storage.page_size):
                data = opened.read(where)
                advance(where.size)
                yield where, data

    def _erase(self, opened: LoadedLoader, sectors: Sequence[Sector], *, chip: bool) -> None:
        with self._phase("erase", sum(each.size for each in sectors)) as advance:
            opened.begin(Operation.ERASE)
            if chip:
                opened.mass_erase(len(sectors))
                advance(sum(each.size for each in sectors))
                return
            for step in erase_steps(sectors, ERASE_CALL):
                opened.erase(step)
                advance(step.size)

    def _program(self, opened: LoadedLoader, content: Content) -> None:
        with self._phase("program", content.size) as advance:
            opened.begin(Operation.WRITE)
            for where in transfer_steps(content.ranges, opened.chunk, opened.loader.storage.page_size):
                opened.write(where.address, content.read(where))
                advance(where.size)

    def _verify(self, opened: LoadedLoader, content: Content, mode: VerifyMode) -> None:
        """Compare memory with content; raises Mismatch."""
        places = content.ranges
        if mode is VerifyMode.LOADER:
            words = tuple(_whole_words(each) for each in places)
            self._verify_by_loader(opened, content, joined(words))
            places = without(places, words)
        comparison = Comparison()
        for where, data in self._read_places(opened, Operation.VERIFY, "verify", places):
            comparison.feed(where.address, content.read(where), data)
        comparison.check("Verification failed", "Erase and write again; if it stays, suspect the chip or its wiring.")

    def _verify_by_loader(self, opened: LoadedLoader, content: Content, places: Sequence[Range]) -> None:
        with self._phase("verify", sum(each.size for each in places)) as advance:
            opened.begin(Operation.VERIFY)
            for where in transfer_steps(places, opened.chunk, opened.loader.storage.page_size):
                if not opened.verifies(where.address, content.read(where)):
                    raise Mismatch(
                        f"The loader's Verify does not confirm {where}, or not with the right checksum. "
                        "Use --verify readback to see which bytes differ.",
                        first=where.address,
                        last=where.end - 1,
                    )
                advance(where.size)

    def _expect_blank(self, opened: LoadedLoader, places: Sequence[Range]) -> None:
        """Raise Mismatch unless all places hold the value of erased bytes."""
        erased = bytes([opened.loader.storage.erased_value])
        comparison = Comparison()
        for where, data in self._read_places(opened, Operation.BLANK_CHECK, "verify", places):
            comparison.feed(where.address, erased * where.size, data)
        comparison.check("Not blank", "Erase it; if it stays, check the chip's write protection.", patterns=False)

    def verify(self, jobs: Sequence[StorageJob]) -> Report:
        """Compare storages with the content of jobs; raises Mismatch."""
        for job in jobs:
            self._verify(self.open(job.loader), job.content, VerifyMode.READBACK)
        return Report(sum(job.content.size for job in jobs), calls=self.calls, verified=VerifyMode.READBACK.value)

    def read(self, loader: ExternalLoader, where: Range, sink: Callable[[bytes], None]) -> Report:
        """Read a range of the storage and give it to sink slice by slice."""
        for _, data in self._read_places(self.open(loader), Operation.READ, "read", (where,)):
            sink(data)
        return Report(where.size, calls=self.calls)

    def erase(self, loader: ExternalLoader, sectors: Sequence[Sector], *, chip: bool = False) -> Report:
        """Erase sectors (with chip: all of them, by MassErase) and see that they are blank; raises Mismatch."""
        opened = self.open(loader)
        self._erase(opened, sectors, chip=chip)
        self._expect_blank(opened, joined(spans(sectors)))
        return Report(sum(each.size for each in sectors), 0, self.calls, len(sectors), VerifyMode.READBACK.value)

    def blank_check(self, loader: ExternalLoader, where: Range) -> Report:
        """Raise Mismatch unless a range holds the value of erased bytes."""
        self._expect_blank(self.open(loader), (where,))
        return Report(where.size, calls=self.calls, verified=VerifyMode.READBACK.value)

    def checksum(self, loader: ExternalLoader, where: Range) -> Checksum:
        """Compute CRC-32 and byte sum of a range."""
        crc32 = byte_sum = 0
        for _, data in self._read_places(self.open(loader), Operation.READ, "read", (where,)):
            crc32 = zlib.crc32(data, crc32)
            byte_sum = (byte_sum + sum(data)) & 0xFFFFFFFF
        return Checksum(crc32, byte_sum)

    def call(self, loader: ExternalLoader, call: Call, *, init: bool) -> tuple[Returned, int]:
        """Make one raw call, after Init if so asked; returns its result and the bytes of stack used."""
        opened = self.open(loader)
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


def _whole_words(where: Range) -> Range:
    """Cut a range down to its aligned words."""
    start = -(-where.address // 4) * 4
    return Range(start, max(0, where.end // 4 * 4 - start))
