"""The STM32 header is read, and what the boot ROM of an STM32N6 would not start is told."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbflash.commands.lint import boot_notes
from gdbflash.images.boot_header import BASE_SIZE, LOAD_ANYWHERE, MAGIC, BootHeader, parse_boot_header
from gdbflash.images.content import Content
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.loaders.stldr import parse_loader
from gdbflash.plan.boot_rom import boots_from, check_boot_image
from tests.support.bootimage import MEMORY, BootImage, n6_loader

WORD = st.integers(0, 0xFFFFFFFF)
GOOD = BootImage()
SIGNED = replace(GOOD, extensions=1 << 31 | 1)


def loader(**changes: int) -> ExternalLoader:
    return parse_loader(n6_loader(**changes), "N6_XSPI.stldr")  # type: ignore[arg-type]


def codes(image: BootImage | bytes, address: int = MEMORY) -> list[str]:
    return [each.code for each in check_boot_image(loader(), Content.at(address, bytes(image)))]


@given(st.integers(0, 255), st.integers(0, 255), WORD, WORD, WORD, WORD, st.binary(max_size=40))
def test_what_was_put_in_comes_out(
    major: int, minor: int, entry: int, load: int, flags: int, size: int, payload: bytes
) -> None:
    version = major << 16 | minor << 8
    image = bytes(BootImage(b"STM2", version, entry, load, flags, 0, 0, payload))
    image = image[:136] + struct.pack("<I", size) + image[140:]
    found = parse_boot_header(image)
    assert found == BootHeader((major, minor), len(payload), entry, load, flags, size)
    assert found.size == BASE_SIZE + size
    assert (found.is_signed, found.is_encrypted) == (bool(flags & 1), bool(flags & 2))


@given(st.binary(max_size=400), st.booleans(), st.integers(0, 400))
def test_any_bytes_are_a_header_or_none(data: bytes, begins: bool, cut: int) -> None:
    data = (MAGIC + data if begins else data)[:cut]
    assert (parse_boot_header(data) is not None) == (data.startswith(MAGIC) and len(data) >= BASE_SIZE)


def test_places_of_the_fields() -> None:
    """Entry point at 0x70 and length at 0x6C, as UM3234 has them."""
    data = bytearray(bytes(GOOD))
    data[0x6C:0x74] = struct.pack("<II", 0x1234, 0x34185678)
    found = parse_boot_header(bytes(data))
    assert found is not None
    assert (found.image_length, found.entry, found.load_address) == (0x1234, 0x34185678, LOAD_ANYWHERE)
    assert (found.version, found.size) == ((2, 3), 0x240)


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (SIGNED, []),
        (GOOD, ["boot-unsigned"]),
        (replace(SIGNED, magic=b"STM1"), ["boot-header"]),
        (replace(SIGNED, version=0x00010000), ["boot-version"]),
        (replace(SIGNED, fill=0), ["boot-alignment"]),
        (replace(SIGNED, fill=0, extensions=1 << 31 | 3), []),
        (replace(SIGNED, fill=0, extensions_size=0x400 - 160), []),
        (replace(SIGNED, longer=1), ["boot-length"]),
        (replace(SIGNED, payload=GOOD.payload.ljust((512 << 10) - 0x400, b"\0")), []),
        (replace(SIGNED, payload=GOOD.payload.ljust((512 << 10) - 0x3FF, b"\0")), ["boot-size"]),
        (replace(SIGNED, entry=0x70000F71), ["boot-entry"]),
        (replace(SIGNED, entry=0x70000F71, load_address=0x34000000), []),
        (bytes(SIGNED)[:159], ["boot-header"]),
        (b"\0", ["boot-header"]),
    ],
)
def test_what_is_said_of_an_image_at_the_start(image: BootImage | bytes, told: list[str]) -> None:
    assert codes(image) == told


@pytest.mark.parametrize(
    ("image", "address", "told"),
    [
        (GOOD, MEMORY + 0x400, ["boot-place"]),
        (GOOD, MEMORY + (512 << 10), []),
        (GOOD, MEMORY + (1 << 20), []),
        (GOOD.payload, MEMORY + 0x400, []),
        (GOOD.payload, 0x34180400, []),
    ],
)
def test_what_is_said_of_an_image_elsewhere(image: BootImage | bytes, address: int, told: list[str]) -> None:
    assert codes(image, address) == told


def test_an_image_in_pieces() -> None:
    whole = bytes(GOOD)
    parts = Content.of([(MEMORY, whole[:100])], [(MEMORY + 100, whole[100:])])
    assert [each.code for each in check_boot_image(loader(), parts)] == ["boot-unsigned"]
    astray = Content.of([(MEMORY, b"\1")], [(MEMORY + 0x1000, whole)])
    (found,) = check_boot_image(loader(), astray)
    assert (found.code, "0x70001000" in found.message, "0x70000000" in found.message) == ("boot-place", True, True)


@pytest.mark.parametrize(
    "changes",
    [{"link": 0x24000004}, {"link": 0x20000004}, {"address": 0x90000000}, {"kind": 5}],
    ids=["H7R/S", "others", "the other memory", "RAM"],
)
def test_nothing_is_said_where_it_is_not_known_to_boot(changes: dict[str, int]) -> None:
    other = loader(**changes)
    assert not boots_from(other)
    assert check_boot_image(other, Content.at(other.storage.address, bytes(64))) == ()


def test_load_notes_it() -> None:
    (note,) = boot_notes((loader(),), Content.at(MEMORY, bytes(8)))
    assert note.code == "boot-header"
    assert "There is no STM32 header at 0x70000000" in note.message
    assert "-align" in note.message
