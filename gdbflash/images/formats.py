"""Firmware files: from bin, Intel HEX, S-record or ELF to bytes by address.

What belongs here: telling the formats apart, decoding them (records by bincopy), and laying images side by side.
A 16 MiB image is one copy in memory; of a large binary file only what is being looked at is.
"""

from __future__ import annotations

import io
import os
import re
from array import array
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import PurePath
from typing import Any

from gdbflash.elf import ElfFile, is_elf
from gdbflash.errors import ImageFileError
from gdbflash.files import FileBytes, read_image
from gdbflash.images.content import Content, Data

LARGEST_FILE = 1 << 30
"""As hexadecimal text the largest chip seen (256 MiB) is about 700 MiB."""
IN_MEMORY = 32 << 20
"""Bytes of a file that are read at once; a larger one is binary, or as large only because it is text."""
MOST_PIECES = 1 << 14
"""Of an image: each is planned, read and digested for itself."""
LONGEST_RECORD = 1024
"""An Intel HEX record has at most 521 characters, an S-record 514."""
_FEW = 64
"""Bytes that are copied rather than viewed: a view takes three times as many."""
_ADDRESS_SPACE = 1 << 32
_HEX_RECORD = re.compile(rb"\s*:[0-9A-Fa-f]{2}")
_S_RECORD = re.compile(rb"\s*S[0-9][0-9A-Fa-f]{2}")
_FIRST_LINE = re.compile(rb"\s*[:S0-9A-Fa-f]+[ \t\x1a]*(?:[\r\n]|\Z)")
_TEXT_ENDINGS = frozenset({".hex", ".ihex", ".srec", ".s19", ".s28", ".s37", ".mot"})


def load_image(path: str | os.PathLike[str], address: int | None = None) -> Content:
    """Read a firmware file; address is needed for a binary file and refused for one that has addresses itself.

    Raises ImageFileError when the file cannot be read, is damaged, holds no data or does not go with address.
    """
    return parse_image(read_image(path, IN_MEMORY, LARGEST_FILE, ImageFileError), os.fspath(path), address)


def parse_image(data: bytes | FileBytes, name: str, address: int | None = None) -> Content:
    """Decode the bytes of a firmware file called name; raises ImageFileError as `load_image`."""
    head = bytes(data[: 2 * LONGEST_RECORD])
    if not _has_addresses(head):
        return _binary(data, name, address)
    data = bytes(data)
    if is_elf(data):
        kind, image = "an ELF file", merge_images(_segments(data, name))
    elif _HEX_RECORD.match(head):
        kind, image = "an Intel HEX file", _laid_out(_hex_records(data, name), name)
    else:
        kind, image = "an S-record file", _laid_out(_s_records(data, name), name)
    if address is not None:
        raise ImageFileError(
            f"{name} is {kind} and says itself where its bytes belong. Leave @0x{address:08X} out, or convert it to a "
            "binary file.",
            path=name,
            address=address,
        )
    if not image.pieces:
        raise ImageFileError(f"{name} is {kind} without any data. Build it again.", path=name)
    return image


def entry_point(path: str | os.PathLike[str]) -> int | None:
    """Give the address at which the program of a firmware file begins; None where the file does not tell.

    Raises ImageFileError when the file cannot be read or is damaged.
    """
    name = os.fspath(path)
    data = bytes(read_image(path, IN_MEMORY, LARGEST_FILE, ImageFileError)[:])
    head = data[: 2 * LONGEST_RECORD]
    if not _has_addresses(head):
        return None
    if is_elf(data):
        return ElfFile(data, name, ImageFileError).entry
    found = None
    for _, record in _lines(data, name):
        if record[:1] == ":" and record[7:9] == "05":
            found = int(record[9:17], 16)
        elif record[:2] in ("S7", "S8", "S9"):
            digits = {"S7": 8, "S8": 6, "S9": 4}[record[:2]]
            found = int(record[4 : 4 + digits], 16) or None
    return found


def _has_addresses(head: bytes) -> bool:
    """Tell by its beginning whether a file is ELF, Intel HEX or S-records."""
    return is_elf(head) or bool((_HEX_RECORD.match(head) or _S_RECORD.match(head)) and _FIRST_LINE.match(head))


