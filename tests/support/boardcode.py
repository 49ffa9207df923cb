"""A virtual board for tests that run a few instructions: where code, stack and vectors lie, and what came of it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

from gdbflash.board.clock import Clock
from gdbflash.board.debug import HaltReason
from gdbflash.board.machine import Machine

CODE = 0x24000000
STACK = 0x20010000
PROCESS_STACK = 0x20008000
VECTORS = 0x24010000
HANDLERS = 0x24010400
"""Handler of exception n: `bkpt #n; bx lr` at HANDLERS + 4 n."""
SCB = 0xE000E000
ICSR, VTOR, AIRCR, SCR, CCR = 0xE000ED04, 0xE000ED08, 0xE000ED0C, 0xE000ED10, 0xE000ED14
SHCSR, CFSR, HFSR, MMFAR, BFAR, CPACR = 0xE000ED24, 0xE000ED28, 0xE000ED2C, 0xE000ED34, 0xE000ED38, 0xE000ED88
FAULTS_ENABLED = 0x70000

TIMEOUT = 20.0
"""Seconds that no run of a few instructions takes."""


class Board:
    """A machine with code in AXI SRAM, and exceptions that end in a BKPT each."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.read_register = machine.read_register
        self.write_register = machine.write_register

    def word(self, address: int) -> int:
        """Read a word as the debugger does."""
        return int.from_bytes(self.machine.read_memory(address, 4), "little")

    def words(self, address: int, count: int) -> list[int]:
        """Read words as the debugger does."""
        return list(struct.unpack(f"<{count}I", self.machine.read_memory(address, 4 * count)))

    def put(self, address: int, *values: int) -> None:
        """Write words as the debugger does."""
        self.machine.write_memory(address, struct.pack(f"<{len(values)}I", *values))

    def load(self, code: bytes, **registers: int) -> None:
        """Put code to CODE and the core to its beginning, in privileged Thread mode with interrupts unmasked."""
        machine = self.machine
        machine.reset(halt=True)
        machine.write_memory(VECTORS, struct.pack("<64I", STACK, *(HANDLERS + 4 * n | 1 for n in range(1, 64))))
        for number in range(1, 64):
            machine.write_memory(HANDLERS + 4 * number, struct.pack("<HH", 0xBE00 | number, 0x4770))
        self.put(VTOR, VECTORS)
        machine.write_memory(CODE, code)
        values = {f"r{number}": 0x1000 + number for number in range(13)}
        values.update(sp=STACK, lr=0xFFFFFFFF, pc=CODE, xpsr=0x01000000)
        for name, value in {**values, **registers}.items():
            machine.write_register(name, value)

    def run(self, code: bytes, **registers: int) -> HaltReason:
        """Load code, run it until the core halts, and return why it did."""
        self.load(code, **registers)
        return self.go()

    def go(self) -> HaltReason:
        """Go on until the core halts, and return why it did."""
        self.machine.resume()
        reason = self.machine.wait_halted(TIMEOUT)
        assert reason is not None, f"still running at {self.read_register('pc'):#x}"
        return reason

    def halted(self) -> HaltReason | None:
        """Return why the core is halted."""
        return self.machine.halted

    def registers(self, *names: str) -> tuple[int, ...]:
        """Read some registers."""
        return tuple(self.machine.read_register(name) for name in names)

    def exception(self) -> int:
        """Return the number of the exception whose handler's BKPT the core is at; 0 if it is at none."""
        pc = self.machine.read_register("pc")
        return (pc - HANDLERS) // 4 if HANDLERS < pc < HANDLERS + 256 and pc % 4 == 0 else 0


@contextmanager
def running_board(*, debugger: bool = True, scale: float = 1.0) -> Iterator[Board]:
    """Start a machine and end it."""
    with Machine(debugger=debugger, clock=Clock(scale)) as machine:
        yield Board(machine)
