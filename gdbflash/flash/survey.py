"""What memory holds, told by digests that the target computes.

What belongs here: which pieces are asked for in which calls, and what their digests mean. What follows from it is
decided in `plan.delta` and done by `flasher`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from gdbflash.errors import CallFailed, TargetError
from gdbflash.images.content import Content
from gdbflash.onchip.call import SUCCESS, Returned, expect_success
from gdbflash.onchip.digest import SHORT_PIECE, Piece, RoutineCall, Run, digest, digests, split_checksum, split_digests
from gdbflash.onchip.fetch import Fetch, plan_fetch
from gdbflash.onchip.intact import changed
from gdbflash.onchip.loaded import LoadedLoader
from gdbflash.plan import timeouts
from gdbflash.plan.pace import Cut, Pace
from gdbflash.ranges import Range, slices
from gdbflash.target import Beside

PIECE = 64 * 1024
"""Bytes of one digest at most: what is read back for one byte that differs."""
HEAD = 256
"""Bytes that tell two contents apart nearly always: a page of most serial NOR chips."""
FIRST_CALL = 256 * 1024
"""Bytes that the first call digests; what it takes says how many the next ones may."""
MOST_CALL = 2 << 20
"""However fast the target: the host copies and digests as many bytes of the image to compare a call's results with."""


