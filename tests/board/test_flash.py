"""The embedded flash memory's interface as a debugger meets it: locks, write buffer, erase, flags, option bytes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gdbflash.board.bus import BusError
from gdbflash.board.machine import Machine
from tests.support.boardcode import Board
from tests.support.flashboard import (
    ACR,
    ARRAY,
    BER,
    CCR1,
    CR1,
    DBECCERR,
    ECC_FA1R,
    EIGHT,
    EOP,
    FW,
    INCERR,
    KEYR1,
    KEYS,
    LOCK,
    OPTCCR,
    OPTCR,
    OPTION_KEYS,
    OPTKEYR,
    OPTSR_CUR,
    OPTSR_PRG,
    PG,
    PGSERR,
    PSIZE_64,
    SER,
    SIZE,
    SR1,
    START,
    STRBERR,
    WBNE,
    WORD,
    WPSN_CUR1,
    WPSN_PRG1,
    WRPERR,
    change_option,
    enable_programming,
    program,
    unlock,
    unlock_options,
)

BLANK = 0xFFFFFFFF
NVIC_ISPR0 = 0xE000E200
OPTCHANGEERR = 1 << 30


@pytest.fixture
def board() -> Iterator[Board]:
    with Machine() as machine:
        machine.erase_flash(ARRAY, SIZE)
        yield Board(machine)


# -- locks ------------------------------------------------------------------------------------------------------


def test_latency_and_what_resets_to_what(board: Board) -> None:
    assert board.words(ACR, 6) == [0x37, 0, 0, 0x31, 0, 0]
    assert board.word(OPTCR) == 1
    board.put(ACR, 0x24)
    assert board.word(ACR) == 0x24


def test_two_keys_open_cr1_until_it_is_locked_and_again_after_that(board: Board) -> None:
    board.put(CR1, PG)
    assert board.word(CR1) == 0x31
    for _ in range(2):
        unlock(board)
        assert board.word(CR1) & LOCK == 0
        board.put(CR1, PG)
        assert board.word(CR1) == PG
        board.put(CR1, LOCK)
        assert board.word(CR1) == PG | LOCK  # the other bits stay
    assert board.words(KEYR1, 2) == [0, 0]


WRONG: dict[str, tuple[int, tuple[int, ...]]] = {
    "first key": (KEYR1, (0xCDEF89AB,)),
    "second key": (KEYR1, (0x45670123, 0x45670123)),
    "third key": (KEYR1, (*KEYS, 0x45670123)),
    "first option key": (OPTKEYR, (0x45670123,)),
    "second option key": (OPTKEYR, (0x08192A3B, 0xCDEF89AB)),
    "third option key": (OPTKEYR, (*OPTION_KEYS, 0)),
}


@pytest.mark.parametrize(("register", "values"), WRONG.values(), ids=WRONG)
def test_a_wrong_key_is_a_bus_error_and_locks_until_reset(board: Board, register: int, values: tuple[int, ...]) -> None:
    locked, keys = (CR1, KEYS) if register == KEYR1 else (OPTCR, OPTION_KEYS)
    for value in values[:-1]:
        board.put(register, value)
    with pytest.raises(BusError):
        board.put(register, values[-1])
    for key in keys:
        with pytest.raises(BusError):
            board.put(register, key)
    assert board.word(locked) & LOCK == LOCK
    board.machine.reset(halt=True)
    for key in keys:
        board.put(register, key)
    assert board.word(locked) & LOCK == 0


def test_half_a_key_and_a_register_between_the_keys_are_wrong(board: Board) -> None:
    with pytest.raises(BusError):
        board.machine.write_memory(KEYR1, b"\x23\x01")
    board.machine.reset(halt=True)
    board.put(KEYR1, KEYS[0])
    with pytest.raises(BusError):
        board.put(CCR1, 0)
    with pytest.raises(BusError):
        board.put(KEYR1, KEYS[1])
    assert board.word(CR1) & LOCK == LOCK


# -- write buffer -----------------------------------------------------------------------------------------------


def test_a_flash_word_is_programmed_when_its_eight_words_are_in(board: Board) -> None:
    enable_programming(board)
    board.put(WORD, *EIGHT[:7])
    assert board.words(WORD, 8) == [BLANK] * 8
    assert board.word(SR1) == WBNE
    board.put(WORD + 28, EIGHT[7])
    assert board.words(WORD - 4, 10) == [BLANK, *EIGHT, BLANK]
    assert board.word(SR1) == EOP
    board.put(CCR1, EOP)
    assert board.word(SR1) == 0


def test_the_buffer_takes_any_width_and_any_order(board: Board) -> None:
    enable_programming(board)
    write = board.machine.write_memory
    write(WORD + 31, b"\x1f")
    write(WORD, bytes(range(2)))
    for at in range(2, 31):
        write(WORD + at, bytes([at]))
    assert board.machine.read_memory(WORD, 32) == bytes(range(32))
    assert board.word(SR1) == EOP


def test_a_long_write_programs_word_after_word(board: Board) -> None:
    enable_programming(board)
    data = bytes(range(256)) * 2
    board.machine.write_memory(WORD, data)
    assert board.machine.read_memory(WORD, 512) == data
    assert board.word(SR1) == EOP


def test_force_write_fills_up_with_ones_and_does_nothing_to_an_empty_buffer(board: Board) -> None:
    enable_programming(board)
    board.put(CR1, PG | FW)
    assert (board.word(CR1), board.word(SR1)) == (PG, 0)
    board.put(WORD + 8, 0x12345678)
    board.put(CR1, PG | FW)
    assert board.words(WORD, 4) == [BLANK, BLANK, 0x12345678, BLANK]
    assert (board.word(CR1), board.word(SR1)) == (PG, EOP)


def test_what_waits_in_the_buffer_is_lost_with_pg_but_not_with_the_lock(board: Board) -> None:
    enable_programming(board)
    board.put(WORD, *EIGHT[:4])
    board.put(CR1, LOCK)
    assert board.word(SR1) == WBNE
    board.put(WORD + 16, *EIGHT[4:])
    assert board.words(WORD, 8) == list(EIGHT)
    unlock(board)
    board.put(WORD + 32, *EIGHT[:4])
    board.put(CR1, 0)
    assert board.word(SR1) == EOP
    board.put(CR1, PG)
    board.put(WORD + 48, *EIGHT[4:])
    assert board.words(WORD + 32, 8) == [BLANK] * 8
    assert board.word(SR1) == EOP | WBNE


def test_a_store_without_pg_is_lost_and_blocks_programming_until_its_flag_is_cleared(board: Board) -> None:
    board.put(WORD, 0)
    assert board.word(SR1) == PGSERR
    assert board.word(WORD) == BLANK
    enable_programming(board)
    board.put(WORD, *EIGHT)
    assert board.word(SR1) == PGSERR
    assert board.words(WORD, 8) == [BLANK] * 8
    board.put(CCR1, PGSERR)
    program(board, WORD, *EIGHT)
    assert board.words(WORD, 8) == list(EIGHT)


def test_another_flash_word_before_the_first_is_full_is_an_inconsistency(board: Board) -> None:
    enable_programming(board)
    board.put(WORD, *EIGHT[:4])
    board.put(WORD + 32, 0)
    assert board.word(SR1) == INCERR
    board.put(WORD + 32, *EIGHT)
    assert board.word(SR1) == INCERR | PGSERR
    assert board.words(WORD, 16) == [BLANK] * 16
    board.put(CCR1, INCERR | PGSERR)
    program(board, WORD + 32, *EIGHT)
    assert board.words(WORD, 16) == [BLANK] * 8 + list(EIGHT)


def test_the_same_byte_twice_is_a_strobe_error_and_the_last_one_counts(board: Board) -> None:
    enable_programming(board)
    board.put(WORD, 0xDDDDDDDD)
    board.put(WORD, *EIGHT)
    assert board.word(SR1) == EOP | STRBERR
    assert board.words(WORD, 8) == list(EIGHT)
    board.put(CCR1, STRBERR)
    assert board.word(SR1) == EOP


# -- what was programmed before ---------------------------------------------------------------------------------


def test_a_flash_word_that_is_programmed_twice_is_a_double_ecc_error(board: Board) -> None:
    enable_programming(board)
    program(board, WORD, *EIGHT)
    program(board, WORD + 32, *EIGHT)
    program(board, WORD, *[0x0F0F0F0F] * 8)
    for address, size in ((WORD, 4), (WORD + 31, 1), (WORD - 4, 8)):
        with pytest.raises(BusError) as failure:
            board.machine.read_memory(address, size)
        assert failure.value.address == max(address, WORD)
    assert (board.word(SR1), board.word(ECC_FA1R)) == (DBECCERR, 0x1000 // 32)
    assert (board.word(WORD - 4), board.words(WORD + 32, 8)) == (BLANK, list(EIGHT))
    board.put(CCR1, DBECCERR)
    assert (board.word(SR1), board.word(ECC_FA1R)) == (0, 0)
    board.put(CR1, SER)
    board.put(CR1, SER | START)
    assert board.words(WORD, 16) == [BLANK] * 16


def test_the_first_of_several_ecc_errors_is_kept(board: Board) -> None:
    enable_programming(board)
    for word in (3, 4, 9):
        program(board, WORD + 32 * word, *EIGHT)
        program(board, WORD + 32 * word, *reversed(EIGHT))
    assert board.machine.soc.flash_interface.unreadable == ((0x1060, 64), (0x1120, 32))
    for word in (9, 3):
        with pytest.raises(BusError):
            board.word(WORD + 32 * word)
    assert board.word(ECC_FA1R) == 0x1120 // 32


def test_the_same_data_twice_does_no_harm(board: Board) -> None:
    enable_programming(board)
    program(board, WORD, *EIGHT)
    program(board, WORD, *EIGHT)
    assert board.words(WORD, 8) == list(EIGHT)


def test_a_probe_that_erases_or_programs_by_itself_meets_the_same_array(board: Board) -> None:
    enable_programming(board)
    program(board, WORD, *EIGHT)
    program(board, WORD, *reversed(EIGHT))
    with pytest.raises(BusError):
        board.machine.program_flash(WORD, b"data")
    board.machine.erase_flash(ARRAY, SIZE)
    board.machine.program_flash(WORD, b"data")
    assert board.machine.read_memory(WORD, 6) == b"data\xff\xff"


# -- erase ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [SER, BER, SER | BER, BER | 7 << 8], ids=["sector", "bank", "both", "bank, SNB 7"])
def test_an_erase_begins_with_start(board: Board, how: int) -> None:
    enable_programming(board)
    program(board, WORD, *EIGHT)
    program(board, ARRAY + SIZE - 32, *EIGHT)
    board.put(CR1, how | PSIZE_64)
    board.put(CR1, START)
    assert board.word(SR1) == 0
    assert board.words(WORD, 8) == list(EIGHT)
    board.put(CR1, how | PSIZE_64 | START)
    assert (board.word(SR1), board.word(CR1)) == (EOP, how | PSIZE_64)
    assert board.machine.read_memory(ARRAY, SIZE) == b"\xff" * SIZE


def test_a_locked_interface_erases_nothing(board: Board) -> None:
    enable_programming(board)
    program(board, WORD, *EIGHT)
    board.put(CR1, LOCK)
    board.put(CR1, SER | START)
    unlock_options(board)
    board.put(OPTCR, 1 << 4)
    assert board.word(SR1) == 0
    assert board.words(WORD, 8) == list(EIGHT)


def test_mass_erase(board: Board) -> None:
    enable_programming(board)
    program(board, WORD, *EIGHT)
    unlock_options(board)
    board.put(OPTCR, 1 << 4)
    assert (board.word(SR1), board.word(OPTCR)) == (EOP, 0)
    assert board.words(WORD, 8) == [BLANK] * 8


def test_there_is_one_sector(board: Board) -> None:
    enable_programming(board)
    program(board, WORD, *EIGHT)
    board.put(CR1, SER | 1 << 8 | START)
    assert board.word(SR1) == WRPERR
    assert board.words(WORD, 8) == list(EIGHT)


# -- option bytes -----------------------------------------------------------------------------------------------


def test_option_bytes_change_when_they_are_open_and_started(board: Board) -> None:
    board.put(WPSN_PRG1, 0xFE)
    assert board.words(WPSN_CUR1, 2) == [0xFF, 0xFF]
    unlock_options(board)
    board.put(WPSN_PRG1, 0xFE)
    board.put(WPSN_CUR1, 0)
    assert board.words(WPSN_CUR1, 2) == [0xFF, 0xFE]
    board.put(OPTCR, 2)
    assert board.words(WPSN_CUR1, 2) == [0xFE, 0xFE]
    assert board.word(OPTSR_CUR) == 0x0BC6AAF0
    board.put(WPSN_PRG1, 0xFC)
    board.machine.reset(halt=True)
    assert board.words(WPSN_CUR1, 2) == [0xFE, 0xFE]
    assert board.word(OPTCR) == 1


def test_a_write_protected_sector_stays_as_it_is(board: Board) -> None:
    enable_programming(board)
    program(board, WORD, *EIGHT)
    unlock_options(board)
    change_option(board, WPSN_PRG1, 0xFE)
    for how in (SER, BER):
        board.put(CR1, how | START)
        assert board.word(SR1) == WRPERR
        board.put(CCR1, WRPERR)
    board.put(CR1, PG)
    board.put(WORD + 32, *EIGHT)
    assert board.word(SR1) == WRPERR
    assert board.words(WORD, 16) == [*EIGHT, *[BLANK] * 8]
    change_option(board, WPSN_PRG1, 0xFF)
    board.put(WORD + 32, *EIGHT)  # the flag blocks nothing
    assert board.word(SR1) == WRPERR | EOP
    assert board.words(WORD + 32, 8) == list(EIGHT)


def test_the_way_back_from_read_protection_erases_and_level_2_has_none(board: Board) -> None:
    enable_programming(board)
    program(board, WORD, *EIGHT)
    unlock_options(board)
    change_option(board, OPTSR_PRG, 0x0BC600F0)
    assert board.word(OPTSR_CUR) == 0x0BC600F0
    with pytest.raises(BusError):
        board.words(WORD, 8)
    change_option(board, OPTSR_PRG, 0x0BC6AAF0)
    assert board.word(OPTSR_CUR) == 0x0BC6AAF0
    assert board.words(WORD, 8) == [BLANK] * 8
    change_option(board, OPTSR_PRG, 0x0BC6CCF0)
    change_option(board, OPTSR_PRG, 0x0BC6AAF0)
    assert board.word(OPTSR_CUR) == 0x0BC6CCF0 | OPTCHANGEERR
    board.put(OPTCCR, OPTCHANGEERR)
    assert board.word(OPTSR_CUR) == 0x0BC6CCF0


# -- interrupt --------------------------------------------------------------------------------------------------


def test_flags_raise_interrupt_4_where_they_are_enabled(board: Board) -> None:
    unlock(board)
    board.put(CR1, PG | PGSERR)
    board.put(WORD, *EIGHT)
    assert board.word(NVIC_ISPR0) == 0
    board.put(CR1, PGSERR)
    board.put(WORD, 0)
    assert board.word(NVIC_ISPR0) == 1 << 4
    board.put(CCR1, PGSERR)
    board.put(0xE000E280, 1 << 4)
    assert board.word(NVIC_ISPR0) == 0
    board.put(CR1, EOP)  # the flag was up before its enable
    assert board.word(NVIC_ISPR0) == 1 << 4
