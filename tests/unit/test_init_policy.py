"""Init, and Init again: which ways are tried, which one is gone on with, and what is never tried.

By a target that fails as scripted; loaders that want each of the ways are tested on the board.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gdbflash.errors import CallFailed, CallNotMade, CallTimeout, TargetError
from gdbflash.events import Event, Noted
from gdbflash.flash.phases import Phases
from gdbflash.onchip.loaded import LoadedLoader, Operation, load
from gdbflash.options import CallOptions
from gdbflash.ranges import Range
from tests.support.scripted import LOADER, Mishap, ScriptedTarget

VARIABLES = Range(0x24000F04, 16)
WITH_VARIABLES = replace(LOADER, writable=(VARIABLES,))
FILE = LOADER.load_segments[0].data[VARIABLES.address - LOADER.link_address :][: VARIABLES.size]
LEFT = b"as Init left it."


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))


class Bench:
    """A loader whose Init leaves something in its variables; what it found there is noted."""

    def __init__(self, options: CallOptions | None = None) -> None:
        self.target = ScriptedTarget(WITH_VARIABLES)
        self.events: list[Event] = []
        self.opened: LoadedLoader = load(
            self.target, WITH_VARIABLES, options or CallOptions(), Phases(self.events.append)
        )
        self.found: list[bytes] = []
        self.target.before = self._before
        self.target.uses.clear()

    def _before(self, function: str) -> None:
        if function == "Init":
            self.found.append(self.target.read_memory(VARIABLES.address, VARIABLES.size))
            self.target.write_memory(VARIABLES.address, LEFT)

    @property
    def notes(self) -> list[str]:
        return [each.code for each in self.events if isinstance(each, Noted)]

    def fails(self, *uses: int, how: Mishap = Mishap.FAILS) -> None:
        self.target.script.update({("Init", use): how for use in uses})


def test_each_change_of_kind_begins_with_its_data_loaded_anew() -> None:
    bench = Bench()
    for operation in (Operation.READ, Operation.READ, Operation.ERASE, Operation.WRITE):
        bench.opened.begin(operation)
    assert bench.found == [FILE] * 3
    assert (bench.target.uses["reset_and_halt"], bench.notes) == (0, [])


def test_the_first_one_may_fail_once() -> None:
    bench = Bench()
    bench.fails(1)
    bench.opened.begin(Operation.READ)
    assert (bench.found, bench.notes) == ([FILE, LEFT], ["init-retried"])


def test_the_first_one_that_fails_twice_is_an_error() -> None:
    bench = Bench()
    bench.fails(1, 2)
    with pytest.raises(CallFailed, match="returned 0 instead of 1, twice") as caught:
        bench.opened.begin(Operation.READ)
    assert caught.value.data["times"] == 2
    assert bench.target.uses["Init"] == 2


def test_where_fresh_data_does_not_do_it_goes_on_with_what_was_left() -> None:
    bench = Bench()
    bench.fails(2)
    for operation in (Operation.READ, Operation.ERASE, Operation.WRITE):
        bench.opened.begin(operation)
    assert bench.found == [FILE, FILE, LEFT, LEFT]
    assert (bench.notes, bench.target.uses["reset_and_halt"]) == (["init-again"], 0)


def test_where_neither_does_it_goes_on_after_resets() -> None:
    bench = Bench()
    bench.fails(2, 3)
    for operation in (Operation.READ, Operation.ERASE, Operation.WRITE):
        bench.opened.begin(operation)
    assert bench.found == [FILE, FILE, LEFT, FILE, FILE]
    assert (bench.notes, bench.target.uses["reset_and_halt"]) == (["init-again"], 2)


def test_one_that_hangs_is_not_called_with_what_it_left() -> None:
    bench = Bench()
    bench.opened.begin(Operation.READ)
    bench.fails(2, how=Mishap.HANGS)
    bench.opened.begin(Operation.ERASE)
    assert bench.found == [FILE] * 3
    assert bench.target.uses["reset_and_halt"] == 1


def test_a_program_in_whose_middle_we_are_is_never_reset() -> None:
    bench = Bench(CallOptions(may_reset=False))
    bench.opened.begin(Operation.READ)
    bench.fails(2, 3)
    with pytest.raises(CallFailed, match="It was not reset in between, as --before none asks: use --before reset"):
        bench.opened.begin(Operation.ERASE)
    assert bench.target.uses["reset_and_halt"] == 0
    bench.fails(4, how=Mishap.HANGS)
    with pytest.raises(CallTimeout):
        bench.opened.begin(Operation.ERASE)
    assert bench.target.uses["reset_and_halt"] == 0


def test_its_result_is_ignored_only_where_that_is_asked_for() -> None:
    bench = Bench(CallOptions(ignore_init_result=True))
    bench.fails(1, 2)
    bench.opened.begin(Operation.READ)
    assert bench.notes == ["init-retried", "init-ignored"]


def test_a_call_that_was_not_made_is_an_error_and_not_tried_again() -> None:
    bench = Bench()
    bench.fails(1, how=Mishap.SKIPPED)
    with pytest.raises(CallNotMade, match="the core came to the return address without it"):
        bench.opened.begin(Operation.READ)
    assert bench.target.uses["Init"] == 1


def test_a_server_that_refuses_in_the_middle_leaves_no_kind_of_use_behind() -> None:
    bench = Bench()
    bench.opened.begin(Operation.READ)
    bench.target.script = {("write_registers", bench.target.uses["write_registers"] + 1): Mishap.REFUSED}
    with pytest.raises(TargetError):
        bench.opened.begin(Operation.ERASE)
    bench.opened.begin(Operation.READ)
    assert bench.found == [FILE] * 2, "Init was called again"
