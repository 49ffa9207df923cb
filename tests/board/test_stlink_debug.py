"""The debug registers: halting debug, comparators, reset, identification; and the MEM-APs in front of them."""

from __future__ import annotations

import pytest

from gdbflash.board.bus import BusError
from gdbflash.board.coresight.dap import POWER_UP, Dap, DapFault
from gdbflash.board.coresight.debugunit import AIRCR, DCRDR, DCRSR, DEMCR, DFSR, DHCSR, DebugUnit
from gdbflash.board.debug import HaltReason
from tests.support.debugport import RecordingPort

KEY = 0xA05F0000
DEBUGEN, HALT, STEP, MASKINTS = 1, 2, 4, 8
S_REGRDY, S_HALT, S_LOCKUP, S_RETIRE_ST, S_RESET_ST = 0x10000, 0x20000, 0x80000, 0x1000000, 0x2000000
FP_CTRL, FP_COMP0 = 0xE0002000, 0xE0002008
DWT_COMP0, DWT_MASK0, DWT_FUNCTION0, DWT_FUNCTION1 = 0xE0001020, 0xE0001024, 0xE0001028, 0xE0001038


@pytest.fixture
def port() -> RecordingPort:
    return RecordingPort((0x20000000, 0x1000), (0xE0001000, 0x20), (0xE000E000, 0x1000), (0x5C001000, 0x1000))


@pytest.fixture
def unit(port: RecordingPort) -> DebugUnit:
    """A unit with debug enabled, its sticky bits read, the core halted."""
    unit = DebugUnit(port)
    unit.write_word(DHCSR, KEY | DEBUGEN | HALT)
    unit.write_word(DFSR, 0x1F)
    unit.read_word(DHCSR)
    port.calls.clear()
    return unit


class TestDhcsr:
    def test_after_power_on(self, port: RecordingPort) -> None:
        port.halted = None
        assert DebugUnit(port).read_word(DHCSR) == S_REGRDY | S_RETIRE_ST | S_RESET_ST

    def test_reset_is_told_once_and_progress_as_long_as_there_is_any(self, port: RecordingPort) -> None:
        port.halted = None
        unit = DebugUnit(port)
        unit.read_word(DHCSR)
        assert unit.read_word(DHCSR) == S_REGRDY | S_RETIRE_ST
        unit.write_word(DHCSR, KEY | DEBUGEN | HALT)
        assert unit.read_word(DHCSR) == S_REGRDY | S_RETIRE_ST | S_HALT | HALT | DEBUGEN
        assert unit.read_word(DHCSR) == S_REGRDY | S_HALT | HALT | DEBUGEN

    def test_a_write_without_the_key_does_nothing(self, port: RecordingPort, unit: DebugUnit) -> None:
        unit.write_word(DHCSR, DEBUGEN)
        assert port.calls == []
        assert unit.read_word(DHCSR) == S_REGRDY | S_HALT | HALT | DEBUGEN

    def test_run(self, port: RecordingPort, unit: DebugUnit) -> None:
        unit.write_word(DHCSR, KEY | DEBUGEN | MASKINTS)
        assert port.calls == ["resume"]
        assert unit.read_word(DHCSR) == S_REGRDY | S_RETIRE_ST | DEBUGEN | MASKINTS

    def test_step(self, port: RecordingPort, unit: DebugUnit) -> None:
        unit.write_word(DHCSR, KEY | DEBUGEN | STEP)
        assert port.calls == ["step"]
        assert unit.read_word(DHCSR) == S_REGRDY | S_RETIRE_ST | S_HALT | STEP | HALT | DEBUGEN
        assert unit.read_word(DFSR) == 0x1

    def test_step_and_halt_together_stay_halted(self, port: RecordingPort, unit: DebugUnit) -> None:
        unit.write_word(DHCSR, KEY | DEBUGEN | STEP | HALT)
        assert port.calls == []

    def test_disabling_debug_lets_the_core_run(self, port: RecordingPort, unit: DebugUnit) -> None:
        unit.write_word(DHCSR, KEY)
        assert port.calls == ["resume"]
        assert unit.read_word(DHCSR) == S_REGRDY | S_RETIRE_ST

    def test_halt_without_debugen_does_nothing(self, port: RecordingPort) -> None:
        port.halted = None
        DebugUnit(port).write_word(DHCSR, KEY | HALT)
        assert port.calls == []

    def test_lockup_ends_with_a_halt_request(self, port: RecordingPort, unit: DebugUnit) -> None:
        port.on_run = lambda: HaltReason.LOCKUP
        unit.write_word(DHCSR, KEY | DEBUGEN)
        assert unit.read_word(DHCSR) & (S_LOCKUP | S_HALT) == S_LOCKUP
        assert unit.read_word(DFSR) == 0
        unit.write_word(DHCSR, KEY | DEBUGEN | HALT)
        assert unit.read_word(DHCSR) & (S_LOCKUP | S_HALT) == S_HALT
        assert unit.read_word(DFSR) == 0x1
        assert port.calls == ["resume"]


