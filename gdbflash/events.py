"""Progress as values: what the flasher tells whoever listens.

What belongs here: frozen events, the types of who is told of them, and how amounts are said. Nothing here prints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from gdbflash.errors import JsonValue

Phase = Literal["connect", "init", "read", "erase", "program", "verify", "close"]


@dataclass(frozen=True)
class Planned:
    """What is going to be done, before anything is touched."""

    summary: str
    data: dict[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True)
class Started:
    """A phase begins; total is in bytes, 0 where the phase has no length."""

    phase: Phase
    total: int = 0
    label: str = ""


@dataclass(frozen=True)
class Advanced:
    """A phase moved on; done is in bytes since the phase began."""

    phase: Phase
    done: int


@dataclass(frozen=True)
class Waited:
    """The chip is waited for within a phase; seconds so far, and at most."""

    done: float
    total: float


@dataclass(frozen=True)
class Finished:
    """A phase ended well; seconds is its duration."""

    phase: Phase
    seconds: float


@dataclass(frozen=True)
class Noted:
    """Something the user should know that is no error."""

    code: str
    message: str
    data: dict[str, JsonValue] = field(default_factory=dict)
    always: bool = False
    """The safety of somebody's bytes hangs on it: it is said however quiet all is to be."""


@dataclass(frozen=True)
class Detailed:
    """What was found or done on the way, for those who ask for more."""

    code: str
    message: str
    data: dict[str, JsonValue] = field(default_factory=dict)


BOARD = "board"
"""The code of the `Detailed` that says which board was reached; data: endpoint, server, device, device_id, unit."""
Event = Planned | Started | Advanced | Waited | Finished | Noted | Detailed
Observer = Callable[[Event], None]


class Attendance(Protocol):
    """Who has a loader used: is told what happens, and may end it by what it raises."""

    def observe(self, event: Event, /) -> None:
        """Take note of an event."""

    def check(self) -> None:
        """Be asked before each call."""

    def pause(self, seconds: float) -> None:
        """Let seconds pass while the chip is busy."""


def unobserved(event: Event) -> None:
    """Let an event pass."""


def counted(count: int, noun: str) -> str:
    """Say how many: 1 sector, 5 sectors."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def bytes_in_words(size: int) -> str:
    """Say a number of bytes as people do: 256 B, 64 KiB, 16 MiB."""
    for unit, width in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= width:
            return f"{size / width:.4g} {unit}"
    return f"{size} B"
