"""QEMU's boards with models of serial NOR chips: machine, chip file, loader and a program for the core."""

from __future__ import annotations

import contextlib
import re
import resource
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.cbuild import build
from tests.support.gdbservers import free_port, wait_until_listening

KIB = 1024
STOP_SECONDS = 10.0

PROGRAM_ADDRESS = 0x40
"""Behind the vector table's sixteen words."""
COUNT = bytes.fromhex("0130fde7")
"""adds r0, #1; b to it."""
TICK_AND_COUNT = bytes.fromhex(
    "054b"  # ldr r3, =SYST_CSR
    "4ff0ff32"  # mov.w r2, #-1
    "5a60"  # str r2, [r3, #4]: reload value, the largest
    "0022"  # movs r2, #0
    "9a60"  # str r2, [r3, #8]: current value
    "0722"  # movs r2, #7
    "1a60"  # str r2, [r3]: processor clock, interrupt, enable
    "0130fde7"  # as COUNT
    "00bf0000"  # nop, and nothing
    "10e000e0"  # SYST_CSR
)
"""The same while SysTick interrupts."""
_SPIN = bytes.fromhex("fee7")
_RETURN = bytes.fromhex("7047")


@dataclass(frozen=True)
class Board:
    """One of QEMU's machines and the loader for its chip."""

    machine: str
    drive: str
    """Which of the machine's drives the chip is."""
    loader: str
    core: str
    flash: int
    """Address of the chip's first byte, as the loader has it."""
    size: int
    sector: int
    touched: int
    """Sectors that 256 KiB at odd addresses touch."""
    ram: str = ""
    """What --ram must say."""
    nothing: int = 0xC0000000
    """Where the loader built with FAULTS_IN_ERASE reads."""
    link_address: int = 0x20000004
    stack: int = 0x20010000
    """First address behind the RAM."""

    def build(self, *defines: str) -> Path:
        """Build the loader, with something wrong where so defined."""
        return build(self.loader, *defines, core=self.core)

    @property
    def chip_size(self) -> int:
        """Bytes of the chip that QEMU puts on it, of which the loader knows the first `size`.

        From QEMU 10.0 on that of ast1030-evb is a w25q256, before that an sst25vf032b; the loader knows both.
        """
        return 32768 * KIB if self.machine == "ast1030-evb" and qemu_version() >= (10, 0) else self.size

    @property
    def options(self) -> tuple[str, ...]:
        """What commands must be told about this board."""
        return ("--ram", self.ram) if self.ram else ()


AST1030 = Board(
    machine="ast1030-evb",
    drive="if=mtd,index=2,format=raw",
    loader="ast1030",
    core="cortex-m4",
    flash=0x90000000,
    size=4096 * KIB,
    sector=4 * KIB,
    touched=65,
    ram="0x10000:704K",
    nothing=0x60000000,
    link_address=0x10004,
    stack=0xC0000,
)
SF2 = Board(
    machine="emcraft-sf2",
    drive="if=mtd,format=raw",
    loader="sf2",
    core="cortex-m3",
    flash=0xC0000000,
    size=16384 * KIB,
    sector=64 * KIB,
    touched=5,
)
BOARDS = (AST1030, SF2)


@cache
def qemu_version() -> tuple[int, int]:
    """Give major and minor version of the QEMU here."""
    said = subprocess.run(["qemu-system-arm", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"version (\d+)\.(\d+)", said)
    assert found is not None, said
    return int(found[1]), int(found[2])


def firmware(board: Board, code: bytes = COUNT) -> bytes:
    """Give an image for address 0: a vector table whose reset starts code and whose SysTick returns at once.

    Every other exception spins: QEMU aborts when a fault has no handler. The table is there again after each reset.
    """
    spin = PROGRAM_ADDRESS + len(code)
    vectors = [board.stack, PROGRAM_ADDRESS | 1, *[spin | 1] * 13, (spin + len(_SPIN)) | 1]
    return struct.pack("<16I", *vectors) + code + _SPIN + _RETURN


@dataclass(frozen=True)
class RunningQemu:
    """A QEMU that listens for GDB, halted at reset."""

    board: Board
    port: int
    chip: Path
    process: subprocess.Popen[bytes]

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def content(self) -> bytes:
        """End QEMU, which writes the chip's file in the background, and return what is in it then."""
        self.process.terminate()
        assert self.process.wait(STOP_SECONDS) == 0, "QEMU did not end as asked: did the core lock up?"
        found = self.chip.read_bytes()
        assert not found[self.board.size :].strip(b"\xff"), "nothing lies behind what the loader knows"
        return found[: self.board.size]


def arguments(board: Board, directory: Path, port: int, before: bytes = b"", code: bytes = COUNT) -> Sequence[str]:
    """Put the chip's file, `before` and then erased, and the program into a directory; return QEMU's arguments."""
    chip, program = directory / "chip.bin", directory / "program.bin"
    chip.write_bytes(before.ljust(board.chip_size, b"\xff"))
    program.write_bytes(firmware(board, code))
    return (
        *("-M", board.machine, "-drive", f"{board.drive},file={chip}", "-kernel", str(program)),
        *("-S", "-gdb", f"tcp:127.0.0.1:{port}", "-nographic", "-monitor", "none", "-serial", "none"),
    )


@contextlib.contextmanager
def running_qemu(board: Board, directory: Path, before: bytes = b"", code: bytes = COUNT) -> Iterator[RunningQemu]:
    """Run QEMU with a chip that holds `before` and is erased behind it."""
    port = free_port()
    with subprocess.Popen(
        ["qemu-system-arm", *arguments(board, directory, port, before, code)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_no_core_files,
    ) as process:
        try:
            wait_until_listening(port, process)
            yield RunningQemu(board, port, directory / "chip.bin", process)
        finally:
            process.kill()


def _no_core_files() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # QEMU aborts on a lockup
