"""What one run may do to a chip and to the files of kept bytes, judged by what it said and by nothing else.

A byte of the chip may change where the run's own words are about it, or where the run said that it puts kept bytes back
and the byte is one of those. Where the run did not end well it may also change where a file of that unit keeps what
it was. A byte in a file stays there until the chip of that unit holds it, or somebody gave it up in so many words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gdbflash.flash import kept_files
from gdbflash.ranges import Range

FLASH = 0x90000000
_ANY = bytes([0, *[0xFF] * 255])


@dataclass(frozen=True)
class Bytes:
    """Bytes of the area that is looked at, and for which of them they stand."""

    data: int
    mask: int

    def same_as(self, other: int) -> int:
        """Mask those that are the same elsewhere."""
        return self.mask & ~_different(self.data, other)


def _different(one: int, another: int) -> int:
    """Mask the bytes that differ."""
    return _number(_raw(one ^ another).translate(_ANY))


def _raw(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "little")


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def masked(places: Iterable[Range]) -> int:
    """Mask the bytes of places, which are counted from the beginning of the area."""
    mask = 0
    for each in places:
        mask |= ((1 << 8 * each.size) - 1) << 8 * each.address
    return mask


def _first(mask: int) -> str:
    """Name the first stretch of a mask."""
    raw = _raw(mask)
    start = len(raw) - len(raw.lstrip(b"\0"))
    length = len(raw[start:]) - len(raw[start:].lstrip(b"\xff"))
    return f"{raw.count(0xFF)} bytes, first {FLASH + start:#x} and {length - 1} behind it"


@dataclass(frozen=True)
class Kept:
    """What one file of kept bytes says."""

    path: Path
    unit: str
    loader: str
    bytes: Bytes
    certain: int
    """Masks the sectors whose erase had begun, where nothing speaks against the file."""


def kept_now() -> tuple[Kept, ...]:
    """Read all files."""
    found = []
    for file in kept_files.files():
        data = mask = 0
        for at, piece in file.content.pieces:
            where = Range(at - FLASH, len(piece))
            data |= _number(bytes(piece)) << 8 * where.address
            mask |= masked((where,))
        begun = (each.where for each in file.sectors if each.begun and not file.unclear)
        certain = masked(Range(each.address - FLASH, each.size) for each in begun)
        origin = file.origin
        found.append(Kept(file.path, origin.identity.unit, origin.loader, Bytes(data, mask), certain))
    return tuple(found)


@dataclass(frozen=True)
class Asked:
    """What a run was asked to do; places are counted from the beginning of the area."""

    words: tuple[str, ...]
    loader: str
    """Its SHA-256."""
    own: tuple[Range, ...] = ()
    """What it is to change."""
    wanted: tuple[tuple[int, bytes], ...] = ()
    """What is to be there when it ended well."""
    sectors: tuple[Range, ...] = ()
    """The sectors that it is about."""
    kept: str = "ask"
    discards: Path | None = None


@dataclass(frozen=True)
class Ended:
    """What came of a run; code None: it was killed."""

    code: int | None
    events: Sequence[dict[str, Any]]

    @property
    def refused(self) -> bool:
        """Whether it stopped before it touched anything."""
        error = self.events[-1].get("error") if self.events and self.code else None
        return self.code == 2 or bool(error and error["kind"] in ("kept-unclear", "in-use"))

    def said(self, code: str) -> tuple[Range, ...]:
        """Name the places that its notes of one kind tell of."""
        notes = (each for each in self.events if each.get("code") == code)
        return tuple(Range(at - FLASH, size) for each in notes for at, size in each.get("ranges", ()))

    def noted(self, code: str) -> bool:
        """Whether it had a note of a kind."""
        return any(each.get("code") == code for each in self.events)


@dataclass(frozen=True)
class Seen:
    """A chip of a unit, and all files, at one moment; unit empty: it tells none."""

    unit: str
    chip: bytes
    files: tuple[Kept, ...] = field(default_factory=kept_now)


def judge(asked: Asked, ended: Ended, before: Seen, after: Seen, *, unit_may_hide: bool = False) -> list[str]:
    """Say what the run did without saying so; nothing where all is well.

    unit_may_hide: the link may change the ID that is read, so that a run files under no unit what it keeps.
    """
    if ended.refused:
        faults = [] if before.chip == after.chip else ["it said that it touched nothing"]
        return faults if before.files == after.files else [*faults, "it refused, and changed files"]
    units = ("", before.unit) if unit_may_hide else (before.unit,)
    faults = _changed(asked, ended, before, after, units)
    if ended.code == 0:
        faults += [
            f"{FLASH + at:#x} does not hold what was written"
            for at, data in asked.wanted
            if after.chip[at : at + len(data)] != data
        ]
    return faults + _put_back(asked, ended, before) + _promised(asked, ended, before, after)


def _changed(asked: Asked, ended: Ended, before: Seen, after: Seen, units: Sequence[str]) -> list[str]:
    """Look at the bytes of the chip; units: those whose files hold what it lost."""
    was, now = _number(before.chip), _number(after.chip)
    mine = [each.bytes for each in before.files if each.unit == before.unit]
    right = _any(each.same_as(now) for each in mine)
    said = masked(ended.said("recovered"))
    if asked.kept == "restore":  # whoever's they are
        right |= _any(each.bytes.same_as(now) for each in before.files)
    rest = _different(was, now) & ~masked(asked.own) & ~(said & right)
    if ended.code == 0:
        faults = [f"changed without a word: {_first(rest)}"] if rest else []
        return [*faults, f"not put back though it said so: {_first(said & ~right)}"] if said & ~right else faults
    safe = 0
    for each in after.files:
        if each.unit in units:
            safe |= each.bytes.same_as(was) | _any(each.bytes.same_as(old.data) & old.mask for old in mine)
    return [f"lost: {_first(rest & ~safe)}"] if rest & ~safe else []


def _put_back(asked: Asked, ended: Ended, before: Seen) -> list[str]:
    """Look at whether what went back by itself was certain to belong there."""
    said = masked(ended.said("recovered"))
    if asked.kept == "restore":
        return []
    was = _number(before.chip)
    certain = 0
    for each in before.files:
        if before.unit and (each.unit, each.loader) == (before.unit, asked.loader):
            certain |= each.certain & each.bytes.mask & ~_different(each.bytes.data & was, each.bytes.data)
    return [f"put back though it was not certain: {_first(said & ~certain)}"] if said & ~certain else []


def _promised(asked: Asked, ended: Ended, before: Seen, after: Seen) -> list[str]:
    """Look at whether files still hold what they held, where the chip does not."""
    faults = []
    now, own, about = _number(after.chip), masked(asked.own), masked(asked.sectors)
    for each in before.files:
        if each in after.files or each.path == asked.discards:
            continue
        left = each.bytes.mask
        for other in after.files:
            if other.unit == each.unit:
                left &= ~(other.bytes.same_as(each.bytes.data) & each.bytes.mask)
        if each.unit == before.unit:
            left &= ~each.bytes.same_as(now)
        if asked.kept in ("restore", "discard"):
            left &= ~about
        if before.unit and (each.unit, each.loader) == (before.unit, asked.loader):
            if left & own and not ended.noted("recovery-dropped"):
                faults.append(f"given up without a word: {_first(left & own)} of {each.path.name}")
            left &= ~own
        if left:
            faults.append(f"no longer kept: {_first(left)} of {each.path.name}")
    return faults


def _any(masks: Iterable[int]) -> int:
    together = 0
    for each in masks:
        together |= each
    return together
