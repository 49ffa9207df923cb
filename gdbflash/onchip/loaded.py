"""One external loader in the target's RAM: put there, proven, initialised, called.

What belongs here: the rules that every loader's use follows, whatever it is used for. `flash.flasher` says what for.
"""

from __future__ import annotations

import enum
import time
from dataclasses import replace
from pathlib import Path

from gdbflash.errors import CallNotMade, ConnectionLost, PlanError, PrepareError, StrayWrite, TargetError
from gdbflash.events import Attendance, Detailed, Noted
from gdbflash.images.content import Content
from gdbflash.loaders.loader import ExternalLoader, need
from gdbflash.onchip import autopsy, evidence, unfinished
from gdbflash.onchip.call import Call, Look, Returned, Unreturned, expect_success, perform
from gdbflash.onchip.device import security
from gdbflash.onchip.device.watchdog import WatchdogCare
from gdbflash.onchip.digest import Key, Routine
from gdbflash.onchip.evidence import LOOK_SECONDS, waits_for_own_tick
from gdbflash.onchip.initialising import Initialising
from gdbflash.onchip.intact import OwnCode, watched
from gdbflash.onchip.kept_registers import lift_stack_limits, put_back_stack_limit
from gdbflash.onchip.layout import PAINT, WORD, Layout, stack_used
from gdbflash.onchip.placement import DeviceIdentity, choose_layout, identify, initial_memory, placed
from gdbflash.onchip.plan_layout import STRAYS
from gdbflash.onchip.prove_ram import Save
from gdbflash.onchip.state import Identity
from gdbflash.options import CallOptions
from gdbflash.plan import timeouts
from gdbflash.plan.borders import read_border, units_of, write_unit
from gdbflash.plan.jobs import EraseStep
from gdbflash.ranges import Range, joined
from gdbflash.target import Beside, Target

_MIB = 1 << 20
_ATTEMPTS = 3
"""How often bytes are read anew that the server may have overwritten."""


class Operation(enum.Enum):
    """Kinds of use: a loader is initialised again at every change from one to another."""

    READ = "read"
    ERASE = "erase"
    BLANK_CHECK = "blank-check"
    WRITE = "write"
    VERIFY = "verify"


