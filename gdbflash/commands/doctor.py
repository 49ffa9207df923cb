"""Look at everything a run needs, piece by piece, and say how to get what is missing.

What belongs here: the checks of `gdbflash doctor` on a target, for both front ends; what a front end itself needs is
looked at there. Each is tried although an earlier one failed, as far as it can be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gdbflash.errors import GdbflashError, PlanError, TargetError
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.onchip.device.lookup import CPUID_ADDRESS, ram_around
from gdbflash.onchip.device.read_protection import MEANING, protection_level
from gdbflash.onchip.device.table import DEVICES
from gdbflash.onchip.placement import DeviceIdentity, identify
from gdbflash.onchip.plan_layout import plan_layout
from gdbflash.options import After
from gdbflash.ranges import Range
from gdbflash.target import Target

_CORES = {0xC20: "Cortex-M0", 0xC60: "Cortex-M0+", 0xC23: "Cortex-M3", 0xC24: "Cortex-M4", 0xC27: "Cortex-M7"}
_CORES |= {0xD20: "Cortex-M23", 0xD21: "Cortex-M33", 0xD22: "Cortex-M55"}
_NEEDED = ("r0", "r1", "r2", "r3", "r9", "sp", "lr", "pc", "xpsr")
_WANTED = ("msp", "psp", "primask", "control")


@dataclass(frozen=True)
class Check:
    """One thing looked at; ok None means that it could not be looked at or does not matter much."""

    name: str
    ok: bool | None
    message: str


def check_target(target: Target, loaders: tuple[ExternalLoader, ...], ram: Range | None = None) -> Iterator[Check]:
    """Look at a connected target; it is halted, and nothing in it is changed. ram: what --ram named."""
    capabilities = target.capabilities
    yield Check("server", True, capabilities.server)
    if capabilities.server == "openocd":
        if capabilities.memory_while_running:
            yield Check("Tcl port", True, "it is this OpenOCD's: data is sent while a loader runs")
        else:
            yield Check("Tcl port", None, "not found: no data is sent while a loader runs; name it with --tcl")
    missing = [name for name in _NEEDED if name not in capabilities.registers]
    unseen = [name for name in _WANTED if name not in capabilities.registers]
    if missing:
        yield Check("registers", False, f"{', '.join(missing)} are not offered: no function can be called without them")
    else:
        lacking = f"; without {', '.join(unseen)}, which then keep what they hold" if unseen else ""
        yield Check("registers", True, f"{len(capabilities.registers)} found{lacking}")
    try:
        cpuid = int.from_bytes(target.read_memory(CPUID_ADDRESS, 4), "little")
        core = _CORES.get(cpuid >> 4 & 0xFFF, "unknown core")
        yield Check("target", True, f"{core}, CPUID 0x{cpuid:08X}")
    except GdbflashError as error:
        yield Check("target", False, f"its CPUID cannot be read: {error.message}")
    link_address = loaders[0].link_address if loaders else 0x24000004
    device = identify(target, link_address)
    if device.device_id is None:
        yield Check("device", None, "DBGMCU tells no known DEV_ID: name the RAM with --ram where a command asks for it")
    else:
        unit = f", unique ID {device.unit}" if device.unit else ""
        yield Check("device", True, f"{DEVICES[device.device_id].name} (DEV_ID 0x{device.device_id:03X}){unit}")
    level = protection_level(target, device.device_id)
    if level is not None:
        yield Check("read protection", None if level else True, f"it is {MEANING[level]}")
    if not loaders:
        yield _known_ram(device, ram)
    for loader in loaders:
        try:
            chosen = ram or ram_around(loader.link_address, device.device_id)[0]
            plan_layout(loader, chosen)
            yield Check("RAM", True, f"{chosen} for {loader.path}")
        except PlanError as error:
            yield Check("RAM", False, error.message)


def leave(target: Target, after: After) -> Check:
    """Let the core go on as asked, after which the target can only be closed; raises ConnectionLost."""
    try:
        if after is After.RUN:
            target.resume()
        elif after is After.RESET:
            target.reset_and_run()
    except TargetError as error:
        return Check("core", False, f"it was halted to be looked at and cannot be left so: {error.message}")
    how = {After.RUN: "it was halted to be looked at and goes on", After.RESET: "it was reset and runs"}
    halted = "it runs, as this server lets it when GDB goes" if target.capabilities.lets_core_go else "it stays halted"
    return Check("core", True, how.get(after, halted))


def _known_ram(device: DeviceIdentity, named: Range | None) -> Check:
    """Say which RAM a loader could use."""
    if named is not None:
        return Check("RAM", True, f"{named}, as --ram says")
    if device.device_id is None:
        return Check("RAM", None, "not known: name it with --ram START:SIZE; with -l, that of the loader is looked at")
    largest: dict[int, Range] = {}
    for stretch in DEVICES[device.device_id].ram:  # the largest of those that begin alike comes first
        largest.setdefault(stretch.address, stretch)
    return Check("RAM", True, f"{', '.join(map(str, largest.values()))}; with -l, that of the loader is looked at")
