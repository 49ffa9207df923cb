"""What a digest is, on the host: its definition, its limits, and the calls that are planned."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbflash.onchip.call import Call
from gdbflash.onchip.digest import (
    IMAGE_SIZE,
    LEAST_ROOM,
    Key,
    Piece,
    Routine,
    Run,
    digest,
    digests,
    split_checksum,
    split_digests,
)
from gdbflash.onchip.routine_code import CHECKED_CALL
from gdbflash.ranges import Range

ROOT = Path(__file__).resolve().parents[2]
KEY = Key(0x01234567, 0x89ABCDEF, 0x9E3779B1, 0x85EBCA77)
AREA = Range(0x24005000, 4096)
M = 0xFFFFFFFF

words = st.integers(0, M)
odd = words.map(lambda number: number | 1)
keys = st.builds(Key, words, words, odd, odd)


def ror(value: int, amount: int) -> int:
    return (value >> amount | value << 32 - amount) & M


def word_by_word(data: bytes, key: Key, lead: int = 0) -> bytes:
    """The definition as the documentation of the module gives it."""
    padded = bytes(lead) + data + bytes(-(lead + len(data)) % 4)
    a, b, c = key.a, key.b, len(data)
    for start in range(0, len(padded), 4):
        word = int.from_bytes(padded[start : start + 4], "little")
        a = ror((a + word * key.p) & M, 19) * key.q & M
        b = ror((b + a) & M, 19) * key.q & M
        c = (c + b) & M
    return b"".join(each.to_bytes(4, "little") for each in (a, b, c))


@pytest.mark.parametrize(
    ("data", "lead", "expected"),
    [
        (b"", 0, "67452301efcdab8900000000"),
        (b"\0", 0, "bc98448612f9ac4013f9ac40"),
        (b"123456789", 0, "529f6f6cd0205c46810e9577"),
        (b"123456789", 3, "75cc05f545c70928a7de0871"),
        (bytes(range(256)) * 16, 0, "5cf02909f05b5be9b6db556e"),
        (b"\xff" * 65536, 0, "0caf1754f7cd83af428592ec"),
    ],
)
def test_digests_stay_what_they_are(data: bytes, lead: int, expected: str) -> None:
    assert digest(data, KEY, lead).hex() == expected


@given(st.lists(st.tuples(st.binary(max_size=70), st.integers(0, 3)), max_size=12), keys)
def test_side_by_side_is_word_by_word(pieces: list[tuple[bytes, int]], key: Key) -> None:
    found = digests([Piece(data, lead) for data, lead in pieces], key)
    assert found == [word_by_word(data, key, lead) for data, lead in pieces]


@given(st.integers(1, 9), st.integers(0, 64), st.integers(0, 7), keys, st.randoms(use_true_random=False))
def test_a_whole_group_of_one_size(lanes: int, size: int, lead: int, key: Key, source: random.Random) -> None:
    pieces = [Piece(source.randbytes(size), lead % 4) for _ in range(lanes)]
    assert digests(pieces, key) == [word_by_word(bytes(each.data), key, each.lead) for each in pieces]


def test_batches_join_without_a_seam() -> None:
    source = random.Random(4)
    pieces = [Piece(source.randbytes(1 << 18)) for _ in range(17)]
    together = digests(pieces, KEY)
    assert together[16] == digest(pieces[16].data, KEY)
    assert together[0] == digest(pieces[0].data, KEY)
    assert len(set(together)) == 17


def test_zeros_behind_the_end_count() -> None:
    assert len({digest(bytes(size), KEY) for size in range(20)}) == 20
    assert digest(b"a", KEY) != digest(b"a\0", KEY)


@given(st.binary(min_size=9, max_size=200), st.data(), keys)
def test_a_difference_within_nine_bytes_is_never_missed(data: bytes, draw: st.DataObject, key: Key) -> None:
    start = draw.draw(st.integers(0, len(data) - 9))
    other = draw.draw(st.binary(min_size=9, max_size=9).filter(lambda part: part != data[start : start + 9]))
    changed = data[:start] + other + data[start + 9 :]
    assert digest(changed, key) != digest(data, key)


@pytest.mark.parametrize("seed", range(5))
def test_changes_that_sums_and_single_lanes_miss(seed: int) -> None:
    source = random.Random(seed)
    data = bytearray(source.randbytes(4096))
    key = Key.random()
    expected = digest(data, key)

    def changed(*differences: tuple[int, int]) -> bytes:
        other = bytearray(data)
        for index, difference in differences:
            word = int.from_bytes(other[4 * index : 4 * index + 4], "little")
            other[4 * index : 4 * index + 4] = (word + difference & M).to_bytes(4, "little")
        return bytes(other)

    top = 1 << 31
    assert digest(changed((100, top), (200, top)), key) != expected
    assert digest(changed((100, top), (101, top), (102, top), (103, top)), key) != expected
    assert digest(changed((100, 1), (101, -2), (102, 1)), key) != expected
    assert digest(changed((100, 1), (101, -3), (102, 3), (103, -1)), key) != expected
    assert digest(bytes(data[4:] + data[:4]), key) != expected
    assert digest(bytes(data[2048:] + data[:2048]), key) != expected
    assert digest(changed(*((index, top) for index in range(0, 1024, 4))), key) != expected


def test_keys_differ_and_have_odd_factors() -> None:
    drawn = [Key.random() for _ in range(100)]
    assert all(key.p % 2 and key.q % 2 for key in drawn)
    assert all(8 <= factor.bit_count() <= 24 for key in drawn for factor in (key.p, key.q))
    assert len(set(drawn)) == 100


def test_the_shipped_code_is_what_the_source_assembles_to(tmp_path: Path) -> None:
    made = tmp_path / "routine_code.py"
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "build-routines"), str(made)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert made.read_text() == (ROOT / "gdbflash" / "onchip" / "routine_code.py").read_text(), (
        "run scripts/build-routines"
    )


# Calls


def sectors(start: int, size: int, count: int) -> list[Range]:
    return [Range(start + number * size, size) for number in range(count)]


def test_a_row_of_sectors_is_one_run() -> None:
    routine = Routine(AREA, KEY)
    pieces = [*sectors(0x90000000, 0x10000, 255), Range(0x90FF0000, 0x123)]
    runs = routine.take(pieces, 1 << 30)
    assert runs == (Run(0x90000000, 0xFF0123, 0x10000),)
    assert runs[0].pieces == tuple(pieces)


def test_what_does_not_follow_begins_another_run() -> None:
    routine = Routine(AREA, KEY)
    pieces = [Range(3, 5), Range(8, 100), Range(108, 100), Range(208, 7), Range(215, 7), Range(500, 7)]
    runs = routine.take(pieces, 1 << 30, buffer=0x24010000)
    assert runs == (
        Run(3, 5, 5, 0x24010000),
        Run(8, 207, 100, 0x24010000),
        Run(215, 7, 7, 0x24010000),
        Run(500, 7, 7, 0x24010000),
    )
    assert [piece for run in runs for piece in run.pieces] == pieces


def test_a_call_takes_what_the_limit_and_its_tables_allow() -> None:
    routine = Routine(AREA, KEY)
    pieces = sectors(0x90000000, 0x1000, 4096)
    assert routine.take(pieces, 0x4000) == (Run(0x90000000, 0x4000, 0x1000),)
    assert routine.take(pieces, 1) == (Run(0x90000000, 0x1000, 0x1000),)
    all_at_once = routine.take(pieces, 1 << 30)
    assert all_at_once == (Run(0x90000000, 284 * 0x1000, 0x1000),)
    made = routine.digests(all_at_once, timeout=5)
    assert AREA.end - 12 < made.results.end <= AREA.end
    scattered = routine.take(pieces[::2], 1 << 30)
    assert len(scattered) == 95
    assert routine.digests(scattered, timeout=5).results.end <= AREA.end


def test_the_calls_as_they_are_made() -> None:
    poison = iter(range(0x11, 0x14))
    routine = Routine(AREA, KEY, lambda: next(poison))
    assert len(routine.image) == IMAGE_SIZE
    assert routine.image.endswith(bytes.fromhex("67452301efcdab89b179379e77caeb85"))
    tables = AREA.address + IMAGE_SIZE
    run = Run(0x90000001, 0x20, 0x10, 0x24010000)
    made = routine.digests([run], read=0x24000100, timeout=7)
    table = bytes.fromhex("01000090 20000000 10000000 00000124 11000000 00000000") + bytes(24)
    assert made.inputs == (tables, table)
    assert (made.call.function, made.call.address, made.call.timeout) == ("digests", AREA.address, 7)
    assert made.call.arguments == (tables, tables + 48, 0x24000101)
    assert made.results == Range(tables + 48, 24)
    assert made.complete == tables + 72
    summing = routine.checksum([run], 0x11223344, 5, timeout=7)
    table = table[:16] + bytes.fromhex("12000000 00000000") + bytes(24)
    assert summing.inputs == (tables, table + bytes.fromhex("4433221105000000"))
    assert (summing.call.function, summing.call.address) == ("checksum", AREA.address + 8)
    assert summing.call.arguments == (tables, tables + 48, 0)
    assert summing.complete == tables + 48


def test_a_checked_call_as_it_is_made() -> None:
    routine = Routine(AREA, KEY)
    data = bytes(range(256)) * 33
    checked = routine.checked(Call("Write", 0x24000200, (0x90000000, 8448, 0x24010000), 9), 0x24010000, data)
    check = AREA.address + IMAGE_SIZE
    wanted = digest(data[:8192], KEY) + digest(data[8192:], KEY)
    assert checked.inputs[0] == check
    assert struct.unpack("<5I", checked.inputs[1][:20]) == (0x24000201, check + 20, check + 92, check + 68, 0)
    assert checked.inputs[1][20:] == bytes.fromhex("00000124 00210000 00200000 00000000") + bytes(32) + wanted
    assert checked.call == Call("Write", AREA.address + CHECKED_CALL, (0x90000000, 8448, 0x24010000), 9)
    assert checked.outcome == Range(check + 16, 4)


def test_the_pieces_of_a_checked_call_grow_where_its_tables_would_not_suffice() -> None:
    least = Routine(Range(0x24000000, LEAST_ROOM), KEY)
    _, table = least.checked(Call("Write", 0x24000200), 0x24010000, bytes(100_000)).inputs
    size, step = struct.unpack_from("<2I", table, 24)
    pieces = -(-size // step)
    assert (size, step, pieces) == (100_000, 14_288, 7)
    assert len(table) + pieces * 12 <= LEAST_ROOM - IMAGE_SIZE


def test_too_small_a_place_and_too_many_results_are_refused() -> None:
    with pytest.raises(ValueError, match="no place"):
        Routine(Range(0x24000000, LEAST_ROOM - 4), KEY)
    with pytest.raises(ValueError, match="no place"):
        Routine(Range(0x24000002, 4096), KEY)
    with pytest.raises(ValueError, match="do not fit"):
        Routine(AREA, KEY).digests([Run(0, 4096, 1)], timeout=1)
    least = Routine(Range(0x24000000, LEAST_ROOM), KEY)
    assert least.take(sectors(0, 16, 100), 1 << 20) == (Run(0, 16 * 16, 16),)


def test_results_are_cut_apart() -> None:
    assert split_digests(bytes(range(24))) == [bytes(range(12)), bytes(range(12, 24))]
    assert split_checksum(bytes.fromhex("4433221105000000")) == (0x11223344, 5)
