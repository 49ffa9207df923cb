"""What is pure about calls of a loader: how long each may take."""

from __future__ import annotations

import pytest

from gdbflash.errors import PlanError
from gdbflash.onchip.loaded import raw_call
from tests.support.values import KIB, make_loader

FUNCTIONS = ("Init", "DeInit", "Write", "Read", "Verify", "CheckSum", "SectorErase", "MassErase", "Tune")
BASE = 0x90000000


@pytest.mark.parametrize(
    ("function", "arguments", "seconds"),
    [
        ("Init", (), 10),
        ("DeInit", (), 10),
        ("Write", (BASE, 2560, 0x24010000), 5.1),
        ("Read", (BASE, 128 * KIB, 0x24010000), 7),
        ("CheckSum", (BASE, 64 * KIB), 6),
        ("Verify", (BASE, 0x24010000, 16 * KIB, 0), 6),
        ("SectorErase", (BASE, BASE + 64 * KIB), 10),
        ("SectorErase", (BASE, 0xFFFFFFFF), 400),
        ("SectorErase", (5, 5), 400),
        ("SectorErase", (), 400),
        ("MassErase", (0,), 400),
        ("Tune", (), 400),
    ],
)
def test_a_raw_call_has_the_time_of_its_function(function: str, arguments: tuple[int, ...], seconds: float) -> None:
    call = raw_call(make_loader(functions=FUNCTIONS), function, arguments)
    assert (call.function, call.arguments) == (function, arguments)
    assert call.timeout == pytest.approx(seconds)


def test_many_sectors_take_longer_and_a_function_must_be_there() -> None:
    loader = make_loader(groups=((4096, 4 * KIB),), functions=("Init", "MassErase"))
    assert raw_call(loader, "MassErase", (0,)).timeout == 5 * 4096
    with pytest.raises(PlanError, match="exports no Write"):
        raw_call(loader, "Write", ())
