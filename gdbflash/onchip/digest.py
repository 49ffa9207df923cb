"""Digests of many pieces of memory, computed on the target in one call, and their host twin.

What belongs here: what a digest is, the machine code that makes it (`routines/digest.S`, 2.4 instructions a byte in
Armv6-M code), what a call of it needs in RAM, and the same computation on the host. Nothing here touches a target.

A digest is 96 bits over the little-endian words of a piece, its first and last one filled up with zeros:

    for each word w:  a = ror(a + w * P, 19) * Q;  b = ror(b + a, 19) * Q;  c = c + b    (modulo 2^32)

with c beginning as the size in bytes, and a, b, P, Q drawn anew for each run (P and Q odd). It decides whether a sector
is left as it is, so two different contents must not agree:

- Each step maps (a, b, c) one to one, and different words to different states: a difference never dies out by itself,
  only a later difference can take it back. Differences in up to three neighbouring words (any stretch of 9 bytes, any
  12 aligned ones) are never missed: the first leaves a and b different; to make both equal again takes two more words,
  and c, the sum of all b, differs by the first b still.
- Wider differences must meet 96 bits of state. Two lanes of 32 bits that see every other word would meet only 32 where
  all differences lie in one; here every word enters all lanes. Sums and CRCs are linear: the same change agrees on all
  contents, and such changes occur (moved tables, +1 -2 +1). Multiplication alone never brings high bits down: flips of
  bit 31 cancel in pairs. Hence rotation and multiplication in turn, as the fast non-cryptographic hashes have it.
- P and Q make w * P unforeseeable: which differences cancel depends on the run, so no pair of images agrees each time.
  Scaled down to lanes of 8 bits, where chance is 2^-24, all 5,832 differences of one flipped bit in each of up to four
  neighbouring words agree at a mean of 2^-21 over all keys; without c that is 2^-16, and no better than chance there.
  The worst of them (bits 1, 1, 7, 7) agrees at 2^-9, and at half of that for each bit that lanes are longer (measured
  up to 14): at 32 bits 2^-33 for that one pattern, and far less for what images really differ by.

It is not cryptographic: whoever can choose contents knowing the key of a run can make two that agree.

The costs: three multiplications a word, which are of one cycle on all STM32 (a Cortex-M0 may be built with 32-cycle
ones). CRC-32 and byte sum take 16 instructions a byte. Where a Read fetches the pieces, each buffer is overwritten
before, for 0.6 more: a Read that does nothing and says 1 proves nothing.
"""

from __future__ import annotations

import secrets
import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gdbflash.onchip.call import Call
from gdbflash.onchip.routine_code import CHECKED_CALL, CHECKSUM, DIGEST_CODE, DIGESTS
from gdbflash.ranges import Range

RESULT_SIZE = 12
"""Bytes of a digest: a, b, c."""
_RUN = struct.Struct("<6I")
_STATE = struct.Struct("<2I")
_CHECK = struct.Struct("<5I")
_HELD = struct.Struct("<I")
_KEY = struct.Struct("<4I")
_ALL = 0xFFFFFFFF
_DOWN, _UP = 19, 13
"""ror(x, 19): the highest bit, which multiplication moves nowhere, comes to bit 12 and reaches the upper 20."""
SHORT_PIECE = 8192
"""Bytes of one digest where nothing but speed counts: the host digests many short pieces faster than few long ones."""
_BATCH = 4 << 20
"""Bytes that the host digests at once; more costs memory and gains no time."""

IMAGE_SIZE = len(DIGEST_CODE) + _KEY.size
"""Bytes of RAM that code and key take."""
LEAST_ROOM = IMAGE_SIZE + 2 * _RUN.size + 16 * RESULT_SIZE
"""The least RAM for the routine: 16 sectors a call."""


@dataclass(frozen=True)
class Key:
    """What makes the digests of one run its own: two seeds, two odd factors."""

    a: int
    b: int
    p: int
    q: int

    @classmethod
    def random(cls) -> Key:
        """Draw a key; the factors have 8 to 24 bits set, so that each product spreads what it multiplies."""
        return cls(secrets.randbits(32), secrets.randbits(32), _factor(), _factor())

    def __bytes__(self) -> bytes:
        return _KEY.pack(self.a, self.b, self.p, self.q)


def _drawn() -> int:
    return secrets.randbits(32)


def _factor() -> int:
    while True:
        drawn = secrets.randbits(32) | 1
        if 8 <= drawn.bit_count() <= 24:
            return drawn


@dataclass(frozen=True)
class Piece:
    """Bytes to digest; lead is how many bytes behind a word border they begin on the target, 0 to 3."""

    data: bytes | bytearray | memoryview
    lead: int = 0


