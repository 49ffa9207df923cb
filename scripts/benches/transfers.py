"""Moving bytes without changing the chip: against GDB's own `restore` and `dump`, and Read's own run time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gdbflash.flash.flasher import Flasher
from gdbflash.flash.inspection import Inspection
from gdbflash.flash.phases import Phases
from gdbflash.images.content import Content
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.loaders.stldr import load_loader
from gdbflash.mi.target import MiTarget
from gdbflash.onchip.call import Call, Returned
from gdbflash.onchip.loaded import LoadedLoader
from gdbflash.options import After, CallOptions, RunOptions, VerifyMode
from gdbflash.plan.jobs import EraseMode, plan_write
from gdbflash.ranges import Range, slices

from .figures import Figures, medians
from .rigs import OPENOCD, Rig, rig

KIB, MIB = 1 << 10, 1 << 20
PIECE = 256 * KIB
SLOW = 600.0


def restore(target: MiTarget, address: int, data: bytes) -> None:
    """Write memory by GDB's own command, as fast as the server lets it."""
    client = target._client
    path = client.directory / "bench.bin"
    path.write_bytes(data)
    late = target.profile.late_write_errors
    if late:
        client.command("-gdb-set remote binary-download-packet on")
    client.console(f"restore {path.name} binary {address:#x}", timeout=SLOW)
    if late:
        client.command("-gdb-set remote binary-download-packet off")


def dump(target: MiTarget, address: int, size: int) -> None:
    """Read memory by GDB's own command."""
    target._client.console(f"dump binary memory bench.bin {address:#x} {address + size:#x}", timeout=SLOW)


def dump_ram(target: MiTarget, running: Rig, size: int) -> None:
    """Read as many bytes from RAM, piece by piece."""
    for piece in slices([Range(0, size)], PIECE):
        dump(target, running.free_ram, piece.size)


def run_options(running: Rig) -> RunOptions:
    """Give the options of all measurements."""
    return RunOptions(after=After.HALT, calls=CallOptions(ram=running.ram))


@dataclass(frozen=True)
class Ran:
    """A call of a loader's function: how long the core ran, bytes moved, and whether digests were compared before."""

    seconds: float
    size: int
    checked: bool


@contextmanager
def watched(running: Rig, loaded: LoadedLoader, function: str) -> Iterator[list[Ran]]:
    """Note each call of a function."""
    notes: list[Ran] = []
    perform = loaded.call

    def note(call: Call, *inputs: tuple[int, bytes], **more: Any) -> Returned:
        before = running.watch.seconds if running.watch else 0.0
        returned = perform(call, *inputs, **more)
        ran = running.watch.seconds - before if running.watch else returned.seconds
        if call.function == function:
            notes.append(Ran(ran, call.arguments[1], call.address != loaded.loader.functions[function]))
        return returned

    loaded.call = note  # type: ignore[method-assign]
    yield notes
    loaded.call = perform  # type: ignore[method-assign]


def measure_ram(figures: Figures, running: Rig, target: MiTarget) -> None:
    """Compare writing and reading RAM with restore and dump."""
    data = random.Random(1).randbytes(PIECE)
    place = running.free_ram
    ours, plain = medians(11, lambda: target.write_memory(place, data), lambda: restore(target, place, data))
    figures.add("RAM download of 256 KiB / restore", ours / plain, "x")
    ours, plain = medians(11, lambda: target.read_memory(place, PIECE), lambda: dump(target, place, PIECE))
    figures.add("RAM upload of 256 KiB / dump", ours / plain, "x")


def measure_read(
    figures: Figures, running: Rig, target: MiTarget, loader: ExternalLoader, size: int, limit: float | None = 1.1
) -> None:
    """Compare reading, its proof by digests included, with dump: of the window, or of RAM with Read's own run time."""
    amount = f"{size // KIB} KiB" if size < MIB else f"{size // MIB} MiB"
    with Flasher(target, run_options(running), lambda _: None) as flasher:
        loaded = flasher.open(loader)
        flasher.read(loader, Range(running.flash, 256), lambda _: None)
        if "Read" not in loader.functions:
            where = Range(running.flash, size)
            ours, plain = medians(
                1 if size > 4 * MIB else 2,
                lambda: flasher.read(loader, where, lambda _: None),
                lambda: dump(target, where.address, size),
            )
            figures.add(f"reading {amount} of mapped memory / dump", ours / plain, "x", limit)
            return
        times = 1 if size > MIB else 2
        with watched(running, loaded, "Read") as reads:
            ours, plain = medians(
                times,
                lambda: flasher.read(loader, Range(running.flash, size), lambda _: None),
                lambda: dump_ram(target, running, size),
            )
        own = sum(each.seconds for each in reads) / times
        figures.add(f"reading {amount} through Read / (dump of RAM + its run time)", ours / (plain + own), "x", 1.2)
        figures.add("  of it Read's own run time", own, " s")
        figures.add("  dump of RAM", plain, " s")
        figures.add("  in all", ours, " s")


def measure_verify(figures: Figures, running: Rig, target: MiTarget, loader: ExternalLoader, data: bytes) -> None:
    """Compare verifying by digest with reading back."""
    jobs = plan_write((loader,), Content.at(running.flash, data), erase=EraseMode.NONE)
    with Flasher(target, run_options(running), lambda _: None) as flasher:
        loaded = flasher.open(loader)
        flasher.read(loader, Range(running.flash, 256), lambda _: None)
        inspection = Inspection(loaded, Phases(lambda _: None))
        by_digest, back = medians(
            1 if len(data) > MIB else 2,
            lambda: flasher.verify(jobs),
            lambda: inspection.verify(jobs[0].content, (), VerifyMode.READBACK),
        )
    how = "through Read" if "Read" in loader.functions else "of mapped memory"
    figures.at_least(f"reading back {how} / verifying by digest", back / by_digest, "x", 5)


def measure(figures: Figures, name: str, scale: float, *, full: bool) -> None:
    """Measure transfers on one server: unslowed, and where it can be at the speed of a real link."""
    figures.section(f"{name}: transfers")
    with rig(name) as running, running.target() as target:
        target.reset_and_halt()
        measure_ram(figures, running, target)
        if name == "QEMU":
            measure_read(figures, running, target, load_loader(running.loader), MIB, None)
        if name == "board" and running.loader_without_read is not None:
            measure_read(figures, running, target, load_loader(running.loader_without_read), 4 * MIB, None)
    if name == "QEMU":
        return
    figures.section(f"{name}: transfers, realistic, time x {scale:g}")
    size = 16 * MIB if full else MIB
    data = random.Random(4).randbytes(size)
    with rig(name, realistic=True, scale=scale) as running, running.target() as target:
        if running.chip is not None:
            running.chip.memory[:size] = data
        without_read = load_loader(running.loader_without_read or running.loader)
        measure_read(figures, running, target, without_read, size)
        measure_read(figures, running, target, load_loader(running.loader), size)
        if name in OPENOCD:
            measure_read(figures, running, target, load_loader(running.loader), PIECE)
        measure_verify(figures, running, target, without_read, data[: 4 * MIB])
