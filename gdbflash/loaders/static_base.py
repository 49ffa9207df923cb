"""What r9 is to be in calls: the static base of code that reaches its variables through it.

What belongs here: the value. It is found by `find_static_base`.

Three meanings were seen in real loaders. Arm's linker with RWPI: r9 is where the section of writable data begins.
IAR's RWPI with absolute addresses: r9 is added to them and has to be 0. Stripped files without such a section: r9
points at any RAM, which begins as zeros. Where code keeps r9 as any other register, its value does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

SCRATCH = 256
"""Bytes behind the largest offset that is seen, and in all where none is."""


@dataclass(frozen=True)
class StaticBase:
    """What r9 is to be; address None: scratch bytes of zeroed RAM of its own."""

    address: int | None = None
    scratch: int = SCRATCH
    why: str = "nothing was found that uses r9 as a static base"
    unknown: str = ""
    """Why it cannot be told, as the rest of a sentence; empty where it can."""

    @property
    def in_words(self) -> str:
        """Say what it is and why."""
        if self.unknown:
            return f"unknown: the loader {self.unknown}"
        where = f"{self.scratch} bytes of its own" if self.address is None else f"0x{self.address:08X}"
        return f"{where}: {self.why}"
