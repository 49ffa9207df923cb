"""Reading through a loader's Read in one pass: chunk by chunk, each proven before it is given.

What belongs here: how much one call reads, and when its bytes travel. Where the target's memory can be read while it
runs, and link and Read are about as fast, a chunk travels from one half of the buffer while Read fills the other. What
proves a chunk is in `onchip.fetch`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from gdbflash.errors import Mismatch
from gdbflash.events import Noted
from gdbflash.flash.phases import Phases
from gdbflash.flash.survey import Survey
from gdbflash.images.content import Content
from gdbflash.onchip.call import Returned
from gdbflash.onchip.fetch import Fetch, Finding
from gdbflash.onchip.loaded import LoadedLoader, Operation
from gdbflash.plan.pace import Cut, Pace, pays
from gdbflash.ranges import Range
from gdbflash.target import ReadBeside

FIRST_CHUNK = 32 * 1024
"""Bytes that are read first: what they take says how many the next ones may be."""
LEAST_CHUNK = 16 * 1024
LARGEST_HALF = 64 * 1024
"""Bytes of a chunk at most where chunks travel beside one another: of the first and the last nothing is hidden."""
_ATTEMPTS = 3
"""How often a chunk is read that somebody overwrites in RAM."""


class Reading:
    """Reads from the storage of one open loader that has a Read."""

    def __init__(self, opened: LoadedLoader, phases: Phases) -> None:
        self._opened = opened
        self._phases = phases
        self._survey = Survey(opened)
        self._doubted: dict[Range, bytes] = {}
        """Digests of pieces that have a word in them which the buffer held before."""

    def read(self, places: Sequence[Range]) -> Iterator[tuple[Range, bytes]]:
        """Read places as one phase.

        Raises Mismatch for what came wrong, after which nothing that was given is to be used; what calls of a loader
        may, and Interrupted.
        """
        left = sum(each.size for each in places)
        whole = self._opened.slice
        pace = Pace(FIRST_CHUNK, min(LEAST_CHUNK, whole), whole)
        cut = Cut(places, pace, self._opened.loader.storage.page_size)
        with self._phases.phase("read", left) as advance:
            self._opened.begin(Operation.READ)
            for way in (self._one_by_one, self._overlapped):
                for where, data in way(cut) if left else ():
                    advance(where.size)
                    left -= where.size
                    yield where, data
            self._survey.done()

    def _one_by_one(self, cut: Cut) -> Iterator[tuple[Range, bytes]]:
        """Read chunk by chunk until all is read or overlapping Read with the link would pay."""
        while (where := cut.take()) is not None:
            begun = time.monotonic()
            returned, carrying, data = self._chunk(where)
            took = time.monotonic() - begun
            cut.pace.learn(where.size, took)
            self._settle()
            yield where, data
            if self._overlaps and pays(carrying, returned.seconds, took):
                return

    @property
    def _overlaps(self) -> bool:
        return self._opened.target.capabilities.moves_beside and self._opened.layout.halves[0].size >= LEAST_CHUNK

    def _chunk(self, where: Range) -> tuple[Returned, float, bytes]:
        """Read one chunk alone; gives also the seconds that the link took for it."""
        for _ in range(_ATTEMPTS):
            fetch = self._survey.plan_fetch(where, self._opened.layout.buffer.address)
            returned, results = self._survey.perform(fetch.made)
            begun = time.monotonic()
            data = self._carry(fetch)
            carrying = time.monotonic() - begun
            finding = fetch.judge(results, data)
            if finding is not Finding.CHANGED or not self._opened.was_overwritten():
                self._expect(finding, fetch, data)
                return returned, carrying, data
        raise _changed(where)

    def _overlapped(self, cut: Cut) -> Iterator[tuple[Range, bytes]]:
        """Have each chunk travel while the next one is read."""
        here, other = self._opened.layout.halves
        cut.pace.bound(min(here.size - 2 * self._opened.border, LARGEST_HALF))
        before: tuple[Fetch, bytes] | None = None
        while (where := cut.take()) is not None or before is not None:
            fetched: tuple[Fetch, bytes] | None = None
            came: bytes | None = None
            if where is not None:
                beside = None
                if before is not None and self._opened.target.capabilities.moves_beside:
                    beside = ReadBeside(before[0].inside.address, before[0].inside.size)
                fetch = self._survey.plan_fetch(where, here.address)
                returned, results = self._survey.perform(fetch.made, beside)
                fetched, came = (fetch, results), returned.came
            if before is not None:
                yield before[0].where, self._proven(*before, came)
            before, here, other = fetched, other, here
        self._settle()

    def _proven(self, fetch: Fetch, results: bytes, came: bytes | None) -> bytes:
        """Give the bytes of a chunk that lies in RAM still, and may have come beside a run."""
        if came is not None:
            finding = fetch.judge(results, came)
            if finding is not Finding.CHANGED:
                self._expect(finding, fetch, came)
                return came
            self._phases.observe(
                Noted("read-again", f"{fetch.where} did not come right while Read ran: it is taken from RAM again.")
            )
        data = self._carry(fetch)
        finding = fetch.judge(results, data)
        if finding is Finding.CHANGED and self._opened.was_overwritten():
            _, _, data = self._chunk(fetch.where)
            return data
        self._expect(finding, fetch, data)
        return data

    def _carry(self, fetch: Fetch) -> bytes:
        return self._opened.target.read_memory(fetch.inside.address, fetch.inside.size)

    def _expect(self, finding: Finding, fetch: Fetch, data: bytes) -> None:
        """Raise Mismatch for what is not right."""
        if finding is Finding.CHANGED:
            raise _changed(fetch.where)
        if finding is Finding.UNSTABLE:
            raise _unstable(fetch.where)
        if finding is Finding.UNFILLED:
            pieces = self._survey.pieces((fetch.where,))
            content = Content.at(fetch.where.address, data)
            self._doubted.update(zip(pieces, self._survey.expected(pieces, content), strict=True))

    def _settle(self) -> None:
        """Read again what is in doubt, over another word; raises Mismatch where it comes differently."""
        for group in self._survey.found(list(self._doubted), lambda _: None):
            for piece, digest in group:
                if digest != self._doubted[piece]:
                    raise _unstable(piece)
        self._doubted.clear()


def _unstable(where: Range) -> Mismatch:
    return _mismatch(
        where,
        f"{where} was read twice and came differently, though Read returned 1 each time. Check the memory's clock and "
        "wiring, and that no other core uses it.",
    )


def _changed(where: Range) -> Mismatch:
    return _mismatch(
        where,
        f"What came of {where} is not what the target's RAM held: bytes change on the way. Lower the probe's speed, "
        "and check its cable.",
    )


def _mismatch(where: Range, said: str) -> Mismatch:
    return Mismatch(said, first=where.address, last=where.end - 1)
