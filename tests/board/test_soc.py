"""The STM32H750 round the core: memory map, clocks, gates, GPIO and the registers that start-up code waits for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gdbflash.board.bus import BusError
from gdbflash.board.machine import Machine
from tests.support.boardcode import Board

RCC, PWR, SYSCFG, FLASH, GPIOA, GPIOB = 0x58024400, 0x58024800, 0x58000400, 0x52002000, 0x58020000, 0x58020400
CR, CFGR, D1CFGR, PLLCKSELR, PLLCFGR, PLL1DIVR, PLL1FRACR = 0x00, 0x10, 0x18, 0x28, 0x2C, 0x30, 0x34
BDCR, CSR, AHB3RSTR, AHB4RSTR, RSR, AHB3ENR, AHB4ENR = 0x70, 0x74, 0x7C, 0x88, 0xD0, 0xD4, 0xE0
QUADSPI = 0x52005000


@pytest.fixture(scope="module")
def module_board() -> Iterator[Board]:
    with Machine() as machine:
        yield Board(machine)


@pytest.fixture
def board(module_board: Board) -> Board:
    module_board.machine.reset(halt=True)
    return module_board


@pytest.mark.parametrize(
    ("base", "size"),
    [
        (0x00000000, 0x10000),
        (0x20000000, 0x20000),
        (0x24000000, 0x80000),
        (0x30000000, 0x48000),
        (0x38000000, 0x10000),
        (0x38800000, 0x1000),
    ],
)
def test_rams_hold_what_is_written_and_end_where_they_end(board: Board, base: int, size: int) -> None:
    for address in (base, base + size - 4):
        board.put(address, 0x12345678)
        assert board.word(address) == 0x12345678
    for address in (base + size, base - 4):
        if address >= 0:
            with pytest.raises(BusError):
                board.word(address)


def test_ram_holds_the_same_junk_after_every_power_on() -> None:
    with Machine() as first, Machine() as second:
        content = first.read_memory(0x24000000, 0x1000)
        assert content == second.read_memory(0x24000000, 0x1000)
        assert content != first.read_memory(0x20000000, 0x1000)
        assert len(set(content)) > 200


def test_the_debugger_cannot_just_write_what_is_not_ram(board: Board) -> None:
    board.put(0x08000000, 0)
    assert board.words(0x08000000, 2) == [0x20020000, 0x08000041]
    assert board.word(0x0801FFFC) == 0xFFFFFFFF
    with pytest.raises(BusError):
        board.put(0x1FF1E800, 0)


def test_identity(board: Board) -> None:
    assert board.word(0x5C001000) == 0x20036450
    assert board.word(0xE00E1000) == 0x20036450
    assert board.word(0xE000ED00) == 0x411FC271
    assert board.machine.read_memory(0x1FF1E880, 2) == b"\x80\x00"
    assert board.machine.read_memory(0x1FF1E800, 12).hex() == "330041000a51353038393634"


def test_dbgmcu_is_the_same_behind_both_addresses_and_outlives_a_reset(board: Board) -> None:
    board.put(0x5C001004, 7)
    assert board.word(0xE00E1004) == 7
    board.machine.reset(halt=True)
    assert (board.word(0xE00E1004), board.word(0x5C001000)) == (7, 0x20036450)
    board.put(0xE00E1004, 0)
    board.put(0x5C001000, 0)
    assert (board.word(0x5C001004), board.word(0x5C001000)) == (0, 0x20036450)


@pytest.mark.parametrize(
    ("enable", "ready"),
    [(0, 2), (7, 8), (12, 13), (16, 17), (24, 25), (26, 27), (28, 29)],
    ids=["hsi", "csi", "hsi48", "hse", "pll1", "pll2", "pll3"],
)
def test_oscillators_and_plls_are_ready_once_they_are_on(board: Board, enable: int, ready: int) -> None:
    board.put(RCC + CR, 1 << enable | 1)
    assert board.word(RCC + CR) >> ready & 1 == 1
    board.put(RCC + CR, 1)
    assert board.word(RCC + CR) >> ready & 1 == (enable == 0)


def test_low_speed_oscillators(board: Board) -> None:
    board.put(RCC + CSR, 1)
    board.put(RCC + BDCR, 1)
    assert (board.word(RCC + CSR), board.word(RCC + BDCR)) == (3, 3)
    board.machine.reset(halt=True)
    assert (board.word(RCC + CSR), board.word(RCC + BDCR)) == (0, 3)  # the backup domain stays
    board.put(RCC + BDCR, 1 << 16)
    assert board.word(RCC + BDCR) == 0


def test_the_clock_switch_follows_once_its_source_is_on(board: Board) -> None:
    board.put(RCC + CFGR, 2)
    assert board.word(RCC + CFGR) == 0  # HSE is off
    board.put(RCC + CR, 1 | 1 << 16)
    board.put(RCC + CFGR, 2)
    assert board.word(RCC + CFGR) == 0x12
    board.put(RCC + CR, 1)  # the running oscillator cannot be switched off
    assert board.word(RCC + CR) >> 16 & 3 == 3


def test_the_cpu_clock_comes_out_of_pll1(board: Board) -> None:
    rcc = board.machine.soc.rcc
    assert rcc.processor_hz == 64e6
    board.put(RCC + CR, 1 | 1 << 16)
    board.put(RCC + PLLCKSELR, 2 | 5 << 4)  # HSE 25 MHz / 5
    board.put(RCC + PLL1DIVR, 191 | 1 << 9)  # x 192 / 2
    board.put(RCC + CR, 1 | 1 << 16 | 1 << 24)
    board.put(RCC + CFGR, 3)
    assert board.word(RCC + CFGR) == 0x1B
    assert rcc.processor_hz == 480e6
    board.put(RCC + PLLCFGR, 1)
    board.put(RCC + PLL1FRACR, 4096 << 3)
    assert rcc.processor_hz == 481.25e6
    board.put(RCC + D1CFGR, 8 << 8)
    assert rcc.processor_hz == 240.625e6
    board.machine.reset(halt=True)
    assert rcc.processor_hz == 64e6
    board.put(RCC + CR, 1 | 1 << 3)  # HSIDIV
    assert rcc.processor_hz == 32e6


def test_reset_flags(board: Board) -> None:
    with Machine() as machine:
        assert Board(machine).word(RCC + RSR) == 0x00FE0000
    assert board.word(RCC + RSR) >> 24 & 1 == 1
    board.put(RCC + RSR, 1 << 16)
    assert board.word(RCC + RSR) == 0
    board.machine.reset(halt=True)
    assert board.word(RCC + RSR) == 0x01420000


def test_a_gpio_without_clock_reads_zero_takes_nothing_and_is_counted(board: Board) -> None:
    before = board.machine.gated_accesses
    assert board.word(GPIOB) == 0
    board.put(GPIOB, 0x12345678)
    assert board.machine.gated_accesses == before + 2
    assert board.machine.soc.gated_accesses[GPIOB] >= 2
    board.put(RCC + AHB4ENR, 2)
    assert board.word(GPIOB) == 0xFFFFFEBF
    assert board.machine.gated_accesses == before + 2
    assert board.word(0x58020800) == 0  # GPIOC
    assert board.machine.gated_accesses == before + 3


def test_clock_gates_are_also_behind_the_addresses_of_the_first_core(board: Board) -> None:
    board.put(RCC + 0x140, 1)
    assert board.word(RCC + AHB4ENR) == 1
    assert board.word(GPIOA) == 0xABFFFFFF


def test_a_peripheral_in_reset_is_reset_and_unreachable(board: Board) -> None:
    board.put(RCC + AHB4ENR, 1)
    board.put(GPIOA, 0x11111111)
    board.put(RCC + AHB4RSTR, 1)
    assert board.word(GPIOA) == 0
    board.put(RCC + AHB4RSTR, 0)
    assert board.word(GPIOA) == 0xABFFFFFF


def test_gpio_pins(board: Board) -> None:
    board.put(RCC + AHB4ENR, 2)
    board.put(GPIOB, 0xFFFFFFFF & ~0xF | 0b0001)  # pin 0 output, pin 1 input
    board.put(GPIOB + 0x0C, 0b0100)  # pull-up on pin 1
    assert board.word(GPIOB + 0x10) == 0b10
    board.put(GPIOB + 0x18, 0x8001)
    assert (board.word(GPIOB + 0x14), board.word(GPIOB + 0x10)) == (0x8001, 0b11)
    board.put(GPIOB + 0x18, 1 << 16)
    assert board.word(GPIOB + 0x14) == 0x8000
    board.machine.write_memory(GPIOB + 0x1A, b"\x00\x80")
    assert board.word(GPIOB + 0x14) == 0
    board.put(GPIOB + 0x18, 0x00020002)  # set wins
    assert board.word(GPIOB + 0x14) == 2
    board.put(GPIOB + 0x24, 0x00000A90)
    gpio = board.machine.soc.gpio[1]
    assert (gpio.alternate_function(9), gpio.alternate_function(10), gpio.mode(0), gpio.mode(2)) == (9, 0xA, 1, 3)


def test_quadspi_needs_its_clock_and_knows_its_reset(board: Board) -> None:
    board.put(QUADSPI, 0x01000010)
    assert board.word(QUADSPI) == 0
    board.put(RCC + AHB3ENR, 1 << 14)
    board.put(QUADSPI + 4, 0x00170000)
    assert board.word(QUADSPI + 4) == 0x00170000
    board.put(RCC + AHB3RSTR, 1 << 14)
    board.put(RCC + AHB3RSTR, 0)
    assert board.word(QUADSPI + 4) == 0


def test_power_is_ready_and_voltage_scaling_follows(board: Board) -> None:
    assert board.word(PWR + 4) == 0x6000
    for scale in (0x4000, 0x8000, 0xC000):
        board.put(PWR + 0x18, scale)
        assert board.word(PWR + 0x18) == scale | 0x2000
        assert board.word(PWR + 4) == scale | 0x2000
    board.put(PWR + 0x0C, 0x2 | 1 << 24)
    assert board.word(PWR + 0x0C) == 0x2 | 1 << 24 | 1 << 26
    board.put(PWR + 8, 1)
    assert board.word(PWR + 8) == 0x10001
    board.put(SYSCFG + 0x20, 1)
    assert board.word(SYSCFG + 0x20) == 0x101
    board.put(SYSCFG + 0x2C, 1)
    assert board.word(SYSCFG + 0x2C) == 1


def test_blocks_that_nobody_models_keep_what_is_written_until_reset(board: Board) -> None:
    assert board.word(0x40008400) == 0
    board.put(0x40008400, 0x12345678)
    board.machine.write_memory(0x40008401, b"\xaa")
    board.machine.write_memory(0x40008402, b"\xbb\xcc")
    assert board.word(0x40008400) == 0xCCBBAA78
    board.machine.reset(halt=True)
    assert board.word(0x40008400) == 0


@pytest.mark.parametrize(
    "address", [0x4000E000, 0x48000000, 0x5200A000, 0x58010000, 0x58028000, 0x5C006000, 0xE0003000, 0xD0000000]
)
def test_addresses_between_the_buses_are_bus_errors(board: Board, address: int) -> None:
    with pytest.raises(BusError):
        board.word(address)


def test_system_registers_for_the_debugger(board: Board) -> None:
    board.put(0xE000ED08, 0x24000123)
    assert board.word(0xE000ED08) == 0x24000100
    board.put(0xE000ED0C, 0x05FA0300)
    assert board.word(0xE000ED0C) == 0xFA050300
    board.put(0xE000ED0C, 0x12340700)
    assert board.word(0xE000ED0C) == 0xFA050300
    board.put(0xE000ED18, 0x12345678)
    assert board.word(0xE000ED18) == 0x10305070
    board.put(0xE000ED14, 0xFFFFFFFF)
    assert board.word(0xE000ED14) == 0x00070319
    board.put(0xE000ED88, 0xFFFFFFFF)
    assert board.word(0xE000ED88) == 0x00F00000
    board.put(0xE000ED98, 3)
    board.put(0xE000ED9C, 0x24000000)
    board.put(0xE000EDA0, 0x03070027)
    board.put(0xE000ED98, 0)
    assert (board.word(0xE000ED9C), board.word(0xE000EDA0)) == (0, 0)
    board.put(0xE000ED98, 3)
    assert (board.word(0xE000ED90), board.word(0xE000ED9C), board.word(0xE000EDA0)) == (0x1000, 0x24000003, 0x03070027)
    board.put(0xE000ED94, 5)
    assert board.word(0xE000ED94) == 5
