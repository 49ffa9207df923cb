"""Firmware files: formats, addresses, and laying blocks side by side."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from pathlib import Path

import bincopy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbflash.errors import ImageFileError
from gdbflash.images.formats import Block, Image, load_image, merge_images, parse_image
from tests.support import stldr
from tests.support.stldr import Elf, Load, Section

HEX = b""":020000049000 6A
:0400000001020304F2
:00000001FF
""".replace(b" ", b"")
SREC = b"""S00600004844521B
S30990000000010203045C
S70590000000 6A
""".replace(b" ", b"")
FOUR = Image((Block(0x90000000, b"\1\2\3\4"),))


def elf(*loads: Load) -> bytes:
    return stldr.elf_file(Elf(loads, symbols=None))


def load(address: int, data: bytes, stored: int | None = None, memory: int | None = None) -> Load:
    return Load((Section(f"s{address:x}", address, data),), memory, stored)


class TestFormats:
    def test_binary(self) -> None:
        assert parse_image(b"\1\2\3\4", "a.bin", 0x90000000) == FOUR

    def test_hex(self) -> None:
        assert parse_image(HEX, "a.hex") == FOUR

    def test_srec(self) -> None:
        assert parse_image(SREC, "a.srec") == FOUR

    def test_elf(self) -> None:
        assert parse_image(elf(load(0x90000000, b"\1\2\3\4")), "a.elf") == FOUR

    @pytest.mark.parametrize("name", ["a.bin", "a", "a.elf", "firmware.v1.2"])
    @pytest.mark.parametrize("data", [HEX, SREC, elf(load(0x90000000, b"\1\2\3\4"))])
    def test_content_decides_and_not_the_name(self, data: bytes, name: str) -> None:
        assert parse_image(data, name) == FOUR

    def test_binary_named_elf(self) -> None:
        assert parse_image(b"\1\2\3\4", "a.elf", 0x90000000) == FOUR

    @pytest.mark.parametrize("data", [b":\x01\x02", b"S3\xff", b":hello\n", b"S1 is a name\n", b":0102 zz\n"])
    def test_text_that_is_no_record_is_binary(self, data: bytes) -> None:
        assert parse_image(data, "a.bin", 16) == Image((Block(16, data),))

    @pytest.mark.parametrize("data", [HEX, SREC])
    def test_line_ends_and_blanks(self, data: bytes) -> None:
        assert parse_image(b"\r\n" + data.replace(b"\n", b" \r\n\r\n") + b"\x1a", "a.hex") == FOUR
        assert parse_image(data.rstrip(), "a.hex") == FOUR

    def test_lower_case_hex(self) -> None:
        assert parse_image(HEX.lower(), "a.hex") == FOUR

    def test_from_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.bin"
        path.write_bytes(b"\1\2\3\4")
        assert load_image(path, 0x90000000) == load_image(str(path), 0x90000000) == FOUR
        assert load_image(path, 0x90000000).blocks[0].source == str(path)


class TestHex:
    def test_segment_addresses(self) -> None:
        data = b":020000021200EA\n:0100100055 9A\n:00000001FF\n".replace(b" ", b"")
        assert parse_image(data, "a.hex") == Image((Block(0x12010, b"\x55"),))

    def test_start_addresses_are_no_data(self) -> None:
        data = HEX.replace(b":00000001FF", b":0400000590000131 35\n:00000001FF".replace(b" ", b""))
        assert parse_image(data, "a.hex") == FOUR

    def test_two_files_in_one(self) -> None:
        """The second begins at 0 again, whatever the first one's last address was."""
        second = b":0100000055AA\n:00000001FF\n"
        assert parse_image(HEX + second, "a.hex") == Image((Block(0, b"\x55"), *FOUR.blocks))

    def test_blocks_across_64_kib_are_one(self) -> None:
        file = bincopy.BinFile()
        file.add_binary(bytes(range(256)) * 3, 0x9000FF80)
        image = parse_image(file.as_ihex().encode(), "a.hex")
        assert image == Image((Block(0x9000FF80, bytes(range(256)) * 3),))