class TestDfsr:
    @pytest.mark.parametrize(
        ("reason", "bits"),
        [
            (HaltReason.REQUEST, 0x1),
            (HaltReason.BREAKPOINT, 0x2),
            (HaltReason.WATCHPOINT, 0x4),
            (HaltReason.VECTOR_CATCH, 0x8),
        ],
    )
    def test_reasons(self, port: RecordingPort, unit: DebugUnit, reason: HaltReason, bits: int) -> None:
        port.on_run = lambda: reason
        unit.write_word(DHCSR, KEY | DEBUGEN)
        assert unit.read_word(DFSR) == bits

    def test_bits_are_cleared_by_writing_ones_and_stay_cleared(self, port: RecordingPort, unit: DebugUnit) -> None:
        port.on_run = lambda: HaltReason.BREAKPOINT
        unit.write_word(DHCSR, KEY | DEBUGEN)
        unit.write_word(DFSR, 0x1)
        assert unit.read_word(DFSR) == 0x2
        unit.write_word(DFSR, 0x2)
        assert unit.read_word(DFSR) == 0

    def test_reasons_pile_up(self, port: RecordingPort, unit: DebugUnit) -> None:
        port.on_run = lambda: HaltReason.BREAKPOINT
        unit.write_word(DHCSR, KEY | DEBUGEN)
        unit.write_word(DHCSR, KEY | DEBUGEN | STEP)
        assert unit.read_word(DFSR) == 0x3


class TestRegisters:
    def test_read_and_write(self, port: RecordingPort, unit: DebugUnit) -> None:
        port.registers["r5"] = 0x55555555
        unit.write_word(DCRSR, 5)
        assert unit.read_word(DCRDR) == 0x55555555
        unit.write_word(DCRDR, 0x20001000)
        unit.write_word(DCRSR, 0x10000 | 17)
        assert port.registers["msp"] == 0x20001000

    def test_a_transfer_in_a_running_core_is_never_ready(self, port: RecordingPort, unit: DebugUnit) -> None:
        port.halted = None
        unit.write_word(DCRSR, 5)
        assert unit.read_word(DHCSR) & S_REGRDY == 0
        unit.write_word(DHCSR, KEY | DEBUGEN | HALT)
        unit.write_word(DCRSR, 5)
        assert unit.read_word(DHCSR) & S_REGRDY == S_REGRDY

    def test_reserved_selectors(self, port: RecordingPort, unit: DebugUnit) -> None:
        before = dict(port.registers)
        unit.write_word(DCRDR, 0xFFFFFFFF)
        unit.write_word(DCRSR, 0x10000 | 19)
        assert port.registers == before
        unit.write_word(DCRSR, 19)
        assert unit.read_word(DCRDR) == 0

    def test_dcrdr_takes_bytes(self, unit: DebugUnit) -> None:
        unit.write_word(DCRDR, 0x11223344)
        unit.write(DCRDR + 1, b"\xaa\xbb", 1)
        assert unit.read(DCRDR, 4, 1) == bytes.fromhex("44aabb11")


