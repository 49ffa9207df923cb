"""What can be seen on a core whose call did not return, gathered before anything else runs there.

What belongs here: the looks at the target, and the value that holds what they found. What it means is said by
`autopsy`. A look that fails leaves a gap and a remark: the call's failure is the error, not the look's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from gdbflash.errors import ConnectionLost, GdbflashError, MemoryAccessError
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.onchip import faults
from gdbflash.onchip.call import Call, Unreturned
from gdbflash.onchip.device import watchdog
from gdbflash.onchip.faults import ExceptionReturn, Frame
from gdbflash.onchip.layout import PAINT, WORD, Layout, stack_left, stack_used
from gdbflash.ranges import Range
from gdbflash.target import Instruction, Stop, StopReason, Target

SAMPLES = 10
SAMPLE_SECONDS = 0.02
"""A loop that polls a flag takes microseconds, a page of a NOR chip up to 3 ms: 0.2 s show either many times."""
_CORE = (*(f"r{number}" for number in range(13)), "sp", "lr", "pc", "xpsr", "primask", "control")
_LOAD = re.compile(r"ldr\S*\s+r\d+(?:,\s*r\d+)?,\s*\[(r\d+)(?:,\s*#(\d+))?\]")
"""A load through a register, as GDB shows it: `ldr r3, [r2, #4]`."""
_MOST_VARIABLES = 16
_NEAR = 256
"""Bytes from the start of a function within which disassembling from there shows the code before PC as it is."""
_BEFORE, _AFTER = 3, 2
"""Instructions shown before and behind the one at PC."""
_PUSHED = 128
"""Bytes that a handler may have pushed on top of the frame: all registers and some variables."""
_CODE = 8
"""Bytes on each side of PC that are compared with the loader's file."""

_T = TypeVar("_T")

LOOK_SECONDS = 1.0
"""After so long a call is halted once to see whether it waits for its own SysTick."""
_ICSR, _VTOR, _SYST_CSR = 0xE000ED04, 0xE000ED08, 0xE000E010
_SYSTICK = 15
_PENDSTSET, _TICKINT_AND_ENABLE = 1 << 26, 0b11


@dataclass(frozen=True)
class Evidence:
    """What was seen; None and empty where it could not be looked at."""

    call: Call
    stop: Stop
    seconds: float
    layout: Layout
    loader: ExternalLoader
    registers: dict[str, int] = field(default_factory=dict)
    fault_registers: dict[str, int] = field(default_factory=dict)
    pending_handler: int | None = None
    """Where the handler of the pending exception lies, by the vector table."""
    exception_return: ExceptionReturn | None = None
    frame: Frame | None = None
    code: bytes = b""
    """The four bytes at `place`."""
    overwritten: bool = False
    """The code round `place` is not what the loader's file has there."""
    disassembly: tuple[Instruction, ...] = ()
    stack_used: int | None = None
    stack_left: int = 0
    """Bytes of the longest stretch of the stack that nobody wrote to."""
    canary_lives: bool | None = None
    behind: int = 0
    """Bytes from the loader's end on that were written to, without a gap; 0 where the stack is not behind it."""
    samples: tuple[int, ...] = ()
    """PC at some moments after the time was up."""
    pointers: frozenset[int] = frozenset()
    """Where the loads round those PCs read, as far as registers told."""
    unchanging: tuple[tuple[int, int], ...] = ()
    """Addresses of the loader's variables that registers pointed to then, with values that stayed the same."""
    late_result: int | None = None
    """r0 of a call that returned while samples were taken."""
    watchdog_hit: bool = False
    """The core is in no code of the loader, and the device says that its independent watchdog has reset it."""
    remarks: tuple[str, ...] = ()
    lost: ConnectionLost | None = None
    """Why nothing more could be looked at."""

    @property
    def exception(self) -> int:
        """The number of the exception whose handler the core is in; 0 in Thread mode."""
        return self.registers.get("xpsr", 0) & faults.IPSR

    @property
    def bits(self) -> frozenset[str]:
        """The fault bits of the exception; those of an earlier fault count for nothing in Thread mode."""
        return faults.all_bits(self.fault_registers) if self.exception else frozenset()

    @property
    def place(self) -> int:
        """The address where the call came to its end: the stacked PC, where an exception was taken."""
        return self.stop.pc if self.frame is None else self.frame.pc & ~1

    @property
    def place_known(self) -> bool:
        """Tell whether `place` is that of the call, not that of the handler of an exception whose frame is missing."""
        return not self.exception or self.frame is not None

    @property
    def caller(self) -> int | None:
        """LR at that place."""
        return self.registers.get("lr") if self.frame is None else self.frame.lr

    @property
    def stack_pointer(self) -> int | None:
        """SP at that place."""
        if self.frame is not None and self.exception_return is not None:
            return self.frame.stack_pointer(self.exception_return)
        return self.registers.get("sp")


