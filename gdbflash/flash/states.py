"""Find out what a write need not do, and ask the target for no more than that takes.

What belongs here: in which order pieces are asked for, and when their first bytes say enough. Only a digest of all of
a piece says that it is as it is to be, or blank; that it is neither, the digest of its head can say too.

Each head saves a pass over the rest of a piece that holds something else, and is for nothing where it does not. So
heads are asked for where the pieces asked last were mostly such, and where a call of heads stands for half a call of
pieces or more: a call costs 3 to 100 ms, by server, and one of pieces is cut to take three quarters of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from gdbflash.plan.delta import State, Unit
from gdbflash.ranges import Range

Expected = Callable[[Sequence[Range]], Mapping[Range, bytes]]
"""Computes the digests of places that hold what the content has there."""


class Asked(Protocol):
    """What can be asked of a target, as `survey.Survey` does."""

    @property
    def fetches(self) -> bool:
        """Tell whether a loader's Read fetches each piece."""

    @property
    def at_once(self) -> int:
        """The bytes that one call digests, as far as is known by now."""

    @property
    def most_pieces(self) -> int:
        """More than this many pieces never fit in one call."""

    @property
    def most_heads(self) -> int:
        """More than this many heads never fit in one call."""

    def head(self, piece: Range) -> Range:
        """Give the first bytes of a piece, or all of it."""

    def ask(self, pieces: Sequence[Range]) -> list[tuple[Range, bytes]]:
        """Ask for the digests of as many pieces, from the first on, as one call takes."""

    def erased(self, piece: Range) -> bytes:
        """Give the digest that a piece has when it is erased."""

    def done(self) -> None:
        """Follow the last call."""


def find_states(
    survey: Asked, units: Sequence[Unit], expected: Expected, advance: Callable[[int], None]
) -> dict[Range, State]:
    """Say of all pieces of units whether they hold what they are to hold, and whether they are blank.

    A wanted piece may be said to be neither unasked, where its unit is known to be erased and written: another one of
    it differs, and there is what is not blank. advance is told of each call's bytes.
    """
    return _States(survey, units, expected, advance).find()


class _States:
    def __init__(
        self, survey: Asked, units: Sequence[Unit], expected: Expected, advance: Callable[[int], None]
    ) -> None:
        self._survey = survey
        self._expected = expected
        self._advance = advance
        self._unit = {piece: unit.where for unit in units for piece in unit.pieces}
        self._wanted = {piece for unit in units for piece in unit.wanted}
        self._different: set[Range] = set()
        """Units with a wanted piece that is not as it is to be."""
        self._dirty: set[Range] = set()
        """Units in which something is not blank."""
        self._states: dict[Range, State] = {}
        self._untold = 0

    def find(self) -> dict[Range, State]:
        todo = sorted(self._unit)
        begun = 0
        looking = self._survey.fetches
        while begun < len(todo):
            ahead = todo[begun : begun + self._survey.most_heads]
            looking = looking and 2 * sum(piece.size for piece in ahead) >= self._survey.at_once
            if looking:
                others, taken = self._look(ahead)
            else:
                others, taken = self._ask(todo[begun : begun + self._survey.most_pieces])
            begun += len(taken)
            looking = 2 * others >= len(taken)
        if todo:
            self._survey.done()
        return self._states

    def _look(self, pieces: Sequence[Range]) -> tuple[int, Sequence[Range]]:
        """Ask for the heads of pieces, then for all of those of which they do not say enough.

        Gives how many they said enough of, and the pieces that this was about.
        """
        asked = self._without_lost(pieces)
        heads = {self._survey.head(piece): piece for piece in asked}
        found = self._judged(list(heads), {head for head, piece in heads.items() if piece in self._wanted})
        unknown: list[Range] = []
        for head, state in found.items():
            piece = heads[head]
            self._note(piece, state)
            if head == piece or self._is_other(piece, state):
                self._know(piece, state)
            else:
                unknown.append(piece)
        enough = len(found) - len(unknown)
        while unknown:
            unknown = unknown[len(self._ask(unknown)[1]) :]
        taken = _up_to(pieces, asked, len(found))
        return enough + self._settle(taken), taken

    def _ask(self, pieces: Sequence[Range]) -> tuple[int, Sequence[Range]]:
        """Ask for as many pieces as one call takes.

        Gives how many are neither as they are to be nor blank, and the pieces that this was about.
        """
        asked = self._without_lost(pieces)
        found = self._judged(asked, self._wanted)
        for piece, state in found.items():
            self._note(piece, state)
            self._know(piece, state)
        taken = _up_to(pieces, asked, len(found))
        others = sum(self._is_other(piece, state) for piece, state in found.items())
        return others + self._settle(taken), taken

    def _judged(self, places: Sequence[Range], wanted: AbstractSet[Range]) -> dict[Range, State]:
        """Make a call, and judge what it gives by the content where that is wanted."""
        answer = self._survey.ask(places) if places else []
        expected = self._expected([place for place, _ in answer if place in wanted])
        return {
            place: State(expected.get(place, digest) == digest, digest == self._survey.erased(place))
            for place, digest in answer
        }

    def _is_other(self, piece: Range, state: State) -> bool:
        return not state.blank and not (state.same and piece in self._wanted)

    def _note(self, piece: Range, state: State) -> None:
        """Take what a piece or its head says of its unit."""
        if not state.same:
            self._different.add(self._unit[piece])
        if not state.blank:
            self._dirty.add(self._unit[piece])

    def _know(self, piece: Range, state: State) -> None:
        self._states[piece] = state
        self._untold += piece.size

    def _is_lost(self, piece: Range) -> bool:
        """Tell whether a piece is written whatever it holds, over what an erase leaves."""
        unit = self._unit[piece]
        return piece in self._wanted and unit in self._different and unit in self._dirty

    def _without_lost(self, pieces: Sequence[Range]) -> list[Range]:
        return [piece for piece in pieces if not self._is_lost(piece)]

    def _settle(self, pieces: Sequence[Range]) -> int:
        """Say of those pieces that need not be asked for that they are neither, and tell of all; gives how many."""
        given_up = [piece for piece in pieces if piece not in self._states]
        for piece in given_up:
            self._know(piece, State(False, False))
        if self._untold:
            self._advance(self._untold)
            self._untold = 0
        return len(given_up)


def _up_to(pieces: Sequence[Range], asked: Sequence[Range], count: int) -> Sequence[Range]:
    """Give the pieces before the first one that was to be asked for and was not."""
    return pieces if count == len(asked) else pieces[: pieces.index(asked[count])]
