"""STM32 devices, line by line, as their reference manuals have them.

What belongs here: data alone. A stretch is RAM without gaps; where members of one DEV_ID differ, or their option bytes
do, the larger stretch comes first, and the chip decides by a written and read word. Look-ups are in `lookup`.

To add a device: its DEV_ID, name and RAM in KiB among the members of its line in DEVICES, or a new line; and the DEV_ID
in `tests/unit/test_devices.py`. Where a new core has DBGMCU_IDCODE at another address, `lookup.idcode_addresses` says.

Source: of each line the manual that is named: the memory map, DBGMCU_IDCODE and its freeze registers, the unique device
ID registers, the reset flags of RCC, IWDG, the option register that shows the read protection (RDP), what lets a
second core run, and for `trustzone` the memory's addresses on the two sides (chapters "System security").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gdbflash.ranges import Range

KIB = 1024
SECURE_ALIAS = 1 << 28
"""What makes a memory's non-secure address the secure one, on devices with TrustZone."""


@dataclass(frozen=True)
class Protection:
    """Where the level of read protection (RDP) shows: a field of a register, 0xAA or `open` for level 0."""

    register: int
    shift: int = 0
    mask: int = 0xFF
    open: int = 0xAA
    locked: int = 0xCC
    """Level 2; every other value is level 1."""

    def level(self, value: int) -> int:
        """Give the level that the register's value tells."""
        found = value >> self.shift & self.mask
        return 0 if found == self.open else 2 if found == self.locked else 1


@dataclass(frozen=True)
class Bit:
    """One bit of a register."""

    register: int
    number: int

    @property
    def mask(self) -> int:
        """The bit in its register's value."""
        return 1 << self.number


@dataclass(frozen=True)
class Watchdog:
    """The independent watchdog (IWDG), which an option bit may start at each reset."""

    freeze: Bit
    """Of DBGMCU: it stands still while the core is halted."""
    hit: Bit
    """Of RCC: it has reset the device since the flags were cleared."""
    by_software: Bit
    """Of the current option bytes: only a program starts it; 0: each reset does."""
    base: int = 0x40003000


@dataclass(frozen=True)
class SecondCore:
    """The core beside the one under debug, and the bits by any of which it was let out of reset."""

    name: str
    started: tuple[Bit, ...]


@dataclass(frozen=True)
class TwoCores:
    """Which members of a DEV_ID have two cores, and by the core under debug (its part in CPUID) which is the other."""

    other: Mapping[int, SecondCore]
    line: int | None = None
    """Address of the line identifier; None where members with one core say that no other one was started."""
    lines: frozenset[str] = frozenset()
    """Line identifiers of the members with two."""


@dataclass(frozen=True)
class Device:
    """Members of one DEV_ID: their line and name, RAM stretches, and where unique ID and read protection show."""

    line: str
    name: str
    manual: str
    ram: tuple[Range, ...]
    unique_id: int | None = None
    """Address of the 96-bit unique ID; None where the manual names none."""
    id_offsets: tuple[int, int, int] = (0, 4, 8)
    """Of its three words."""
    protection: Protection | None = None
    """None where no single register tells: H7R/S and N6 have life cycle states instead."""
    erased_value: int = 0xFF
    """Of internal flash: what an erase leaves."""
    watchdog: Watchdog | None = None
    """None where it is not known here."""
    two_cores: TwoCores | None = None
    """None where all members have one."""
    trustzone: bool = False
    """Each stretch is seen twice: `ram` names one of its two addresses, the other one differs in SECURE_ALIAS."""


