"""`MiTarget`: a microcontroller reached through gdb's MI.

What belongs here: which GDB commands a target's operations are, and what their answers mean. The counts of
packets in comments are those of the remote serial protocol, seen with `set debug remote 1` in GDB 13 and 18.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from gdbflash.errors import CommandRefused, ConnectionLost, GdbflashError, MemoryAccessError, OutputError, PrepareError
from gdbflash.mi.client import MiClient, Record
from gdbflash.mi.memory import MiWire
from gdbflash.mi.return_point import ReturnPoint
from gdbflash.mi.values import instructions_in, pc_in, registers_in
from gdbflash.runlog import Trace
from gdbflash.servers import reset as corereset
from gdbflash.servers import tcl
from gdbflash.servers.cores import CoresOfServer
from gdbflash.servers.memory_map import flash_regions_in
from gdbflash.servers.memory_proof import ProvenMemory
from gdbflash.servers.monitored_run import EndsInMemory, run_core, stop_of
from gdbflash.servers.profiles import UNKNOWN_COMMAND, ServerProfile, Steps, parse_work_area
from gdbflash.target import (
    Beside,
    Capabilities,
    FlashRegion,
    Instruction,
    ReadBeside,
    Stop,
    StopReason,
    register_name,
)
from gdbflash.transfers import fill

LOAD_TIMEOUT, LOAD_BYTES_PER_SECOND = 60.0, 4096
"""Base time-out in seconds of GDB's `load`, with some erases; and what the slowest link and flash carry."""
RESET_TIMEOUT = 20.0
"""Seconds for a monitor command; a reset through a slow probe with its scripts takes a few."""
START_WAIT = 0.05
"""Seconds for OpenOCD to let the core run; one that has halted again by then is not waited for longer."""
HALT_TIMEOUT = 5.0
"""Seconds for a running core to halt after the interrupt; OpenOCD polls every 0.1 s."""

_THIS_HOST = ("127.0.0.1", "localhost", "[::1]")
"""Where OpenOCD sees the files that we write."""


