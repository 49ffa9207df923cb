"""The debug registers of a Cortex-M7, as a debug probe reaches them through memory accesses.

What belongs here: halting debug (DHCSR, DCRSR, DCRDR, DFSR), reset requests, and the dispatch of an
access to a debug component or, for all else (DEMCR, CPUID and the cycle counter too), to the DebugPort underneath.

Sources: ARM DDI 0403E.e (ARMv7-M) C1.6 for halting debug, B1.5.5 for reset, B3.2 for the system control space.
"""

from __future__ import annotations

from gdbflash.board.bus import BusError
from gdbflash.board.coresight.comparators import WATCHPOINTS, BreakpointUnit, WatchpointUnit
from gdbflash.board.coresight.rom import APB_D_ALIAS, PAGE, PROCESSOR_COMPONENTS, SYSTEM_COMPONENTS
from gdbflash.board.debug import DebugPort, HaltReason

AIRCR = 0xE000ED0C
DFSR = 0xE000ED30
DHCSR = 0xE000EDF0
DCRSR = 0xE000EDF4
DCRDR = 0xE000EDF8
DEMCR = 0xE000EDFC

C_DEBUGEN, C_HALT, C_STEP, C_MASKINTS, C_SNAPSTALL = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 5
S_REGRDY, S_HALT, S_LOCKUP, S_RETIRE_ST, S_RESET_ST = 1 << 16, 1 << 17, 1 << 19, 1 << 24, 1 << 25
_DBGKEY = 0xA05F
_VECTKEY = 0x05FA
_VECTRESET, _SYSRESETREQ = 1 << 0, 1 << 2
_VC_CORERESET = 1 << 0
_REGWNR = 1 << 16

_DFSR_HALTED, _DFSR_BKPT, _DFSR_DWTTRAP, _DFSR_VCATCH = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_DFSR_OF = {
    HaltReason.REQUEST: _DFSR_HALTED,
    HaltReason.STEP: _DFSR_HALTED,
    HaltReason.BREAKPOINT: _DFSR_BKPT,
    HaltReason.WATCHPOINT: _DFSR_DWTTRAP,
    HaltReason.VECTOR_CATCH: _DFSR_VCATCH,
    HaltReason.LOCKUP: _DFSR_HALTED,  # by the C_HALT that got the core out of it
}

CONTROL_WORD = 20
"""REGSEL of the word CONTROL, FAULTMASK, BASEPRI, PRIMASK (DCRSR, C1.6.3)."""

_CORE_REGISTERS = {
    **{number: f"r{number}" for number in range(13)},
    13: "sp",
    14: "lr",
    15: "pc",
    16: "xpsr",
    17: "msp",
    18: "psp",
    33: "fpscr",
    **{64 + number: f"s{number}" for number in range(32)},
}
_CONTROL_BYTES = ((0, "primask"), (8, "basepri"), (16, "faultmask"), (24, "control"))

_DWT, _FPB, _SCS = 0xE0001000, 0xE0002000, 0xE000E000


def is_device(address: int) -> bool:
    """Tell whether accesses at address keep their width and number: peripheral, device and system regions (B3.1)."""
    return address >> 29 == 2 or address >= 0xA0000000


