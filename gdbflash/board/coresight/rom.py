"""Identification registers and ROM tables: what a debugger reads to find its way round an STM32H7.

What belongs here: constant data about debug components and its layout in registers; nothing that acts. Trace
components (ITM, ETM, CTI, funnels, ETF, TPIU, SWO) are identified but not modelled.

Sources: ARM IHI 0029 (CoreSight) B2 for the identification registers, ARM IHI 0031 (ADIv5) D3 for ROM tables,
ARM DDI 0489 (Cortex-M7) chapter 9 for the processor's, ST RM0433 section 60 for the system's.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

PAGE = 0x1000


class ComponentClass(enum.IntEnum):
    """CIDR1[7:4]."""

    ROM_TABLE = 0x1
    CORESIGHT = 0x9
    GENERIC_IP = 0xE


@dataclass(frozen=True)
class Designer:
    """A JEP106 code: continuation count and identity without parity."""

    continuation: int
    identity: int


ARM = Designer(4, 0x3B)
ST = Designer(0, 0x20)


@dataclass(frozen=True)
class Component:
    """One 4 KiB block of debug registers; entries are the components that a ROM table lists."""

    name: str
    base: int
    part: int
    kind: ComponentClass = ComponentClass.CORESIGHT
    designer: Designer = ARM
    revision: int = 0
    device_type: int = 0
    device_id: int = 0
    architecture: int = 0
    entries: tuple[tuple[int, bool], ...] = ()
    """Addresses of a ROM table's components, and whether each is present."""

    def identification(self) -> dict[int, int]:
        """Return the constant registers by offset: peripheral and component ID, and the ROM table's entries."""
        maker = self.designer
        peripheral = (
            self.part & 0xFF,
            (maker.identity & 0xF) << 4 | self.part >> 8,
            self.revision << 4 | 0x8 | maker.identity >> 4,  # bit 3: the designer is a JEP106 code
            0,
        )
        registers = {0xFE0 + 4 * index: value for index, value in enumerate(peripheral)}
        registers.update({0xFD0: maker.continuation, 0xFD4: 0, 0xFD8: 0, 0xFDC: 0})
        preamble = (0x0D, self.kind << 4, 0x05, 0xB1)
        registers.update({0xFF0 + 4 * index: value for index, value in enumerate(preamble)})
        if self.kind is ComponentClass.CORESIGHT:
            registers.update({0xFBC: self.architecture, 0xFC8: self.device_id, 0xFCC: self.device_type})
        if self.kind is ComponentClass.ROM_TABLE:
            registers.update(self._rom_entries())
        return registers

    def _rom_entries(self) -> dict[int, int]:
        # Bit 1: 32-bit format, bit 0: present. A zero word ends the table; MEMTYPE (0xFCC) says that the
        # same bus also reaches system memory.
        entries = {
            4 * index: (address - self.base) & 0xFFFFF000 | 0b10 | present
            for index, (address, present) in enumerate(self.entries)
        }
        return {**entries, 4 * len(entries): 0, 0xFCC: 1}


AHB_ROM_TABLE = 0xE00FE000
APB_ROM_TABLE = 0xE00E0000

PROCESSOR_COMPONENTS = (
    Component("ITM", 0xE0000000, 0x001, ComponentClass.GENERIC_IP),
    Component("DWT", 0xE0001000, 0x002, ComponentClass.GENERIC_IP),
    Component("FPB", 0xE0002000, 0x00E, ComponentClass.GENERIC_IP),
    Component("SCS", 0xE000E000, 0x00C, ComponentClass.GENERIC_IP),
    Component("ETM", 0xE0041000, 0x975, device_type=0x13, architecture=0x47704A13),
    Component("CTI", 0xE0043000, 0x906, revision=5, device_type=0x14, device_id=0x40800),
    Component(
        "CPU ROM table",
        AHB_ROM_TABLE,
        0x450,
        ComponentClass.ROM_TABLE,
        ST,
        entries=((0xE00FF000, True), (0xE0041000, True), (0xE0043000, True)),
    ),
    Component(
        "PPB ROM table",
        0xE00FF000,
        0x4C7,
        ComponentClass.ROM_TABLE,
        entries=(
            (0xE000E000, True),
            (0xE0001000, True),
            (0xE0002000, True),
            (0xE0000000, True),
            (0xE0040000, False),  # the TPIU and the ETM of this table's own slots: the H7 has others
            (0xE0041000, False),
        ),
    ),
)
"""On the processor's private peripheral bus, seen through AP 0."""

SYSTEM_COMPONENTS = (
    Component(
        "system ROM table 1",
        APB_ROM_TABLE,
        0x450,
        ComponentClass.ROM_TABLE,
        ST,
        entries=((0xE00E3000, True), (0xE00E4000, True), (0xE00F0000, True)),
    ),
    Component("SWO", 0xE00E3000, 0x914, revision=1, device_type=0x11, device_id=0xEA0),
    Component("SWO funnel", 0xE00E4000, 0x908, revision=3, device_type=0x12, device_id=0x32),
    Component(
        "system ROM table 2",
        0xE00F0000,
        0x001,
        ComponentClass.ROM_TABLE,
        ST,
        entries=(
            (0xE00F1000, True),
            (0xE00F2000, False),
            (0xE00F3000, True),
            (0xE00F4000, True),
            (0xE00F5000, True),
        ),
    ),
    Component("system CTI", 0xE00F1000, 0x906, revision=5, device_type=0x14, device_id=0x40800),
    Component("trace funnel", 0xE00F3000, 0x908, revision=3, device_type=0x12, device_id=0x34),
    Component("ETF", 0xE00F4000, 0x961, revision=1, device_type=0x32, device_id=0x380),
    Component("TPIU", 0xE00F5000, 0x912, revision=4, device_type=0x11, device_id=0xA0),
)
"""On the debug APB (APB-D), seen through AP 2, and by the bus masters APB_D_ALIAS lower."""

APB_D_ALIAS = 0xE00E0000 - 0x5C000000
"""What AP 2 calls 0xE00E1000 (DBGMCU) is 0x5C001000 for the processor and for AP 0."""
