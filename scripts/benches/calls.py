"""What a command and a loader call cost, against the same over raw RSP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gdbflash.flash.flasher import Flasher
from gdbflash.loaders.stldr import load_loader
from gdbflash.mi.target import MiTarget
from gdbflash.onchip.call import Call
from gdbflash.onchip.loaded import LoadedLoader, Operation
from gdbflash.options import After, CallOptions, RunOptions

from .figures import Figures, medians
from .rawrsp import RawRsp, raw_call
from .rigs import OPENOCD, Packets, Rig, rig

CALLS = 100
PACKETS_PER_CALL = 10


@contextmanager
def opened(running: Rig, target: MiTarget) -> Iterator[LoadedLoader]:
    """Give the rig's loader, initialised for reading."""
    options = RunOptions(after=After.HALT, calls=CallOptions(ram=running.ram))
    with Flasher(target, options, lambda _: None) as flasher:
        yield flasher.open(load_loader(running.loader), Operation.READ)


def short_call(running: Rig, loaded: LoadedLoader) -> Call:
    """Choose a call that does next to nothing."""
    functions = loaded.loader.functions
    if "CheckSum" in functions:
        return Call("CheckSum", functions["CheckSum"], (running.flash, 4, 0))
    return Call("Read", functions["Read"], (running.flash, 4, loaded.layout.buffer.address))


def count_packets(running: Rig) -> float:
    """Count what GDB sends for a call."""
    packets = Packets()
    with running.target(packets=packets) as target, opened(running, target) as loaded:
        call = short_call(running, loaded)
        loaded.call(call)
        target.log_packets(True)
        packets.count = 0
        for _ in range(10):
            loaded.call(call)
        count = packets.count / 10
        target.log_packets(False)
    return count


def without_tcl(target: MiTarget, loaded: LoadedLoader, call: Call) -> float:
    """Measure a call for which OpenOCD is asked through GDB alone."""
    with_tcl, target._tcl = target._tcl, None
    (seconds,) = medians(CALLS, lambda: loaded.call(call))
    target._tcl = with_tcl
    return seconds


def measure(figures: Figures, name: str) -> None:
    """Measure commands and calls on one server."""
    figures.section(f"{name}: commands and calls")
    with rig(name) as running:
        figures.add("RSP packets per loader call", count_packets(running), "", PACKETS_PER_CALL)
        with running.target() as target, opened(running, target) as loaded:
            call = short_call(running, loaded)
            place = loaded.layout.buffer.address
            command, ours = medians(CALLS, lambda: target.read_memory(place, 4), lambda: loaded.call(call))
            alone = without_tcl(target, loaded, call) if name in OPENOCD else 0.0
            layout = loaded.layout
        rsp = RawRsp(running.port, running.tcl_port)
        rsp.ask(f"Z0,{layout.return_address:x},2")
        registers = {
            **{f"r{index}": value for index, value in enumerate(call.arguments)},
            "sp": layout.stack_top,
            "lr": layout.return_address | 1,
            "pc": call.address,
        }
        raw_command, raw = medians(CALLS, lambda: rsp.ask(f"m{place:x},4"), lambda: raw_call(rsp, registers))
        rsp.ask(f"z0,{layout.return_address:x},2")
        rsp.close()
    figures.add("command (4 bytes read): over raw RSP's own time", 1000 * (command - raw_command), " ms", 2)
    figures.add("loader call / the same over raw RSP", ours / raw, "x", 5 if name == "board" else None)
    figures.add("a loader call", 1000 * ours, " ms", 20 if name in OPENOCD else None)
    if alone:
        figures.add("a loader call without the Tcl port", 1000 * alone, " ms", 8)
    if name in OPENOCD:
        with rig(name, realistic=True) as running, running.target() as target, opened(running, target) as loaded:
            call = short_call(running, loaded)
            (ours,) = medians(CALLS, lambda: loaded.call(call))
            alone = without_tcl(target, loaded, call)
        figures.add("a loader call, realistic link", 1000 * ours, " ms")
        figures.add("the same without the Tcl port", 1000 * alone, " ms")
