"""The QUADSPI of the virtual board, driven register by register as vendor code does it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbflash.board.bus import BusError, Peripheral
from gdbflash.board.chips import DATA_SHEET, FAST, W25Q128JV, Chip, Timing
from gdbflash.board.quadspi import Quadspi
from gdbflash.board.quadspi_window import Window
from gdbflash.board.w25q import W25Q

CR, DCR, SR, FCR, DLR, CCR, AR, ABR, DR, PSMKR, PSMAR, PIR, LPTR = range(0, 0x34, 4)
EN, ABORT, TCEN = 1, 2, 8
TEIE, TCIE, FTIE, SMIE, TOIE = (1 << bit for bit in range(16, 21))
APMS, PMM = 1 << 22, 1 << 23
TEF, TCF, FTF, SMF, TOF, BUSY = (1 << bit for bit in range(6))
WRITE, READ, POLL, MAPPED = range(4)
LINES = {0: 0, 1: 1, 2: 2, 4: 3}
MIB = 1024 * 1024


def ccr(
    opcode: int,
    mode: int = WRITE,
    *,
    instruction: int = 1,
    address: int = 0,
    address_size: int = 3,
    alternate: int = 0,
    dummy: int = 0,
    data: int = 0,
    sioo: bool = False,
) -> int:
    """CCR from numbers of lines."""
    return (
        opcode
        | LINES[instruction] << 8
        | LINES[address] << 10
        | (address_size - 1 if address else 0) << 12
        | LINES[alternate] << 14
        | dummy << 18
        | LINES[data] << 24
        | mode << 26
        | sioo << 28
    )


def quad_read(mode: int = WRITE, *, sioo: bool = False) -> int:
    """EBh with a mode byte as the alternate byte."""
    return ccr(0xEB, mode, address=4, alternate=4, dummy=4, data=4, sioo=sioo)


@dataclass
class ManualClock:
    time: float = 0.0

    def now(self) -> float:
        return self.time


class Stuck(Exception):
    """Software would wait here for ever."""


class Board:
    """A QUADSPI with a W25Q128, and the register accesses of ST's HAL (stm32h7xx_hal_qspi.c) as methods."""

    def __init__(
        self, timing: Timing = FAST, *, quad_enable: bool = True, fsize: int = 23, chip: Chip = W25Q128JV
    ) -> None:
        self.clock = ManualClock()
        self.flash = W25Q(self.clock, timing=timing, quad_enable=quad_enable, chip=chip)
        self.windows: list[tuple[int, bool] | None] = []
        self.levels: list[bool] = []
        self.qspi = Quadspi(self.flash, self.clock, self.note_window)
        self.qspi.interrupt = self.levels.append
        self.put(CR, 3 << 8)
        self.put(DCR, fsize << 16 | 5 << 8)
        self.put(CR, 1 << 24 | 3 << 8 | EN)

    def note_window(self) -> None:
        window = self.qspi.window
        self.windows.append(None if window is None else (window.size, window.memory is not None))

    @property
    def window(self) -> Window:
        assert self.qspi.window is not None
        return self.qspi.window

    def put(self, offset: int, value: int) -> None:
        self.qspi.write(offset, 4, value)

    def get(self, offset: int) -> int:
        return self.qspi.read(offset, 4)

    def set_bits(self, offset: int, bits: int) -> None:
        self.put(offset, self.get(offset) | bits)

    def wait(self, flag: int, state: bool = True) -> None:
        for _ in range(1000):
            if bool(self.get(SR) & flag) == state:
                return
            self.clock.time += 1e-6
        raise Stuck(f"flag 0x{flag:02X} never {state}, SR 0x{self.get(SR):08X}")

    # HAL_QSPI_Command, HAL_QSPI_Transmit, HAL_QSPI_Receive, HAL_QSPI_AutoPolling, HAL_QSPI_MemoryMapped, HAL_QSPI_Abort

    def command(self, value: int, address: int = 0, *, count: int = 0, alternate: int | None = None) -> None:
        self.wait(BUSY, False)
        data = value >> 24 & 3
        if data:
            self.put(DLR, count - 1)
        if alternate is not None:
            self.put(ABR, alternate)
        self.put(CCR, value & ~(3 << 26))
        if value >> 10 & 3:
            self.put(AR, address)
        if not data:
            self.wait(TCF)
            self.put(FCR, TCF)

    def transmit(self, data: bytes) -> None:
        count = self.get(DLR) + 1
        self.put(CCR, self.get(CCR) & ~(3 << 26))
        for byte in data[:count]:
            self.wait(FTF)
            self.qspi.write(DR, 1, byte)
        self.wait(TCF)
        self.put(FCR, TCF)

    def receive(self) -> bytes:
        address = self.get(AR)
        count = self.get(DLR) + 1
        self.put(CCR, self.get(CCR) & ~(3 << 26) | READ << 26)
        self.put(AR, address)
        data = bytearray()
        while len(data) < count:
            self.wait(FTF | TCF)
            data.append(self.qspi.read(DR, 1))
        self.wait(TCF)
        self.put(FCR, TCF)
        return bytes(data)

    def auto_polling(self, value: int, match: int, mask: int, *, count: int = 1, bits: int = APMS) -> None:
        self.wait(BUSY, False)
        self.put(PSMAR, match)
        self.put(PSMKR, mask)
        self.put(PIR, 0x10)
        self.put(CR, self.get(CR) & ~(APMS | PMM) | bits)
        self.put(DLR, count - 1)
        self.put(CCR, value | POLL << 26)
        self.wait(SMF)
        self.put(FCR, SMF)

    def memory_mapped(self, value: int, *, alternate: int | None = None) -> None:
        self.wait(BUSY, False)
        self.put(CR, self.get(CR) & ~TCEN)
        if alternate is not None:
            self.put(ABR, alternate)
        self.put(CCR, value | MAPPED << 26)

    def abort(self) -> None:
        self.set_bits(CR, ABORT)
        self.wait(TCF)
        self.put(FCR, TCF)
        self.wait(BUSY, False)
        self.put(CCR, self.get(CCR) & ~(3 << 26))

    # A vendor-styled driver of the chip on top

    def register(self, opcode: int) -> int:
        self.command(ccr(opcode, data=1), count=1)
        return self.receive()[0]

    def write_enable(self) -> None:
        self.command(ccr(0x06))
        self.auto_polling(ccr(0x05, data=1), 0x02, 0x02)

    def memory_ready(self) -> None:
        self.auto_polling(ccr(0x05, data=1), 0x00, 0x01)

    def program(self, address: int, data: bytes) -> None:
        self.write_enable()
        self.command(ccr(0x32, address=1, data=4), address, count=len(data))
        self.transmit(data)
        self.memory_ready()

    def reset_memory(self) -> None:
        self.command(ccr(0x66))
        self.command(ccr(0x99))
        self.memory_ready()

    def map(self) -> None:
        self.memory_mapped(quad_read(), alternate=0xFF)