class TestBreakpoints:
    def test_eight_comparators_of_version_2(self, unit: DebugUnit) -> None:
        assert unit.read_word(FP_CTRL) == 0x10000080

    def test_comparators_count_once_the_unit_is_enabled(self, port: RecordingPort, unit: DebugUnit) -> None:
        unit.write_word(FP_COMP0, 0x20000101)
        unit.write_word(FP_CTRL, 1)  # without KEY
        assert port.calls == []
        unit.write_word(FP_CTRL, 3)
        assert port.calls == ["break 20000100"]
        assert unit.read_word(FP_CTRL) == 0x10000081
        unit.write_word(FP_COMP0, 0)
        assert port.calls == ["break 20000100", "unbreak 20000100"]

    def test_two_comparators_on_one_address(self, port: RecordingPort, unit: DebugUnit) -> None:
        unit.write_word(FP_CTRL, 3)
        unit.write_word(FP_COMP0, 0x08000003)
        unit.write_word(FP_COMP0 + 28, 0x08000003)
        unit.write_word(FP_COMP0, 0)
        assert port.calls == ["break 08000002"]
        assert unit.read_word(FP_COMP0 + 28) == 0x08000003

    @pytest.mark.parametrize("how", [0, STEP])
    def test_leaving_debug_state_at_a_breakpoint_executes_nothing(
        self, port: RecordingPort, unit: DebugUnit, how: int
    ) -> None:
        # OpenOCD's step puts a breakpoint at PC and runs, to let pending interrupts be served first.
        unit.write_word(FP_CTRL, 3)
        unit.write_word(FP_COMP0, 0x20000101)
        port.registers["pc"] = 0x20000100
        port.calls.clear()
        unit.write_word(DHCSR, KEY | DEBUGEN | how)
        assert port.calls == []
        assert unit.read_word(DHCSR) & S_HALT
        assert unit.read_word(DFSR) == 0x2

    def test_comparators_survive_a_reset(self, port: RecordingPort, unit: DebugUnit) -> None:
        unit.write_word(FP_CTRL, 3)
        unit.write_word(FP_COMP0, 0x20000101)
        unit.write_word(AIRCR, 0x05FA0004)
        assert port.calls == ["break 20000100", "reset", "break 20000100"]


class TestWatchpoints:
    def test_four_comparators(self, unit: DebugUnit) -> None:
        assert unit.read_word(0xE0001000) >> 28 == 4

    @pytest.mark.parametrize(("function", "access"), [(5, "r"), (6, "w"), (7, "rw")])
    def test_a_range(self, port: RecordingPort, unit: DebugUnit, function: int, access: str) -> None:
        unit.write_word(DWT_COMP0, 0x20000040)
        unit.write_word(DWT_MASK0, 3)
        unit.write_word(DWT_FUNCTION0, function)
        unit.write_word(DWT_FUNCTION0, 0)
        assert port.calls == [f"watch 20000040 8 {access}", f"unwatch 20000040 8 {access}"]

    def test_functions_without_a_halt(self, port: RecordingPort, unit: DebugUnit) -> None:
        unit.write_word(DWT_FUNCTION0, 4)
        assert port.calls == []
        assert unit.read_word(DWT_FUNCTION0) == 4

    def test_a_match_is_told_once_by_armed_comparators(self, port: RecordingPort, unit: DebugUnit) -> None:
        unit.write_word(DWT_COMP0, 0x20000040)
        unit.write_word(DWT_FUNCTION0, 6)
        port.on_run = lambda: HaltReason.WATCHPOINT
        unit.write_word(DHCSR, KEY | DEBUGEN)
        assert unit.read_word(DWT_FUNCTION0) == 0x01000006
        assert unit.read_word(DWT_FUNCTION0) == 0x6
        assert unit.read_word(DWT_FUNCTION1) == 0

    def test_the_cycle_counter_is_the_machines(self, port: RecordingPort, unit: DebugUnit) -> None:
        port.write_memory(0xE0001004, bytes.fromhex("78563412"))
        assert unit.read_word(0xE0001004) == 0x12345678


