"""The digest routine on an emulated core, with every access it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import unicorn
from unicorn import arm_const

from gdbflash.onchip.digest import Routine, RoutineCall
from gdbflash.ranges import Range

_unicorn: Any = unicorn  # its stubs do not name what it exports

FLASH = Range(0x90000000, 0x80000)
RAM = Range(0x24000000, 0x40000)
TRAP = 0x24000000
STACK_TOP = 0x24002000
CORES = {
    "m0": arm_const.UC_CPU_ARM_CORTEX_M0,
    "m7": arm_const.UC_CPU_ARM_CORTEX_M7,
    "m33": arm_const.UC_CPU_ARM_CORTEX_M33,
}
_LOW = [getattr(arm_const, f"UC_ARM_REG_R{number}") for number in range(13)]
PRESERVED = tuple(range(4, 12))


@dataclass(frozen=True)
class Ran:
    """What a call did."""

    r0: int
    r1: int
    results: bytes
    instructions: int
    stack: int
    """Bytes of stack it went down to."""
    read: tuple[tuple[int, int], ...]
    """(address, size) of all reads in flash, in order."""
    written: tuple[Range, ...]
    """All writes outside the stack."""


class Core:
    """A core with flash that holds data and RAM that holds the routine."""

    def __init__(self, routine: Routine, core: str = "m0") -> None:
        self.uc = _unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self.uc.ctl_set_cpu_model(CORES[core])
        self.uc.mem_map(FLASH.address, FLASH.size)
        self.uc.mem_map(RAM.address, RAM.size)
        self.uc.mem_write(routine.area.address, routine.image)

    def put(self, address: int, data: bytes) -> None:
        self.uc.mem_write(address, data)

    def perform(self, made: RoutineCall) -> Ran:
        """Make a call to its end, with every register but its arguments full of junk."""
        self.uc.mem_write(*made.inputs)
        before = [0xBAD00000 + number for number in range(13)]
        passed = made.call.passed or made.call.arguments
        before[: len(passed)] = passed
        for register, value in zip(_LOW, before, strict=True):
            self.uc.reg_write(register, value)
        self.uc.reg_write(arm_const.UC_ARM_REG_SP, STACK_TOP)
        self.uc.reg_write(arm_const.UC_ARM_REG_LR, TRAP | 1)
        count = 0
        lowest = STACK_TOP
        reads: list[tuple[int, int]] = []
        writes: list[Range] = []

        def on_code(*_: object) -> None:
            nonlocal count
            count += 1

        def on_access(_uc: object, access: int, address: int, size: int, *_: object) -> None:
            nonlocal lowest
            if STACK_TOP - 0x1000 <= address < STACK_TOP:
                lowest = min(lowest, address)
            elif access == unicorn.UC_MEM_WRITE:
                writes.append(Range(address, size))
            elif address in FLASH:
                reads.append((address, size))

        hooks = [
            self.uc.hook_add(unicorn.UC_HOOK_CODE, on_code),
            self.uc.hook_add(unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE, on_access),
        ]
        self.uc.emu_start(made.call.address | 1, TRAP)
        for hook in hooks:
            self.uc.hook_del(hook)
        assert [self.uc.reg_read(_LOW[number]) for number in PRESERVED] == [before[number] for number in PRESERVED]
        assert self.uc.reg_read(arm_const.UC_ARM_REG_SP) == STACK_TOP
        return Ran(
            self.uc.reg_read(_LOW[0]),
            self.uc.reg_read(_LOW[1]),
            bytes(self.uc.mem_read(made.results.address, made.results.size)),
            count,
            STACK_TOP - lowest,
            tuple(reads),
            tuple(writes),
        )


def bytes_read(reads: Sequence[tuple[int, int]]) -> list[int]:
    """List each byte that was read, as often as it was."""
    return [address + offset for address, size in reads for offset in range(size)]