@pytest.fixture
def board() -> Board:
    return Board()


# --- the vendor's sequences ---------------------------------------------------------------------------------


def test_is_a_peripheral(board: Board) -> None:
    peripheral: Peripheral = board.qspi
    assert (peripheral.base, peripheral.size) == (0x52005000, 0x1000)


def test_loader_init_program_verify_and_map() -> None:
    board = Board(quad_enable=False)
    board.reset_memory()
    assert board.register(0x35) == 0x00
    board.write_enable()
    board.command(ccr(0x31, data=1), count=1)
    board.transmit(b"\x02")
    board.memory_ready()
    assert board.register(0x35) == 0x02

    board.flash.memory[0x12000:0x13000] = bytes(4096)
    board.write_enable()
    board.command(ccr(0x20, address=1), 0x12000)
    board.memory_ready()
    data = bytes(index * 7 & 0xFF for index in range(256))
    board.program(0x12300, data)
    board.command(quad_read(), 0x122FF, count=258, alternate=0xFF)
    assert board.receive() == b"\xff" + data + b"\xff"

    board.map()
    assert board.window.read(0x12300, 8) == data[:8]
    board.abort()
    assert board.windows[-1] is None
    assert board.register(0x05) == 0x00
    assert board.flash.counters.pages_programmed == 1
    assert board.flash.counters.sectors_erased == 1


def test_eraser_that_does_not_wait_is_caught(board: Board) -> None:
    board.flash.memory[0] = 0
    board.write_enable()
    board.command(ccr(0x20, address=1), 0)
    assert board.register(0x05) == 0x03


def test_auto_polling_never_matches(board: Board) -> None:
    with pytest.raises(Stuck, match="flag 0x08 never True, SR 0x0000002"):
        board.auto_polling(ccr(0x05, data=1), 0x02, 0x02)
    board.abort()
    assert board.get(SR) == FTF


def test_real_times_are_waited_for_by_polling() -> None:
    board = Board(DATA_SHEET)
    board.write_enable()
    board.command(ccr(0xD8, address=1), 0)
    with pytest.raises(Stuck):
        board.memory_ready()
    board.clock.time += 0.15
    board.wait(SMF)


