"""Firmware files that cannot be used: each gets one sentence, none a traceback."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import bincopy
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gdbflash.errors import ImageFileError
from gdbflash.images.content import Content
from gdbflash.images.formats import load_image, parse_image
from tests.support import stldr
from tests.support.stldr import Elf, Load, Section
from tests.unit.test_image import HEX, SREC

ELF = stldr.elf_file(
    Elf(
        (
            Load((Section(".text", 0x90000000, bytes(range(64))),)),
            Load((Section(".data", 0x20000000, b"data"), Section(".bss", 0x20000004, size=60)), 64, 0x90000040),
        ),
        symbols=None,
    )
)


def patched(offset: int, value: int) -> bytes:
    return ELF[:offset] + bytes([value]) + ELF[offset + 1 :]


@pytest.mark.parametrize(
    ("data", "name", "address", "part"),
    [
        (b"", "a.bin", 0, "a.bin is empty"),
        (
            b"\1\2",
            "a.bin",
            None,
            "does not say where its bytes belong. Give the address with it, as in a.bin@0x90000000",
        ),
        (b"\1\2", "a.bin", 0xFFFFFFFF, "2 bytes of a.bin at 0xFFFFFFFF run past the end of the address space"),
        (b"\1\2", "a.bin", -1, "past the end"),
        (
            HEX,
            "a.hex",
            0x90000000,
            "is an Intel HEX file and says itself where its bytes belong. Leave @0x90000000 out",
        ),
        (SREC, "a.bin", 0, "is an S-record file and says itself"),
        (ELF, "a.bin", 0, "is an ELF file and says itself"),
        (b"\1\2", "a.hex", None, "is named like a HEX or S-record file, but its first line is no such record"),
        (b"\1\2", "a.S19", 0, "is named like a HEX or S-record file"),
        (HEX.replace(b"F2", b"F3"), "a.hex", None, "Line 2 of a.hex is no sound record: expected crc 'F2'"),
        (SREC.replace(b"5C", b"5D"), "a.s37", None, "Line 2 of a.s37 is no sound record: expected crc '5C'"),
        (HEX.replace(b"0304F2", b"03F6"), "a.hex", None, "has wrong size"),
        (HEX.replace(b":04", b"04"), "a.hex", None, "Line 2 of a.hex"),
        (HEX.replace(b"0102", b"01\xff2"), "a.hex", None, "Line 2 of a.hex"),
        (HEX.replace(b":0400", b"\n:zz00"), "a.hex", None, "Line 3 of a.hex"),
        (HEX.replace(b":00000001FF", b":00000006FA\n:00000001FF"), "a.hex", None, "record type 6 is unknown"),
        (b":0100000490 6B\n:00000001FF".replace(b" ", b""), "a.hex", None, "an address of 1 bytes instead of 2"),
        (HEX.replace(b":00000001FF\n", b""), "a.hex", None, "is cut short: it has no end-of-file record"),
        (HEX[:30], "a.hex", None, "Line 2 of a.hex"),
        (HEX.replace(b"\n", b""), "a.hex", None, "Line 1 of a.hex"),
        (b":00000001FF\n", "a.hex", None, "is an Intel HEX file without any data"),
        (b"S00600004844521B\nS9030000FC\n", "a.srec", None, "is an S-record file without any data"),
        (
            SREC.replace(b"S705900000006A\n", b""),
            "a.srec",
            None,
            "is cut short: its last record neither ends it (S7, S8 or S9) nor counts its data (S5 or S6). Build",
        ),
        (SREC.replace(b"S309", b"S409"), "a.srec", None, "Line 2 of a.srec"),
        (HEX + b":" + b"0" * 2000, "a.hex", None, "Line 4 of a.hex is no sound record: 2001 characters"),
        (
            b":02000004FFFFFC\n:02FFFF0001 02FD\n:00000001FF\n".replace(b" ", b""),
            "a.hex",
            None,
            "has 2 bytes for 0xFFFFFFFF, past the end of the address space",
        ),
        (stldr.elf_file(Elf((), symbols=None)), "a.elf", None, "is an ELF file without any data"),
        (patched(4, 2), "a.elf", None, "is a 64-bit ELF file"),
        (patched(18, 0xF3), "a.elf", None, "is an ELF file for RISCV"),
        (patched(16, 1), "a.elf", None, "is an object file that was never linked"),
        (ELF[:100], "a.elf", None, "is cut short"),
        (ELF[:20], "a.elf", None, "ends after 20 bytes"),
    ],
)
def test_says_what_is_wrong(data: bytes, name: str, address: int | None, part: str) -> None:
    with pytest.raises(ImageFileError) as caught:
        parse_image(data, name, address)
    assert part in caught.value.message
    assert name in caught.value.message
    assert caught.value.message.endswith(".")


def test_lines_are_data() -> None:
    with pytest.raises(ImageFileError) as caught:
        parse_image(HEX.replace(b"F2", b"F3"), "a.hex")
    assert caught.value.data == {"path": "a.hex", "line": 2}


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="is a directory"):
        load_image(tmp_path, 0)
    with pytest.raises(ImageFileError, match="does not exist"):
        load_image(tmp_path / "none.bin", 0)
    (tmp_path / "empty.hex").touch()
    with pytest.raises(ImageFileError, match="is empty"):
        load_image(tmp_path / "empty.hex")


def _text(kind: str) -> bytes:
    file = bincopy.BinFile()
    file.add_binary(bytes(range(200)), 0x9000FFC0)
    file.add_binary(b"tail", 0x90020000)
    text: str = file.as_ihex() if kind == "hex" else file.as_srec()
    return text.encode()


CASES = st.sampled_from([_text("hex"), _text("srec"), ELF]).flatmap(
    lambda data: st.tuples(
        st.just(data),
        st.lists(
            st.tuples(st.integers(0, len(data) - 1), st.sampled_from(b"0F:S\n\r \xff\0") | st.integers(0, 255)),
            max_size=6,
        ),
        st.none() | st.integers(0, len(data)),
    )
)


def parsed(data: bytes) -> Content | ImageFileError:
    try:
        return parse_image(data, "a.img")
    except ImageFileError as error:
        return error


@settings(max_examples=400, deadline=None)
@given(CASES)
def test_damage_is_survived(case: tuple[bytes, list[tuple[int, int]], int | None]) -> None:
    base, changes, end = case
    data = bytearray(base)
    for place, value in changes:
        data[place] = value
    image = parsed(bytes(data[:end]))
    if isinstance(image, ImageFileError):
        assert "a.img" in image.message
        assert image.message.endswith(".")
        return
    assert image
    assert all(0 <= where.address < where.end <= 1 << 32 for where in image.ranges)
    assert all(low + len(data) <= high for (low, data), (high, _) in pairwise(image.pieces))


@settings(deadline=None)
@given(st.integers(0, len(_text("hex")) - 1), st.sampled_from(b"0123456789ABCDEF"))
def test_a_changed_digit_never_goes_unnoticed(place: int, digit: int) -> None:
    """The checksum finds every single wrong digit of a record."""
    good = _text("hex")
    data = bytearray(good)
    assume(data[place] in b"0123456789ABCDEF" and data[place] != digit)
    data[place] = digit
    with pytest.raises(ImageFileError):
        parse_image(bytes(data), "a.hex")
