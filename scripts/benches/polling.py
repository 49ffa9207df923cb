"""A loader in the manner of the vendor's HAL, which polls for each byte and never maps: most real ones are such."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial

from gdbflash.events import Event, Finished, Started
from gdbflash.flash.flasher import Flasher
from gdbflash.images.content import Content
from gdbflash.loaders.stldr import load_loader
from gdbflash.mi.target import MiTarget
from gdbflash.onchip.loaded import LoadedLoader, Operation
from gdbflash.plan.jobs import plan_write
from gdbflash.ranges import Range
from tests.support.cbuild import build

from .figures import Figures, timed
from .rigs import OPENOCD, Rig, rig
from .transfers import MIB, run_options, watched

SIZE = MIB


def read_pass(running: Rig, target: MiTarget) -> float:
    """Take how long the loader's Read runs for all of it, called with as much as its buffer takes."""
    with (
        Flasher(target, run_options(running)) as flasher,
        watched(running, loaded := flasher.open(load_loader(running.loader)), "Read") as reads,
    ):
        flasher.open(loaded.loader, Operation.READ)
        _read_once(loaded, Range(running.flash, SIZE))
    return sum(each.seconds for each in reads)


def _read_once(loaded: LoadedLoader, where: Range) -> None:
    for address in range(where.address, where.end, loaded.slice):
        loaded.read(Range(address, min(loaded.slice, where.end - address)))


def write_phases(running: Rig, target: MiTarget, data: bytes) -> tuple[dict[str, float], float]:
    """Write data; gives the seconds of each phase, by its label where it has one, and of all."""
    events: list[Event] = []
    loader = load_loader(running.loader)
    with Flasher(target, run_options(running), events.append) as flasher:
        flasher.open(loader)
        whole = timed(lambda: flasher.write(plan_write((loader,), Content.at(running.flash, data))))
    seconds: dict[str, float] = {}
    name = ""
    for each in events:
        if isinstance(each, Started):
            name = each.label or each.phase
        elif isinstance(each, Finished):
            seconds[name] = seconds.get(name, 0.0) + each.seconds
    return seconds, whole


def measure(figures: Figures, name: str) -> None:
    """Measure surveys, writes and reads on an OpenOCD without link or chip to wait for, in passes of Read."""
    if name not in OPENOCD:
        return
    figures.section(f"{name}: a loader that polls and never maps, 1 MiB")
    generator = random.Random(9)
    data = generator.randbytes(SIZE)
    with rig(name) as free, free.target() as target:
        running = replace(free, loader=build("hal_qspi"))
        chip = running.chip.memory  # type: ignore[union-attr]
        one = read_pass(running, target)
        figures.add("a pass of Read", one, " s")
        for what, held in (
            ("other content", generator.randbytes(SIZE)),
            ("a blank chip", b"\xff" * SIZE),
            ("the same", data),
        ):
            chip[:SIZE] = held
            seconds, whole = write_phases(running, target, data)
            if bytes(chip[:SIZE]) != data:
                raise SystemExit(f"{name}: what was written is not in the chip")
            figures.add(f"writing over {what}: survey / pass", seconds["digests"] / one, "x")
            figures.add("  verify / pass", seconds.get("verify", 0.0) / one, "x")
            figures.add("  in all", whole, " s")
        loader = load_loader(running.loader)
        with Flasher(target, run_options(running)) as flasher:
            flasher.open(loader)
            for how, twice in (("reading / pass", False), ("reading twice / pass", True)):
                took = timed(partial(flasher.read, loader, Range(running.flash, SIZE), lambda _: None, twice=twice))
                figures.add(how, took / one, "x")
