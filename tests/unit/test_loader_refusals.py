"""Files that are no usable loaders: each gets one sentence, none a traceback."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gdbflash.errors import LoaderFileError
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.loaders.stldr import describe, load_loader, parse_loader
from tests.support import stldr
from tests.support.stldr import BASIC, Elf, Sym, Toolchain, arrange, elf_file, shape

GOOD = stldr.stldr()
SHOFF = int.from_bytes(GOOD[32:36], "little")
SYMTAB = SHOFF + 5 * 40
STRTAB = SHOFF + 6 * 40


def patched(offset: int, form: str, *values: int) -> bytes:
    data = bytearray(GOOD)
    struct.pack_into("<" + form, data, offset, *values)
    return bytes(data)


def changed(**changes: Any) -> bytes:
    return stldr.stldr(shape(**changes))


def elf(**changes: Any) -> bytes:
    form = arrange(BASIC)
    return elf_file(Elf(**{**form.__dict__, **changes}))


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"", "is empty"),
        (b":020000042400D6\r\n:00000001FF\r\n", "is a HEX or S-record file"),
        (b"S00600004844521B\n", "is a HEX or S-record file"),
        (bytes(4096), "nothing but padding"),
        (b"\xff" * 4096, "nothing but padding"),
        (b"MZ\x90\0" * 100, "is not an ELF file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 27004\n", "git lfs pull"),
        (b"PK\3\4" + bytes(60), "is an archive"),
        (b"!<arch>\n" + bytes(60), "is an archive"),
        (b"\x1f\x8b\x08" + bytes(60), "is an archive"),
        (elf(symbols=(Sym("FlashDevice", 0, 200, 1), Sym("Init", 0x24000005))), "is a CMSIS flash algorithm (.FLM)"),
        (b"\x7fELF", "ends after 4 bytes, inside the ELF header"),
        (patched(4, "B", 2), "is a 64-bit ELF file"),
        (patched(5, "B", 2), "is a big-endian ELF file"),
        (patched(4, "B", 0), "class 0 and byte order 1"),
        (patched(18, "H", 62), "is an ELF file for X86_64"),
        (patched(18, "H", 0xFFFE), "is an ELF file for 65534"),
        (patched(16, "H", 1), "is an object file that was never linked"),
        (patched(16, "H", 3), "is an ELF file of kind DYN, not an executable"),
        (GOOD[:1000], "Copy or build it again"),
        (GOOD[:-1], "is cut short: its section header table would end at byte"),
        (patched(44, "H", 0xFFFE), "promises 65534 program headers"),
        (patched(42, "H", 0), "program headers are 0 bytes"),
        (patched(28, "I", 0xFFFFFFF0), "is cut short: its program header table"),
        (patched(48, "H", 0xFFFF), "promises 65535 sections"),
        (patched(48, "H", 0), "promises 0 sections"),
        (patched(46, "H", 0), "sections of 0 bytes"),
        (patched(52 + 16, "I", 0xFFFFFFFF), "claim more bytes than the file has"),
        (patched(84 + 4, "I", 0x2000), "is cut short: its segment at 0x24000004"),
        (patched(84 + 20, "I", 100), "claims 2864 bytes in the file and 100 in memory"),
        (patched(84 + 20, "I", 0xFFFFFFFF), "claims 2864 bytes in the file and 4294967295 in memory"),
        (patched(84 + 20, "I", 0x40000000), "wants 1073741824 bytes of RAM"),
        (patched(SYMTAB + 20, "I", 0xFFFFFFF0), "is cut short: its section at 0x00000000"),
        (patched(SYMTAB + 20, "I", 161), "its symbol table claims 161 bytes in entries of 16"),
        (patched(SYMTAB + 36, "I", 0), "in entries of 0"),
        (patched(SYMTAB + 24, "I", 200), "names no string table"),
        (patched(SYMTAB + 24, "I", 1), "names no string table"),
        (patched(STRTAB + 16, "I", 0xFFFFFFF0), "is cut short: its section at 0x00000000"),
        (elf(symbols=None), "has no symbol table"),
        (elf(symbols=()), "has no StorageInfo"),
        (elf(symbols=(Sym("StorageInfo", 0, 200, 1, section=""),)), "has no StorageInfo"),
        (elf(symbols=(Sym("StorageInfo", 0x24000B34, 200, 1, section=".bss"),)), "has only 0 bytes of 200"),
        (elf(symbols=(Sym("StorageInfo", 0x30000000, 200, 1),)), "has only 0 bytes of 200"),
        (elf(symbols=(Sym("StorageInfo", 100, 200, 1, section=".info"),)), "has only 100 bytes of 200"),
        (elf(loads=(), symbols=(Sym("StorageInfo", 0, 200, 1),)), "has only 0 bytes of 200"),
        (
            elf(
                loads=(),
                extra=(stldr.Section(".info", 0, stldr.storage_info()),),
                symbols=(Sym("StorageInfo", 0, 200, 1, section=".info"),),
            ),
            "has no segments to load",
        ),
        (changed(functions={}), "exports no function Init (nor any other of a loader)"),
        (changed(functions={"Write": 0x24000008, "Read": 0x24000010}), "exports no function Init (only Read, Write)"),
        (
            changed(functions={}, more_symbols=(Sym("_Z4Initv", 0x24000009, section=".text"),)),
            'declare the functions extern "C"',
        ),
        (changed(functions={"Init": 0x08000000}), "has its Init at 0x08000000, outside the bytes that are loaded"),
        (changed(functions={"Init": 0x24000B40}), "outside the bytes that are loaded"),
        (changed(info=stldr.storage_info(length=100)), "its StorageInfo has only 100 bytes"),
        (changed(info=stldr.storage_info(size=0, sectors=())), "describes a storage of no bytes"),
        (changed(info=stldr.storage_info(sectors=((4, 0),))), "4 sectors of no bytes"),
        (changed(info=stldr.storage_info(address=0xFFFF0000)), "past the end of the address space"),
        (changed(code_address=0, functions={"Init": 8}, info_address=0x20000000), "is linked to address 0"),
        (
            changed(info_address=0x24000800, info_first=False),
            "has two segments that overlap at 0x24000800",
        ),
    ],
)
def test_says_what_is_wrong(data: bytes, part: str) -> None:
    with pytest.raises(LoaderFileError) as caught:
        parse_loader(data, "dir/W25Q.stldr")
    message = caught.value.message
    assert part in message
    assert message.startswith("dir/W25Q.stldr ")
    assert message.endswith(".")
    assert caught.value.data["path"] == "dir/W25Q.stldr"


def test_says_that_a_binary_was_given() -> None:
    with pytest.raises(LoaderFileError, match=r"firmware\.bin is a binary image, not a loader"):
        parse_loader(b"\x00\x00\x02\x20\x09\x00\x00\x08", "firmware.bin")


def _directory(path: Path) -> None:
    path.mkdir()


def _empty(path: Path) -> None:
    path.touch()


def _link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (_directory, "is a directory"),
        (_empty, "is empty"),
        (_link_to_itself, "cannot be read: Too many levels of symbolic links"),
        (_huge, "has more than 64 MiB"),
        (lambda path: None, "does not exist"),  # noqa: ARG005
    ],
)
def test_unreadable_files(tmp_path: Path, make: Callable[[Path], None], part: str) -> None:
    path = tmp_path / "a.stldr"
    make(path)
    with pytest.raises(LoaderFileError) as caught:
        load_loader(path)
    assert caught.value.message.startswith(f"{path} {part}")


@pytest.mark.parametrize(("path", "part"), [("/dev/zero", "is a device"), ("a\0b", "cannot be read: embedded null")])
def test_what_is_no_file(path: str, part: str) -> None:
    with pytest.raises(LoaderFileError, match=part):
        load_loader(path)


def test_claims_cost_no_memory() -> None:
    """A segment of nearly 4 GiB, 256 segments of the whole file each, a string table without an end."""
    phdr = struct.pack("<8I", 1, 0, 0x20000000, 0x20000000, len(GOOD), len(GOOD), 7, 4)
    many = bytearray(GOOD)
    many[28:32] = len(many).to_bytes(4, "little")
    many[44:46] = (256).to_bytes(2, "little")
    many += phdr * 256 + bytes(1 << 20)
    tracemalloc.start()
    try:
        for data in (patched(84 + 20, "I", 0xDBFFFFF0), bytes(many)):
            with pytest.raises(LoaderFileError):
                parse_loader(data, "a.stldr")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_names_without_an_end_are_no_names() -> None:
    data = bytearray(GOOD)
    start, size = struct.unpack_from("<II", data, STRTAB + 16)
    data[start : start + size] = b"x" * size
    with pytest.raises(LoaderFileError, match="has no StorageInfo"):
        parse_loader(bytes(data), "a.stldr")


FORMS = [
    *(stldr.stldr(shape(toolchain=toolchain)) for toolchain in get_args(Toolchain)),
    stldr.stldr(shape(info_address=0x2407FF00, info_first=False, hidden=True)),
    stldr.stldr(shape(info_address=0x24000B34, info_first=False, info_symbol_size=0, entry=0)),
    stldr.stldr(shape(info=stldr.storage_info(length=136), info_symbol_size=136)),
    elf(symbols=None),
]


def parsed(data: bytes) -> ExternalLoader | LoaderFileError:
    try:
        return parse_loader(data, "a.stldr")
    except LoaderFileError as error:
        return error


def survives(data: bytes) -> None:
    """Read data as a loader; whatever it is, it is a loader in all its parts or one sentence."""
    loader = parsed(data)
    if isinstance(loader, LoaderFileError):
        assert loader.message.startswith("a.stldr ")
        return
    said = describe(loader)
    assert said["functions"] == dict(loader.functions)
    assert "Init" in loader.functions
    storage = loader.storage
    assert 0 <= storage.address < storage.end <= 1 << 32
    assert loader.return_address >= 0
    assert sum(segment.memory_size for segment in loader.load_segments) <= 16 << 20
    loader.symbol_at(loader.functions["Init"] + 2)
    if storage.sectors:
        (last,) = storage.sectors_in(storage.end - 1, 1)
        assert last.address + last.size == storage.end


# Most of a file is code that nobody looks at: mutations go to headers, tables and StorageInfo as often as anywhere.
def _places(data: bytes) -> st.SearchStrategy[int]:
    shoff = int.from_bytes(data[32:36], "little")
    return st.one_of(
        st.integers(0, 52 + 2 * 32 + 200 - 1),
        st.integers(max(0, shoff - 500), len(data) - 1),
        st.integers(0, len(data) - 1),
    )


MUTATIONS = st.sampled_from(FORMS).flatmap(
    lambda data: st.tuples(
        st.just(data),
        st.lists(
            st.tuples(_places(data), st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF]) | st.integers(0, 255)), max_size=8
        ),
        st.none() | st.integers(0, len(data)),
    )
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.data_too_large])
@given(MUTATIONS)
def test_damage_is_survived(case: tuple[bytes, list[tuple[int, int]], int | None]) -> None:
    base, changes, end = case
    data = bytearray(base)
    for place, value in changes:
        data[place] = value
    survives(bytes(data[:end]))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_noise_behind_the_magic_number_is_survived(noise: bytes) -> None:
    survives(b"\x7fELF\x01\x01\x01" + noise)


def test_every_header_byte_may_be_wrong() -> None:
    """All single-byte damage to the ELF header, the program headers and the section headers."""
    for place in (*range(52 + 64), *range(SHOFF, len(GOOD))):
        for value in (0x00, 0x01, 0xFF):
            survives(patched(place, "B", value))


@pytest.mark.parametrize("base", FORMS)
def test_every_truncation_is_survived(base: bytes) -> None:
    for end in (*range(400), *range(400, len(base), 37), *range(len(base) - 400, len(base))):
        survives(base[:end])