def test_command_line_reads_by_low_level_accesses(board: Board) -> None:
    board.flash.memory[0x1000:0x1006] = bytes.fromhex("112233445566")
    board.put(DLR, 5)
    board.put(CCR, ccr(0x0B, READ, address=1, dummy=8, data=1))
    assert board.get(SR) == 0
    board.put(AR, 0x1000)
    assert board.get(SR) == 6 << 8 | BUSY | FTF | TCF
    assert board.get(DR) == 0x44332211
    assert board.qspi.read(DR, 2) == 0x6655
    assert board.get(SR) == TCF


# --- start conditions ---------------------------------------------------------------------------------------


def test_command_without_address_and_data_starts_with_ccr(board: Board) -> None:
    board.put(CCR, ccr(0x06))
    assert board.get(SR) == TCF | FTF
    assert board.flash.core.status(1) == 0x02


def test_command_with_address_starts_with_ar(board: Board) -> None:
    board.put(CCR, ccr(0x06))
    board.put(CCR, ccr(0x20, address=1))
    assert board.flash.core.status(1) == 0x02
    board.put(AR, 0)
    assert board.flash.core.status(1) == 0x03


def test_write_with_data_starts_with_dr(board: Board) -> None:
    board.put(CCR, ccr(0x06))
    board.put(FCR, TCF)
    board.put(DLR, 3)
    board.put(CCR, ccr(0x02, address=1, data=1))
    board.put(AR, 0x1000)
    assert board.get(SR) == FTF
    board.qspi.write(DR, 2, 0x2211)
    assert board.get(SR) == FTF | BUSY
    assert board.flash.core.status(1) == 0x02
    board.qspi.write(DR, 1, 0x33)
    board.qspi.write(DR, 1, 0x44)
    assert board.get(SR) == FTF | TCF
    board.clock.time += 1
    assert board.flash.core.status(1) == 0x03
    assert board.flash.core.status(1) == 0x00
    assert board.flash.memory[0x1000:0x1004] == bytes.fromhex("11223344")


def test_bytes_more_than_dlr_says_are_dropped(board: Board) -> None:
    board.put(CCR, ccr(0x06))
    board.put(DLR, 1)
    board.put(CCR, ccr(0x02, address=1, data=1))
    board.put(AR, 0x1000)
    board.put(DR, 0x44332211)
    assert board.get(SR) == FTF | TCF
    board.clock.time += 1
    board.flash.core.status(1)
    board.flash.core.status(1)
    assert board.flash.memory[0x1000:0x1004] == bytes.fromhex("1122ffff")


def test_ar_and_abr_alone_start_nothing(board: Board) -> None:
    board.put(ABR, 0xFF)
    board.put(AR, 0x1000)
    assert board.get(SR) == FTF


def test_nothing_starts_while_disabled(board: Board) -> None:
    board.put(CR, 0)
    board.put(CCR, ccr(0x06))
    board.put(DR, 1)
    assert board.get(SR) == 0
    assert board.flash.core.status(1) == 0


def test_registers_are_locked_while_busy(board: Board) -> None:
    board.put(DLR, 7)
    board.put(CCR, ccr(0x03, READ, address=1, data=1))
    board.put(AR, 0x100)
    values = [board.get(offset) for offset in (DCR, DLR, CCR, AR, ABR, PSMKR, PSMAR, PIR, LPTR)]
    for offset in (DCR, DLR, CCR, AR, ABR, PSMKR, PSMAR, PIR, LPTR):
        board.put(offset, 0x55555555)
    assert [board.get(offset) for offset in (DCR, DLR, CCR, AR, ABR, PSMKR, PSMAR, PIR, LPTR)] == values
    control = board.get(CR)
    board.put(CR, 0xFFC000D8 | TCIE | 0x1F00 | EN)
    assert board.get(CR) == control & 0xFFC000D8 | TCIE | 0x1F00 | EN


def test_registers_keep_their_bits_only(board: Board) -> None:
    for offset in (DCR, DLR, AR, ABR, PSMKR, PSMAR, PIR, LPTR):
        board.put(offset, 0xFFFFFFFF)
    assert board.get(DCR) == 0x001F0701
    assert [board.get(offset) for offset in (DLR, AR, ABR, PSMKR, PSMAR)] == [0xFFFFFFFF] * 5
    assert [board.get(offset) for offset in (PIR, LPTR)] == [0xFFFF] * 2
    board.put(CR, 0)
    board.put(CCR, 0xFFFFFFFF)
    assert board.get(CCR) == 0xDF7FFFFF
    board.put(CR, 0xFFFFFFFE)
    assert board.get(CR) == 0xFFDF1FDC


