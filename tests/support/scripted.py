"""A target without a board: RAM, a chip, and a loader played in Python, of which every step may go wrong as scripted.

It knows what a call of a loaded function needs of the core (`onchip.entry`) and what the digest routine computes, and
nothing else of the machine: for what code really does on a core there is the board.
"""

from __future__ import annotations

import enum
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from gdbflash.errors import CommandRefused, ConnectionLost, MemoryAccessError
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.onchip.digest import Key, digest
from gdbflash.onchip.entry import SIZE, Entry
from gdbflash.onchip.routine_code import DIGEST_CODE, DIGESTS, ENTER, ENTRY_CODE
from gdbflash.ranges import Range
from gdbflash.target import (
    Beside,
    Capabilities,
    CoreState,
    FlashRegion,
    Instruction,
    OtherCore,
    Stop,
    StopReason,
)
from tests.support.values import KIB, make_loader

RAM = Range(0x24000000, 512 * KIB)
FLASH = 0x90000000
SECTOR = 4 * KIB
LOADER = replace(
    make_loader(groups=((16, SECTOR),), functions=("Init", "Read", "Write", "SectorErase", "MassErase")),
    sha256="ab" * 32,
)
UNIT = bytes(range(1, 13))
_FIXED = {0xE000ED00: (0x411FC270).to_bytes(4, "little"), 0x5C001000: (0x450).to_bytes(4, "little"), 0x1FF1E800: UNIT}
"""CPUID of a Cortex-M7, DBGMCU_IDCODE of an STM32H750 and its unique ID, as `onchip.device.table` has them."""
_INPUTS = struct.Struct("<10I")
_RESULTS = struct.Struct("<5I")
_RUN = struct.Struct("<6I")
_REGISTERS = frozenset([*(f"r{number}" for number in range(13)), "sp", "lr", "pc", "xpsr", "msp", "primask", "control"])


class Mishap(enum.Enum):
    """What becomes of one call of a function, or of one use of a method of the target."""

    FAILS = "does nothing and returns 0"
    LIES = "does nothing and says that all is well"
    HALF = "does half of it and returns 1"
    HANGS = "does half of it and does not return"
    STOPS = "does half of it and stops elsewhere"
    SKIPPED = "is not called, though the core comes to the return address"
    REFUSED = "the server refuses"
    LOST = "the connection is lost in the middle"


