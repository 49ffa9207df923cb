"""Bytes that an interrupted write could not put back: when they go back, when they are given up, when the run asks.

What belongs here: what becomes of recovery files while one run works on one storage. Their form is in `kept_files`, the
comparison that decides in `plan.kept`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from gdbflash.errors import JsonValue, KeptUnclear, OutputError
from gdbflash.events import Noted, Observer, counted
from gdbflash.flash import kept_files
from gdbflash.flash.kept_files import KeptFile, KeptSector, Origin, age_in_words
from gdbflash.images.content import Content
from gdbflash.loaders.storage import StorageType
from gdbflash.options import Kept
from gdbflash.plan.jobs import EraseMode, StorageJob
from gdbflash.plan.kept import Belongs, belongs
from gdbflash.ranges import Range, joined, without

Read = Callable[[Range], bytes]
_NOTHING = Content(())
_PLAIN = frozenset({StorageType.NOR_FLASH, StorageType.SPI_FLASH, StorageType.I2C_FLASH})
"""Memories in which programming only takes bits away from the erased value: what is found tells what was meant."""
_MOST_MEANT = 4
"""Interrupted runs, one upon the other, whose meaning for a sector is remembered."""


@dataclass(frozen=True)
class Old:
    """A sector of an earlier file that this run concerns."""

    file: KeptFile
    sector: KeptSector
    rest: tuple[Range, ...]
    """Its kept bytes that this run's image does not cover."""
    found: bytes = b""
    belongs: Belongs | None = None
    """None: it was not looked at."""

    @property
    def kept(self) -> Content:
        """The bytes of rest."""
        return self.sector.content.within(self.rest)


