"""What is known of STM32 devices: where their RAM lies and which unit this one is.

What belongs here: device facts as data, and pure look-ups in them. A stretch is RAM without gaps; where members of
one DEV_ID or their option bytes differ, the larger stretch comes first and the chip decides by a written and read
word. The reference manual of each line (DBGMCU_IDCODE, memory map) is the source.
"""

from __future__ import annotations

from dataclasses import dataclass

from gdbflash.errors import PlanError
from gdbflash.ranges import Range

KIB = 1024

CPUID_ADDRESS = 0xE000ED00
"""SCB CPUID (ARMv7-M ARM, B3.2.3; the same address in ARMv6-M and ARMv8-M)."""


@dataclass(frozen=True)
class Device:
    """Members of one DEV_ID: their name, RAM stretches and the address of the 96-bit unique ID."""

    name: str
    ram: tuple[Range, ...]
    unique_id: int | None = None


def _device(name: str, *ram: tuple[int, int], unique_id: int | None = None) -> Device:
    return Device(name, tuple(Range(start, kib * KIB) for start, kib in ram), unique_id)


_DTCM_H7 = (0x20000000, 128)

# Reference manuals: RM0433 and RM0455, RM0468, RM0477 (H7), RM0385, RM0410, RM0431 (F7), RM0090, RM0390, RM0386,
# RM0430, RM0383 (F4), RM0351, RM0432, RM0394 (L4), RM0440 (G4), RM0444 (G0), RM0438 (L5), RM0456 (U5),
# RM0481 and RM0492 (H5).
DEVICES: dict[int, Device] = {
    0x450: _device("STM32H742/743/750/753", (0x24000000, 512), (0x24000000, 384), _DTCM_H7, unique_id=0x1FF1E800),
    0x480: _device("STM32H7A3/7B3/7B0", (0x24000000, 1024), _DTCM_H7, unique_id=0x08FFF800),
    0x483: _device("STM32H72x/73x", (0x24000000, 320), (0x24000000, 128), _DTCM_H7, unique_id=0x1FF1E800),
    0x485: _device("STM32H7R/7S", (0x24000000, 128), (0x20000000, 64), unique_id=0x08FFF800),
    0x449: _device("STM32F745/746/750/756", (0x20000000, 320), unique_id=0x1FF0F420),
    0x451: _device("STM32F765/767/769/777/779", (0x20000000, 512), unique_id=0x1FF0F420),
    0x452: _device("STM32F722/723/730/732/733", (0x20000000, 256), unique_id=0x1FF07A10),
    0x413: _device("STM32F405/407/415/417", (0x20000000, 128), unique_id=0x1FFF7A10),
    0x419: _device("STM32F427/429/437/439", (0x20000000, 192), unique_id=0x1FFF7A10),
    0x434: _device("STM32F469/479", (0x20000000, 320), unique_id=0x1FFF7A10),
    0x421: _device("STM32F446", (0x20000000, 128), unique_id=0x1FFF7A10),
    0x431: _device("STM32F411", (0x20000000, 128), unique_id=0x1FFF7A10),
    0x441: _device("STM32F412", (0x20000000, 256), unique_id=0x1FFF7A10),
    0x463: _device("STM32F413/423", (0x20000000, 320), unique_id=0x1FFF7A10),
    0x415: _device("STM32L475/476/486", (0x20000000, 96), unique_id=0x1FFF7590),
    0x435: _device("STM32L43x/44x", (0x20000000, 48), unique_id=0x1FFF7590),
    0x461: _device("STM32L496/4A6", (0x20000000, 256), unique_id=0x1FFF7590),
    0x462: _device("STM32L45x/46x", (0x20000000, 128), unique_id=0x1FFF7590),
    0x470: _device("STM32L4R/4S", (0x20000000, 640), unique_id=0x1FFF7590),
    0x471: _device("STM32L4P5/4Q5", (0x20000000, 320), unique_id=0x1FFF7590),
    0x468: _device("STM32G431/441", (0x20000000, 22), unique_id=0x1FFF7590),
    0x469: _device("STM32G471/473/474/483/484", (0x20000000, 96), unique_id=0x1FFF7590),
    0x479: _device("STM32G491/4A1", (0x20000000, 96), unique_id=0x1FFF7590),
    0x460: _device("STM32G070/071/081", (0x20000000, 32), unique_id=0x1FFF7590),
    0x467: _device("STM32G0B0/0B1/0C1", (0x20000000, 128), unique_id=0x1FFF7590),
    0x472: _device("STM32L552/562", (0x20000000, 256), unique_id=0x0BFA0590),
    0x455: _device("STM32U535/545", (0x20000000, 256), unique_id=0x0BFA0700),
    0x482: _device("STM32U575/585", (0x20000000, 768), unique_id=0x0BFA0700),
    0x481: _device("STM32U595/599/5A5/5A9", (0x20000000, 2496), unique_id=0x0BFA0700),
    0x476: _device("STM32U5F/5G", (0x20000000, 3008), unique_id=0x0BFA0700),
    0x474: _device("STM32H503", (0x20000000, 32), unique_id=0x08FFF800),
    0x478: _device("STM32H523/533", (0x20000000, 272), unique_id=0x08FFF800),
    0x484: _device("STM32H562/563/573", (0x20000000, 640), unique_id=0x08FFF800),
}

# What every known member of a family has at the usual link addresses, for a device that did not tell its DEV_ID.
# 32 KiB at 0x20000000 and 128 KiB at 0x24000000 are the least of the table above.
_SMALLEST: tuple[Range, ...] = (
    Range(0x24000000, 128 * KIB),
    Range(0x20000000, 32 * KIB),
    Range(0x34180000, 256 * KIB),  # STM32N6: AXISRAM2 behind the boot ROM's area (RM0486, memory map)
)

# The part number field of CPUID tells the core; the core tells where DBGMCU_IDCODE is (see the manuals above).
_PART_M0 = 0xC20
_PART_M0_PLUS = 0xC60
_PART_M7 = 0xC27
_PART_M33 = 0xD21
_IDCODE_M0 = 0x40015800
_IDCODE_M3_M4_F7 = 0xE0042000
_IDCODE_H7 = 0x5C001000
_IDCODE_M33 = 0xE0044000


def idcode_addresses(cpuid: int, link_address: int) -> tuple[int, ...]:
    """Name the addresses where DBGMCU_IDCODE may be, the likeliest first."""
    part = cpuid >> 4 & 0xFFF
    if part in (_PART_M0, _PART_M0_PLUS):
        return (_IDCODE_M0,)
    if part == _PART_M33:
        return (_IDCODE_M33,)
    if part == _PART_M7:
        axi_sram = link_address >> 24 in (0x24, 0x30, 0x38)
        # F7 and H7 share the core; a loader linked into AXI or D2/D3 SRAM can only be for an H7.
        return (_IDCODE_H7,) if axi_sram else (_IDCODE_H7, _IDCODE_M3_M4_F7)
    return (_IDCODE_M3_M4_F7,)


def ram_around(link_address: int, device_id: int | None) -> tuple[Range, ...]:
    """Name the RAM stretches around a loader's link address, largest first; raises PlanError where none is known."""
    device = DEVICES.get(device_id) if device_id is not None else None
    found = tuple(ram for ram in (device.ram if device is not None else _SMALLEST) if link_address in ram)
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
