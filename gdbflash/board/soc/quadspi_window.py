"""Memory-mapped mode of QUADSPI as the bus sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

WINDOW_BASE = 0x90000000
WINDOW_LIMIT = 256 << 20


@dataclass(frozen=True, eq=False)
class Window:
    """Memory-mapped mode at 0x90000000: size bytes are readable, nothing is writable.

    memory holds the bytes that every access from the second on delivers, as long as this Window stands; it is the
    chip's own array, writable and contiguous, and shorter than size if FSIZE claims more than the chip has (the rest
    repeats: use read). It is None before the first access, and as long as the bus delivers anything else.
    """

    size: int
    memory: memoryview | None
    read: Callable[[int, int], bytes]
    """read(offset, size): do a bus access. Raises BusError outside the window. May call window_changed."""
