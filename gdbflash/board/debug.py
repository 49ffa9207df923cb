"""What a debug probe sees of the virtual board: the one seam between the machine and its faces."""

from __future__ import annotations

import enum
from typing import Protocol


class HaltReason(enum.Enum):
    """Why the core is halted, as DFSR tells it (ARMv7-M Architecture Reference Manual, C1.6.1)."""

    REQUEST = "request"
    STEP = "step"
    BREAKPOINT = "breakpoint"
    """A BKPT instruction or an FPB comparator."""
    WATCHPOINT = "watchpoint"
    VECTOR_CATCH = "vector-catch"
    LOCKUP = "lockup"


class DebugPort(Protocol):
    """The core, its memory and its breakpoints, as a probe reaches them.

    Methods may be called from any thread, also while the core runs (then the core is paused for the moment of
    the access, unseen by its program). Registers: r0..r12, sp, lr, pc, xpsr, msp, psp, primask, basepri, faultmask,
    control, fpscr, s0..s31.
    """

    @property
    def halted(self) -> HaltReason | None:
        """The reason why the core is halted; None while it runs."""

    def halt(self) -> None:
        """Halt the core and return when it is halted."""

    def resume(self) -> None:
        """Let the core run on in its own thread; returns at once. A breakpoint at PC is stepped over first."""

    def step(self) -> None:
        """Execute one instruction and halt."""

    def wait_halted(self, timeout: float | None) -> HaltReason | None:
        """Wait until the core is halted, or timeout seconds passed (then None)."""

    def reset(self, *, halt: bool) -> None:
        """Reset the MCU (not the flash chip); halt before the first instruction or run."""

    def read_register(self, name: str) -> int:
        """Read a core register; KeyError for an unknown name."""

    def write_register(self, name: str, value: int) -> None:
        """Write a core register; KeyError for an unknown name."""

    def read_memory(self, address: int, size: int) -> bytes:
        """Read as the debugger sees memory, peripherals and the SCS included; raises bus.BusError."""

    def write_memory(self, address: int, data: bytes) -> None:
        """Write as the debugger would; raises bus.BusError."""

    def set_breakpoint(self, address: int) -> None:
        """Halt before the instruction at address executes (an FPB comparator; setting it twice is one)."""

    def clear_breakpoint(self, address: int) -> None:
        """Take the breakpoint at address away; unknown ones are ignored."""

    def set_watchpoint(self, address: int, size: int, access: str) -> None:
        """Halt after an access ("r", "w" or "rw") to the range, as DWT comparators do."""

    def clear_watchpoint(self, address: int, size: int, access: str) -> None:
        """Take the watchpoint away; unknown ones are ignored."""
