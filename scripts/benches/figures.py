"""The table of figures: what was measured, what it may be, and whether it is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table


class Figures:
    """Collects figures in sections, and prints each at once: a run takes minutes."""

    def __init__(self) -> None:
        self._console = Console(soft_wrap=True, highlight=False)
        self._rows: list[tuple[str, ...]] = []
        self._sections: list[tuple[str, list[tuple[str, ...]]]] = []
        self.missed: list[str] = []

    def section(self, title: str) -> None:
        """Begin a section."""
        self._rows = []
        self._sections.append((title, self._rows))
        self._console.print(f"measuring: {title}", style="dim")

    def add(self, name: str, value: float, unit: str = "", limit: float | None = None) -> None:
        """Take a figure and the most that it may be."""
        mark = ""
        if limit is not None:
            mark = "ok" if value <= limit else "MISSED"
        if mark == "MISSED":
            self.missed.append(f"{self._sections[-1][0]}: {name}")
        bound = "" if limit is None else f"<= {limit:g}{unit}"
        self._rows.append((name, f"{value:.3g}{unit}", bound, mark))

    def at_least(self, name: str, value: float, unit: str, limit: float) -> None:
        """Take a figure and the least that it may be."""
        mark = "ok" if value >= limit else "MISSED"
        if mark == "MISSED":
            self.missed.append(f"{self._sections[-1][0]}: {name}")
        self._rows.append((name, f"{value:.3g}{unit}", f">= {limit:g}{unit}", mark))

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text)

    def show(self) -> None:
        """Print the table."""
        table = Table("figure", "measured", "to be kept", "", box=None)
        for title, rows in self._sections:
            table.add_row(title, style="bold")
            for name, *rest in rows:
                table.add_row(f"  {name}", *rest)
        self._console.print(table)
        for name in self.missed:
            self._console.print(f"MISSED: {name}", style="red")


def timed(work: Callable[[], object]) -> float:
    """Run work once and give its seconds."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def medians(times: int, *works: Callable[[], object]) -> list[float]:
    """Give the median of several runs of each, taken in turn: what else the machine does meets all of them."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(times):
        for work, taken in zip(works, seconds, strict=True):
            taken.append(timed(work))
    return [statistics.median(taken) for taken in seconds]
