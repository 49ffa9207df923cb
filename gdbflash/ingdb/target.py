"""`GdbTarget`: the microcontroller that an open GDB session is connected to.

What belongs here: which of GDB's commands and Python functions a target's operations are, and what comes back. How
one is found is in `connect`, the user's side of the session in `session`, what people type in `commands`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import gdb

from gdbflash.errors import CommandRefused, ConnectionLost, GdbflashError, MemoryAccessError, TargetError
from gdbflash.host.folders import own_command_line
from gdbflash.ingdb.bounds import (
    Bounds,
    heard_when_stuck,
    hold_interrupts,
    interrupted,
    interrupts_heard,
    release_interrupts,
)
from gdbflash.ingdb.memory import GdbWire, connection_lost, lost_told
from gdbflash.ingdb.registers import CoreRegisters
from gdbflash.ingdb.session import UserSession, run
from gdbflash.servers import reset as corereset
from gdbflash.servers.cores import CoresOfServer
from gdbflash.servers.memory_map import flash_regions_in
from gdbflash.servers.memory_proof import ProvenMemory
from gdbflash.servers.monitored_run import EndsInMemory, run_core, stop_of
from gdbflash.servers.profiles import UNKNOWN_COMMAND, ServerProfile
from gdbflash.target import Beside, Capabilities, CoreState, FlashRegion, Instruction, Stop, StopReason

STEP_TIMEOUT = 5.0
"""Seconds for one instruction; OpenOCD sees the end of it within its poll of 0.1 s."""
_BX_LR = bytes.fromhex("7047")
_THUMB = 0x01000000
_CANCELLED = "Canceled the download"
"""What GDB's `load` makes of Ctrl-C."""


def _speaks_mi() -> bool:
    """Tell by its command line whether GDB was started by a front end that speaks MI."""
    return any(re.match(r"-?-i(nterpreter)?(=mi|\Z)", word) for word in own_command_line())


_SPEAKS_MI = _speaks_mi()
"""A front end waits for the record `^running`, which comes when the core starts: it must not go into a string."""


@dataclass
class Server:
    """The GDB server behind a connection, and what was found out about it once."""

    profile: ServerProfile
    work_area: range | None = None


