"""Unicorn, typed and by the names of this package: the only module that imports it.

What belongs here: calls and constants of Unicorn 2.1, nothing that knows what is done with them.
"""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable, Iterable
from typing import Any

import unicorn
from unicorn import arm_const

_unicorn: Any = unicorn
"""Its classes have no types."""

_REGISTERS: dict[str, int] = {
    **{f"r{number}": arm_const.UC_ARM_REG_R0 + number for number in range(13)},
    **{f"d{number}": arm_const.UC_ARM_REG_D0 + number for number in range(16)},
    "sp": arm_const.UC_ARM_REG_SP,
    "lr": arm_const.UC_ARM_REG_LR,
    "pc": arm_const.UC_ARM_REG_PC,
    "msp": arm_const.UC_ARM_REG_MSP,
    "psp": arm_const.UC_ARM_REG_PSP,
    "primask": arm_const.UC_ARM_REG_PRIMASK,
    "basepri": arm_const.UC_ARM_REG_BASEPRI,
    "faultmask": arm_const.UC_ARM_REG_FAULTMASK,
    "control": arm_const.UC_ARM_REG_CONTROL,
    "apsr_nzcv": arm_const.UC_ARM_REG_APSR_NZCV,
    "ipsr": arm_const.UC_ARM_REG_IPSR,
    "xpsr": arm_const.UC_ARM_REG_XPSR,
    "xpsr_nzcvqg": arm_const.UC_ARM_REG_XPSR_NZCVQG,
    "fpscr": arm_const.UC_ARM_REG_FPSCR,
}

ReadCallback = Callable[[Any, int, int, Any], int]
"""(_, offset, size, tag) -> value"""
WriteCallback = Callable[[Any, int, int, int, Any], None]
"""(_, offset, size, value, tag)"""
AccessCallback = Callable[[Any, int, int, int, int, Any], Any]
"""(_, kind, address, size, value, _)"""
CodeCallback = Callable[[Any, int, int, Any], None]
"""(_, address, size, _)"""


class Ending(enum.Enum):
    """How `Engine.start` came back."""

    STOPPED = enum.auto()
    """By a stop, an exit, the count, or a hint such as WFI."""
    BAD_INSTRUCTION = enum.auto()
    """Undefined, not Thumb, or WFE and YIELD."""
    BAD_ACCESS = enum.auto()
    """Nothing mapped, or not with this permission; PC is at the instruction."""


class Engine:
    """One emulated Cortex-M7."""

    def __init__(self) -> None:
        self._uc = _unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self._uc.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_M7)
        self._uc.ctl_exits_enabled(True)
        self._uc.ctl_set_exits([])

    def get(self, register: str) -> int:
        """Return a register; KeyError for an unknown name."""
        return int(self._uc.reg_read(_REGISTERS[register]))

    def put(self, register: str, value: int) -> None:
        """Set a register; KeyError for an unknown name."""
        self._uc.reg_write(_REGISTERS[register], value)

    def map_buffer(self, base: int, buffer: memoryview, *, writable: bool) -> None:
        """Map a writable host buffer, which must outlive the mapping. It gets no execute permission."""
        permissions = unicorn.UC_PROT_READ | (unicorn.UC_PROT_WRITE if writable else 0)
        address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        self._uc.mem_map_ptr(base, len(buffer), permissions, address)

    def map_device(self, base: int, size: int, read: ReadCallback, write: WriteCallback) -> None:
        """Map callbacks; they get base as their tag."""
        self._uc.mmio_map(base, size, read, base, write, base)

    def unmap(self, base: int, size: int) -> None:
        """Take mappings away."""
        self._uc.mem_unmap(base, size)

    def on_fetch(self, callback: AccessCallback) -> None:
        """Call at each halfword that is translated; it returns True to allow it."""
        self._uc.hook_add(unicorn.UC_HOOK_MEM_FETCH_PROT, callback)

    def on_bad_access(self, callback: Callable[[int, bool], None]) -> None:
        """Call callback(address, fetch) at an access that nothing answers."""

        def hook(_uc: object, kind: int, address: int, _size: int, _value: int, _data: object) -> bool:
            callback(address, kind == unicorn.UC_MEM_FETCH_UNMAPPED)
            return False

        self._uc.hook_add(unicorn.UC_HOOK_MEM_UNMAPPED | unicorn.UC_HOOK_MEM_READ_PROT, hook)

    def on_protected_write(self, callback: Callable[[int, int, int], bool]) -> None:
        """Call callback(address, size, value) at each write to read-only memory.

        If it returns True, the write takes place and the instruction goes on; else it is abandoned.
        """

        def hook(_uc: object, _kind: int, address: int, size: int, value: int, _data: object) -> bool:
            return callback(address, size, value & (1 << 8 * size) - 1)

        self._uc.hook_add(unicorn.UC_HOOK_MEM_WRITE_PROT, hook)

    def on_exception(self, callback: Callable[[int], None]) -> None:
        """Call callback(number) at an exception, numbered as in QEMU's target/arm/cpu.h; then stop."""

        def hook(_uc: object, number: int, _data: object) -> None:
            callback(number)
            self._uc.emu_stop()

        self._uc.hook_add(unicorn.UC_HOOK_INTR, hook)

    def hook_instruction(self, address: int, callback: CodeCallback) -> int:
        """Call before the instruction at address; takes effect when it is translated. Return a handle."""
        return int(self._uc.hook_add(unicorn.UC_HOOK_CODE, callback, None, address, address))

    def hook_access(self, kind: str, first: int, last: int, callback: AccessCallback) -> int:
        """Call at reads ("r") or writes ("w") of a range, ends included. Return a handle."""
        hook = {"r": unicorn.UC_HOOK_MEM_READ, "w": unicorn.UC_HOOK_MEM_WRITE}[kind]
        return int(self._uc.hook_add(hook, callback, None, first, last))

    def unhook(self, handle: int) -> None:
        """Take a hook away."""
        self._uc.hook_del(handle)

    def flush(self) -> None:
        """Forget all translated code."""
        self._uc.ctl_flush_tb()

    def set_exits(self, addresses: Iterable[int]) -> None:
        """Stop before the instructions at these addresses; takes effect when they are translated."""
        self._uc.ctl_set_exits(sorted(addresses))

    def start(self, address: int, count: int) -> Ending:
        """Execute Thumb code from address, count instructions or without end (0). Raises what callbacks raised."""
        try:
            self._uc.emu_start(address | 1, 0, count=count)
        except _unicorn.UcError as error:
            if error.errno in (unicorn.UC_ERR_INSN_INVALID, unicorn.UC_ERR_EXCEPTION):
                return Ending.BAD_INSTRUCTION
            return Ending.BAD_ACCESS
        return Ending.STOPPED

    def stop(self) -> None:
        """End `start`; at the next block from another thread, within the instruction from an access callback."""
        self._uc.emu_stop()
