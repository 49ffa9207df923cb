"""See that our own code in RAM is what it was: a loader may write where it declares nothing.

What belongs here: which bytes no call changes, and what is said where one did.
"""

from __future__ import annotations

from gdbflash.errors import StrayWrite, TargetError
from gdbflash.onchip.digest import Routine
from gdbflash.onchip.layout import Layout
from gdbflash.onchip.routine_code import ENTRY_CODE
from gdbflash.ranges import Range
from gdbflash.target import Target


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
