"""See that what no call changes in RAM is what it was.

What belongs here: which bytes tell, and what is said where one of them changed. A loader may write where it declares
nothing. And the server may run code of its own where a loader lies: OpenOCD computes CRCs and programs its own flash
banks by code that it puts at the start of the target's work area, without keeping what was there; another of its
clients, or an IDE, may ask for that between two of our calls.
"""

from __future__ import annotations

from collections.abc import Iterable

from gdbflash.errors import StrayWrite, TargetError
from gdbflash.onchip.digest import Routine
from gdbflash.onchip.layout import Layout
from gdbflash.onchip.routine_code import ENTRY_CODE
from gdbflash.ranges import Range, joined
from gdbflash.target import Target

LEAST, MOST = 8, 32
"""Bytes that are looked at: one short packet, and enough that no two programs hold the same there."""


class OwnCode:
    """The entry of calls, the digest routine and its key, as they were put into RAM."""

    def __init__(self, layout: Layout, routine: Routine) -> None:
        self._pieces = ((layout.entry.address, ENTRY_CODE), (layout.routine.address, routine.image))
        self._whole = Range(layout.entry.address, layout.routine.address + len(routine.image) - layout.entry.address)

    @property
    def ranges(self) -> tuple[Range, ...]:
        """Where it lies."""
        return tuple(Range(address, len(code)) for address, code in self._pieces)

    def check(self, target: Target, function: str) -> None:
        """Raise StrayWrite where it is not what it was; function: what was called last."""
        found = target.read_memory(self._whole.address, self._whole.size)
        for address, code in self._pieces:
            actual = found[address - self._whole.address :][: len(code)]
            if actual != code:
                raise changed(target, function, address, code, actual)


def changed(target: Target, function: str, address: int, expected: bytes, actual: bytes) -> TargetError:
    """Say why bytes of ours at address are not what they were, after one more look; actual: what was found first."""
    if target.read_memory(address, len(expected)) != actual[: len(expected)]:
        return TargetError(
            f"0x{address:08X} was read twice and came differently. Check the probe's cable and lower its speed.",
            address=address,
            size=len(expected),
        )
    offset = next(index for index, byte in enumerate(expected) if actual[index] != byte)
    place = address + offset
    return StrayWrite(
        f"{function} wrote into RAM that the loader does not declare: 0x{place:08X} held "
        f"{expected[offset : offset + 4].hex(' ')} and now {actual[offset : offset + 4].hex(' ')}. Our own code lies "
        "there, so nothing that it says can be believed: name RAM that the loader leaves alone with --ram START:SIZE.",
        function=function,
        address=place,
        expected=expected[offset : offset + 4].hex(),
        actual=actual[offset : offset + 4].hex(),
    )


def watched(area: range | None, constant: Iterable[Range]) -> Range | None:
    """Choose the bytes that code in the work area overwrites first, out of those that no call changes.

    None where the area holds none of them: the server leaves the loader alone then.
    """
    if area is None:
        return None
    for each in joined(constant):
        start, end = max(each.address, area.start), min(each.end, area.stop)
        if end - start >= LEAST:
            return Range(start, min(end - start, MOST))
    return None
