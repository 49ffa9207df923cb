"""Where a loader goes: which device this is, which RAM it has, and what that holds before the first call.

What belongs here: everything before a loader is in RAM. What is done with one that is there is in `loaded`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gdbflash.errors import PrepareError, TargetError
from gdbflash.events import BOARD, Detailed
from gdbflash.images.content import Content
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.onchip.device import security
from gdbflash.onchip.device.lookup import CPUID_ADDRESS, idcode_addresses, ram_around
from gdbflash.onchip.device.table import DEVICES
from gdbflash.onchip.digest import Routine
from gdbflash.onchip.layout import PAINT, WORD, Layout
from gdbflash.onchip.plan_layout import plan_layout
from gdbflash.onchip.prove_ram import Save, grown, is_memory
from gdbflash.onchip.routine_code import ENTRY_CODE
from gdbflash.options import CallOptions
from gdbflash.ranges import Range, joined
from gdbflash.target import Target

_BKPT = bytes.fromhex("00be00be")
"""Two BKPT #0 on the return word: the net below the breakpoint."""


@dataclass(frozen=True)
class DeviceIdentity:
    """Which device this is: DBGMCU DEV_ID and the unit's unique ID in hex, as far as they could be read."""

    device_id: int | None
    unit: str = ""


def identify(target: Target, link_address: int) -> DeviceIdentity:
    """Read DEV_ID and the unique ID; what the target does not tell stays unknown."""
    cpuid = _word(target, CPUID_ADDRESS)
    for address in idcode_addresses(cpuid or 0, link_address):
        device_id = (_word(target, address) or 0) & 0xFFF  # DEV_ID: bits 11..0 of DBGMCU_IDCODE on every line
        device = DEVICES.get(device_id)
        if device is None:
            continue
        if device.unique_id is None:
            return DeviceIdentity(device_id)
        places = [device.unique_id + offset for offset in device.id_offsets]
        return DeviceIdentity(device_id, _unique_id(target, places))
    return DeviceIdentity(None)


def introduced(target: Target, found: DeviceIdentity) -> Detailed:
    """Say which board this is, to people and to programs."""
    name = DEVICES[found.device_id].name if found.device_id in DEVICES else ""
    known = f"{name} (DEV_ID 0x{found.device_id:03X})" if found.device_id is not None else "a device not known here"
    return Detailed(
        BOARD,
        f"The target is {known}, unit {found.unit or 'not known'}",
        {
            "endpoint": target.capabilities.place,
            "server": target.capabilities.server,
            "device": name,
            "device_id": found.device_id,
            "unit": found.unit,
        },
    )


def _unique_id(target: Target, places: Sequence[int]) -> str:
    """Read the 96 bits that tell a unit from all others, in hex; empty where two reads differ or all bytes are equal.

    What is 0x00 or 0xFF all over is no ID, but flash that is locked or not there.
    """
    try:
        words = joined(Range(place, WORD) for place in places)
        once, again = (b"".join(target.read_memory(each.address, each.size) for each in words) for _ in range(2))
    except TargetError:
        return ""
    return once.hex() if once == again and len(set(once)) > 1 else ""


def _word(target: Target, address: int) -> int | None:
    try:
        return int.from_bytes(target.read_memory(address, WORD), "little")
    except TargetError:
        return None


def choose_layout(
    target: Target, loader: ExternalLoader, device: DeviceIdentity, options: CallOptions, save: Save | None = None
) -> Layout:
    """Plan the RAM and prove by a written and read word that it is there.

    Raises PlanError when no RAM is known or it is too small, PrepareError when the proof fails, or before anything is
    written where TrustZone does not let a debugger see it.
    """
    side = security.look(target)
    security.check(side, loader)
    stretches = (options.ram,) if options.ram else _stretches(target, loader, device, save)
    for ram in stretches:
        layout = plan_layout(loader, ram, largest_buffer=options.largest_buffer, static_base=options.static_base)
        if is_memory(target, layout.last_word, save):
            if save is not None:
                save((*layout.used, *loader.owned))
            return layout
    raise PrepareError(
        f"The RAM {stretches[-1]} does not hold what is written to its end (0x{layout.last_word:08X}). "
        f"Name the RAM that this device has with --ram START:SIZE.{security.hint(side, layout.last_word)}",
        address=layout.last_word,
    )


def _stretches(target: Target, loader: ExternalLoader, device: DeviceIdentity, save: Save | None) -> tuple[Range, ...]:
    """Name the RAM round a loader: of a known device what its manual says, else as much as is proven."""
    stretches = ram_around(loader.link_address, device.device_id)
    if device.device_id is not None:
        return stretches
    start = stretches[0].address
    size = grown(target, start, save)
    return (Range(start, size),) if size else stretches


def initial_memory(loader: ExternalLoader, layout: Layout, routine: Routine) -> Content:
    """Give what RAM holds before the first call: segments, zeroed NOBITS, our routines, paint on stack and guards.

    NOBITS come last and win over a segment that they overlap, as in two real loaders.
    """
    segments = Content.of((each.address, each.data) for each in loader.load_segments if each.data)
    zeros = Content.of((each.address, bytes(each.size)) for each in loader.zero_ranges if each.size)
    paint = [layout.stack, *layout.guards]
    ours = [
        (layout.return_address, _BKPT),
        (layout.entry.address, ENTRY_CODE),
        (layout.routine.address, routine.image),
        (layout.scratch.address, bytes(layout.scratch.size)),
        *((each.address, PAINT * (each.size // WORD)) for each in paint),
    ]
    return zeros.over(segments).over(Content.of(ours))


def placed(device: DeviceIdentity, layout: Layout) -> Detailed:
    """Tell where everything is."""
    known = DEVICES.get(device.device_id or 0)
    name = (
        f"{known.name} (DEV_ID 0x{device.device_id:03X}, unique ID {device.unit or 'unknown'})" if known else "unknown"
    )
    return Detailed(
        "placed",
        f"The device is {name}; in its RAM {layout.ram} calls return to 0x{layout.return_address:08X}, the stack is "
        f"{layout.stack}, the buffer {layout.buffer}.",
        {
            "device_id": device.device_id,
            "unit": device.unit,
            "ram": [layout.ram.address, layout.ram.size],
            "stack": [layout.stack.address, layout.stack.size],
            "buffer": [layout.buffer.address, layout.buffer.size],
        },
    )
