"""What is known of STM32 devices: where their RAM lies and which unit this one is.

What belongs here: pure look-ups in `table`.
"""

from __future__ import annotations

from gdbflash.errors import PlanError
from gdbflash.onchip.device.table import DEVICES, KIB, PART_M4, PART_M7, SECURE_ALIAS, Device
from gdbflash.ranges import Range

CPUID_ADDRESS = 0xE000ED00
"""SCB CPUID (ARMv7-M ARM, B3.2.3; the same address in ARMv6-M and ARMv8-M)."""

# What every known member of a family has at the usual link addresses, for a device that did not tell its DEV_ID.
# 32 KiB at 0x20000000 and 128 KiB at 0x24000000 are the least of the table above.
_SMALLEST: tuple[Range, ...] = (
    Range(0x24000000, 128 * KIB),
    Range(0x20000000, 32 * KIB),
    Range(0x34180000, 256 * KIB),  # STM32N6: AXISRAM2 behind the boot ROM's area (RM0486, memory map)
    Range(0x30000000, 32 * KIB),  # with TrustZone, what 0x20000000 is for the secure side
)

# The part number field of CPUID tells the core; the core tells where DBGMCU_IDCODE is (see the manuals above).
_PART_M0 = 0xC20
_PART_M0_PLUS = 0xC60
_PART_M33 = 0xD21
_PART_M55 = 0xD22
_IDCODE_M0 = 0x40015800
_IDCODE_M3_M4_F7 = 0xE0042000
_IDCODE_H7 = 0x5C001000
_IDCODE_M33 = 0xE0044000
_IDCODE_N6 = 0x44001000


def idcode_addresses(cpuid: int, link_address: int) -> tuple[int, ...]:
    """Name the addresses where DBGMCU_IDCODE may be, the likeliest first."""
    part = cpuid >> 4 & 0xFFF
    if part in (_PART_M0, _PART_M0_PLUS):
        return (_IDCODE_M0,)
    if part == _PART_M33:
        return (_IDCODE_M33,)
    if part == _PART_M55:
        return (_IDCODE_N6,)
    if part == PART_M4:
        return (_IDCODE_M3_M4_F7, _IDCODE_H7)  # that of an H7 with two cores
    if part == PART_M7:
        axi_sram = link_address >> 24 in (0x24, 0x30, 0x38)
        # F7 and H7 share the core; a loader linked into AXI or D2/D3 SRAM can only be for an H7.
        return (_IDCODE_H7,) if axi_sram else (_IDCODE_H7, _IDCODE_M3_M4_F7)
    return (_IDCODE_M3_M4_F7,)


def internal_erased_value(device_id: int | None) -> int | None:
    """Give what an erase leaves in internal flash; None where the device is not known."""
    device = DEVICES.get(device_id) if device_id is not None else None
    return device.erased_value if device is not None else None


def _ram_of(device: Device) -> tuple[Range, ...]:
    """List a device's RAM, where there is TrustZone by the addresses of both sides."""
    aliases = (Range(each.address ^ SECURE_ALIAS, each.size) for each in device.ram if device.trustzone)
    return (*device.ram, *aliases)


def ram_around(link_address: int, device_id: int | None) -> tuple[Range, ...]:
    """Name the RAM stretches around a loader's link address, largest first; raises PlanError where none is known."""
    device = DEVICES.get(device_id) if device_id is not None else None
    found = tuple(ram for ram in (_ram_of(device) if device is not None else _SMALLEST) if link_address in ram)
    if found:
        return found
    if device is not None:
        raise PlanError(
            f"The loader is linked at 0x{link_address:08X}, which is no RAM of this {device.name}. "
            "Use the loader made for this device, or name the RAM with --ram START:SIZE.",
            link_address=link_address,
            device=device.name,
        )
    raise PlanError(
        f"No RAM is known around the loader's link address 0x{link_address:08X}. Name it with --ram START:SIZE.",
        link_address=link_address,
    )