class Survey:
    """Asks an open loader's target for digests and checksums of what the storage holds.

    Every method that asks may raise what calls of the loader may.
    """

    def __init__(self, opened: LoadedLoader) -> None:
        self._opened = opened
        self._routine = opened.routine
        # Where there is a Read the window may not be mapped: nearly all of those loaders never map it.
        self._read = opened.loader.functions.get("Read", 0)
        self._buffer = opened.layout.buffer.address if self._read else 0
        self._border = opened.border if self._read else 1
        self._pace = Pace(FIRST_CALL, PIECE, MOST_CALL)
        self._erased: dict[tuple[int, int], bytes] = {}

    @property
    def largest_piece(self) -> int:
        """The most that one digest tells of, bytes."""
        return min(PIECE, self._opened.slice) if self._read else PIECE

    @property
    def fetches(self) -> bool:
        """Tell whether a loader's Read fetches each piece, which takes some ten times as long as its digest."""
        return bool(self._read)

    @property
    def at_once(self) -> int:
        """The bytes that one call digests, as far as is known by now."""
        return self._pace.limit

    @property
    def most_pieces(self) -> int:
        """More than this many pieces never fit in one call."""
        return self._routine.most_pieces

    @property
    def most_heads(self) -> int:
        """More than this many heads never fit in one call."""
        return self._routine.most_runs

    def head(self, piece: Range) -> Range:
        """Give the first bytes of a piece; all of it where that is not much more."""
        size = max(HEAD, self._border)
        return Range(piece.address, size) if piece.size >= 4 * size else piece

    def pieces(self, places: Iterable[Range]) -> tuple[Range, ...]:
        """Cut places into what has one digest each."""
        return tuple(slices(places, self.largest_piece, self._opened.loader.storage.page_size))

    def short_pieces(self, places: Iterable[Range]) -> tuple[Range, ...]:
        """Cut places into what is digested soonest; where Read must fetch each piece, that is as `pieces`."""
        if self._read:
            return self.pieces(places)
        return tuple(slices(places, SHORT_PIECE))

    def found(self, pieces: Sequence[Range], advance: Callable[[int], None]) -> Iterator[list[tuple[Range, bytes]]]:
        """Ask for the digests of pieces; yields those of one call at a time. advance is told of each call's bytes."""
        begun = 0
        while begun < len(pieces):
            answer = self.ask(pieces[begun : begun + self.most_pieces])
            begun += len(answer)
            advance(sum(piece.size for piece, _ in answer))
            yield answer
        if pieces:
            self.done()

    def ask(self, pieces: Sequence[Range]) -> list[tuple[Range, bytes]]:
        """Ask for the digests of as many pieces, from the first on, as one call takes; `done` must follow the last."""
        runs = self._routine.take(pieces, self._pace.limit, self._buffer, self._border)
        taken = [piece for run in runs for piece in run.pieces]
        size = sum(piece.size for piece in taken)
        made = self._routine.digests(runs, read=self._read, timeout=timeouts.reading(size))
        return list(zip(taken, split_digests(self._paced(made, size)), strict=True))

    def done(self) -> None:
        """See that the code of the loader is what it was, behind the last call."""
        self._opened.check_own_code("Read" if self._read else "Init")

    def expected(self, pieces: Sequence[Range], content: Content) -> list[bytes]:
        """Compute the digests that pieces have when they hold what content has there."""
        return digests([Piece(content.read(each), self._lead(each)) for each in pieces], self._routine.key)

    def erased(self, piece: Range) -> bytes:
        """Give the digest that a piece has when it is erased."""
        shape = piece.size, self._lead(piece)
        if shape not in self._erased:
            data = bytes([self._opened.loader.storage.erased_value]) * piece.size
            self._erased[shape] = digest(data, self._routine.key, self._lead(piece))
        return self._erased[shape]

    def checksum(self, where: Range, advance: Callable[[int], None]) -> tuple[int, int]:
        """Ask for CRC-32 (zlib's) and byte sum modulo 2^32."""
        crc32 = byte_sum = 0
        cut = Cut((where,), self._pace, 1)
        while (piece := cut.take()) is not None:
            step = min(piece.size, self._opened.slice) if self._read else piece.size
            run = Run(piece.address, piece.size, step, self._buffer, self._border)
            timeout = timeouts.reading(piece.size)
            made = self._routine.checksum([run], crc32, byte_sum, read=self._read, timeout=timeout)
            crc32, byte_sum = split_checksum(self._confirmed(made, self._paced(made, piece.size)))
            advance(piece.size)
        self._opened.check_own_code("Read" if self._read else "Init")
        return crc32, byte_sum

    def _confirmed(self, made: RoutineCall, results: bytes) -> bytes:
        """Read results once more that nothing else proves: no image is compared with them."""
        where = made.results
        if self._opened.target.read_memory(where.address, where.size) != results:
            raise TargetError(
                f"The results of {made.call.function} at {where} were read twice and came differently. Check the "
                "probe's cable and lower its speed.",
                address=where.address,
                size=where.size,
            )
        return results

    def _lead(self, piece: Range) -> int:
        return piece.address % 4 % self._border if self._read else piece.address % 4

    def plan_fetch(self, where: Range, place: int) -> Fetch:
        """Make the call that reads where into RAM from place on, by the loader's Read."""
        return plan_fetch(self._routine, where, place, read=self._read, border=self._border)

    def _paced(self, made: RoutineCall, size: int) -> bytes:
        """Make one call over size bytes and take its results; raises CallFailed."""
        returned, results = self.perform(made)
        self._pace.learn(size, returned.seconds)
        return results

    def perform(self, made: RoutineCall, beside: Beside | None = None) -> tuple[Returned, bytes]:
        """Make one call and take its results; raises CallFailed. beside: what is moved while it runs."""
        place, tables = made.inputs
        whole = Range(place, made.results.end - place)
        returned, found = self._opened.call_for_results(made.call, tables, place, whole, beside)
        runs = tables[: made.results.address - place]
        results = found[len(runs) :]
        if found[: len(runs)] != runs:
            function = "Read" if self._read else made.call.function
            raise changed(self._opened.target, function, place, runs, found)
        if returned.r0 != SUCCESS or returned.r1 != made.complete:
            self._opened.check_own_code("Read" if self._read else made.call.function)
            if made.call.function == "Read":
                expect_success(made.call, returned)
            raise _failed(made, returned)
        return returned, results


def _failed(made: RoutineCall, returned: Returned) -> CallFailed:
    function = "Read" if returned.r0 != SUCCESS else made.call.function
    return CallFailed(
        f"Read returned {returned.r0} instead of 1 while {made.call.function} was computed on the target. "
        "Check that the loader is made for this board's pins and chip."
        if function == "Read"
        else f"{made.call.function} ended at 0x{returned.r1:08X} instead of 0x{made.complete:08X}: the code in RAM was "
        "overwritten. Use --full --verify readback, and suspect the loader.",
        function=function,
        arguments=list(made.call.arguments),
        result=returned.r0,
    )
