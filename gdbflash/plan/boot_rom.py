"""Whether the boot ROM would start an image from where it is to lie.

What belongs here: what is to be said of images for parts that boot from external memory. None of it stops anybody: a
debugger, or another program, starts what the boot ROM does not.

The STM32N6 is the only one. An STM32H7R/S starts from its internal flash, and STiRoT checks TLVs behind an image (ST's
wiki, "How to adapt a user application to ROT for STM32H7RS", 2): there is no STM32 header to look at.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from gdbflash.images.boot_header import LOAD_ANYWHERE, MAGIC, BootHeader, parse_boot_header
from gdbflash.images.content import Content
from gdbflash.loaders.finding import Finding
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.ranges import Range

_N6_RAM = Range(0x34000000, 0x01000000)
"""AXISRAM by its secure addresses, which loaders for the STM32N6 are linked to; SRAM1_AXI_BASE_S is the first of them
(CMSIS, stm32n657xx.h). No other STM32 has RAM there."""
_N6_BOOT_MEMORY = 0x70000000
"""The flash on port 2 of the XSPIM, the only one that the boot ROM reads (UM3234, "Boot ROM configuration
determination"); XSPI2 maps it here (ST's projects for the STM32N6 program their first stage to this)."""
_HEADER_VERSION = (2, 3)
_LARGEST = 512 << 10
"""Largest image with its header (ST's wiki, "BootROM for STM32N6", table of features)."""
_LOADED_TO = 0x34180000
"""Where in AXISRAM2 the boot ROM puts header and payload (ST's projects for the STM32N6 link a first stage to this
+ 0x400)."""
_ALIGNMENT = 0x400
"""Of the payload, counted from the header. Up to version 2.20 the signing tool fills up to it by itself, then only with
-align (ST in its forum: "Zephyr images signed with STM32CubeProgrammer 2.21.0 do not run")."""
_STACKS = Range(0x20000000, 0x20000000)
"""Where RAM is, as far as a stack pointer can tell (Armv8-M Architecture Reference Manual, address map)."""
_VECTORS = struct.Struct("<II")
SIGN = "STM32_SigningTool_CLI -bin FILE -nk -of 0x80000000 -t fsbl -hv 2.3 -align -o SIGNED"
"""A header without a signature, as ST's templates for the STM32N6 make it."""


def boots_from(loader: ExternalLoader) -> bool:
    """Say whether the boot ROM of the loader's part looks for an STM32 header at the start of its memory."""
    storage = loader.storage
    return loader.link_address in _N6_RAM and storage.address == _N6_BOOT_MEMORY and not storage.is_ram


def check_boot_image(loader: ExternalLoader, content: Content) -> tuple[Finding, ...]:
    """Say what of content the boot ROM would not take as it is; nothing of what another program starts."""
    if not boots_from(loader):
        return ()
    start = loader.storage.address
    header = _header_at(content, start)
    if header is not None:
        return tuple(_check(header, content, start))
    first = Range(start, _LARGEST)
    astray = next((each for each in content.starts if each in first and _header_at(content, each)), None)
    if astray is not None:
        return (
            Finding(
                "boot-place",
                "warning",
                f"An STM32 header lies at 0x{astray:08X}, and the boot ROM looks for it at 0x{start:08X}. Place the "
                "image there, unless another program starts it.",
            ),
        )
    if not _read(content, start, 1):
        return ()
    there = "half an STM32 header" if _read(content, start, len(MAGIC)) == MAGIC else "no STM32 header"
    return (
        Finding(
            "boot-header",
            "warning",
            f"There is {there} at 0x{start:08X}: a debugger can start this image, the boot ROM does not. "
            f"Put one before it: {SIGN}",
        ),
    )


def _header_at(content: Content, address: int) -> BootHeader | None:
    where = next((each for each in content.ranges if address in each), None)
    size = 0 if where is None else min(where.end - address, _ALIGNMENT)
    return parse_boot_header(content.read(Range(address, size))) if size else None


def _read(content: Content, address: int, size: int) -> bytes:
    """Give bytes; none where not all of them are there."""
    inside = any(each.address <= address and address + size <= each.end for each in content.ranges)
    return content.read(Range(address, size)) if inside else b""


def _check(header: BootHeader, content: Content, start: int) -> Iterator[Finding]:
    """Check an image whose header lies where it belongs."""
    major, minor = header.version
    if header.version != _HEADER_VERSION:
        yield Finding(
            "boot-version",
            "warning",
            f"The STM32 header is of version {major}.{minor}, and the boot ROM of the STM32N6 wants 2.3. "
            "Sign it with -hv 2.3.",
        )
        return  # the rest may lie elsewhere in it
    whole = header.size + header.image_length
    if whole > _LARGEST:
        yield Finding(
            "boot-size",
            "warning",
            f"The STM32 header tells of {whole} bytes with itself, and the boot ROM takes {_LARGEST}. Let a smaller "
            "first stage load the rest.",
        )
    there = content.within([Range(start, whole)]).size
    if there < whole:
        yield Finding(
            "boot-length",
            "warning",
            f"The STM32 header tells of {whole} bytes with itself, and the image has {there} of them. Sign it anew: "
            "it is cut off.",
        )
    if header.size % _ALIGNMENT and not header.is_encrypted and _is_vector_table(content, start + header.size):
        yield Finding(
            "boot-alignment",
            "warning",
            f"The payload begins 0x{header.size:X} behind the start of its STM32 header, and the boot ROM wants it at "
            f"0x{_ALIGNMENT:X}. Sign it with -align.",
        )
    loaded = Range(_LOADED_TO + _ALIGNMENT, _LARGEST - _ALIGNMENT)
    if header.load_address == LOAD_ANYWHERE and header.entry not in loaded:
        yield Finding(
            "boot-entry",
            "warning",
            f"The entry point in the STM32 header is 0x{header.entry:08X}, and the boot ROM loads the image to "
            f"{loaded}. Link it to 0x{loaded.address:08X}.",
        )
    if not header.is_signed:
        yield Finding(
            "boot-unsigned", "info", "The image has no signature: a part that is locked to its owner's keys refuses it."
        )


def _is_vector_table(content: Content, address: int) -> bool:
    """Say whether a stack pointer and an address with the Thumb bit lie there."""
    words = _read(content, address, _VECTORS.size)
    if not words:
        return False
    stack, handler = _VECTORS.unpack(words)
    return stack - 4 in _STACKS and not stack % 4 and handler % 2 == 1