_DTCM_H7 = (0x20000000, 128)
_OBR = 0x4002201C
_F0_F3 = Protection(_OBR, shift=1, mask=3, open=0, locked=3)  # RDPRT[1:0]
_F1 = Protection(_OBR, shift=1, mask=1, open=0, locked=2)  # RDPRT: there is no level 2
_L0 = Protection(0x4002201C)
_L1 = Protection(0x40023C1C)
_F2_F4_F7 = Protection(0x40023C14, shift=8)
_G_L4 = Protection(0x40022020)
_WB_WL = Protection(0x58004020)
_H7 = Protection(0x5200201C, shift=8)
_M33 = Protection(0x40022040)
_H5 = Protection(0x40022050, shift=8, open=0xED, locked=0x5C)  # PRODUCT_STATE: open, locked
_APART = (0, 4, 0x14)
PART_M4, PART_M7 = 0xC24, 0xC27
"""Part numbers in CPUID (Cortex-M4 TRM, DDI 0439, table 4-1; Cortex-M7 TRM, DDI 0489, table 3-1)."""
# RM0399: FLASH_OPTSR_CUR has BCM4 and BCM7, by which a core boots with the system, RCC_GCR BOOT_C1 and BOOT_C2, by
# which the other one lets it; section 64.3, "Line identifier": four characters, such as H745. RM0433 has members with
# one core and the same DEV_ID.
_OPTSR_H7, _GCR_H7 = 0x5200201C, 0x580244A0
_TWO_H7 = TwoCores(
    {
        PART_M7: SecondCore("Cortex-M4", (Bit(_OPTSR_H7, 22), Bit(_GCR_H7, 3))),
        PART_M4: SecondCore("Cortex-M7", (Bit(_OPTSR_H7, 23), Bit(_GCR_H7, 2))),
    },
    0x1FF1E8C0,
    frozenset({"H745", "H747", "H755", "H757"}),
)
# RM0453, section 6.4, "CPU2 boot": C2BOOT of PWR_CR4, which is reserved in the STM32WLE (RM0461).
_TWO_WL = TwoCores({PART_M4: SecondCore("Cortex-M0+", (Bit(0x5800040C, 15),))})

_IWDG_F0 = Watchdog(Bit(0x40015808, 12), Bit(0x40021024, 29), Bit(_OBR, 8))
_IWDG_F1 = Watchdog(Bit(0xE0042004, 8), Bit(0x40021024, 29), Bit(_OBR, 2))
_IWDG_F2_F4_F7 = Watchdog(Bit(0xE0042008, 12), Bit(0x40023874, 29), Bit(0x40023C14, 5))
_IWDG_F3 = Watchdog(Bit(0xE0042008, 12), Bit(0x40021024, 29), Bit(_OBR, 8))
_IWDG_G0_C0 = Watchdog(Bit(0x40015808, 12), Bit(0x40021060, 29), Bit(0x40022020, 16))
_IWDG_G4_L4 = Watchdog(Bit(0xE0042008, 12), Bit(0x40021094, 29), Bit(0x40022020, 16))
_IWDG_H5 = Watchdog(Bit(0xE0044008, 12), Bit(0x44020CF4, 29), Bit(0x40022050, 3))
_IWDG_H7 = Watchdog(Bit(0x5C001054, 18), Bit(0x580244D0, 26), Bit(0x5200201C, 4), base=0x58004800)
_IWDG_H7A = Watchdog(Bit(0x5C001054, 18), Bit(0x58024530, 26), Bit(0x5200201C, 4), base=0x58004800)
_IWDG_L0 = Watchdog(Bit(0x40015808, 12), Bit(0x40021050, 29), Bit(0x4002201C, 20))
_IWDG_L1 = Watchdog(Bit(0xE0042008, 12), Bit(0x40023834, 29), Bit(0x40023C1C, 20))
_IWDG_L5 = Watchdog(Bit(0xE0044008, 12), Bit(0x40021094, 29), Bit(0x40022040, 16))
_IWDG_U0 = Watchdog(Bit(0x40015808, 12), Bit(0x40021094, 29), Bit(0x40022020, 16))
_IWDG_U5_WBA = Watchdog(Bit(0xE0044008, 12), Bit(0x46020CF4, 29), Bit(0x40022040, 16))
_IWDG_WB_WL = Watchdog(Bit(0xE004203C, 12), Bit(0x58000094, 29), Bit(0x58004020, 16))


def _stretches(*ram: tuple[int, ...]) -> tuple[Range, ...]:
    """Take a start and sizes in KiB for each stretch."""
    return tuple(Range(start, kib * KIB) for start, *sizes in ram for kib in sizes)


