"""Bring content to one storage: find out what differs, erase, program, compare.

What belongs here: the order of a write, in which nothing is lost that is to stay. What each step decides is in `plan`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gdbflash.errors import TargetError
from gdbflash.flash.erase_unit import EraseProof, as_erased
from gdbflash.flash.erasing import Erasing
from gdbflash.flash.filling import filling, note_programmed_twice, rewritten
from gdbflash.flash.first_erase import erase_first
from gdbflash.flash.inspection import Inspection
from gdbflash.flash.keeping import Keeping
from gdbflash.flash.kept_files import Origin
from gdbflash.flash.phases import Phases
from gdbflash.flash.programming import Programming
from gdbflash.images.content import Content
from gdbflash.loaders.storage import StorageInfo
from gdbflash.onchip.loaded import LoadedLoader
from gdbflash.options import VerifyMode
from gdbflash.plan import chip_erase
from gdbflash.plan.borders import blank, units_of
from gdbflash.plan.delta import Delta, everything, not_erased, remaining
from gdbflash.plan.delta import units_of as pieces_of
from gdbflash.plan.jobs import EraseMode, StorageJob, plan_storage
from gdbflash.ranges import Range, joined, without


@dataclass(frozen=True)
class Written:
    """What was done to one storage: bytes that were there already, sectors erased, kept bytes put back."""

    skipped: int = 0
    sectors: int = 0
    restored: int = 0

    def and_also(self, other: Written) -> Written:
        """Add both up."""
        return Written(self.skipped + other.skipped, self.sectors + other.sectors, self.restored + other.restored)


class Writing:
    """Writes to the storage of one open loader."""

    def __init__(
        self, opened: LoadedLoader, phases: Phases, keeping: Keeping, verify: VerifyMode, *, full: bool
    ) -> None:
        """full: all of it is erased and programmed, whatever is there."""
        self._opened = opened
        self._phases = phases
        self._keeping = keeping
        self._verify = verify
        self._full = full
        self._inspection = Inspection(opened, phases)

    def write(self, job: StorageJob) -> Written:
        """Bring a job's content to its storage; raises as `Flasher.write`."""
        opened, inspection, keeping = self._opened, self._inspection, self._keeping
        job, storage = self._as_erased(job, keeping.origin)
        asked = job.content
        delta = everything(job) if self._full else self._delta(job)
        programmed = units_of(delta.places, opened.unit)
        touched = (storage.span,) if job.erase is EraseMode.CHIP else (*delta.touched, *programmed)
        restored = keeping.look(inspection.read_whole, job, touched)
        if restored.pieces:
            job = plan_storage(job.loader, job.content.over(restored), erase=job.erase, keep=job.keeping)
            delta = everything(job) if self._full else self._delta(job)
        content = job.content.over(self._kept(delta, storage.erased_value))
        places = joined((*delta.places, *delta.keep))
        if delta.touched and not self._full:
            places = not_erased(content, places, storage.erased_value, storage.page_size)
        completed = filling(inspection, job, delta, content, places, opened.unit)
        content = content.over(completed)
        note_programmed_twice(job, delta, self._phases.observe)
        saved = content.within(without(content.ranges, asked.ranges))
        proof = EraseProof(storage, keeping.origin, inspection, () if job.erase is EraseMode.CHIP else delta.erase)
        proof.look()
        written_over = rewritten(job, completed, opened.unit)
        keeping.secure(job, asked, content, (*delta.erase, *written_over), proof.saved)
        try:
            erased = self._erase(job, delta, proof, content)
            if proof.written_over:
                places = joined((*places, *delta.erase))
                content = content.over(blank(without(delta.erase, content.ranges), storage.erased_value))
            for each in written_over:
                keeping.begins(each)
            Programming(opened, self._phases).program(content.within(units_of(places, opened.unit)))
            self._check(delta, content, saved)
        except BaseException:
            keeping.say_where()
            raise
        keeping.done()
        return Written(asked.within(delta.skipped).size, len(erased), restored.size)

    def look(self, job: StorageJob) -> Delta:
        """Say what is left to do of a job, and change nothing."""
        job, _ = self._as_erased(job, self._keeping.origin)
        return everything(job) if self._full else self._delta(job)

    def _as_erased(self, job: StorageJob, origin: Origin) -> tuple[StorageJob, StorageInfo]:
        """Plan a job anew where an earlier run measured a larger erase unit than its loader says."""
        storage = job.loader.storage
        if job.erase is not EraseMode.SECTORS:
            return job, storage
        wider = as_erased(storage, origin, self._phases.observe)
        if wider is storage:
            return job, storage
        loader = replace(job.loader, storage=wider)
        planned = plan_storage(loader, job.content, erase=job.erase, keep=job.keeping)
        return replace(planned, or_chip=job.or_chip), wider

    def _delta(self, job: StorageJob) -> Delta:
        """Find out what is left to do."""
        units = pieces_of(job, self._inspection.largest_piece)
        return remaining(job, units, self._inspection.states(units, job.content))

    def _check(self, delta: Delta, content: Content, saved: Content) -> None:
        """Verify what was written, and by digest or reading back also what was skipped; raises Mismatch.

        Sectors that were left alone count too: a loader may erase more than it says. Kept bytes leave the recovery file
        only after they were compared, whatever was asked for the image.
        """
        rest, verify = without(delta.touched, content.ranges), self._verify
        if verify is VerifyMode.NONE:
            content, rest, verify = saved, (), VerifyMode.DIGEST
        if verify is VerifyMode.DIGEST and delta.is_nothing:
            return  # its digests are known already
        if content.pieces or rest:
            self._inspection.verify(content, rest, verify)

    def _kept(self, delta: Delta, erased_value: int) -> Content:
        """Take the bytes that the erase takes, reading what is not blank; raises TargetError naming the way out."""
        try:
            self._inspection.expect_still_blank(delta.blank)
            read = [(where.address, data) for where, data in self._inspection.read_proven(delta.keep_as_read)]
        except TargetError as error:
            raise error.reworded(
                f"The bytes to keep beside the image could not be read, so nothing was erased there: {error.message} "
                "--no-keep gives them up."
            ) from error
        return Content.of(Content.of(read).within(delta.keep).pieces, blank(delta.blank, erased_value).pieces)

    def _erase(self, job: StorageJob, delta: Delta, proof: EraseProof, content: Content) -> tuple[Range, ...]:
        """Erase what is to be erased; all of it where the job says so, or allows it and nothing would be lost.

        Returns what was erased.
        """
        erasing, storage = Erasing(self._opened, self._phases, self._keeping.begins), job.loader.storage
        if job.erase is EraseMode.CHIP and delta.erase:
            return erasing.chip()
        lost = not_erased(job.content, delta.skipped, storage.erased_value, storage.page_size)
        done = erase_first(self._opened, self._phases, erasing, proof, self._keeping, content)
        if proof.written_over:
            return ()
        or_chip = job.or_chip and chip_erase.is_allowed(job.loader.functions, lost)
        rest = erasing.sectors(delta.erase[done:], or_chip=or_chip)
        return rest if len(rest) > len(delta.erase) - done else delta.erase
