"""The STM32 header: what the boot ROM of a part without internal flash wants in front of an image.

What belongs here: reading one. What is to be said of it is in `plan.boot_rom`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = b"STM2"
_BASE = struct.Struct("<4s 96s 11I 16x")
"""Magic, signature, checksum of the payload, header version, length of the payload, entry point, reserved, load
address, reserved, version of the image, extension flags, length of the extensions, type; then reserved bytes. The
fields and their order are those of ST's wiki, "STM32 header for binary files", version 2; length at 0x6C and entry
point at 0x70 of version 2.3 are quoted of UM3234 in ST's forum, which puts 96 bytes of signature before them."""
BASE_SIZE = _BASE.size
"""Bytes without extensions."""
_AUTHENTICATED, _ENCRYPTED = 1 << 0, 1 << 1


@dataclass(frozen=True)
class BootHeader:
    """A header of version 2: a base of 160 bytes, and extensions of which padding is one."""

    version: tuple[int, int]
    """Major and minor."""
    image_length: int
    """Bytes behind base and extensions that belong to the image."""
    entry: int
    load_address: int
    """LOAD_ANYWHERE where the boot ROM decides."""
    extensions: int
    """Flags: 0 authentication, 1 encryption, 31 padding."""
    extensions_size: int

    @property
    def size(self) -> int:
        """Bytes of base and extensions."""
        return BASE_SIZE + self.extensions_size

    @property
    def is_signed(self) -> bool:
        """Say whether it brings a signature and the keys to check it."""
        return bool(self.extensions & _AUTHENTICATED)

    @property
    def is_encrypted(self) -> bool:
        """Say whether what lies behind it cannot be read."""
        return bool(self.extensions & _ENCRYPTED)


LOAD_ANYWHERE = 0xFFFFFFFF


def parse_boot_header(data: bytes) -> BootHeader | None:
    """Read the header that data begins with; None where it begins with none, or with less than its base."""
    if len(data) < BASE_SIZE or not data.startswith(MAGIC):
        return None
    _, _, _, version, length, entry, _, load_address, _, _, extensions, size, _ = _BASE.unpack_from(data)
    return BootHeader((version >> 16 & 0xFF, version >> 8 & 0xFF), length, entry, load_address, extensions, size)
