"""Old bytes of touched sectors, kept safe on the host while the chip does not hold them.

What belongs here: the file of one run that may be cut off: its place and its form. It holds one JSON line, which says
whose bytes these are and of which sectors; then, for each sector, its whole content as each of the interrupted runs
meant it to become, the newest first, with a SHA-256 over all of it; then a JSON line before each erase, which names
what is begun. It is complete and synced before it gets its name, so a file that exists can be used.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gdbflash.errors import JsonValue, OutputError, printable
from gdbflash.events import counted
from gdbflash.host.folders import ENVIRONMENT, directory, made_directory
from gdbflash.images.content import Content
from gdbflash.onchip import state
from gdbflash.ranges import Range

ENDING = ".gdbflash"
_KIND = "gdbflash recovery "
_FORMAT = f"{_KIND}2"
_OLD_FORMAT = f"{_KIND}1"
"""One JSON line with `stretches`, and their bytes: neither the loader nor what was meant is known."""
_LONGEST_HEAD = 16 << 20


@dataclass(frozen=True)
class Origin:
    """Whose bytes a file holds, and of which run."""

    identity: state.Identity
    reached: str
    """How the target was reached: server and place."""
    loader: str
    """SHA-256 of the loader file, in hex; empty if unknown."""
    erased_value: int
    begun: float
    """Seconds since 1970."""

    @property
    def storage(self) -> Range:
        """Where the storage lies."""
        return Range(self.identity.address, self.identity.size)

    @property
    def facts(self) -> dict[str, JsonValue]:
        """Say whose bytes they are, as a file and a list of files do."""
        identity = self.identity
        return {
            "storage": identity.storage,
            "address": identity.address,
            "size": identity.size,
            "unit": identity.unit,
            "reached": self.reached,
            "loader": self.loader,
        }

    def same_owner(self, other: Origin) -> bool:
        """Say whether both are of one loader on one unit, which is known."""
        return bool(self.identity.unit and self.loader) and (self.identity.unit, self.loader) == (
            other.identity.unit,
            other.loader,
        )


@dataclass(frozen=True)
class KeptSector:
    """A sector that a run erases although bytes of it are to outlive that."""

    where: Range
    kept: tuple[Range, ...]
    """Which of its bytes."""
    meant: tuple[bytes, ...]
    """All of its bytes as they were to become, by the run that wrote the file and by those before it."""
    begun: bool = False
    """Its erase was begun."""

    @property
    def content(self) -> Content:
        """The kept bytes."""
        start, data = self.where.address, memoryview(self.meant[0])
        return Content(tuple((each.address, data[each.address - start : each.end - start]) for each in self.kept))


@dataclass(frozen=True)
class KeptFile:
    """A file of a run that was cut off, or is under way."""

    path: Path
    origin: Origin
    sectors: tuple[KeptSector, ...]
    unclear: str = ""
    """Why nothing that it holds is certain to belong to what the chip holds now."""

    @property
    def content(self) -> Content:
        """All bytes that are kept."""
        return Content(tuple(piece for each in self.sectors for piece in each.content.pieces))

    @property
    def age(self) -> float:
        """Seconds since its run began."""
        return max(0.0, time.time() - self.origin.begun)


def save(origin: Origin, sectors: Sequence[KeptSector]) -> KeptFile:
    """Write and sync the file of a new run; raises OutputError."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(origin.begun))
    name = f"{origin.identity.file_name}-{stamp}-{secrets.token_hex(3)}{ENDING}"
    try:
        path = made_directory(origin.identity.folder) / name
        state.write_whole(path, _parts(origin, sectors))
    except OSError as error:
        folder = directory(origin.identity.folder)
        raise OutputError(
            f"The bytes to keep could not be saved in {folder} ({error.strerror}), so nothing was erased "
            f"there. Free some space, set {ENVIRONMENT} to another folder, or add --no-keep.",
            path=str(folder),
        ) from error
    return KeptFile(path, origin, tuple(sectors))


def _parts(origin: Origin, sectors: Iterable[KeptSector], unclear: str = "") -> Iterator[bytes]:
    sectors = tuple(sectors)
    digest = hashlib.sha256()
    for each in sectors:
        for data in each.meant:
            digest.update(data)
    head: dict[str, Any] = {
        "format": _FORMAT,
        **origin.facts,
        "erased_value": origin.erased_value,
        "begun": origin.begun,
        "unclear": unclear,
        "sectors": [
            {
                "address": each.where.address,
                "size": each.where.size,
                "kept": [[kept.address, kept.size] for kept in each.kept],
                "meant": len(each.meant),
                "begun": each.begun,
            }
            for each in sectors
        ],
        "sha256": digest.hexdigest(),
    }
    yield json.dumps(head).encode() + b"\n"
    for each in sectors:
        yield from each.meant


def say_begun(file: KeptFile, where: Range) -> None:
    """Say in a file, synced, that the erase of a range begins; raises OutputError."""
    _append(file, {"erasing": [where.address, where.size]}, "Nothing was erased")


def say_unclear(file: KeptFile, why: str) -> None:
    """Say in a file, synced, that the chip may hold anything by now; raises OutputError."""
    _append(file, {"unclear": why}, "Nothing was called")


def _append(file: KeptFile, line: dict[str, Any], untouched: str) -> None:
    try:
        state.append_line(file.path, json.dumps(line).encode())
    except OSError as error:
        raise _unusable(file.path, f"it cannot be written ({error.strerror})", untouched) from error


