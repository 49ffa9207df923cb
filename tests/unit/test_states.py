"""What a write is told of a memory, and how little the target is asked for it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbflash.flash.states import find_states
from gdbflash.images.content import Content
from gdbflash.plan.delta import State, Unit, remaining, units_of
from gdbflash.plan.jobs import EraseMode, plan_storage
from gdbflash.ranges import Range
from tests.support.values import KIB, make_loader

BASE = 0x90000000
SECTOR = 4 * KIB
HEAD = 256


class Memory:
    """A target whose digests are the bytes themselves, so that none of them agrees by chance."""

    def __init__(self, data: bytes, *, fetches: bool = True, at_once: int = 8 * KIB, most: int = 4) -> None:
        self.data = data
        self.fetches = fetches
        self.at_once = at_once
        self.most_pieces = most
        self.most_heads = most
        self.calls: list[list[Range]] = []
        self.closed = False

    def head(self, piece: Range) -> Range:
        return Range(piece.address, HEAD) if piece.size >= 4 * HEAD else piece

    def ask(self, pieces: Sequence[Range]) -> list[tuple[Range, bytes]]:
        taken: list[Range] = []
        for piece in pieces[: self.most_pieces]:
            if taken and sum(each.size for each in taken) + piece.size > self.at_once:
                break
            taken.append(piece)
        assert taken, "a call about nothing"
        self.calls.append(taken)
        return [(each, self.data[each.address - BASE : each.end - BASE]) for each in taken]

    def erased(self, piece: Range) -> bytes:
        return b"\xff" * piece.size

    def done(self) -> None:
        self.closed = True

    @property
    def read(self) -> int:
        return sum(each.size for call in self.calls for each in call)


def full_states(memory: bytes, units: Sequence[Unit], content: Content) -> dict[Range, State]:
    """The states with every byte looked at."""
    states = {}
    for unit in units:
        for piece in unit.pieces:
            held = memory[piece.address - BASE : piece.end - BASE]
            same = piece not in unit.wanted or held == content.read(piece)
            states[piece] = State(same, held == b"\xff" * piece.size)
    return states


def find(memory: Memory, units: Sequence[Unit], content: Content) -> tuple[dict[Range, State], int]:
    known = 0

    def advance(size: int) -> None:
        nonlocal known
        known += size

    states = find_states(memory, units, lambda ours: {each: content.read(each) for each in ours}, advance)
    return states, known


sectors = st.lists(
    st.sampled_from(
        (
            b"\xff" * SECTOR,
            b"\x11" * SECTOR,
            b"\x22" * SECTOR,
            b"\x11" * (SECTOR - 1) + b"\x33",
            b"\xff" * (SECTOR - 1) + b"\x44",
            b"\xff" * 1024 + b"\x11" * (SECTOR - 1024),
        )
    ),
    min_size=12,
    max_size=12,
)


@given(
    sectors,
    sectors,
    st.integers(0, 3 * SECTOR),
    st.integers(1, 9 * SECTOR),
    st.sampled_from(EraseMode),
    st.sampled_from((512, 1024, 2048, SECTOR)),
    st.booleans(),
    st.sampled_from((1, 3, 100)),
)
def test_what_is_left_to_do_is_what_a_look_at_every_byte_says(
    there: list[bytes],
    image: list[bytes],
    start: int,
    size: int,
    erase: EraseMode,
    piece: int,
    fetches: bool,
    most: int,
) -> None:
    held = b"".join(there)
    content = Content.at(BASE + start, b"".join(image)[start : start + size])
    loader = make_loader(groups=((12, SECTOR),))
    job = plan_storage(loader, content, erase=erase, keep=erase is EraseMode.SECTORS)
    units = units_of(job, piece)
    memory = Memory(held, fetches=fetches, most=most)
    whole = full_states(held, units, content)

    states, known = find(memory, units, content)

    assert states.keys() == whole.keys()
    assert remaining(job, units, states) == remaining(job, units, whole)
    asked = {each for call in memory.calls for each in call}
    wanted = {each for unit in units for each in unit.wanted}
    for each, state in states.items():
        assert state in (whole[each], State(False, False))
        if state.blank or (state.same and each in wanted):
            assert each in asked, "accepted without having been compared whole"
    assert known == sum(each.size for each in whole)
    assert memory.closed


def units_and(image: bytes, largest: int = SECTOR) -> tuple[tuple[Unit, ...], Content]:
    content = Content.at(BASE, image)
    loader = make_loader(groups=((len(image) // SECTOR, SECTOR),))
    return units_of(plan_storage(loader, content), largest), content


def test_other_content_costs_its_heads() -> None:
    units, content = units_and(bytes(16 * SECTOR))
    memory = Memory(b"\x55" * 16 * SECTOR)
    states, _ = find(memory, units, content)
    assert set(states.values()) == {State(False, False)}
    assert memory.read == 16 * HEAD
    assert len(memory.calls) == 4


@pytest.mark.parametrize("held", [bytes(16 * SECTOR), b"\xff" * 16 * SECTOR], ids=["same", "blank"])
def test_what_is_there_or_blank_costs_one_call_of_heads_and_is_read_once(held: bytes) -> None:
    units, content = units_and(bytes(16 * SECTOR))
    memory = Memory(held)
    states, _ = find(memory, units, content)
    assert set(states.values()) == {State(held[0] == 0, held[0] == 0xFF)}
    assert memory.read == 16 * SECTOR + 4 * HEAD
    assert len(memory.calls) == 1 + 8


def test_mapped_memory_is_asked_for_heads_once_it_shows_other_content() -> None:
    units, content = units_and(bytes(16 * SECTOR))
    memory = Memory(b"\x55" * 16 * SECTOR, fetches=False)
    find(memory, units, content)
    assert memory.read == 2 * SECTOR + 14 * HEAD
    same = Memory(bytes(16 * SECTOR), fetches=False)
    find(same, units, content)
    assert (same.read, len(same.calls)) == (16 * SECTOR, 8)


def test_no_heads_where_one_call_of_pieces_takes_more_than_they_stand_for() -> None:
    units, content = units_and(bytes(16 * SECTOR))
    memory = Memory(b"\x55" * 16 * SECTOR, at_once=64 * KIB)
    find(memory, units, content)
    assert all(each.size == SECTOR for call in memory.calls for each in call)


def test_the_rest_of_a_sector_that_is_erased_is_not_asked_for() -> None:
    units, content = units_and(bytes(4 * SECTOR), largest=1024)
    memory = Memory(b"\x55" + bytes(4 * SECTOR - 1), at_once=1024, most=16)
    states, known = find(memory, units, content)
    assert list(states.values()).count(State(False, False)) == 4
    assert remaining_pieces(memory) == 12
    assert known == 4 * SECTOR


def remaining_pieces(memory: Memory) -> int:
    """Count the pieces that were asked for whole."""
    return sum(each.size == 1024 for call in memory.calls for each in call)


def test_nothing_is_asked_about_nothing() -> None:
    memory = Memory(b"")
    assert find(memory, (), Content(())) == ({}, 0)
    assert not memory.calls
    assert not memory.closed
