"""Call a loader's functions straight on a debug port: no GDB, and of the host side only its reader of .stldr files."""

from __future__ import annotations

from pathlib import Path

from gdbflash.board.debug import DebugPort, HaltReason
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.loaders.stldr import load_loader

STACK_TOP = 0x2407F000
BUFFER = 0x24020000
R9_AREA = 0x2407F000
THUMB_STATE = 0x01000000
"""xPSR: the T bit, no exception."""


class DidNotReturn(AssertionError):
    """A call ended elsewhere than at its return address, or not at all."""


class LoaderCalls:
    """A loader in the board's RAM, after a reset; the memory that it has not loaded is full of garbage.

    static_base is what r9 holds on entry to a function.
    """

    def __init__(self, port: DebugPort, path: Path, *, zero_bss: bool = True) -> None:
        self.port = port
        self.loader: ExternalLoader = load_loader(path)
        self.static_base = R9_AREA
        port.reset(halt=True)
        for segment in self.loader.load_segments:
            port.write_memory(segment.address, segment.data.ljust(segment.memory_size, b"\xa5"))
        if zero_bss:
            for zeros in self.loader.zero_ranges:
                port.write_memory(zeros.address, bytes(zeros.size))
        port.write_memory(R9_AREA, bytes(256))
        port.set_breakpoint(self.loader.return_address)

    def start(self, function: str, *arguments: int, irq: bool = False) -> None:
        """Let a function begin."""
        port = self.port
        registers = dict.fromkeys((f"r{number}" for number in range(13)), 0)
        registers.update({f"r{number}": value for number, value in enumerate(arguments)})
        registers.update(control=0, psp=0, primask=0 if irq else 1, r9=self.static_base, sp=STACK_TOP)
        registers.update(lr=self.loader.return_address | 1, xpsr=THUMB_STATE, pc=self.loader.functions[function])
        for name, value in registers.items():
            port.write_register(name, value)
        port.resume()

    def call(self, function: str, *arguments: int, irq: bool = False, timeout: float = 60.0) -> int:
        """Run a function to its end and return r0; raises DidNotReturn."""
        self.start(function, *arguments, irq=irq)
        reason = self.port.wait_halted(timeout)
        if reason is None:
            self.port.halt()
        pc = self.port.read_register("pc")
        if reason is not HaltReason.BREAKPOINT or pc != self.loader.return_address:
            exception = self.port.read_register("xpsr") & 0x1FF
            where = self.loader.symbol_at(pc)
            raise DidNotReturn(f"{function}: {reason}, pc 0x{pc:08X} ({where}), exception {exception}")
        return self.port.read_register("r0")

    def r1(self) -> int:
        """Return the high word of the last result."""
        return self.port.read_register("r1")

    def write(self, address: int, data: bytes, *, misplaced: int = 0, irq: bool = False) -> int:
        """Call Write with data in a buffer that is misplaced by so many bytes."""
        self.port.write_memory(BUFFER + misplaced, data)
        return self.call("Write", address, len(data), BUFFER + misplaced, irq=irq)

    def read(self, address: int, size: int, *, misplaced: int = 0, irq: bool = False) -> bytes:
        """Call Read into a buffer of garbage; the bytes around it must stay."""
        buffer = BUFFER + misplaced
        self.port.write_memory(buffer - 8, b"\x5a" * (size + 16))
        assert self.call("Read", address, size, buffer, irq=irq) == 1
        assert self.port.read_memory(buffer - 8, 8) == self.port.read_memory(buffer + size, 8) == b"\x5a" * 8
        return self.port.read_memory(buffer, size)