def test_parts_of_registers(board: Board) -> None:
    board.put(PSMKR, 0x11223344)
    assert board.qspi.read(PSMKR + 1, 1) == 0x33
    assert board.qspi.read(PSMKR + 2, 2) == 0x1122
    board.qspi.write(PSMKR + 2, 1, 0xAA)
    assert board.get(PSMKR) == 0x11AA3344


# --- FIFO ---------------------------------------------------------------------------------------------------


def start_read(board: Board, count: int, address: int = 0) -> None:
    board.put(DLR, count - 1)
    board.put(CCR, ccr(0x03, READ, address=1, data=1))
    board.put(AR, address)


def test_fifo_level_and_complete_of_a_long_read(board: Board) -> None:
    board.flash.memory[:64] = bytes(range(64))
    start_read(board, 40)
    assert board.get(SR) == 32 << 8 | BUSY | FTF
    for _ in range(7):
        board.qspi.read(DR, 1)
    assert board.get(SR) == 32 << 8 | BUSY | FTF
    assert board.qspi.read(DR, 1) == 7
    assert board.get(SR) == 32 << 8 | BUSY | FTF | TCF
    board.put(FCR, TCF)
    assert board.qspi.read(DR, 1) == 8
    assert board.get(SR) == 31 << 8 | BUSY | FTF


@pytest.mark.parametrize(("threshold", "count", "set_at_start"), [(0, 40, 1), (31, 40, 1), (31, 33, 1)])
def test_threshold_while_data_still_come(board: Board, threshold: int, count: int, set_at_start: int) -> None:
    board.put(CR, threshold << 8 | EN)
    start_read(board, count)
    assert board.get(SR) >> 2 & 1 == set_at_start


def test_threshold_is_ignored_once_all_data_are_in(board: Board) -> None:
    board.put(CR, 31 << 8 | EN)
    start_read(board, 3)
    assert board.get(SR) == 3 << 8 | BUSY | FTF | TCF


@settings(deadline=None)
@given(st.integers(1, 5000), st.lists(st.sampled_from([1, 2, 4]), min_size=1, max_size=20), st.integers(0, 2000))
def test_any_mix_of_widths_reads_the_same_bytes(count: int, widths: list[int], address: int) -> None:
    board = Board()
    content = bytes(index * 31 + (index >> 8) & 0xFF for index in range(8192))
    board.flash.memory[:8192] = content
    start_read(board, count, address)
    seen = bytearray()
    turn = 0
    while len(seen) < count:
        width = widths[turn % len(widths)]
        assert board.get(SR) & BUSY
        assert board.get(SR) >> 8 == min(32, count - len(seen))
        seen += board.qspi.read(DR, width).to_bytes(width, "little")
        assert bool(board.get(SR) & TCF) == (count - min(len(seen), count) <= 32)
        turn += 1
    assert seen[:count] == content[address : address + count]
    assert board.get(SR) == TCF
    assert board.get(DR) == 0


def test_stream_of_status_bytes_is_as_old_as_the_fifo_is_deep(board: Board) -> None:
    board.put(CCR, ccr(0x06))
    board.put(DLR, 63)
    board.put(CCR, ccr(0x05, READ, data=1))
    board.flash.core.write_disable()
    assert [board.qspi.read(DR, 1) for _ in range(33)] == [0x02] * 32 + [0x00]


def test_undefined_length_ends_with_the_memory(board: Board) -> None:
    board.flash.memory[0xFFFFF0:] = bytes(range(16))
    board.put(DLR, 0xFFFFFFFF)
    board.put(CCR, ccr(0x03, READ, address=1, data=1))
    board.put(AR, 0xFFFFF0)
    assert [board.qspi.read(DR, 1) for _ in range(16)] == list(range(16))
    assert board.get(SR) == TCF


def test_endless_read_wraps_and_is_aborted(board: Board) -> None:
    board.put(DCR, 31 << 16)
    board.put(DLR, 0xFFFFFFFF)
    board.put(CCR, ccr(0x03, READ, address=1, data=1))
    board.flash.memory[0] = 0x42
    board.put(AR, 0xFFFFFE)
    assert board.get(DR) == 0xFF42FFFF
    board.set_bits(CR, ABORT)
    assert board.get(SR) == TCF
    assert board.get(CR) & ABORT == 0


# --- errors -------------------------------------------------------------------------------------------------