class TestSrec:
    @pytest.mark.parametrize("bits", [16, 24, 32])
    def test_address_widths(self, bits: int) -> None:
        file = bincopy.BinFile()
        file.add_binary(b"hello", 0x1234)
        text = file.as_srec(address_length_bits=bits)
        assert f"S{bits // 8 - 1}" in text
        assert parse_image(text.encode(), "a.s") == Image((Block(0x1234, b"hello"),))

    def test_count_has_to_agree(self) -> None:
        counted = SREC.replace(b"S705", b"S5030001FB\nS705")
        assert parse_image(counted, "a.srec") == FOUR
        with pytest.raises(ImageFileError, match="has 1 data records before line 3, which counts 2"):
            parse_image(SREC.replace(b"S705", b"S5030002FA\nS705"), "a.srec")

    def test_a_count_alone_ends_a_file(self) -> None:
        assert parse_image(SREC.replace(b"S705900000006A", b"S5030001FB"), "a.srec") == FOUR

    def test_files_joined_are_one(self) -> None:
        more = b"S30990000004010203045 8\nS705900000006A".replace(b" ", b"")
        assert parse_image(SREC + more, "a.srec") == Image((Block(0x90000000, b"\1\2\3\4\1\2\3\4"),))
        with pytest.raises(ImageFileError, match="is cut short"):
            parse_image(SREC + more.splitlines()[0], "a.srec")


class TestElf:
    def test_segments_go_where_they_are_stored(self) -> None:
        data = elf(load(0x90000000, b"code"), load(0x20000000, b"data", stored=0x90000010, memory=64))
        assert parse_image(data, "a.elf") == Image((Block(0x90000000, b"code"), Block(0x90000010, b"data")))

    def test_segments_without_bytes_are_left_out(self) -> None:
        data = elf(load(0x20000000, b"", memory=4096), load(0x90000000, b"code"))
        assert parse_image(data, "a.elf") == Image((Block(0x90000000, b"code"),))

    def test_neighbours_are_joined(self) -> None:
        data = elf(load(0x90000004, b"cd"), load(0x90000000, b"code"))
        assert parse_image(data, "a.elf") == Image((Block(0x90000000, b"codecd"),))

    def test_elf_header_in_the_first_segment_is_no_program(self) -> None:
        """GNU ld gives a program at 0x90000400 a segment at 0x90000000 that begins with the ELF header."""
        data = bytearray(elf(load(0x90000054, b"code")))
        data[52:76] = b"".join(n.to_bytes(4, "little") for n in (1, 0, 0x90000000, 0x90000000, 88, 88))
        assert parse_image(bytes(data), "a.elf") == Image((Block(0x90000054, b"code"),))


class TestLayout:
    def test_blocks_are_sorted(self) -> None:
        merged = merge_images([Image((Block(64, b"b"),)), Image((Block(16, b"a"), Block(128, b"c")))])
        assert [(block.address, bytes(block.data)) for block in merged.blocks] == [(16, b"a"), (64, b"b"), (128, b"c")]
        assert merged.size == 3

    def test_neighbours_are_joined(self) -> None:
        assert merge_images([Image((Block(18, b"c"),)), Image((Block(16, b"ab"),))]) == Image((Block(16, b"abc"),))

    def test_equal_bytes_may_overlap(self) -> None:
        images = [Image((Block(16, b"abcd"),)), Image((Block(18, b"cdef"),)), Image((Block(17, b"b"),))]
        assert merge_images(images) == Image((Block(16, b"abcdef"),))

    def test_different_bytes_may_not(self) -> None:
        one, other = Image((Block(0x100, b"abcd", "one.bin"),)), Image((Block(0x102, b"cXef", "other.bin"),))
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
        assert merge_images([]) == Image(())

    def test_joined_blocks_name_their_files(self) -> None:
        merged = merge_images([Image((Block(0, b"a", "x"),)), Image((Block(1, b"b", "y"), Block(2, b"c", "x")))])
        assert merged.blocks[0].source == "x, y"

    def test_a_single_block_is_not_copied(self) -> None:
        data = bytes(64)
        assert merge_images([parse_image(data, "a.bin", 0)]).blocks[0].data is data


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


