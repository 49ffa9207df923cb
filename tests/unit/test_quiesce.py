"""What runs beside a loader is turned off for it, and put back as it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pytest

from gdbflash.errors import MemoryAccessError, PrepareError
from gdbflash.onchip import quiesce
from gdbflash.target import Beside, Capabilities, FlashRegion, Instruction, OtherCore, Stop

RAM = 0x24000000
LINE = 32
SETS, WAYS = 128, 4
"""The Cortex-M7's 16 KiB data cache."""


@dataclass
class Core:
    """The System Control Space of a halted Cortex-M7 with a write-back data cache, as a debugger sees it."""

    words: dict[int, int] = field(default_factory=dict)
    memory: dict[int, bytes] = field(default_factory=dict)
    dirty: dict[tuple[int, int], tuple[int, bytes]] = field(default_factory=dict)
    """Lines by set and way: the address they belong to, and what they hold."""
    regions: dict[int, tuple[int, int]] = field(default_factory=dict)
    writes: list[tuple[int, int]] = field(default_factory=list)
    deaf: frozenset[int] = frozenset()
    """Registers whose writes are acknowledged and not made."""
    disturbances: int = 0
    capabilities = Capabilities("generic", frozenset())

    def word(self, address: int) -> int:
        if address == quiesce.MPU_RBAR:
            return self.regions.get(self.words.get(quiesce.MPU_RNR, 0), (0, 0))[0]
        if address == quiesce.MPU_RBAR + 4:
            return self.regions.get(self.words.get(quiesce.MPU_RNR, 0), (0, 0))[1]
        return self.words.get(address, 0)

    def read_memory(self, address: int, size: int) -> bytes:
        if address < 0xE0000000:
            return self.memory[address][:size]
        assert address % 4 == 0
        assert size % 4 == 0
        return b"".join(self.word(each).to_bytes(4, "little") for each in range(address, address + size, 4))

    def write_memory(self, address: int, data: bytes) -> None:
        if address < 0xE0000000:
            self.memory[address] = data
            return
        assert address % 4 == 0
        for offset in range(0, len(data), 4):
            self.write_word(address + offset, int.from_bytes(data[offset : offset + 4], "little"))

    def write_word(self, address: int, value: int) -> None:
        self.writes.append((address, value))
        words = self.words
        if address in self.deaf:
            return
        if 0xE000E180 <= address < 0xE000E1C0:  # ICER
            words[address - 0x80] = words.get(address - 0x80, 0) & ~value
        elif 0xE000E100 <= address < 0xE000E140 or 0xE000E200 <= address < 0xE000E240:  # ISER, ISPR
            words[address] = words.get(address, 0) | value
        elif address in (quiesce.CFSR, quiesce.HFSR, quiesce.SFSR):
            words[address] = words.get(address, 0) & ~value
        elif address == quiesce.ICSR:
            for bit, clear in ((quiesce.PENDSTSET, quiesce.PENDSTCLR), (quiesce.PENDSVSET, quiesce.PENDSVCLR)):
                words[address] = (words.get(address, 0) | value & bit) & ~(bit if value & clear else 0)
        elif address == quiesce.AIRCR:
            if value >> 16 == 0x05FA:
                words[address] = 0xFA050000 | value & (0x700 | quiesce.AIRCR_SECURITY)
                if value & quiesce.AIRCR_VECTCLRACTIVE:
                    words[quiesce.ICSR] = words.get(quiesce.ICSR, 0) & ~0x1FF
        elif address == quiesce.DCCISW:
            assert not words.get(quiesce.CCR, 0) & quiesce.CCR_DC, "an enabled cache fills again"
            line = self.dirty.pop((value >> 5 & 0x7F, value >> 30), None)
            if line:
                self.memory[line[0]] = line[1]
        elif address in (quiesce.MPU_RBAR, quiesce.MPU_RBAR + 4):
            number = words.get(quiesce.MPU_RNR, 0)
            base, size = self.regions.get(number, (0, 0))
            self.regions[number] = (value, size) if address == quiesce.MPU_RBAR else (base, value)
        else:
            words[address] = value

    def disassemble(self, address: int, size: int) -> tuple[Instruction, ...]:
        raise AssertionError((address, size))

    def read_registers(self, names: Iterable[str]) -> dict[str, int]:
        raise AssertionError(names)

    def write_registers(self, values: Mapping[str, int]) -> None:
        raise AssertionError(values)

    def run_until(self, address: int, timeout: float, beside: Beside | None = None) -> Stop:
        raise AssertionError((address, timeout, beside))

    def reset_and_halt(self) -> None:
        raise AssertionError

    def reset_and_run(self, others: Iterable[str] = ()) -> None:  # noqa: ARG002
        raise AssertionError

    def resume(self) -> None:
        raise AssertionError

    def other_cores(self) -> tuple[OtherCore, ...]:
        raise AssertionError

    def hold_core(self, name: str) -> None:  # noqa: ARG002
        raise AssertionError

    def let_core_go(self, name: str) -> None:  # noqa: ARG002
        raise AssertionError

    def monitor(self, command: str) -> str:
        raise AssertionError(command)

    def flash_regions(self) -> tuple[FlashRegion, ...]:
        raise AssertionError

    def load(self, hex_text: str, size: int) -> None:
        raise AssertionError(hex_text, size)

    def close(self) -> None:
        raise AssertionError


