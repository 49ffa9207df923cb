"""The wish to stop: heeded before anything more is done to the chip, whenever it comes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gdbflash.errors import Interrupted
from gdbflash.events import Advanced, Detailed, Event, Finished, Started
from gdbflash.flash.flasher import Flasher
from gdbflash.flash.phases import Phases
from gdbflash.images.content import Content
from gdbflash.loaders.stldr import load_loader
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import start_gdb
from gdbflash.options import After, RunOptions
from gdbflash.plan.jobs import plan_chip_erase, plan_write
from gdbflash.servers.endpoint import parse_endpoint
from tests.support.boards import LOADER, RunningBoard, running_board

FLASH = 0x90000000
MARK = bytes(4096)


def stopped(board: RunningBoard, work: Callable[[Flasher], object], when: Callable[[Event], bool]) -> str:
    """Do work until an event of this kind came, and give what is said then."""
    wanted = False

    def observe(event: Event) -> None:
        nonlocal wanted
        wanted = wanted or when(event)

    target = connect(parse_endpoint(board.endpoint), start_gdb())
    try:
        with (
            pytest.raises(Interrupted) as caught,
            Flasher(target, RunOptions(after=After.HALT), observe, lambda: wanted) as flasher,
        ):
            work(flasher)
    finally:
        target.close()
    return caught.value.message


def erase_chip(flasher: Flasher) -> object:
    loader = load_loader(LOADER)
    return flasher.erase(loader, plan_chip_erase(loader), chip=True)


def write(flasher: Flasher) -> object:
    jobs = plan_write((load_loader(LOADER),), Content.at(FLASH, b"\xa5" * 100_000), keep=False)
    return flasher.write(jobs, full=True)


def is_init_of(operation: str) -> Callable[[Event], bool]:
    """Wait for the end of the call of Init that comes after a phase began."""
    phase = ""

    def when(event: Event) -> bool:
        nonlocal phase
        if isinstance(event, Started):
            phase = event.phase
        return isinstance(event, Detailed) and event.data.get("function") == "Init" and phase == operation

    return when


@pytest.mark.parametrize(
    ("when", "said"),
    [
        (lambda event: isinstance(event, Started) and event.phase == "init", "Interrupted before erase."),
        (lambda event: isinstance(event, Finished) and event.phase == "init", "Interrupted before erase."),
        (
            lambda event: isinstance(event, Started) and event.phase == "erase",
            "Interrupted during erase, after 0 B of {}.",
        ),
        (is_init_of("erase"), "Interrupted during erase, after 0 B of {}."),
    ],
    ids=["as init begins", "before the erase", "as it begins", "after its Init"],
)
@pytest.mark.parametrize(("work", "size"), [(erase_chip, "16 MiB"), (write, "128 KiB")], ids=["chip", "sectors"])
def test_nothing_is_erased_after_it(
    work: Callable[[Flasher], object], size: str, when: Callable[[Event], bool], said: str
) -> None:
    with running_board() as board:
        board.chip.memory[: len(MARK)] = MARK
        assert stopped(board, work, when) == said.format(size)
        assert board.chip.counters.erases == {}
        assert bytes(board.chip.memory[: len(MARK)]) == MARK


def test_phases_within_phases_tell_where_they_were() -> None:
    events: list[Event] = []
    wanted = False
    phases = Phases(events.append, lambda: wanted)
    with phases.phase("program", 100) as advance:
        advance(40)
        with phases.phase("read", 8) as inner:
            inner(8)
        wanted = True
        with pytest.raises(Interrupted, match=r"^Interrupted during program, after 40 B of 100 B\.$"):
            phases.check()
        with pytest.raises(Interrupted, match=r"^Interrupted before verify\.$"), phases.phase("verify", 8):
            pass
        with phases.phase("close"):
            pass
    assert [each.done for each in events if isinstance(each, Advanced)] == [40, 8]
