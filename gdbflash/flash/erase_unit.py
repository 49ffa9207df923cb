"""See that an erase takes no more than its loader says, before much can be lost.

What belongs here: the proof that is made once for a loader on a unit, and what was learned from one that failed. Which
sectors tell is decided in `plan.erase_unit`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gdbflash.errors import EraseFailed, EraseUnitLarger, OutputError
from gdbflash.events import Noted, Observer, bytes_in_words
from gdbflash.flash.kept_files import Origin
from gdbflash.flash.looks import Looks
from gdbflash.host.folders import directory, made_directory
from gdbflash.images.content import Content
from gdbflash.loaders.storage import StorageInfo
from gdbflash.onchip import state
from gdbflash.plan.erase_unit import measured, neighbours, next_one_proves, widened
from gdbflash.ranges import Range, joined

_FORMAT = "gdbflash erase unit 1"
_NOTHING = Content(())


@dataclass(frozen=True)
class Known:
    """What earlier runs found out about one loader on one unit."""

    unit: int = 0
    """Bytes that one erase takes; 0: no more than the loader says, as far as is known."""
    proven: tuple[str, ...] = ()
    """Kinds of calls that were seen to take no more: of one sector, of several."""


def known(origin: Origin) -> Known:
    """Read what is known; nothing where the unit or the loader is not."""
    path = _path(origin)
    try:
        found = json.loads(path.read_bytes()) if path is not None else {}
        if found.get("format") != _FORMAT:
            return Known()
        return Known(int(found["unit"]), tuple(str(each) for each in found["proven"]))
    except (OSError, OutputError, ValueError, KeyError, TypeError, AttributeError):
        return Known()  # the proof is made again


def remember(origin: Origin, what: Known) -> None:
    """Keep what is known; where it cannot be kept, the next run finds it out again."""
    path = _path(origin)
    if path is not None:
        with contextlib.suppress(OSError, OutputError):
            made_directory(origin.identity.folder)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            head = {"format": _FORMAT, "unit": what.unit, "proven": what.proven}
            state.write_whole(path, [json.dumps(head).encode()])


def _path(origin: Origin) -> Path | None:
    if not (origin.identity.unit and origin.loader):
        return None
    identity = origin.identity
    return directory(identity.folder) / "erase-units" / f"{identity.unit}-{origin.loader[:32]}.json"


def as_erased(storage: StorageInfo, origin: Origin, observe: Observer) -> StorageInfo:
    """Give a storage with the unit that was measured in an earlier run, and say so."""
    unit = known(origin).unit
    wider = widened(storage, unit) if unit else storage
    if wider is not storage:
        observe(
            Noted(
                "erase-unit",
                f"Sectors are erased in units of {bytes_in_words(unit)}, as was measured; the loader says less.",
                {"unit": unit},
                always=True,
            )
        )
    return wider


@dataclass
class _Call:
    """A call whose neighbours are looked at before and after it."""

    kind: str
    where: Range
    watched: tuple[Range, ...]


@dataclass
class EraseProof:
    """The proof for the erase of one run."""

    storage: StorageInfo
    origin: Origin
    inspection: Looks
    erased: Sequence[Range]
    saved: Content = _NOTHING
    """What neighbours held that is to stay, a piece for each sector."""
    calls: list[_Call] = field(default_factory=list)
    """Those that are made by themselves first, each looked at before the next."""
    written_over: bool = False
    """Whether sectors turned out to stay as they are in an erase, while Write takes away what was there."""
    _before: dict[Range, bytes] = field(default_factory=dict)
    _known: Known = Known()

    def look(self) -> None:
        """Find out what lies round the first calls, and read what is to stay; raises what reading may."""
        self._known = known(self.origin)
        if not self.erased:
            return
        rest = list(self.erased)
        stay: list[Range] = []
        for kind, count in (("one", 1), ("several", 2)):
            taken = rest[:count]
            if kind in self._known.proven or not _one_call(taken, count):
                continue
            where = Range(taken[0].address, sum(each.size for each in taken))
            following = rest[count] if len(rest) > count else None
            around = [] if following is None else [following]
            if not (next_one_proves(self.storage, where, following) and not self._is_blank(around)):
                beside = neighbours(self.storage, where, self.erased)
                around += beside
                stay += beside
            self.calls.append(_Call(kind, where, tuple(around)))
            rest = rest[count:]
        first = {call.where for call in self.calls if call.kind == "one"}
        watched = sorted(first | {each for call in self.calls for each in call.watched})
        self._before = self.inspection.fingerprints(watched)
        kept = [each for each in sorted(set(stay)) if not self.inspection.shows_blank(each, self._before[each])]
        if kept:
            read = Content.of((where.address, data) for where, data in self.inspection.read_proven(joined(kept)))
            self.saved = Content(tuple((each.address, read.read(each)) for each in kept))

    def _is_blank(self, places: Sequence[Range]) -> bool:
        found = self.inspection.fingerprints(places)
        return all(self.inspection.shows_blank(where, found[where]) for where in places)

    def is_erased(self, call: _Call) -> bool:
        """See that the first erased sector is blank, or give False where it is what it was; else raise EraseFailed."""
        if call.kind != "one":
            return True
        where = call.where
        found = self.inspection.fingerprints((where,))[where]
        if self.inspection.shows_blank(where, found):
            return True
        if found == self._before[where]:
            return False
        data = b"".join(part for _, part in self.inspection.read_proven((where,)))
        declared = self.storage.erased_value
        if len(set(data)) == 1:
            why = (
                f"it holds 0x{data[0]:02X} now, and the loader declares 0x{declared:02X} for erased bytes: its "
                "StorageInfo is wrong"
            )
        else:
            why = "it is neither blank nor what it was: it is write-protected in parts, or worn"
        raise EraseFailed(
            f"SectorErase of {where} returned 1, but {why}. Nothing else was erased.",
            address=where.address,
            size=where.size,
            found=data[:16].hex(),
            declared=declared,
        )

    def check(self, call: _Call, put_back: Callable[[Sequence[Range]], None]) -> None:
        """See after a call that what lies round it stayed; else have the lost put back, and raise EraseUnitLarger."""
        after = self.inspection.fingerprints(call.watched)
        lost = tuple(each for each in call.watched if after[each] != self._before[each])
        if lost:
            unit = measured(self.storage, call.where, lost)
            remember(self.origin, Known(unit))
            put_back(lost)
            raise EraseUnitLarger(
                f"SectorErase of {call.where} erased {joined(lost)[0]} too: its unit is {bytes_in_words(unit)}, though "
                "the loader says less. What was lost beside it was put back and compared; the next run plans with that "
                "unit.",
                address=call.where.address,
                size=call.where.size,
                lost=[[each.address, each.size] for each in joined(lost)],
                unit=unit,
            )
        stayed = any(not self.inspection.shows_blank(each, self._before[each]) for each in call.watched)
        if stayed and not self.written_over:
            self._known = Known(self._known.unit, (*self._known.proven, call.kind))
            remember(self.origin, self._known)


def _one_call(sectors: Sequence[Range], count: int) -> bool:
    """Say whether so many sectors can be erased by one call."""
    if len(sectors) < count:
        return False
    return all(low.end == high.address and low.size == high.size for low, high in itertools.pairwise(sectors))
