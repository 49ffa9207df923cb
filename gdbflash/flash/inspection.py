"""Look at what a storage holds: read it, compare it, sum it up.

What belongs here: everything that asks an open loader and changes nothing. Digests tell what differs, and only that is
read back to name the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from gdbflash.errors import Mismatch
from gdbflash.events import Noted, Phase, counted
from gdbflash.flash.compare import Comparison
from gdbflash.flash.phases import Phases
from gdbflash.flash.states import find_states
from gdbflash.flash.survey import Survey
from gdbflash.images.content import Content
from gdbflash.onchip.loaded import LoadedLoader, Operation
from gdbflash.options import VerifyMode
from gdbflash.plan.delta import State, Unit
from gdbflash.plan.pace import Pace, paced
from gdbflash.ranges import Range, joined, slices, without

FIRST_SLICE = 256 * 1024
"""Bytes that are read first: what they take says how many the next ones may be."""
LEAST_SLICE = 16 * 1024
_WRITTEN_WRONG = "Erase and write again; if it stays, suspect the chip or its wiring."
HELD = 16 << 20
"""Bytes that were read and are kept until the end, when there is time to digest them: larger than most memories."""


class Inspection:
    """Looks at the storage of one open loader, for one job: a place has the same bytes in every content it is given.

    Every method may raise what calls of a loader may, and Interrupted.
    """

    def __init__(self, opened: LoadedLoader, phases: Phases) -> None:
        self._opened = opened
        self._phases = phases
        self._survey = Survey(opened)
        self._digests: dict[Range, bytes] = {}
        self._advice = _WRITTEN_WRONG

    def read(self, operation: Operation, phase: Phase, places: Sequence[Range]) -> Iterator[tuple[Range, bytes]]:
        """Read places slice by slice as one phase; nothing at all happens where there are none."""
        if not places:
            return
        with self._phases.phase(phase, _size(places)) as advance:
            self._opened.begin(operation)
            pace = Pace(FIRST_SLICE, min(LEAST_SLICE, self._opened.slice), self._opened.slice)
            for where in paced(places, pace, self._opened.loader.storage.page_size):
                data = self._opened.read(where)
                advance(where.size)
                yield where, data

    def read_proven(
        self, places: Sequence[Range], operation: Operation = Operation.READ
    ) -> Iterator[tuple[Range, bytes]]:
        """Read places slice by slice, and see at the end that the target's digests of them are those of what came.

        Raises Mismatch then: of that, nothing that was given is to be used.
        """
        came: dict[Range, bytes] = {}
        held: list[tuple[Range, bytes]] = []
        for where, data in self.read(operation, "read" if operation is Operation.READ else "verify", places):
            held.append((where, data))
            if sum(each.size for each, _ in held) > HELD:
                came.update(self._digests_of(held))
                held.clear()
            yield where, data
        pieces = [*came, *self._survey.short_pieces(where for where, _ in held)]
        if not pieces:
            return
        with ThreadPoolExecutor(1) as beside, self._phases.phase("verify", _size(places)) as advance:
            rest = beside.submit(self._digests_of, held)  # while the target computes its own
            self._opened.begin(operation)
            found = [pair for group in self._survey.found(pieces, advance) for pair in group]
            came.update(rest.result())
        wrong = [piece for piece, digest in found if came[piece] != digest]
        if wrong:
            raise Mismatch(
                f"What was read is not what the target holds: of {len(pieces)} pieces {len(wrong)} differ by their "
                f"digests, first {wrong[0]}. Bytes change on the way, or are not read the same twice: lower the "
                "probe's speed, and check its cable and the memory's clock.",
                first=wrong[0].address,
                last=wrong[-1].end - 1,
                pieces=len(wrong),
            )

    def read_whole(self, where: Range) -> bytes:
        """Read one place, and see that it came right; raises Mismatch."""
        return b"".join(data for _, data in self.read_proven((where,)))

    def _digests_of(self, slices: Sequence[tuple[Range, bytes]]) -> dict[Range, bytes]:
        """Compute the digests of what was read, by piece."""
        content = Content.of((where.address, data) for where, data in slices)
        pieces = self._survey.short_pieces(where for where, _ in slices)
        return dict(zip(pieces, self._survey.expected(pieces, content), strict=True))

    @property
    def largest_piece(self) -> int:
        """The most that one digest tells of, bytes."""
        return self._survey.largest_piece

    def states(self, units: Sequence[Unit], content: Content) -> dict[Range, State]:
        """Find out which pieces of units hold what content says, and which are erased."""
        size = sum(piece.size for unit in units for piece in unit.pieces)
        with self._phases.phase("read", size, "digests") as advance:
            self._opened.begin(Operation.READ)
            return find_states(self._survey, units, lambda ours: self._expected(ours, content), advance)

    def fingerprints(self, places: Sequence[Range]) -> dict[Range, bytes]:
        """Give what tells whether places change: the digests of their pieces, one behind the other."""
        found: dict[Range, bytes] = {}
        if not places:
            return found
        pieces = {piece: where for where in places for piece in self._survey.pieces((where,))}
        with self._phases.phase("read", _size(places), "neighbours") as advance:
            self._opened.begin(Operation.READ)
            for group in self._survey.found(sorted(pieces), advance):
                for piece, digest in group:
                    found[pieces[piece]] = found.get(pieces[piece], b"") + digest
        return found

    def shows_blank(self, where: Range, fingerprint: bytes) -> bool:
        """Say whether a fingerprint is that of an erased place."""
        return fingerprint == b"".join(self._survey.erased(piece) for piece in self._survey.pieces((where,)))

    def verify(
        self, content: Content, blank: Sequence[Range], mode: VerifyMode, *, advice: str = _WRITTEN_WRONG
    ) -> None:
        """Compare memory with content, and see that it is erased where it is to be blank; raises Mismatch.

        advice: what to try where no pattern of the difference tells.
        """
        self._advice = advice
        if mode is VerifyMode.DIGEST:
            self._verify_by_digest(content, blank)
            return
        places = content.ranges
        if mode is VerifyMode.LOADER:
            words = tuple(_whole_words(each) for each in places)
            self._verify_by_loader(content, joined(words))
            places = without(places, words)
            if places:
                rest = counted(_size(places), "byte")
                self._phases.observe(
                    Noted("verify-rounded", f"Verify takes whole words: {rest} beside them are compared by reading.")
                )
        self._read_back(content, places, proven=True)
        self._read_blank(blank)

    def expect_blank(self, places: Sequence[Range], *, to_the_end: bool = True) -> None:
        """Raise Mismatch unless all places hold the value of erased bytes; to_the_end: with all that do not."""
        if places:
            self._verify_by_digest(Content(()), places, to_the_end=to_the_end)

    def expect_still_blank(self, places: Sequence[Range]) -> None:
        """Raise Mismatch unless places that one look found blank are so in another: an erase will take them."""
        for where, fingerprint in self.fingerprints(places).items():
            if not self.shows_blank(where, fingerprint):
                raise Mismatch(
                    f"{where} was found blank, and then it was not: what is read is not stable. Check the clock and "
                    "the wiring of the memory.",
                    first=where.address,
                    last=where.end - 1,
                )

    def checksum(self, where: Range) -> tuple[int, int]:
        """Compute CRC-32 and byte sum of a range on the target."""
        with self._phases.phase("read", where.size) as advance:
            self._opened.begin(Operation.READ)
            return self._survey.checksum(where, advance)

    def _verify_by_digest(self, content: Content, blank: Sequence[Range], *, to_the_end: bool = True) -> None:
        wanted = set(self._survey.pieces(content.ranges))
        pieces = sorted((*wanted, *self._survey.pieces(blank)))
        wrong: list[Range] = []
        with self._phases.phase("verify", _size(pieces)) as advance:
            self._opened.begin(Operation.VERIFY)
            for group in self._survey.found(pieces, advance):
                expected = self._expected([piece for piece, _ in group if piece in wanted], content)
                for piece, digest in group:
                    if digest != (expected.get(piece) or self._survey.erased(piece)):
                        wrong.append(piece)
                if wrong and not to_the_end:
                    break
        if wrong:
            remark = "" if to_the_end else f"Nothing behind 0x{wrong[0].end - 1:08X} was looked at."
            wrong = wrong if to_the_end else wrong[:1]
            self._read_back(content, joined(piece for piece in wrong if piece in wanted))
            self._read_blank(joined(piece for piece in wrong if piece not in wanted), remark)
            raise Mismatch(
                f"The target's digest of {wrong[0]} is wrong, yet the bytes that are read back are right: what is read "
                "is not stable. Check the clock and the wiring of the memory, and --verify readback.",
                first=wrong[0].address,
                last=wrong[-1].end - 1,
            )

    def _expected(self, pieces: Sequence[Range], content: Content) -> dict[Range, bytes]:
        """Compute the digests of pieces that content has bytes for, each once."""
        fresh = [piece for piece in pieces if piece not in self._digests]
        self._digests.update(zip(fresh, self._survey.expected(fresh, content), strict=True))
        return {piece: self._digests[piece] for piece in pieces}

    def _read_back(self, content: Content, places: Sequence[Range], *, proven: bool = False) -> None:
        """Compare what is read with content, and where it is to be proven also the target's digests with those.

        A Read that moves less than it was asked for leaves in RAM what Write was given.
        """
        comparison = Comparison()
        read = self.read_proven(places, Operation.VERIFY) if proven else self.read(Operation.VERIFY, "verify", places)
        for where, data in read:
            comparison.feed(where.address, content.read(where), data)
        comparison.check("Verification failed", self._advice, find=content.find)

    def _read_blank(self, places: Sequence[Range], remark: str = "") -> None:
        erased = bytes([self._opened.loader.storage.erased_value])
        comparison = Comparison()
        for where, data in self.read(Operation.BLANK_CHECK, "verify", places):
            comparison.feed(where.address, erased * where.size, data)
        # Whoever asks may have erased it just now, or nobody ever.
        advice = "Something is programmed there: erase it. What an erase leaves so is write-protected or worn."
        comparison.check("Not blank", f"{remark} {advice}".strip())

    def _verify_by_loader(self, content: Content, places: Sequence[Range]) -> None:
        with self._phases.phase("verify", _size(places)) as advance:
            self._opened.begin(Operation.VERIFY)
            for where in slices(places, self._opened.chunk, self._opened.loader.storage.page_size):
                if not self._opened.verifies(where.address, content.read(where)):
                    raise Mismatch(
                        f"The loader's Verify does not confirm {where}, or not with the right checksum. "
                        "Use --verify readback to see which bytes differ.",
                        first=where.address,
                        last=where.end - 1,
                    )
                advance(where.size)


def _size(places: Sequence[Range]) -> int:
    return sum(each.size for each in places)


def _whole_words(where: Range) -> Range:
    """Cut a range down to its aligned words."""
    start = -(-where.address // 4) * 4
    return Range(start, max(0, where.end // 4 * 4 - start))
