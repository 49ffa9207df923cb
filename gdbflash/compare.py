"""Compare memory with what it should be, and say what the difference looks like.

What belongs here: pure judgement of bytes. Memory is fed slice by slice, so that any size fits.
"""

from __future__ import annotations

from .errors import JsonValue, Mismatch

_SAMPLE = 4096
"""Bytes of the first difference that are looked at for a pattern."""
_FEW = 16
"""Fewer different bytes than this show no pattern."""


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
            start = different[0]
            self._expected += expected[start : start + _SAMPLE]
            self._actual += actual[start : start + _SAMPLE]
        self.last = address + different[-1]
        self.count += len(different)

    def check(self, what: str, advice: str, *, patterns: bool = True) -> None:
        """Raise Mismatch when anything differed; without patterns where nothing was meant to be in particular."""
        if self.first is None:
            return
        pattern, meaning = name_pattern(bytes(self._expected), bytes(self._actual)) if patterns else ("", "")
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


def name_pattern(expected: bytes, actual: bytes) -> tuple[str, str]:
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
    return "", ""
