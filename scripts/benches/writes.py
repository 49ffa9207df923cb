"""Writing, against the link's and the chip's own time: erased before, over old content, the same again, one change."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from gdbflash.events import Event, Finished
from gdbflash.flash.flasher import Flasher
from gdbflash.images.content import Content
from gdbflash.loaders.stldr import load_loader
from gdbflash.mi.target import MiTarget
from gdbflash.onchip.digest import SHORT_PIECE, Run
from gdbflash.onchip.loaded import LoadedLoader
from gdbflash.plan.jobs import plan_write

from .figures import Figures, timed
from .rigs import OPENOCD, Rig, rig
from .transfers import KIB, MIB, restore, run_options, watched

SECTOR = 64 * KIB
PAGE_SECONDS = 0.4e-3
"""tPP, typical: W25Q128JV data sheet revision F, 9.6."""
PAGE = 256


@dataclass(frozen=True)
class Written:
    """What a write took, in seconds."""

    whole: float
    program: float
    running: float
    """Of its Write calls, the core's own, without the check of what was sent beside the call before."""
    sizes: tuple[int, ...]
    """Bytes of each Write call."""


def write(running: Rig, target: MiTarget, data: bytes, *, full: bool = False) -> Written:
    """Write data at the chip's beginning; connecting and loading the loader are not counted."""
    events: list[Event] = []
    loader = load_loader(running.loader)
    jobs = plan_write((loader,), Content.at(running.flash, data))
    with (
        Flasher(target, run_options(running), events.append) as flasher,
        watched(running, flasher.open(loader), "Write") as writes,
    ):
        whole = timed(lambda: flasher.write(jobs, full=full))
        checks = checking(running, flasher.open(loader), [each.size for each in writes if each.checked])
    program = sum(each.seconds for each in events if isinstance(each, Finished) and each.phase == "program")
    if running.chip is not None and bytes(running.chip.memory[: len(data)]) != data:
        raise SystemExit(f"{running.name}: what was written is not in the chip")
    ran = sum(each.seconds for each in writes) - checks
    return Written(whole, program, ran, tuple(each.size for each in writes))


def checking(running: Rig, loaded: LoadedLoader, sizes: Sequence[int]) -> float:
    """Take how long the core compares digests of so many bytes each: what of a checked call is not the loader's own."""
    if not sizes or running.watch is None:
        return 0.0
    run = Run(loaded.layout.buffer.address, max(sizes), SHORT_PIECE)
    made = loaded.routine.digests([run], timeout=10)
    before = running.watch.seconds
    loaded.call(made.call, made.inputs)
    return (running.watch.seconds - before) * sum(sizes) / run.size


def sending(running: Rig, target: MiTarget, written: Written) -> float:
    """Take the time of sending what was written to RAM, in as many pieces, by GDB's own command."""
    data = bytes(max(written.sizes))
    target.reset_and_halt()
    return sum(timed(lambda size=size: restore(target, running.free_ram, data[:size])) for size in written.sizes)  # type: ignore[misc]


def measure_plain(figures: Figures, name: str) -> None:
    """Measure a write without link or chip to wait for: what is left is ours, the server's and the emulator's."""
    figures.section(f"{name}: writing 1 MiB")
    data = random.Random(6).randbytes(MIB)
    with rig(name) as running, running.target() as target:
        written = write(running, target, data)
        link = sending(running, target, written)
        ratio = written.program / (link + written.running)
        figures.add("program phase / (restore + Write's own run time)", ratio, "x", 1.2 if name in OPENOCD else None)
        figures.add("  in all", written.whole, " s")
        figures.add("  Write calls", len(written.sizes))
        if name == "QEMU":
            again = write(running, target, data)
            changed = bytearray(data)
            changed[5] ^= 1
            one = write(running, target, bytes(changed))
            figures.add("the same image again / the write", again.whole / written.whole, "x")
            figures.add("with one changed sector / the write", one.whole / written.whole, "x")


def measure_erased(figures: Figures, running: Rig, target: MiTarget, data: bytes) -> None:
    """Compare a write into an erased chip with what link and chip take."""
    written = write(running, target, data)
    link = sending(running, target, written)
    overlapped = target.capabilities.moves_beside
    if overlapped:
        figures.add("erased before / max(link, chip)", written.whole / max(link, written.running), "x", 1.2)
    limit = None if overlapped else 1.1
    figures.add("erased before / (link + chip)", written.whole / (link + written.running), "x", limit)
    figures.add("  in all", written.whole, " s")
    busy = len(data) / PAGE * PAGE_SECONDS * running.scale
    figures.add("  emulation's share of it", (written.running - busy) / written.whole, "", 0.2)


def measure_again(figures: Figures, running: Rig, target: MiTarget, *, full: bool) -> None:
    """Compare writing what is there already, all of it or all but a sector, with writing it over something else."""
    generator = random.Random(8)
    chip = running.chip.memory  # type: ignore[union-attr]
    size = 16 * MIB if full else MIB
    chip[:] = generator.randbytes(16 * MIB)
    data = generator.randbytes(size)
    old = write(running, target, data).whole
    figures.add(f"writing {size // MIB} MiB over other content", old, " s")
    figures.add("the same image again / that", write(running, target, data).whole / old, "x", 0.05)
    changed = bytearray(chip)
    changed[9 * MIB + 5] ^= 1
    one = write(running, target, bytes(changed)).whole
    how = "that" if full else "16 times that"
    figures.add(f"one changed sector in 16 MiB / {how}", one / (old * 16 * MIB / size), "x", 0.08)


def measure_realistic(figures: Figures, name: str, scale: float, *, full: bool) -> None:
    """Measure writes at the speed of a real link and chip."""
    figures.section(f"{name}: writing 4 MiB, realistic, time x {scale:g}")
    with rig(name, realistic=True, scale=scale) as running, running.target() as target:
        measure_erased(figures, running, target, random.Random(7).randbytes(4 * MIB))
        measure_again(figures, running, target, full=full)


def measure(figures: Figures, name: str, scale: float, *, full: bool) -> None:
    """Measure writes on one server."""
    if name != "board":
        measure_plain(figures, name)
    if name != "QEMU":
        measure_realistic(figures, name, scale, full=full)
