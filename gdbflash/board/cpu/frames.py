"""Exception frames on the stack (ARM DDI 0403E, B1.5.6 to B1.5.8)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from gdbflash.board.cpu.registers import FPCA, IPSR, NPRIV, SPSEL, CoreRegisters
from gdbflash.board.memory import AddressSpace

_ALIGNED = 1 << 9
"""xPSR bit 9 of a stacked word: SP was moved by 4 to be a multiple of 8 (B1.5.7)."""
_BASIC, _EXTENDED = 0x20, 0x68
_GENERAL = ("r0", "r1", "r2", "r3", "r12", "lr")


@dataclass(frozen=True)
class Frame:
    """What lies on a stack: 8 words, or 26 with floating-point registers."""

    address: int
    words: tuple[int, ...]
    process: bool
    """On the process stack."""

    @property
    def in_handler(self) -> bool:
        """Whether the frame was pushed in Handler mode."""
        return bool(self.words[7] & IPSR)


class Frames:
    """Pushes and pops frames. A stack in register space is an error here."""

    def __init__(self, registers: CoreRegisters, space: AddressSpace, note_write: Callable[[int, int], None]) -> None:
        self._registers = registers
        self._space = space
        self._note_write = note_write

    def push(self, xpsr: int, *, extended: bool, align: bool) -> bool:
        """Push what executes now; False if the stack does not answer, with SP moved all the same."""
        registers = self._registers
        sp = registers.read("sp")
        align = align or extended
        moved = align and bool(sp & 4)
        address = (sp - (_EXTENDED if extended else _BASIC)) & (~4 if align else ~0) & 0xFFFFFFFF
        words = [registers.read(name) for name in _GENERAL]
        words += [registers.pc, xpsr & ~_ALIGNED | _ALIGNED * moved]
        if extended:
            words += [registers.read(f"s{number}") for number in range(16)]
            words += [registers.read("fpscr"), 0]
        registers.write("sp", address)
        memory = self._space.memory_at(address)
        size = 4 * len(words)
        if memory is None or not memory.writable or address + size > memory.end:
            return False
        struct.pack_into(f"<{len(words)}I", memory.content, address - memory.base, *words)
        self._note_write(address, size)
        return True

    def read(self, *, process: bool, extended: bool) -> Frame | None:
        """Read the frame on top of a stack; None if the stack does not answer."""
        address = self._registers.read("psp" if process else "msp")
        size = _EXTENDED if extended else _BASIC
        memory = self._space.memory_at(address)
        if memory is None or address + size > memory.end:
            return None
        words = struct.unpack_from(f"<{size // 4}I", memory.content, address - memory.base)
        return Frame(address, words, process)

    def pop(self, frame: Frame, *, align: bool) -> None:
        """Go on where the frame was pushed."""
        registers, words = self._registers, frame.words
        extended = len(words) > 8
        for name, value in zip(_GENERAL, words, strict=False):
            registers.write(name, value)
        top = frame.address + 4 * len(words)
        if words[7] & _ALIGNED and (align or extended):
            top |= 4
        control = registers.control & NPRIV | SPSEL * frame.process | FPCA * extended
        registers.ipsr = 0
        registers.control = control
        if extended:
            for number in range(16):
                registers.write(f"s{number}", words[8 + number])
            registers.write("fpscr", words[24])
        registers.write("psp" if frame.process else "msp", top)
        registers.xpsr = words[7] & ~_ALIGNED
        registers.pc = words[6] & ~1
