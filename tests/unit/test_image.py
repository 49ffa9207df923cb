"""Firmware files: formats, addresses, and laying images side by side."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from pathlib import Path

import bincopy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbflash.errors import ImageFileError
from gdbflash.images.content import Content
from gdbflash.images.formats import load_image, merge_images, parse_image
from tests.support import stldr
from tests.support.stldr import Elf, Load, Section
from tests.support.stretches import stretches

HEX = b""":020000049000 6A
:0400000001020304F2
:00000001FF
""".replace(b" ", b"")
SREC = b"""S00600004844521B
S30990000000010203045C
S70590000000 6A
""".replace(b" ", b"")
FOUR = [(0x90000000, b"\1\2\3\4")]


def elf(*loads: Load) -> bytes:
    return stldr.elf_file(Elf(loads, symbols=None))


def load(address: int, data: bytes, stored: int | None = None, memory: int | None = None) -> Load:
    return Load((Section(f"s{address:x}", address, data),), memory, stored)


class TestFormats:
    def test_binary(self) -> None:
        assert stretches(parse_image(b"\1\2\3\4", "a.bin", 0x90000000)) == FOUR

    def test_hex(self) -> None:
        assert stretches(parse_image(HEX, "a.hex")) == FOUR

    def test_srec(self) -> None:
        assert stretches(parse_image(SREC, "a.srec")) == FOUR

    def test_elf(self) -> None:
        assert stretches(parse_image(elf(load(0x90000000, b"\1\2\3\4")), "a.elf")) == FOUR

    @pytest.mark.parametrize("name", ["a.bin", "a", "a.elf", "firmware.v1.2"])
    @pytest.mark.parametrize("data", [HEX, SREC, elf(load(0x90000000, b"\1\2\3\4"))])
    def test_content_decides_and_not_the_name(self, data: bytes, name: str) -> None:
        assert stretches(parse_image(data, name)) == FOUR

    def test_binary_named_elf(self) -> None:
        assert stretches(parse_image(b"\1\2\3\4", "a.elf", 0x90000000)) == FOUR

    @pytest.mark.parametrize("data", [b":\x01\x02", b"S3\xff", b":hello\n", b"S1 is a name\n", b":0102 zz\n"])
    def test_text_that_is_no_record_is_binary(self, data: bytes) -> None:
        assert stretches(parse_image(data, "a.bin", 16)) == [(16, data)]

    @pytest.mark.parametrize("data", [HEX, SREC])
    def test_line_ends_and_blanks(self, data: bytes) -> None:
        assert stretches(parse_image(b"\r\n" + data.replace(b"\n", b" \r\n\r\n") + b"\x1a", "a.hex")) == FOUR
        assert stretches(parse_image(data.rstrip(), "a.hex")) == FOUR

    def test_lower_case_hex(self) -> None:
        assert stretches(parse_image(HEX.lower(), "a.hex")) == FOUR

    def test_from_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.bin"
        path.write_bytes(b"\1\2\3\4")
        assert stretches(load_image(path, 0x90000000)) == stretches(load_image(str(path), 0x90000000)) == FOUR
        assert load_image(path, 0x90000000).source == str(path)


class TestHex:
    def test_segment_addresses(self) -> None:
        data = b":020000021200EA\n:0100100055 9A\n:00000001FF\n".replace(b" ", b"")
        assert stretches(parse_image(data, "a.hex")) == [(0x12010, b"\x55")]

    def test_start_addresses_are_no_data(self) -> None:
        data = HEX.replace(b":00000001FF", b":0400000590000131 35\n:00000001FF".replace(b" ", b""))
        assert stretches(parse_image(data, "a.hex")) == FOUR

    def test_two_files_in_one(self) -> None:
        """The second begins at 0 again, whatever the first one's last address was."""
        second = b":0100000055AA\n:00000001FF\n"
        assert stretches(parse_image(HEX + second, "a.hex")) == [(0, b"\x55"), *FOUR]

    def test_blocks_across_64_kib_are_one(self) -> None:
        file = bincopy.BinFile()
        file.add_binary(bytes(range(256)) * 3, 0x9000FF80)
        image = parse_image(file.as_ihex().encode(), "a.hex")
        assert stretches(image) == [(0x9000FF80, bytes(range(256)) * 3)]


