from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbflash.errors import PlanError
from gdbflash.loaders.static_base import StaticBase
from gdbflash.onchip.device.lookup import idcode_addresses, ram_around
from gdbflash.onchip.digest import Key, Routine
from gdbflash.onchip.layout import Layout
from gdbflash.onchip.plan_layout import plan_layout
from gdbflash.ranges import Range
from tests.support.values import KIB, make_loader

AXI = Range(0x24000000, 512 * KIB)


def test_h750_layout_whole() -> None:
    layout = plan_layout(make_loader(), AXI)
    assert layout == Layout(
        ram=AXI,
        return_address=0x24000000,
        strays=Range(0x24001208, 1024),
        stack=Range(0x24001608, 16 * KIB),
        scratch=Range(0x24005608, 256),
        static_base=0x24005608,
        buffer=Range(0x24005708, 0x79800),
        entry=Range(0x2407EF58, 160),
        routine=Range(0x2407EFF8, 4096),
    )
    assert layout.stack_top == 0x24005608
    assert layout.last_word == 0x2407FFF8


def test_storage_info_at_the_top_of_ram_is_left_alone() -> None:
    loader = make_loader(segments=((0x24000004, 0x1000, 0x1000), (0x2407FF00, 200, 200)))
    layout = plan_layout(loader, AXI)
    assert layout.strays.address == 0x24001008
    assert layout.last_word + 4 <= 0x2407FF00


def test_a_small_ram_keeps_the_least_stack() -> None:
    loader = make_loader(segments=((0x20000004, 3000, 3000),), page_size=256)
    layout = plan_layout(loader, Range(0x20000000, 8 * KIB))
    assert layout.routine.size == 1024
    assert layout.stack.size == 1024
    assert layout.strays.size == 512
    assert layout.buffer.size == 2048


def test_strays_have_less_room_where_ram_is_short() -> None:
    sizes = {}
    for ram in (8, 20, 64):
        loader = make_loader(segments=((0x20000004, 3000, 3000),))
        sizes[ram] = plan_layout(loader, Range(0x20000000, ram * KIB)).strays.size
    assert sizes == {8: 512, 20: 1024, 64: 1024}


def test_where_r9_points() -> None:
    loader = make_loader()
    assert plan_layout(loader, AXI, static_base=0).static_base == 0
    inside = plan_layout(replace(loader, static_base=StaticBase(0x24000800, 0)), AXI)
    assert (inside.static_base, inside.scratch.size) == (0x24000800, 0)
    large = plan_layout(replace(loader, static_base=StaticBase(scratch=0x4B84 + 256)), AXI)
    assert (large.static_base, large.scratch.size) == (large.scratch.address, 0x4C88)
    with pytest.raises(PlanError, match="--static-base ADDRESS"):
        plan_layout(replace(loader, static_base=StaticBase(unknown="uses r9")), AXI)


@pytest.mark.parametrize(
    ("ram", "words"),
    [
        (Range(0x24000000, 5 * KIB), "too few for a stack and a buffer"),
        (Range(0x24000000, 2 * KIB), "runs past the end of the RAM"),
        (Range(0x20000000, 128 * KIB), "outside the RAM"),
    ],
)
def test_ram_that_does_not_fit_is_refused(ram: Range, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        plan_layout(make_loader(), ram)


@given(
    st.integers(3 * KIB, 700 * KIB),
    st.sampled_from([16, 256, 512, 4096, 65536, 1 << 24]),
    st.integers(1, 60000),
)
def test_parts_never_overlap_and_stay_in_ram(ram_size: int, page: int, image: int) -> None:
    loader = make_loader(page_size=page, segments=((0x24000004, image, image + 7),))
    ram = Range(0x24000000, ram_size)
    try:
        layout = plan_layout(loader, ram)
    except PlanError:
        return
    parts = sorted([*layout.used, Range(0x24000004, image + 7)])
    assert all(low.end <= high.address for low, high in itertools.pairwise(parts))
    assert parts[-1].end <= ram.end
    assert layout.stack_top % 8 == 0
    assert layout.buffer.address % 8 == layout.buffer.size % 8 == 0
    assert layout.stack.size >= KIB
    assert Routine(layout.routine, Key(1, 2, 3, 5)).image


def test_ram_comes_from_the_device_or_the_link_address() -> None:
    assert ram_around(0x24000004, 0x450) == (Range(0x24000000, 512 * KIB), Range(0x24000000, 384 * KIB))
    assert ram_around(0x20000004, 0x450) == (Range(0x20000000, 128 * KIB),)
    assert ram_around(0x20003004, 0x484) == (Range(0x20000000, 640 * KIB),)
    assert ram_around(0x20000004, None) == (Range(0x20000000, 32 * KIB),)
    with pytest.raises(PlanError, match="no RAM of this STM32F411"):
        ram_around(0x24000004, 0x431)
    with pytest.raises(PlanError, match="--ram START:SIZE"):
        ram_around(0x68000004, None)


def test_idcode_is_looked_for_where_the_core_has_it() -> None:
    assert idcode_addresses(0x411FC271, 0x24000004) == (0x5C001000,)
    assert idcode_addresses(0x411FC271, 0x20000004) == (0x5C001000, 0xE0042000)
    assert idcode_addresses(0x410FC241, 0x20000004) == (0xE0042000, 0x5C001000)
    assert idcode_addresses(0x410CC601, 0x20000004) == (0x40015800,)
    assert idcode_addresses(0x410FD214, 0x20000004) == (0xE0044000,)