class LoadedLoader:
    """A loader whose image lies in the target's RAM and was read back.

    Every method that calls it may raise CallFailed, CallStopped, CallTimeout, MemoryAccessError or ConnectionLost.
    """

    def __init__(
        self,
        target: Target,
        loader: ExternalLoader,
        layout: Layout,
        device: DeviceIdentity,
        options: CallOptions,
        attendance: Attendance,
        folder: Path | None = None,
    ) -> None:
        """folder: for what is remembered of this storage; None: the usual state folder."""
        self.target = target
        self.loader = loader
        self.layout = layout
        self.device = device
        self.routine = Routine(layout.routine, Key.random())
        self._own = OwnCode(layout, self.routine)
        storage = loader.storage
        self.identity = Identity(storage.name, storage.address, storage.extent, device.unit, folder)
        self.calls = 0
        self.filling = 0.0
        """Seconds that it took to put the last call's inputs into RAM."""
        self._options = options
        self._attendance = attendance
        self._operation: Operation | None = None
        self.border = read_border(storage)
        """What the places of Read are multiples of."""
        self.unit = write_unit(storage, layout.buffer.size)
        """What the places of Write are multiples of."""
        self._irq = options.irq
        self._looked_at: set[str] = set()
        self._stack_limit = 0
        self.watchdog = WatchdogCare(target, device.device_id, attendance.observe)
        memory = self._load()
        changed = memory.within(joined((*loader.writable, layout.scratch)))
        self.init = Initialising(self, changed, options, attendance)

    def _load(self) -> Content:
        """Write the image and read it back; raises PrepareError. Gives what lies there."""
        self.watchdog.attend()
        self._stack_limit = lift_stack_limits(self.target, self.layout) or self._stack_limit
        memory = initial_memory(self.loader, self.layout, self.routine)
        self._trusted = self.target.disturbances
        for where in memory.ranges:
            expected = memory.read(where)
            self.target.write_memory(where.address, expected)
            actual = self.target.read_memory(where.address, where.size)
            if actual != expected:
                offset = next(index for index in range(where.size) if actual[index] != expected[index])
                raise PrepareError(
                    f"The loader's image does not stay in RAM: 0x{where.address + offset:08X} holds "
                    f"0x{actual[offset]:02X} instead of 0x{expected[offset]:02X}. "
                    "Check the probe's connection, and that the loader is made for this device.",
                    address=where.address + offset,
                    expected=expected[offset],
                    actual=actual[offset],
                )
        constant = (*self.loader.code, *self._own.ranges)
        watch = watched(self.target.capabilities.work_area, constant)
        self._watched = (watch, memory.read(watch)) if watch else None
        self._operation = None
        return memory

    def give_back_limit(self) -> None:
        """Set the stack limit that the program had and the server does not show; before RAM is put back."""
        limit, self._stack_limit = self._stack_limit, 0
        put_back_stack_limit(self.target, self.layout, limit)

    def load_after_reset(self) -> None:
        """Reset the target, and put the loader into RAM again; raises PrepareError."""
        self.target.reset_and_halt()
        self._stack_limit = 0
        self._load()

    def was_overwritten(self) -> bool:
        """Tell whether the server has run code where the loader lies, as another of its clients may ask it to."""
        if self._watched is None:
            return False
        where, expected = self._watched
        return self.target.read_memory(where.address, where.size) != expected

    def _load_again(self) -> None:
        self._attendance.observe(
            Noted("reloaded", "The loader was loaded again: its RAM may have been used by the server.")
        )
        self._load()
        self.init.done = False

    def begin(self, operation: Operation) -> None:
        """Make the loader ready for one kind of use, by Init where the kind changes.

        Raises CallFailed.
        """
        if self.target.disturbances != self._trusted or self.was_overwritten():
            self._load_again()
        if operation is self._operation:
            return
        self._operation = None
        self.init.initialise()
        self.check_own_code("Init")
        self._operation = operation

    def call(
        self,
        call: Call,
        *inputs: tuple[int, bytes],
        there: tuple[int, bytes] | None = None,
        beside: Beside | None = None,
    ) -> Returned:
        """Perform one call as it stands, its time-out scaled, with the bytes of inputs at their addresses.

        there: another input, which lies in RAM already if nobody has used it meanwhile. beside: what is moved to or
        from memory while it runs.
        """
        self._attendance.check()
        self.watchdog.refresh()
        self._fill(inputs)
        if self.was_overwritten():
            operation = self._operation
            self._load_again()
            if operation is not None:
                self.begin(operation)
            self._fill(inputs if there is None else (there, *inputs))
        self.calls += 1
        scaled = replace(call, timeout=call.timeout * self._options.timeout_scale)
        try:
            look = self._look(call.function)
            outcome = perform(self.target, scaled, self.layout, irq=self._irq, look=look, beside=beside)
        except ConnectionLost as error:
            raise autopsy.lost(scaled, error) from error
        except CallNotMade:
            self.check_own_code(scaled.function)
            raise
        if isinstance(outcome, Unreturned):
            self.check_own_code(scaled.function)
            raise autopsy.explain(
                evidence.gather(self.target, scaled, outcome, self.layout, self.loader, self.device.device_id)
            )
        self._attendance.observe(
            Detailed(
                "call",
                f"{scaled} returned 0x{outcome.r0:X} in {outcome.seconds * 1000:.1f} ms.",
                {
                    "function": scaled.function,
                    "arguments": list(scaled.arguments),
                    "r0": outcome.r0,
                    "r1": outcome.r1,
                    "call_seconds": round(outcome.seconds, 6),
                },
            )
        )
        return outcome

    def _look(self, function: str) -> Look | None:
        """Give what to look at in the middle of a long call: once for each function, while interrupts are masked."""
        if self._irq or function in self._looked_at or "primask" not in self.target.capabilities.registers:
            return None

        def act() -> None:
            self._looked_at.add(function)
            if waits_for_own_tick(self.target, self.loader):
                self._irq = True
                self.target.write_registers({"primask": 0})
                self._attendance.observe(
                    Noted(
                        "own-interrupt",
                        f"{function} waits for the SysTick interrupt of its own vector table: interrupts are let in "
                        "from now on, as with --irq.",
                        {"function": function},
                    )
                )

        return Look(LOOK_SECONDS, act)

    def check_own_code(self, function: str) -> None:
        """See that the code of ours is what it was; raises StrayWrite.

        Where the server has used this RAM, the next look at what it overwrites has the loader loaded again.
        """
        try:
            self._own.check(self.target, function)
        except StrayWrite:
            if not self.was_overwritten():
                raise

    def _fill(self, inputs: tuple[tuple[int, bytes], ...]) -> None:
        begun = time.monotonic()
        for address, data in inputs:
            self.target.write_memory(address, data)
        self.filling = time.monotonic() - begun

    def _succeed(self, function: str, arguments: tuple[int, ...], timeout: float) -> None:
        call = Call(function, need(self.loader, function), arguments, timeout)
        expect_success(call, self.call(call))

    @property
    def chunk(self) -> int:
        """The most that one Write or Read call can move."""
        return self.layout.buffer.size

    def write(
        self, address: int, data: bytes, *, place: int | None = None, beside: Beside | None = None
    ) -> Returned | None:
        """Program up to `chunk` bytes, put at place in the buffer before; beside is written into RAM while it runs.

        RAM-type storage without Write is written through its window (None).
        """
        if self.loader.storage.is_ram and "Write" not in self.loader.functions:
            self.target.write_memory(address, data)
            return None
        buffer = self.layout.buffer.address if place is None else place
        call = self._write_call(address, len(data), buffer)
        returned = self.call(call, (buffer, data), beside=beside)
        expect_success(call, returned)
        return returned

    def write_if_held(self, address: int, data: bytes, place: int, beside: Beside | None) -> bool:
        """Program data if the target finds, by digests, that place in the buffer holds it already; returns whether."""
        call = self._write_call(address, len(data), place)
        checked = self.routine.checked(call, place, data)
        returned = self.call(checked.call, checked.inputs, there=(place, data), beside=beside)
        outcome = checked.outcome
        if returned.r0 == 0 and not checked.held(self.target.read_memory(outcome.address, outcome.size)):
            return False
        expect_success(call, returned)
        return True

    def _write_call(self, address: int, size: int, buffer: int) -> Call:
        seconds = timeouts.writing(size, self.loader.storage.page_size)
        return Call("Write", need(self.loader, "Write"), (address, size, buffer), seconds)

    def read(self, where: Range) -> bytes:
        """Read up to `slice` bytes through Read where there is one, else from the mapped window."""
        if "Read" not in self.loader.functions:
            return self.target.read_memory(where.address, where.size)
        buffer = self.layout.buffer.address
        (whole,) = units_of((where,), self.border)
        # A Read that does nothing and says 1 must not show what Write left in the buffer.
        paint = PAINT * min(4 + self.border // WORD, -(-whole.size // WORD))
        arguments = (whole.address, whole.size, buffer)
        call = Call("Read", need(self.loader, "Read"), arguments, timeouts.reading(whole.size))
        wanted = Range(buffer + where.address - whole.address, where.size)
        returned, data = self.call_for_results(call, paint, buffer, wanted)
        expect_success(call, returned)
        return data

    def call_for_results(
        self, call: Call, data: bytes, place: int, where: Range, beside: Beside | None = None
    ) -> tuple[Returned, bytes]:
        """Perform one call with data at place, and take what it leaves in RAM; once more where others came between."""
        for _ in range(_ATTEMPTS):
            try:
                returned = self.call(call, (place, data), beside=beside)
            except CallNotMade:
                if not self.was_overwritten():
                    raise
                continue  # what the call left may have been overwritten too
            results = self.target.read_memory(where.address, where.size)
            if not self.was_overwritten():
                return returned, results
        raise TargetError(
            f"What {call.function} left at {where} could not be read: another client of the "
            f"{self.target.capabilities.server} server keeps running code in the loader's RAM. Close it, or leave it "
            f"alone meanwhile.{call.at_last}",
            address=where.address,
            size=where.size,
        )

    @property
    def slice(self) -> int:
        """How much to read at a time."""
        return self.chunk - 2 * self.border if "Read" in self.loader.functions else _MIB

    def erase(self, step: EraseStep) -> None:
        """Erase the sectors of one step."""
        self._succeed("SectorErase", (step.first, step.last), timeouts.erasing(step.sectors))

    def mass_erase(self) -> None:
        """Erase the whole storage."""
        seconds = timeouts.erasing_all(self.loader.storage)
        self._attendance.check()  # before it is noted that it may go on
        with unfinished.noted(self.identity, seconds * self._options.timeout_scale):
            self._succeed("MassErase", (0,), seconds)

    def verifies(self, address: int, data: bytes) -> bool:
        """Ask the loader's Verify whether whole, aligned words hold data, and believe it only with its checksum.

        One template answers "same" when it failed to map the memory; the byte sum in r1 gives it away.
        """
        if address % WORD or len(data) % WORD:
            raise PlanError(f"Verify compares whole words, not {len(data)} bytes at 0x{address:08X}.")
        buffer = self.layout.buffer.address
        arguments = (address, buffer, len(data) // WORD, 0)
        call = Call("Verify", need(self.loader, "Verify"), arguments, timeouts.reading(len(data)))
        returned = self.call(call, (buffer, data))
        return returned.r0 == 0 and returned.r1 == sum(data) & 0xFFFFFFFF

    def stack_used(self) -> int:
        """Count the bytes of stack that calls have used so far, by the paint that is left."""
        stack = self.target.read_memory(self.layout.stack.address, self.layout.stack.size)
        return stack_used(stack)

    def check_guards(self) -> None:
        """Note a stack that ran out or a guard word behind a buffer or behind all that was overwritten."""
        behind_buffer, behind_all = (each.address for each in self.layout.guards)
        for name, address in (("stack", self.layout.stack.address), ("buffer", behind_buffer), ("ram", behind_all)):
            if self.target.read_memory(address, WORD) != PAINT:
                self._attendance.observe(
                    Noted(
                        f"{name}-overrun",
                        f"The loader wrote beyond its {name} (canary at 0x{address:08X} is gone): "
                        "its results cannot be relied on.",
                        {"address": address},
                    )
                )


def raw_call(loader: ExternalLoader, function: str, arguments: tuple[int, ...]) -> Call:
    """Make a call as somebody typed it, with the time-out of its function; raises PlanError where that is lacking."""
    address = need(loader, function)
    return Call(function, address, arguments, timeouts.of_function(loader.storage, function, arguments))


def load(
    target: Target,
    loader: ExternalLoader,
    options: CallOptions,
    attendance: Attendance,
    save: Save | None = None,
    folder: Path | None = None,
) -> LoadedLoader:
    """Put a loader into the RAM of a halted target; folder: for what is remembered of its storage.

    Raises PlanError when the RAM does not suffice, PrepareError when it does not hold the image, ConnectionLost.
    """
    device, layout = find_room(target, loader, options, save)
    attendance.observe(placed(device, layout))
    side = security.look(target)
    if side is not None:
        attendance.observe(Detailed("trustzone", side.in_words, {"secure_debug": side.secure_debug}))
    if layout.strays.size < STRAYS:
        attendance.observe(
            Noted(
                "strays-short",
                f"RAM is short: {layout.strays.size} bytes instead of {STRAYS} stay free behind the loader, as some "
                "write there without declaring it.",
                {"size": layout.strays.size},
            )
        )
    try:
        return LoadedLoader(target, loader, layout, device, options, attendance, folder)
    except TargetError as error:
        raise _not_loaded(error) from error


def find_room(
    target: Target, loader: ExternalLoader, options: CallOptions, save: Save | None = None
) -> tuple[DeviceIdentity, Layout]:
    """Find out which device this is and where in its RAM a loader goes; raises as `load` does."""
    try:
        device = identify(target, loader.link_address)
        return device, choose_layout(target, loader, device, options, save)
    except TargetError as error:
        raise _not_loaded(error) from error


def _not_loaded(error: TargetError) -> PrepareError:
    return PrepareError(
        f"The loader could not be put into RAM: {error.message} Check that the target is halted and powered.",
        **error.data,
    )