class DebugUnit:
    """What the AHB-AP of the processor sees: memory, peripherals and the debug registers.

    Not thread-safe: one caller at a time (the probe serialises its commands).
    """

    def __init__(self, port: DebugPort) -> None:
        self._port = port
        self._fpb = BreakpointUnit(port)
        self._dwt = WatchpointUnit(port)
        components = {c.base: c.identification() for c in PROCESSOR_COMPONENTS}
        components.update({c.base - APB_D_ALIAS: c.identification() for c in SYSTEM_COMPONENTS})
        self._identification = components
        self._trace_registers: dict[int, int] = {}
        self._control = 0
        self._dcrdr = 0
        self._dfsr = 0
        self._register_ready = True
        self._reset_seen = True  # S_RESET_ST: the power-on reset
        self._retired = True
        self._entry_noted = False
        self._lockup_taken = False
        self._held_in_reset = False
        self.reset_with: DebugUnit | None = None
        """The other core's, which every reset of the system resets too."""

    # -- memory -----------------------------------------------------------------------------------------------

    def read(self, address: int, size: int, width: int) -> bytes:
        """Read size bytes by accesses of width bytes (1, 2, 4); raises BusError."""
        if not (is_device(address) or is_device(address + size - 1)):
            return self._port.read_memory(address, size)
        return b"".join(self._read_device(at, width) for at in range(address, address + size, width))

    def write(self, address: int, data: bytes, width: int) -> None:
        """Write data by accesses of width bytes (1, 2, 4); raises BusError."""
        if not (is_device(address) or is_device(address + len(data) - 1)):
            self._write_plain(address, data)
            return
        for offset in range(0, len(data), width):
            self._write_device(address + offset, data[offset : offset + width])

    def _write_plain(self, address: int, data: bytes) -> None:
        try:
            self._port.write_memory(address, data)
        except BusError as error:
            # The words before the one that faults have arrived.
            if error.address > address:
                self._port.write_memory(address, data[: error.address - address])
            raise

    def read_word(self, address: int) -> int:
        """Read the word at address, a multiple of 4; raises BusError."""
        return int.from_bytes(self.read(address, 4, 4), "little")

    def write_word(self, address: int, value: int) -> None:
        """Write the word at address, a multiple of 4; raises BusError."""
        self.write(address, value.to_bytes(4, "little"), 4)

    def _read_device(self, address: int, width: int) -> bytes:
        word = self._read_register(address & ~3)
        if word is None:
            return self._port.read_memory(address, width)
        lane = address & 3
        return word.to_bytes(4, "little")[lane : lane + width]

    def _write_device(self, address: int, data: bytes) -> None:
        base = address & ~3
        if len(data) < 4 and self._owns(base):
            # Only DCRDR is meant for it (the debugger's message channel); the others are word registers.
            word = bytearray((self._read_register(base) or 0).to_bytes(4, "little"))
            word[address & 3 : (address & 3) + len(data)] = data
            data = bytes(word)
        if not (self._owns(base) and self._write_register(base, int.from_bytes(data, "little"))):
            self._port.write_memory(address, data)

    # -- dispatch of the registers ----------------------------------------------------------------------------

    def _owns(self, address: int) -> bool:
        page, offset = address & ~(PAGE - 1), address & (PAGE - 1)
        if page == _SCS:
            return address in (AIRCR, DFSR, DHCSR, DCRSR, DCRDR) or offset >= 0xFD0
        if page == _DWT:
            return offset == 0 or self._dwt.owns(offset)
        return page in self._identification

    def _read_register(self, address: int) -> int | None:
        """Read a word of a debug component; None when the address is none of theirs."""
        if not self._owns(address):
            return None
        page, offset = address & ~(PAGE - 1), address & (PAGE - 1)
        if offset in self._identification[page]:
            return self._identification[page][offset]
        if page == _SCS:
            return self._read_system(address)
        if page == _FPB:
            return self._fpb.read(offset)
        if page == _DWT:
            if offset == 0:
                return WATCHPOINTS << 28 | self._machine_word(address) & 0x0FFFFFFF
            self._observe()
            return self._dwt.read(offset)
        return self._trace_registers.get(address, 0)

    def _write_register(self, address: int, value: int) -> bool:
        """Write a word of a debug component; False when the machine shall have it."""
        page, offset = address & ~(PAGE - 1), address & (PAGE - 1)
        if offset in self._identification[page]:
            return True
        if page == _SCS:
            return self._write_system(address, value)
        if page == _DWT and offset == 0:
            return False
        if page == _FPB:
            self._fpb.write(offset, value)
        elif page == _DWT:
            self._dwt.write(offset, value)
        else:
            self._trace_registers[address] = value
        return True

    def _machine_word(self, address: int) -> int:
        return int.from_bytes(self._port.read_memory(address, 4), "little")

    def _read_system(self, address: int) -> int:
        if address == DHCSR:
            return self._read_dhcsr()
        if address == DFSR:
            self._observe()
            return self._dfsr
        if address == AIRCR:
            return self._machine_word(address)
        return self._dcrdr if address == DCRDR else 0

    def _write_system(self, address: int, value: int) -> bool:
        if address == AIRCR:
            requested = value >> 16 == _VECTKEY and value & (_SYSRESETREQ | _VECTRESET)
            if requested:
                self.system_reset()
            return bool(requested)
        if address == DHCSR:
            self._write_dhcsr(value)
        elif address == DFSR:
            self._observe()
            self._dfsr &= ~value
        elif address == DCRSR:
            self._transfer_register(value)
        elif address == DCRDR:
            self._dcrdr = value
        return True

    # -- halting debug ----------------------------------------------------------------------------------------

    @property
    def halted(self) -> bool:
        """Whether the core is in Debug state, so that its registers can be accessed."""
        reason = self._observe()
        return reason is not None and (reason is not HaltReason.LOCKUP or self._lockup_taken)

    def _observe(self) -> HaltReason | None:
        """Return why the core is halted, and record an entry to Debug state in DFSR, once."""
        if self._held_in_reset:
            return None
        reason = self._port.halted
        if reason is None:
            self._left_debug_state()
        elif not self._entry_noted and (reason is not HaltReason.LOCKUP or self._lockup_taken):
            self._entry_noted = True
            self._dfsr |= _DFSR_OF[reason]
            if reason is HaltReason.WATCHPOINT:
                self._dwt.matched()
        return reason

    def _left_debug_state(self) -> None:
        self._entry_noted = False
        self._lockup_taken = False
        self._retired = True

    def _read_dhcsr(self) -> int:
        halted = self.halted
        value = self._control
        if self._register_ready:
            value |= S_REGRDY
        if halted:
            value |= S_HALT | C_HALT
        elif self._observe() is HaltReason.LOCKUP:
            value |= S_LOCKUP
        if self._retired:
            value |= S_RETIRE_ST
        if self._reset_seen or self._held_in_reset:
            value |= S_RESET_ST
        # Both are cleared by a read; S_RETIRE_ST at once set again while instructions retire.
        self._reset_seen = False
        self._retired = self._port.halted is None
        return value

    def _write_dhcsr(self, value: int) -> None:
        if value >> 16 != _DBGKEY:
            return
        halted = self.halted
        if not value & C_DEBUGEN:
            self._control = 0
            if halted:
                self._resume()
            return
        self._control = value & (C_DEBUGEN | C_STEP | C_MASKINTS | C_SNAPSTALL)
        if self._held_in_reset:
            return
        if value & C_HALT:
            self._halt(halted)
        elif halted and value & C_STEP:
            self._step()
        elif halted:
            self._resume()

    def _halt(self, halted: bool) -> None:
        if halted:
            return
        if self._port.halted is HaltReason.LOCKUP:
            self._lockup_taken = True
        else:
            self._port.halt()
        self._observe()

    def _stays_at_breakpoint(self) -> bool:
        """Leaving Debug state at an FPB match enters it again before an instruction is executed."""
        if self._port.read_register("pc") not in self._fpb.active:
            return False
        self._dfsr |= _DFSR_BKPT
        return True

    def _resume(self) -> None:
        if not self._stays_at_breakpoint():
            self._left_debug_state()
            self._port.resume()

    def _step(self) -> None:
        if not self._stays_at_breakpoint():
            self._left_debug_state()
            self._port.step()
            self._observe()

    # -- core registers ---------------------------------------------------------------------------------------

    def _transfer_register(self, request: int) -> None:
        if not self.halted:
            self._register_ready = False  # never completes: the core must be halted (C1.6.3)
            return
        selector = request & 0x7F
        if request & _REGWNR:
            self.write_core_register(selector, self._dcrdr)
        else:
            self._dcrdr = self.read_core_register(selector)
        self._register_ready = True

    def read_core_register(self, selector: int) -> int:
        """Read a core register of the halted core by REGSEL; reserved ones read as zero."""
        if selector == CONTROL_WORD:
            return sum(self._port.read_register(name) << shift for shift, name in _CONTROL_BYTES)
        name = _CORE_REGISTERS.get(selector)
        return self._port.read_register(name) if name else 0

    def write_core_register(self, selector: int, value: int) -> None:
        """Write a core register of the halted core by REGSEL; reserved ones are ignored."""
        if selector == CONTROL_WORD:
            for shift, part in _CONTROL_BYTES:
                self._port.write_register(part, value >> shift & 0xFF)
        elif name := _CORE_REGISTERS.get(selector):
            self._port.write_register(name, value & ~1 if name == "pc" else value)

    # -- reset ------------------------------------------------------------------------------------------------

    def system_reset(self) -> None:
        """Reset as SYSRESETREQ does; VECTRESET too, as the machine has no reset of the processor alone."""
        for unit in self._units:
            unit._reset()

    def hold_reset(self) -> None:
        """Drive NRST low: nothing executes until release_reset()."""
        for unit in self._units:
            if not unit._held_in_reset:
                unit._port.reset(halt=True)
                unit._held_in_reset = True

    def release_reset(self) -> None:
        """Release NRST."""
        for unit in self._units:
            if unit._held_in_reset:
                unit._held_in_reset = False
                unit._reset()

    @property
    def _units(self) -> tuple[DebugUnit, ...]:
        return (self,) if self.reset_with is None else (self, self.reset_with)

    def _reset(self) -> None:
        caught = bool(self._machine_word(DEMCR) & _VC_CORERESET and self._control & C_DEBUGEN)
        self._port.reset(halt=caught)
        self._fpb.restore()
        self._dwt.restore()
        self._left_debug_state()
        self._control &= C_DEBUGEN | C_MASKINTS
        self._register_ready = True
        self._reset_seen = True
        if caught:
            self._entry_noted = True
            self._dfsr |= _DFSR_VCATCH