class _Stopped(Exception):
    """The core does not come to the return address."""

    def __init__(self, reason: StopReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class ScriptedTarget:
    """Plays `LOADER`, or another that has its functions, on a chip of its own.

    script: by name of a function or of a method of `Target`, and by which use of it (1 is the first), what happens.
    """

    def __init__(self, loader: ExternalLoader = LOADER, chip: bytes = b"") -> None:
        self.loader = loader
        size = loader.storage.extent
        self.chip = bytearray(chip.ljust(size, b"\xff"))
        self.script: dict[tuple[str, int], Mishap] = {}
        self.uses: Counter[str] = Counter()
        self.calls: list[tuple[str, tuple[int, ...]]] = []
        """Functions that were called, with their arguments, in order; those by the digest routine included."""
        self.before: Callable[[str], None] = lambda _function: None
        """Told of each call of a function before it happens."""
        self.capabilities = Capabilities("board", _REGISTERS, place="scripted")
        self.disturbances = 0
        self.cores: dict[str, CoreState] = {}
        """Others that the server shows."""
        self.fixed = dict(_FIXED)
        """What lies beside RAM, by address."""
        self._ram = bytearray(RAM.size)
        self._registers = dict.fromkeys(sorted(_REGISTERS), 0)
        self._names = {address: name for name, address in loader.functions.items()}

    @property
    def erased(self) -> list[Range]:
        """What SectorErase was called for."""
        found = []
        for name, arguments in self.calls:
            if name == "SectorErase":
                found.append(self._sectors(arguments[0], arguments[1]))
        return found

    def _use(self, name: str) -> Mishap | None:
        self.uses[name] += 1
        mishap = self.script.get((name, self.uses[name]))
        if mishap is Mishap.LOST and name not in self.loader.functions:
            raise ConnectionLost(f"The connection was lost in {name}.")
        if mishap is Mishap.REFUSED:
            raise CommandRefused(f"The server refused {name}.", command=name, reply="no such thing")
        return mishap

    # What `Target` asks for

    def read_memory(self, address: int, size: int) -> bytes:
        self._use("read_memory")
        if address in RAM and address + size <= RAM.end:
            return self._get(address, size)
        for start, data in self.fixed.items():
            if start <= address and address + size <= start + len(data):
                return data[address - start :][:size]
        raise MemoryAccessError(f"0x{address:08X} cannot be read.", address=address, size=size)

    def write_memory(self, address: int, data: bytes) -> None:
        mishap = self._use("write_memory")
        if address not in RAM or address + len(data) > RAM.end:
            raise MemoryAccessError(f"0x{address:08X} cannot be written.", address=address, size=len(data))
        if mishap is not Mishap.LIES:
            self._put(address, data)

    def disassemble(self, address: int, size: int) -> tuple[Instruction, ...]:  # noqa: ARG002
        return ()

    def read_registers(self, names: Iterable[str]) -> dict[str, int]:
        self._use("read_registers")
        return {name: self._registers[name] for name in names}

    def write_registers(self, values: Mapping[str, int]) -> None:
        self._use("write_registers")
        self._registers.update(values)

    def run_until(self, address: int, timeout: float, beside: Beside | None = None) -> Stop:  # noqa: ARG002
        assert beside is None
        self._use("run_until")
        area = self._registers["pc"] - ENTER
        if self._get(area, len(ENTRY_CODE)) != ENTRY_CODE:  # it hangs
            return Stop(StopReason.TIMEOUT, self._registers["pc"])
        entry = Entry(Range(area, SIZE))
        number, _, _, _, function, *arguments, _ = _INPUTS.unpack(self._get(entry.table.address, _INPUTS.size))
        try:
            r0, r1 = self._call(function & ~1, tuple(arguments))
        except _Stopped as stopped:
            self._registers["pc"] = function + 7
            if stopped.reason is StopReason.ARRIVED:
                return Stop(stopped.reason, address)
            return Stop(stopped.reason, self._registers["pc"], "SIGTRAP")
        self._put(entry.results.address, _RESULTS.pack(number, 0, r0, r1, number))
        return Stop(StopReason.ARRIVED, address)

    def reset_and_halt(self) -> None:
        self._use("reset_and_halt")
        self._set_cores(CoreState.HALTED, {*self.cores})

    def reset_and_run(self, others: Iterable[str] = ()) -> None:
        self._use("reset_and_run")
        self._set_cores(CoreState.RUNNING, {*others})

    def other_cores(self) -> tuple[OtherCore, ...]:
        self._use("other_cores")
        return tuple(OtherCore(name, state) for name, state in self.cores.items())

    def hold_core(self, name: str) -> None:
        self._use("hold_core")
        self.cores[name] = CoreState.HALTED

    def let_core_go(self, name: str) -> None:
        self._use("let_core_go")
        self.cores[name] = CoreState.RUNNING

    def _set_cores(self, state: CoreState, names: set[str]) -> None:
        self.cores.update(dict.fromkeys(names & {*self.cores}, state))

    def resume(self) -> None:
        self._use("resume")

    def flash_regions(self) -> tuple[FlashRegion, ...]:
        return ()

    def load(self, hex_text: str, size: int) -> None:
        raise NotImplementedError

    def monitor(self, command: str) -> str:
        raise NotImplementedError

    def close(self) -> None:
        self._use("close")

    # What the core does

    def _get(self, address: int, size: int) -> bytes:
        start = max(0, address - RAM.address)
        return bytes(self._ram[start : start + size])

    def _put(self, address: int, data: bytes) -> None:
        if not RAM.address <= address <= address + len(data) <= RAM.end:
            raise _Stopped(StopReason.ELSEWHERE)
        start = address - RAM.address
        self._ram[start : start + len(data)] = data

    def _call(self, address: int, arguments: tuple[int, ...]) -> tuple[int, int]:
        name = self._names.get(address)
        if name is None:
            if self._get(address - DIGESTS, len(DIGEST_CODE)) != DIGEST_CODE:
                raise _Stopped(StopReason.ELSEWHERE)  # it went astray
            return self._digests(address + len(DIGEST_CODE), *arguments[:3])
        return self._function(name, arguments), 0

    def _digests(self, behind: int, runs: int, results: int, read: int) -> tuple[int, int]:
        key = Key(*struct.unpack("<4I", self._get(behind, 16)))
        assert read, "the chip is not mapped"
        while True:
            address, left, step, buffer, poison, border = _RUN.unpack(self._get(runs, _RUN.size))
            if not left:
                return 1, results
            while left:
                size = min(step or left, left)
                if not buffer:
                    self._put(results, digest(self._get(address, size), key, address % 4))
                    address, left, results = address + size, left - size, results + 12
                    continue
                start = address & ~border
                whole = (address + size + border & ~border) - start
                self._put(buffer, poison.to_bytes(4, "little") * (whole // 4 + 1))
                returned = self._function("Read", (start, whole, buffer))
                if returned != 1:
                    return returned, results
                if not step:
                    break
                data = self._get(buffer + address - start, size)
                self._put(results, digest(data, key, address % 4 % (border + 1)))
                address, left, results = address + size, left - size, results + 12
            runs += _RUN.size

    def _function(self, name: str, arguments: tuple[int, ...]) -> int:
        self.before(name)
        mishap = self._use(name)
        self.calls.append((name, arguments))
        if mishap is Mishap.SKIPPED:
            raise _Stopped(StopReason.ARRIVED)
        if mishap not in (Mishap.FAILS, Mishap.LIES):
            self._act(name, arguments, half=mishap is not None)
        if mishap is Mishap.HANGS:
            raise _Stopped(StopReason.TIMEOUT)
        if mishap is Mishap.STOPS:
            raise _Stopped(StopReason.ELSEWHERE)
        if mishap is Mishap.LOST:
            raise ConnectionLost(f"The connection was lost in {name}.")
        return 0 if mishap is Mishap.FAILS else 1

    def _act(self, name: str, arguments: tuple[int, ...], *, half: bool) -> None:
        """Do what a function does, or the first half of it."""
        first, second, buffer = arguments[:3]
        if name in ("Read", "Write"):
            start, size = first - FLASH, second // 2 if half else second
            if not 0 <= start <= start + second <= len(self.chip):
                raise _Stopped(StopReason.ELSEWHERE)
            if name == "Read":
                self._put(buffer, bytes(self.chip[start : start + size]))
            else:
                old, data = self.chip[start : start + size], self._get(buffer, size)
                self.chip[start : start + size] = bytes(a & b for a, b in zip(old, data, strict=True))
        elif name in ("SectorErase", "MassErase"):
            where = self.loader.storage.span if name == "MassErase" else self._sectors(first, second)
            size = where.size // 2 if half else where.size
            self.chip[where.address - FLASH : where.address - FLASH + size] = b"\xff" * size

    def _sectors(self, first: int, last: int) -> Range:
        start, end = first // SECTOR * SECTOR, last // SECTOR * SECTOR + SECTOR
        return Range(start, end - start)