class TestSrec:
    @pytest.mark.parametrize("bits", [16, 24, 32])
    def test_address_widths(self, bits: int) -> None:
        file = bincopy.BinFile()
        file.add_binary(b"hello", 0x1234)
        text = file.as_srec(address_length_bits=bits)
        assert f"S{bits // 8 - 1}" in text
        assert stretches(parse_image(text.encode(), "a.s")) == [(0x1234, b"hello")]

    def test_count_has_to_agree(self) -> None:
        counted = SREC.replace(b"S705", b"S5030001FB\nS705")
        assert stretches(parse_image(counted, "a.srec")) == FOUR
        with pytest.raises(ImageFileError, match="has 1 data records before line 3, which counts 2"):
            parse_image(SREC.replace(b"S705", b"S5030002FA\nS705"), "a.srec")

    def test_a_count_alone_ends_a_file(self) -> None:
        assert stretches(parse_image(SREC.replace(b"S705900000006A", b"S5030001FB"), "a.srec")) == FOUR

    def test_files_joined_are_one(self) -> None:
        more = b"S30990000004010203045 8\nS705900000006A".replace(b" ", b"")
        assert stretches(parse_image(SREC + more, "a.srec")) == [(0x90000000, b"\1\2\3\4\1\2\3\4")]
        with pytest.raises(ImageFileError, match="is cut short"):
            parse_image(SREC + more.splitlines()[0], "a.srec")


class TestElf:
    def test_segments_go_where_they_are_stored(self) -> None:
        data = elf(load(0x90000000, b"code"), load(0x20000000, b"data", stored=0x90000010, memory=64))
        assert stretches(parse_image(data, "a.elf")) == [(0x90000000, b"code"), (0x90000010, b"data")]

    def test_segments_without_bytes_are_left_out(self) -> None:
        data = elf(load(0x20000000, b"", memory=4096), load(0x90000000, b"code"))
        assert stretches(parse_image(data, "a.elf")) == [(0x90000000, b"code")]

    def test_neighbours_are_joined(self) -> None:
        data = elf(load(0x90000004, b"cd"), load(0x90000000, b"code"))
        assert stretches(parse_image(data, "a.elf")) == [(0x90000000, b"codecd")]

    def test_elf_header_in_the_first_segment_is_no_program(self) -> None:
        """GNU ld gives a program at 0x90000400 a segment at 0x90000000 that begins with the ELF header."""
        data = bytearray(elf(load(0x90000054, b"code")))
        data[52:76] = b"".join(n.to_bytes(4, "little") for n in (1, 0, 0x90000000, 0x90000000, 88, 88))
        assert stretches(parse_image(bytes(data), "a.elf")) == [(0x90000054, b"code")]


class TestLayout:
    def test_blocks_are_sorted(self) -> None:
        merged = merge_images([Content.at(64, b"b"), Content.of([(16, b"a"), (128, b"c")])])
        assert stretches(merged) == [(16, b"a"), (64, b"b"), (128, b"c")]
        assert merged.size == 3

    def test_neighbours_are_joined(self) -> None:
        assert stretches(merge_images([Content.at(18, b"c"), Content.at(16, b"ab")])) == [(16, b"abc")]

    def test_equal_bytes_may_overlap(self) -> None:
        images = [Content.at(16, b"abcd"), Content.at(18, b"cdef"), Content.at(17, b"b")]
        assert stretches(merge_images(images)) == [(16, b"abcdef")]

    def test_different_bytes_may_not(self) -> None:
        one, other = Content.at(0x100, b"abcd", "one.bin"), Content.at(0x102, b"cXef", "other.bin")
        for images in ([one, other], [other, one]):
            with pytest.raises(ImageFileError) as caught:
                merge_images(images)
            assert "one.bin has 0x64 and other.bin has 0x58 for address 0x00000103" in caught.value.message
            assert caught.value.data == {"address": 0x103, "paths": ["one.bin", "other.bin"]}

    def test_records_of_one_file_may_not_differ_either(self) -> None:
        file = HEX.replace(b":00000001FF", b":0100020099 64\n:00000001FF".replace(b" ", b""))
        with pytest.raises(ImageFileError, match=r"a\.hex has 0x03 and a\.hex has 0x99 for address 0x90000002"):
            parse_image(file, "a.hex")

    def test_nothing(self) -> None:
        assert merge_images([]) == Content(())

    def test_merged_images_name_their_files(self) -> None:
        merged = merge_images([Content.at(0, b"a", "x"), Content.at(1, b"b", "y"), Content.at(2, b"c", "x")])
        assert merged.source == "x, y"

    def test_a_single_block_is_not_copied(self) -> None:
        data = bytes(64)
        ((_, piece),) = merge_images([parse_image(data, "a.bin", 0)]).pieces
        assert isinstance(piece, memoryview)
        assert piece.obj is data