class TestReset:
    def test_with_vector_catch(self, port: RecordingPort, unit: DebugUnit) -> None:
        unit.write_word(DEMCR, 0x01000001)
        unit.write_word(AIRCR, 0x05FA0004)
        assert port.calls == ["reset halt"]
        assert unit.read_word(DHCSR) == S_REGRDY | S_RETIRE_ST | S_RESET_ST | S_HALT | HALT | DEBUGEN
        assert unit.read_word(DFSR) == 0x8
        assert unit.read_word(DEMCR) == 0x01000001

    def test_the_catch_needs_debug_enabled(self, port: RecordingPort, unit: DebugUnit) -> None:
        unit.write_word(DHCSR, KEY)
        unit.write_word(DEMCR, 0x00000001)
        port.calls.clear()
        unit.write_word(AIRCR, 0x05FA0001)
        assert port.calls == ["reset"]

    def test_needs_the_key(self, port: RecordingPort, unit: DebugUnit) -> None:
        unit.write_word(AIRCR, 0x00000004)
        assert port.calls == []

    def test_other_requests_are_the_machines(self, port: RecordingPort, unit: DebugUnit) -> None:
        unit.write_word(AIRCR, 0x05FA0300)
        assert port.calls == []
        assert port.read_memory(AIRCR, 4).hex() == "0003fa05"

    def test_nrst_low_keeps_the_core_from_halting(self, port: RecordingPort, unit: DebugUnit) -> None:
        unit.write_word(DEMCR, 1)
        unit.hold_reset()
        unit.hold_reset()
        assert port.calls == ["reset halt"]
        unit.write_word(DHCSR, KEY | DEBUGEN | HALT)
        assert unit.read_word(DHCSR) & (S_RESET_ST | S_HALT) == S_RESET_ST
        assert unit.read_word(DFSR) == 0
        unit.release_reset()
        assert port.calls == ["reset halt", "reset halt"]
        assert unit.read_word(DFSR) == 0x8


class TestMemory:
    def test_rom_table(self, unit: DebugUnit) -> None:
        table = [unit.read_word(address) for address in range(0xE00FE000, 0xE00FE010, 4)]
        assert table == [0x00001003, 0xFFF43003, 0xFFF45003, 0]
        table = [unit.read_word(address) for address in range(0xE00FF000, 0xE00FF01C, 4)]
        assert table == [0xFFF0F003, 0xFFF02003, 0xFFF03003, 0xFFF01003, 0xFFF41002, 0xFFF42002, 0]

    @pytest.mark.parametrize(
        ("base", "peripheral", "component"),
        [
            (0xE00FE000, 0x000A0450, 0xB105100D),  # ST, part 0x450
            (0xE00FF000, 0x04000BB4C7, 0xB105100D),  # ARM
            (0xE000E000, 0x04000BB00C, 0xB105E00D),
            (0xE0041000, 0x04000BB975, 0xB105900D),
        ],
    )
    def test_component_identification(self, unit: DebugUnit, base: int, peripheral: int, component: int) -> None:
        low = [unit.read_word(base + 0xFE0 + 4 * index) for index in range(4)]
        assert low == list(peripheral.to_bytes(5, "little")[:4])
        assert unit.read_word(base + 0xFD0) == peripheral >> 32
        assert bytes(unit.read_word(base + 0xFF0 + 4 * i) for i in range(4)) == component.to_bytes(4, "little")

    def test_trace_registers_keep_what_is_written(self, unit: DebugUnit) -> None:
        unit.write_word(0xE0000E80, 0x0001000F)
        assert unit.read_word(0xE0000E80) == 0x0001000F

    def test_an_unmapped_address(self, unit: DebugUnit) -> None:
        with pytest.raises(BusError) as caught:
            unit.read(0x20000FF8, 16, 4)
        assert caught.value.address == 0x20001000


@pytest.fixture
def dap(port: RecordingPort) -> Dap:
    dap = Dap(port)
    dap.write_dp(0x4, POWER_UP)
    return dap


CSW, TAR, DRW, BD0, BASE, IDR = 0x00, 0x04, 0x0C, 0x10, 0xF8, 0xFC
WORD, HALFWORD, BYTE = 2, 1, 0
SINGLE, PACKED = 0x10, 0x20


