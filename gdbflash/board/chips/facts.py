"""Facts of serial NOR chips: geometry, IDs, times and SFDP, as data.

What belongs here: values out of a chip's data sheet, and nothing that acts.

To add a chip: another part of Winbond's is another `Chip`, named with its data sheet, which `w25q.W25Q` takes. A chip
of other commands is a module beside `w25q` on `nor_core` (what takes time) and `nor_pins` (how bits travel).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

KIB = 1024
MIB = 1024 * 1024


@dataclass(frozen=True)
class Timing:
    """Typical times of the chip's own operations, in seconds of board time, all multiplied by scale.

    Defaults: W25Q128JV data sheet revision F, section 9.6 (AC electrical characteristics), typical column.
    """

    page_program: float = 0.4e-3
    """tPP"""
    sector_erase: float = 45e-3
    """tSE, 4 KiB"""
    block32_erase: float = 120e-3
    """tBE1, 32 KiB"""
    block64_erase: float = 150e-3
    """tBE2, 64 KiB"""
    chip_erase: float = 40.0
    """tCE"""
    status_write: float = 10e-3
    """tW"""
    suspend: float = 20e-6
    """tSUS"""
    reset: float = 30e-6
    """tRST"""
    scale: float = 1.0
    show_busy: bool = False
    """The first status byte read after an operation began says BUSY even if its time has passed already."""


DATA_SHEET = Timing()
FAST = Timing(scale=1e-5, reset=0.0, show_busy=True)
"""For tests: a page takes 4 ns and a chip erase 0.4 ms, but software that does not wait for BUSY is still caught."""


@dataclass(frozen=True)
class Chip:
    """A serial NOR chip that speaks Winbond's command set with 3-byte addresses."""

    name: str
    size: int
    """bytes"""
    manufacturer: int
    memory_type: int
    memory_type_qpi: int
    """Second byte of 9Fh while in QPI mode."""
    capacity: int
    device_id: int
    """Answer to ABh and 90h."""
    unique_id: bytes
    """8 bytes, answer to 4Bh."""
    sfdp: bytes
    """256 bytes, answer to 5Ah."""
    page_size: int = 256
    sector_size: int = 4 * KIB


def sfdp_area(parameters: tuple[int, ...]) -> bytes:
    """Lay out an SFDP area with one JEDEC basic flash parameter table at 0x80 (JESD216A, 6.2 and 6.3)."""
    pointer = 0x80
    header = struct.pack("<4sBBBB", b"SFDP", 5, 1, 0, 0xFF)
    header += struct.pack("<BBBB3sB", 0x00, 5, 1, len(parameters), pointer.to_bytes(3, "little"), 0xFF)
    table = struct.pack(f"<{len(parameters)}I", *parameters)
    return (header.ljust(pointer, b"\xff") + table).ljust(256, b"\xff")


W25Q128JV = Chip(
    name="W25Q128JV",
    size=16 * MIB,
    manufacturer=0xEF,
    memory_type=0x40,
    memory_type_qpi=0x60,
    capacity=0x18,
    device_id=0x17,
    unique_id=bytes.fromhex("d2a1f04b67359c08"),
    sfdp=sfdp_area(
        (
            0xFFF920E5,  # 4 KiB erase by 20h; 1-1-2, 1-2-2, 1-4-4 and 1-1-4 reads; 3-byte addresses
            0x07FFFFFF,  # density: 128 Mbit - 1
            0x6B08EB44,  # 1-1-4 by 6Bh with 8 dummies; 1-4-4 by EBh with 2 mode clocks and 4 dummies
            0xBB423B08,  # 1-2-2 by BBh with 2 mode clocks and 2 dummies (as shipped); 1-1-2 by 3Bh with 8 dummies
            0xFFFFFFFE,  # 4-4-4 read supported, 2-2-2 not
            0x0000FFFF,
            0xEB40FFFF,  # 4-4-4 by EBh with 2 mode clocks and no dummy
            0x520F200C,  # erase types: 4 KiB by 20h, 32 KiB by 52h
            0x0000D810,  # 64 KiB by D8h
            0x00A60236,  # erase times
            0xC914EA82,  # chip erase 40 s, page size 256, program times
            0x337663E9,  # suspend and resume
            0x757A757A,  # 75h suspends, 7Ah resumes
            0x5CD5A2F7,  # deep power-down B9h and ABh, status poll by 05h bit 0
            0xFF4DF719,  # quad enable: bit 1 of status register 2; 0-4-4 by mode bits A0h; QPI by 38h and FFh
            0x80F830E9,  # soft reset 66h 99h; status register 1: non-volatile, or volatile after 50h
        )
    ),
)
"""The -IQ, -JQ and -IN order codes by their JEDEC ID. Their data sheet names no QPI mode, that of the -IM and of the
predecessor W25Q128FV (same ID) does, and loaders for "the W25Q128" use it: so QPI works here, answering 9Fh with
EF 60 18 as the FV does."""
