"""What the phases that change a storage ask of it.

What belongs here: the part of `inspection.Inspection` that they need, so that they need not know it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from gdbflash.ranges import Range


class Looks(Protocol):
    """Looks at the storage of an open loader."""

    def fingerprints(self, places: Sequence[Range]) -> dict[Range, bytes]:
        """Give what tells whether places change."""

    def shows_blank(self, where: Range, fingerprint: bytes) -> bool:
        """Say whether a fingerprint is that of an erased place."""

    def read_proven(self, places: Sequence[Range]) -> Iterator[tuple[Range, bytes]]:
        """Read places, and see at the end that it came right."""
