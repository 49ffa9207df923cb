"""Bytes that an interrupted write could not put back: when they still count, and when they are given up.

What belongs here: what becomes of a recovery file; its place and form are in `recovery`.
"""

from __future__ import annotations

from collections.abc import Iterable

from . import recovery
from .errors import OutputError
from .events import Noted, Observer, counted
from .inspection import Inspection
from .plan import Content, EraseMode, StorageJob, plan_storage
from .ranges import Range, joined, without

_NOTHING = Content(())


class Keeping:
    """The recovery file of one storage, while one command works on it."""

    def __init__(self, identity: recovery.Identity, observe: Observer) -> None:
        """Look for the file; raises OutputError when there is one that cannot be used."""
        self.path = recovery.path_for(identity)
        self._identity = identity
        self._observe = observe
        self._held = recovery.load(identity) or _NOTHING

    def added_to(self, job: StorageJob, inspection: Inspection, *, regardless: bool = False) -> StorageJob:
        """Give a job that keeps bytes those of the file as well, where its own content does not cover them.

        Raises OutputError when the chip holds something else in their place, unless regardless, and what reading may.
        """
        left = self._held.within(without(self._held.ranges, job.content.ranges))
        if not (left.pieces and job.keeping and job.erase is EraseMode.SECTORS):
            return job
        if not regardless:
            self._check_place(inspection, left, job.loader.storage.erased_value)
        whose = "" if self._identity.unit else " (the device told no unique ID: it may be from another board)"
        self._note("recovered", left.size, f"are put back from {self.path}{whose}")
        return plan_storage(job.loader, job.content.over(left), erase=job.erase)

    def _check_place(self, inspection: Inspection, kept: Content, erased_value: int) -> None:
        """Raise OutputError where the chip holds what no interrupted write leaves.

        That is the old bytes, erased ones, or something between: programming takes bits one way only.
        """
        for where, data in inspection.read_proven(kept.ranges):
            old = kept.read(where)
            if _may_become(int.from_bytes(data, "little"), int.from_bytes(old, "little"), erased_value, where.size):
                continue
            pairs = zip(data, old, strict=True)
            at = next(n for n, (one, other) in enumerate(pairs) if not _may_become(one, other, erased_value))
            raise OutputError(
                f"An interrupted write left {counted(kept.size, 'byte')} in {self.path} to be put back, but the chip "
                f"holds something else there (0x{where.address + at:08X}: {data[at]:02x}, not {old[at]:02x}): it was "
                "written since, is another board's, or lost its power in an erase. Move the file away to leave the "
                "chip as it is, or put the bytes back with --recover.",
                path=str(self.path),
                address=where.address + at,
                expected=old[at],
                actual=data[at],
            )

    def secure(self, gone: Iterable[Range], saved: Content = _NOTHING) -> None:
        """Have the file hold saved, and of what it held only what lies outside of gone; raises OutputError.

        gone is overwritten or erased because the user wants it: a later write must not put older bytes back there.
        """
        held = self._held
        self._held = held.within(without(held.ranges, joined(gone)))
        dropped = held.size - self._held.size - saved.within(held.ranges).size
        self._note("recovery-dropped", dropped, f"in {self.path} are given up: their place is written or erased now")
        self._note("recovery-left", self._held.size, f"stay in {self.path}: --erase sectors with --keep puts them back")
        if held.pieces or saved.pieces:
            recovery.replace(self._identity, saved.over(self._held))

    def say_where(self) -> None:
        """Tell the user, whose write failed, that what was saved is safe."""
        self._observe(Noted("kept", f"Bytes to keep are safe in {self.path}; the next write puts them back."))

    def done(self) -> None:
        """Let go of what was saved: it is where it belongs. Raises OutputError."""
        recovery.replace(self._identity, self._held)

    def _note(self, code: str, size: int, fate: str) -> None:
        if size:
            message = f"{counted(size, 'byte')} kept by an interrupted write {fate}."
            self._observe(Noted(code, message, {"path": str(self.path), "bytes": size}))


def _may_become(found: int, wanted: int, erased_value: int, size: int = 1) -> bool:
    """Tell whether programming alone makes wanted of what was found, both of size bytes in one number."""
    erased = int.from_bytes(bytes([erased_value]) * size, "little")
    # Bits that are not as wanted have to be as erasing leaves them.
    return not (found ^ wanted) & (found ^ erased)
