from __future__ import annotations

import random

import pytest

from gdbflash.compare import Comparison, name_pattern
from gdbflash.errors import Mismatch

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
        "Verification failed: 3 bytes differ from 0x90000002 to 0x90000007 (expected 03 04, found 00 04). Try again."
    )
    assert caught.value.data == {
        "first": 0x90000002,
        "last": 0x90000007,
        "count": 3,
        "expected": "0304",
        "actual": "0004",
        "pattern": "",
    }


def test_one_byte_is_one_byte() -> None:
    comparison = Comparison()
    comparison.feed(0x90000000, b"\1\2", b"\1\3")
    with pytest.raises(Mismatch, match=r"^Bad: 1 byte differs at 0x90000001 \(expected 02, found 03\)\. Retry\.$"):
        comparison.check("Bad", "Retry.")


@pytest.mark.parametrize(
    ("actual", "pattern"),
    [
        (b"\xff" * 4096, "all FF"),
        (bytes(4096), "all 00"),
        (bytes(byte >> 4 | byte & 0xF0 for byte in DATA), "repeated nibbles"),
        (bytes(byte & 0x7F for byte in DATA), "bits missing"),
        (DATA[:256] * 16, "the same 256 bytes repeated"),
        (b"\x99" + DATA[:-1], "shifted by 1 bytes"),
        (DATA[2:] + b"ab", "shifted by 2 bytes"),
        (random.Random(2).randbytes(4096), ""),
        (b"\xff" * 8, ""),
    ],
)
def test_patterns_have_names(actual: bytes, pattern: str) -> None:
    assert name_pattern(DATA[: len(actual)], actual)[0] == pattern