class TestMemory:
    SIZE = 4 << 20

    def peak(self, path: Path, address: int | None) -> int:
        tracemalloc.start()
        try:
            image = merge_images([load_image(path, address)])
            assert image.size == self.SIZE
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def test_a_binary_file_is_one_copy(self, tmp_path: Path) -> None:
        path = tmp_path / "a.bin"
        path.write_bytes(bytes(self.SIZE))
        assert self.peak(path, 0x90000000) < self.SIZE + (1 << 20)

    def test_a_sparse_binary_file_too_large_is_refused_unread(self, tmp_path: Path) -> None:
        path = tmp_path / "disk.bin"
        with path.open("wb") as file:
            file.truncate(1 << 40)
        with pytest.raises(ImageFileError, match="has more than 1024 MiB"):
            load_image(path, 0)


BLOCKS = st.lists(st.tuples(st.integers(0, 600), st.binary(min_size=1, max_size=80)), min_size=1, max_size=8).map(
    lambda pieces: _apart(pieces, 0x9000FF00)
)


def _apart(pieces: list[tuple[int, bytes]], address: int) -> list[tuple[int, bytes]]:
    """Give each piece a gap before it, so that all stay apart."""
    apart = []
    for gap, data in pieces:
        apart.append((address + gap + 1, data))
        address += gap + 1 + len(data)
    return apart


class TestRoundTrips:
    @settings(deadline=None)
    @given(BLOCKS, st.integers(1, 64))
    def test_hex_and_srec(self, blocks: list[tuple[int, bytes]], width: int) -> None:
        file = bincopy.BinFile()
        for address, data in blocks:
            file.add_binary(data, address)
        assert stretches(parse_image(file.as_ihex(width).encode(), "a.hex")) == blocks
        assert stretches(parse_image(file.as_srec(width).encode(), "a.srec")) == blocks

    @settings(deadline=None)
    @given(BLOCKS, st.randoms(use_true_random=False))
    def test_records_in_any_order(self, blocks: list[tuple[int, bytes]], random: object) -> None:
        file = bincopy.BinFile()
        for address, data in blocks:
            file.add_binary(data, address)
        lines = file.as_srec(16).encode().splitlines(keepends=True)
        records = [line for line in lines if line[:2] == b"S3"]
        random.shuffle(records)  # type: ignore[attr-defined]
        assert stretches(parse_image(b"".join([*records, b"S705900000006A"]), "a.srec")) == blocks

    @settings(deadline=None)
    @given(BLOCKS, st.sampled_from([16, 24, 32]), st.integers(1, 64), st.booleans(), st.booleans(), st.data())
    def test_an_srec_file_cut_at_any_line_is_refused(
        self, blocks: list[tuple[int, bytes]], bits: int, width: int, header: bool, ended: bool, data: st.DataObject
    ) -> None:
        file = bincopy.BinFile()
        for address, piece in blocks:
            file.add_binary(piece, address & 0xFFF)
        if header:
            file.header = "made by hand"
        if ended:
            file.execution_start_address = 0
        lines = file.as_srec(width, bits).splitlines(keepends=True)
        if ended and data.draw(st.booleans(), "without a count"):
            lines = [line for line in lines if line[:2] not in ("S5", "S6")]
        last = max(index for index, line in enumerate(lines) if line[:2] in ("S1", "S2", "S3"))
        assert parse_image("".join(lines).encode(), "a.srec").size == sum(len(piece) for _, piece in blocks)
        cut = data.draw(st.integers(0, last), "lines left")
        with pytest.raises(ImageFileError):
            parse_image("".join(lines[:cut]).encode(), "a.srec")

    @settings(deadline=None)
    @given(BLOCKS)
    def test_elf(self, blocks: list[tuple[int, bytes]]) -> None:
        data = elf(*(load(0x20000000 + index * 256, data, at) for index, (at, data) in enumerate(blocks)))
        assert stretches(parse_image(data, "a.elf")) == blocks

    @given(st.binary(min_size=1, max_size=200), st.integers(0, 0xFFFFFF00))
    def test_binary(self, data: bytes, address: int) -> None:
        assert stretches(parse_image(b"\0" + data, "a.bin", address)) == [(address, b"\0" + data)]

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 90), st.integers(1, 20)), max_size=10))
    def test_merging_agrees_with_a_map_of_bytes(self, places: list[tuple[int, int]]) -> None:
        """Pieces cut from one content always agree; the result is that content where any of them lies."""
        content = bytes(range(128))
        merged = merge_images(Content.at(start, content[start : start + size]) for start, size in places)
        covered = {at for start, size in places for at in range(start, start + size)}
        assert {at for each in merged.ranges for at in range(each.address, each.end)} == covered
        assert all(bytes(data) == content[at : at + len(data)] for at, data in merged.pieces)
        assert all(low + len(data) <= high for (low, data), (high, _) in pairwise(merged.pieces))
