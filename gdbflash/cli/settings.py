"""What the options before and behind every command said, and what is known of the run.

What belongs here: values, and who is told of events. How words become them is in `options`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gdbflash.cli.console import Console
from gdbflash.cli.members import log_of
from gdbflash.errors import GdbflashError
from gdbflash.events import BOARD, Detailed, Event, Noted
from gdbflash.options import Color
from gdbflash.version import VERSION

if TYPE_CHECKING:
    from gdbflash.commands.run_record import Record, ReportFile
    from gdbflash.runlog import RunLog


@dataclass
class Settings:
    """What the global options said; they may stand before or after the command."""

    verbosity: int = 0
    as_json: bool = False
    color: Color = Color.AUTO
    log_file: Path | None = None
    config_file: Path | None = None
    boards: tuple[str, ...] = ()
    """Those of the config files that are meant."""
    loader_path: tuple[Path, ...] = ()
    """Folders of loaders that config files name."""
    words: Sequence[str] = ()
    """The command line without the program's name."""
    log: RunLog | None = field(default=None, repr=False)
    record: Record = field(default_factory=dict, repr=False)
    """What is known of the run that `result` and a report tell of it: version, files, board."""
    report: ReportFile | None = None
    _console: Console | None = field(default=None, repr=False)

    @property
    def console(self) -> Console:
        """The console for these settings, made when first needed: after all options were read."""
        if self._console is None:
            self._console = Console(as_json=self.as_json, verbosity=self.verbosity, color=self.color)
        return self._console

    def begin(self) -> None:
        """Begin the log where one is wanted; raises InputError, OutputError."""
        if self.log_file is not None:
            from gdbflash.runlog import RunLog  # only here: most commands keep no log

            self.log_file = log_of(self.log_file)
            self.log = RunLog(self.log_file, VERSION, self.words)

    def end(self, exit_code: int, error: GdbflashError | None) -> None:
        """End the log with what came of the run; one that could not be kept is worth a word."""
        if self.log is None:
            return
        self.log.end(f"exit code {exit_code}", error)
        if self.log.failure:
            self.console.observe(Noted("log-ended", f"{self.log_file} is not whole: {self.log.failure}."))

    def observe(self, event: Event) -> None:
        """Show an event, and log it; of a board that was reached its identity is kept for the record."""
        if isinstance(event, Detailed) and event.code == BOARD:
            self.record |= event.data
        self.console.observe(event)
        if self.log is not None:
            self.log.observe(event)