def busy_core() -> Core:
    """A core in the middle of an RTOS: tick, interrupts, MPU, both caches and a relocated vector table."""
    core = Core()
    core.words = {
        quiesce.ICTR: 4,  # 160 interrupts: five words
        quiesce.SYST_CSR: 0x7,
        0xE000E014: 479_999,
        0xE000E100: 0x00000001,
        0xE000E10C: 0x80000000,
        0xE000E204: 0x00000010,
        0xE000E400: 0x00504030,
        quiesce.ICSR: quiesce.PENDSVSET,
        quiesce.VTOR: 0x08020000,
        quiesce.AIRCR: 0xFA050300 | quiesce.AIRCR_SECURITY,
        quiesce.CCR: 0x00040200 | quiesce.CCR_DC | quiesce.CCR_IC,
        0xE000ED20: 0xF0F00000,
        quiesce.SHCSR: 0x00070000,
        quiesce.CFSR: 0x00000082,
        quiesce.CLIDR: 0x09000003,
        quiesce.CCSIDR: (SETS - 1) << 13 | (WAYS - 1) << 3 | 1,
        0xE000ED88: 0x00F00000,
        quiesce.MPU_TYPE: 0x00000200,
        quiesce.MPU_CTRL: 0x5,
        quiesce.MPU_RNR: 1,
        0xE000EF34: 0xC0000000,
    }
    core.regions = {0: (0x24000000, 0x1307003F), 1: (0x90000001, 0x13000017)}
    core.memory = {RAM: bytes(LINE), RAM + LINE: bytes(LINE)}
    core.dirty = {(0, 0): (RAM, b"\x11" * LINE), (SETS - 1, WAYS - 1): (RAM + LINE, b"\x22" * LINE)}
    return core


def test_nothing_is_left_on() -> None:
    core = busy_core()
    quiesce.quieten(core)
    assert core.words[quiesce.SYST_CSR] == 0
    assert [core.words[0xE000E100 + 4 * index] for index in (0, 3)] == [0, 0]
    assert core.words[quiesce.MPU_CTRL] == 0x4
    assert core.words[quiesce.CCR] == 0x00040200
    assert (quiesce.ICIALLU, 0) in core.writes


def test_what_the_data_cache_held_is_in_memory_before_it_is_saved() -> None:
    core = busy_core()
    quiesce.quieten(core)
    assert core.dirty == {}
    assert core.memory == {RAM: b"\x11" * LINE, RAM + LINE: b"\x22" * LINE}
    assert sum(address == quiesce.DCCISW for address, _ in core.writes) == SETS * WAYS


def test_all_is_put_back_after_a_loader_that_changed_everything() -> None:
    core = busy_core()
    before, regions = dict(core.words), dict(core.regions)
    found = quiesce.quieten(core)
    core.words |= {
        quiesce.SYST_CSR: 0x7,
        0xE000E014: 999,
        0xE000E108: 0x4,
        0xE000E204: 0,
        0xE000E400: 0,
        0xE000E480: 0xFF,
        quiesce.ICSR: quiesce.PENDSTSET | 3,  # in HardFault
        quiesce.VTOR: RAM + 0x200,
        quiesce.AIRCR: 0xFA050000 | quiesce.AIRCR_SECURITY,
        quiesce.CCR: 0x00070210,
        0xE000ED20: 0,
        quiesce.SHCSR: 0,
        quiesce.CFSR: 0x00008282,
        quiesce.HFSR: 0x40000000,
        quiesce.SFSR: 0x48,
        0xE000ED88: 0,
        quiesce.MPU_CTRL: 0x7,
        quiesce.MPU_RNR: 0,
        0xE000EF34: 0,
    }
    core.regions[0] = (0xC0000000, 0x13)
    core.dirty = {(1, 1): (RAM, b"\x99" * LINE)}
    quiesce.still(core, found)
    core.write_memory(RAM, b"\x11" * LINE)
    quiesce.put_back(core, found)
    assert {address: value for address, value in core.words.items() if value or before.get(address)} == before | {
        quiesce.ICSR: quiesce.PENDSVSET
    }
    assert core.regions == regions
    assert core.memory[RAM] == b"\x11" * LINE
    assert core.dirty == {}


def test_a_quiet_core_is_written_to_as_little_as_can_be() -> None:
    core = Core(words={quiesce.VTOR: 0x08000000, quiesce.CCR: 0x200})
    found = quiesce.quieten(core)
    quiesce.still(core, found)
    quiesce.put_back(core, found)
    assert core.writes == []


def test_a_server_that_ignores_writes_is_found_out_and_nothing_else_stays_off() -> None:
    core = busy_core()
    core.deaf = frozenset({quiesce.SYST_CSR})
    before = dict(core.words)
    with pytest.raises(PrepareError, match=r"SysTick cannot be turned off.*--before reset") as raised:
        quiesce.quieten(core)
    assert raised.value.data == {"left": ["SysTick"]}
    assert {address: value for address, value in core.words.items() if value} == before


def test_an_impossible_cache_is_not_walked() -> None:
    core = busy_core()
    core.words[quiesce.CCSIDR] = 0xFFFFFFFF
    before = dict(core.words)
    with pytest.raises(PrepareError, match="CCSIDR 0xFFFFFFFF"):
        quiesce.quieten(core)
    assert {address: value for address, value in core.words.items() if value} == before
    assert len(core.dirty) == 2


def test_registers_that_cannot_be_read_name_the_way_out() -> None:
    class Closed(Core):
        def read_memory(self, address: int, size: int) -> bytes:
            raise MemoryAccessError("4 bytes at 0xe000e004 cannot be read.", address=address, size=size)

    with pytest.raises(PrepareError, match=r"0xe000e004 cannot be read.*Use --before reset"):
        quiesce.quieten(Closed())
