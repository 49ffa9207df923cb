"""Registers of the STM32H7's QUADSPI and the command format in CCR (RM0433 revision 7, 23.5)."""

from __future__ import annotations

import functools
from dataclasses import dataclass

CR, DCR, SR, FCR, DLR, CCR, AR, ABR, DR = range(0x00, 0x24, 4)
PSMKR, PSMAR, PIR, LPTR = range(0x24, 0x34, 4)

EN, ABORT, DMAEN, TCEN, DFM, FSEL, APMS, PMM = (1 << bit for bit in (0, 1, 2, 3, 6, 7, 22, 23))
CR_BITS = 0xFFDF1FDD
"""All fields of CR but ABORT, which reads 0 again at once."""
CR_FIXED_WHILE_BUSY = 0xFFC000D8
"""PRESCALER, PMM, APMS, FSEL, DFM, SSHIFT, TCEN: "can be modified only when BUSY = 0" (23.5.1)."""
INTERRUPT_ENABLES = 0x1F0000
"""TOIE, SMIE, FTIE, TCIE, TEIE, in the order of the flags in SR."""

SMIE, TOIE = 1 << 19, 1 << 20

TEF, TCF, FTF, SMF, TOF, BUSY = (1 << bit for bit in range(6))
CLEARABLE = TEF | TCF | SMF | TOF

WRITABLE = {
    DCR: 0x001F0701,
    DLR: 0xFFFFFFFF,
    CCR: 0xFF7FFFFF,
    AR: 0xFFFFFFFF,
    ABR: 0xFFFFFFFF,
    PSMKR: 0xFFFFFFFF,
    PSMAR: 0xFFFFFFFF,
    PIR: 0xFFFF,
    LPTR: 0xFFFF,
}
"""Bits of the registers that can be written only while BUSY = 0."""


def stuck_in_dual_flash_mode(register: int, value: int) -> int:
    """Return what a register holds of value while DFM = 1: AR is even (23.5.7), DLR means an even number (23.5.5)."""
    if register == AR:
        return value & ~1
    return value | 1 if register == DLR else value


INDIRECT_WRITE, INDIRECT_READ, POLLING, MAPPED = range(4)
FMODE = 3 << 26
FRCM = 1 << 29
"""Free-running clock mode: documented by RM0399 (24.3.8), and asked for by errata sheet ES0392."""

FIFO_SIZE = 32
LINES = (0, 1, 2, 4)


@dataclass(frozen=True)
class Format:
    """A command as CCR describes it. Lines are 0 (no such phase), 1, 2 or 4."""

    mode: int
    """FMODE"""
    instruction: int
    instruction_lines: int
    instruction_once: bool
    """SIOO"""
    address_lines: int
    address_size: int
    """bytes"""
    alternate_lines: int
    alternate_size: int
    """bytes"""
    dummies: int
    """clocks"""
    data_lines: int

    @property
    def writes(self) -> bool:
        """Data come from DR, so that a write there starts the command (23.3.5)."""
        return self.mode == INDIRECT_WRITE and self.data_lines != 0


@functools.lru_cache(maxsize=256)
def decode(ccr: int) -> Format:
    """Decode CCR. Software writes the same few values over and over."""
    return Format(
        mode=ccr >> 26 & 3,
        instruction=ccr & 0xFF,
        instruction_lines=LINES[ccr >> 8 & 3],
        instruction_once=bool(ccr >> 28 & 1),
        address_lines=LINES[ccr >> 10 & 3],
        address_size=1 + (ccr >> 12 & 3),
        alternate_lines=LINES[ccr >> 14 & 3],
        alternate_size=1 + (ccr >> 16 & 3),
        dummies=ccr >> 18 & 0x1F,
        data_lines=LINES[ccr >> 24 & 3],
    )
