"""A host at the pins of a W25Q128JV."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gdbflash.board.chips.facts import FAST, W25Q128JV, Timing
from gdbflash.board.chips.w25q import W25Q
from gdbflash.board.chips.wires import Wires

MIB = 1024 * 1024
SMALL = replace(W25Q128JV, name="small", size=256 * 1024)
"""The same chip with four blocks, where a test fills or compares all of it."""


@dataclass
class ManualClock:
    time: float = 0.0

    def now(self) -> float:
        return self.time

    def rest(self, seconds: float) -> None:
        """A clock that is moved by hand does not sleep."""


class ByClock:
    """A flash that never takes or gives whole bytes, so that every clock is played."""

    def __init__(self, flash: W25Q) -> None:
        self.flash = flash
        self.memory = flash.memory
        self.plain_address = flash.plain_address
        self.select = flash.select
        self.deselect = flash.deselect
        self.clock = flash.clock

    def take(self, data: bytes, lines: int) -> int:
        assert data
        assert lines
        return 0

    def give(self, count: int, lines: int) -> bytes:
        assert count
        assert lines
        return b""


class Host:
    """Sends commands over the wires, phase by phase."""

    def __init__(self, flash: W25Q, clock: ManualClock, *, by_clock: bool = False) -> None:
        self.flash = flash
        self.time = clock
        self.wires = Wires(ByClock(flash) if by_clock else flash)

    def do(
        self,
        opcode: int | None,
        address: int | None = None,
        data: bytes = b"",
        *,
        read: int = 0,
        lines: tuple[int, int, int] = (1, 1, 1),
        mode: int | None = None,
        dummy: int = 0,
        address_size: int = 3,
    ) -> bytes:
        instruction_lines, address_lines, data_lines = lines
        self.wires.select()
        if opcode is not None:
            self.wires.send(bytes([opcode]), instruction_lines)
        if address is not None:
            self.wires.send(address.to_bytes(address_size, "big"), address_lines)
        if mode is not None:
            self.wires.send(bytes([mode]), address_lines)
        self.wires.dummy(dummy, data_lines)
        self.wires.send(data, data_lines)
        result = self.wires.receive(read, data_lines)
        self.wires.deselect()
        return result

    def status(self, register: int = 1) -> int:
        return self.do({1: 0x05, 2: 0x35, 3: 0x15}[register], read=1)[0]

    def wait(self) -> None:
        self.time.time += 100.0
        while self.status() & 1:
            pass

    def enable(self) -> None:
        self.do(0x06)

    def write(self, opcode: int, address: int | None = None, data: bytes = b"", **shape: object) -> None:
        self.enable()
        self.do(opcode, address, data, **shape)  # type: ignore[arg-type]
        self.wait()


def make(timing: Timing = FAST, **options: object) -> Host:
    clock = ManualClock()
    return Host(W25Q(clock, timing=timing, **options), clock)  # type: ignore[arg-type]
