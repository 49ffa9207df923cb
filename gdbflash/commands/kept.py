"""What `kept` does: the recovery files of interrupted writes, listed, shown, exported, put back, given up.

What belongs here: naming a file, and what is told of it. Which of them a write puts back is decided in
`flash.keeping`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gdbflash.commands.requests import Data, Outcome, Request, outcome_of
from gdbflash.errors import InputError, JsonValue, OutputError
from gdbflash.events import bytes_in_words, counted
from gdbflash.flash import kept_files
from gdbflash.flash.kept_files import KeptFile
from gdbflash.host.folders import directory
from gdbflash.images.output import form_of, write_hex
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.onchip import state
from gdbflash.options import Form
from gdbflash.plan.jobs import holder

if TYPE_CHECKING:
    from gdbflash.flash.flasher import Flasher

RESTORE = "restore"
_DAY = 86400


@dataclass(frozen=True)
class Restore(Request):
    """Put the bytes of a file back."""

    loader: ExternalLoader
    file: KeptFile

    def run(self, flasher: Flasher) -> Outcome:
        """Write and verify them; the file goes then."""
        report = flasher.restore(self.loader, self.file)
        return outcome_of(f"{counted(report.bytes, 'byte')} put back and verified", report, path=str(self.file.path))


def restore(loaders: tuple[ExternalLoader, ...], file: str | None) -> Restore:
    """Decide to put a file's bytes back; raises InputError, PlanError, OutputError."""
    found = kept_files.read(_named(file, RESTORE))
    return Restore(loaders, holder(loaders, found.content.ranges[0]), found)


def look(action: str, file: str | None, *, older_than: float | None, output: Path | None) -> Outcome:
    """Do what needs no target; raises InputError, OutputError."""
    if action == "discard":
        return _discard(file, older_than)
    if action == "show":
        return _shown(kept_files.read(_named(file, action)))
    if action == "export":
        if output is None:
            raise InputError("Say where to: kept export FILE -o OUT.hex.")
        if form_of(output) is not Form.HEX:
            raise InputError(f"{output} gets places and bytes, which are written as Intel HEX: name it .hex.")
        found = kept_files.read(_named(file, action))
        write_hex(output, [(address, bytes(data)) for address, data in found.content.pieces])
        size = counted(found.content.size, "byte")
        return Outcome(f"{size} of {found.path} in {output}", {"path": str(found.path), "file": str(output)})
    if file is not None:
        raise InputError(f"kept list takes no FILE; `kept show {file}` says what it holds.")
    return _listed(older_than)


def _named(file: str | None, action: str) -> Path:
    """Find the file that is meant by its path or its name."""
    if file is None:
        raise InputError(f"Say which: kept {action} FILE; `gdbflash kept` lists them.")
    for path in (Path(file), directory() / file):
        if path.is_file():
            return path
    raise InputError(f"There is no recovery file {file}; `gdbflash kept` lists them.", path=file)


def _listed(older_than: float | None) -> Outcome:
    lines: list[str] = []
    entries: list[JsonValue] = []
    for path in kept_files.paths():
        try:
            file = kept_files.read(path)
        except OutputError as error:
            lines.append(error.message)
            entries.append({"path": str(path), "error": error.message})
            continue
        if older_than is None or file.age > older_than * _DAY:
            lines.append(_line(file))
            entries.append(_data(file))
    where = directory()
    return Outcome("\n".join(lines) or f"No recovery files in {where}", {"files": entries}, is_answer=True)


def _line(file: KeptFile) -> str:
    origin, places = file.origin, file.content.ranges
    unit = origin.identity.unit or "unit unknown"
    return (
        f"{file.path.name}\n  "
        f"{bytes_in_words(file.content.size)} in {counted(len(places), 'place')} from {places[0]} on, "
        f"{origin.identity.storage}, {unit}, {kept_files.age_in_words(file.age)} ago"
    )


def _shown(file: KeptFile) -> Outcome:
    origin = file.origin
    lines = [
        f"file      {file.path}",
        f"storage   {origin.identity.storage}, {origin.storage}",
        f"unit      {origin.identity.unit or 'unknown'}",
        f"reached   {origin.reached or 'unknown'}",
        f"loader    {origin.loader or 'unknown'} (SHA-256)",
        f"begun     {kept_files.age_in_words(file.age)} ago",
    ]
    if file.unclear:
        lines.append(f"unclear   {file.unclear}")
    for sector in file.sectors:
        how = "its erase was begun" if sector.begun else "its erase was not begun"
        lines.append(f"sector    {sector.where}: {how}; kept {', '.join(map(str, sector.kept))}")
    return Outcome("\n".join(lines), _data(file), is_answer=True)


def _discard(file: str | None, older_than: float | None) -> Outcome:
    if file is not None:
        chosen = [_named(file, "discard")]
    elif older_than is not None:
        chosen = [each.path for each in kept_files.files() if each.age > older_than * _DAY]
    else:
        raise InputError("Say which: kept discard FILE, or --older-than DAYS; `gdbflash kept` lists them.")
    for path in chosen:
        try:
            state.remove(path)
        except OSError as error:
            raise OutputError(f"{path} could not be removed ({error.strerror}).", path=str(path)) from error
    paths: list[JsonValue] = [str(each) for each in chosen]
    return Outcome(f"{counted(len(chosen), 'file')} given up", {"discarded": paths})


def _data(file: KeptFile) -> Data:
    return {
        "path": str(file.path),
        **file.origin.facts,
        "age": round(file.age),
        "unclear": file.unclear,
        "bytes": file.content.size,
        "ranges": [[each.address, each.size] for each in file.content.ranges],
    }