@dataclass
class Keeping:
    """The recovery files of one storage, while one command works on it."""

    origin: Origin
    storage_type: int
    choice: Kept
    observe: Observer
    files: tuple[KeptFile, ...] = ()
    _mine: KeptFile | None = field(default=None, init=False)
    _old: list[Old] = field(default_factory=list, init=False)
    restored: Content = field(default=_NOTHING, init=False)
    """What of earlier files goes back with this run."""

    # Before anything is touched

    def look(self, read: Read, job: StorageJob, touched: Sequence[Range]) -> Content:
        """Decide about the earlier files, and give what is to be put back; raises KeptUnclear, and what reading may.

        read: gives the bytes of a range, proven. touched: the sectors that the run will erase or program.
        """
        concerned = job.sectors or joined(touched)
        elsewhere = 0
        unclear: list[Old] = []
        for file in self.files:
            for sector in file.sectors:
                rest = without(sector.kept, job.content.ranges)
                if not any(sector.where.overlaps(each) for each in concerned):
                    elsewhere += sum(each.size for each in sector.kept)
                    continue
                old = Old(file, sector, rest)
                replaced = job.erase is not EraseMode.NONE or job.loader.storage.write_erases
                if rest and replaced and not (not job.keeping and self._is_owner(file)):
                    old = self._looked_at(old, read)
                if old.belongs is Belongs.UNCLEAR and self.choice is Kept.ASK:
                    if any(sector.where.overlaps(each) for each in touched):
                        unclear.append(old)
                    else:
                        elsewhere += sum(each.size for each in sector.kept)
                        continue
                self._old.append(old)
        if unclear:
            raise self._ask(unclear)
        self._note("recovery-elsewhere", elsewhere, "stay as they are: `gdbflash kept` lists them")
        for old in self._old:
            if old.belongs is Belongs.CERTAIN or (old.belongs is Belongs.UNCLEAR and self.choice is Kept.RESTORE):
                self.restored = self.restored.over(old.kept) if self.restored.pieces else old.kept
        return self.restored

    def _looked_at(self, old: Old, read: Read) -> Old:
        where, origin = old.sector.where, old.file.origin
        found = read(where)
        begun = (
            self._is_owner(old.file)
            and old.sector.begun
            and not old.file.unclear
            and self.storage_type in _PLAIN
            and not self._contradicted(old)
        )
        how = belongs(found, where, old.kept, old.sector.meant, erased_value=origin.erased_value, begun=begun)
        return replace(old, found=found, belongs=how)

    def _contradicted(self, old: Old) -> bool:
        """Say whether another file holds other bytes for the same place."""
        for file in self.files:
            if file is not old.file:
                for address, data in file.content.within(old.rest).pieces:
                    theirs = Content.at(address, data)
                    mine = old.kept.within((Range(address, len(data)),))
                    if any(theirs.read(Range(at, len(piece))) != bytes(piece) for at, piece in mine.pieces):
                        return True
        return False

    def _is_owner(self, file: KeptFile) -> bool:
        return self.origin.same_owner(file.origin)

    def _ask(self, unclear: Sequence[Old]) -> KeptUnclear:
        first = unclear[0]
        places = joined(place for each in unclear for place in each.rest)
        file = first.file
        unit = file.origin.identity.unit
        if file.unclear:
            why = file.unclear
        elif not unit or not self.origin.identity.unit:
            why = "the device tells no unique ID, so this may be another board"
        elif unit != self.origin.identity.unit:
            why = f"they are of another unit, {unit}"
        elif file.origin.loader != self.origin.loader:
            why = "they were kept by another loader"
        else:
            why = "the chip holds there what that run did not leave by itself"
        size = sum(each.size for each in places)
        more = f" and {len(places) - 1} places more" if len(places) > 1 else ""
        return KeptUnclear(
            f"A write cut off {age_in_words(file.age)} ago kept {counted(size, 'byte')} of {places[0]}{more}, and "
            f"{why}. Nothing was touched: see `gdbflash kept show {file.path.name}`; say --kept restore to put them "
            "back, discard to give them up, or leave to go on without them.",
            file=str(file.path),
            files=[*sorted({str(each.file.path) for each in unclear})],
            ranges=[[each.address, each.size] for each in places],
            unit=unit,
            age=round(file.age),
            reason=why,
            found=first.found[:16].hex(),
        )

    # Before the first erase

    def secure(
        self,
        job: StorageJob,
        asked: Content,
        content: Content,
        erased: Sequence[Range],
        beside: Content = _NOTHING,
    ) -> None:
        """Write this run's own file, and then take out of the earlier ones what it holds or is given up on purpose.

        content: all that will be written, kept bytes included. erased: what will be erased. beside: what lies round it
        and is to stay, a piece for each sector. Raises OutputError.
        """
        own = [*self._own(asked, content, erased), *_whole_sectors(beside)]
        own.sort(key=lambda sector: sector.where)
        if own:
            self._mine = kept_files.save(self.origin, own)
        moved = {each.where for each in own}
        given_up = 0
        for old in self._old:
            if old.belongs is Belongs.UNCLEAR and self.choice is Kept.LEAVE:
                continue
            gone = old.sector.where in moved or (old.belongs is Belongs.UNCLEAR and self.choice is Kept.DISCARD)
            if self._is_owner(old.file) or old.belongs is Belongs.UNCLEAR:
                purposely = [*job.content.ranges]
                if not job.keeping:
                    purposely += [old.sector.where] if any(old.sector.where.overlaps(each) for each in erased) else []
                left = () if gone else without(old.sector.kept, purposely)
                stays = old.rest if gone and self.choice is not Kept.DISCARD else left
                given_up += sum(each.size for each in old.sector.kept) - sum(each.size for each in stays)
                self._take_out(old, left)
            elif not old.rest:
                size = sum(each.size for each in old.sector.kept)
                self._note("recovery-covered", size, f"in {old.file.path} stay there, though all are written over now")
        self._note("recovery-dropped", given_up, "are given up: their place is written or erased now")
        if self.restored.pieces:
            self._note("recovered", self.restored.size, "are put back", self.restored.ranges)

    def _own(self, asked: Content, content: Content, erased: Sequence[Range]) -> Iterable[KeptSector]:
        before = {old.sector.where: old for old in self._old if old.belongs is not None}
        back = {old.sector.where for old in self._old if self.restored.within(old.rest).pieces}
        value = bytes([self.origin.erased_value])
        for where in sorted({*erased, *back}):
            old = before.get(where)
            kept = without((where,), asked.ranges)
            under = Content.at(where.address, old.found) if old else _NOTHING
            whole = content.over(under).within((where,))
            if sum(len(data) for _, data in whole.pieces) != where.size:
                continue  # not to be kept: --no-keep
            data = whole.read(where)
            if all(not bytes(part).strip(value) for _, part in whole.within(kept).pieces):
                continue  # nothing there that an erase would take
            earlier = old.sector.meant if old and where in back else ()
            meant = tuple(dict.fromkeys((data, *earlier)))[:_MOST_MEANT]
            yield KeptSector(where, kept, meant, begun=where in back and old is not None and old.sector.begun)

    def erased_on_purpose(self, places: Sequence[Range]) -> None:
        """Take out of the files what is about to be erased because the user wants it; raises OutputError."""
        dropped = 0
        for file in self.files:
            for sector in file.sectors:
                left = without(sector.kept, places)
                lost = sum(each.size for each in sector.kept) - sum(each.size for each in left)
                if lost and self._is_owner(file):
                    self._take_out(Old(file, sector, ()), left)
                    dropped += lost
                elif lost:
                    self._note("recovery-covered", lost, f"in {file.path} stay there, though their place is erased now")
        self._note("recovery-dropped", dropped, "are given up: their place is written or erased now")

    def called_raw(self, function: str) -> None:
        """Say in the files that a raw call may have changed anything; raises OutputError."""
        for file in self.files:
            if file.origin.identity.unit in ("", self.origin.identity.unit):
                kept_files.say_unclear(file, f"{function} was called by itself since then")

    def keep_beside(self, beside: Content) -> None:
        """Write this run's own file with what lies round an erase and is to stay, by sector; raises OutputError."""
        if beside.pieces:
            self._mine = kept_files.save(self.origin, _whole_sectors(beside))

    def begins(self, where: Range) -> None:
        """Say, synced, that the erase of a range begins; raises OutputError."""
        if self._mine is not None and any(each.where.overlaps(where) for each in self._mine.sectors):
            kept_files.say_begun(self._mine, where)

    # At the end

    @property
    def kept(self) -> Content:
        """All that this run keeps for its end."""
        return self._mine.content if self._mine is not None else _NOTHING

    def say_where(self) -> None:
        """Tell the user, whose write failed, that what was kept is safe."""
        if self._mine is not None:
            places = self._mine.content.ranges
            self.observe(
                Noted(
                    "kept",
                    f"Bytes to keep are safe in {self._mine.path}; the next write puts them back, or asks where it is "
                    "not sure that they belong there.",
                    self._data(self._mine, places),
                    always=True,
                )
            )

    def done(self) -> None:
        """Let go of what is where it belongs, after it was compared; a file that cannot be removed is worth a note."""
        try:
            if self._mine is not None:
                kept_files.leave(self._mine, ())
            for old in self._old:
                restored = old.belongs is Belongs.UNCLEAR and self.choice is Kept.RESTORE
                if restored or (self._is_owner(old.file) and old.belongs in (Belongs.THERE, Belongs.CERTAIN)):
                    self._take_out(old, ())
        except OutputError as error:
            message = (
                f"All bytes are where they belong, but their file stays, and a later write will ask: {error.message}"
            )
            self.observe(Noted("recovery-stays", message, dict(error.data), always=True))

    def _take_out(self, old: Old, left: tuple[Range, ...]) -> None:
        """Have an earlier file hold only what is left of one of its sectors; raises OutputError."""
        current = next(each for each in self.files if each.path == old.file.path)
        sectors = tuple(
            replace(each, kept=left) if each.where == old.sector.where else each
            for each in current.sectors
            if each.where != old.sector.where or left
        )
        if sectors != current.sectors:
            kept_files.leave(current, sectors)
            changed = replace(current, sectors=sectors)
            self.files = tuple(changed if each is current else each for each in self.files)

    def _note(self, code: str, size: int, fate: str, places: Sequence[Range] = ()) -> None:
        if size:
            paths = sorted({str(each.path) for each in self.files} | {str(old.file.path) for old in self._old})
            data: dict[str, JsonValue] = {
                "path": paths[0] if paths else "",
                "bytes": size,
                "ranges": [[each.address, each.size] for each in places],
                "unit": self.origin.identity.unit,
            }
            message = f"{counted(size, 'byte')} kept by an interrupted write {fate}."
            self.observe(Noted(code, message, data, always=True))

    def _data(self, file: KeptFile, places: Sequence[Range]) -> dict[str, JsonValue]:
        return {
            "path": str(file.path),
            "ranges": [[each.address, each.size] for each in places],
            "unit": file.origin.identity.unit,
            "bytes": sum(each.size for each in places),
        }


def _whole_sectors(content: Content) -> list[KeptSector]:
    """Keep each piece of content as a sector of its own: what later runs decide, they decide by sector."""
    found = []
    for address, data in content.pieces:
        where = Range(address, len(data))
        found.append(KeptSector(where, (where,), (bytes(data),)))
    return found