class TestMemAp:
    def test_registers_of_the_debug_port(self, dap: Dap) -> None:
        assert dap.read_dp(0x0) == 0x6BA02477
        assert dap.read_dp(0x4) == 0xF0000000
        assert dap.read_dp(0x24) == 0x04500041

    def test_power_is_acknowledged_as_requested(self, dap: Dap) -> None:
        dap.write_dp(0x4, 0x10000000)
        assert dap.read_dp(0x4) == 0x30000000

    def test_base_addresses(self, dap: Dap) -> None:
        assert [dap.read_ap(number, BASE) for number in (0, 1, 2)] == [0xE00FE003, 0x2, 0xE00E0003]

    def test_words_with_increment(self, dap: Dap, port: RecordingPort) -> None:
        dap.write_ap(0, CSW, SINGLE | WORD)
        dap.write_ap(0, TAR, 0x20000010)
        dap.write_ap(0, DRW, 0x11111111)
        dap.write_ap(0, DRW, 0x22222222)
        assert port.read_memory(0x20000010, 8).hex() == "1111111122222222"
        assert dap.read_ap(0, TAR) == 0x20000018

    def test_increment_wraps_at_1_kib(self, dap: Dap) -> None:
        dap.write_ap(0, CSW, SINGLE | WORD)
        dap.write_ap(0, TAR, 0x200003FC)
        dap.read_ap(0, DRW)
        assert dap.read_ap(0, TAR) == 0x20000000

    def test_narrow_data_is_on_its_byte_lanes(self, dap: Dap, port: RecordingPort) -> None:
        port.write_memory(0x20000000, bytes.fromhex("01020304"))
        dap.write_ap(0, CSW, SINGLE | BYTE)
        dap.write_ap(0, TAR, 0x20000001)
        assert [dap.read_ap(0, DRW) for _ in range(2)] == [0x00000200, 0x00030000]
        dap.write_ap(0, CSW, HALFWORD)
        dap.write_ap(0, TAR, 0x20000002)
        dap.write_ap(0, DRW, 0xBEEF5555)
        assert port.read_memory(0x20000000, 4).hex() == "0102efbe"

    def test_packed_bytes(self, dap: Dap, port: RecordingPort) -> None:
        port.write_memory(0x20000000, bytes.fromhex("01020304"))
        port.accesses.clear()
        dap.write_ap(0, CSW, PACKED | BYTE)
        dap.write_ap(0, TAR, 0x20000000)
        assert dap.read_ap(0, DRW) == 0x04030201
        assert dap.read_ap(0, TAR) == 0x20000004
        assert port.accesses == [("r", 0x20000000 + offset, 1) for offset in range(4)]

    def test_banked_data(self, dap: Dap, port: RecordingPort) -> None:
        dap.write_ap(0, TAR, 0x20000024)
        dap.write_ap(0, BD0 + 0xC, 0xAABBCCDD)
        assert port.read_memory(0x2000002C, 4).hex() == "ddccbbaa"
        assert dap.read_ap(0, BD0 + 0xC) == 0xAABBCCDD
        assert dap.read_ap(0, TAR) == 0x20000024

    def test_blocks_leave_tar_where_single_accesses_would(self, dap: Dap) -> None:
        access_port = dap.access_port(0)
        access_port.write_block(0x20000000, bytes(0x600), 4)
        assert dap.read_ap(0, TAR) == 0x20000600
        access_port.read_block(0x200003F8, 8, 2)
        assert dap.read_ap(0, TAR) == 0x20000000
        with pytest.raises(BusError):
            access_port.read_block(0x20000FF0, 0x20, 4)
        assert dap.read_ap(0, TAR) == 0x20001000  # OpenOCD reads it to name the address that failed

    def test_the_result_stays_in_rdbuff(self, dap: Dap) -> None:
        dap.read_ap(0, IDR)
        assert dap.read_dp(0xC) == 0x84770001

    def test_csw_tells_that_the_port_is_enabled(self, dap: Dap) -> None:
        dap.write_ap(0, CSW, 0x23000052)
        assert dap.read_ap(0, CSW) == 0x23800052
        dap.write_ap(2, CSW, 0x00000000)
        assert dap.read_ap(2, CSW) == 0x00000042  # the APB-AP transfers words only

    def test_the_system_bus_has_no_debug_registers_of_the_core(self, dap: Dap) -> None:
        dap.write_ap(1, TAR, DHCSR)
        with pytest.raises(DapFault):
            dap.read_ap(1, DRW)

    def test_a_bus_error_is_sticky(self, dap: Dap) -> None:
        dap.write_ap(0, TAR, 0x30000000)
        with pytest.raises(DapFault) as caught:
            dap.read_ap(0, DRW)
        assert caught.value.address == 0x30000000
        with pytest.raises(DapFault):
            dap.read_ap(0, IDR)
        assert dap.read_dp(0x4) == 0xF0000020
        dap.write_dp(0x0, 0x4)
        assert dap.read_ap(0, IDR) == 0x84770001
