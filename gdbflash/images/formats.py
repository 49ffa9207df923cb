"""Firmware files: from bin, Intel HEX, S-record or ELF to blocks of bytes with addresses.

What belongs here: telling the formats apart, decoding them (records by bincopy), and laying blocks side by side.
A 16 MiB image is one copy in memory; of a large binary file only what is being looked at is.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import PurePath

from gdbflash.elf import ElfFile, is_elf
from gdbflash.errors import ImageFileError
from gdbflash.files import FileBytes, read_image

LARGEST_FILE = 1 << 30
"""As hexadecimal text the largest chip seen (256 MiB) is about 700 MiB."""
IN_MEMORY = 32 << 20
"""Bytes of a file that are read at once; a larger one is binary, or as large only because it is text."""
MOST_PIECES = 1 << 14
"""Of an image: each is planned, read and digested for itself."""
LONGEST_RECORD = 1024
"""An Intel HEX record has at most 521 characters, an S-record 514."""
_ADDRESS_SPACE = 1 << 32
_HEX_RECORD = re.compile(rb"\s*:[0-9A-Fa-f]{2}")
_S_RECORD = re.compile(rb"\s*S[0-9][0-9A-Fa-f]{2}")
_FIRST_LINE = re.compile(rb"\s*[:S0-9A-Fa-f]+[ \t\x1a]*(?:[\r\n]|\Z)")
_TEXT_ENDINGS = frozenset({".hex", ".ihex", ".srec", ".s19", ".s28", ".s37", ".mot"})


@dataclass(frozen=True)
class Block:
    """Contiguous bytes of a file and the target address of the first."""

    address: int
    data: bytes | memoryview | FileBytes
    source: str = field(default="", compare=False)
    """The file they come from, for messages."""

    @property
    def end(self) -> int:
        """The first address behind the block."""
        return self.address + len(self.data)

    @property
    def in_memory(self) -> memoryview:
        """The bytes themselves; those that lie in a file are read each time."""
        return memoryview(bytes(self.data) if isinstance(self.data, FileBytes) else self.data)


@dataclass(frozen=True)
class Image:
    """What is to be in memory: blocks by address that neither overlap nor touch."""

    blocks: tuple[Block, ...]

    @property
    def size(self) -> int:
        """Count the bytes."""
        return sum(len(block.data) for block in self.blocks)


def load_image(path: str | os.PathLike[str], address: int | None = None) -> Image:
    """Read a firmware file, once; address is needed for a binary file and refused for one that has addresses itself.

    A pipe is read to its end.

    Raises ImageFileError when the file cannot be read, is damaged, holds no data or does not go with address.
    """
    return parse_image(read_image(path, IN_MEMORY, LARGEST_FILE, ImageFileError), os.fspath(path), address)


def parse_image(data: bytes | FileBytes, name: str, address: int | None = None) -> Image:
    """Decode the bytes of a firmware file called name; raises ImageFileError as `load_image`."""
    head = bytes(data[: 2 * LONGEST_RECORD])
    if not _has_addresses(head):
        return Image((_binary_block(data, name, address),))
    data = bytes(data)
    blocks: Iterable[Block]
    if is_elf(data):
        kind, blocks = "an ELF file", _elf_blocks(data, name)
    elif _HEX_RECORD.match(head):
        kind, blocks = "an Intel HEX file", _record_blocks(_hex_records(data, name), name)
    else:
        kind, blocks = "an S-record file", _record_blocks(_s_records(data, name), name)
    if address is not None:
        raise ImageFileError(
            f"{name} is {kind} and says itself where its bytes belong. Leave @0x{address:08X} out, or convert it to a "
            "binary file.",
            path=name,
            address=address,
        )
    image = Image(_joined(blocks))
    if not image.blocks:
        raise ImageFileError(f"{name} is {kind} without any data. Build it again.", path=name)
    return image


def _has_addresses(head: bytes) -> bool:
    """Tell by its beginning whether a file is ELF, Intel HEX or S-records."""
    return is_elf(head) or bool((_HEX_RECORD.match(head) or _S_RECORD.match(head)) and _FIRST_LINE.match(head))


def merge_images(images: Iterable[Image]) -> Image:
    """Lay images into one; raises ImageFileError where two have different bytes for one address."""
    return Image(_joined(block for image in images for block in image.blocks))


def _binary_block(data: bytes | FileBytes, name: str, address: int | None) -> Block:
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
    return Block(address, data, name)


def _elf_blocks(data: bytes, name: str) -> Iterator[Block]:
    """Take the PT_LOAD segments by p_paddr, where a programmer has to put them."""
    for segment in ElfFile(data, name, ImageFileError).segments():
        yield Block(segment.load_address + segment.padding, memoryview(segment.data)[segment.padding :], name)


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


def _record_blocks(records: Iterable[tuple[int, bytes]], name: str) -> Iterator[Block]:
    """Gather records that follow each other; yields when one does not."""
    start, gathered, count = 0, bytearray(), 0
    for address, content in records:
        if gathered and address != start + len(gathered):
            count += 1
            if count > MOST_PIECES:
                raise ImageFileError(
                    f"{name} has more than {MOST_PIECES} pieces that do not touch, which no build has. Fill the gaps, "
                    "as with `objcopy --gap-fill 0xFF`.",
                    path=name,
                )
            yield Block(start, memoryview(gathered).toreadonly(), name)
            gathered = bytearray()
        if not gathered:
            start = address
        gathered += content
    yield Block(start, memoryview(gathered).toreadonly(), name)


def _joined(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """Sort blocks and join those that touch or agree where they overlap."""
    result: list[Block] = []
    run: list[Block] = []
    end = 0
    for block in sorted((block for block in blocks if block.data), key=attrgetter("address")):
        if block.end > _ADDRESS_SPACE:
            raise ImageFileError(
                f"{block.source} has {len(block.data)} bytes for 0x{block.address:08X}, past the end of the address "
                "space. Check how it was made.",
                path=block.source,
                address=block.address,
            )
        if run and block.address > end:
            result.append(_one(run))
            run = []
        end = max(end, block.end)
        run.append(block)
    if run:
        result.append(_one(run))
    return tuple(result)


def _one(run: Sequence[Block]) -> Block:
    """Join blocks without a gap between them; a single one is not copied."""
    if len(run) == 1:
        return run[0]
    start = run[0].address
    whole = bytearray()
    for index, block in enumerate(run):
        present, data = memoryview(whole)[block.address - start :], block.in_memory
        shared = min(len(present), len(data))
        if present[:shared] != data[:shared]:
            raise _conflict(run[:index], block)
        del present
        whole += data[shared:]
    return Block(start, memoryview(whole).toreadonly(), ", ".join(dict.fromkeys(block.source for block in run)))


def _conflict(below: Sequence[Block], block: Block) -> ImageFileError:
    """Say where two blocks differ, and whose they are."""
    for other in below:
        first = max(other.address, block.address)
        pairs = zip(other.in_memory[first - other.address :], block.in_memory[first - block.address :], strict=False)
        for address, (old, new) in enumerate(pairs, first):
            if old != new:
                return ImageFileError(
                    f"{other.source} has 0x{old:02X} and {block.source} has 0x{new:02X} for address "
                    f"0x{address:08X}. Leave one out, or build them for different places.",
                    address=address,
                    paths=[other.source, block.source],
                )
    raise AssertionError("blocks that differ have a differing byte")


def hex_text(pieces: Iterable[tuple[int, bytes]]) -> str:
    """Write bytes by address as Intel HEX text of 32-byte records."""
    import bincopy

    file = bincopy.BinFile()
    for address, data in pieces:
        file.add_binary(data, address)
    text: str = file.as_ihex()
    return text
