"""Internal flash for tests: its registers, and the sequences that open and fill it."""

from __future__ import annotations

from tests.support.boardcode import Board

ARRAY, SIZE = 0x08000000, 0x20000
WORD = ARRAY + 0x1000
"""A flash word that the firmware does not use."""
ACR, KEYR1, OPTKEYR, CR1, SR1, CCR1, OPTCR = (0x52002000 + offset for offset in range(0, 0x1C, 4))
OPTSR_CUR, OPTSR_PRG, OPTCCR, WPSN_CUR1, WPSN_PRG1, ECC_FA1R = (
    0x52002000 + offset for offset in (0x1C, 0x20, 0x24, 0x38, 0x3C, 0x60)
)
OPTSTART = 1 << 1
KEYS, OPTION_KEYS = (0x45670123, 0xCDEF89AB), (0x08192A3B, 0x4C5D6E7F)
LOCK, PG, SER, BER, PSIZE_64, FW, START = 1, 2, 4, 8, 0x30, 0x40, 0x80
WBNE, EOP, WRPERR, PGSERR, STRBERR, INCERR, DBECCERR = (1 << bit for bit in (1, 16, 17, 18, 19, 21, 26))
EIGHT = tuple(0x11111111 * digit for digit in range(1, 9))


def unlock(board: Board) -> None:
    """Open CR1."""
    for key in KEYS:
        board.put(KEYR1, key)


def unlock_options(board: Board) -> None:
    """Open OPTCR and the option bytes."""
    for key in OPTION_KEYS:
        board.put(OPTKEYR, key)


def change_option(board: Board, register: int, value: int) -> None:
    """Have an option byte changed, with OPTCR open."""
    board.put(register, value)
    board.put(OPTCR, OPTSTART)


def enable_programming(board: Board) -> None:
    """Open CR1 and set PG."""
    unlock(board)
    board.put(CR1, PG | PSIZE_64)


def program(board: Board, address: int, *words: int) -> None:
    """Program a flash word with PG set, and expect no error."""
    board.put(address, *words)
    assert board.word(SR1) == EOP
    board.put(CCR1, EOP)
