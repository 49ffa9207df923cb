"""RAM is what holds what is written to it, and is not seen a second time."""

from __future__ import annotations

from typing import Any, cast

import pytest

from gdbflash.errors import MemoryAccessError
from gdbflash.onchip.prove_ram import SIZES, grown, is_memory
from gdbflash.ranges import Range
from gdbflash.target import Target

START = 0x20000000
KIB = 1024


class Ram:
    """RAM of some size, seen again behind itself up to the end of its window; elsewhere nothing answers."""

    def __init__(self, size: int, window: int = 0, *, stuck: bool = False) -> None:
        self.data = bytearray(size)
        self.window = window or size
        self.stuck = stuck

    def _place(self, address: int) -> int:
        offset = address - START
        if not 0 <= offset < self.window:
            raise MemoryAccessError("nothing answers", address=address)
        return offset % len(self.data)

    def read_memory(self, address: int, size: int) -> bytes:
        place = self._place(address)
        return bytes(self.data[place : place + size])

    def write_memory(self, address: int, data: bytes) -> None:
        place = self._place(address)
        if not self.stuck:
            self.data[place : place + len(data)] = data


def target(ram: Ram) -> Target:
    return cast(Target, cast(Any, ram))


@pytest.mark.parametrize("size", SIZES)
def test_as_much_as_there_is(size: int) -> None:
    assert grown(target(Ram(size)), START) == size


@pytest.mark.parametrize("size", [8 * KIB, 16 * KIB, 32 * KIB, 64 * KIB])
@pytest.mark.parametrize("times", [2, 8])
def test_what_is_seen_again_is_none(size: int, times: int) -> None:
    assert grown(target(Ram(size, size * times)), START) == size


def test_odd_sizes_are_not_exceeded() -> None:
    assert grown(target(Ram(18 * KIB)), START) == 16 * KIB
    assert grown(target(Ram(8 * KIB, stuck=True)), START) == 0
    assert grown(target(Ram(8 * KIB)), START + 16 * KIB) == 0


def test_what_is_overwritten_is_saved_first() -> None:
    ram, saved = Ram(4 * KIB), {}
    ram.data[:] = bytes(range(256)) * 16

    def save(places: Any) -> None:
        for place in places:
            saved[place] = ram.read_memory(place.address, place.size)

    assert grown(target(ram), START, save) == 4 * KIB
    assert saved == {Range(START + 2044, 4): b"\xfc\xfd\xfe\xff", Range(START + 4092, 4): b"\xfc\xfd\xfe\xff"}
    assert is_memory(target(ram), START)
    assert not is_memory(target(ram), START + 4 * KIB, save)