def test_address_past_fsize(board: Board) -> None:
    board.put(CCR, ccr(0x03, READ, address=1, data=1))
    board.put(AR, 16 * MIB)
    assert board.get(SR) == TEF
    board.put(FCR, TEF)
    assert board.get(SR) == 0


def test_length_past_fsize(board: Board) -> None:
    start_read(board, 17, 0xFFFFF0)
    assert board.get(SR) == TEF
    board.put(FCR, TEF)
    start_read(board, 16, 0xFFFFF0)
    assert board.get(SR) & (TEF | BUSY) == BUSY


def test_write_past_fsize_does_not_start(board: Board) -> None:
    board.put(CCR, ccr(0x06))
    board.put(FCR, TCF)
    board.put(DLR, 1)
    board.put(CCR, ccr(0x02, address=1, data=1))
    board.put(AR, 0xFFFFFF)
    board.qspi.write(DR, 2, 0)
    assert board.get(SR) == TEF | FTF


def test_second_bank_is_empty(board: Board) -> None:
    board.put(CR, 1 << 7 | EN)
    board.put(DLR, 2)
    board.put(CCR, ccr(0x9F, READ, data=1))
    assert [board.qspi.read(DR, 1) for _ in range(3)] == [0xFF] * 3


def test_dual_flash_mode_is_refused(board: Board) -> None:
    board.put(CR, 1 << 6 | EN)
    board.put(CCR, ccr(0x06))
    assert board.get(SR) == TEF | FTF
    board.put(FCR, TEF)
    board.put(CCR, ccr(0x05, POLL, data=1))
    assert board.get(SR) == TEF
    board.put(CCR, ccr(0x03, MAPPED, address=1, data=1))
    assert board.qspi.window is None


# --- abort and reset ----------------------------------------------------------------------------------------


def test_abort_flushes_the_fifo(board: Board) -> None:
    start_read(board, 100)
    board.set_bits(CR, ABORT)
    assert board.get(SR) == TCF
    assert board.get(DR) == 0


def test_abort_of_an_idle_controller_raises_nothing(board: Board) -> None:
    board.set_bits(CR, ABORT)
    assert board.get(SR) == FTF


def test_aborted_page_program_programs_what_was_sent(board: Board) -> None:
    board.put(CCR, ccr(0x06))
    board.put(DLR, 255)
    board.put(CCR, ccr(0x02, address=1, data=1))
    board.put(AR, 0)
    board.qspi.write(DR, 1, 0x5A)
    board.set_bits(CR, ABORT)
    assert board.flash.core.status(1) == 0x03
    board.clock.time += 1
    board.flash.core.status(1)
    assert bytes(board.flash.memory[0:2]) == b"\x5a\xff"


def test_disabling_ends_a_read(board: Board) -> None:
    start_read(board, 100)
    board.put(CR, 0)
    assert board.get(SR) == 0


def test_reset_returns_registers_and_leaves_the_chip(board: Board) -> None:
    board.put(CCR, ccr(0x06))
    board.map()
    board.qspi.reset()
    assert [board.get(offset) for offset in range(0, 0x34, 4)] == [0] * 13
    assert board.windows[-1] is None
    assert board.windows[-1] is None
    assert board.flash.core.status(1) == 0x02


# --- automatic polling --------------------------------------------------------------------------------------


def poll(board: Board, match: int, mask: int, bits: int = 0, *, count: int = 1) -> None:
    board.put(PSMAR, match)
    board.put(PSMKR, mask)
    board.put(PIR, 100)
    board.put(CR, EN | bits)
    board.put(DLR, count - 1)
    board.put(CCR, ccr(0x05, POLL, data=1))


def test_polling_goes_on_after_a_match_without_apms(board: Board) -> None:
    poll(board, 0, 1)
    assert board.get(SR) == BUSY | SMF | FTF
    board.put(FCR, SMF)
    assert board.get(SR) == BUSY | FTF
    board.clock.time += 1e-3
    assert board.get(SR) == BUSY | SMF | FTF
    assert board.qspi.read(DR, 1) == 0
    assert board.get(SR) == BUSY | SMF
    board.set_bits(CR, ABORT)
    assert board.get(SR) == SMF | TCF | FTF
    assert board.get(CCR) >> 26 & 3 == WRITE


def test_polling_keeps_its_interval(board: Board) -> None:
    poll(board, 2, 2)
    board.flash.core.write_enable()
    # 100 clocks at 200 MHz
    board.clock.time = 0.49e-6
    assert board.get(SR) == BUSY | FTF
    board.clock.time = 0.51e-6
    assert board.get(SR) == BUSY | FTF | SMF


