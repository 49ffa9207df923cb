"""Commands whose requests `commands.requests` decides: from what was said to a target, and back to what is shown.

What belongs here: reaching a target for a request, and what is asked on the way. Commands and exit codes are in `main`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gdbflash.cli.interruption import Interruption
from gdbflash.cli.members import MEMBER
from gdbflash.cli.reaching import Member, Reach, loader_folders
from gdbflash.cli.settings import Settings
from gdbflash.commands.hexdump import hexdump
from gdbflash.commands.requests import REQUESTS, Data, Outcome, Request
from gdbflash.commands.run_record import ReportFile, begun, files_used
from gdbflash.errors import InputError, KeptUnclear
from gdbflash.events import Event, Noted, Observer, Started, unobserved
from gdbflash.loaders.library import AUTO
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.loaders.stldr import load_loader
from gdbflash.options import Kept

if TYPE_CHECKING:
    from gdbflash.flash.flasher import Flasher
    from gdbflash.mi.target import MiTarget

_KEPT_CHOICES = {
    Kept.RESTORE.value: "put them back over whatever lies there",
    Kept.DISCARD.value: "give them up",
    Kept.LEAVE.value: "go on without them, and keep their file",
}
_MOST_ASKED = 20
"""Loaders to choose from on a terminal."""


@contextlib.contextmanager
def flashing(
    settings: Settings, reach: Reach, loaders: tuple[ExternalLoader, ...], also: Observer = unobserved
) -> Iterator[Flasher]:
    """Reach the target and give a flasher for it while the body runs; also: gets the events too."""
    from gdbflash.flash.flasher import Flasher
    from gdbflash.mi.reach import reached

    interruption = Interruption()
    options = reach.run_options(loaders)

    def observe(event: Event) -> None:
        if isinstance(event, Started):  # connecting halts the core: from then on it has to be left as asked
            interruption.patient = True
        settings.observe(event)
        also(event)

    place = (reach.server, reach.connect, reach.started_with, reach.gdb, settings.log)
    with (
        interruption.installed(),
        reached(*place, observe, reach.tcl, reach.patience) as target,
        Flasher(target, options, observe, lambda: interruption.requested) as flasher,
    ):
        yield flasher


def _loaders(settings: Settings, reach: Reach, said: dict[str, Any]) -> tuple[ExternalLoader, ...]:
    """Read the loaders that were named; `auto` is the one for this device that has the addresses asked for."""
    if tuple(map(str, reach.loader)) != (AUTO,):
        return reach.loaders()
    from gdbflash.commands.choose_loader import fitting, only_one, why
    from gdbflash.commands.words import load_images
    from gdbflash.onchip.placement import identify

    images = said.get("images")
    places = [each.address for each in load_images(images).ranges] if images else []
    places += [said["address"]] if said.get("address") is not None else []
    with Interruption().installed(), quietly_reached(settings, reach) as target:
        device_id = identify(target, 0).device_id
        target.resume()
    found = fitting(loader_folders(settings), device_id, places)
    if len(found) > 1:
        numbered = {str(number): each for number, each in enumerate(found[:_MOST_ASKED], 1)}
        question = "Several loaders are for this device, and only the board's wiring tells which is right."
        answer = settings.console.choice(question, {number: str(each.path) for number, each in numbered.items()})
        found = (numbered[answer],) if answer is not None else found
    chosen = only_one(found, device_id)
    settings.observe(Noted("loader-chosen", why(chosen, device_id), {"path": str(chosen.path)}))
    return (load_loader(chosen.path),)


def _on_all(command: str, settings: Settings, members: Sequence[Member]) -> Data:
    """Carry out a command on many boards, each by a process of its own, when all were found to be right."""
    from gdbflash.cli.gang import on_all

    requests = _requests(command, members)
    plans = [each.announced for each in requests]
    same = len(plans) == len(members) and all(each == plans[0] for each in plans)
    notes = [note for each in requests for note in each.notes]
    return on_all(settings, [each.name for each in members], plans[0] if same else None, notes)


def _requests(command: str, members: Sequence[Member]) -> list[Request]:
    """Decide what is done on each of many boards, but where its device is yet to tell the loader; raises InputError."""
    known = [each for each in members if tuple(map(str, each.reach.loader)) != (AUTO,)]
    return [
        REQUESTS[command](
            () if command == "load" and not each.reach.loader else each.reach.loaders(), **_asked(each.said)
        )
        for each in known
    ]


def _asked(said: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is about all boards together."""
    return {name: value for name, value in said.items() if name != "report"}


def _expect_free_stdout(settings: Settings) -> None:
    """Raise InputError where bytes cannot go to stdout."""
    if settings.as_json:
        raise InputError("--json and -o - both want stdout. Name a file with -o.")
    if sys.stdout.isatty():
        raise InputError("-o - sends plain bytes, which a terminal cannot show. Pipe them, or leave -o out for a dump.")


def _asking(settings: Settings, reach: Reach, request: Request) -> Outcome:
    """Carry out a request; where it stops because of kept bytes, ask on a terminal what becomes of them."""
    try:
        return request.carry_out(flashing(settings, reach, request.loaders))
    except KeptUnclear as unclear:
        choice = settings.console.choice(unclear.message, _KEPT_CHOICES)
        if choice is None:
            raise
        return request.carry_out(flashing(settings, replace(reach, kept=choice), request.loaders))


def told(settings: Settings, outcome: Outcome) -> Data:
    """Tell people what came of a command."""
    console = settings.console
    if outcome.raw is not None:
        console.raw(outcome.raw)
    elif outcome.dump is not None:
        if not settings.as_json:
            console.pages(hexdump(*outcome.dump))
    elif outcome.is_answer:
        console.answer(outcome.said)
    else:
        console.say(f"done: {outcome.said}")
    return outcome.data


def quietly_reached(settings: Settings, reach: Reach) -> AbstractContextManager[MiTarget]:
    """Reach a target, and say nothing of it."""
    from gdbflash.mi.reach import reached

    place = (reach.server, reach.connect, reach.started_with, reach.gdb, settings.log)
    return reached(*place, unobserved, reach.tcl, reach.patience)


def carry_out(name: str, settings: Settings, reach: Reach, report: Path | None = None, **said: Any) -> Data:
    """Carry out a command whose request `commands.requests` decides, on one board or on many."""
    settings.record = {**begun(name), "board": next(iter(settings.boards), reach.connect)}
    settings.report = None if report is None or MEMBER in os.environ else ReportFile(report)
    if len(reach.members) > 1:
        settings.record["board"] = None
        return _on_all(name, settings, reach.members)
    loaders = () if name == "load" and not reach.loader else _loaders(settings, reach, said)
    if settings.as_json or report is not None:
        settings.record |= files_used(loaders, said.get("images", ()))
    request = REQUESTS[name](loaders, **said)
    if request.takes_stdout:
        _expect_free_stdout(settings)
    for note in request.notes:
        settings.observe(note)
    if request.announced is not None:
        settings.observe(request.announced)
    if request.ends_here and not reach.is_named:
        return {"dry_run": True}
    return told(settings, _asking(settings, reach, request))
