"""What is left in folders of ours, but for what stays: locks, which are free, and what is known of erase units."""

from __future__ import annotations

from pathlib import Path

_STAYS = ("locks", ".lock", "erase-units")


def left_in(folder: Path) -> list[str]:
    """Name what lies in a folder; nothing where there is none."""
    if not folder.exists():
        return []
    return sorted(each.name for each in folder.iterdir() if each.name not in _STAYS)
