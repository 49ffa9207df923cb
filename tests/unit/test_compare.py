from __future__ import annotations

import random

import pytest

from gdbflash.errors import Mismatch
from gdbflash.flash.compare import Comparison, name_pattern
from gdbflash.images.content import Content
from gdbflash.ranges import Range

DATA = random.Random(1).randbytes(4096)


def test_no_difference_is_no_error() -> None:
    comparison = Comparison()
    comparison.feed(0, DATA, DATA)
    comparison.check("Verification failed", "Try again.")
    assert comparison.count == 0


def test_a_mismatch_names_first_last_and_count_over_slices() -> None:
    comparison = Comparison()
    comparison.feed(0x90000000, b"\1\2\3\4", b"\1\2\0\4")
    comparison.feed(0x90000004, b"\5\6\7\x08", b"\0\6\7\0")
    with pytest.raises(Mismatch) as caught:
        comparison.check("Verification failed", "Try again.")
    assert caught.value.message == (
        "Verification failed: 3 bytes differ from 0x90000002 to 0x90000007 "
        "(expected 03 04 05 06 07 08, found 00 04 00 06 07 00). Try again."
    )
    assert caught.value.data == {
        "first": 0x90000002,
        "last": 0x90000007,
        "count": 3,
        "expected": "030405060708",
        "actual": "000400060700",
        "pattern": "",
    }


def test_one_byte_is_one_byte() -> None:
    comparison = Comparison()
    comparison.feed(0x90000000, b"\1\2", b"\1\3")
    with pytest.raises(Mismatch, match=r"^Bad: 1 byte differs at 0x90000001 \(expected 02, found 03\)\. Retry\.$"):
        comparison.check("Bad", "Retry.")


@pytest.mark.parametrize(
    ("actual", "pattern", "meaning"),
    [
        (b"\xff" * 4096, "all FF", "write protection"),
        (bytes(4096), "all 00", "not mapped or in a wrong mode"),
        (bytes(byte >> 4 | byte & 0xF0 for byte in DATA), "repeated nibbles", "number of data lines"),
        (b"\x99" * 4096, "repeated nibbles", "number of data lines"),
        (bytes(byte & 0x7F for byte in DATA), "bits missing", "not erased before"),
        (DATA[:256] * 16, "the same 256 bytes repeated", "Address lines"),
        (b"\x99" + DATA[:-1], "shifted by 1 bytes", "dummy cycles"),
        (DATA[2:] + b"ab", "shifted by 2 bytes", "dummy cycles"),
        (random.Random(2).randbytes(4096), "", ""),
        (b"\xff" * 8, "", ""),
    ],
)
def test_patterns_have_names_and_meanings(actual: bytes, pattern: str, meaning: str) -> None:
    found = name_pattern(DATA[: len(actual)], actual)
    assert found[0] == pattern
    assert meaning in found[1]


def test_data_of_another_address_is_told() -> None:
    """As a chip with more than 16 MiB gives it that is read with three bytes of address."""
    base = 0x91000000
    content = Content(((0x90000000, memoryview(DATA)), (base, memoryview(random.Random(3).randbytes(4096)))))
    comparison = Comparison()
    comparison.feed(base, content.read(Range(base, 4096)), DATA)
    with pytest.raises(Mismatch, match=r"the data of 0x90000000\)\. Address lines or the 3- or 4-byte address mode"):
        comparison.check("Bad", "Retry.", find=content.find)


def test_a_pattern_is_that_of_the_wrong_bytes_alone() -> None:
    """One page was not programmed, what follows is right."""
    actual = DATA[:512] + b"\xff" * 256 + DATA[768:]
    comparison = Comparison()
    comparison.feed(0, DATA[:600], actual[:600])
    comparison.feed(600, DATA[600:], actual[600:])
    with pytest.raises(Mismatch) as caught:
        comparison.check("Bad", "Retry.", find=lambda _: None)
    assert (caught.value.data["first"], caught.value.data["pattern"]) == (512, "all FF")
    assert caught.value.data["last"] == 767


def test_where_nothing_was_meant_to_be_there_is_no_pattern() -> None:
    comparison = Comparison()
    comparison.feed(0, b"\xff" * 64, bytes(64))
    with pytest.raises(Mismatch) as caught:
        comparison.check("Not blank", "Erase it.")
    assert caught.value.data["pattern"] == ""
    assert caught.value.message.endswith("Erase it.")


def test_content_finds_data_over_the_borders_of_its_search() -> None:
    data = random.Random(4).randbytes((1 << 20) + 1000)
    content = Content(((0x100, memoryview(b"abc")), (0x1000, memoryview(data))))
    assert content.find(data[(1 << 20) - 20 : (1 << 20) + 20]) == 0x1000 + (1 << 20) - 20
    assert content.find(b"bc") == 0x101
    assert content.find(b"abcd") is None
