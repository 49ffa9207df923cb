"""The chapters of the manual, as `help` shows them.

What belongs here: finding and naming them. They are Markdown files in `gdbflash/manual`; a new one is there as soon as
its file is.
"""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "manual"


def topics() -> dict[str, str]:
    """Give the names of the chapters, with what each is about."""
    found = {}
    for path in sorted(_FOLDER.glob("*.md")):
        with path.open(encoding="utf-8") as file:
            found[path.stem] = f"{file.readline().removeprefix('# ').strip()}."
    return found


def chapter(name: str) -> str:
    """Give a chapter as Markdown."""
    return (_FOLDER / f"{name}.md").read_text("utf-8")
