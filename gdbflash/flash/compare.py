"""Compare memory with what it should be, and say what the difference looks like.

What belongs here: pure judgement of bytes. Memory is fed slice by slice, so that any size fits.
"""

from __future__ import annotations

from collections.abc import Callable

from gdbflash.errors import JsonValue, Mismatch

_SAMPLE = 16 * 1024
"""Bytes from the first difference on that are looked at for a pattern: four of the largest blocks that may repeat."""
_FEW = 16
"""Fewer different bytes than this show no pattern, and as many right ones in a row end what is wrong."""
_PLACED = 64
"""Wrong bytes that are looked for elsewhere in what was expected; shorter ones may be there by chance."""
Find = Callable[[bytes], "int | None"]
"""Finds the address where bytes are expected."""


class Comparison:
    """Collect the differences between expected and actual bytes."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.last = 0
        self.count = 0
        self._expected = bytearray()
        self._actual = bytearray()

    def feed(self, address: int, expected: bytes, actual: bytes) -> None:
        """Compare one slice; both have the same length."""
        if expected == actual:
            return
        different = [index for index, pair in enumerate(zip(expected, actual, strict=True)) if pair[0] != pair[1]]
        if self.first is None:
            self.first = address + different[0]
        start = self.first + len(self._actual) - address
        if 0 <= start < len(actual):  # the sample goes on here
            room = _SAMPLE - len(self._actual)
            self._expected += expected[start : start + room]
            self._actual += actual[start : start + room]
        self.last = address + different[-1]
        self.count += len(different)

    def check(self, what: str, advice: str, *, find: Find | None = None) -> None:
        """Raise Mismatch when anything differed; without find nothing was meant to be there in particular."""
        if self.first is None:
            return
        expected, actual = wrong_part(bytes(self._expected), bytes(self._actual))
        pattern, meaning = name_pattern(expected, actual, find) if find is not None else ("", "")
        data: dict[str, JsonValue] = {
            "first": self.first,
            "last": self.last,
            "count": self.count,
            "expected": self._expected[:16].hex(),
            "actual": self._actual[:16].hex(),
            "pattern": pattern,
        }
        sample = f"expected {self._expected[:8].hex(' ')}, found {self._actual[:8].hex(' ')}"
        differ = "1 byte differs" if self.count == 1 else f"{self.count} bytes differ"
        where = f"at 0x{self.first:08X}" if self.count == 1 else f"from 0x{self.first:08X} to 0x{self.last:08X}"
        raise Mismatch(
            f"{what}: {differ} {where} ({sample}{': ' + pattern if pattern else ''}). {meaning or advice}",
            **data,
        )


def wrong_part(expected: bytes, actual: bytes) -> tuple[bytes, bytes]:
    """Cut a sample, which begins with a difference, where right bytes follow."""
    right = 0
    for index, (want, got) in enumerate(zip(expected, actual, strict=True)):
        right = right + 1 if want == got else 0
        if right == _FEW:
            return expected[: index + 1 - _FEW], actual[: index + 1 - _FEW]
    return expected, actual


def name_pattern(expected: bytes, actual: bytes, find: Find = lambda _: None) -> tuple[str, str]:
    """Name what wrong bytes look like and what that usually means; two empty strings for no known pattern."""
    if len(actual) < _FEW:
        return "", ""
    if not actual.strip(b"\xff"):
        return "all FF", "Nothing was programmed there: check write protection, and that the loader's chip is yours."
    if not actual.strip(b"\x00"):
        return "all 00", "The memory is not mapped or in a wrong mode: the loader may be for another chip or board."
    if all(byte >> 4 == byte & 15 for byte in actual):
        return "repeated nibbles", "The number of data lines is wrong: check the QE bit and the loader's pins."
    if not any(want & got != got for want, got in zip(expected, actual, strict=True)):
        return "bits missing", "Bits were cleared that should be set: the sectors were not erased before, or are worn."
    for period in (256, 1024, 4096, 64, 32, 16):
        if len(actual) >= 2 * period and actual[:-period] == actual[period:]:
            return f"the same {period} bytes repeated", "Address lines or the 3- or 4-byte address mode are wrong."
    for shift in range(1, 9):
        if actual[shift:] == expected[:-shift] or actual[:-shift] == expected[shift:]:
            return f"shifted by {shift} bytes", "The number of dummy cycles does not fit the chip's mode."
    place = find(actual[:_PLACED]) if len(actual) >= _PLACED else None
    if place is not None:
        return f"the data of 0x{place:08X}", "Address lines or the 3- or 4-byte address mode are wrong."
    return "", ""