def test_polling_stops_at_the_match_with_apms(board: Board) -> None:
    poll(board, 0, 1, APMS)
    assert board.get(SR) == SMF | FTF
    assert board.get(DR) == 0
    assert board.get(SR) == SMF


@pytest.mark.parametrize(
    ("bits", "match", "mask", "expected"),
    [(0, 0x03, 0x03, False), (PMM, 0x03, 0x03, True), (PMM, 0x01, 0x01, False), (0, 0x02, 0x03, True)],
)
def test_and_and_or_match(board: Board, bits: int, match: int, mask: int, expected: bool) -> None:
    board.put(CCR, ccr(0x06))  # status 0x02
    board.put(FCR, TCF)
    poll(board, match, mask, bits)
    assert bool(board.get(SR) & SMF) == expected


def test_polling_of_several_bytes(board: Board) -> None:
    board.put(CCR, ccr(0x06))
    poll(board, 0x02020202, 0xFFFFFFFF, APMS, count=4)
    assert board.get(SR) & SMF
    assert board.get(DR) == 0x02020202
    assert board.qspi.read(DR, 1) == 0x02


def test_polling_with_an_address_starts_with_ar(board: Board) -> None:
    board.put(PSMAR, 0x17)
    board.put(PSMKR, 0xFF)
    board.put(CR, EN | APMS)
    board.put(DLR, 0)
    board.put(CCR, ccr(0x90, POLL, address=1, data=1))
    assert board.get(SR) == 0
    board.put(AR, 1)
    assert board.get(SR) == SMF | FTF


# --- memory-mapped ------------------------------------------------------------------------------------------


def test_window_comes_with_ccr_and_memory_after_the_first_access(board: Board) -> None:
    board.flash.memory[0x1000:0x1004] = bytes.fromhex("deadbeef")
    board.map()
    assert board.windows == [(16 * MIB, False)]
    assert board.get(SR) == 0
    assert board.window.read(0x1002, 2) == bytes.fromhex("beef")
    assert board.windows == [(16 * MIB, False), (16 * MIB, True)]
    assert board.get(SR) == BUSY
    memory = board.window.memory
    assert memory is not None
    assert not memory.readonly
    assert memory.contiguous
    assert len(memory) == 16 * MIB
    assert memory[0x1000:0x1004] == bytes.fromhex("deadbeef")


def test_writes_are_ignored_while_mapped_and_read(board: Board) -> None:
    board.map()
    board.window.read(0, 4)
    before = board.get(CCR)
    board.put(CCR, ccr(0x06))
    assert board.get(CCR) == before
    assert board.flash.core.status(1) == 0
    with pytest.raises(Stuck):
        board.command(ccr(0x06))
    board.abort()
    board.command(ccr(0x06))
    assert board.flash.core.status(1) == 2


def test_mapped_mode_is_left_by_ccr_before_the_first_access(board: Board) -> None:
    board.map()
    board.command(ccr(0x06))
    assert board.windows[-1] is None
    assert board.flash.core.status(1) == 2


def test_abort_before_the_first_access(board: Board) -> None:
    board.map()
    board.abort()
    assert board.windows == [(16 * MIB, False), None]


def test_disabling_closes_the_window(board: Board) -> None:
    board.map()
    board.window.read(0, 4)
    board.put(CR, 0)
    assert board.windows[-1] is None
    assert board.get(SR) == 0
    board.put(CR, EN)
    assert board.windows[-1] == (16 * MIB, False)


def test_dr_and_ar_do_nothing_while_mapped(board: Board) -> None:
    board.map()
    board.put(AR, 5)
    board.put(DR, 5)
    assert board.get(AR) == 0
    assert board.get(DR) == 0


@pytest.mark.parametrize(
    ("fsize", "size", "memory"), [(23, 16 * MIB, 16 * MIB), (22, 8 * MIB, 8 * MIB), (24, 32 * MIB, 16 * MIB)]
)
def test_window_size_is_what_fsize_says(fsize: int, size: int, memory: int) -> None:
    board = Board(fsize=fsize)
    board.flash.memory[0x20:0x22] = b"\x12\x34"
    board.map()
    window = board.window
    assert window.size == size
    assert window.read(0x20, 2) == b"\x12\x34"
    assert board.window.memory is not None
    assert len(board.window.memory) == memory
    with pytest.raises(BusError) as caught:
        window.read(size - 1, 2)
    assert caught.value.address == 0x90000000 + size - 1


