"""A Winbond W25Q128JV: its command set, and the modes that change how commands are understood.

What belongs here: which commands the chip listens to in its state, and what they read. What takes time or is protected
is `nor_core`, how bits travel is `nor_pins`. Sections: W25Q128JV data sheet, revision F; QPI: the data sheets named at
chips.W25Q128JV.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gdbflash.board.chips.facts import FAST, W25Q128JV, Chip, Timing
from gdbflash.board.chips.nor import Counters, Faults, NorArray
from gdbflash.board.chips.nor_core import SECURITY_SIZE, Clock, NorCore
from gdbflash.board.chips.nor_pins import ANY_INPUT, Command, NorPins, Stream

RELEASE_POWER_DOWN = 0xAB
ONE_BYTE = range(1, 2)

IN_QPI = (
    *(0x01, 0x02, 0x04, 0x05, 0x06, 0x0B, 0x11, 0x15, 0x20, 0x31, 0x35, 0x36, 0x39, 0x3D, 0x50, 0x52, 0x60, 0x66),
    *(0x75, 0x7A, 0x7E, 0x90, 0x98, 0x99, 0x9F, 0xAB, 0xB9, 0xC7, 0xD8, 0xEB),
)
"""Commands of SPI that QPI has too (W25Q128FV data sheet, 7.2.5)."""


class ArrayStream:
    """The array from address on, round and round."""

    def __init__(self, array: NorArray, address: int) -> None:
        self._array = array
        self.address = address % array.size

    def __call__(self, count: int) -> bytes:
        """Give the next count bytes."""
        data = self._array.read(self.address, count)
        self.address = (self.address + count) % self._array.size
        return data


class W25Q(NorPins):
    """A chip of Winbond's W25Q series; implements wires.Flash.

    path: the file behind the array (created if missing; InputError for another size, OSError). array: one that is
    there already. quad_enable: QE as shipped, 1 with the -IQ order codes, 0 with others.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        chip: Chip = W25Q128JV,
        path: Path | None = None,
        array: NorArray | None = None,
        timing: Timing = FAST,
        quad_enable: bool = False,
    ) -> None:
        super().__init__()
        self.chip = chip
        self.array = array or NorArray(chip.size, path)
        self.core = NorCore(chip, self.array, clock, timing, quad_enable=quad_enable)
        self.qpi = False
        self._qpi_dummy = 2  # clocks
        self._qpi_wrap = 8
        self._wrap = 0  # of EBh, 0: none
        self._opcode = 0
        self._reset_enabled = False  # 66h came
        self._reset_armed = False  # 66h was the command before this one
        self._spi_commands = self._make_spi_commands()
        self._qpi_commands = self._make_qpi_commands()

    @property
    def faults(self) -> Faults:
        """What is broken; set its fields."""
        return self.array.faults

    @property
    def counters(self) -> Counters:
        """What was programmed and erased."""
        return self.array.counters

    @property
    def memory(self) -> memoryview:
        """The array, writable; contiguous but in a pair."""
        return self.array.memory

    def close(self) -> None:
        """Take the power away: what an operation has done by now is in the array, and that in the file."""
        self.core.reset()
        self.array.close()

    # --- nor_pins.NorPins -----------------------------------------------------------------------------------

    def accept(self, opcode: int) -> Command | None:
        """Return the command that opcode starts now."""
        self._opcode = opcode
        core = self.core
        command = (self._qpi_commands if self.qpi else self._spi_commands).get(opcode)
        if command is None or (core.powered_down and opcode != RELEASE_POWER_DOWN) or core.deaf:
            return None
        if (command.quad and not core.quad_enabled) or (not command.while_busy and core.busy):
            return None
        if self.qpi and opcode in (0x0B, 0x0C):
            return replace(command, dummy=self._qpi_dummy)
        if self.qpi and opcode == 0xEB:
            return replace(command, dummy=self._qpi_dummy - 2)  # the mode bits are two of them
        return command

    def ended(self, *, executed: bool) -> None:
        """Let 99h work only right after 66h (8.2.31)."""
        self._reset_armed, self._reset_enabled = self._reset_enabled, executed and self._opcode == 0x66

    def stream_address(self, stream: Stream) -> int | None:
        """Return the address of the next byte if it is plain array content."""
        return stream.address if isinstance(stream, ArrayStream) else None

    # --- what is read ---------------------------------------------------------------------------------------

    def _array(self) -> Stream:
        return ArrayStream(self.array, self.address)

    def _array_quad_io(self) -> Stream:
        return self._array_wrapped(self._wrap) if self._wrap and not self.qpi else self._array()

    def _array_wrapped(self, length: int) -> Stream:
        start = self.address % self.chip.size
        base = start - start % length
        line = self.array.read(base, length)
        return cycle(line, start - base)

    def _status(self, register: int) -> Stream:
        # The register is sampled anew for every byte (8.2.4).
        return lambda count: bytes(self.core.status(register) for _ in range(count))

    def _jedec_id(self) -> Stream:
        chip = self.chip
        kind = chip.memory_type_qpi if self.qpi else chip.memory_type
        return cycle(bytes([chip.manufacturer, kind, chip.capacity]))

    def _manufacturer_id(self) -> Stream:
        return cycle(bytes([self.chip.manufacturer, self.chip.device_id]), self.address & 1)

    def _security(self) -> Stream:
        register = self.core.security_register(self.address)
        content = bytes(register) if register is not None else b"\xff" * SECURITY_SIZE
        return cycle(content, self.address % SECURITY_SIZE)

    # --- modes ----------------------------------------------------------------------------------------------

    def _set_wrap(self, data: bytes) -> None:
        self._wrap = 0 if data[0] & 0x10 else 8 << (data[0] >> 5 & 3)

    def _set_read_parameters(self, data: bytes) -> None:
        self._qpi_dummy = 2 + 2 * (data[0] >> 4 & 3)
        self._qpi_wrap = 8 << (data[0] & 3)

    def _set_qpi(self, on: bool) -> None:
        self.qpi = on and self.core.quad_enabled
        self.instruction_lines = 4 if self.qpi else 1

    def _set_power_down(self, down: bool) -> None:
        self.core.powered_down = down

    def _reset(self) -> None:
        if self._reset_armed:
            self.core.reset()
            self._set_qpi(False)
            self._qpi_dummy, self._qpi_wrap, self._wrap = 2, 8, 0
            self.continuous = None

    # --- command set ----------------------------------------------------------------------------------------

    def _make_spi_commands(self) -> dict[int, Command]:
        """Return the instruction set of tables 1 and 2 (8.1.2, 8.1.3)."""
        core = self.core
        array = Command(answer=self._array, address=3)
        fast = replace(array, dummy=8)
        ids = Command(answer=self._manufacturer_id, address=3)
        program = Command(lambda data: core.program(self.address, data), address=3, data=ANY_INPUT)
        program_security = Command(lambda data: core.program_security(self.address, data), address=3, data=ANY_INPUT)
        lock_bit = Command(answer=lambda: cycle(bytes([core.is_locked(self.address)])), address=3)
        quad_io = Command(answer=self._array_quad_io, address=3, mode=True, dummy=4, header_lines=4, data_lines=4)
        device_id = cycle(bytes([self.chip.device_id]))
        return {
            0x01: Command(lambda data: core.write_status(1, data), data=range(1, 3)),
            0x02: program,
            0x03: array,
            0x04: simple(core.write_disable),
            0x05: Command(answer=lambda: self._status(1), while_busy=True),
            0x06: simple(core.write_enable),
            0x0B: fast,
            0x11: Command(lambda data: core.write_status(3, data), data=ONE_BYTE),
            0x15: Command(answer=lambda: self._status(3), while_busy=True),
            0x20: self._at_address(core.erase_sector),
            0x31: Command(lambda data: core.write_status(2, data), data=ONE_BYTE),
            0x32: replace(program, data_lines=4),
            0x35: Command(answer=lambda: self._status(2), while_busy=True),
            0x36: self._at_address(core.lock),
            0x38: simple(lambda: self._set_qpi(True)),
            0x39: self._at_address(core.unlock),
            0x3B: replace(fast, data_lines=2),
            0x3D: lock_bit,
            0x42: program_security,
            0x44: self._at_address(core.erase_security),
            0x48: Command(answer=self._security, address=3, dummy=8),
            0x4B: Command(answer=lambda: cycle(self.chip.unique_id), dummy=32),
            0x50: simple(core.volatile_enable),
            0x52: self._at_address(core.erase_block32),
            0x5A: Command(answer=lambda: cycle(self.chip.sfdp, self.address & 0xFF), address=3, dummy=8),
            0x60: simple(core.erase_chip),
            0x66: Command(lambda _: None, while_busy=True),
            0x6B: replace(fast, data_lines=4),
            0x75: Command(lambda _: core.suspend(), while_busy=True),
            0x77: Command(self._set_wrap, address=3, header_lines=4, data_lines=4, data=ONE_BYTE),
            0x7A: simple(core.resume),
            0x7E: simple(core.lock_all),
            0x90: ids,
            0x92: replace(ids, mode=True, header_lines=2, data_lines=2),
            0x94: replace(ids, mode=True, dummy=4, header_lines=4, data_lines=4),
            0x98: simple(core.unlock_all),
            0x99: Command(lambda _: self._reset(), while_busy=True),
            0x9F: Command(answer=self._jedec_id),
            RELEASE_POWER_DOWN: Command(
                lambda _: self._set_power_down(False), lambda: device_id, address=3, short=True
            ),
            0xB9: simple(lambda: self._set_power_down(True)),
            0xBB: replace(array, mode=True, header_lines=2, data_lines=2),
            0xC7: simple(core.erase_chip),
            0xD8: self._at_address(core.erase_block64),
            0xE3: replace(quad_io, dummy=0),  # octal word and word read of the W25Q128FV (8.2.16, 8.2.15)
            0xE7: replace(quad_io, dummy=2),
            0xEB: quad_io,
        }

    def _make_qpi_commands(self) -> dict[int, Command]:
        """Return the instruction set of QPI mode; the dummies of 0Bh, 0Ch and EBh are those that C0h has set."""
        burst = Command(answer=lambda: self._array_wrapped(self._qpi_wrap), address=3)
        own = {
            0x0C: burst,
            0xC0: Command(self._set_read_parameters, data=ONE_BYTE),
            0xFF: simple(lambda: self._set_qpi(False)),
        }
        shared = {opcode: self._spi_commands[opcode] for opcode in IN_QPI}
        return {opcode: replace(command, header_lines=4, data_lines=4) for opcode, command in {**shared, **own}.items()}

    def _at_address(self, action: Callable[[int], None]) -> Command:
        return Command(lambda _: action(self.address), address=3)


def simple(action: Callable[[], None]) -> Command:
    """Return a command that is an instruction and nothing else."""
    return Command(lambda _: action())


def cycle(content: bytes, start: int = 0) -> Stream:
    """Give content from start on, over and over."""
    position = start

    def read(count: int) -> bytes:
        nonlocal position
        begin = position % len(content)
        position += count
        return (content * (1 + (begin + count) // len(content)))[begin : begin + count]

    return read