class _Looks:
    """Looks at the target of which none may fail."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.remarks: list[str] = []
        self.lost: ConnectionLost | None = None

    def take(self, what: str, look: Callable[[], _T], otherwise: _T) -> _T:
        if self.lost:
            return otherwise
        try:
            return look()
        except GdbflashError as error:
            self.lost = error if isinstance(error, ConnectionLost) else None
            self.remarks.append(f"{what} could not be looked at: {error.message}")
            return otherwise

    def memory(self, what: str, address: int, size: int) -> bytes:
        return self.take(what, lambda: self.target.read_memory(address, size), b"")

    def registers(self) -> dict[str, int]:
        known = self.target.capabilities.registers
        return self.take(
            "The registers", lambda: self.target.read_registers(each for each in _CORE if each in known), {}
        )

    def fault_registers(self, exception: int) -> dict[str, int]:
        found = self._words(faults.ADDRESSES)
        return {**found, **(self._words(faults.SECURE_ADDRESSES) if faults.may_be_secure(exception, found) else {})}

    def _words(self, places: Mapping[str, int]) -> dict[str, int]:
        read = {name: self.memory(name, address, WORD) for name, address in places.items()}
        return {name: int.from_bytes(value, "little") for name, value in read.items() if value}


def gather(
    target: Target,
    call: Call,
    unreturned: Unreturned,
    layout: Layout,
    loader: ExternalLoader,
    device_id: int | None = None,
) -> Evidence:
    """Look at a halted core whose call did not return; device_id: DEV_ID, where it is known.

    Lets the core go on for short times when the call's time was up; it is halted afterwards, and nothing else of it is
    changed. Raises nothing of gdbflash.
    """
    looks = _Looks(target)
    seen = Evidence(call, unreturned.stop, unreturned.seconds, layout, loader, looks.registers())
    seen = replace(seen, fault_registers=looks.fault_registers(seen.exception))
    pending = faults.pending_exception(seen.fault_registers)
    if pending and not seen.exception:
        handler = looks.take("The vector table", lambda: handler_of(target, pending), -1)
        seen = replace(seen, pending_handler=handler if handler >= 0 else None)
    seen = _with_frame(looks, seen)
    seen = _with_code(looks, seen)
    if not any(seen.stop.pc in each for each in (*loader.owned, layout.entry, layout.routine)):
        hit = looks.take("The reset flags", lambda: watchdog.has_hit(target, device_id), False)
        seen = replace(seen, watchdog_hit=hit)
    stack = looks.memory("The stack", layout.stack.address, layout.stack.size)
    if stack:
        seen = replace(
            seen,
            stack_used=stack_used(stack),
            stack_left=stack_left(stack),
            canary_lives=stack.startswith(PAINT),
            behind=_written_behind(looks, seen, stack),
        )
    if unreturned.stop.reason is StopReason.TIMEOUT and not _is_over(seen):
        seen = looks.take("Where the core goes on", lambda: _with_samples(target, seen), seen)
    return replace(seen, remarks=tuple(looks.remarks), lost=looks.lost)


def _written_behind(looks: _Looks, seen: Evidence, stack: bytes) -> int:
    """Count the bytes that were written from the end of what lies below the stack, up to the first paint."""
    strays = seen.layout.strays
    if stack.startswith(PAINT) or strays.end != seen.layout.stack.address:
        return 0
    data = looks.memory("The RAM behind the loader", strays.address, strays.size) + stack
    place = data.find(PAINT * 4)
    return place if place >= 0 else len(data)


def _is_over(seen: Evidence) -> bool:
    """Tell whether letting the core go on can show nothing: it spins in the handler of its fault."""
    return seen.exception in faults.FAULTS or faults.is_locked_up(seen.stop.pc)


def _with_frame(looks: _Looks, seen: Evidence) -> Evidence:
    returning = faults.decode_exception_return(seen.registers.get("lr", 0)) if seen.exception else None
    if returning is None or seen.bits & {"STKERR", "MSTKERR"}:  # not pushed, or not whole
        return seen
    name = ("psp" if returning.process_stack else "msp") + returning.other_bank
    # In a handler `sp` is MSP, which not every server names.
    name = name if name in looks.target.capabilities.registers else "sp" if name == "msp" else ""
    if not name:
        return replace(seen, exception_return=returning)
    pointer = looks.take(name, lambda: looks.target.read_registers([name])[name], 0)
    frame = _find_frame(looks, pointer + returning.offset, returning, seen.bits) if pointer else None
    return replace(seen, exception_return=returning, frame=frame)


def _find_frame(looks: _Looks, pointer: int, returning: ExceptionReturn, bits: frozenset[str]) -> Frame | None:
    """Find the frame at a stack pointer, or above what the handler pushed meanwhile, as firmware's own do."""
    data = looks.memory("The stacked frame", pointer, faults.FRAME_SIZE)
    if not data:
        return None
    frame = faults.decode_frame(pointer, data)
    if faults.is_plausible(frame, returning, bits):
        return frame
    data += looks.memory("The stack above the frame", pointer + faults.FRAME_SIZE, _PUSHED)
    for offset in range(WORD, len(data) - faults.FRAME_SIZE + 1, WORD):
        frame = faults.decode_frame(pointer + offset, data[offset : offset + faults.FRAME_SIZE])
        if faults.is_plausible(frame, returning, bits):
            return frame
    return None


