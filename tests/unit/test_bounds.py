"""Inputs made to be costly cost no more than their size allows, or are refused in a sentence."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gdbflash.cli.config import load_config
from gdbflash.errors import ImageFileError, InputError, LoaderFileError
from gdbflash.images.content import Content
from gdbflash.images.formats import parse_image
from gdbflash.loaders.stldr import parse_loader
from gdbflash.plan.delta import Delta, not_erased
from gdbflash.plan.jobs import plan_storage
from gdbflash.ranges import Range, without
from tests.support import stldr
from tests.support.values import make_loader

MIB = 1 << 20
BASE = 0x90000000


@contextmanager
def within(mib: int) -> Iterator[None]:
    """See that the body takes no more memory than that at a time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < mib * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", ["a." * 40_000 + "b = 1\n", "[" + "a." * 40_000 + "b]\n"])
def test_dotted_keys_without_end(tmp_path: Path, text: str) -> None:
    (tmp_path / "gdbflash.toml").write_text(text)
    with within(100), pytest.raises(InputError, match="more than 1000 dots in a line"):
        load_config(None, tmp_path)


def test_a_page_of_four_gigabytes() -> None:
    content = Content.at(BASE, bytes(100_000) + b"\xff" * 100_000)
    with within(100):
        assert not_erased(content, content.ranges, 0xFF, 0xFFFFFFFF) == (Range(BASE, 102400),)


def test_a_million_symbols() -> None:
    data = bytearray(stldr.stldr())
    with within(100), pytest.raises(LoaderFileError, match="symbols, and no loader needs 65536"):
        parse_loader(with_symbols(bytes(data), 1 << 20), "My.stldr")


def with_symbols(data: bytes, count: int) -> bytes:
    """Give an ELF file another symbol table, of so many entries with one long name, at its end."""
    start, size, number = struct.unpack_from("<I", data, 32)[0], *struct.unpack_from("<HH", data, 46)
    headers = [list(struct.unpack_from("<10I", data, start + index * size)) for index in range(number)]
    table = next(header for header in headers if header[1] == 2)
    names = headers[table[6]]
    end = len(data)
    records = data[table[4] : table[4] + table[5]] + struct.pack("<IIIBBH", 1, 0x24000005, 4, 2, 0, 1) * count
    long = data[names[4] : names[4] + names[5]]
    table[4], table[5] = end, len(records)
    names[4], names[5] = end + len(records), len(long)
    out = bytearray(data + records + long)
    for index, header in enumerate(headers):
        struct.pack_into("<10I", out, start + index * size, *header)
    return bytes(out)


def sparse(count: int) -> bytes:
    """Give a hex file of records of one byte each, two apart."""
    lines = [b":0200000490006A"]
    for index in range(count):
        offset = index * 2
        if offset and not offset & 0xFFFF:
            upper = 0x9000 + (offset >> 16)
            lines.append(record(4, 0, struct.pack(">H", upper)))
        lines.append(record(0, offset & 0xFFFF, b"\0"))
    return b"\n".join((*lines, b":00000001FF", b""))


def record(kind: int, address: int, data: bytes) -> bytes:
    body = struct.pack(">BHB", len(data), address, kind) + data
    return b":" + (body + bytes([-sum(body) & 0xFF])).hex().upper().encode()


def test_records_of_one_byte() -> None:
    data = sparse(200_000)
    with within(100), pytest.raises(ImageFileError, match="more than 16384 pieces that do not touch"):
        parse_image(data, "sparse.hex")
    assert len(parse_image(sparse(16_000), "sparse.hex").pieces) == 16_000


def test_gaps_that_lie_close_are_read_as_one() -> None:
    job = plan_storage(make_loader(), Content.of((BASE + index * 50, bytes(10)) for index in range(1000)))
    (sector,) = job.sectors
    delta = Delta(job.sectors, job.keep, (), job.content.ranges, (), job.sectors)
    assert len(delta.keep) == 1000
    assert delta.keep_as_read == (Range(BASE + 10, sector.size - 10),)
    far = replace(delta, keep=(Range(BASE, 10), Range(BASE + 4107, 10), Range(BASE + sector.size - 1, 1)))
    assert far.keep_as_read == far.keep
    two = plan_storage(make_loader(), Content.at(BASE + sector.size - 10, bytes(20)))
    both = Delta(two.sectors, two.keep, (), two.content.ranges, (), ())
    assert both.keep_as_read == two.keep, "never over a border of sectors"
    assert without(both.keep, both.keep_as_read) == ()