def _binary(data: bytes | FileBytes, name: str, address: int | None) -> Content:
    if PurePath(name).suffix.lower() in _TEXT_ENDINGS:
        raise ImageFileError(
            f"{name} is named like a HEX or S-record file, but its first line is no such record. Build or copy it "
            "again, or rename it to .bin if it is a binary file.",
            path=name,
        )
    if not data:
        raise ImageFileError(f"{name} is empty. Build or copy it again.", path=name)
    if address is None:
        raise ImageFileError(
            f"{name} is a binary file, which does not say where its bytes belong. Give the address with it, as in "
            f"{name}@0x90000000.",
            path=name,
        )
    if not 0 <= address <= _ADDRESS_SPACE - len(data):
        raise ImageFileError(
            f"{len(data)} bytes of {name} at 0x{address:08X} run past the end of the address space. Correct the "
            "address behind the @.",
            path=name,
            address=address,
            size=len(data),
        )
    return Content.at(address, data, name)


def _segments(data: bytes, name: str) -> Iterator[Content]:
    """Take the PT_LOAD segments by p_paddr, where a programmer has to put them."""
    for segment in ElfFile(data, name, ImageFileError).segments():
        start, size = segment.load_address + segment.padding, len(segment.data) - segment.padding
        _check_space(start, size, name)
        yield Content.at(start, memoryview(segment.data)[segment.padding :], name)


