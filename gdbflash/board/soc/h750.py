"""The STM32H750 round the core: memory map and the peripherals that start-up code touches.

What belongs here: which address is what (RM0433 revision 7, tables 7 and 8) and register models of a few lines. Blocks
that nobody models keep what is written to them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gdbflash.board.bus import Peripheral
from gdbflash.board.memory import AddressSpace, Memory, Registers
from gdbflash.board.soc.flashif import FlashInterface
from gdbflash.board.soc.gpio import Gpio
from gdbflash.board.soc.peripherals import Hsem, Rng, Usart
from gdbflash.board.soc.rcc import BUSES, ENR, RSTR, Rcc

FLASH_BASE, FLASH_SIZE, FLASH_SECTOR = 0x08000000, 0x20000, 0x20000
SYSTEM_MEMORY_BASE, SYSTEM_MEMORY_SIZE = 0x1FF00000, 0x20000
UID_ADDRESS, FLASH_SIZE_ADDRESS = 0x1FF1E800, 0x1FF1E880
UID = bytes.fromhex("330041000A51353038393634")
"""A 96-bit unique identifier as the devices have it: wafer coordinates, then a lot number in ASCII."""
IDCODE = 0x20036450
"""DBGMCU_IDC: DEV_ID 0x450, REV_ID 0x2003 (revision V)."""

_RAMS = (
    ("ITCM", 0x00000000, 0x10000),
    ("DTCM", 0x20000000, 0x20000),
    ("AXI SRAM", 0x24000000, 0x80000),
    ("SRAM1", 0x30000000, 0x20000),
    ("SRAM2", 0x30020000, 0x20000),
    ("SRAM3", 0x30040000, 0x8000),
    ("SRAM4", 0x38000000, 0x10000),
    ("backup SRAM", 0x38800000, 0x1000),
)
_DEVICE_RANGES = (
    (0x40000000, 0xE000),  # APB1
    (0x40010000, 0x8000),  # APB2
    (0x40020000, 0xA0000),  # AHB1 with the USB controllers
    (0x48020000, 0x4000),  # AHB2 with RAMECC2
    (0x50000000, 0x4000),  # APB3
    (0x51000000, 0x100000),  # AXI interconnect (GPV)
    (0x52000000, 0xA000),  # AHB3: MDMA, DMA2D, flash interface, JPEG, FMC, QUADSPI, SDMMC1, RAMECC1
    (0x58000000, 0x7000),  # APB4
    (0x58020000, 0x8000),  # AHB4: GPIO, RCC, PWR, CRC, BDMA, ADC3, HSEM, RAMECC
    (0x5C000000, 0x6000),  # debug APB: DBGMCU, SWO, its funnel, CTI (60.5)
    (0x5C013000, 0x3000),  # trace funnel, ETF, TPIU
    (0xE0000000, 0x3000),  # ITM, DWT, FPB
    (0xE000E000, 0x1000),  # SCS
    (0xE0040000, 0x4000),  # ETM, CTI
    (0xE00E0000, 0x20000),  # debug components and ROM tables
)
"""Register ranges that a bus decodes, in pages of 4 KiB."""

_USARTS = (
    (0x40011000, "APB2", 4),
    (0x40011400, "APB2", 5),
    (0x40004400, "APB1L", 17),
    (0x40004800, "APB1L", 18),
    (0x40004C00, "APB1L", 19),
    (0x40005000, "APB1L", 20),
    (0x40007800, "APB1L", 30),
    (0x40007C00, "APB1L", 31),
    (0x58000C00, "APB4", 3),
)
"""USART1 and 6, 2 and 3, UART4, 5, 7 and 8, LPUART1: base, bus, bit of the clock gate."""


@dataclass(frozen=True)
class _Gate:
    """A peripheral behind a clock gate: bit of its ENR and RSTR register."""

    peripheral: Peripheral
    bus: str
    bit: int


class Unclocked:
    """A peripheral whose clock is off: reads as zero, takes no writes, and counts who tries (RM0433, 8.5.10)."""

    def __init__(self, peripheral: Peripheral, on_access: Callable[[int], None]) -> None:
        self.base = peripheral.base
        self.size = peripheral.size
        self._on_access = on_access

    def read(self, offset: int, size: int) -> int:  # noqa: ARG002
        """Return zero."""
        self._on_access(self.base + offset)
        return 0

    def write(self, offset: int, size: int, value: int) -> None:  # noqa: ARG002
        """Do nothing."""
        self._on_access(self.base + offset)

    def reset(self) -> None:
        """Do nothing: the peripheral itself is reset."""


class Pwr(Registers):
    """Power control (chapter 7): regulators and voltage scales that are ready at once."""

    _CR1, _CSR1, _CR2, _CR3, _D3CR = 0x00, 0x04, 0x08, 0x0C, 0x18

    def __init__(self) -> None:
        reset_values = {self._CR1: 0xF000C000, self._CR3: 0x00000046, self._D3CR: 0x00004000}
        super().__init__(0x58024800, 0x400, reset_values=reset_values)

    def read_word(self, offset: int) -> int:
        """Read a word; ready flags follow what they are flags of."""
        word = super().read_word(offset)
        if offset == self._CSR1:
            return super().read_word(self._D3CR) & 0xC000 | 1 << 13  # ACTVOS, ACTVOSRDY
        if offset == self._D3CR:
            return word | 1 << 13  # VOSRDY
        if offset == self._CR2:
            return word & ~(1 << 16) | (word & 1) << 16  # BRRDY after BREN
        if offset == self._CR3:
            return word & ~(1 << 26) | (word >> 24 & 1) << 26  # USB33RDY after USB33DEN
        return word


class Syscfg(Registers):
    """System configuration (chapter 12): the compensation cell is ready when it is on."""

    def __init__(self) -> None:
        super().__init__(0x58000400, 0x400)

    def read_word(self, offset: int) -> int:
        """Read a word."""
        word = super().read_word(offset)
        if offset == 0x20:  # CCCSR
            return word & ~0x100 | (word & 1) << 8
        return word


class Dbgmcu(Registers):
    """DBGMCU (chapter 60), also behind the debug APB at 0xE00E1000."""

    _APB4FZ1, _IWDG1 = 0x54, 1 << 18

    def __init__(self, base: int) -> None:
        super().__init__(base, 0x400, reset_values={0x00: IDCODE})
        self.on_freeze: Callable[[], None] = lambda: None
        """Called before what stands still in debug may change."""

    @property
    def freezes_watchdog(self) -> bool:
        """Whether IWDG1 stands still while the core is halted."""
        return bool(self.words.get(self._APB4FZ1, 0) & self._IWDG1)

    def write_word(self, offset: int, value: int) -> None:
        """Write a word; the identity stays."""
        self.on_freeze()
        if offset:
            super().write_word(offset, value)

    def reset(self) -> None:
        """Do nothing: only a power-on resets it (60.5.8)."""


class Soc:
    """Memories and peripherals, put together."""

    def __init__(self, hse_hz: int, unit: bytes = UID) -> None:
        """hse_hz: the crystal. unit: the unique ID, 12 bytes."""
        self.unit = unit
        self.on_clock_change: Callable[[], None] = lambda: None
        """Called when rcc.processor_hz may have changed."""
        self.memories = {name: Memory(name, base, size) for name, base, size in _RAMS}
        self.flash = Memory("flash", FLASH_BASE, FLASH_SIZE, writable=False)
        self.system_memory = Memory("system memory", SYSTEM_MEMORY_BASE, SYSTEM_MEMORY_SIZE, writable=False)
        self.space = AddressSpace([*self.memories.values(), self.flash, self.system_memory], _DEVICE_RANGES)
        self._gates: list[_Gate] = []
        self._open: dict[int, bool] = {}
        self._held: dict[int, bool] = {}
        self.gated_accesses: dict[int, int] = {}
        """How often each address of a peripheral without clock was accessed."""
        self.rcc = Rcc(hse_hz, self._clocks_changed)
        self.flash_interface = FlashInterface(self.flash)
        self.dbgmcu = dbgmcu = Dbgmcu(0x5C001000)
        alias = Dbgmcu(0xE00E1000)
        alias.words = dbgmcu.words
        self.on_freeze: Callable[[], None] = lambda: None
        """Called before what stands still in debug may change."""
        dbgmcu.on_freeze = alias.on_freeze = lambda: self.on_freeze()
        for peripheral in (self.rcc, Pwr(), Syscfg(), self.flash_interface, dbgmcu, alias):
            self.space.attach(peripheral)
        self.gpio = [Gpio(port) for port in range(11)]
        for port, gpio in enumerate(self.gpio):
            self.gate(gpio, "AHB4", port)
        self.gate(Hsem(), "AHB4", 25)
        self.gate(Rng(), "AHB2", 6)
        for base, bus, bit in _USARTS:
            self.gate(Usart(base), bus, bit)
        self.power_on()

    def gate(self, peripheral: Peripheral, bus: str, bit: int) -> None:
        """Attach a peripheral whose clock and reset are the given bit of bus, one of rcc.BUSES."""
        self._gates.append(_Gate(peripheral, bus, bit))
        self._clocks_changed()

    def attach_quadspi(self, quadspi: Peripheral, mdma: Peripheral) -> None:
        """Attach QUADSPI and the DMA controller that serves it: AHB3ENR and AHB3RSTR, bits 14 and 0."""
        self.gate(quadspi, "AHB3", 14)
        self.gate(mdma, "AHB3", 0)

    def power_on(self) -> None:
        """Bring memories into the state after power-on."""
        for memory in self.memories.values():
            memory.fill_with_junk()
        self.flash.fill(0xFF)
        self.system_memory.fill(0xFF)
        for address, content in ((UID_ADDRESS, self.unit), (FLASH_SIZE_ADDRESS, bytes([FLASH_SIZE >> 10, 0]))):
            offset = address - SYSTEM_MEMORY_BASE
            self.system_memory.content[offset : offset + len(content)] = content

    def reset(self) -> None:
        """Reset all peripherals; memories keep their content."""
        for peripheral in [*self.space.peripherals(), *(gate.peripheral for gate in self._gates)]:
            if peripheral.base < 0xE0000000:
                peripheral.reset()
        self._clocks_changed()

    def _clocks_changed(self) -> None:
        for gate in self._gates:
            key = id(gate.peripheral)
            bus = BUSES.index(gate.bus)
            clocked = self.rcc.is_clocked(ENR[bus], gate.bit)
            held = self.rcc.is_held(RSTR[bus], gate.bit)
            if held and not self._held.get(key):
                gate.peripheral.reset()
            self._held[key] = held
            usable = clocked and not held
            if self._open.get(key) is not usable:
                self._open[key] = usable
                self.space.attach(gate.peripheral if usable else Unclocked(gate.peripheral, self._count_gated))
        self.on_clock_change()

    def _count_gated(self, address: int) -> None:
        self.gated_accesses[address] = self.gated_accesses.get(address, 0) + 1
