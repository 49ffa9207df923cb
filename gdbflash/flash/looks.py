"""What the phases that change a storage ask of it.

What belongs here: the part of `inspection.Inspection` that they need, so that they need not know it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from gdbflash.images.content import Content
from gdbflash.options import VerifyMode
from gdbflash.ranges import Range


class Looks(Protocol):
    """Looks at the storage of an open loader."""

    def fingerprints(self, places: Sequence[Range]) -> dict[Range, bytes]:
        """Give what tells whether places change."""

    def shows_blank(self, where: Range, fingerprint: bytes) -> bool:
        """Say whether a fingerprint is that of an erased place."""

    def verify(self, content: Content, blank: Sequence[Range], mode: VerifyMode) -> None:
        """Compare memory with content, and see that it is erased where it is to be blank; raises Mismatch."""

    def read_proven(self, places: Sequence[Range]) -> Iterator[tuple[Range, bytes]]:
        """Read places, and see at the end that it came right."""
