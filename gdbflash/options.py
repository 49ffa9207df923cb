"""What a run may be told: how loaders are called, how the target is taken and left.

What belongs here: choices as values. The command line and the commands inside GDB fill them, `flash` and `onchip`
heed them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from gdbflash.ranges import Range


@dataclass(frozen=True)
class CallOptions:
    """How loaders are run on this target."""

    ram: Range | None = None
    irq: bool = False
    ignore_init_result: bool = False
    timeout_scale: float = 1.0
    largest_buffer: int | None = None
    static_base: int | None = None
    """What r9 is in calls, whatever the loader's file says."""
    may_reset: bool = True
    """Whether the target may be reset again, where a loader wants it."""


class Before(enum.Enum):
    """How the target is taken."""

    RESET = "reset"
    NONE = "none"


class After(enum.Enum):
    """How the target is left."""

    RESET = "reset"
    RUN = "run"
    HALT = "halt"
    RESTORE = "restore"


class VerifyMode(enum.Enum):
    """How what was written is compared."""

    DIGEST = "digest"
    """By digests that the target computes."""
    READBACK = "readback"
    """By reading all bytes back."""
    LOADER = "loader"
    """By the loader's own Verify."""
    NONE = "none"


class ReadMode(enum.Enum):
    """How bytes that are read are proven."""

    SAMPLES = "samples"
    """Their way over the link by digests, and a loader's Read by reading samples of them twice."""
    TWICE = "twice"
    """By digests of all of them, read once more."""


class Form(enum.Enum):
    """What a file of bytes that were read looks like."""

    BIN = "bin"
    """Plain bytes."""
    HEX = "hex"
    """Intel HEX."""
    SREC = "srec"
    """S-records."""


class Color(enum.Enum):
    """Whether what is shown has colours."""

    AUTO = "auto"
    """On a terminal, unless NO_COLOR is set (no-color.org)."""
    ALWAYS = "always"
    NEVER = "never"


class Kept(enum.Enum):
    """What becomes of bytes that an interrupted run kept, where it is unclear whether they belong to this chip."""

    ASK = "ask"
    """The run stops before it touches anything."""
    RESTORE = "restore"
    """They are put back over whatever lies there."""
    DISCARD = "discard"
    """Those that lie in this run's sectors are given up."""
    LEAVE = "leave"
    """They stay on the host: it was another board."""


@dataclass(frozen=True)
class RunOptions:
    """How the target is taken, used and left."""

    before: Before = Before.RESET
    after: After = After.RESET
    calls: CallOptions = field(default_factory=CallOptions)
    kept: Kept = Kept.ASK
    expected_unit: str | None = None
    """The only unit that may be touched, by its unique ID in hex; None: any."""