def test_window_is_at_most_256_mib() -> None:
    board = Board(fsize=31)
    board.map()
    assert board.window.size == 256 * MIB


def test_a_window_larger_than_the_chip_repeats() -> None:
    board = Board(fsize=24)
    board.flash.memory[0x20:0x22] = b"\x12\x34"
    board.map()
    assert board.window.read(16 * MIB + 0x20, 2) == b"\x12\x34"


def test_old_window_reads_nothing_after_the_mode_is_left(board: Board) -> None:
    board.map()
    window = board.window
    board.abort()
    with pytest.raises(BusError):
        window.read(0, 4)


MAPPED_READS = [
    (ccr(0x03, address=1, data=1), None),
    (ccr(0x0B, address=1, dummy=8, data=1), None),
    (ccr(0x3B, address=1, dummy=8, data=2), None),
    (ccr(0x6B, address=1, dummy=8, data=4), None),
    (ccr(0xBB, address=2, alternate=2, data=2), 0xFF),
    (ccr(0xEB, address=4, alternate=4, dummy=4, data=4), 0xFF),
    (ccr(0xEB, address=4, dummy=6, data=4), None),
    (ccr(0xEB, address=4, alternate=4, dummy=4, data=4, sioo=True), 0xA0),
]


@pytest.mark.parametrize(("value", "alternate"), MAPPED_READS)
def test_read_commands_that_map_plainly(board: Board, value: int, alternate: int | None) -> None:
    board.flash.memory[0x123456:0x12345A] = bytes.fromhex("12345678")
    board.memory_mapped(value, alternate=alternate)
    assert board.window.read(0x123456, 4) == bytes.fromhex("12345678")
    assert board.windows[-1] == (16 * MIB, True)
    assert board.window.read(0x123457, 2) == bytes.fromhex("3456")


WRONG_READS = [
    (ccr(0xEB, address=4, alternate=4, dummy=6, data=4), 0xFF, bytes.fromhex("345678ff")),  # two clocks too many
    (ccr(0x03, address=1, data=4), None, bytes.fromhex("888a88a8")),  # four lines of a 1-1-1 command: bits 0001 0010
    (ccr(0x9F, address=1, data=1), None, bytes.fromhex("ef4018ef")),  # the address is clocked away: 3 bytes
    (ccr(0x05, data=1), None, bytes.fromhex("00000000")),
    (ccr(0x03, address=1, address_size=4, data=1), None, None),
]


@pytest.mark.parametrize(("value", "alternate", "seen"), WRONG_READS)
def test_wrong_commands_deliver_what_the_lines_say(
    board: Board, value: int, alternate: int | None, seen: bytes | None
) -> None:
    board.flash.memory[0x120000:0x120004] = bytes.fromhex("12345678")
    board.memory_mapped(value, alternate=alternate)
    for _ in range(2):
        got = board.window.read(0x120000, 4)
        assert board.window.memory is None
        if seen is not None:
            assert got == seen


def test_quad_read_without_qe_never_becomes_plain() -> None:
    board = Board(quad_enable=False)
    board.map()
    for _ in range(3):
        board.window.read(0, 4)
    assert board.windows == [(16 * MIB, False)]


def test_continuous_read_without_sioo_breaks_the_second_access(board: Board) -> None:
    board.flash.memory[0:4] = bytes.fromhex("12345678")
    board.memory_mapped(quad_read(), alternate=0xA0)
    assert board.window.read(0, 4) == bytes.fromhex("12345678")
    assert board.window.memory is None


def test_sioo_without_continuous_read_breaks_the_second_access(board: Board) -> None:
    board.flash.memory[0:4] = bytes.fromhex("12345678")
    board.memory_mapped(quad_read(sioo=True), alternate=0xFF)
    assert board.window.read(0, 4) == bytes.fromhex("12345678")
    assert board.window.memory is None
    assert board.window.read(0, 4) != bytes.fromhex("12345678")


def test_after_continuous_read_the_chip_needs_an_exit_sequence(board: Board) -> None:
    board.memory_mapped(quad_read(sioo=True), alternate=0xA0)
    board.window.read(0, 4)
    board.abort()
    assert board.register(0x9F) != 0xEF
    board.command(ccr(0xFF))
    assert board.register(0x9F) == 0xEF


