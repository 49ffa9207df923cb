from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbflash.commands.words import parse_address, parse_factor, parse_image, parse_number, parse_range
from gdbflash.errors import InputError
from gdbflash.ranges import Range


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("10", 10),
        ("0x90000000", 0x90000000),
        ("64K", 65536),
        ("64k", 65536),
        ("1M", 1 << 20),
        ("0x10K", 16384),
    ],
)
def test_numbers(text: str, value: int) -> None:
    assert parse_number(text) == value


@pytest.mark.parametrize("text", ["", "x", "-1", "0x", "1G", "1.5M", "0x1_0000_0000_0", "4097M", "１", "1 2"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(InputError, match="is not a number"):
        parse_number(text)


@given(st.text(max_size=12))
def test_any_text_is_a_number_or_an_input_error(text: str) -> None:
    with contextlib.suppress(InputError):
        assert 0 <= parse_number(text) <= 1 << 32


@pytest.mark.parametrize("text", ["1" * 5000, "0" * 5000, "0x" + "1" * 5000, "9" * 5000 + "K", "1_" * 3000 + "1"])
def test_a_number_of_thousands_of_digits_is_a_short_sentence(text: str) -> None:
    for parse, typed in (
        (parse_number, text),
        (parse_address, text),
        (parse_range, f"{text}:1K"),
        (parse_range, f"0x20000000:{text}"),
        (parse_range, text),
        (parse_factor, text),
    ):
        with pytest.raises(InputError) as caught:
            parse(typed)
        assert len(caught.value.message) < 200
    assert parse_image(f"a.bin@{text}") == (Path(f"a.bin@{text}"), None)


def test_an_address_of_thousands_of_digits_behind_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"1")
    with pytest.raises(InputError, match=r"a\.bin@1{20,80}\.\.\.: '1{20,80}\.\.\.' is not a number"):
        parse_image(f"{file}@{'1' * 5000}")


def test_ranges() -> None:
    assert parse_range("0x24000000:512K") == Range(0x24000000, 0x80000)
    for text in ("0x24000000", "0x24000000:", ":1K", "0xFFFFFFFF:2", "0x24000000:0"):
        with pytest.raises(InputError):
            parse_range(text)


def test_image_specifications(tmp_path: Path) -> None:
    assert parse_image("a.bin@0x90000000") == (Path("a.bin"), 0x90000000)
    assert parse_image("a@b.hex") == (Path("a@b.hex"), None)
    assert parse_image("@0x10") == (Path("@0x10"), None)
    odd = tmp_path / "x@16"
    odd.write_bytes(b"")
    assert parse_image(str(odd)) == (odd, None)
    assert parse_image(f"{odd}@32") == (odd, 32)