def _hex_records(data: bytes, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield the data records (Intel Hexadecimal Object File Format Specification, revision A)."""
    import bincopy

    base, ended = 0, False
    for line, record in _lines(data, name):
        try:
            kind, offset, _, content = bincopy.unpack_ihex(record)
            if kind in (bincopy.IHEX_EXTENDED_SEGMENT_ADDRESS, bincopy.IHEX_EXTENDED_LINEAR_ADDRESS):
                if len(content) != 2:
                    raise ValueError(f"an address of {len(content)} bytes instead of 2")
                base = int.from_bytes(content, "big") << (4 if kind == bincopy.IHEX_EXTENDED_SEGMENT_ADDRESS else 16)
            elif kind > bincopy.IHEX_START_LINEAR_ADDRESS:
                raise ValueError(f"record type {kind} is unknown")
        except (bincopy.Error, ValueError, IndexError) as error:
            raise _bad_record(name, line, error) from error
        ended = kind == bincopy.IHEX_END_OF_FILE
        if ended:
            base = 0  # files are joined by appending one to the other: what follows starts afresh
        elif kind == bincopy.IHEX_DATA:
            yield base + offset, content
    if not ended:
        raise ImageFileError(
            f"{name} is cut short: it has no end-of-file record (:00000001FF). Build or copy it again.", path=name
        )


def _s_records(data: bytes, name: str) -> Iterator[tuple[int, bytes]]:
    """Yield the data records, S1 to S3; a count record, S5 or S6, has to agree.

    Either that or an end record, S7 to S9, is the last one: many tools write only one of them.
    """
    import bincopy

    count, ended = 0, False
    for line, record in _lines(data, name):
        try:
            kind, address, _, content = bincopy.unpack_srec(record)
        except (bincopy.Error, ValueError, IndexError) as error:
            raise _bad_record(name, line, error) from error
        ended = kind in "56789"
        if kind in "123":
            count += 1
            yield address, content
        elif kind in "56":
            if address != count:
                raise ImageFileError(
                    f"{name} has {count} data records before line {line}, which counts {address}: some are lost. "
                    "Build or copy it again.",
                    path=name,
                    line=line,
                )
        elif kind in "789":
            count = 0
    if not ended:
        raise ImageFileError(
            f"{name} is cut short: its last record neither ends it (S7, S8 or S9) nor counts its data (S5 or S6). "
            "Build or copy it again.",
            path=name,
        )


def _lines(data: bytes, name: str) -> Iterator[tuple[int, str]]:
    """Yield line numbers and lines that are not blank; Ctrl-Z, once the end of text files, counts as blank."""
    for number, line in enumerate(io.BytesIO(data), 1):
        if len(line) > LONGEST_RECORD:
            raise _bad_record(name, number, ValueError(f"{len(line)} characters"))
        record = line.strip(b" \t\r\n\x1a")
        if record:
            yield number, record.decode("ascii", errors="replace")


def _bad_record(name: str, line: int, error: Exception) -> ImageFileError:
    return ImageFileError(
        f"Line {line} of {name} is no sound record: {error}. Build or copy the file again.", path=name, line=line
    )


def _laid_out(records: Iterable[tuple[int, bytes]], name: str) -> Content:
    """Gather records that follow each other, sort what does not, and join what touches or agrees."""
    gathered = bytearray()
    starts, offsets = array("Q"), array("Q")
    end = -1
    for address, content in records:
        if address != end:
            if len(starts) == MOST_PIECES:
                raise ImageFileError(
                    f"{name} has more than {MOST_PIECES} pieces that do not touch, which no build has. Fill the gaps, "
                    "as with `objcopy --gap-fill 0xFF`.",
                    path=name,
                )
            starts.append(address)
            offsets.append(len(gathered))
        gathered += content
        end = address + len(content)
    offsets.append(len(gathered))
    view, laid = memoryview(gathered), bytearray()
    begins: list[tuple[int, int]] = []  # addresses of pieces, and where in laid they begin
    end = -1
    for index in sorted(range(len(starts)), key=starts.__getitem__):
        address, data = starts[index], view[offsets[index] : offsets[index + 1]]
        if not data:
            continue
        _check_space(address, len(data), name)
        if address > end:
            begins.append((address, len(laid)))
            end = address
        shared, known = min(end - address, len(data)), len(laid) - (end - address)
        if laid[known : known + shared] != data[:shared]:
            raise _conflict(address, laid[known : known + shared], name, data, name)
        laid += data[shared:]
        end = max(end, address + len(data))
    whole = memoryview(laid).toreadonly()
    ends = [*(offset for _, offset in begins[1:]), len(laid)]
    return Content(tuple((at, _kept(whole[first:last])) for (at, first), last in zip(begins, ends, strict=False)), name)


def _kept(data: memoryview) -> bytes | memoryview:
    """Copy bytes that are so few that a view of them would be larger."""
    return data if len(data) > _FEW else bytes(data)


def _check_space(address: int, size: int, name: str) -> None:
    if address + size > _ADDRESS_SPACE:
        raise ImageFileError(
            f"{name} has {size} bytes for 0x{address:08X}, past the end of the address space. Check how it was made.",
            path=name,
            address=address,
        )


def merge_images(images: Iterable[Content]) -> Content:
    """Lay images into one; raises ImageFileError where two have different bytes for one address."""
    images = tuple(images)
    laid: list[tuple[int, Data]] = []
    sources: list[str] = []
    end = 0
    parts = ((address, data, image.source) for image in images for address, data in image.pieces)
    for address, data, source in sorted(parts, key=itemgetter(0)):
        shared = min(max(0, end - address), len(data))
        if shared:
            _check_agreement(zip(reversed(laid), reversed(sources), strict=True), address, data[:shared], source)
        if shared < len(data):
            laid.append((address + shared, data[shared:] if shared else data))
            sources.append(source)
            end = address + len(data)
    return Content(tuple(laid), ", ".join(dict.fromkeys(image.source for image in images)))


def _check_agreement(laid: Iterable[tuple[tuple[int, Data], str]], address: int, data: Data, source: str) -> None:
    """Raise ImageFileError where pieces, the highest first, have other bytes than data has at address."""
    for (start, piece), owner in laid:
        if start + len(piece) <= address:
            return
        first = max(start, address)
        last = max(first, min(start + len(piece), address + len(data)))
        old, new = bytes(piece[first - start : last - start]), bytes(data[first - address : last - address])
        if old != new:
            raise _conflict(first, old, owner, new, source)


def _conflict(address: int, old: bytes | bytearray, owner: str, new: bytes | memoryview, source: str) -> ImageFileError:
    """Say where bytes differ, and whose they are."""
    at = next(index for index, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1])
    return ImageFileError(
        f"{owner} has 0x{old[at]:02X} and {source} has 0x{new[at]:02X} for address 0x{address + at:08X}. Leave one "
        "out, or build them for different places.",
        address=address + at,
        paths=[owner, source],
    )


def hex_text(pieces: Iterable[tuple[int, bytes]]) -> str:
    """Write bytes by address as Intel HEX text of 32-byte records."""
    text: str = _file_of(pieces).as_ihex()
    return text


def srec_text(pieces: Iterable[tuple[int, bytes]]) -> str:
    """Write bytes by address as S-records of 32 bytes with 32-bit addresses."""
    text: str = _file_of(pieces).as_srec()
    return text


def _file_of(pieces: Iterable[tuple[int, bytes]]) -> Any:
    import bincopy  # only here: `info` and `--help` need none of it

    file = bincopy.BinFile()
    for address, data in pieces:
        file.add_binary(data, address)
    return file
