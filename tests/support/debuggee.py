"""The program of tests/programs on a virtual board, and a person in GDB in the middle of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gdbflash.board.faces.rsp import RspServer
from gdbflash.board.machine import Machine
from gdbflash.images.formats import load_image
from tests.support.boards import LOADER, RunningBoard
from tests.support.gdbterminal import GDBINIT, Terminal, gdb_terminal
from tests.support.programbuild import build_program

FLASH = 0x90000000
INTERNAL = 0x08000000
RAM = (0x24000000, 0x80000)
DTCM = (0x20000000, 0x20000)

OLD = {0: bytes(0x10000), 0x20000: bytes(0x20000), 0x40000: bytes(0x80000)}
"""What the chip holds by offset beside the program's table: nothing can be written there without an erase."""

CORE = (
    *(f"r{number}" for number in range(13)),
    *("sp", "lr", "pc", "xpsr", "msp", "psp", "primask", "basepri", "faultmask", "control", "fpscr"),
    *(f"s{number}" for number in range(32)),
)
# All of the System Control Space that a program sets up: SysTick, NVIC enables, pending and priorities, ICSR, VTOR,
# AIRCR to SHCSR, CFSR and HFSR, CPACR, MPU, FPCCR to FPDSCR. Not SYST_CVR, which nobody can restore, and without
# COUNTFLAG, which reading clears.
SYSTEM = (
    (0xE000E010, 2),
    (0xE000E014, 4),
    (0xE000E100, 20),
    (0xE000E200, 20),
    (0xE000E400, 160),
    (0xE000ED04, 44),
    (0xE000ED88, 16),
    (0xE000EF34, 12),
)


@dataclass(frozen=True)
class Debugging:
    """A person's session in the middle of the program, and the board behind it."""

    board: RunningBoard
    gdb: Terminal

    def core(self) -> dict[str, int]:
        """Read the core's registers past GDB."""
        return {name: self.board.machine.read_register(name) for name in CORE}

    def system(self) -> dict[str, str]:
        """Read the system registers and the MPU's regions past GDB."""
        machine = self.board.machine
        found = {f"{address:#x}": machine.read_memory(address, size).hex() for address, size in SYSTEM}
        number = machine.read_memory(0xE000ED98, 4)
        for region in range(16):
            machine.write_memory(0xE000ED98, bytes([region, 0, 0, 0]))
            found[f"MPU region {region}"] = machine.read_memory(0xE000ED9C, 8).hex()
        machine.write_memory(0xE000ED98, number)
        return found

    def memory(self) -> dict[int, bytes]:
        """Read all RAM that the program and the loader share, past GDB."""
        return {start: self.board.machine.read_memory(start, size) for start, size in (RAM, DTCM)}

    def settings(self) -> str:
        """Ask GDB for the user's settings."""
        names = ("confirm", "pagination", "height", "breakpoint always-inserted", "mem inaccessible-by-default")
        more = ("suppress-cli-notifications", "arm force-mode", "scheduler-locking", "logging")
        shown = "".join(self.gdb.run(f"show {name}") for name in (*names, *more)) + self.gdb.run("info signals SIGINT")
        return shown + self.gdb.run("info mem") + self.gdb.run("show user hook-stop") + self.gdb.run("info display")

    def points(self) -> str:
        """Ask GDB for breakpoints and watchpoints, with their hit counts."""
        return self.gdb.run("info breakpoints")

    def wait_until_running(self) -> None:
        """Wait until the core has been seen running: the loader hangs."""
        deadline = time.monotonic() + 30
        running = 0
        while running < 3:
            assert time.monotonic() < deadline, "the loader was never called"
            time.sleep(0.05)
            running = running + 1 if self.board.machine.halted is None else 0

    def place(self) -> str:
        """Ask GDB where the user is: thread, selected frame and stack, and what `list` shows next."""
        listed = self.gdb.run("python print(gdb.decode_line()[1][0].symtab, gdb.decode_line()[1][0].line)")
        lines = ("info threads", "info frame", "backtrace")
        return listed + "".join(self.gdb.run(line) for line in lines)


@contextmanager
def running_program() -> Iterator[RunningBoard]:
    """Run a board with the program in its flash memories, halted at the reset vector."""
    pieces = load_image(build_program("debuggee")).pieces
    firmware = b"".join(bytes(data) for address, data in pieces if address >> 24 == 0x08)
    assert pieces[0][0] == INTERNAL
    with Machine(firmware=firmware) as machine, RspServer(machine) as server:
        for address, data in pieces:
            if address >= FLASH:
                machine.flash.memory[address - FLASH : address - FLASH + len(data)] = bytes(data)
        for offset, data in OLD.items():
            machine.flash.memory[offset : offset + len(data)] = data
        yield RunningBoard(machine, machine.flash, server)


@contextmanager
def connected(board: RunningBoard, gdb: Path, state: Path, loader: Path = LOADER) -> Iterator[Terminal]:
    """Start GDB with the commands, the program and the loader, connected to the board."""
    with gdb_terminal(gdb, "-x", str(GDBINIT), str(build_program("debuggee")), state=state) as terminal:
        terminal.run(f"target extended-remote {board.endpoint}")
        terminal.run(f"gdbflash loader {loader}")
        yield terminal


@contextmanager
def debugging(gdb: Path, state: Path, loader: Path = LOADER) -> Iterator[Debugging]:
    """Stop in the middle of work(), one frame up, with everything set that can be lost."""
    with running_program() as board, connected(board, gdb, state, loader) as terminal:
        for line in (
            "break done",
            "continue",
            "break work",
            "continue",
            "next",
            "next",
            "watch local",
            "watch sum",
            "disable 4",
            "tbreak good",
            "ignore 1 7",
            "enable count 9 1",
            "display/x sum",
            "set var $stops = 0",
            "set height 40",
            "with confirm off -- handle SIGINT nostop noprint pass",
        ):
            terminal.run(line)
        terminal.send("define hook-stop")
        terminal.child.expect_exact(">")
        terminal.send("set var $stops = $stops + 1")
        terminal.child.expect_exact(">")
        terminal.run("end")
        assert "run ()" in terminal.run("up")
        assert "sum = work(" in terminal.run("list")
        yield Debugging(board, terminal)
