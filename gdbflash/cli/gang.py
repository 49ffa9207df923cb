"""Many boards at once: a process of this command for each, whose JSON lines are read, shown and summed up.

What belongs here: starting these processes, passing signals on, and what came of all together. Each has a GDB, a lock
and a log of its own, so nothing of one board can get to another's; the machinery of a run is that of a single board.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import IO, TYPE_CHECKING

from gdbflash.cli.console import Console
from gdbflash.cli.interruption import heeded
from gdbflash.cli.members import MEMBER, log_of
from gdbflash.cli.settings import Settings
from gdbflash.commands.run_record import Record
from gdbflash.errors import BoardsFailed, Interrupted, printable
from gdbflash.events import Noted, Planned, counted
from gdbflash.host.pipes import heard
from gdbflash.host.processes import OWN_GROUP, interrupt
from gdbflash.servers.profiles import OURSELVES

if TYPE_CHECKING:
    from gdbflash.runlog import RunLog

_INTERRUPTED = 130
_BUG = 70
_LAST_WORDS = 2000
"""Characters of what a process said that ended without a result."""


@dataclass
class _Member:
    """A board and the process that works on it."""

    board: str
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    pending: bytes = b""
    told: bool = False
    """It was asked to stop."""
    begun: float = field(default_factory=time.monotonic)
    record: Record = field(default_factory=dict)

    def lines(self, data: bytes) -> Iterator[Record]:
        """Yield the objects of the lines that are whole by now; what else is printed there is passed over."""
        *lines, self.pending = (self.pending + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):
                value = json.loads(line)
                if isinstance(value, dict):
                    yield value

    def ended(self, *, interrupted: bool) -> Record:
        """Say what came of it, also where it ended without a result."""
        code = self.process.wait()
        if self.record:
            return self.record
        self.errors.seek(0)
        words = self.errors.read().decode("utf-8", "replace").strip()[-_LAST_WORDS:]
        kind, message = "error", f"Its process ended with {code} and no result: {printable(words, ' ')}"
        if interrupted:
            kind, message = "interrupted", "Interrupted before it was reached."
        seconds = round(time.monotonic() - self.begun, 3)
        exit_code = _INTERRUPTED if interrupted else code if code > 0 else _BUG
        failure: Record = {"kind": kind, "message": message}
        return {"ok": False, "exit_code": exit_code, "seconds": seconds, "board": self.board, "error": failure}


class _Gang:
    """The processes of one command on many boards."""

    def __init__(self, console: Console, log: RunLog | None, quiet: frozenset[str] = frozenset()) -> None:
        """quiet: messages that were shown for all boards already."""
        self._console = console
        self._log = log
        self._quiet = quiet
        self._members: list[_Member] = []
        self._interrupted = False

    def run(self, words: Sequence[str], boards: Sequence[str]) -> list[Record]:
        """Do it on all boards, and give what came of each, in their order.

        A signal is passed on, so that each ends after its current call, or at once the second time.
        """
        with contextlib.ExitStack() as parts:
            parts.enter_context(heeded(self._pass_on))
            parts.callback(self._end)
            parts.enter_context(self._console.boards(boards))
            pipes: list[tuple[_Member, IO[bytes]]] = []
            for board in boards:
                member = self._start(words, board)
                parts.enter_context(contextlib.closing(member.errors))
                assert member.process.stdout is not None
                parts.enter_context(member.process.stdout)
                pipes.append((member, member.process.stdout))
            for member, data in parts.enter_context(contextlib.closing(heard(pipes))):
                if data:
                    self._heard(member, data)
                else:
                    self._ended(member)
        return [each.record for each in self._members]

    @property
    def interrupted(self) -> bool:
        """Say whether somebody asked to stop."""
        return self._interrupted

    def _start(self, words: Sequence[str], board: str) -> _Member:
        """Start a board's process, in a session of its own: a terminal's Ctrl-C comes through us alone, and once."""
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the rest
        process = subprocess.Popen(
            [sys.executable, *OURSELVES, "--json", *words],
            env={**os.environ, MEMBER: board},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            **OWN_GROUP,
        )
        member = _Member(board, process, errors)
        self._members.append(member)
        if self._interrupted and not member.told:  # the signal came while this one was being started
            interrupt(process)
        return member

    def _heard(self, member: _Member, data: bytes) -> None:
        for value in member.lines(data):
            value.pop("schema", None)
            if value.get("event") == "result":
                member.record = {**{key: each for key, each in value.items() if key != "event"}, "board": member.board}
            elif value.get("message") not in self._quiet:
                self._console.observe_board(member.board, value)
            if self._log is not None and value.get("event") != "advance":
                self._log(member.board, json.dumps(value))

    def _ended(self, member: _Member) -> None:
        member.record = member.ended(interrupted=self._interrupted)
        self._console.observe_board(member.board, {"event": "result", **member.record})

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        """Pass a signal on to those that still run."""
        self._interrupted = True
        for each in self._members:
            each.told = True
            if each.process.poll() is None:
                interrupt(each.process, number)

    def _end(self) -> None:
        """Where we end early, by a bug of ours, let no process go on unseen."""
        for each in self._members:
            if each.process.poll() is None:
                each.process.terminate()
        for each in self._members:
            each.process.wait()


def on_all(settings: Settings, boards: Sequence[str], plan: Planned | None, notes: Sequence[Noted]) -> Record:
    """Carry out the command on many boards; plan, notes: of all of them. Raises BoardsFailed, Interrupted."""
    said = {each.message: each for each in notes}
    for note in said.values():
        settings.observe(note)
    if plan is not None:
        settings.observe(plan)
    gang = _Gang(settings.console, settings.log, frozenset(said))
    records = gang.run(settings.words, boards)
    if settings.log_file is not None:
        for each in records:
            each["log"] = str(log_of(settings.log_file, str(each["board"])))
    settings.record["boards"] = [*records]
    if not settings.as_json:
        settings.console.table(_summary(records), _HEADER)
    _judge(records, interrupted=gang.interrupted)
    settings.console.say(f"done: {len(records)} boards")
    return {}


def _judge(records: Sequence[Record], *, interrupted: bool) -> None:
    """Raise what is to be said of all boards together: BoardsFailed or Interrupted where not all are done."""
    failed = [str(each["board"]) for each in records if not each["ok"]]
    if not failed:
        return
    told = f"{len(failed)} of {counted(len(records), 'board')}"
    if interrupted:
        raise Interrupted(f"Interrupted: {told} are not done: {', '.join(failed)}. Run it again for these.")
    raise BoardsFailed(f"{told} failed: {', '.join(failed)}. What is wrong with each is said above.", failed=[*failed])


def _summary(records: Sequence[Record]) -> list[tuple[str, ...]]:
    """Give a row for each board, below `_HEADER`."""
    return [
        (
            str(each["board"]),
            "done" if each["ok"] else f"failed ({each['exit_code']})",
            *(str(each.get(key, "")) for key in ("bytes", "bytes_skipped", "sectors_erased")),
            f"{each['seconds']:.2f} s",
        )
        for each in records
    ]


_HEADER = ("board", "result", "bytes", "skipped", "sectors erased", "time")
