"""The only seam to a debugger.

What belongs here: the `Target` protocol, and the values that cross it. Implementations live where their
debugger lives: `mi.MiTarget` over GDB/MI, `ingdb.GdbTarget` inside GDB.

Register names are GDB's, in lower case: r0..r12, sp, lr, pc, xpsr, msp, psp, primask, control. A register is
an unsigned 32-bit number. Armv8-M has msplim and psplim, and with TrustZone msp, psp and these with _s and _ns.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gdbflash.ranges import Range


class StopReason(enum.Enum):
    """Why a run ended."""

    ARRIVED = "arrived"
    """PC is at the address that was waited for."""
    TIMEOUT = "timeout"
    """The time was up while the core was running; it has been halted."""
    ELSEWHERE = "elsewhere"
    """The core halted by itself at another address: a fault, another breakpoint, somebody else's halt."""


_REGISTERS = frozenset(
    [f"r{number}" for number in range(13)]
    + ["sp", "lr", "pc", "xpsr", "msp", "psp", "primask", "basepri", "faultmask", "control", "fpscr"]
    + [f"s{number}" for number in range(32)]
)
STACK_LIMITS = ("msplim", "psplim", "msplim_s", "psplim_s", "msplim_ns", "psplim_ns")
ARMV8M_REGISTERS = frozenset(("msp_s", "psp_s", "msp_ns", "psp_ns", *STACK_LIMITS))
"""What Armv8-M has more (DDI 0553, D1.2): stack limits, and the stack pointers of both sides of TrustZone.

A server may name those of the Secure side and not give them, to who debugs the Non-secure one.
"""
_ALIASES = {"cpsr": "xpsr", "r13": "sp", "r14": "lr", "r15": "pc"}


def register_name(theirs: str) -> str | None:
    """Give the name here of a register by what a debugger calls it; None for one that nobody here needs."""
    plain = _ALIASES.get(theirs.lower(), theirs.lower())
    return plain if plain in _REGISTERS or plain in ARMV8M_REGISTERS else None


@dataclass(frozen=True)
class Stop:
    """Where and why a run ended; the core is halted."""

    reason: StopReason
    pc: int
    signal: str = ""
    """The server's own word for it, such as SIGTRAP or SIGSEGV; empty when it gave none."""
    came: bytes | None = None
    """What was read beside the run; None where nothing was asked for, or it could not be read."""


@dataclass(frozen=True)
class Capabilities:
    """What the debugger and server at hand can do."""

    server: str
    """Profile name: openocd, stlink, qemu, pyocd, jlink, st-util, blackmagic, board, generic."""
    registers: frozenset[str]
    """Names that `read_registers` and `write_registers` take."""
    memory_while_running: bool = False
    moves_beside: bool = False
    """`run_until` takes something to write or to read beside, also much data."""
    work_area: range | None = None
    """RAM in which the server may run code of its own without keeping what is there; None: nowhere."""
    lets_core_go: bool = False
    """The server lets a halted core run when the connection ends."""
    place: str = ""
    """How the server was reached, as people write it; empty if that is not known."""


class CoreState(enum.Enum):
    """What a server says of a core that is not the one under debug."""

    RUNNING = "running"
    HALTED = "halted"
    UNSEEN = "unseen"
    """It is in reset, without power or not there."""


class OtherCore(NamedTuple):
    """Another core of the same chip, by the server's name for it."""

    name: str
    state: CoreState


class WriteBeside(NamedTuple):
    """Bytes that are written while the core runs."""

    address: int
    data: bytes


class ReadBeside(NamedTuple):
    """Where bytes are read while the core runs."""

    address: int
    size: int


Beside = WriteBeside | ReadBeside
"""What is moved while the core runs."""


@dataclass(frozen=True)
class Instruction:
    """One instruction in memory, in the words of the debugger's disassembler."""

    address: int
    text: str


@dataclass(frozen=True)
class FlashRegion:
    """A stretch of internal flash that the server programs, in blocks of so many bytes."""

    where: Range
    block: int


class Target(Protocol):
    """A microcontroller under debug.

    Every method but `close` may raise ConnectionLost. A refusal by the server is a CommandRefused.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this debugger and server can do."""

    @property
    def disturbances(self) -> int:
        """Count the events after which RAM may no longer hold what was loaded (a reset, code run by the server)."""

    def read_memory(self, address: int, size: int) -> bytes:
        """Read size bytes; raises MemoryAccessError when any of them cannot be read."""

    def write_memory(self, address: int, data: bytes) -> None:
        """Write bytes; raises MemoryAccessError when the server reports that any could not be written."""

    def disassemble(self, address: int, size: int) -> tuple[Instruction, ...]:
        """Disassemble the Thumb instructions that begin in size bytes; raises MemoryAccessError, CommandRefused."""

    def read_registers(self, names: Iterable[str]) -> dict[str, int]:
        """Read registers by name; raises CommandRefused for a name that is not in capabilities."""

    def write_registers(self, values: Mapping[str, int]) -> None:
        """Write registers, in the order given; raises CommandRefused for a name that is not in capabilities."""

    def run_until(self, address: int, timeout: float, beside: Beside | None = None) -> Stop:
        """Let the core run from PC until it reaches address or timeout seconds passed; it is halted on return.

        Halted also when an exception such as KeyboardInterrupt leaves this method. beside: what is moved to or from
        memory while the core runs, where capabilities.moves_beside says so; after a failure it no longer does, and
        nothing else tells of one: what was moved must be checked. Raises CommandRefused where it does not.
        """

    def reset_and_halt(self) -> None:
        """Reset the MCU and leave it halted before its first instruction; raises PrepareError."""

    def reset_and_run(self, others: Iterable[str] = ()) -> None:
        """Reset the MCU and leave it running; the target can only be closed afterwards.

        others: the names of other cores that are to run afterwards too, where the reset halts them.
        """

    def resume(self) -> None:
        """Let the core go on from PC; the target can only be closed afterwards."""

    def other_cores(self) -> tuple[OtherCore, ...]:
        """List the other cores of the chip that the server knows of; empty where it knows of none, or cannot tell."""

    def hold_core(self, name: str) -> None:
        """Halt another core; raises CommandRefused."""

    def let_core_go(self, name: str) -> None:
        """Let another core that is halted go on from where it is; raises CommandRefused."""

    def flash_regions(self) -> tuple[FlashRegion, ...]:
        """List the internal flash that the server says it programs; empty where it says nothing."""

    def load(self, hex_text: str, size: int) -> None:
        """Have the debugger load an Intel HEX file of size bytes, flash by the server's means; raises CommandRefused.

        PC is what the file's start record says afterwards.
        """

    def monitor(self, command: str) -> str:
        """Pass a command to the server and return what it printed; raises CommandRefused."""

    def close(self) -> None:
        """Give the connection back; the core stays as it is. Never raises."""
