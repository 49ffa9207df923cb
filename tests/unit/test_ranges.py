from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbflash.ranges import Range, joined, slices, without

RANGES = st.lists(st.builds(Range, st.integers(0, 200), st.integers(0, 40)), max_size=8)


def covered(ranges: tuple[Range, ...] | list[Range]) -> set[int]:
    return {address for each in ranges for address in range(each.address, each.end)}


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0x80000000 (empty)"), (1, "0x80000000"), (2, "0x80000000-0x80000001"), (16, "0x80000000-0x8000000F")],
)
def test_a_range_in_words(size: int, text: str) -> None:
    assert str(Range(0x80000000, size)) == text


@given(RANGES)
def test_joined_covers_the_same_with_gaps_between(ranges: list[Range]) -> None:
    result = joined(ranges)
    assert covered(result) == covered(ranges)
    assert all(low.end < high.address for low, high in itertools.pairwise(result))
    assert all(each.size for each in result)


@given(RANGES, RANGES)
def test_without_is_set_difference(ranges: list[Range], holes: list[Range]) -> None:
    result = without(ranges, holes)
    assert covered(result) == covered(ranges) - covered(holes)
    assert result == joined(result)


@given(st.integers(0, 5000), st.integers(1, 5000), st.integers(1, 64), st.integers(1, 8))
def test_slices_cover_exactly_once_with_aligned_borders(start: int, size: int, align: int, factor: int) -> None:
    limit = align * factor + align // 2
    pieces = list(slices([Range(start, size)], limit, align))
    assert pieces[0].address == start
    assert pieces[-1].end == start + size
    assert all(low.end == high.address for low, high in itertools.pairwise(pieces))
    assert all(0 < each.size <= limit for each in pieces)
    assert all(each.end % align == 0 for each in pieces[:-1])


def test_a_range_says_its_last_byte() -> None:
    assert str(Range(0x90000000, 0x100)) == "0x90000000-0x900000FF"
    assert 0x900000FF in Range(0x90000000, 0x100)
    assert 0x90000100 not in Range(0x90000000, 0x100)