def _apart(pieces: list[tuple[int, bytes]], address: int) -> list[Block]:
    """Give each piece a gap before it, so that all stay apart."""
    blocks = []
    for gap, data in pieces:
        blocks.append(Block(address + gap + 1, data))
        address = blocks[-1].end
    return blocks


class TestRoundTrips:
    @settings(deadline=None)
    @given(BLOCKS, st.integers(1, 64))
    def test_hex_and_srec(self, blocks: list[Block], width: int) -> None:
        file = bincopy.BinFile()
        for block in blocks:
            file.add_binary(bytes(block.data), block.address)
        expected = Image(tuple(blocks))
        assert parse_image(file.as_ihex(width).encode(), "a.hex") == expected
        assert parse_image(file.as_srec(width).encode(), "a.srec") == expected

    @settings(deadline=None)
    @given(BLOCKS, st.randoms(use_true_random=False))
    def test_records_in_any_order(self, blocks: list[Block], random: object) -> None:
        file = bincopy.BinFile()
        for block in blocks:
            file.add_binary(bytes(block.data), block.address)
        lines = file.as_srec(16).encode().splitlines(keepends=True)
        data = [line for line in lines if line[:2] == b"S3"]
        random.shuffle(data)  # type: ignore[attr-defined]
        assert parse_image(b"".join([*data, b"S705900000006A"]), "a.srec") == Image(tuple(blocks))

    @settings(deadline=None)
    @given(BLOCKS, st.sampled_from([16, 24, 32]), st.integers(1, 64), st.booleans(), st.booleans(), st.data())
    def test_an_srec_file_cut_at_any_line_is_refused(
        self, blocks: list[Block], bits: int, width: int, header: bool, ended: bool, data: st.DataObject
    ) -> None:
        file = bincopy.BinFile()
        for block in blocks:
            file.add_binary(bytes(block.data), block.address & 0xFFF)
        if header:
            file.header = "made by hand"
        if ended:
            file.execution_start_address = 0
        lines = file.as_srec(width, bits).splitlines(keepends=True)
        if ended and data.draw(st.booleans(), "without a count"):
            lines = [line for line in lines if line[:2] not in ("S5", "S6")]
        last = max(index for index, line in enumerate(lines) if line[:2] in ("S1", "S2", "S3"))
        assert parse_image("".join(lines).encode(), "a.srec").size == sum(len(block.data) for block in blocks)
        cut = data.draw(st.integers(0, last), "lines left")
        with pytest.raises(ImageFileError):
            parse_image("".join(lines[:cut]).encode(), "a.srec")

    @settings(deadline=None)
    @given(BLOCKS)
    def test_elf(self, blocks: list[Block]) -> None:
        data = elf(*(load(0x20000000 + index * 256, bytes(b.data), b.address) for index, b in enumerate(blocks)))
        assert parse_image(data, "a.elf") == Image(tuple(blocks))

    @given(st.binary(min_size=1, max_size=200), st.integers(0, 0xFFFFFF00))
    def test_binary(self, data: bytes, address: int) -> None:
        assert parse_image(b"\0" + data, "a.bin", address) == Image((Block(address, b"\0" + data),))

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 90), st.integers(1, 20)), max_size=10))
    def test_merging_agrees_with_a_map_of_bytes(self, places: list[tuple[int, int]]) -> None:
        """Blocks cut from one content always agree; the result is that content where any of them lies."""
        content = bytes(range(128))
        merged = merge_images(Image((Block(start, content[start : start + size]),)) for start, size in places)
        covered = {at for start, size in places for at in range(start, start + size)}
        assert {at for b in merged.blocks for at in range(b.address, b.end)} == covered
        assert all(bytes(b.data) == content[b.address : b.end] for b in merged.blocks)
        assert all(low.end < high.address for low, high in pairwise(merged.blocks))
