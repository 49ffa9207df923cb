"""The QUADSPI of the virtual board with a W25Q128, driven as vendor code drives it."""

from __future__ import annotations

from gdbflash.board.chips.facts import FAST, W25Q128JV, Chip, Timing
from gdbflash.board.chips.pair import FlashPair
from gdbflash.board.chips.w25q import W25Q
from gdbflash.board.soc.quadspi import Quadspi
from gdbflash.board.soc.quadspi_window import Window
from tests.support.nor_host import ManualClock

CR, DCR, SR, FCR, DLR, CCR, AR, ABR, DR, PSMKR, PSMAR, PIR, LPTR = range(0, 0x34, 4)
EN, ABORT, TCEN, DFM, FSEL = 1, 2, 8, 64, 128
TEIE, TCIE, FTIE, SMIE, TOIE = (1 << bit for bit in range(16, 21))
APMS, PMM = 1 << 22, 1 << 23
TEF, TCF, FTF, SMF, TOF, BUSY = (1 << bit for bit in range(6))
WRITE, READ, POLL, MAPPED = range(4)
LINES = {0: 0, 1: 1, 2: 2, 4: 3}


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


class Stuck(Exception):
    """Software would wait here for ever."""


class Board:
    """A QUADSPI with a W25Q128, and the register accesses of ST's HAL (stm32h7xx_hal_qspi.c) as methods."""

    def __init__(
        self, timing: Timing = FAST, *, quad_enable: bool = True, fsize: int = 23, chip: Chip = W25Q128JV
    ) -> None:
        self.clock = ManualClock()
        self.flash = W25Q(self.clock, timing=timing, quad_enable=quad_enable, chip=chip)
        self._start(self.flash, fsize)

    def _start(self, flash: W25Q | FlashPair, fsize: int) -> None:
        self.windows: list[tuple[int, bool] | None] = []
        self.levels: list[bool] = []
        self.qspi = Quadspi(flash, self.clock, self.note_window)
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


class PairBoard(Board):
    """A QUADSPI with a W25Q128 on each bank; flash is the first."""

    def __init__(self, *, control: int = DFM, fsize: int = 24) -> None:
        self.clock = ManualClock()
        self.pair = FlashPair(self.clock, quad_enable=True)
        self.flash = self.pair.first
        self._start(self.pair, fsize)
        self.set_bits(CR, control)

    def write_enable(self) -> None:
        self.command(ccr(0x06))
        self._poll_statuses(0x02, 0x02)

    def memory_ready(self) -> None:
        self._poll_statuses(0x00, 0x01)

    def _poll_statuses(self, match: int, mask: int) -> None:
        count = 2 if self.get(CR) & DFM else 1
        every = 0x0101 if count == 2 else 1
        self.auto_polling(ccr(0x05, data=1), match * every, mask * every, count=count)

    def statuses(self, opcode: int) -> bytes:
        """Read a register of both chips."""
        self.command(ccr(opcode, data=1), count=2)
        return self.receive()


def start_read(board: Board, count: int, address: int = 0) -> None:
    board.put(DLR, count - 1)
    board.put(CCR, ccr(0x03, READ, address=1, data=1))
    board.put(AR, address)


def poll(board: Board, match: int, mask: int, bits: int = 0, *, count: int = 1) -> None:
    board.put(PSMAR, match)
    board.put(PSMKR, mask)
    board.put(PIR, 100)
    board.put(CR, EN | bits)
    board.put(DLR, count - 1)
    board.put(CCR, ccr(0x05, POLL, data=1))