def leave(file: KeptFile, sectors: Sequence[KeptSector]) -> None:
    """Have a file hold just these sectors, or no file be there where there are none; raises OutputError."""
    try:
        if not sectors:
            state.remove(file.path)
        elif tuple(sectors) != file.sectors:
            state.write_whole(file.path, _parts(file.origin, sectors, file.unclear))
    except OSError as error:
        raise _unusable(file.path, f"it cannot be changed ({error.strerror})", "Nothing was erased") from error


def files(folder: Path | None = None) -> Iterator[KeptFile]:
    """Read all files of a state folder, the oldest first; raises OutputError for a folder or file of no use."""
    for path in paths(folder):
        yield read(path)


def paths(folder: Path | None = None) -> tuple[Path, ...]:
    """List the files of a state folder, else of the usual one; raises OutputError for one that cannot be used."""
    folder = directory(folder)
    try:
        return tuple(sorted(Path(each) for each in os.scandir(folder) if each.name.endswith(ENDING)))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise OutputError(
            f"The folder {folder} for bytes to keep cannot be used: {error.strerror}. "
            f"Set {ENVIRONMENT} to a folder that can be used.",
            path=str(folder),
        ) from error


def overlapping(storage: Range, folder: Path | None = None) -> tuple[KeptFile, ...]:
    """Read the files with bytes of a storage, whatever loader or unit they are of; raises OutputError."""
    return tuple(each for each in files(folder) if each.origin.storage.overlaps(storage))


def read(path: Path) -> KeptFile:
    """Read a file of this form or the one before; raises OutputError when it cannot be used."""
    try:
        with path.open("rb") as file:
            line = file.readline(_LONGEST_HEAD)
            data = file.read()
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    try:
        head = json.loads(line)
        form = str(head["format"])
        if form not in (_FORMAT, _OLD_FORMAT) and form.startswith(_KIND):
            shown = printable(form[:40])
            why = f"its form is {shown!r}, which this version of gdbflash does not know: use the one that wrote it"
            raise _unusable(path, why)
        found = _old(path, head, data) if form == _OLD_FORMAT else _read(path, head, data)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise _unusable(path, "it is damaged") from error
    return found


def _read(path: Path, head: dict[str, Any], data: bytes) -> KeptFile:
    """Take a file of this form apart; raises ValueError and its like."""
    if head["format"] != _FORMAT:
        raise ValueError(head["format"])
    identity, value = _identity(head), int(head["erased_value"])
    origin = Origin(identity, str(head["reached"]), str(head["loader"]), value, float(head["begun"]))
    sectors: list[KeptSector] = []
    offset, end = 0, origin.storage.address
    for each in head["sectors"]:
        where = Range(int(each["address"]), int(each["size"]))
        kept = tuple(Range(int(address), int(size)) for address, size in each["kept"])
        count = int(each["meant"])
        fits = where.address >= end and where.size > 0 and count > 0 and offset + count * where.size <= len(data)
        if not (fits and _apart(kept, where)):
            raise ValueError(where)
        end = where.end
        meant = tuple(data[offset + n * where.size : offset + (n + 1) * where.size] for n in range(count))
        offset += count * where.size
        sectors.append(KeptSector(where, kept, meant, bool(each["begun"])))
    if end > origin.storage.end or hashlib.sha256(data[:offset]).hexdigest() != head["sha256"]:
        raise ValueError(head["sha256"])
    return _journal(KeptFile(path, origin, tuple(sectors), str(head["unclear"])), data[offset:])


def _journal(file: KeptFile, lines: bytes) -> KeptFile:
    """Apply the lines at the end; one that is not whole was followed by no erase."""
    begun: list[Range] = []
    unclear = file.unclear
    for line in lines.split(b"\n")[:-1]:
        said = json.loads(line)
        unclear = str(said.get("unclear", unclear))
        if "erasing" in said:
            address, size = said["erasing"]
            begun.append(Range(int(address), int(size)))
    sectors = (
        replace(each, begun=each.begun or any(each.where.overlaps(where) for where in begun)) for each in file.sectors
    )
    return replace(file, sectors=tuple(sectors), unclear=unclear)


def _old(path: Path, head: dict[str, Any], data: bytes) -> KeptFile:
    """Take a file of the earlier form apart: its stretches count as sectors, of which nothing is certain."""
    origin = Origin(_identity(head), "", "", 0xFF, path.stat().st_mtime)
    sectors: list[KeptSector] = []
    offset = 0
    for address, size in head["stretches"]:
        where = Range(int(address), int(size))
        sectors.append(KeptSector(where, (where,), (data[offset : offset + where.size],), begun=True))
        offset += where.size
    places = tuple(each.where for each in sectors)
    if offset != len(data) or not _apart(places, origin.storage) or hashlib.sha256(data).hexdigest() != head["sha256"]:
        raise ValueError(head["sha256"])
    return KeptFile(path, origin, tuple(sectors), "an earlier version kept them, which did not say of which loader")


def _identity(head: dict[str, Any]) -> state.Identity:
    return state.Identity(str(head["storage"]), int(head["address"]), int(head["size"]), str(head["unit"]))


def _apart(places: Sequence[Range], within: Range) -> bool:
    """Say whether places lie in order, apart from one another, and within a range."""
    end = within.address
    for each in places:
        if each.address < end or each.size < 0:
            return False
        end = each.end
    return end <= within.end


def _unusable(path: Path, why: str, untouched: str = "Nothing was touched") -> OutputError:
    return OutputError(
        f"The recovery file {path} of an earlier, interrupted write cannot be used: {why}. {untouched}; "
        f"`gdbflash kept discard {path.name}` goes on without the bytes it should hold.",
        path=str(path),
    )


def age_in_words(seconds: float) -> str:
    """Say an age as people do."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return counted(int(seconds // size), unit)
    return counted(int(seconds), "second")