def _line(
    line: str,
    manual: str,
    *members: tuple[int, str, tuple[tuple[int, ...], ...]],
    unique_id: int | None = None,
    id_offsets: tuple[int, int, int] = (0, 4, 8),
    protection: Protection | None = None,
    erased_value: int = 0xFF,
    watchdog: Watchdog | None = None,
    two_cores: TwoCores | None = None,
    trustzone: bool = False,
) -> dict[int, Device]:
    return {
        device_id: Device(
            line,
            f"STM32{name}",
            manual,
            _stretches(*ram),
            unique_id,
            id_offsets,
            protection,
            erased_value,
            watchdog,
            two_cores,
            trustzone,
        )
        for device_id, name, ram in members
    }


def _low(*kib: int) -> tuple[tuple[int, ...], ...]:
    """Give one stretch at the beginning of the SRAM region."""
    return ((0x20000000, *kib),)


DEVICES: dict[int, Device] = {
    **_line(
        "F0",
        "RM0091, RM0360",
        (0x440, "F030x8/F051/F058", _low(8)),
        (0x442, "F030xC/F091/F098", _low(32)),
        (0x444, "F030x4/x6/F031/F038", _low(4)),
        (0x445, "F042/F048/F070x6", _low(6)),
        (0x448, "F070xB/F071/F072/F078", _low(16)),
        unique_id=0x1FFFF7AC,
        protection=_F0_F3,
        watchdog=_IWDG_F0,
    ),
    **_line(
        "F1",
        "RM0008, RM0041",
        (0x410, "F101/F102/F103 of medium density", _low(20, 16, 10)),
        (0x412, "F101/F102/F103 of low density", _low(10, 6, 4)),
        (0x414, "F101/F103 of high density", _low(64, 48, 32)),
        (0x418, "F105/F107", _low(64)),
        (0x420, "F100 of low and medium density", _low(8, 4)),
        (0x428, "F100 of high density", _low(32, 24)),
        (0x430, "F101/F103 of XL density", _low(96, 80)),
        unique_id=0x1FFFF7E8,
        protection=_F1,
        watchdog=_IWDG_F1,
    ),
    **_line(
        "F2",
        "RM0033",
        (0x411, "F205/F207/F215/F217", _low(128, 96, 64)),
        unique_id=0x1FFF7A10,
        protection=_F2_F4_F7,
        watchdog=_IWDG_F2_F4_F7,
    ),
    **_line(
        "F3",
        "RM0316, RM0313, RM0364, RM0365, RM0366",
        (0x422, "F302xB/xC/F303xB/xC/F358", _low(40, 32)),
        (0x432, "F373/F378", _low(32, 24, 16)),
        (0x438, "F303x6/x8/F328/F334", _low(12)),
        (0x439, "F301/F302x4/x6/x8/F318", _low(16)),
        (0x446, "F302xD/xE/F303xD/xE/F398", _low(64)),
        unique_id=0x1FFFF7AC,
        protection=_F0_F3,
        watchdog=_IWDG_F3,
    ),
    **_line(
        "F4",
        "RM0090, RM0368, RM0383, RM0386, RM0390, RM0401, RM0402, RM0430",
        (0x413, "F405/407/415/417", _low(128)),
        (0x419, "F427/429/437/439", _low(192)),
        (0x421, "F446", _low(128)),
        (0x423, "F401xB/xC", _low(64)),
        (0x431, "F411", _low(128)),
        (0x433, "F401xD/xE", _low(96)),
        (0x434, "F469/479", _low(320)),
        (0x441, "F412", _low(256)),
        (0x458, "F410", _low(32)),
        (0x463, "F413/423", _low(320)),
        unique_id=0x1FFF7A10,
        protection=_F2_F4_F7,
        watchdog=_IWDG_F2_F4_F7,
    ),
    **_line(
        "F7",
        "RM0385",
        (0x449, "F745/746/750/756", _low(320)),
        unique_id=0x1FF0F420,
        protection=_F2_F4_F7,
        watchdog=_IWDG_F2_F4_F7,
    ),
    **_line(
        "F7",
        "RM0410",
        (0x451, "F765/767/769/777/779", _low(512)),
        unique_id=0x1FF0F420,
        protection=_F2_F4_F7,
        watchdog=_IWDG_F2_F4_F7,
    ),
    **_line(
        "F7",
        "RM0431",
        (0x452, "F722/723/730/732/733", _low(256)),
        unique_id=0x1FF07A10,
        protection=_F2_F4_F7,
        watchdog=_IWDG_F2_F4_F7,
    ),
    **_line(
        "G0",
        "RM0444, RM0454",
        (0x456, "G050/G051/G061", _low(18, 16)),
        (0x460, "G070/G071/G081", _low(36, 32)),
        (0x466, "G030/G031/G041", _low(8)),
        (0x467, "G0B0/G0B1/G0C1", _low(144, 128)),
        unique_id=0x1FFF7590,
        protection=_G_L4,
        watchdog=_IWDG_G0_C0,
    ),
    **_line(
        "G4",
        "RM0440",
        (0x468, "G431/441", _low(32, 22)),
        (0x469, "G471/473/474/483/484", _low(128, 96)),
        (0x479, "G491/4A1", _low(112, 96)),
        unique_id=0x1FFF7590,
        protection=_G_L4,
        watchdog=_IWDG_G4_L4,
    ),
    **_line(
        "C0",
        "RM0490",
        (0x443, "C011", _low(6)),
        (0x44C, "C051", _low(12)),
        (0x44D, "C091/C092", _low(36, 30)),
        (0x453, "C031", _low(12)),
        (0x493, "C071", _low(24)),
        unique_id=0x1FFF7550,
        protection=_G_L4,
        watchdog=_IWDG_G0_C0,
    ),
    **_line("H5", "RM0492", (0x474, "H503", _low(32)), unique_id=0x08FFF800, protection=_H5, watchdog=_IWDG_H5),
    **_line(
        "H5",
        "RM0481",
        (0x478, "H523/533", _low(272)),
        (0x47A, "H5E/5F", _low(1536, 640)),
        (0x484, "H562/563/573", _low(640)),
        unique_id=0x08FFF800,
        protection=_H5,
        watchdog=_IWDG_H5,
        trustzone=True,
    ),
    **_line(
        "H7",
        "RM0433, RM0399",
        (0x450, "H742/743/745/747/750/753/755/757", ((0x24000000, 512, 384), _DTCM_H7)),
        unique_id=0x1FF1E800,
        protection=_H7,
        watchdog=_IWDG_H7,
        two_cores=_TWO_H7,
    ),
    **_line(
        "H7",
        "RM0455",
        (0x480, "H7A3/7B3/7B0", ((0x24000000, 1024), _DTCM_H7)),
        unique_id=0x08FFF800,
        protection=_H7,
        watchdog=_IWDG_H7A,
    ),
    **_line(
        "H7",
        "RM0468",
        (0x483, "H72x/73x", ((0x24000000, 320, 128), _DTCM_H7)),
        unique_id=0x1FF1E800,
        protection=_H7,
        watchdog=_IWDG_H7,
    ),
    **_line(
        "H7R/S", "RM0477", (0x485, "H7R/7S", ((0x24000000, 456, 128), (0x20000000, 192, 64))), unique_id=0x08FFF800
    ),
    **_line(
        "L0",
        "RM0367, RM0376, RM0377, RM0451",
        (0x417, "L05x/L06x", _low(8)),
        (0x425, "L031/L041", _low(8)),
        (0x447, "L07x/L08x", _low(20)),
        (0x457, "L01x/L02x", _low(2)),
        unique_id=0x1FF80050,
        id_offsets=_APART,
        protection=_L0,
        watchdog=_IWDG_L0,
        erased_value=0,
    ),
    **_line(
        "L1",
        "RM0038",
        (0x416, "L1xxx6/x8/xB", _low(16, 10, 8, 4)),
        (0x429, "L1xxx6A/x8A/xBA", _low(32, 16, 8, 4)),
        unique_id=0x1FF80050,
        id_offsets=_APART,
        protection=_L1,
        watchdog=_IWDG_L1,
        erased_value=0,
    ),
    **_line(
        "L1",
        "RM0038",
        (0x427, "L1xxxC", _low(32)),
        (0x436, "L1xxxD", _low(48)),
        (0x437, "L1xxxE", _low(80)),
        unique_id=0x1FF800D0,
        id_offsets=_APART,
        protection=_L1,
        watchdog=_IWDG_L1,
        erased_value=0,
    ),
    **_line(
        "L4",
        "RM0351, RM0392, RM0393, RM0394",
        (0x415, "L471/475/476/486", ((0x20000000, 96), (0x10000000, 32))),
        (0x435, "L43x/44x", ((0x20000000, 64, 48), (0x10000000, 16))),
        (0x461, "L496/4A6", ((0x20000000, 320, 256), (0x10000000, 64))),
        (0x462, "L45x/46x", ((0x20000000, 160, 128), (0x10000000, 32))),
        (0x464, "L41x/42x", ((0x20000000, 40, 32), (0x10000000, 8))),
        unique_id=0x1FFF7590,
        protection=_G_L4,
        watchdog=_IWDG_G4_L4,
    ),
    **_line(
        "L4+",
        "RM0432",
        (0x470, "L4R/4S", _low(640)),
        (0x471, "L4P5/4Q5", _low(320)),
        unique_id=0x1FFF7590,
        protection=_G_L4,
        watchdog=_IWDG_G4_L4,
    ),
    **_line(
        "L5",
        "RM0438",
        (0x472, "L552/562", _low(256)),
        unique_id=0x0BFA0590,
        protection=_M33,
        watchdog=_IWDG_L5,
        trustzone=True,
    ),
    **_line("U0", "RM0503", (0x459, "U031", _low(12, 8)), unique_id=0x1FFF3E50, protection=_G_L4, watchdog=_IWDG_U0),
    **_line(
        "U0", "RM0503", (0x489, "U073/U083", _low(40, 32)), unique_id=0x1FFF6E50, protection=_G_L4, watchdog=_IWDG_U0
    ),
    **_line(
        "U3",
        "RM0487",
        (0x42A, "U3B5/3C5", _low(640)),
        (0x454, "U375/385", _low(256, 192)),
        unique_id=0x0BFA0700,
        protection=_M33,
        trustzone=True,
    ),
    **_line(
        "U5",
        "RM0456",
        (0x455, "U535/545", _low(256)),
        (0x476, "U5F/5G", _low(3008)),
        (0x481, "U595/599/5A5/5A9", _low(2496)),
        (0x482, "U575/585", _low(768)),
        unique_id=0x0BFA0700,
        protection=_M33,
        watchdog=_IWDG_U5_WBA,
        trustzone=True,
    ),
    **_line(
        "WB", "RM0473", (0x494, "WB10/WB15", _low(12)), unique_id=0x1FFF7590, protection=_WB_WL, watchdog=_IWDG_WB_WL
    ),
    **_line(
        "WB",
        "RM0434, RM0471",
        (0x495, "WB35/WB50/WB55", _low(192, 64, 32)),
        (0x496, "WB30/WB35", _low(32)),
        unique_id=0x1FFF7590,
        protection=_WB_WL,
        watchdog=_IWDG_WB_WL,
    ),
    **_line(
        "WBA",
        "RM0493",
        (0x492, "WBA5x", _low(128, 96)),
        (0x4B2, "WBA2x", _low(128, 96)),
        unique_id=0x0BF90700,
        protection=_M33,
        watchdog=_IWDG_U5_WBA,
        trustzone=True,
    ),
    **_line(
        "WBA",
        "RM0515",
        (0x4B0, "WBA6x", _low(512, 256)),
        unique_id=0x0BFA0700,
        protection=_M33,
        watchdog=_IWDG_U5_WBA,
        trustzone=True,
    ),
    **_line(
        "WL",
        "RM0453, RM0461",
        (0x497, "WL5x/WLEx", _low(64, 32, 20)),
        unique_id=0x1FFF7590,
        protection=_WB_WL,
        watchdog=_IWDG_WB_WL,
        two_cores=_TWO_WL,
    ),
    **_line(
        "N6",
        "RM0486",
        (0x486, "N6x5/N6x7", ((0x34180000, 1536, 1024, 512, 256),)),
        unique_id=0x46009014,
        trustzone=True,
    ),
}

WITHOUT_DEVICE_ID: dict[str, tuple[str, tuple[Range, ...]]] = {
    "WB0": ("RM0505, RM0529, RM0530", _stretches((0x20000000, 64, 32, 24))),
    "WL3": ("RM0511", _stretches((0x20000000, 32, 16))),
}
"""Lines whose device ID is none of DBGMCU_IDCODE: they count as unknown devices, whose RAM is proven."""
