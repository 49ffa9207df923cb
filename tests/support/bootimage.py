"""Images with an STM32 header, as ST's signing tool makes them for the STM32N6."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tests.support import stldr

MEMORY = 0x70000000
EXTENSIONS = 0x1A0
"""Bytes of padding that the signing tool puts behind the base: 576 together."""


@dataclass(frozen=True)
class BootImage:
    """What a header says, and a payload that begins with a vector table."""

    magic: bytes = b"STM2"
    version: int = 0x00020300
    entry: int = 0x34180F71
    load_address: int = 0xFFFFFFFF
    extensions: int = 1 << 31
    extensions_size: int = EXTENSIONS
    fill: int = 0x400 - 160 - EXTENSIONS
    """Zeros between header and payload: what -align does."""
    payload: bytes = struct.pack("<II", 0x34200000, 0x34180F71).ljust(0x1000, b"\xa5")
    longer: int = 0
    """Bytes that the header tells of and that are missing."""

    def __bytes__(self) -> bytes:
        length = self.fill + len(self.payload) + self.longer
        head = struct.pack("<4s96sI", self.magic, b"", sum(self.payload) & 0xFFFFFFFF)
        head += struct.pack("<IIIIIIIIII", self.version, length, self.entry, 0, self.load_address, 0, 0,
                            self.extensions, self.extensions_size, 0x10)  # fmt: skip
        return head.ljust(160 + self.extensions_size, b"\0") + bytes(self.fill) + self.payload


def n6_loader(name: str = "N6_XSPI", address: int = MEMORY, link: int = 0x34180404, kind: int = 7) -> bytes:
    """Build a loader file as those for the STM32N6 are arranged."""
    functions = {name: place - 0x24000004 + link for name, place in stldr.BASIC.functions.items()}
    info = stldr.storage_info(name, kind=kind, address=address, size=64 << 20, sectors=((1024, 65536),))
    return stldr.stldr(stldr.shape(functions=functions, code_address=link, info=info))
