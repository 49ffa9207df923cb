"""A chunk of a storage that one call brings into RAM, and whether what came of it can be right.

What belongs here: what such a call is, and the judgement of its results; no target is touched. A loader's Read runs
once over the chunk, which takes it ten times as long as the target takes to digest it, so nothing is read twice but
samples. What is known then:

- The link is proven: the target's digests of its RAM are those of what came.
- Read has filled the buffer: a word drawn anew was in all of it before, and none of these words is left.
- Read is the same twice at both ends of the chunk and at places between them that are drawn anew: they were read
  before, over another such word.

What Read makes wrong once, between these places, only reading all of it twice tells.
"""

from __future__ import annotations

import enum
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from gdbflash.onchip.digest import SHORT_PIECE, Key, Piece, Routine, RoutineCall, Run, digests, split_digests
from gdbflash.plan import timeouts
from gdbflash.plan.borders import units_of
from gdbflash.ranges import Range

SAMPLE = 16
"""Bytes of a sample: a page of the smallest EEPROMs, and what some Reads move at least."""
MOST_SAMPLES = 6


class Finding(enum.Enum):
    """What the results of a fetch say of the bytes that came."""

    RIGHT = "right"
    CHANGED = "changed"
    """They are not what RAM held."""
    UNFILLED = "unfilled"
    """A word of them is what the buffer held before: left by Read, or there by chance, once in 2^32 places."""
    UNSTABLE = "unstable"
    """A sample that was read before came differently."""


@dataclass(frozen=True)
class Fetch:
    """One call that reads where into RAM, and all that judges what came."""

    where: Range
    inside: Range
    """Where its bytes lie in RAM after it."""
    samples: tuple[Range, ...]
    step: int
    """Bytes that each digest is of, the last one's perhaps fewer."""
    border: int
    made: RoutineCall
    key: Key

    def judge(self, results: bytes, data: bytes) -> Finding:
        """Say what results, as the call left them, tell of data."""
        found = split_digests(results)
        count = len(self.samples)
        if self._digests(data) != found[count:]:
            return Finding.CHANGED
        if self.made.poisons[count] in data:
            return Finding.UNFILLED
        return Finding.RIGHT if self._sampled(data) == found[:count] else Finding.UNSTABLE

    def _digests(self, data: bytes) -> list[bytes]:
        lead = self.inside.address % 4
        return digests([Piece(data[at : at + self.step], lead) for at in range(0, len(data), self.step)], self.key)

    def _sampled(self, data: bytes) -> list[bytes]:
        pieces = []
        for each in self.samples:
            start = each.address - self.where.address
            pieces.append(Piece(data[start : start + each.size], each.address % 4 % self.border))
        return digests(pieces, self.key)


def plan_fetch(
    routine: Routine,
    where: Range,
    place: int,
    *,
    read: int,
    border: int = 1,
    draw: Callable[[int], int] = secrets.randbelow,
) -> Fetch:
    """Make the call that reads where by the loader's Read at address read, from border to border, into RAM from place.

    place is a multiple of 8 with room for where and two borders. draw: gives a number below the one it is given.
    """
    inside = Range(place + where.address % border, where.size)
    samples = _samples(where, draw)
    while not routine.fits(len(samples) + 2, len(samples) + 1):  # both ends always do
        samples = samples[:-1]
    step = SHORT_PIECE
    while not routine.fits(len(samples) + 2, len(samples) + -(-where.size // step)):
        step *= 2
    runs = (
        *(Run(each.address, each.size, each.size, place, border) for each in samples),
        Run(where.address, where.size, 0, place, border),
        Run(inside.address, inside.size, step),
    )
    made = routine.digests(runs, read=read, timeout=timeouts.reading(where.size))
    # What goes wrong goes wrong in Read: the routine itself takes a fraction of its time.
    (whole,) = units_of((where,), border)
    call = replace(made.call, function="Read", arguments=(whole.address, whole.size, place), passed=made.call.arguments)
    made = replace(made, call=call)
    return Fetch(where, inside, samples, step, border, made, routine.key)


def _samples(where: Range, draw: Callable[[int], int]) -> tuple[Range, ...]:
    """Choose what is read twice: both ends, and places between them; all of a chunk that is not much more."""
    if where.size <= MOST_SAMPLES * SAMPLE:
        return (where,)
    between = where.size - 3 * SAMPLE
    inner = (where.address + SAMPLE + draw(between + 1) for _ in range(MOST_SAMPLES - 2))
    starts = (where.address, where.end - SAMPLE, *inner)
    return tuple(Range(start, SAMPLE) for start in starts)
