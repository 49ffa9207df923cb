"""Show events, results and errors to people, or as JSON lines to programs.

What belongs here: every print of the package, and `rich`, which is imported only where there is a terminal to draw on:
that takes longer than most commands. What was asked for goes to stdout, and so does the line that says what was done;
what is told on the way goes to stderr. With JSON, stdout carries one object a line and nothing else. Where a
stream cannot be printed to any more, `streams` sees to it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, TextIO, cast

from gdbflash.errors import GdbflashError, JsonValue, printable
from gdbflash.events import Advanced, Detailed, Event, Finished, Noted, Planned, Started, Waited, bytes_in_words
from gdbflash.options import Color
from gdbflash.version import SCHEMA

if TYPE_CHECKING:
    from rich.console import Console as Terminal
    from rich.progress import Progress, TaskID
    from rich.text import Text

    from gdbflash.cli.streams import Outlet


class _Screen:
    """stdout or stderr for people: drawn on where it is a terminal, else plain lines."""

    def __init__(self, color: Color, *, stderr: bool) -> None:
        self._color = color
        self._stderr = stderr

    @property
    def _stream(self) -> TextIO:
        return sys.stderr if self._stderr else sys.stdout

    @property
    def is_terminal(self) -> bool:
        """Whether something can be drawn over later."""
        return self._stream.isatty()

    @cached_property
    def terminal(self) -> Terminal:
        """The terminal; or a file that is to have colours as one has them."""
        from rich.console import Console as Terminal

        return Terminal(
            stderr=self._stderr,
            highlight=False,
            soft_wrap=not self.is_terminal,
            force_terminal=True if self._color is Color.ALWAYS else None,
            color_system=None if self._color is Color.NEVER else "auto",
        )

    def line(self, *parts: tuple[str, str]) -> None:
        """Print a line of parts, each with its style; a terminal's lines break between words."""
        if self.is_terminal or self._color is Color.ALWAYS:
            from rich.text import Text

            self.terminal.print(Text.assemble(*parts))
        else:
            self._plain("".join(text for text, _ in parts))

    def table(self, rows: Sequence[Sequence[str]], header: Sequence[str]) -> None:
        """Print rows in columns."""
        if self.is_terminal:
            from rich.table import Table
            from rich.text import Text

            table = Table(*header, box=None, show_header=bool(header), pad_edge=False)
            for row in rows:
                table.add_row(*(Text(cell) for cell in row))
            self.terminal.print(table)
            return
        lines = [header, *rows] if header else rows
        widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
        for cells in lines:
            padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            self._plain("  ".join(padded).rstrip())

    def _plain(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class Console:
    """Show what happens on stdout and stderr.

    verbosity: -1 answers and errors only, 0 plans, phases, notes and results, 1 also what was found and done on the
    way.
    """

    def __init__(self, *, as_json: bool = False, verbosity: int = 0, color: Color = Color.AUTO) -> None:
        self.as_json = as_json
        self.verbosity = verbosity
        self._out = _Screen(color, stderr=as_json)
        self._errors = _Screen(color, stderr=True)
        self._progress: Progress | None = None
        self._started = Started("connect")
        self._done = 0
        self._tasks: dict[str, TaskID] = {}

    def observe(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Detailed) and self.verbosity < 1:
            return
        if self.as_json:
            self._emit(_as_object(event))
        if self.verbosity < 0:
            if isinstance(event, Noted) and event.always:
                self._errors.line((f"note: {printable(event.message)}", "yellow"))
            return
        if isinstance(event, Started):
            self._begin(event)
        elif isinstance(event, Advanced):
            self._done = event.done
            if self._progress is not None:
                self._progress.update(self._progress.task_ids[0], completed=event.done)
        elif isinstance(event, Waited):
            if self._progress is not None:
                said = f"{self._started.phase} (waiting for the chip, {event.done:.0f} s of up to {event.total:.0f} s)"
                self._progress.update(self._progress.task_ids[0], description=said)
        elif isinstance(event, Finished):
            self._end(event)
        elif isinstance(event, Noted):
            self.tell(f"note: {event.message}", "yellow")
        elif isinstance(event, Detailed):
            self.tell(f"  {event.message}", "dim")
        elif isinstance(event, Planned):
            self.tell(event.summary)

    @contextlib.contextmanager
    def boards(self, names: Sequence[str]) -> Iterator[None]:
        """Show a live row for each of many boards while the body runs, where there is a terminal to draw on."""
        if self.verbosity < 0 or self.as_json or not self._errors.is_terminal:
            yield
            return
        self._progress = _progress_bar(self._errors.terminal, of_boards=True)
        with self._progress:
            self._tasks = {each: self._progress.add_task("start", total=None, board=printable(each)) for each in names}
            yield
        self._progress, self._tasks = None, {}

    def observe_board(self, board: str, event: Mapping[str, JsonValue]) -> None:
        """Show an event that another process has told of one of many boards, as the object of its line."""
        kind, name = event.get("event"), printable(board)
        if self.as_json:
            self._emit({"event": kind, "board": board, **event})
        if self._progress is not None:
            self._draw(self._progress, self._tasks[board], event)
        if kind == "note" and (self.verbosity >= 0 or event.get("always")):
            self._errors.line((f"note: {name}: {printable(str(event.get('message')))}", "yellow"))
        elif kind == "result":
            error = event.get("error")
            if isinstance(error, dict):
                self._errors.line(("error: ", "bold red"), (f"{name}: {printable(str(error.get('message')))}", ""))
            else:
                self.tell(f"done: {name}")

    @staticmethod
    def _draw(progress: Progress, task: TaskID, event: Mapping[str, JsonValue]) -> None:
        kind, total = event.get("event"), event.get("total")
        if kind == "start":
            if isinstance(total, int) and total:
                progress.reset(task, total=total)
            progress.update(task, description=str(event.get("phase")))  # without a length the last bar stays
        elif kind == "advance":
            progress.update(task, completed=float(str(event.get("done"))))
        elif kind == "wait":
            progress.update(task, description=f"chip {event.get('done')} s")
        elif kind == "result":
            progress.update(task, description="done" if event.get("ok") else "FAILED")
            progress.stop_task(task)

    def _begin(self, event: Started) -> None:
        self._started, self._done = event, 0
        drawn_over = self.as_json and sys.stdout.isatty()  # by the lines for programs, on the same terminal
        if event.total and self._errors.is_terminal and not drawn_over:
            self._progress = _progress_bar(self._errors.terminal)
            self._progress.add_task(event.phase, total=event.total)
            self._progress.start()

    def _end(self, event: Finished) -> None:
        self.stop_progress()
        what = bytes_in_words(self._done) if self._started.total else self._started.label
        rate = f"  {bytes_in_words(int(self._done / event.seconds))}/s" if self._done and event.seconds > 0 else ""
        if what:
            how = f"  ({self._started.label})" if self._started.total and self._started.label else ""
            self.tell(f"{event.phase:8} {what:>12}  {event.seconds:6.2f} s{rate}{how}")

    def stop_progress(self) -> None:
        """Take a bar that is still shown off the screen."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def tell(self, text: str, style: str = "") -> None:
        """Print a line about what is being done, or is to be done next, unless it is to be quiet."""
        if self.verbosity >= 0:
            self._errors.line((printable(text, "\n"), style))

    def say(self, text: str) -> None:
        """Print what was done, unless it is to be quiet."""
        if self.verbosity >= 0:
            self._out.line((printable(text, "\n"), ""))

    def answer(self, text: str, style: str = "") -> None:
        """Print a line that was asked for, however quiet it is to be."""
        self._out.line((printable(text, "\n"), style))

    def table(self, rows: Iterable[Sequence[str]], header: Sequence[str] = ()) -> None:
        """Print rows in columns that were asked for."""
        self._out.table([[printable(cell) for cell in row] for row in rows], header)

    def pages(self, lines: Iterable[str]) -> None:
        """Print lines that were asked for, on a terminal that is too small for them page by page."""
        lines = list(lines)
        height = shutil.get_terminal_size().lines
        if sys.stdin.isatty() and sys.stdout.isatty() and len(lines) >= height:
            import pydoc  # only here: it takes as long as `--help`

            pydoc.pager("\n".join(lines) + "\n")
            return
        for line in lines:
            print(line)
        sys.stdout.flush()

    def markdown(self, text: str) -> None:
        """Print Markdown that was asked for: laid out on a terminal, else as it is."""
        if not self._out.is_terminal:
            print(text, end="", flush=True)
            return
        from rich.markdown import Markdown

        with self._out.terminal.capture() as laid_out:
            self._out.terminal.print(Markdown(text))
        self.pages(laid_out.get().splitlines())

    def raw(self, data: bytes) -> None:
        """Write bytes to stdout as they are."""
        cast("Outlet", sys.stdout).write_bytes(data)

    def choice(self, question: str, choices: Mapping[str, str]) -> str | None:
        """Ask somebody at a terminal to choose; None where nobody sits there, or wants none of it."""
        if self.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            return None
        self.stop_progress()
        self._errors.line((printable(question), "yellow"))
        for word, meaning in choices.items():
            self._errors.line((f"  {word:8} {meaning}", ""))
        while True:
            answer = input(f"{', '.join(choices)} or stop? [stop] ").strip().lower()
            if answer in choices:
                return answer
            if answer in ("", "stop"):
                return None

    def plain(self, text: str) -> None:
        """Print a line that scripts may take as it is, however quiet it is to be."""
        print(text, flush=True)

    def result(self, data: dict[str, JsonValue]) -> None:
        """Emit the last JSON line; nothing for people."""
        if self.as_json:
            self._emit({"event": "result", **data})

    def error(self, error: GdbflashError) -> None:
        """Show a failure to people."""
        self.stop_progress()
        self._errors.line(("error: ", "bold red"), (error.message, ""))
        for line in error.report:
            self._errors.line((f"  {line}", "dim"))

    def object(self, value: dict[str, JsonValue]) -> None:
        """Print one JSON object, alone on its line, with the number of its form."""
        self._emit(value)

    def _emit(self, value: dict[str, JsonValue]) -> None:
        print(json.dumps({"schema": SCHEMA, **value}), flush=True)


def _progress_bar(terminal: Terminal, *, of_boards: bool = False) -> Progress:
    # Imported when the first bar is shown: it takes longer than most commands without one.
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Bytes a second in the units of everything else here; rich's own column counts in thousands."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{bytes_in_words(int(speed))}/s" if speed else "")

    names = (TextColumn("{task.fields[board]}", markup=False),) if of_boards else ()
    return Progress(
        *names,
        TextColumn("{task.description:8}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        Rate(),
        TimeElapsedColumn(),  # moves, too, in a chip erase of a minute, which is one call
        TimeRemainingColumn(),
        console=terminal,
        transient=True,
        # What else is printed goes through the terminal too; lines for programs must not.
        redirect_stdout=False,
        redirect_stderr=False,
    )


def failure(error: GdbflashError) -> dict[str, JsonValue]:
    """Give an error as the `error` object of a result line."""
    return {"kind": error.kind, "message": error.message, **error.data}


def _as_object(event: Event) -> dict[str, JsonValue]:
    if isinstance(event, Planned):
        return {"event": "plan", **event.data}
    if isinstance(event, Started):
        return {"event": "start", "phase": event.phase, "total": event.total, "label": event.label}
    if isinstance(event, Advanced):
        return {"event": "advance", "phase": event.phase, "done": event.done}
    if isinstance(event, Waited):
        return {"event": "wait", "done": round(event.done, 1), "total": round(event.total, 1)}
    if isinstance(event, Finished):
        return {"event": "finish", "phase": event.phase, "seconds": round(event.seconds, 3)}
    always = {"always": True} if isinstance(event, Noted) and event.always else {}
    return {"event": "note", "code": event.code, "message": event.message, **always, **event.data}
