"""A DebugPort without a processor: memory, registers and a log of what was asked of it."""

from __future__ import annotations

from collections.abc import Callable

from gdbflash.board.bus import BusError
from gdbflash.board.debug import HaltReason

REGISTERS = (
    *(f"r{number}" for number in range(13)),
    *("sp", "lr", "pc", "xpsr", "msp", "psp", "primask", "basepri", "faultmask", "control", "fpscr"),
    *(f"s{number}" for number in range(32)),
)


class RecordingPort:
    """RAM where regions say so; what the core does when it runs is on_run's affair."""

    def __init__(self, *regions: tuple[int, int]) -> None:
        self._memory = {base: bytearray(size) for base, size in regions or ((0x20000000, 0x20000),)}
        self.registers = dict.fromkeys(REGISTERS, 0)
        self.halted: HaltReason | None = HaltReason.REQUEST
        self.calls: list[str] = []
        self.accesses: list[tuple[str, int, int]] = []
        """Kind ("r" or "w"), address and size of the memory accesses."""
        self.on_run: Callable[[], HaltReason | None] = lambda: None
        """What becomes of the core when it is resumed or stepped."""

    def halt(self) -> None:
        self.calls.append("halt")
        self.halted = self.halted or HaltReason.REQUEST

    def resume(self) -> None:
        self.calls.append("resume")
        self.halted = self.on_run()

    def step(self) -> None:
        self.calls.append("step")
        self.registers["pc"] += 2
        self.halted = HaltReason.STEP

    def wait_halted(self, timeout: float | None) -> HaltReason | None:  # noqa: ARG002
        return self.halted

    def reset(self, *, halt: bool) -> None:
        self.calls.append("reset halt" if halt else "reset")
        self.registers.update(dict.fromkeys(REGISTERS, 0))
        self.halted = HaltReason.VECTOR_CATCH if halt else None

    def read_register(self, name: str) -> int:
        return self.registers[name]

    def write_register(self, name: str, value: int) -> None:
        if name not in self.registers:
            raise KeyError(name)
        self.registers[name] = value

    def read_memory(self, address: int, size: int) -> bytes:
        self.accesses.append(("r", address, size))
        base, memory = self._find(address, size)
        return bytes(memory[address - base : address - base + size])

    def write_memory(self, address: int, data: bytes) -> None:
        self.accesses.append(("w", address, len(data)))
        base, memory = self._find(address, len(data))
        memory[address - base : address - base + len(data)] = data

    def _find(self, address: int, size: int) -> tuple[int, bytearray]:
        for base, memory in self._memory.items():
            if base <= address < base + len(memory):
                if address + size > base + len(memory):
                    raise BusError(base + len(memory))
                return base, memory
        raise BusError(address)

    def set_breakpoint(self, address: int) -> None:
        self.calls.append(f"break {address:08X}")

    def clear_breakpoint(self, address: int) -> None:
        self.calls.append(f"unbreak {address:08X}")

    def set_watchpoint(self, address: int, size: int, access: str) -> None:
        self.calls.append(f"watch {address:08X} {size} {access}")

    def clear_watchpoint(self, address: int, size: int, access: str) -> None:
        self.calls.append(f"unwatch {address:08X} {size} {access}")
