"""TrustZone: loaders on the secure side of a device, by a role of the virtual board; faults of a real Cortex-M33.

The board has RAM at 0x30000000 too. What it has not, a Cortex-M33's registers and an STM32L5's DEV_ID, its GDB server
says as that device would. QEMU's mps2-an505 has a Cortex-M33 with TrustZone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gdbflash.board.faces.personality import BOARD
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import started
from gdbflash.mi.target import MiTarget
from gdbflash.onchip import autopsy, evidence, kept_registers
from gdbflash.onchip.call import Call, Returned, Unreturned, perform
from gdbflash.onchip.device import security
from gdbflash.onchip.digest import Key, Routine
from gdbflash.onchip.placement import initial_memory
from gdbflash.onchip.plan_layout import plan_layout
from gdbflash.ranges import Range
from gdbflash.target import ARMV8M_REGISTERS
from tests.support.boards import GDBS, RunningBoard, running_board
from tests.support.cbuild import build
from tests.support.commandline import CommandLine
from tests.support.gdbservers import running_qemu
from tests.support.thumb import assemble
from tests.support.values import make_loader

FLASH = 0x90000000
CPUID, IDCODE, DAUTHSTATUS, DSCSR = 0xE000ED00, 0xE0044000, 0xE000EFB8, 0xE000EE08
ALLOWED, FORBIDDEN = 0xFF, 0xAF
RAM = 0x38000000
"""Of the an505: SSRAM2 by its secure address, 0x28000000 by the other one."""


@contextmanager
def l5(dauthstatus: int) -> Iterator[RunningBoard]:
    """Run a board that says to be an STM32L552 with TrustZone, halted on its secure side."""
    words = ((CPUID, 0x410FD214), (IDCODE, 0x20016472), (DAUTHSTATUS, dauthstatus), (DSCSR, 1 << 16))
    with running_board(replace(BOARD, words=words)) as board:
        yield board


def test_a_secure_loader_works_where_secure_debug_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    image = tmp_path / "image.bin"
    image.write_bytes(random.Random(4).randbytes(20_000))
    with l5(ALLOWED) as board:
        words = ["write", f"{image}@{FLASH:#x}", "--connect", board.endpoint, "-l", str(build("secure"))]
        outcome = CommandLine(capsys)(*words, "-v")
        assert outcome.code == 0, outcome.shown
        assert "DEV_ID 0x472" in outcome.shown
        assert "in its RAM 0x30000000-0x3003FFFF" in outcome.shown
        assert "the secure one may be debugged" in outcome.shown
        assert bytes(board.chip.memory[:20_000]) == image.read_bytes()


def test_a_secure_loader_is_refused_where_secure_debug_is_forbidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    with l5(FORBIDDEN) as board:
        before = board.machine.read_memory(0x30000000, 0x40000)
        words = ["erase", hex(FLASH), "0x10000", "--connect", board.endpoint, "-l", str(build("secure"))]
        outcome = CommandLine(capsys)(*words)
        assert (outcome.code, outcome.result["error"]["kind"]) == (3, "prepare")
        assert "SECURE is linked at the secure address 0x30000004" in outcome.shown
        assert board.machine.read_memory(0x30000000, 0x40000) == before


PROGRAMS = {
    "adds": "adds r0, r0, r1\n bx lr",
    # SAU_CTRL.ALLNS leaves the sides to the device's attribution, by which 0x28000000 is the non-secure one's.
    "crosses": "ldr r0, =0xE000EDD0\n movs r1, #2\n str r1, [r0]\n dsb\n isb\n ldr r2, =0x28001001\n bx r2",
    "limits": "ldr r0, =0x3800f000\n .short 0xf380, 0x880a\n bx lr",  # msr msplim, r0
    "pushes": "push {r0, lr}\n pop {r0, pc}",
}
LOADER = make_loader(segments=((RAM + 4, 0x400, 0x400),))
LAYOUT = plan_layout(LOADER, Range(RAM, 64 * 1024))


@pytest.fixture
def m33() -> Iterator[MiTarget]:
    """QEMU's Cortex-M33, with what a loader brings in its RAM and all vectors at a place that spins."""
    with running_qemu("mps2-an505", ram=RAM) as server:
        target = connect(server.endpoint, started(GDBS[0]))
        for name in ARMV8M_REGISTERS:  # which a newer QEMU shows
            target._numbers.pop(name, None)
        try:
            target.write_memory(0x10000000, b"".join((0x10000101).to_bytes(4, "little") for _ in range(16)))
            target.write_memory(0x10000100, bytes.fromhex("fee7"))
            load(target)
            yield target
        finally:
            target.close()


def load(target: MiTarget) -> None:
    """Write what a loader brings."""
    memory = initial_memory(LOADER, LAYOUT, Routine(LAYOUT.routine, Key(1, 2, 3, 4)))
    for where in memory.ranges:
        target.write_memory(where.address, memory.read(where))


def call(target: MiTarget, name: str, *arguments: int) -> Returned | Unreturned:
    """Call one of PROGRAMS as a loader's function."""
    target.write_memory(RAM + 4, assemble(**PROGRAMS)[name])
    return perform(target, Call(name, RAM + 4, arguments, timeout=1.0), LAYOUT)


def test_a_real_cortex_m33_is_called_on_its_secure_side_and_a_wrong_branch_is_told(m33: MiTarget) -> None:
    assert int.from_bytes(m33.read_memory(CPUID, 4), "little") >> 4 & 0xFFF == 0xD21
    assert security.look(m33) is None  # QEMU has no DAUTHSTATUS
    returned = call(m33, "adds", 5, 6)
    assert isinstance(returned, Returned)
    assert returned.r0 == 11
    m33.write_memory(0x28001000, bytes.fromhex("7047"))
    outcome = call(m33, "crosses")
    assert isinstance(outcome, Unreturned)
    seen = evidence.gather(m33, Call("crosses", RAM + 4, timeout=1.0), outcome, LAYOUT, LOADER)
    assert seen.bits >= {"INVTRAN", "FORCED"}
    assert seen.frame is not None
    assert seen.frame.pc == 0x28001000
    assert "it branched across the border of TrustZone, to 0x28001000" in autopsy.explain(seen).message


def test_a_stack_limit_of_the_program_is_told_and_lifted_where_the_server_does_not_show_it(m33: MiTarget) -> None:
    assert not m33.capabilities.registers & ARMV8M_REGISTERS
    assert isinstance(call(m33, "pushes"), Returned)
    assert isinstance(call(m33, "limits"), Returned)
    outcome = call(m33, "pushes")
    assert isinstance(outcome, Unreturned)
    seen = evidence.gather(m33, Call("pushes", RAM + 4, timeout=1.0), outcome, LAYOUT, LOADER)
    assert "STKOF" in seen.bits
    assert "has set a limit for its own stack (MSPLIM)" in autopsy.explain(seen).message

    m33.reset_and_halt()
    load(m33)
    assert isinstance(call(m33, "limits"), Returned)
    limit = kept_registers.lift_stack_limits(m33, LAYOUT)
    assert limit == 0x3800F000
    load(m33)
    assert isinstance(call(m33, "pushes"), Returned)
    kept_registers.put_back_stack_limit(m33, LAYOUT, limit)
    load(m33)
    assert isinstance(call(m33, "pushes"), Unreturned), "the program has its limit again"
