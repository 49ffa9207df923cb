"""What is left in folders of ours, locks aside: those stay, and are free."""

from __future__ import annotations

from pathlib import Path


def left_in(folder: Path) -> list[str]:
    """Name what lies in a folder; nothing where there is none."""
    return (
        sorted(each.name for each in folder.iterdir() if each.name not in ("locks", ".lock")) if folder.exists() else []
    )
