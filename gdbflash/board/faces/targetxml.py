"""What the board tells a debugger about itself: registers and memory, as GDB's XML and as tables.

What belongs here: data about the STM32H750 and how GDB wants to read it. Sources: "Debugging with GDB", appendix
"Target Descriptions" (ARM Features) and section "Memory Map Format"; RM0433 section 2.3 for the memories.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from gdbflash.board.debug import DebugPort


@dataclass(frozen=True)
class Register:
    """One register as GDB sees it; words names the DebugPort's 32-bit registers that it is made of, low first."""

    name: str
    number: int
    words: tuple[str, ...]
    bits: int = 32
    type: str = "int"
    group: str = "general"

    def read(self, port: DebugPort) -> bytes:
        """Give the value as GDB wants it: little-endian, bits / 8 bytes."""
        return struct.pack(f"<{len(self.words)}I", *map(port.read_register, self.words))[: self.bits // 8]

    def write(self, port: DebugPort, value: bytes) -> None:
        """Set the register from bits / 8 little-endian bytes."""
        for index, word in enumerate(self.words):
            port.write_register(word, int.from_bytes(value[4 * index : 4 * index + 4], "little"))


@dataclass(frozen=True)
class Feature:
    """A named set of registers; GDB knows what to do with the names that begin with org.gnu.gdb.arm."""

    name: str
    registers: tuple[Register, ...]


@dataclass(frozen=True)
class Region:
    """A piece of the memory map: kind is ram, rom or flash; sector is flash's erase size."""

    kind: str
    start: int
    length: int
    sector: int = 0


# GDB fixes the number of xPSR at 25: 16 to 24 were the registers of the old FPA coprocessor.
_XPSR_NUMBER = 25
_CORE_TYPES = {"sp": "data_ptr", "pc": "code_ptr"}


def core_registers(xpsr: str = "xpsr") -> tuple[Register, ...]:
    """R0 to PC at 0 to 15 and xPSR at 25, which some servers spell in capitals."""
    names = (*(f"r{number}" for number in range(13)), "sp", "lr", "pc")
    core = (Register(name, number, (name,), type=_CORE_TYPES.get(name, "int")) for number, name in enumerate(names))
    return (*core, Register(xpsr, _XPSR_NUMBER, ("xpsr",)))


def system_registers(*names: str, first: int = 26, mask_bits: int = 32) -> tuple[Register, ...]:
    """Stack pointers and masks in the order given; the masks hold one byte, which some servers also send as one."""
    return tuple(
        Register(name, number, (name,), type="data_ptr", group="system")
        if name in ("msp", "psp")
        else Register(name, number, (name,), mask_bits, "int8" if mask_bits == 8 else "int", "system")
        for number, name in enumerate(names, first)
    )


_SYSTEM = ("msp", "psp", "primask", "basepri", "faultmask", "control")
_DOUBLES = tuple(
    Register(f"d{n}", 32 + n, (f"s{2 * n}", f"s{2 * n + 1}"), 64, "ieee_double", "float") for n in range(16)
)

FEATURES = (
    Feature("org.gnu.gdb.arm.m-profile", core_registers()),
    Feature("org.gnu.gdb.arm.m-system", system_registers(*_SYSTEM)),
    Feature("org.gnu.gdb.arm.vfp", (*_DOUBLES, Register("fpscr", 48, ("fpscr",), group="float"))),
)
"""What most servers describe for a Cortex-M7 with its single-precision registers as pairs."""

FEATURES_IN_ONE = (
    Feature(
        "org.gnu.gdb.arm.m-profile",
        (
            *core_registers(),
            *system_registers("msp", "psp", "control", "faultmask", "basepri", "primask", mask_bits=8),
            *(Register(f"s{n}", 32 + n, (f"s{n}",), type="ieee_single", group="float") for n in range(32)),
            Register("fpscr", 64, ("fpscr",), group="float"),
        ),
    ),
)
"""st-util's way: one feature for all, masks of one byte, single-precision registers."""

RAM = (
    Region("ram", 0x00000000, 0x10000),  # ITCM
    Region("ram", 0x20000000, 0x20000),  # DTCM
    Region("ram", 0x24000000, 0x80000),  # AXI SRAM
    Region("ram", 0x30000000, 0x48000),  # SRAM1 to SRAM3
    Region("ram", 0x38000000, 0x10000),  # SRAM4
    Region("ram", 0x38800000, 0x1000),  # backup SRAM
)
FLASH = Region("flash", 0x08000000, 0x20000, sector=0x20000)
# Registers look like RAM to GDB: it may read and write them.
REGISTER_SPACE = (Region("ram", 0x40000000, 0x20000000), Region("ram", 0xE0000000, 0x20000000))
SYSTEM_MEMORY = Region("rom", 0x1FF00000, 0x20000)
EXTERNAL_WINDOW = Region("rom", 0x90000000, 0x10000000)


def target_xml(features: Sequence[Feature]) -> str:
    """Describe the registers as qXfer:features:read:target.xml answers it."""
    body = "".join(
        f'<feature name="{feature.name}">'
        + "".join(
            f'<reg name="{register.name}" bitsize="{register.bits}" regnum="{register.number}"'
            f' type="{register.type}" group="{register.group}"/>'
            for register in feature.registers
        )
        + "</feature>"
        for feature in features
    )
    return (
        '<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd">'
        f'<target version="1.0"><architecture>arm</architecture>{body}</target>'
    )


def memory_map_xml(regions: Sequence[Region]) -> str:
    """Describe the memories as qXfer:memory-map:read answers it."""

    def element(region: Region) -> str:
        head = f'<memory type="{region.kind}" start="0x{region.start:x}" length="0x{region.length:x}"'
        if region.kind != "flash":
            return head + "/>"
        return head + f'><property name="blocksize">0x{region.sector:x}</property></memory>'

    return (
        '<?xml version="1.0"?><!DOCTYPE memory-map PUBLIC "+//IDN gnu.org//DTD GDB Memory Map V1.0//EN"'
        ' "http://sourceware.org/gdb/gdb-memory-map.dtd">'
        f"<memory-map>{''.join(map(element, regions))}</memory-map>"
    )