class MiTarget(CoresOfServer):
    """A target behind a GDB server; implements `target.Target`."""

    def __init__(self, client: MiClient, profile: ServerProfile, supported: str, place: str = "") -> None:
        """Take over a client that is connected; `connect.connect` is the way to make one."""
        self._client = client
        self.profile = profile
        self.supported = supported
        self._place = place
        self._memory = ProvenMemory(MiWire(client), profile)
        self._numbers: dict[str, int] = {}
        self._return = ReturnPoint(client)
        self._ends = EndsInMemory(self.read_memory)
        self._disturbances = 0
        self._released = False
        self._tcl: tcl.TclTarget | None = None
        self._loads = False  # OpenOCD reads our files
        self._work_area: range | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What this debugger and server can do."""
        return Capabilities(
            server=self.profile.name,
            registers=frozenset(self._numbers),
            memory_while_running=self._tcl is not None,
            moves_beside=self._tcl is not None and self._loads,
            work_area=self._work_area,
            lets_core_go=self.profile.lets_core_go,
            place=self._place,
        )

    def use_tcl(self, host: str, port: int, trace: Trace | None = None) -> None:
        """Use OpenOCD's Tcl port from now on; raises ServerMissing unless it is the same OpenOCD's."""
        self._tcl = tcl.find(host, port, lambda command: self.take(f"monitor {command}"), trace, self._client.patience)
        self._loads = host in _THIS_HOST

    @property
    def gdb_version(self) -> str:
        """What gdb calls itself."""
        return self._client.version

    @property
    def gdb_pid(self) -> int:
        """Process id of gdb."""
        return self._client.pid

    @property
    def gdb_directory(self) -> Path:
        """Private working directory of gdb."""
        return self._client.directory

    @property
    def disturbances(self) -> int:
        """Count resets and monitor commands since the connection was made."""
        return self._disturbances

    # Memory

    def read_memory(self, address: int, size: int) -> bytes:
        """Read size bytes; raises MemoryAccessError when any of them cannot be read."""
        self._return.before_read(address, size)
        try:
            return self._memory.read(address, size)
        except MemoryAccessError:
            self._check_core()
            raise

    def write_memory(self, address: int, data: bytes) -> None:
        """Write bytes; raises MemoryAccessError when the server reports that any could not be written."""
        self._return.before_write(address, len(data))
        self._ends.written(address, len(data))
        try:
            self._memory.write(address, data)
        except MemoryAccessError:
            self._check_core()
            raise

    def disassemble(self, address: int, size: int) -> tuple[Instruction, ...]:
        """Disassemble the Thumb instructions that begin in size bytes; raises CommandRefused."""
        self._return.before_read(address, size)
        reply = self._client.command(f"-data-disassemble -s {address:#x} -e {address + size:#x} -- 0")
        return instructions_in(reply.payload)

    # Registers

    def read_registers(self, names: Iterable[str]) -> dict[str, int]:
        """Read registers by name; raises CommandRefused for a name that is not in capabilities."""
        numbers = {name: self._number(name) for name in names}
        if not numbers:
            return {}
        wanted = " ".join(map(str, numbers.values()))
        reply = self._client.command(f"-data-list-register-values --skip-unavailable x {wanted}")
        found = registers_in(reply.payload)
        missing = [name for name, number in numbers.items() if number not in found]
        if missing:
            raise CommandRefused(
                f"The server does not give the value of {', '.join(missing)}; is the core halted?",
                command="read registers",
                reply="unavailable",
            )
        return {name: found[number] for name, number in numbers.items()}

    def write_registers(self, values: Mapping[str, int]) -> None:
        """Write registers, in the order given; raises CommandRefused for a name that is not in capabilities.

        All in one command: GDB sends a packet for each value that changes, and none for the others.
        """
        for name in values:
            self._number(name)
        rest = dict(values)
        if "control" in rest and "sp" in rest:
            # CONTROL.SPSEL says which stack pointer `sp` is; GDB's cached sp is another register after a change.
            control = rest.pop("control")
            if self.read_registers(["control"])["control"] != control:
                self._send_registers({"control": control})
                self.forget_registers()
        self._send_registers(rest)

    def _send_registers(self, values: Mapping[str, int]) -> None:
        if values:
            pairs = " ".join(f"{self._numbers[name]} {value & 0xFFFFFFFF:#x}" for name, value in values.items())
            self._client.command(f"-data-write-register-values x {pairs}")

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            raise CommandRefused(
                f"The {self.profile.title} has no register {name}; it has {', '.join(sorted(self._numbers))}.",
                command=name,
                reply="no such register",
            )
        return self._numbers[name]

    def forget_registers(self) -> None:
        """Make GDB forget the registers: something changed them behind its back."""
        try:
            self._client.console("maintenance flush register-cache")
        except CommandRefused:
            self._client.console("flushregs")  # its name before GDB 11

    # Running

    def run_until(self, address: int, timeout: float, beside: Beside | None = None) -> Stop:
        """Let the core run from PC until it reaches address or timeout seconds passed; it is halted on return.

        Halted also when an exception such as KeyboardInterrupt leaves this method. Raises ConnectionLost as
        soon as the server is gone, CommandRefused when the core cannot be started. beside goes through OpenOCD's Tcl
        port; raises CommandRefused where there is none.
        """
        if beside is not None and not self.capabilities.moves_beside:
            raise CommandRefused(
                f"The {self.profile.title} moves no memory while the core runs.", command="load", reply="no Tcl port"
            )
        address &= ~1
        if self._tcl is None and self.profile.runs_by_monitor and self._ends.at(address):
            return self._run_monitored(address, timeout)
        started = False
        came = None
        try:
            self._return.set(address)
            self._client.forget_events()
            started = True
            self._client.command("-exec-continue")
            if beside is not None:
                came = self._move(beside)
            stopped = self._wait_for_stop(timeout)
            reason = StopReason.ELSEWHERE
            if stopped is None:
                stopped, reason = self._halt(), StopReason.TIMEOUT
        except ConnectionLost:
            raise
        except CommandRefused:
            self._check_core()
            raise
        except BaseException:
            if started:
                with contextlib.suppress(GdbflashError):
                    self._halt()
            raise
        pc = self._stopped_at(stopped)
        if pc != address:
            self._check_core()
        signal = stopped.payload.get("signal-name", "")
        if pc == address and reason is not StopReason.TIMEOUT:
            # At the time-out a PC proves nothing: a core that was never started is still where the last call ended.
            reason = StopReason.ARRIVED
        return Stop(reason, pc, str(signal), came)

    def _run_monitored(self, address: int, timeout: float) -> Stop:
        """Do what `run_until` does by the server's own commands, in a fraction of its poll."""
        try:
            halted = run_core(lambda command: self.take(f"monitor {command}"), timeout)
        except ConnectionLost:
            raise
        except CommandRefused:
            self._check_core()
            raise
        except BaseException:
            with contextlib.suppress(GdbflashError):
                self.forget_registers()
            raise
        self.forget_registers()
        pc = self.read_registers(["pc"])["pc"] & ~1
        if pc != address:
            self._check_core()
        return stop_of(halted=halted, pc=pc, address=address)

    def _move(self, beside: Beside) -> bytes | None:
        """Write or read bytes while the core runs, and give what was read; after a failure never again."""
        try:
            if self._tcl is not None:
                # GDB's continue may not have reached OpenOCD yet: the core would stand still meanwhile.
                end = time.monotonic() + START_WAIT
                while not self._tcl.is_running() and time.monotonic() < end:
                    time.sleep(0.001)
                if isinstance(beside, ReadBeside):
                    return self._tcl.dump(beside.address, beside.size, self._client.directory)
                self._tcl.load(beside.address, beside.data, self._client.directory)
        except (
            CommandRefused,
            OutputError,
        ):  # no room for the file, or not OpenOCD's to read or write
            self._loads = False
        except ConnectionLost:
            self._tcl = None
        return None

    def _wait_for_stop(self, timeout: float) -> Record | None:
        """Wait until the core halted; None when timeout seconds passed.

        OpenOCD looks at the core every 0.1 s by itself, and at once when its Tcl port is told so.
        """
        begun = time.monotonic()
        while self._tcl is not None:
            passed = time.monotonic() - begun
            stopped = self._client.wait_event("stopped", min(tcl.poll_pause(passed), max(0.0, timeout - passed)))
            if stopped is not None or passed >= timeout:
                return stopped
            try:
                self._tcl.poll()
            except CommandRefused:  # the core cannot be looked at: OpenOCD will tell GDB, in its own time
                break
            except ConnectionLost:  # the port is gone, and GDB's connection may be all right
                self._tcl = None
        return self._client.wait_event("stopped", max(0.0, begun + timeout - time.monotonic()))

    def _check_core(self) -> None:
        """Tell a core or a memory that does not do as it should from a server that has lost its target.

        Raises ConnectionLost for the latter.
        """
        if not self.profile.read_check:
            return
        try:
            self._client.console(f"{self.profile.read_check} {corereset.DHCSR:#x}")
        except CommandRefused as error:
            raise ConnectionLost(
                f"The {self.profile.title} has lost its target: {error.data['reply']}. "
                "Check the probe, its cable and the board's power, and restart the server.",
                reply=error.data["reply"],
            ) from error

    def _halt(self) -> Record:
        """Halt the running core and return its stop; raises ConnectionLost when there is none."""
        self._client.command("-exec-interrupt")
        seconds = HALT_TIMEOUT * self._client.patience
        stopped = self._client.wait_event("stopped", seconds)
        if stopped is None:
            self._client.silent = True
            raise ConnectionLost(
                f"The core did not halt within {seconds:g} s; the GDB server or the probe hangs: "
                "restart it and power-cycle the board.",
                seconds=seconds,
            )
        return stopped

    def _stopped_at(self, stopped: Record) -> int:
        pc = pc_in(stopped.payload)
        return self.read_registers(["pc"])["pc"] if pc is None else pc

    # Reset, and what only the server can do

    def reset_and_halt(self) -> None:
        """Reset the MCU and leave it halted before its first instruction; raises PrepareError."""
        self._disturb()
        try:
            corereset.reset_and_halt(self, self.profile)
        except PrepareError:
            self._check_core()
            raise

    def reset_and_run(self, others: Iterable[str] = ()) -> None:  # noqa: ARG002  # all cores run after it
        """Reset the MCU and leave it running; the target can only be closed afterwards."""
        self._disturb()
        self._release(self.profile.reset_run)

    def resume(self) -> None:
        """Let the core go on from PC; the target can only be closed afterwards."""
        self._return.drop()
        self._release(self.profile.resume)

    def monitor(self, command: str) -> str:
        """Pass a command to the server and return what it printed; raises CommandRefused."""
        self._disturb()
        said = self.take(f"monitor {command}")
        self.forget_registers()
        return said

    def flash_regions(self) -> tuple[FlashRegion, ...]:
        """List the internal flash that the server says it programs; empty where it says nothing."""
        return flash_regions_in(self._client.console("info mem").console)

    def load(self, hex_text: str, size: int) -> None:
        """Have GDB load an Intel HEX file of size bytes, flash by the server's means; raises CommandRefused."""
        self._disturb()
        path = self._client.directory / "load.hex"
        fill(path, hex_text.encode("ascii"))
        try:
            self._client.console(f"load {path.name}", timeout=LOAD_TIMEOUT + size / LOAD_BYTES_PER_SECOND)
        finally:
            path.unlink(missing_ok=True)
        self.forget_registers()

    def log_packets(self, wanted: bool) -> None:
        """Have GDB tell each packet it sends and receives: they come through the trace."""
        self._client.command(f"-gdb-set debug remote {int(wanted)}")

    def _disturb(self) -> None:
        self._disturbances += 1
        self._ends.forget()
        self._return.drop()

    def take(self, step: str) -> str:
        """Run a command of GDB's prompt and return what it printed; raises CommandRefused, ConnectionLost."""
        reply = self._client.console(step, timeout=RESET_TIMEOUT)
        said = reply.target or reply.console
        if UNKNOWN_COMMAND.match(said):
            said = " ".join(said.split())
            raise CommandRefused(f"The {self.profile.title} refused `{step}`: {said}", command=step, reply=said)
        return said

    def _release(self, steps: Steps) -> None:
        for step in steps:
            try:
                self.take(step)
            except ConnectionLost:
                if step != "detach":  # some servers end at once
                    raise
            except CommandRefused:
                self._check_core()
                raise
            self._released |= step == "detach"

    def close(self) -> None:
        """Give the connection back; the core stays as it is. Never raises."""
        if self._tcl is not None:
            self._tcl.close()
        try:
            if not self._released and not self._client.silent:
                self._released = True
                self._return.drop()
                self._client.command("-target-disconnect", timeout=HALT_TIMEOUT)
                self._client.close()
        except GdbflashError:
            pass
        finally:
            self._client.kill()  # at once, so that gdb's own way of leaving cannot set the core running

    def look_at_core(self) -> None:
        """Attach where the server wants it, and learn the registers; raises PrepareError."""
        try:
            for step in self.profile.attach:
                self.take(step)
            names = self._client.command("-data-list-register-names").payload.get("register-names", [])
            for number, name in enumerate(names):
                plain = register_name(str(name))
                if plain is not None:
                    self._numbers.setdefault(plain, number)
            self.read_registers(["pc", "sp", "lr", "xpsr"])
        except CommandRefused as error:
            raise PrepareError(
                f"The {self.profile.title} shows no halted Cortex-M core: {error.message.rstrip('.?')}. "
                "Is the board powered and the probe wired to it?",
                server=self.profile.name,
            ) from error
        if self.profile.work_area:
            self._ask_for_work_area()

    def _ask_for_work_area(self) -> None:
        try:
            self._work_area = parse_work_area(self.take(self.profile.work_area))
        except CommandRefused as error:
            raise PrepareError(
                f"The server does not answer as {self.profile.title} does: {error.data['reply']}. "
                "Name the right one with --server, or leave it to auto.",
                server=self.profile.name,
            ) from error
