"""What a run was, for the records of a line: which board, files and version, what was done, and when.

What belongs here: the names under which a run is told to programs, and the file of `--report`, as JSON or as JUnit's
XML. What came of a run is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

from gdbflash.commands.words import parse_image
from gdbflash.errors import InputError, JsonValue
from gdbflash.host.storage import STDIN
from gdbflash.images.output import OutputFile
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.version import SCHEMA, VERSION

Record = dict[str, JsonValue]
"""One board's run: the `result` of its JSON lines, with `board`."""
_SLICE = 1 << 20
_OURS = b"gdbflash"
_HEAD = 100
"""Bytes at the begin of a report in which its maker is named."""
_NOT_XML = re.compile("[^\\t\\n\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
_NO_FAILURE = (2, 3, 130)
"""Exit codes of what JUnit calls an error: the board was not tried to its end."""


def begun(command: str) -> Record:
    """Give command, version and time of a run that begins."""
    return {"command": command, "version": VERSION, "begun": datetime.now().astimezone().isoformat(timespec="seconds")}


def files_used(loaders: Sequence[ExternalLoader], images: Sequence[str]) -> Record:
    """Name loaders and images with the SHA-256 of their files; of what came by stdin there is none.

    Raises InputError for what names no image.
    """
    found: list[JsonValue] = []
    for path, address in map(parse_image, images):
        image: Record = {"path": str(path), "sha256": None if path.as_posix() == STDIN else _sha256(path)}
        found.append(image if address is None else {**image, "address": address})
    return {"loaders": [{"path": each.path, "sha256": each.sha256} for each in loaders], "images": found}


def _sha256(path: str | os.PathLike[str]) -> str | None:
    """Hash a file; None where it cannot be read, which is told where it is used, or is none, such as a pipe."""
    digest = hashlib.sha256()
    try:
        if not Path(path).is_file():
            return None
        with Path(path).open("rb") as file:
            while data := file.read(_SLICE):
                digest.update(data)
    except OSError:
        return None
    return digest.hexdigest()


def runs_of(run: Record) -> list[Record]:
    """Give what came of each board, of a run on many; else the run itself."""
    boards = run.get("boards")
    return [each for each in boards if isinstance(each, dict)] if isinstance(boards, list) else [run]


@dataclass(frozen=True)
class ReportFile:
    """The file of `--report`; its ending says what it is."""

    path: Path

    def __post_init__(self) -> None:
        """Raise InputError for another ending than .xml and .json, and for a file that is there and no report."""
        if self.path.suffix.lower() not in (".xml", ".json"):
            raise InputError(
                f"A report is JUnit's XML or JSON, and {self.path} does not say which: name it .xml or .json.",
                path=str(self.path),
            )
        try:
            with self.path.open("rb") as file:
                head = file.read(_HEAD)
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(
                f"The report {self.path} cannot be used ({error.strerror}). Name another file with --report.",
                path=str(self.path),
            ) from error
        if head and _OURS not in head:
            raise InputError(
                f"{self.path} exists and is no report of gdbflash, so it is not overwritten. Name another file with "
                "--report.",
                path=str(self.path),
            )

    def write(self, runs: Sequence[Record]) -> None:
        """Write what came of each board, in the place of an earlier report; raises OutputError."""
        text = _junit(runs) if self.path.suffix.lower() == ".xml" else _json(runs)
        with OutputFile(self.path) as file:
            file.write(text)
            file.commit()


def _json(runs: Sequence[Record]) -> bytes:
    told = {"schema": SCHEMA, "gdbflash": VERSION, "boards": list(runs)}
    return json.dumps(told, indent=1).encode() + b"\n"


def _junit(runs: Sequence[Record]) -> bytes:
    """Say it in JUnit's XML, as Jenkins, GitLab and others read it: a test case for each board."""
    failed = [_outcome(each) for each in runs]
    counts = {"tests": str(len(runs)), "failures": str(failed.count("failure")), "errors": str(failed.count("error"))}
    root = ElementTree.Element("testsuites", {"name": "gdbflash", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": "gdbflash", **counts})
    suite.set("time", f"{max((_number(each, 'seconds') for each in runs), default=0.0):.3f}")
    if runs and runs[0].get("begun"):
        suite.set("timestamp", str(runs[0]["begun"]))
    for run in runs:
        _case(suite, run)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, "utf-8", xml_declaration=True)) + b"\n"


def _case(suite: ElementTree.Element, run: Record) -> None:
    seconds = f"{_number(run, 'seconds'):.3f}"
    name = _clean(run.get("board") or run.get("endpoint") or "board")
    case = ElementTree.SubElement(suite, "testcase", {"classname": f"gdbflash.{run.get('command')}", "name": name})
    case.set("time", seconds)
    properties = ElementTree.SubElement(case, "properties")
    for key, value in run.items():
        if key not in ("error", "event", "schema") and value not in (None, ""):
            said = value if isinstance(value, str) else json.dumps(value)
            ElementTree.SubElement(properties, "property", {"name": key, "value": _clean(said)})
    if run.get("ok"):
        return
    error = run.get("error")
    told = error if isinstance(error, dict) else {}
    kind, message = str(told.get("kind", "error")), str(told.get("message", "It ended without a word."))
    trouble = ElementTree.SubElement(case, _outcome(run), {"type": kind, "message": _clean(message)})
    trouble.text = _clean(json.dumps(told, indent=1))


def _outcome(run: Record) -> str:
    """Say in JUnit's words what came of a run."""
    if run.get("ok"):
        return "ok"
    return "error" if run.get("exit_code") in _NO_FAILURE else "failure"


def _number(run: Record, key: str) -> float:
    value = run.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def _clean(text: object) -> str:
    """Leave out what XML cannot hold (XML 1.0, section 2.2)."""
    return _NOT_XML.sub("?", str(text))
