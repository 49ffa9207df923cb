"""Bytes that an interrupted write could not put back: when they still count, and when they are given up.

What belongs here: what becomes of a recovery file; its place and form are in `onchip.recovery`.
"""

from __future__ import annotations

from collections.abc import Iterable

from gdbflash.events import Noted, Observer, counted
from gdbflash.onchip import recovery
from gdbflash.plan.jobs import Content, EraseMode, StorageJob, plan_storage
from gdbflash.ranges import Range, joined, without

_NOTHING = Content(())


class Keeping:
    """The recovery file of one storage, while one command works on it."""

    def __init__(self, identity: recovery.Identity, observe: Observer) -> None:
        """Look for the file; raises OutputError when there is one that cannot be used."""
        self.path = recovery.path_for(identity)
        self._identity = identity
        self._observe = observe
        self._held = recovery.load(identity) or _NOTHING

    def added_to(self, job: StorageJob) -> StorageJob:
        """Give a job that keeps bytes those of the file as well, where its own content does not cover them."""
        left = self._held.within(without(self._held.ranges, job.content.ranges))
        if not (left.pieces and job.keeping and job.erase is EraseMode.SECTORS):
            return job
        whose = "" if self._identity.unit else " (the device told no unique ID: it may be from another board)"
        self._note("recovered", left.size, f"are put back from {self.path}{whose}")
        return plan_storage(job.loader, job.content.over(left), erase=job.erase)

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
