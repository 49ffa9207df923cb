"""Program content: how much one call writes, and when its bytes get into RAM.

What belongs here: the program phase. Where the target's memory can be written while it runs, and link and flash are
about as fast, the next chunk is sent into one half of the buffer while Write programs the other. A half is never
touched while Write may read it, and of what was sent beside a run the target compares digests before it calls Write.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from gdbflash.errors import CallFailed, TargetError
from gdbflash.events import Noted
from gdbflash.flash.phases import Phases
from gdbflash.images.content import Content
from gdbflash.onchip.call import Returned
from gdbflash.onchip.loaded import LoadedLoader, Operation
from gdbflash.plan.borders import call_border
from gdbflash.plan.pace import Cut, Pace, pays
from gdbflash.ranges import Range, slices
from gdbflash.target import WriteBeside

FIRST_CALL = 16 * 1024
"""Bytes that the first call programs: not much more than a second even for an EEPROM of 64-byte pages."""
LAST_CALLS = 64 * 1024
"""Bytes at the end that are not divided further, where chunks are sent beside one another's programming."""
LEAST_CALL = 4096
"""However slow the chip, no call programs less: 16 pages of the usual size."""


class Programming:
    """Programs content into the storage of one open loader."""

    def __init__(self, opened: LoadedLoader, phases: Phases) -> None:
        self._opened = opened
        self._phases = phases
        self._border = call_border(opened.loader.storage, opened.chunk)

    def program(self, content: Content) -> None:
        """Program all of content as one phase; raises what calls of a loader may, and Interrupted."""
        if not content.pieces:
            return
        with self._phases.phase("program", content.size) as advance:
            self._opened.begin(Operation.WRITE)
            least = min(LEAST_CALL, self._opened.chunk)
            cut = Cut(content.ranges, Pace(FIRST_CALL, least, self._opened.chunk), self._border)
            done = self._one_by_one(cut, content, advance)
            if done < content.size:
                self._overlapped(cut, content, advance, done)

    def _one_by_one(self, cut: Cut, content: Content, advance: Callable[[int], None]) -> int:
        """Send and program in turn until all is done or overlapping both would pay; returns the bytes done."""
        done = 0
        while (where := cut.take()) is not None:
            begun = time.monotonic()
            returned = self._write(where, content.read(where))
            whole = time.monotonic() - begun
            cut.pace.learn(where.size, whole)
            advance(where.size)
            done += where.size
            possible = returned is not None and self._opened.target.capabilities.moves_beside
            possible = possible and self._opened.layout.halves[0].size >= LEAST_CALL
            if possible and returned is not None and pays(self._opened.filling, returned.seconds, whole):
                break
        return done

    def _overlapped(self, cut: Cut, content: Content, advance: Callable[[int], None], done: int) -> None:
        """Send each chunk while the one before is programmed."""
        halves = self._opened.layout.halves
        cut.pace.bound(halves[0].size)
        here, other = halves
        where, sent, left = cut.take(), False, content.size - done
        while where is not None:
            begun = time.monotonic()
            left -= where.size
            # Small last ones, for nothing is sent beside the last.
            following = cut.take(left // 2 if left > LAST_CALLS else None)
            beside: WriteBeside | None = None
            if following is not None and self._opened.target.capabilities.moves_beside:
                beside = WriteBeside(other.address, content.read(following))
            self._program(where, content.read(where), here, beside, sent=sent)
            sent = beside is not None
            # The time is that of the larger one: sent, or programmed.
            cut.pace.learn(max(where.size, following.size if following else 0), time.monotonic() - begun)
            advance(where.size)
            where, here, other = following, other, here

    def _program(self, where: Range, data: bytes, buffer: Range, beside: WriteBeside | None, *, sent: bool) -> None:
        """Program data, which may have been sent into the buffer beside the run before."""
        if sent:
            if self._opened.write_if_held(where.address, data, buffer.address, beside):
                return
            beside = None
            self._phases.observe(
                Noted("sent-again", "What was sent to RAM while Write ran did not arrive there: it is sent again.")
            )
        self._write(where, data, buffer.address, beside)

    def _write(
        self, where: Range, data: bytes, place: int | None = None, beside: WriteBeside | None = None
    ) -> Returned | None:
        """Program data; raises CallFailed, which says whether the data is there all the same."""
        try:
            return self._opened.write(where.address, data, place=place, beside=beside)
        except CallFailed as error:
            there = self._is_there(where, data)
            if there is None:
                raise
            how = "are there all the same" if there else "are not there"
            raise error.reworded(f"{error.message} The bytes {how}.", there=there) from error

    def _is_there(self, where: Range, data: bytes) -> bool | None:
        """Look whether data is there; None where that cannot be seen."""
        try:
            self._opened.begin(Operation.VERIFY)
            found = b"".join(self._opened.read(piece) for piece in slices((where,), self._opened.slice))
        except TargetError:
            return None
        return found == data
