"""A chunk that one call brings into RAM: executed instruction by instruction, and judged."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbflash.onchip.digest import LEAST_ROOM, SHORT_PIECE, Key, Routine
from gdbflash.onchip.fetch import MOST_SAMPLES, SAMPLE, Fetch, Finding, plan_fetch
from gdbflash.ranges import Range
from tests.support.routine import FLASH, Core
from tests.unit.test_digest_code import BUFFER, READ, copying_read

KEY = Key(0x01234567, 0x89ABCDEF, 0x9E3779B1, 0x85EBCA77)
AREA = Range(0x24005000, 8192)
POISON = bytes.fromhex("67452301")
NOTHING_READ = bytes.fromhex("0120 7047")
"""movs r0, #1; bx lr: says that it has read."""


def short_read() -> bytes:
    """Make a Read that leaves the last 4 bytes of larger chunks as they were."""
    return struct.pack("<4H", 0x2940, 0xD900, 0x3904, 0xBF00) + copying_read()  # cmp r1, #64; bls; subs r1, #4; nop


def read_by_size() -> bytes:
    """Make a Read that gives another first byte in large chunks than in small ones."""
    return (
        struct.pack(
            "<9H",
            0x7803,  # ldrb r3, [r0]
            0x2940,  # cmp r1, #64
            0xD900,  # bls same
            0x3301,  # adds r3, #1
            0x7013,  # same: strb r3, [r2]
            0x3001,  # adds r0, #1
            0x3201,  # adds r2, #1
            0x3901,  # subs r1, #1
            0xBF00,  # nop
        )
        + copying_read()
    )


def planned(routine: Routine, where: Range, border: int = 1) -> Fetch:
    return plan_fetch(routine, where, BUFFER, read=READ, border=border, draw=random.Random(5).randrange)


def fetched(core: Core, fetch: Fetch) -> tuple[bytes, bytes]:
    """Perform it; gives the results and what lies in RAM."""
    ran = core.perform(fetch.made)
    assert (ran.r0, ran.r1) == (1, fetch.made.complete)
    inside = fetch.inside
    return ran.results, bytes(core.uc.mem_read(inside.address, inside.size))


@pytest.fixture(scope="module")
def core() -> Core:
    return Core(Routine(AREA, KEY))


@settings(deadline=None, max_examples=50)
@given(st.randoms(use_true_random=False), st.integers(0, 40), st.integers(1, 20_000), st.sampled_from([1, 4, 16, 64]))
def test_what_comes_is_there_and_right(core: Core, source: random.Random, start: int, size: int, border: int) -> None:
    data = source.randbytes(start + size + 64)
    core.put(FLASH.address, data)
    core.put(READ, copying_read())
    routine = Routine(AREA, KEY)
    fetch = planned(routine, Range(FLASH.address + start, size), border)
    results, came = fetched(core, fetch)
    assert came == data[start : start + size]
    assert fetch.judge(results, came) is Finding.RIGHT
    at = source.randrange(size)
    wrong = came[:at] + bytes([came[at] ^ 1 << source.randrange(8)]) + came[at + 1 :]
    assert fetch.judge(results, wrong) is Finding.CHANGED


@pytest.mark.parametrize("read", [NOTHING_READ, short_read()], ids=["nothing", "short"])
def test_a_buffer_that_was_not_filled(core: Core, read: bytes) -> None:
    core.put(FLASH.address, random.Random(1).randbytes(4096))
    core.put(READ, read)
    routine = Routine(AREA, KEY, lambda: int.from_bytes(POISON, "little"))
    fetch = planned(routine, Range(FLASH.address, 4096))
    results, came = fetched(core, fetch)
    assert came.endswith(POISON)
    assert fetch.judge(results, came) is Finding.UNFILLED


def test_a_sample_that_came_differently(core: Core) -> None:
    core.put(FLASH.address, random.Random(1).randbytes(4096))
    core.put(READ, read_by_size())
    routine = Routine(AREA, KEY)
    fetch = planned(routine, Range(FLASH.address, 4096))
    results, came = fetched(core, fetch)
    assert fetch.judge(results, came) is Finding.UNSTABLE


def test_what_is_asked_for() -> None:
    routine = Routine(AREA, KEY)
    fetch = planned(routine, Range(FLASH.address + 5, 3 * SHORT_PIECE + 1), 16)
    assert fetch.inside == Range(BUFFER + 5, 3 * SHORT_PIECE + 1)
    assert fetch.step == SHORT_PIECE
    assert len(fetch.samples) == MOST_SAMPLES
    assert fetch.samples[:2] == (Range(FLASH.address + 5, SAMPLE), Range(fetch.where.end - SAMPLE, SAMPLE))
    assert all(each.address in fetch.where and each.end - 1 in fetch.where for each in fetch.samples)
    assert fetch.made.results.size == 12 * (MOST_SAMPLES + 4)
    assert planned(routine, Range(FLASH.address, MOST_SAMPLES * SAMPLE)).samples == (Range(FLASH.address, 96),)


def test_little_room_takes_fewer_samples_and_larger_pieces() -> None:
    least = Routine(Range(AREA.address, LEAST_ROOM), KEY)
    fetch = planned(least, Range(FLASH.address, 100_000))
    assert (len(fetch.samples), fetch.step) == (4, 8 * SHORT_PIECE)
    assert fetch.made.results.end <= AREA.address + LEAST_ROOM
    small = Core(least)
    data = random.Random(2).randbytes(100_000)
    small.put(FLASH.address, data)
    small.put(READ, copying_read())
    results, came = fetched(small, fetch)
    assert came == data
    assert fetch.judge(results, came) is Finding.RIGHT
