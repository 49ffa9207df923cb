"""Init: the first time, and again before each change of kind.

What belongs here: how often Init is called, with which data in the loader's variables, and when it has failed.

Most loaders want Init again and again, for what they use the memory for leaves it in another mode. Some were written
for a host that loads them anew each time: their second Init finds a handle in use, or waits for a flag that stays.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gdbflash.errors import CallFailed, CallStopped, CallTimeout, TargetError
from gdbflash.events import Attendance, Noted, Waited
from gdbflash.images.content import Content
from gdbflash.loaders.loader import ExternalLoader, need
from gdbflash.onchip import unfinished
from gdbflash.onchip.call import SUCCESS, Call, Returned
from gdbflash.onchip.state import Identity
from gdbflash.options import CallOptions
from gdbflash.plan import timeouts
from gdbflash.ranges import Range
from gdbflash.target import Target

LEAST_INITS = 2
BUSY_SECONDS = 0.5
"""Between two calls of Init while the chip may be busy with an erase."""


class Way(enum.Enum):
    """What Init finds when it is called again; the value completes a sentence."""

    FRESH = "with its data loaded anew"
    AS_LEFT = "with the data as the last call left them"
    AFTER_RESET = "after a reset of the target"


class Opened(Protocol):
    """What of a loaded loader is needed."""

    target: Target
    loader: ExternalLoader
    identity: Identity

    def call(self, call: Call) -> Returned:
        """Perform a call."""

    def load_after_reset(self) -> None:
        """Reset the target, and put the loader into RAM again."""


@dataclass
class Initialising:
    """Calls Init of one loader for one run."""

    opened: Opened
    data: Content
    """What the loader's writable RAM holds before the first call."""
    options: CallOptions
    attendance: Attendance
    ways: tuple[Way, ...] = tuple(Way)
    """Those that are left to try; the first is the one that worked last."""
    done: bool = False
    """Whether Init was called since the loader was put into RAM."""

    def initialise(self) -> None:
        """Call Init, anew where it was called before; raises CallFailed, and what calls may."""
        if not self.done:
            returned, times = self._first()
            often = "twice" if times == 2 else f"{times} times"
        else:
            returned, times = self._again()
            often = f"when called again {', '.join(way.value for way in self._possible())}"
        self.done = True
        if returned.r0 == SUCCESS:
            return
        if not self.options.ignore_init_result:
            raise self._failed(returned.r0, often, times)
        self.attendance.observe(Noted("init-ignored", f"Init returned {returned.r0} {often}; going on as asked."))

    def _failed(self, result: int, often: str, times: int) -> CallFailed:
        unreset = self.done and Way.AFTER_RESET not in self._possible() and times > 1
        hint = (
            "It was not reset in between, as --before none asks: use --before reset"
            if unreset
            else "Check that the loader is for this board's pins and chip, and the chip's power"
        )
        return CallFailed(
            f"Init of {self.opened.loader.path} returned {result} instead of 1, {often}. {hint}; "
            "--ignore-init-result goes on regardless.",
            function="Init",
            arguments=[],
            result=result,
            times=times,
        )

    def _first(self) -> tuple[Returned, int]:
        """Call Init until it returns 1, and give how often: twice, and longer while the chip may be erasing.

        The first Init after power-on of some loaders only sets the chip's QE bit.
        """
        left = self._time_of_interrupted_erase()
        end = time.monotonic() + left
        call = self._call(max(timeouts.INIT, left))
        returned, times = self.opened.call(call), 1
        while returned.r0 != SUCCESS and (times < LEAST_INITS or time.monotonic() < end):
            if times < LEAST_INITS:
                self.attendance.observe(Noted("init-retried", f"Init returned {returned.r0}; calling it once more."))
            else:
                self.attendance.observe(Waited(left - (end - time.monotonic()), left))
                self.attendance.pause(BUSY_SECONDS)
            returned, times = self.opened.call(call), times + 1
        if left and returned.r0 == SUCCESS:
            unfinished.forget(self.opened.identity)
        return returned, times

    def _again(self) -> tuple[Returned, int]:
        """Call Init in each way that is left until it returns 1; gives the first result and the number of tries."""
        tried = self._possible()
        left: Sequence[tuple[int, bytes]] = ()
        if tried[0] is Way.FRESH and len(self.ways) == len(Way):
            left = [(each.address, self._read(each)) for each in self.data.ranges]
        first: Returned | None = None
        failure: TargetError | None = None
        for way in tried:
            if failure is not None and way is Way.AS_LEFT:
                continue  # it hangs or faults: the next step is a reset
            self._prepare(way, left)
            try:
                returned = self.opened.call(self._call())
            except (CallTimeout, CallStopped) as error:
                failure = failure or error
                continue
            if returned.r0 == SUCCESS:
                self._worked(way)
                return returned, 1
            first = first or returned
        if first is None and failure is not None:
            raise failure
        assert first is not None  # one of both came of each try
        return first, len(tried)

    def _possible(self) -> tuple[Way, ...]:
        """Name the ways that may be tried: a program in whose middle we are is not reset."""
        sense = {Way.AFTER_RESET: self.options.may_reset, Way.AS_LEFT: bool(self.data.pieces)}
        return tuple(way for way in self.ways if sense.get(way, True))

    def _prepare(self, way: Way, left: Sequence[tuple[int, bytes]]) -> None:
        if way is Way.FRESH:
            for where in self.data.ranges:
                self.opened.target.write_memory(where.address, self.data.read(where))
        elif way is Way.AS_LEFT:
            for address, data in left:
                self.opened.target.write_memory(address, data)
        else:
            self.opened.load_after_reset()

    def _worked(self, way: Way) -> None:
        """Go on with the way that worked, and say so where it is not the usual one."""
        if way is not self.ways[0]:
            self.attendance.observe(
                Noted("init-again", f"Init works {way.value}, and not otherwise; it is called so from now on.")
            )
        self.ways = self.ways[self.ways.index(way) :] if way is not Way.FRESH else (Way.FRESH, Way.AFTER_RESET)

    def _read(self, where: Range) -> bytes:
        return self.opened.target.read_memory(where.address, where.size)

    def _call(self, seconds: float = timeouts.INIT) -> Call:
        return Call("Init", need(self.opened.loader, "Init"), timeout=seconds)

    def _time_of_interrupted_erase(self) -> float:
        """Give for how many seconds an interrupted chip erase may still go on, and tell the user."""
        try:
            left = unfinished.seconds_left(self.opened.identity)
        except unfinished.Odd as odd:
            self.attendance.observe(Noted("erase-note-odd", str(odd)))
            unfinished.forget(self.opened.identity)
            return 0.0
        if left:
            self.attendance.observe(
                Noted(
                    "chip-erasing",
                    "A chip erase was interrupted and may still go on in the chip, whatever is reset: "
                    f"Init is tried for up to {left:.0f} s. Power-cycling the chip ends it, too.",
                    {"seconds": round(left, 1)},
                )
            )
        return left
