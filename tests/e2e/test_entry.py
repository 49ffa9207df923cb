"""The entry of calls: on emulated cores, and through GDB on those of QEMU."""

from __future__ import annotations

from typing import Any

import pytest
import unicorn
from unicorn import arm_const

from gdbflash.errors import CallNotMade
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import started
from gdbflash.onchip.call import Call, Returned, Unreturned, perform
from gdbflash.onchip.entry import SIZE, Entry, Results
from gdbflash.onchip.layout import Layout
from gdbflash.onchip.routine_code import ENTRY_CODE
from gdbflash.ranges import Range
from gdbflash.servers.profiles import PROFILES
from gdbflash.target import StopReason
from tests.support.gdbservers import GDBS, gdb_path, running_qemu
from tests.support.routine import CORES, PRESERVED, RAM, TRAP
from tests.support.thumb import assemble

_unicorn: Any = unicorn
_REGISTERS = [getattr(arm_const, f"UC_ARM_REG_R{number}") for number in range(13)]
FUNCTION = 0x24003000
STACK_TOP = 0x24002000
SCRATCH = 0x24002100
AREA = Range(0x24001000, SIZE)


def test_it_takes_no_more_room_than_it_says() -> None:
    entry = Entry(AREA)
    assert entry.address == AREA.address
    assert (AREA.size, AREA.size % 8) == (160, 0)
    assert entry.results.end == entry.table.end <= AREA.end


def test_the_table_whole() -> None:
    address, data = Entry(AREA).inputs(
        7, FUNCTION, (-1, 0x100, 3), stack_top=STACK_TOP, static_base=SCRATCH, return_address=TRAP, masked=True
    )
    assert address == AREA.address + len(ENTRY_CODE)
    words = [7, STACK_TOP, SCRATCH, 1, FUNCTION | 1, 0xFFFFFFFF, 0x100, 3, 0, TRAP | 1, 0, 0, 0, 0, 0]
    assert data == b"".join(word.to_bytes(4, "little") for word in words)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("masked", [False, True])
def test_a_function_gets_what_the_table_says_whatever_the_registers_held(core: str, masked: bool) -> None:
    uc = _unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    uc.ctl_set_cpu_model(CORES[core])
    uc.mem_map(RAM.address, RAM.size)
    uc.mem_write(AREA.address, ENTRY_CODE)
    code = assemble(spoiling="ldr r0, =0x11223344\n ldr r1, =0x55667788\n cmp r0, r1\n bx lr")["spoiling"]
    uc.mem_write(FUNCTION, code)
    for number, register in enumerate(_REGISTERS):
        uc.reg_write(register, 0xBAD00000 + number)
    uc.reg_write(arm_const.UC_ARM_REG_SP, RAM.address + 0x100)
    uc.reg_write(arm_const.UC_ARM_REG_PRIMASK, int(not masked))
    entry = Entry(AREA)
    arguments = (0x90000000, 0x1000, 0x24005000, 4)
    where = {"stack_top": STACK_TOP, "static_base": SCRATCH, "return_address": TRAP}
    uc.mem_write(*entry.inputs(0xC0FFEE, FUNCTION, arguments, **where, masked=masked))
    seen: list[list[int]] = []

    def on_code(*_: object) -> None:
        if not seen:
            names = ("SP", "LR", "PRIMASK", "CONTROL", "PSP")
            others = [uc.reg_read(getattr(arm_const, f"UC_ARM_REG_{name}")) for name in names]
            seen.append([*(uc.reg_read(register) for register in _REGISTERS), *others])

    uc.hook_add(unicorn.UC_HOOK_CODE, on_code, begin=FUNCTION, end=FUNCTION + 1)
    uc.emu_start(entry.address | 1, TRAP, count=1000)
    assert uc.reg_read(arm_const.UC_ARM_REG_PC) == TRAP
    (inside,) = seen
    returns = inside[14]
    assert inside == [*arguments, 0, 0, 0, 0, 0, SCRATCH, 0, 0, 0, STACK_TOP, returns, int(masked), 0, 0]
    assert returns % 2 == 1
    assert returns - 1 in AREA
    results = entry.parse(bytes(uc.mem_read(entry.results.address, entry.results.size)))
    assert results == Results(entered=0xC0FFEE, mode=0, r0=0x11223344, r1=0x55667788, returned=0xC0FFEE)
    assert uc.reg_read(arm_const.UC_ARM_REG_SP) == STACK_TOP
    assert uc.reg_read(arm_const.UC_ARM_REG_CPSR) >> 28 == 0, "flags are left"
    assert [uc.reg_read(_REGISTERS[number]) for number in PRESERVED if number != 9] == [0] * 7


MACHINES = {
    "m0": ("microbit", 0x20000000),
    "m3": ("lm3s6965evb", 0x20000000),
    "m4": ("netduinoplus2", 0x20000000),
    "m7": ("mps2-an500", 0x20000000),
    "m33": ("mps2-an505", 0x38000000),
}


def layout_at(ram: int) -> Layout:
    return Layout(
        ram=Range(ram, 0x3000),
        return_address=ram,
        entry=Range(ram + 0x100, SIZE),
        routine=Range(ram + 0x200, 0x400),
        strays=Range(ram + 0x1800, 0),
        scratch=Range(ram + 0x600, 0x100),
        static_base=ram + 0x600,
        stack=Range(ram + 0x800, 0x800),
        buffer=Range(ram + 0x1000, 0x1000),
    )


@pytest.mark.parametrize("machine", MACHINES)
def test_calls_on_the_cores_of_qemu(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, ram = MACHINES[machine]
    gdb = list(GDBS)[list(MACHINES).index(machine) % 2]
    with running_qemu(name, ram=ram) as server:
        target = connect(server.endpoint, started(gdb_path(gdb)), profile=PROFILES["qemu"])
        try:
            layout = layout_at(ram)
            target.write_memory(ram, bytes.fromhex("fee7fee7"))
            target.write_memory(layout.entry.address, ENTRY_CODE)
            function = ram + 0x2000
            # r0 - r1 + r2 - r3 in r0, r9 in r1.
            target.write_memory(function, bytes.fromhex("401a 8018 c01a 4946 7047 fee7"))
            for first in (1000, 0x90000000):
                returned = perform(target, Call("f", function, (first, 1, 20, 3)), layout)
                assert isinstance(returned, Returned)
                assert (returned.r0, returned.r1) == (first + 16, layout.scratch.address)
            stuck = perform(target, Call("spins", function + 10, timeout=0.3), layout)
            assert isinstance(stuck, Unreturned)
            assert (stuck.stop.reason, stuck.stop.pc) == (StopReason.TIMEOUT, function + 10)
            # As if the write of PC got lost on its way: the core stays where it is, and has a breakpoint there.
            write = target.write_registers
            monkeypatch.setattr(target, "write_registers", lambda values: write({**values, "pc": ram}))
            with pytest.raises(CallNotMade, match=r"f was not called: the core came to the return address without"):
                perform(target, Call("f", function, (5,)), layout)
        finally:
            target.close()
