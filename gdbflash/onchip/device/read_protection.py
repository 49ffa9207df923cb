"""How far the device keeps debuggers out of its internal flash (RDP).

What belongs here: the look at the option register that `table` names, and what a level means in words.
"""

from __future__ import annotations

from gdbflash.errors import PrepareError, TargetError
from gdbflash.onchip.device.table import DEVICES
from gdbflash.target import Target

MEANING = {
    0: "off",
    1: "at level 1: a debugger can neither read nor program internal flash, and going back to level 0 erases it",
    2: "at level 2, for ever: a debugger gets at nothing of it",
}
"""Completes `Read protection is`."""


def protection_level(target: Target, device_id: int | None) -> int | None:
    """Give the level of read protection; None where the device tells none, or the register cannot be read."""
    device = DEVICES.get(device_id) if device_id is not None else None
    if device is None or device.protection is None:
        return None
    try:
        value = int.from_bytes(target.read_memory(device.protection.register, 4), "little")
    except TargetError:
        return None
    return device.protection.level(value)


def check_open(target: Target, device_id: int | None) -> None:
    """See that internal flash may be programmed, as far as the device tells; raises PrepareError."""
    level = protection_level(target, device_id)
    if level:
        raise PrepareError(
            f"Read protection is {MEANING[level]}. Nothing was touched; set the option bytes with the vendor's tool "
            "first, or load only what is external with `gdbflash write --only-external`.",
            level=level,
        )