class GdbTarget(CoresOfServer):
    """A target behind the server that GDB is connected to; implements `target.Target`.

    It has the user's session in its hands from `connect` until `close`. Ctrl-C raises KeyboardInterrupt only in
    `run_until`, and from the other methods within `interruptible`.
    """

    def __init__(self, server: Server, core: CoreRegisters, patience: float = 1.0) -> None:
        """Take over a halted core; `connect.connect` is the way to make one."""
        self._patience = patience
        self._server = server
        self.profile = server.profile
        self.remarks: list[str] = []
        """What could not be given back as it was, in sentences; complete after `close`."""
        self._core = core
        hold_interrupts()
        with contextlib.ExitStack() as taken:
            taken.callback(release_interrupts)
            self._wire = GdbWire()
            taken.callback(self._wire.close)
            self._session = UserSession()
            taken.pop_all()
        self._memory = ProvenMemory(self._wire, server.profile)
        self._ends = EndsInMemory(self.read_memory)
        self._breakpoint: Any = None
        self._address = 0
        self._disturbances = 0
        self._ran = False
        """GDB saw the core run, and has not seen it stop where the user had it."""
        self._is_loaders = False
        """The core registers are a loader's."""
        self._runs_on = False
        self._closed = False
        self._signal = ""
        self._interruptible = False
        gdb.events.stop.connect(self._on_stop)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let Ctrl-C raise KeyboardInterrupt, between two steps or out of a monitor command, while the body runs."""
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    def _heed(self) -> None:
        if self._interruptible and interrupted():
            raise KeyboardInterrupt

    @property
    def capabilities(self) -> Capabilities:
        """What this debugger and server can do."""
        return Capabilities(
            server=self.profile.name,
            registers=self._core.names,
            work_area=self._server.work_area,
            place=gdb.selected_inferior().connection.details or "",
        )

    @property
    def disturbances(self) -> int:
        """Count resets and monitor commands since the connection was made."""
        return self._disturbances

    # Memory

    def read_memory(self, address: int, size: int) -> bytes:
        """Read size bytes; raises MemoryAccessError when any of them cannot be read."""
        self._heed()
        if self._holds_breakpoint(address, size):
            self._drop_breakpoint()  # a server that writes BKPT into RAM would let it be seen
        return self._memory.read(address, size)

    def write_memory(self, address: int, data: bytes) -> None:
        """Write bytes; raises MemoryAccessError when the server reports that any could not be written."""
        self._heed()
        if self._holds_breakpoint(address, len(data)):
            self._drop_breakpoint()  # its BKPT in RAM would be overwritten unseen
        self._ends.written(address, len(data))
        self._memory.write(address, data)

    def _holds_breakpoint(self, address: int, size: int) -> bool:
        return self._breakpoint is not None and address <= self._address + 1 and self._address < address + size

    def disassemble(self, address: int, size: int) -> tuple[Instruction, ...]:
        """Disassemble the Thumb instructions that begin in size bytes; raises MemoryAccessError."""
        try:
            with lost_told():
                found = gdb.selected_inferior().architecture().disassemble(address, address + size - 1)
        except gdb.error as error:
            raise MemoryAccessError(
                f"The code at {address:#010x} cannot be read ({error}).", address=address, size=size
            ) from error
        return tuple(Instruction(each["addr"], " ".join(each["asm"].split())) for each in found)

    # Registers

    def read_registers(self, names: Iterable[str]) -> dict[str, int]:
        """Read registers by name; raises CommandRefused for a name that is not in capabilities."""
        return self._core.read(names)

    def write_registers(self, values: Mapping[str, int]) -> None:
        """Write registers, in the order given; raises CommandRefused for a name that is not in capabilities."""
        rest = dict(values)
        self._is_loaders &= rest.get("pc") != self._session.pc
        if self._ran and self._session.is_current and rest.get("pc") == self._session.pc:
            self._arrive(self._session.pc)
        elif "sp" in rest:
            self._session.entering(rest["sp"])
        if "control" in rest and "sp" in rest:
            # CONTROL.SPSEL says which stack pointer `sp` is, so that sp is to be read afresh after a change.
            self._core.write({"control": rest.pop("control")})
        self._core.write(rest)

    def forget_registers(self) -> None:
        """Make GDB forget the registers: something changed them behind its back."""
        try:
            self._core.forget()
        except gdb.error as error:
            raise CommandRefused(f"GDB refused to forget: {error}", command="flush", reply=str(error)) from error

    # Running

    def run_until(self, address: int, timeout: float, beside: Beside | None = None) -> Stop:
        """Let the core run from PC until it reaches address or timeout seconds passed; it is halted on return.

        Raises KeyboardInterrupt, with the core halted, when the user has pressed Ctrl-C; ConnectionLost as soon as
        the server is gone; CommandRefused when the core cannot be started, or for something beside: GDB waits for it.
        """
        if beside is not None:
            raise CommandRefused("GDB moves no memory while the core runs.", command="move", reply="the core runs")
        address &= ~1
        self._is_loaders = True
        if self.profile.runs_by_monitor and self._ends.at(address):
            return self._run_monitored(address, timeout)
        self._set_breakpoint(address)
        self._ran = True
        bounds = Bounds(timeout, listen=True, mute=not _SPEAKS_MI)
        self._go("continue", bounds)
        if bounds.interrupted:
            raise KeyboardInterrupt
        pc = self.read_registers(["pc"])["pc"] & ~1
        reason = StopReason.ARRIVED if pc == address else StopReason.ELSEWHERE
        if bounds.rang:
            # A PC proves nothing then: a core that was never started is still where the last call ended.
            reason = StopReason.TIMEOUT
        return Stop(reason, pc, self._signal)

    def _run_monitored(self, address: int, timeout: float) -> Stop:
        """Do what `run_until` does by the server's own commands: neither GDB nor a front end learns that it ran."""

        def ask(command: str) -> str:
            try:
                with lost_told(), heard_when_stuck():
                    return run(f"monitor {command}")
            except gdb.error as error:
                raise CommandRefused(f"GDB refused it: {error}", command=command, reply=str(error)) from error

        def heed() -> None:
            if interrupted():
                raise KeyboardInterrupt

        try:
            halted = run_core(ask, timeout, heed)
        finally:
            with contextlib.suppress(ConnectionLost):  # the first error says it
                self.forget_registers()
        pc = self.read_registers(["pc"])["pc"] & ~1
        return stop_of(halted=halted, pc=pc, address=address)

    def _go(self, command: str, bounds: Bounds) -> None:
        """Run a command that lets the core go, until it halts."""
        self._signal = ""
        try:
            with bounds:
                self.take(command, quiet=not _SPEAKS_MI)
        finally:
            thread = gdb.selected_thread()
            if thread is not None and thread.is_running():
                raise ConnectionLost(
                    "The core did not halt; the GDB server or the probe hangs: restart it and power-cycle the board."
                )
        if gdb.selected_thread() is None:
            raise connection_lost("the program exited")

    def _on_stop(self, event: Any) -> None:
        # GDB names the signal of a SignalEvent; a plain StopEvent is a SIGTRAP that none of its breakpoints explains.
        plain = "" if isinstance(event, gdb.BreakpointEvent) else "SIGTRAP"
        self._signal = str(getattr(event, "stop_signal", plain))

    def _set_breakpoint(self, address: int) -> None:
        if self._breakpoint is not None and self._address == address:
            return
        self._drop_breakpoint()
        self._address = address
        place = f"*{address:#x}"
        try:
            with lost_told():
                self._breakpoint = gdb.Breakpoint(place, internal=True)
        except (gdb.error, ConnectionLost) as error:
            # It exists all the same, where only its insertion failed.
            for each in gdb.breakpoints():
                if each.number < 0 and each.location == place:
                    each.delete()
            if isinstance(error, ConnectionLost):
                raise
            raise CommandRefused(
                f"No breakpoint can be set at {address:#010x}: {error}", command="break", reply=str(error)
            ) from error
        self._breakpoint.silent = True

    def _drop_breakpoint(self) -> None:
        gone, self._breakpoint = self._breakpoint, None
        if gone is None or not gone.is_valid():
            return
        try:
            gone.delete()
        except gdb.error as error:
            if gone.is_valid():  # GDB has it still, although the server cannot be told
                gone.delete()
            raise connection_lost(str(error)) from error

    def _arrive(self, pc: int) -> None:
        """Halt at the user's PC by running there, before the registers are put back.

        GDB steps off a breakpoint only where it saw the core stop: with PC merely written, `continue` would hit the
        user's breakpoint at PC once more. So one instruction, a BX LR on the return word, is stepped.
        """
        self._ran = False
        self._drop_breakpoint()
        kept = self.read_memory(self._address, len(_BX_LR))
        self.write_memory(self._address, _BX_LR)
        try:
            self._core.write({"lr": pc | 1, "pc": self._address, "xpsr": _THUMB})
            self._go("stepi", Bounds(STEP_TIMEOUT * self._patience, listen=False, mute=not _SPEAKS_MI))
            arrived = self.read_registers(["pc"])["pc"] & ~1 == pc
        except TargetError:
            arrived = False
        finally:
            self.write_memory(self._address, kept)
        if not arrived:
            self.remarks.append(f"A breakpoint at 0x{pc:08X} will be hit once more before the program goes on.")

    # Reset, and what only the server can do

    def reset_and_halt(self) -> None:
        """Reset the MCU and leave it halted before its first instruction; raises PrepareError."""
        self._disturb()
        self._session.is_current = False  # there is no program any more to come back to
        corereset.reset_and_halt(self, self.profile)

    def reset_and_run(self, others: Iterable[str] = ()) -> None:
        """Reset the MCU. The user's GDB holds the core at its first instruction, where `continue` starts it.

        The others run, each as after a reset.
        """
        self.reset_and_halt()
        halted = {each.name for each in self.other_cores() if each.state is CoreState.HALTED}
        for name in halted & {*others}:
            self._give_back(partial(self.let_core_go, name))

    def resume(self) -> None:
        """Let the core go on from PC, with the user's breakpoints set, as soon as the target is closed."""
        self._runs_on = True

    def flash_regions(self) -> tuple[FlashRegion, ...]:
        """List the internal flash that the server says it programs; empty where it says nothing."""
        return flash_regions_in(self.take("info mem"))

    def load(self, hex_text: str, size: int) -> None:  # noqa: ARG002  # GDB waits as long as it takes
        """Have GDB load an Intel HEX file, flash by the server's means; raises CommandRefused.

        Ctrl-C raises KeyboardInterrupt within `interruptible`. The session begins at the program's entry afterwards.
        """
        self._disturb()
        self._session.is_current = False
        with self._wire.file("load.hex", hex_text.encode("ascii")) as path:
            try:
                self.take(f"load {path}")
            except CommandRefused as error:
                if _CANCELLED in str(error.data["reply"]):
                    raise KeyboardInterrupt from None
                raise
        self.forget_registers()

    def monitor(self, command: str) -> str:
        """Pass a command to the server and return what it printed; raises CommandRefused."""
        self._disturb()
        said = self.take(f"monitor {command}")
        self.forget_registers()
        return said

    def _disturb(self) -> None:
        self._disturbances += 1
        self._ends.forget()
        self._drop_breakpoint()

    def take(self, step: str, *, quiet: bool = True) -> str:
        """Run a GDB command and return what it printed, if quiet; raises CommandRefused, ConnectionLost."""
        try:
            asks = step.startswith("monitor ")
            lasts = asks or step.startswith("load ")
            with lost_told(), interrupts_heard() if lasts and self._interruptible else contextlib.nullcontext():
                said = run(step) if quiet else str(gdb.execute(step))
        except gdb.error as error:
            raise CommandRefused(f"GDB refused {step}: {error}", command=step, reply=str(error)) from error
        if asks and UNKNOWN_COMMAND.match(said):
            said = " ".join(said.split())
            raise CommandRefused(f"The {self.profile.title} refused `{step}`: {said}", command=step, reply=said)
        return said

    def close(self) -> None:
        """Give the session back; the core stays as it is. Never raises."""
        if self._closed:
            return
        self._closed = True
        gdb.events.stop.disconnect(self._on_stop)
        self._session.is_current &= not self._is_loaders
        connected = gdb.selected_inferior().pid != 0
        try:
            with contextlib.suppress(ConnectionLost):
                self._give_back(self._drop_breakpoint)
            self._give_back(self._wire.close)
            self.remarks += self._session.restore()
            self._give_back(lambda: self._go_on(connected=connected))
        finally:
            release_interrupts()

    def _give_back(self, step: Callable[[], object]) -> None:
        """Take one step of giving the session back; what hinders it is told at the end, and hinders no other."""
        try:
            step()
        except ConnectionLost:
            raise
        except (GdbflashError, gdb.error, OSError) as error:
            self.remarks.append(f"The session could not be given back as it was: {error}")

    def _go_on(self, *, connected: bool) -> None:
        """Let the core run where that was asked for."""
        if connected and gdb.selected_inferior().pid == 0:
            self.remarks.append(f"The session could not be given back as it was: {connection_lost('at the end')}")
        elif self._runs_on:
            self.take("continue &")
