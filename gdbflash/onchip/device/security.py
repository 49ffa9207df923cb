"""TrustZone: which side of it a debugger may see, and whether a loader lies on the other one.

What belongs here: what the core says of that, and the refusal of what cannot work. Most STM32 with a Cortex-M33 or M55
show each memory and peripheral at two addresses, of which that with bit 28 set is the secure one: RAM at 0x20000000 and
0x30000000, peripherals at 0x40000000 and 0x50000000, internal flash at 0x08000000 and 0x0C000000. External memory has
one address.

Source: Armv8-M Architecture Reference Manual (DDI 0553), D1.2 (DAUTHSTATUS, DHCSR, DSCSR); RM0438 (L5), RM0456 (U5) and
RM0481 (H5), chapters "System security", on TrustZone address aliases and the security attribution of memories.
"""

from __future__ import annotations

from dataclasses import dataclass

from gdbflash.errors import MemoryAccessError, PrepareError
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.onchip.device.lookup import CPUID_ADDRESS
from gdbflash.onchip.device.table import SECURE_ALIAS
from gdbflash.onchip.layout import WORD
from gdbflash.target import Target

DAUTHSTATUS, DHCSR, DSCSR = 0xE000EFB8, 0xE000EDF0, 0xE000EE08
_SID, _DISABLED = 4, 0b10
"""DAUTHSTATUS, bits 5 and 4: 00 without the Security Extension, 10 forbidden, 11 allowed."""
_S_SDE, _CDS = 1 << 20, 1 << 16
_ARMV8M_PARTS = range(0xD20, 0xD30)
"""Cortex-M23, M33, M55 and M85, by the part number in CPUID."""


@dataclass(frozen=True)
class Security:
    """What an Armv8-M core with TrustZone says to a debugger."""

    secure_debug: bool
    """The Secure side may be debugged; else its memory reads as zero, and writes to it do nothing."""
    secure_now: bool
    """The core is halted on the Secure side."""

    @property
    def in_words(self) -> str:
        """Say it for people."""
        side = "secure" if self.secure_now else "non-secure"
        allowed = "may" if self.secure_debug else "may not"
        return f"The core has TrustZone and is on its {side} side; the secure one {allowed} be debugged."


def look(target: Target) -> Security | None:
    """Ask the core; None for one without TrustZone, and where the server does not show these registers."""
    try:
        if _word(target, CPUID_ADDRESS) >> 4 & 0xFFF not in _ARMV8M_PARTS:
            return None
        allowed = _word(target, DAUTHSTATUS) >> _SID & 0b11
        if not allowed:
            return None
        secure_debug = allowed != _DISABLED or bool(_word(target, DHCSR) & _S_SDE)
        return Security(secure_debug, bool(_word(target, DSCSR) & _CDS))
    except MemoryAccessError:
        return None


def is_secure_alias(address: int) -> bool:
    """Tell whether an address of RAM is one that only the Secure side may use, on a device with TrustZone."""
    return address >> 28 == 3


def check(security: Security | None, loader: ExternalLoader) -> None:
    """Raise PrepareError for a loader of the Secure side on a device whose Secure side may not be debugged."""
    if security is None or security.secure_debug or not is_secure_alias(loader.link_address):
        return
    raise PrepareError(
        f"{loader.storage.name} is linked at the secure address 0x{loader.link_address:08X}, and this device does not "
        "let its secure side be debugged (TrustZone, DHCSR.S_SDE). Use a loader linked at "
        f"0x{loader.link_address & ~SECURE_ALIAS:08X}, or open the device for secure debug.",
        link_address=loader.link_address,
    )


def hint(security: Security | None, address: int) -> str:
    """Say, as what ends a message, which side RAM may belong to that does not hold what is written."""
    if security is None:
        return ""
    if is_secure_alias(address):
        return " TrustZone may have given it to the non-secure side."
    return f" TrustZone may have given it to the secure side, which sees it at 0x{address ^ SECURE_ALIAS:08X}."


def _word(target: Target, address: int) -> int:
    return int.from_bytes(target.read_memory(address, WORD), "little")
