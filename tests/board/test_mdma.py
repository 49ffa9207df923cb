"""MDMA and the other peripherals that a loader may lean on: what their flags say, and a loader that needs them all."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from gdbflash.board.machine import Machine
from tests.support.boardcode import Board
from tests.support.cbuild import build
from tests.support.loadercalls import LoaderCalls

AHB3ENR, AHB2ENR, AHB4ENR, APB1LENR, APB2ENR = 0x580244D4, 0x580244DC, 0x580244E0, 0x580244E8, 0x580244F0
CHANNEL = 0x52000040 + 5 * 0x40
ISR, IFCR, ESR, CR, TCR, BNDTR, SAR, DAR, BRUR, LAR, TBR, MAR, MDR = (*range(0, 0x2C, 4), 0x30, 0x34)
UP_BYTES, SOFTWARE = 2 | 2 << 2, 1 << 30
BUFFER, BLOCK, BLOCKS, LIST = (kind << 28 for kind in range(4))
SOURCE, TARGET = 0x24001001, 0x20000102
BASE = 0x90000000


@pytest.fixture(scope="module")
def module_board() -> Iterator[Board]:
    with Machine() as machine:
        yield Board(machine)


@pytest.fixture
def board(module_board: Board) -> Board:
    module_board.machine.reset(halt=True)
    module_board.put(AHB3ENR, 0x4001)
    return module_board


def start(board: Board, control: int, count: int, **more: int) -> None:
    """Set a channel up, enable it, and ask once by software."""
    registers = {TCR: control | SOFTWARE, BNDTR: count, SAR: SOURCE, DAR: TARGET, BRUR: 0, LAR: 0, TBR: 0, MAR: 0}
    registers.update({globals()[name]: value for name, value in more.items()})
    for register, value in registers.items():
        board.put(CHANNEL + register, value)
    board.put(CHANNEL + CR, 1)
    ask(board)


def ask(board: Board) -> None:
    board.put(CHANNEL + CR, 1 | 1 << 16)


def data_of(board: Board, count: int) -> bytes:
    data = random.Random(count).randbytes(count)
    board.machine.write_memory(SOURCE, data)
    board.machine.write_memory(TARGET, bytes(count + 1))
    return data


def test_one_request_moves_a_buffer_or_a_block(board: Board) -> None:
    data = data_of(board, 300)
    start(board, UP_BYTES | 127 << 18 | BUFFER, 300)
    assert board.machine.read_memory(TARGET, 301) == data[:128] + bytes(173)
    assert (board.word(CHANNEL + ISR), board.word(CHANNEL + BNDTR)) == (0b10000, 172)
    ask(board)
    ask(board)
    assert board.machine.read_memory(TARGET, 301) == data + b"\0"
    assert (board.word(CHANNEL + ISR), board.word(CHANNEL + CR)) == (0b11110, 0)
    board.put(CHANNEL + IFCR, 0b00010)
    assert board.word(CHANNEL + ISR) == 0b11100

    data = data_of(board, 301)
    start(board, UP_BYTES | 3 << 18 | BLOCK, 301)
    assert board.machine.read_memory(TARGET, 302) == data + b"\0"
    assert board.words(CHANNEL + SAR, 2) == [SOURCE + 301, TARGET + 301]


def test_blocks_repeat_and_lists_are_followed(board: Board) -> None:
    data = data_of(board, 64)
    again = TARGET + 0x100
    node = (UP_BYTES | 15 << 18 | LIST | SOFTWARE, 16, SOURCE, again, 0, 0, 0, 0, 0x20000300, 0x1234)
    board.machine.write_memory(0x24000800, b"".join(word.to_bytes(4, "little") for word in node))
    # Two blocks of 16 bytes, the second from 16 bytes further on and to right behind the first.
    start(board, UP_BYTES | 15 << 18 | LIST, 16 | 1 << 20, BRUR=16, LAR=0x24000800)
    assert board.machine.read_memory(TARGET, 33) == data[:16] + data[32:48] + b"\0"
    assert board.machine.read_memory(again, 16) == data[:16]
    assert board.word(0x20000300) == 0x1234
    assert (board.word(CHANNEL + ISR), board.word(CHANNEL + CR)) == (0b11110, 0)


def test_a_list_that_is_a_ring_does_not_hold_the_board(board: Board) -> None:
    data_of(board, 4)
    node = (UP_BYTES | 3 << 18 | LIST | SOFTWARE, 4, SOURCE, TARGET, 0, 0x24000800, 0, 0, 0, 0)
    board.machine.write_memory(0x24000800, b"".join(word.to_bytes(4, "little") for word in node))
    start(board, UP_BYTES | 3 << 18 | LIST, 4, LAR=0x24000800)
    assert board.word(CHANNEL + CR) == 1
    board.put(CHANNEL + CR, 0)
    assert board.word(CHANNEL + CR) == 0


@pytest.mark.parametrize(
    ("pack", "source", "expected"), [(1, 0, "11223344"), (0, 0, "11000000220000003300000044000000")]
)
def test_sizes_may_differ(board: Board, pack: int, source: int, expected: str) -> None:
    board.machine.write_memory(0x24001000, bytes.fromhex("11223344"))
    board.machine.write_memory(0x20000100, bytes(16))
    control = 2 | 2 << 2 | source << 4 | 2 << 6 | 2 << 10 | 3 << 18 | pack << 25
    start(board, control, 4, SAR=0x24001000, DAR=0x20000100)
    assert board.machine.read_memory(0x20000100, 16) == bytes.fromhex(expected).ljust(16, b"\0")


def test_an_address_that_nothing_answers_is_a_transfer_error(board: Board) -> None:
    start(board, UP_BYTES | 3 << 18 | BLOCK, 8, DAR=0x10000000)
    assert (board.word(CHANNEL + ISR) & 3, board.word(CHANNEL + CR)) == (1, 0)


@pytest.mark.parametrize(
    ("compiler", "optimise", "defines"),
    [("gcc", "-Os", ()), ("gcc", "-O0", ("INTERRUPTS",)), ("zig", "-O2", ("INTERRUPTS",))],
)
def test_a_loader_that_needs_mdma_timers_semaphores_and_logs(
    compiler: str, optimise: str, defines: tuple[str, ...]
) -> None:
    irq = "INTERRUPTS" in defines
    data = random.Random(7).randbytes(40001)
    with Machine() as machine:
        calls = LoaderCalls(machine, build("dma_qspi", *defines, optimise=optimise, compiler=compiler))
        machine.flash.memory[: 13 * 4096] = bytes(13 * 4096)
        assert [calls.call("Init", irq=irq) for _ in range(2)] == [1, 1]
        assert calls.call("SectorErase", BASE + 4096, BASE + 11 * 4096, irq=irq) == 1
        assert calls.write(BASE + 4096 + 77, data, misplaced=3, irq=irq) == 1
        assert calls.read(BASE + 4096 + 77, len(data), misplaced=1, irq=irq) == data
        written = bytes(4096) + b"\xff" * 77 + data + b"\xff" * (11 * 4096 - 77 - len(data)) + bytes(4096)
        assert bytes(machine.flash.memory[: 13 * 4096]) == written


def test_timers_count_and_tell_of_updates(board: Board) -> None:
    board.put(APB1LENR, 1)
    tim2 = 0x40000000
    board.put(tim2 + 0x28, 63)
    board.put(tim2 + 0x2C, 999)
    board.put(tim2 + 0x14, 1)
    assert (board.word(tim2 + 0x10), board.word(tim2 + 0x24)) == (1, 0)
    board.put(tim2 + 0x10, 0)
    board.put(tim2, 1)
    board.machine.clock.skip(0.000_999)
    before = board.word(tim2 + 0x24)
    board.machine.clock.skip(0.000_500)
    assert board.word(tim2 + 0x10) == 1
    assert before != board.word(tim2 + 0x24) < 1000
    board.put(tim2, 1 | 8)
    board.machine.clock.skip(0.001)
    assert (board.word(tim2), board.word(tim2 + 0x24)) == (8, 0)


def test_timers_run_at_the_clock_of_their_bus(board: Board) -> None:
    rcc = board.machine.soc.rcc
    assert (rcc.timer_hz("APB1L"), rcc.timer_hz("APB2")) == (64e6, 64e6)
    board.put(0x58024418, 0x8)  # HPRE: 2
    board.put(0x5802441C, 4 << 4 | 6 << 8)  # D2PPRE1: 2, D2PPRE2: 8
    assert (rcc.timer_hz("APB1L"), rcc.timer_hz("APB2")) == (32e6, 8e6)
    board.put(0x58024410, 1 << 15)  # TIMPRE
    assert (rcc.timer_hz("APB1L"), rcc.timer_hz("APB2")) == (32e6, 16e6)


def test_a_semaphore_belongs_to_who_took_it(board: Board) -> None:
    board.put(AHB4ENR, 1 << 25)
    hsem = 0x58026400
    assert board.word(hsem + 0x84) == 0x80000300
    board.put(hsem + 4, 0x80000301)
    board.put(hsem + 4, 0x00000301)
    assert board.word(hsem + 4) == 0x80000300
    board.put(hsem + 4, 0x00000300)
    assert board.word(hsem + 4) == 0
    board.put(hsem + 8, 0x80000101)  # another core's
    assert board.word(hsem + 8) == 0
    board.put(hsem + 8, 0x80000305)
    board.put(hsem + 0x140, 0)
    assert board.word(hsem + 8) == 0


def test_logs_find_room_and_random_numbers_are_ready(board: Board) -> None:
    board.put(APB2ENR, 1 << 4)
    assert board.word(0x4001101C) == 0xC0
    board.put(0x40011000, 0xD)
    assert board.word(0x4001101C) == 0x6000C0
    assert board.word(0xE0000000) == 0
    for address, value in ((0xE000EDFC, 1 << 24), (0xE0000E80, 1), (0xE0000E00, 2)):
        board.put(address, value)
    assert board.words(0xE0000000, 2) == [0, 1]
    board.put(AHB2ENR, 1 << 6)
    assert board.words(0x48021804, 2) == [0, 0]
    board.put(0x48021800, 4)
    numbers = [board.word(0x48021808) for _ in range(4)]
    assert (board.word(0x48021804), len(set(numbers))) == (1, 4)


@pytest.mark.parametrize(
    "address", [0x5C003FB0, 0x5C004000, 0x5C015000, 0x52009000, 0x48023000, 0x58027000, 0x52006000]
)
def test_trace_delay_and_ecc_units_take_their_settings(board: Board, address: int) -> None:
    board.put(address, 0xE)
    assert board.word(address) == 0xE


def test_option_bytes_are_those_of_a_new_part(board: Board) -> None:
    assert board.word(0x5200201C) >> 8 & 0xFF == 0xAA
    assert board.words(0x52002038, 4) == [0xFF, 0xFF, 0x1FF00800, 0x1FF00800]
