"""What of a write is left to do, decided from what was found."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbflash.images.content import Content
from gdbflash.plan.delta import Delta, State, Unit, everything, not_erased, remaining, units_of
from gdbflash.plan.jobs import EraseMode, StorageJob, plan_storage
from gdbflash.ranges import Range, joined, without
from tests.support.values import KIB, make_loader

BASE = 0x90000000
SECTOR = 64 * KIB
SAME, BLANK, OTHER, BOTH = State(True, False), State(False, True), State(False, False), State(True, True)


def content(*places: tuple[int, int]) -> Content:
    return Content(tuple((BASE + offset, memoryview(bytes(size))) for offset, size in places))


def job(*places: tuple[int, int], erase: EraseMode = EraseMode.SECTORS, keep: bool = True) -> StorageJob:
    return plan_storage(make_loader(), content(*places), erase=erase, keep=keep)


def at(offset: int, size: int) -> Range:
    return Range(BASE + offset, size)


def test_units_are_sectors_with_what_is_wanted_and_what_is_beside() -> None:
    units = units_of(job((0x100, 0x20), (0x8000, 0x18000)), SECTOR)
    assert units == (
        Unit(at(0, SECTOR), (at(0x100, 0x20), at(0x8000, 0x8000)), (at(0, 0x100), at(0x120, 0x7EE0))),
        Unit(at(SECTOR, SECTOR), (at(SECTOR, SECTOR),), ()),
    )


def test_units_are_pieces_where_nothing_is_erased() -> None:
    assert units_of(job((0xFF00, 0x200), (0x20000, 0x10001), erase=EraseMode.NONE), SECTOR) == (
        Unit(at(0xFF00, 0x200), (at(0xFF00, 0x200),), ()),
        Unit(at(0x20000, 0x10000), (at(0x20000, 0x10000),), ()),
        Unit(at(0x30000, 1), (at(0x30000, 1),), ()),
    )


def judged(task: StorageJob, *states: State) -> Delta:
    """Judge with the states of all pieces, in the order of units."""
    units = units_of(task, SECTOR)
    pieces = [piece for unit in units for piece in unit.pieces]
    return remaining(task, units, dict(zip(pieces, states, strict=True)))


def test_what_is_there_is_left_alone() -> None:
    delta = judged(job((0, 2 * SECTOR + 16)), SAME, SAME, SAME, OTHER)
    assert delta == Delta((), (), (), (), (at(0, 2 * SECTOR + 16),), ())
    assert delta.is_nothing


def test_only_what_differs_is_erased_and_only_what_is_not_blank() -> None:
    delta = judged(job((0, 4 * SECTOR)), SAME, OTHER, BLANK, SAME)
    assert delta == Delta(
        erase=(Range(BASE + SECTOR, SECTOR),),
        keep=(),
        blank=(),
        places=(at(SECTOR, 2 * SECTOR),),
        skipped=(at(0, SECTOR), at(3 * SECTOR, SECTOR)),
        touched=(at(SECTOR, SECTOR), at(2 * SECTOR, SECTOR)),
    )


@pytest.mark.parametrize(
    ("beside", "erased", "keep", "blank"),
    [
        ((OTHER, OTHER), True, (at(0, 0x100), at(0x120, 0xFEE0)), ()),
        ((OTHER, BLANK), True, (at(0, 0x100),), (at(0x120, 0xFEE0),)),
        ((BLANK, BLANK), True, (), (at(0, 0x100), at(0x120, 0xFEE0))),
    ],
)
def test_bytes_beside_the_image_are_kept_where_the_sector_is_erased(
    beside: tuple[State, State], erased: bool, keep: tuple[Range, ...], blank: tuple[Range, ...]
) -> None:
    delta = judged(job((0x100, 0x20)), OTHER, *beside)
    assert (bool(delta.erase), delta.keep, delta.blank) == (erased, keep, blank)
    assert delta.places == (at(0x100, 0x20),)


def test_nothing_is_kept_where_nothing_is_erased() -> None:
    delta = judged(job((0x100, 0x20)), BLANK, BLANK, BLANK)
    assert (delta.erase, delta.keep, delta.blank) == ((), (), ())
    assert delta.places == (at(0x100, 0x20),)
    assert delta.touched == (at(0, SECTOR),)


def test_a_blank_image_in_a_dirty_sector_is_there() -> None:
    assert judged(job((0x100, 0x20)), BOTH, OTHER, OTHER).is_nothing


def test_without_keep_nothing_is_read() -> None:
    delta = judged(job((0x100, 0x20), keep=False), OTHER, OTHER, BLANK)
    assert delta.erase == (Range(BASE, SECTOR),)
    assert (delta.keep, delta.blank) == ((), ())


def test_where_nothing_is_erased_differing_pieces_are_programmed() -> None:
    delta = judged(job((0, 3 * SECTOR), erase=EraseMode.NONE), SAME, OTHER, BLANK)
    assert delta == Delta((), (), (), (at(SECTOR, 2 * SECTOR),), (at(0, SECTOR),), (), (at(SECTOR, SECTOR),))


def chip(*states: State) -> Delta:
    task = plan_storage(make_loader(groups=((4, SECTOR),)), content((0, SECTOR)), erase=EraseMode.CHIP, keep=False)
    return judged(task, *states)


def test_a_chip_is_erased_whole_or_not_at_all() -> None:
    assert chip(SAME, BLANK, BLANK, BLANK).is_nothing
    dirty_beside = chip(SAME, BLANK, OTHER, BLANK)
    assert len(dirty_beside.erase) == 4
    assert dirty_beside.places == (at(0, SECTOR),)
    assert len(chip(OTHER, BLANK, BLANK, BLANK).erase) == 4
    blank = chip(BLANK, BLANK, BLANK, BLANK)
    assert blank.erase == ()
    assert blank.places == (at(0, SECTOR),)
    assert joined(blank.touched) == (at(0, 4 * SECTOR),)


def test_everything_leaves_nothing_out() -> None:
    task = job((0x100, SECTOR))
    assert everything(task) == Delta(
        erase=task.sectors,
        keep=(at(0, 0x100), at(SECTOR + 0x100, SECTOR - 0x100)),
        blank=(),
        places=(at(0x100, SECTOR),),
        skipped=(),
        touched=(at(0, SECTOR), at(SECTOR, SECTOR)),
    )


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, SECTOR - 1), st.integers(1, 3 * SECTOR)), max_size=5),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_nothing_is_lost_or_left_wrong(places: list[tuple[int, int, int]], keep: bool, source: random.Random) -> None:
    """Whatever was found: after the plan is done, memory holds the content, and with keep all else it held before."""
    wanted = joined(at(sector * SECTOR + offset, size) for sector, offset, size in places)
    data = Content(tuple((each.address, memoryview(bytes(each.size))) for each in wanted))
    task = plan_storage(make_loader(), data, keep=keep)
    units = units_of(task, SECTOR)
    states = {piece: State(source.random() < 0.6, source.random() < 0.4) for unit in units for piece in unit.pieces}
    delta = remaining(task, units, states)
    erased = delta.erase
    assert joined((*delta.places, *delta.skipped)) == data.ranges
    assert not without(erased, delta.touched)
    lost = without(erased, delta.places)
    assert not without((*delta.keep, *delta.blank), lost)
    if keep:
        assert joined((*delta.keep, *delta.blank)) == lost
    for unit in units:
        if unit.where not in delta.touched:
            assert all(states[piece].same for piece in unit.wanted)
        elif unit.where not in erased:
            assert all(states[piece].blank for piece in unit.pieces)


def test_erased_stretches_of_an_image_are_not_programmed() -> None:
    data = bytearray(b"\xff" * 0x8000)
    data[0x0FFF] = 1
    data[0x4000:0x4004] = b"code"
    image = Content.at(BASE + 0x10, bytes(data))
    assert not_erased(image, image.ranges, 0xFF, 256) == (at(0x1000, 0x1000), at(0x4000, 0x1000))
    assert not_erased(image, image.ranges, 0xFF, 16384) == (at(0x10, 0x7FF0),)
    assert not_erased(image, image.ranges, 0x00, 256) == image.ranges
    assert not_erased(image, (at(0x2000, 0x1000),), 0xFF, 256) == ()


def test_planning_of_many_sectors_is_linear() -> None:
    loader = make_loader(groups=((65536, 4 * KIB),))
    data = Content.at(BASE, bytes(1 << 28))
    units = units_of(plan_storage(loader, data), SECTOR)
    assert len(units) == 65536
    states = {unit.where: State(False, False) for unit in units}
    delta = remaining(plan_storage(loader, data), units, states)
    assert len(delta.erase) == 65536
    assert delta.places == (Range(BASE, 1 << 28),)


def test_large_sectors_are_cut_into_pieces() -> None:
    loader = make_loader(groups=((4, 4 * SECTOR),))
    units = units_of(plan_storage(loader, content((100, 4 * SECTOR))), SECTOR)
    assert [len(unit.pieces) for unit in units] == [5, 5]
    assert joined(units[0].pieces) == (at(0, 4 * SECTOR),)
    assert units[1].wanted == (at(4 * SECTOR, 100),)
