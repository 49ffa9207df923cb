"""Why a run of instructions ended, as the core tells the processor."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Cause(enum.Enum):
    """Why a run of instructions ended; PC is at the instruction itself unless it says otherwise."""

    INTERRUPTED = enum.auto()
    """Asked to, from another thread or by an access that wants `Core.recheck`."""
    BREAKPOINT = enum.auto()
    TRAP = enum.auto()
    """One of `Core.traps`."""
    WATCHPOINT = enum.auto()
    """PC is behind the instruction that made the access to address."""
    SLEEP_INTERRUPT = enum.auto()
    """WFI; PC is behind it."""
    SLEEP_EVENT = enum.auto()
    """WFE; PC is behind it."""
    SVC = enum.auto()
    """PC is behind it."""
    BKPT = enum.auto()
    UNDEFINED = enum.auto()
    INVALID_STATE = enum.auto()
    NO_COPROCESSOR = enum.auto()
    UNALIGNED = enum.auto()
    DIVIDE_BY_ZERO = enum.auto()
    DATA_ERROR = enum.auto()
    """address did not answer."""
    FETCH_ERROR = enum.auto()
    NEVER_EXECUTE = enum.auto()
    """A fetch from where the memory map forbids it."""
    MAGIC_BRANCH = enum.auto()
    """PC is EXC_RETURN without bit 0."""


@dataclass(frozen=True)
class Stop:
    """Why a run ended, and the data address if there is one."""

    cause: Cause
    address: int = 0
