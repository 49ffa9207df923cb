from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbflash.plan.pace import Cut, Pace, paced
from gdbflash.ranges import Range


def test_calls_grow_to_what_a_second_has_room_for_and_shrink_again() -> None:
    pace = Pace(16384, 4096, 1 << 20)
    limits = []
    for seconds in (0.01, 0.02, 0.1, 0.5, 5.0):
        pace.learn(pace.limit, seconds)
        limits.append(pace.limit)
    assert limits == [65536, 262144, 1 << 20, 1 << 20, 262144]


@pytest.mark.parametrize("rate", [50e3, 300e3, 1e6])
@pytest.mark.parametrize("cost", [0.002, 0.01, 0.035])
def test_calls_cost_little_and_progress_moves_every_second(rate: float, cost: float) -> None:
    """What a call costs, and bytes a second: from an EEPROM on a slow link to more than a quick chip."""
    pace = Pace(16384, 4096, 4 << 20)
    calls = []
    for _ in range(12):
        seconds = cost + pace.limit / rate
        calls.append(seconds)
        pace.learn(pace.limit, seconds)
    assert max(calls) < 1
    assert all(cost / seconds < 0.05 for seconds in calls[4:])


def test_a_short_call_teaches_nothing() -> None:
    pace = Pace(16384, 4096, 1 << 20)
    pace.learn(8192, 0.001)
    assert pace.limit == 16384


@pytest.mark.parametrize(("first", "least", "most", "limit"), [(16384, 256, 1000, 1000), (10, 256, 1000, 256)])
def test_limits_hold_from_the_first_call(first: int, least: int, most: int, limit: int) -> None:
    assert Pace(first, least, most).limit == limit


@given(
    st.lists(st.builds(Range, st.integers(0, 1 << 20), st.integers(1, 1 << 18)), max_size=3),
    st.sampled_from([0, 16, 256, 4096, 1 << 24]),
    st.lists(st.floats(0.0001, 3), min_size=1, max_size=9),
)
def test_pieces_cover_places_exactly_at_any_pace(places: list[Range], page: int, times: list[float]) -> None:
    clock = iter(range(1 << 30))
    moments = {"now": 0.0}

    def now() -> float:
        moments["now"] += times[next(clock) % len(times)]
        return moments["now"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gdbflash.plan.pace.time.monotonic", now)
        pieces = list(paced(places, Pace(16384, 4096, 131072), page))
    assert sum(each.size for each in pieces) == sum(each.size for each in places)
    expected = iter(places)
    place, at = Range(0, 0), 0
    for piece in pieces:
        if at == place.end:
            place = next(expected)
            at = place.address
        assert piece.address == at
        assert 0 < piece.size <= 131072
        at = piece.end
        assert at == place.end or not 0 < page <= 4096 or at % page == 0


def test_a_piece_can_be_taken_before_the_one_before_has_taught() -> None:
    cut = Cut((Range(100, 5000), Range(9000, 10)), Pace(1024, 256, 4096), 256)
    assert cut.take() == Range(100, 924)
    assert cut.take() == Range(1024, 1024)
    cut.pace.learn(1024, 0.1)
    assert cut.take() == Range(2048, 3052)
    assert cut.take() == Range(9000, 10)
    assert cut.take() is None


@pytest.mark.parametrize(("most", "limit"), [(512, 512), (2048, 1024), (100, 100)])
def test_a_bound_holds_at_once_and_later(most: int, limit: int) -> None:
    pace = Pace(1024, 256, 4096)
    pace.bound(most)
    assert pace.limit == limit
    pace.learn(pace.limit, 0.001)
    assert pace.limit == most
    pace.learn(pace.limit, 100.0)
    assert pace.limit <= most


def test_a_piece_may_be_bounded_for_once() -> None:
    cut = Cut((Range(0, 5000),), Pace(2048, 256, 4096), 256)
    assert [cut.take(600), cut.take(), cut.take(9000)] == [Range(0, 512), Range(512, 2048), Range(2560, 2048)]