def _with_code(looks: _Looks, seen: Evidence) -> Evidence:
    loader, place = seen.loader, seen.place
    mine = [Range(each.address, each.memory_size) for each in loader.load_segments]
    if not any(place in each for each in (*mine, seen.layout.entry, seen.layout.routine)):
        return seen  # what lies elsewhere is not ours to read: a peripheral's register may change by it
    code = looks.memory("The code", place, 4)
    near = [each.address for each in loader.symbols if each.address <= place < each.address + _NEAR]
    nothing: tuple[Instruction, ...] = ()
    start = max(near, default=place)
    instructions = looks.take("The code", lambda: _instructions_round(looks.target, start, place), nothing)
    segment = next((each for each in loader.load_segments if each.holds(place)), None)
    if segment is None:
        return replace(seen, code=code, disassembly=instructions)
    first = max(segment.address, place - _CODE)
    wanted = bytes(segment.data[first - segment.address : place + _CODE - segment.address])
    found = looks.memory("The code", first, len(wanted))
    return replace(seen, code=code, disassembly=instructions, overwritten=bool(found) and found != wanted)


def _instructions_round(target: Target, start: int, place: int) -> tuple[Instruction, ...]:
    found = target.disassemble(start, place + 12 - start)
    addresses = [each.address for each in found]
    if place not in addresses:  # data between the start and here
        return target.disassemble(place, 12)[: 1 + _AFTER]
    index = addresses.index(place)
    return found[max(0, index - _BEFORE) : index + _AFTER + 1]


def _with_samples(target: Target, seen: Evidence) -> Evidence:
    samples, pointers = [seen.stop.pc], _pointers(target, seen, seen.stop.pc)
    before: dict[int, int] = {}
    for left in reversed(range(SAMPLES - 1)):
        if left == 0:  # the core goes on once more: what is the same afterwards stays the same
            before = _variables(target, seen.loader, pointers)
        stop = target.run_until(seen.layout.return_address, SAMPLE_SECONDS)
        if stop.reason is StopReason.ARRIVED:
            return replace(seen, samples=tuple(samples), late_result=target.read_registers(["r0"])["r0"])
        samples.append(stop.pc)
        if stop.reason is StopReason.ELSEWHERE:
            break
        pointers |= _pointers(target, seen, stop.pc)
    after = {address: _word(target, address) for address in before}
    unchanging = tuple(sorted(before.items() & after.items()))
    return replace(seen, samples=tuple(samples), pointers=frozenset(pointers), unchanging=unchanging)


def _pointers(target: Target, seen: Evidence, place: int) -> set[int]:
    """Say where the loads round a place read; loads relative to PC and SP are of constants and of its own stack."""
    if not any(place in each for each in seen.loader.owned):
        return set()
    near = [each.address for each in seen.loader.symbols if each.address <= place < each.address + _NEAR]
    around = _instructions_round(target, max(near, default=place), place)
    loads = [found for each in around if (found := _LOAD.match(each.text))]
    known = target.capabilities.registers
    values = target.read_registers({each[1] for each in loads} & {*known}) if loads else {}
    return {values[each[1]] + int(each[2] or "0", 0) & 0xFFFFFFFF for each in loads if each[1] in values}


def _variables(target: Target, loader: ExternalLoader, pointers: Iterable[int]) -> dict[int, int]:
    """Read those of the loader's words that pointers point to, code excepted."""
    code = [Range(each.address, len(each.data)) for each in loader.load_segments]
    places = {each & ~3 for each in pointers if any(each in owned for owned in loader.owned)}
    named = {each.address & ~3 for each in loader.symbols}
    wanted = [each for each in places if each in named or not any(each in part for part in code)]
    return {each: _word(target, each) for each in sorted(wanted)[:_MOST_VARIABLES]}


def waits_for_own_tick(target: Target, loader: ExternalLoader) -> bool:
    """Tell whether SysTick is on and pending in a halted core, and its handler is one of the loader's.

    Calls begin with interrupts masked, for what a running program left on must not come in between; a HAL_Delay whose
    ticks are counted by the loader's own handler then waits for ever. Source: Armv7-M ARM, B3.2.4 (ICSR), B3.2.5
    (VTOR), B3.3.3 (SYST_CSR); an Armv6-M core may have no VTOR, which reads as 0 then.
    """
    try:
        icsr, control = _word(target, _ICSR), _word(target, _SYST_CSR)
        if not icsr & _PENDSTSET or control & _TICKINT_AND_ENABLE != _TICKINT_AND_ENABLE:
            return False
        handler = handler_of(target, _SYSTICK)
    except MemoryAccessError:
        return False
    return any(handler in each for each in loader.owned)


def handler_of(target: Target, exception: int) -> int:
    """Give the address that the vector table has for an exception; raises MemoryAccessError."""
    return _word(target, _word(target, _VTOR) + 4 * exception) & ~1


def _word(target: Target, address: int) -> int:
    return int.from_bytes(target.read_memory(address, WORD), "little")