def test_busy_chip_is_not_mapped_and_its_content_not_early() -> None:
    board = Board(DATA_SHEET)
    board.flash.memory[0:0x2000] = bytes(0x2000)
    board.command(ccr(0x06))
    board.command(ccr(0x20, address=1), 0)
    board.memory_mapped(ccr(0x03, address=1, data=1))
    # Nobody drives IO1.
    assert board.window.read(0x1000, 2) == b"\xff\xff"
    assert board.window.memory is None
    assert board.flash.memory[0] == 0
    board.clock.time += 0.05
    assert board.window.read(0x0FFF, 2) == b"\xff\x00"
    assert board.windows[-1] == (16 * MIB, True)


def test_powered_down_chip_is_not_mapped(board: Board) -> None:
    board.command(ccr(0xB9))
    board.memory_mapped(ccr(0x03, address=1, data=1))
    board.flash.memory[0:4] = bytes(4)
    assert board.window.read(0, 4) == b"\xff\xff\xff\xff"
    assert board.window.memory is None


def test_time_out_releases_the_chip_and_sees_the_next_access(board: Board) -> None:
    board.put(CR, EN | TCEN)
    board.put(LPTR, 200)
    board.put(CCR, ccr(0x03, MAPPED, address=1, data=1))
    board.window.read(0, 4)
    assert board.get(SR) == BUSY
    board.clock.time += 2e-6
    assert board.get(SR) == TOF
    assert board.windows[-1] == (16 * MIB, False)
    board.put(FCR, TOF)
    board.window.read(0, 4)
    assert board.get(SR) == BUSY
    assert board.windows[-1] == (16 * MIB, True)


def test_qpi_maps(board: Board) -> None:
    board.flash.memory[0x1000:0x1002] = b"\x12\x34"
    board.command(ccr(0x38))
    board.memory_mapped(ccr(0xEB, instruction=4, address=4, alternate=4, data=4), alternate=0xFF)
    assert board.window.read(0x1000, 2) == b"\x12\x34"
    assert board.windows[-1] == (16 * MIB, True)


def test_small_chip_maps_too() -> None:
    board = Board(fsize=17, chip=replace(W25Q128JV, size=256 * 1024))
    board.map()
    board.window.read(0, 1)
    assert board.windows[-1] == (256 * 1024, True)


# --- send instruction only once -----------------------------------------------------------------------------


def test_sioo_in_indirect_reads(board: Board) -> None:
    board.flash.memory[0:4] = bytes.fromhex("12345678")
    board.put(DLR, 0)
    board.put(ABR, 0xA0)
    board.put(CCR, quad_read(READ, sioo=True))
    for address, value in enumerate(bytes.fromhex("12345678")):
        board.put(AR, address)
        assert board.qspi.read(DR, 1) == value


# --- interrupts ---------------------------------------------------------------------------------------------


def test_transfer_complete_interrupt(board: Board) -> None:
    board.set_bits(CR, TCIE)
    board.put(CCR, ccr(0x06))
    assert board.levels == [True]
    board.put(FCR, TCF)
    assert board.levels == [True, False]


def test_fifo_threshold_interrupt_of_a_write_and_a_read(board: Board) -> None:
    board.put(CCR, ccr(0x03, READ, address=1, data=1))
    board.set_bits(CR, FTIE)
    assert board.levels == []
    board.put(DLR, 1)
    board.put(AR, 0)
    assert board.levels == [True]
    board.qspi.read(DR, 1)
    assert board.levels == [True]
    board.qspi.read(DR, 1)
    assert board.levels == [True, False]
    board.put(CCR, ccr(0x02, WRITE, address=1, data=1))
    assert board.levels == [True, False, True]


def test_transfer_complete_interrupt_of_a_read_comes_when_32_bytes_are_left(board: Board) -> None:
    board.set_bits(CR, TCIE)
    start_read(board, 36)
    assert board.levels == []
    board.get(DR)
    assert board.levels == [True]


def test_status_match_interrupt_by_tick(board: Board) -> None:
    poll(board, 2, 2, APMS)
    board.set_bits(CR, SMIE)
    board.clock.time += 1e-3
    board.qspi.tick()
    assert board.levels == []
    board.flash.core.write_enable()
    board.clock.time += 1e-3
    board.qspi.tick()
    assert board.levels == [True]


def test_transfer_error_interrupt(board: Board) -> None:
    board.set_bits(CR, TEIE)
    board.put(CCR, ccr(0x20, address=1))
    board.put(AR, 0xFFFFFFFF)
    assert board.levels == [True]


def test_time_out_interrupt(board: Board) -> None:
    board.put(CR, EN | TCEN | TOIE)
    board.put(CCR, ccr(0x03, MAPPED, address=1, data=1))
    board.window.read(0, 4)
    board.qspi.tick()
    assert board.levels == [True]
