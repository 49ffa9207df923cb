"""The embedded flash memory's interface of the STM32H750 (RM0433 revision 7, chapter 4).

What belongs here: bank 1 with its one sector, its write buffer, locks, flags and option bytes. Operations take no board
time, so that BSY1, QW1 and OPT_BUSY always read zero. A flash word that was programmed twice has no valid ECC: it is
a double error whenever it is read, though by chance a real one may read well. At read protection level 1
neither debugger nor core get at the array, as there is always a debugger. Not modelled: PCROP and secure areas, whose
option bytes are kept; the CRC unit; OTP; registers of bank 2, which the part does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from gdbflash.board.bus import BusError
from gdbflash.board.memory import Memory, Registers

FLASH_WORD = 32
"""Bytes that are programmed at once and have one ECC (4.3.4)."""

_ACR, _KEYR1, _OPTKEYR, _CR1, _SR1, _CCR1, _OPTCR = range(0x00, 0x1C, 4)
_OPTSR_CUR, _OPTSR_PRG, _OPTCCR, _WPSN_CUR1, _ECC_FA1R = 0x1C, 0x20, 0x24, 0x38, 0x60
_PROGRAMMED_AS = {0x1C: 0x20, 0x28: 0x2C, 0x30: 0x34, 0x38: 0x3C, 0x40: 0x44}
"""Current option bytes, and the register that says what they shall become: OPTSR, PRAR, SCAR, WPSN, BOOT."""
_READ_ONLY = {_SR1, _ECC_FA1R, *_PROGRAMMED_AS}
_WRITE_ONLY = {_KEYR1, _OPTKEYR, _CCR1, _OPTCCR}
_OPTION_BYTES = {0x1C: 0x0BC6AAF0, 0x28: 0xFF, 0x30: 0xFF, 0x38: 0xFF, 0x40: 0x1FF00800}
"""As shipped: RDP level 0, no range is protected or secured, no sector is write-protected (4.9.9 to 4.9.18)."""

_LOCK, _PG, _SER, _BER, _FW, _START = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 6, 1 << 7
_SNB, _CR1_BITS = 7 << 8, 0x1FEF87FE
_OPTSTART, _MER, _OPTCR_BITS = 1 << 1, 1 << 4, 0xC0000000

_WBNE = 1 << 1
_EOP, _WRPERR, _PGSERR, _STRBERR, _INCERR = 1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 21
_SNECCERR, _DBECCERR = 1 << 25, 1 << 26
_FLAGS = 0x1FEF0000
"""Flags of SR1; their interrupt enables in CR1 and their clear bits in CCR1 are at the same places."""
_OPTCHANGEERR = 1 << 30
_OPTSR_BITS = 0xFFFFFFFF & ~(_OPTCHANGEERR | 1)
_IWDG1_SW = 1 << 4
_RDP_LEVEL_0, _RDP_LEVEL_2 = 0xAA, 0xCC

_OPEN, _SHUT = 2, 3
"""Keys in order that were given: both, or a wrong one."""


class FlashInterface(Registers):
    """The registers, and the guard of the array behind them."""

    _KEYS: ClassVar = {_KEYR1: (0x45670123, 0xCDEF89AB), _OPTKEYR: (0x08192A3B, 0x4C5D6E7F)}
    _LOCKED: ClassVar = {_KEYR1: _CR1, _OPTKEYR: _OPTCR}

    def __init__(self, array: Memory) -> None:
        """array: the bank; its guard is set to the interface."""
        self._array = array
        self._keys = dict.fromkeys(self._KEYS, 0)
        self._buffer = bytearray(FLASH_WORD)
        self._filled = 0  # a bit for each byte of the write buffer
        self._word = 0  # which flash word the buffer is for
        self._invalid: set[int] = set()  # flash words without a valid ECC
        self._level = False
        self.unreadable: tuple[tuple[int, int], ...] = ()
        """Ranges of the array (offset, size) whose ECC is invalid."""
        self.interrupt: Callable[[bool], None] = lambda _: None
        """Called with the level of the interrupt line when it changes."""
        self.changed: Callable[[int, int], None] = lambda _address, _size: None
        """Called with address and size of what has changed in the array."""
        super().__init__(0x52002000, 0x1000, reset_values={_ACR: 0x37, _CR1: 0x31, _OPTCR: 0x1})
        self.words.update(_OPTION_BYTES)
        self._load_options()
        array.guard = self

    # -- registers --------------------------------------------------------------------------------------------

    def read_word(self, offset: int) -> int:
        """Read a word."""
        if offset in _WRITE_ONLY:
            return 0
        word = super().read_word(offset)
        return word | _WBNE if offset == _SR1 and self._filled else word

    def write(self, offset: int, size: int, value: int) -> None:
        """Write a register or a part of it; a part of a key is a wrong key (4.5.1)."""
        if size < 4 and offset & ~3 in self._KEYS:
            self._refuse_key(offset & ~3)
        super().write(offset, size, value)

    def write_word(self, offset: int, value: int) -> None:
        """Write a word."""
        for register, given in self._keys.items():
            if given == 1 and offset != register:  # something else between the keys (4.5.1)
                self._refuse_key(register)
        if offset in self._KEYS:
            self._take_key(offset, value)
        elif offset == _CR1:
            self._control(value)
        elif offset == _CCR1:
            self._clear(value)
        elif offset == _OPTCR:
            self._control_options(value)
        elif offset == _OPTCCR:
            self.words[_OPTSR_CUR] &= ~(value & _OPTCHANGEERR)
        elif offset in _PROGRAMMED_AS.values():
            if not self.words[_OPTCR] & _LOCK:
                super().write_word(offset, value)
        elif offset not in _READ_ONLY:
            super().write_word(offset, value)
        self._update_interrupt()

    def reset(self) -> None:
        """Return to the reset values: locks close, what is in the write buffer is lost, option bytes stay."""
        options = {current: self.words[current] & ~_OPTCHANGEERR for current in _PROGRAMMED_AS}
        super().reset()
        self.words.update(options)
        self._load_options()
        self._keys = dict.fromkeys(self._KEYS, 0)
        self._filled = 0
        self._update_interrupt()

    @property
    def starts_watchdog(self) -> bool:
        """Whether each reset starts IWDG1: its option bit IWDG1_SW is clear (4.9.9)."""
        return not self.words[_OPTSR_CUR] & _IWDG1_SW

    def _take_key(self, register: int, value: int) -> None:
        """Open a lock with two keys in order; after any other sequence it stays shut until reset (4.5.1)."""
        given = self._keys[register]
        if given >= _OPEN or value != self._KEYS[register][given]:
            self._refuse_key(register)
        self._keys[register] = given + 1
        if given + 1 == _OPEN:
            self.words[self._LOCKED[register]] &= ~_LOCK

    def _refuse_key(self, register: int) -> None:
        self._keys[register] = _SHUT
        self.words[self._LOCKED[register]] |= _LOCK
        raise BusError(self.base + register)

    def _close(self, register: int) -> None:
        """Lock by software, which leaves the other bits as they are (4.9.4); the keys open it again."""
        self.words[self._LOCKED[register]] |= _LOCK
        self._keys[register] = 0

    def _control(self, value: int) -> None:
        if self.words[_CR1] & _LOCK:
            return
        if value & _LOCK:
            self._close(_KEYR1)
            return
        self.words[_CR1] = value & _CR1_BITS & ~(_FW | _START)
        if not value & _PG:  # what waits in the buffer is lost (4.9.4)
            self._filled = 0
        elif value & _FW and self._filled:
            self._program()
        if value & _START and value & (_SER | _BER):
            self._erase(0 if value & _BER else (value & _SNB) >> 8)

    def _clear(self, flags: int) -> None:
        self.words[_SR1] = self.words.get(_SR1, 0) & ~(flags & _FLAGS)
        if flags & (_SNECCERR | _DBECCERR):
            self.words[_ECC_FA1R] = 0

    def _raise(self, flags: int) -> None:
        self.words[_SR1] = self.words.get(_SR1, 0) | flags
        self._update_interrupt()

    def _update_interrupt(self) -> None:
        raised = self.words.get(_SR1, 0) & self.words[_CR1] & _FLAGS
        raised |= self.words[_OPTSR_CUR] & self.words[_OPTCR] & _OPTCHANGEERR
        if bool(raised) is not self._level:
            self._level = bool(raised)
            self.interrupt(self._level)

    # -- option bytes -----------------------------------------------------------------------------------------

    def _control_options(self, value: int) -> None:
        """Write OPTCR, whose SWAP_BANK has nothing to swap."""
        if self.words[_OPTCR] & _LOCK:
            return
        if value & _LOCK:
            self._close(_OPTKEYR)
            return
        self.words[_OPTCR] = value & _OPTCR_BITS
        if value & _MER and not self.words[_CR1] & _LOCK:
            self._erase(0)
        if value & _OPTSTART:
            self._change_options()

    def _change_options(self) -> None:
        """Program the option bytes (4.4.3): RDP level 2 forbids it, the way back to level 0 erases (4.5.3)."""
        before, after = (self.words[register] >> 8 & 0xFF for register in (_OPTSR_CUR, _OPTSR_PRG))
        if before == _RDP_LEVEL_2:
            self.words[_OPTSR_CUR] |= _OPTCHANGEERR
            return
        if after == _RDP_LEVEL_0 != before:
            self.overwrite(0, b"\xff" * self._array.size)
        for current, wanted in _PROGRAMMED_AS.items():
            kept = self.words[current] & ~_OPTSR_BITS if current == _OPTSR_CUR else 0
            mask = _OPTSR_BITS if current == _OPTSR_CUR else 0xFFFFFFFF
            self.words[current] = self.words[wanted] & mask | kept

    def _load_options(self) -> None:
        for current, wanted in _PROGRAMMED_AS.items():
            self.words[wanted] = self.words[current]

    # -- the array --------------------------------------------------------------------------------------------

    def store(self, offset: int, data: bytes) -> None:
        """Take a store into the array: it goes into the write buffer, or is lost with a flag, never a bus error."""
        self._check_open(offset)
        while data:
            word, at = divmod(offset, FLASH_WORD)
            count = min(len(data), FLASH_WORD - at)
            self._fill(word, at, data[:count])
            offset, data = offset + count, data[count:]

    def check(self, offset: int, size: int) -> None:
        """Check read protection, and the ECC of what is to be read (4.7.7); raises BusError."""
        self._check_open(offset)
        for start, length in self.unreadable:
            first = max(start, offset)
            if first < min(start + length, offset + size):
                if not self.words.get(_SR1, 0) & (_SNECCERR | _DBECCERR):
                    self.words[_ECC_FA1R] = first // FLASH_WORD
                self._raise(_DBECCERR)
                raise BusError(self._array.base + first)

    def _check_open(self, offset: int) -> None:
        """Refuse what is read or written at another level of read protection than 0 (4.5.3); raises BusError."""
        if self.words[_OPTSR_CUR] >> 8 & 0xFF != _RDP_LEVEL_0:
            raise BusError(self._array.base + offset)

    def overwrite(self, offset: int, data: bytes) -> None:
        """Let the array hold data, with a valid ECC."""
        self._array.content[offset : offset + len(data)] = data
        last = offset + len(data) - 1
        if self._invalid:
            self._invalid -= set(range(offset // FLASH_WORD, last // FLASH_WORD + 1))
            self._list_unreadable()
        self.changed(self._array.base + offset, len(data))

    def _fill(self, word: int, at: int, data: bytes) -> None:
        """Put bytes of one flash word into the write buffer (4.3.9), with the errors of 4.7.3 to 4.7.5."""
        if not self.words[_CR1] & _PG or self.words.get(_SR1, 0) & (_PGSERR | _INCERR):
            self._filled = 0
            self._raise(_PGSERR)
            return
        if self._filled and word != self._word:
            self._filled = 0
            self._raise(_INCERR)
            return
        mask = (1 << len(data)) - 1 << at
        if self._filled & mask:
            self._raise(_STRBERR)  # the new bytes count
        self._word = word
        self._buffer[at : at + len(data)] = data
        self._filled |= mask
        if self._filled == (1 << FLASH_WORD) - 1:
            self._program()

    def _program(self) -> None:
        """Program the flash word in the write buffer; bits that were not written are ones (4.3.9)."""
        data = bytes(byte if self._filled >> index & 1 else 0xFF for index, byte in enumerate(self._buffer))
        self._filled = 0
        if self._is_protected(0):
            self._raise(_WRPERR)
            return
        offset = FLASH_WORD * self._word
        before = bytes(self._array.content[offset : offset + FLASH_WORD])
        after = bytes(old & new for old, new in zip(before, data, strict=True))
        self._array.content[offset : offset + FLASH_WORD] = after
        if data != before and before != b"\xff" * FLASH_WORD:
            self._invalid.add(self._word)
            self._list_unreadable()
        self.changed(self._array.base + offset, FLASH_WORD)
        self._raise(_EOP)

    def _erase(self, sector: int) -> None:
        """Erase the sector (4.3.10); there is one, and one that does not exist is taken for a protected one."""
        if sector or self._is_protected(sector):
            self._raise(_WRPERR)
            return
        self.overwrite(0, b"\xff" * self._array.size)
        self._raise(_EOP)

    def _is_protected(self, sector: int) -> bool:
        return not self.words[_WPSN_CUR1] >> sector & 1

    def _list_unreadable(self) -> None:
        ranges: list[tuple[int, int]] = []
        for word in sorted(self._invalid):
            start, length = ranges[-1] if ranges else (0, 0)
            if length and start + length == FLASH_WORD * word:
                ranges[-1] = (start, length + FLASH_WORD)
            else:
                ranges.append((FLASH_WORD * word, FLASH_WORD))
        self.unreadable = tuple(ranges)