def digest(data: bytes | bytearray | memoryview, key: Key, lead: int = 0) -> bytes:
    """Compute the digest of one piece, as the routine stores it."""
    return digests((Piece(data, lead),), key)[0]


def digests(pieces: Sequence[Piece], key: Key) -> list[bytes]:
    """Compute the digests of pieces, those of one size side by side: 16 MiB of sectors take about half a second."""
    alike: dict[tuple[int, int], list[int]] = {}
    for index, piece in enumerate(pieces):
        alike.setdefault((len(piece.data), piece.lead), []).append(index)
    results = [b""] * len(pieces)
    for (size, lead), places in alike.items():
        before, after = bytes(lead), bytes(-(lead + size) % 4)
        at_once = max(1, _BATCH // (size + 6))
        for start in range(0, len(places), at_once):
            batch = places[start : start + at_once]
            padded = b"".join(part for index in batch for part in (before, pieces[index].data, after))
            for index, result in zip(batch, _side_by_side(padded, len(batch), size, key), strict=True):
                results[index] = result
    return results


def _side_by_side(padded: bytes, lanes: int, size: int, key: Key) -> list[bytes]:
    """Digest pieces of the same number of words that follow one another.

    Python's own integers are the vector unit: each lane is a slot of 64 bits in one large integer, so that a product
    of 32 bits by 32 bits, plus 32 bits, stays in its slot. A row is the same word of every piece.
    """
    words = array("I")
    words.frombytes(padded)
    rows = len(words) // lanes
    half = (lanes + 1) // 2
    low = int.from_bytes((b"\xff" * 4 + bytes(4)) * half, "little")
    upper = 64 * half
    mask = low | low << upper
    ones = mask // _ALL
    a, b, c = key.a * ones, key.b * ones, size * ones
    p, q = key.p, key.q
    for number in range(rows):
        packed = int.from_bytes(words[number::rows], "little")
        row = packed & low | (packed >> 32 & low) << upper  # the even pieces, then the odd ones
        a = a + row * p & mask
        a = ((a >> _DOWN | a << _UP) & mask) * q & mask
        b = b + a & mask
        b = ((b >> _DOWN | b << _UP) & mask) * q & mask
        c += b  # 2^32 rows would fit in the slot
    columns = [struct.unpack(f"<{2 * half}Q", (each & mask).to_bytes(16 * half, "little")) for each in (a, b, c)]
    order = [number // 2 + half * (number % 2) for number in range(lanes)]
    return [struct.pack("<3I", *(column[slot] for column in columns)) for slot in order]


@dataclass(frozen=True)
class Run:
    """size bytes from address on, in pieces of step bytes, the last one perhaps shorter.

    Where pieces must be fetched by a loader's Read, buffer is the RAM that each is read into, from the multiple of
    border below it to the one behind it. With step 0 all is fetched at once and not digested.
    """

    address: int
    size: int
    step: int
    buffer: int = 0
    border: int = 1

    @property
    def pieces(self) -> tuple[Range, ...]:
        """Where the pieces lie that are digested."""
        if not self.step:
            return ()
        ends = (*range(self.address + self.step, self.address + self.size, self.step), self.address + self.size)
        starts = range(self.address, self.address + self.size, self.step)
        return tuple(Range(start, end - start) for start, end in zip(starts, ends, strict=True))


@dataclass(frozen=True)
class RoutineCall:
    """One call: what must lie at which address before it, what to call, and where it leaves its results."""

    inputs: tuple[int, bytes]
    call: Call
    results: Range
    complete: int
    """What r1 is after a call that did everything."""
    poisons: tuple[bytes, ...] = ()
    """The word that the buffer held for each run, before Read filled it."""


@dataclass(frozen=True)
class CheckedCall:
    """A call of a loader's function that the routine makes only where memory holds what it should."""

    inputs: tuple[int, bytes]
    call: Call
    """Returns what the function does, 0 where it was not called."""
    outcome: Range

    @staticmethod
    def held(raw: bytes) -> bool:
        """Tell by what lies at `outcome` after a call that returned 0 whether the function was called."""
        return raw != bytes(_HELD.size)


class Routine:
    """The digest routine in a stretch of the target's RAM: code and key, behind them the tables of the call at hand."""

    def __init__(self, area: Range, key: Key, poison: Callable[[], int] = _drawn) -> None:
        """Take area, which begins at a multiple of 4 and is LEAST_ROOM or larger.

        poison: gives the word that a buffer holds before Read fills it. It is never the same one: a Read that moves
        too little must leave other bytes than it left the last time.
        """
        if area.address % 4 or area.size < LEAST_ROOM:
            raise ValueError(f"{area} is no place for the digest routine")
        self.area = area
        self.key = key
        self._poison = poison
        self.image = DIGEST_CODE + bytes(key)
        """What must lie at the beginning of area."""
        self._tables = Range(area.address + len(self.image), (area.size - len(self.image)) // 4 * 4)

    def fits(self, runs: int, pieces: int) -> bool:
        """Tell whether so many runs with so many pieces in all fit in one call."""
        return (runs + 1) * _RUN.size + pieces * RESULT_SIZE <= self._tables.size

    @property
    def most_pieces(self) -> int:
        """More than this many pieces never fit in one call."""
        return self._tables.size // RESULT_SIZE

    @property
    def most_runs(self) -> int:
        """More than this many pieces that do not follow one another never fit in one call."""
        return self._tables.size // (_RUN.size + RESULT_SIZE)

    def take(self, pieces: Sequence[Range], limit: int, buffer: int = 0, border: int = 1) -> tuple[Run, ...]:
        """Make runs of as many pieces from the first on as one call's tables and limit bytes allow; at least one.

        Pieces are not empty. With buffer they are to be read into it, from border to border.
        """
        runs: list[Run] = []
        room = self._tables.size - _RUN.size
        total = 0
        for piece in pieces:
            total += piece.size
            last = runs[-1] if runs else None
            follows = last is not None and _follows(last, piece)
            room -= RESULT_SIZE if follows else RESULT_SIZE + _RUN.size
            if room < 0 or (runs and total > limit):
                break
            if follows and last is not None:
                runs[-1] = Run(last.address, last.size + piece.size, last.step, buffer, border)
            else:
                runs.append(Run(piece.address, piece.size, piece.size, buffer, border))
        return tuple(runs)

    def digests(self, runs: Sequence[Run], *, read: int = 0, timeout: float) -> RoutineCall:
        """Make the call that digests runs; read is the address of the loader's Read where it fetches the pieces."""
        size = RESULT_SIZE * sum(len(run.pieces) for run in runs)
        return self._call("digests", DIGESTS, runs, b"", size, read, timeout)

    def checksum(self, runs: Sequence[Run], crc32: int, byte_sum: int, *, read: int = 0, timeout: float) -> RoutineCall:
        """Make the call that goes on with CRC-32 and byte sum over runs."""
        # It stands at one state all the time: r1 is where that lies.
        return self._call("checksum", CHECKSUM, runs, _STATE.pack(crc32, byte_sum), 0, read, timeout)

    def checked(self, call: Call, place: int, data: bytes) -> CheckedCall:
        """Make a call with up to three arguments that is made only if place, a multiple of 4, holds data."""
        check = self._tables.address
        runs = check + _CHECK.size
        expected = runs + 2 * _RUN.size
        most = (self._tables.end - expected) // (2 * RESULT_SIZE)
        step = max(SHORT_PIECE, (-(-len(data) // most) + 3) // 4 * 4)
        pieces = [Piece(data[start : start + step]) for start in range(0, len(data), step)]
        wanted = b"".join(digests(pieces, self.key))
        table = (
            _CHECK.pack(call.address | 1, runs, expected + len(wanted), expected, 0)
            + _RUN.pack(place, len(data), step, 0, 0, 0)
            + bytes(_RUN.size)
            + wanted
        )
        made = Call(call.function, self.area.address + CHECKED_CALL, call.arguments, call.timeout)
        return CheckedCall((check, table), made, Range(runs - _HELD.size, _HELD.size))

    def _call(
        self, name: str, offset: int, runs: Sequence[Run], state: bytes, growth: int, read: int, timeout: float
    ) -> RoutineCall:
        poisons = [self._poison() for _ in runs]
        entries = (
            _RUN.pack(run.address, run.size, run.step, run.buffer, poison, run.border - 1)
            for run, poison in zip(runs, poisons, strict=True)
        )
        table = b"".join(entries) + bytes(_RUN.size)
        start = self._tables.address
        results = Range(start + len(table), len(state) + growth)
        if results.end > self._tables.end:
            raise ValueError(f"{results.size} bytes of results do not fit behind {len(table)} of runs")
        arguments = (start, results.address, read and read | 1)
        call = Call(name, self.area.address + offset, arguments, timeout)
        words = tuple(poison.to_bytes(4, "little") for poison in poisons)
        return RoutineCall((start, table + state), call, results, results.address + growth, words)


def _follows(run: Run, piece: Range) -> bool:
    """Tell whether a piece can be the next one of a run: the last may be shorter, none longer, none after it."""
    return run.address + run.size == piece.address and run.size % run.step == 0 and piece.size <= run.step


def split_digests(raw: bytes) -> list[bytes]:
    """Cut results into digests."""
    return [raw[start : start + RESULT_SIZE] for start in range(0, len(raw), RESULT_SIZE)]


def split_checksum(raw: bytes) -> tuple[int, int]:
    """Take CRC-32 and byte sum from results."""
    crc32, byte_sum = _STATE.unpack(raw)
    return crc32, byte_sum
