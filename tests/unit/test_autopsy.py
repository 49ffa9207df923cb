"""What is concluded from the registers of a core whose call did not return: literal values in, literal words out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import pytest

from gdbflash.errors import CallStopped, CallTimeout, CommandRefused, ConnectionLost, JsonValue, MemoryAccessError
from gdbflash.loaders.loader import Symbol
from gdbflash.onchip import autopsy, evidence, faults
from gdbflash.onchip.call import Call, Unreturned
from gdbflash.onchip.evidence import Evidence
from gdbflash.onchip.faults import ExceptionReturn, Frame
from gdbflash.onchip.layout import PAINT, Layout, stack_used
from gdbflash.ranges import Range
from gdbflash.target import Beside, Capabilities, FlashRegion, Instruction, OtherCore, Stop, StopReason
from tests.support.values import make_loader

LOADER = replace(
    make_loader(segments=((0x24000004, 0x1874, 0x1874),)),
    symbols=(
        Symbol(0x24000004, 0x100, "Init"),
        Symbol(0x24000200, 0x80, "Write"),
        Symbol(0x24000600, 0x40, "QSPI_WaitFlag"),
        Symbol(0x24000800, 0x20, "HAL_GetTick"),
    ),
)
LAYOUT = Layout(
    ram=Range(0x24000000, 0x80000),
    return_address=0x24000000,
    strays=Range(0x24001400, 0x3D8),
    entry=Range(0x240017D8, 0xA0),
    routine=Range(0x24001878, 0x1000),
    scratch=Range(0x24002878, 0x100),
    static_base=0x24002878,
    stack=Range(0x24002978, 0x1000),
    buffer=Range(0x24003978, 0x1000),
)
ITS_CALL = "The call was Write(0x90000000, 0x100, 0x24003978)."
WRITE = Call("Write", 0x24000200, (0x90000000, 0x100, 0x24003978), timeout=5.0)
HANDLER = 0x08000044
FRAME = Frame(0x24003900, 0x90000000, 0x100, 0x24003978, 0x58024400, 0, 0x24000601, 0x24000612, 0x01000000)
CHECK_LOADER = "Check that the loader is made for this device and board."


def running(pc: int = 0x24000612, *, samples: tuple[int, ...] = (), **more: object) -> Evidence:
    """A call whose time was up."""
    seen = Evidence(
        WRITE,
        Stop(StopReason.TIMEOUT, pc, "SIGINT"),
        5.01,
        LAYOUT,
        LOADER,
        registers={"lr": 0x24000601, "sp": 0x24003900, "pc": pc, "xpsr": 0x01000000, "primask": 1},
        samples=samples,
        canary_lives=True,
    )
    return replace(seen, **more)  # type: ignore[arg-type]


def faulted(cfsr: int, *, hfsr: int = 1 << 30, bfar: int = 0, mmfar: int = 0, frame: Frame | None = FRAME) -> Evidence:
    """A call that ended in a HardFault handler which spins."""
    return running(
        HANDLER,
        registers={"lr": 0xFFFFFFF9, "sp": 0x24003900, "msp": 0x24003900, "pc": HANDLER, "xpsr": 0x01000003},
        fault_registers={"CFSR": cfsr, "HFSR": hfsr, "BFAR": bfar, "MMFAR": mmfar},
        exception_return=ExceptionReturn(process_stack=False, floating_point=False, thread=True),
        frame=frame,
    )


@pytest.mark.parametrize(
    ("register", "value", "names"),
    [
        ("CFSR", 0x00000082, ("DACCVIOL", "MMARVALID")),
        ("CFSR", 0x00008200, ("PRECISERR", "BFARVALID")),
        ("CFSR", 0x00003C39, ("IACCVIOL", "MUNSTKERR", "MSTKERR", "MLSPERR", "IMPRECISERR", "UNSTKERR", "STKERR")),
        ("CFSR", 0x031F0000, ("UNDEFINSTR", "INVSTATE", "INVPC", "NOCP", "STKOF", "UNALIGNED", "DIVBYZERO")),
        ("HFSR", 0xC0000002, ("VECTTBL", "FORCED", "DEBUGEVT")),
        ("DFSR", 0x1F, ("HALTED", "BKPT", "DWTTRAP", "VCATCH", "EXTERNAL")),
        ("HFSR", 0, ()),
    ],
)
def test_fault_bits_are_named(register: str, value: int, names: tuple[str, ...]) -> None:
    found = faults.bits_of(register, value)
    assert tuple(name for name in found if name != "LSPERR") == names
    assert ("LSPERR" in found) is (register == "CFSR" and bool(value & 1 << 13))


@pytest.mark.parametrize(
    ("lr", "expected"),
    [
        (0xFFFFFFF1, ExceptionReturn(process_stack=False, floating_point=False, thread=False)),
        (0xFFFFFFF9, ExceptionReturn(process_stack=False, floating_point=False, thread=True)),
        (0xFFFFFFFD, ExceptionReturn(process_stack=True, floating_point=False, thread=True)),
        (0xFFFFFFE9, ExceptionReturn(process_stack=False, floating_point=True, thread=True)),
        (0xFFFFFFED, ExceptionReturn(process_stack=True, floating_point=True, thread=True)),
        (0x24000001, None),
        (0, None),
    ],
)
def test_exc_return(lr: int, expected: ExceptionReturn | None) -> None:
    assert faults.decode_exception_return(lr) == expected


def test_a_stacked_frame_and_the_stack_pointer_before_it() -> None:
    data = b"".join(word.to_bytes(4, "little") for word in (1, 2, 3, 4, 12, 0x24000013, 0x24000100, 0x01000200))
    frame = faults.decode_frame(0x24003000, data)
    assert frame == Frame(0x24003000, 1, 2, 3, 4, 12, 0x24000013, 0x24000100, 0x01000200)
    basic = ExceptionReturn(process_stack=False, floating_point=False, thread=True)
    assert frame.stack_pointer(basic) == 0x24003024, "aligned by a word, as xPSR bit 9 says"
    assert replace(frame, xpsr=0x01000000).stack_pointer(basic) == 0x24003020
    assert replace(frame, xpsr=0x01000000).stack_pointer(replace(basic, floating_point=True)) == 0x24003068


@pytest.mark.parametrize(
    ("number", "name"), [(3, "HardFault"), (6, "UsageFault"), (7, "SecureFault"), (15, "SysTick"), (108, "IRQ 92")]
)
def test_exceptions_have_names(number: int, name: str) -> None:
    assert faults.exception_name(number) == name


def test_stack_use_is_counted_down_to_the_lowest_word_without_paint() -> None:
    assert stack_used(PAINT * 16) == 0
    assert stack_used(PAINT * 12 + b"\1\0\0\0" + PAINT * 3) == 16
    assert stack_used(bytes(64)) == 64


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        (
            faulted(0x8200, bfar=0x52005000),
            "Write ended in HardFault at QSPI_WaitFlag+0x12 (0x24000612): "
            f"the peripheral at 0x52005000 is not clocked or not there. {CHECK_LOADER}",
        ),
        (
            faulted(0x8200, bfar=0x90000000),
            "Write ended in HardFault at QSPI_WaitFlag+0x12 (0x24000612): "
            f"nothing answers at 0x90000000: that external memory is not mapped or not there. {CHECK_LOADER}",
        ),
        (
            faulted(0x100, frame=replace(FRAME, pc=0x2000108D, lr=0x24000211)),
            "Write ended in HardFault: it branched to 0x2000108C, where no memory "
            "answers, called before Write+0x10 (0x24000210). "
            "A function pointer, vector or return address was overwritten, or calls ROM of another device.",
        ),
        (
            faulted(0x10000, frame=replace(FRAME, pc=0x2000108C)),
            "Write ended in HardFault at 0x2000108C, which is not in this loader "
            "(it lies at 0x24000004-0x24001877): the instruction at 0x2000108C is undefined on this core. "
            f"The loader may be built for a larger core. {CHECK_LOADER}",
        ),
        (
            replace(faulted(0x1000, frame=None), canary_lives=False, registers={"sp": 0x24000100, "xpsr": 3}),
            "Write ended in HardFault: its stack of 4096 bytes ran out and into the "
            "loader (the canary at 0x24002978 is gone). "
            "Give it more RAM with --ram START:SIZE, or build the loader with less on its stack.",
        ),
        (
            replace(faulted(0x10000), stop=Stop(StopReason.ELSEWHERE, 0xFFFFFFFE)),
            "Write ended in lockup at QSPI_WaitFlag+0x12 (0x24000612): the instruction "
            "at 0x24000612 is undefined on this core. The loader may be built for a larger core. " + CHECK_LOADER,
        ),
        (
            replace(running(), stop=Stop(StopReason.ELSEWHERE, 0x24000612, "SIGTRAP"), code=b"\xab\xbe\0\0"),
            "Write stopped before its return address at QSPI_WaitFlag+0x12 "
            "(0x24000612): it asks for semihosting, which is not served. Use a release build of the loader.",
        ),
        (
            replace(running(), stop=Stop(StopReason.ELSEWHERE, 0x08000200, "SIGTRAP")),
            "Write stopped before its return address at 0x08000200, which is not in "
            "this loader (it lies at 0x24000004-0x24001877): the core left the loader and halted elsewhere: it was "
            "reset in mid-call, or met another breakpoint. Check that nobody else debugs or resets the board.",
        ),
    ],
)
def test_stopped_calls_in_words(seen: Evidence, message: str) -> None:
    error = autopsy.explain(seen)
    assert isinstance(error, CallStopped)
    assert error.message == f"{message} {ITS_CALL}"


@pytest.mark.parametrize(
    ("seen", "cause", "advice"),
    [
        (
            running(samples=(0x24000612, 0x24000616, 0x24000640)),
            "it is stuck in a loop at QSPI_WaitFlag+0x12 (0x24000612)",
            "Check clocks, pins and chip of the board, or allow more time with --timeout-scale.",
        ),
        (
            running(samples=(0x24000612, 0x24000804, 0x24000220)),
            "it is still working in Write, QSPI_WaitFlag, HAL_GetTick",
            "Check clocks, pins and chip of the board, or allow more time with --timeout-scale.",
        ),
        (
            running(samples=(0x24000612, 0x24000616), fault_registers={"ICSR": 15 << 12}),
            "it is stuck in a loop at QSPI_WaitFlag+0x12 (0x24000612), and the SysTick interrupt is pending but masked",
            "Allow interrupts with --irq.",
        ),
        (
            running(samples=(0x24000612,), late_result=1),
            "it returned 1 soon afterwards",
            "Allow more time with --timeout-scale.",
        ),
        (
            running(0x08001234, samples=(0x08001234, 0x08001240)),
            "the core runs at 0x08001234, which is not in this loader (it lies at 0x24000004-0x24001877): it was reset "
            "in mid-call (watchdog, reset pin) or branched away",
            f"Check what can reset the board. {CHECK_LOADER}",
        ),
        (
            running(registers={"lr": 0xFFFFFFF9, "xpsr": 0x0100006C}, frame=FRAME),
            "an unmasked interrupt: the handler of IRQ 92 at QSPI_WaitFlag+0x12 (0x24000612) was still running",
            "The application or the loader left it enabled: use --before reset, and do not use --irq.",
        ),
        (
            running(samples=(0x24000612, 0x24000612), overwritten=True),
            "the loader's code at 0x24000612 is not what its file has: something wrote over it",
            "Check what the loader writes to, and that no other debugger or DMA uses this RAM.",
        ),
        (
            running(samples=(0x24000612, 0x24000612), fault_registers={"CFSR": 0x8200, "BFAR": 0x52005000}),
            "it is stuck in a loop at QSPI_WaitFlag+0x12 (0x24000612)",
            "Check clocks, pins and chip of the board, or allow more time with --timeout-scale.",
        ),
    ],
    ids=["loop", "work", "masked", "late", "elsewhere", "interrupt", "overwritten", "stale fault bits"],
)
def test_time_outs_in_words(seen: Evidence, cause: str, advice: str) -> None:
    error = autopsy.explain(seen)
    assert isinstance(error, CallTimeout)
    assert error.message == f"Write did not return within 5 s and was halted: {cause}. {advice} {ITS_CALL}"
    assert error.data["cause"] == cause


@pytest.mark.parametrize(
    ("cfsr", "hfsr", "cause"),
    [
        (0x400, 1 << 30, "a write shortly before went where nothing answers (the core does not record where)"),
        (0x82, 1 << 30, "the MPU forbids the access to 0x20000040"),
        (0x80000, 1 << 30, "a floating-point instruction while the FPU is off or missing"),
        (0x2000000, 1 << 30, "a division by zero"),
        (0x1000000, 1 << 30, "an access to several words at an address that is not aligned"),
        (0x1000, 1 << 30, "the stack pointer points to no memory"),
        (0x40000, 1 << 30, "it returned from an exception that it was not in"),
        (0, 1 << 31, "a BKPT of its own, which this server does not catch"),
        (0, 1 << 1, "the vector of an exception could not be read"),
        (0, 0, "the fault registers do not tell why"),
    ],
)
def test_causes_of_faults(cfsr: int, hfsr: int, cause: str) -> None:
    assert autopsy.likely_cause(faulted(cfsr, hfsr=hfsr, mmfar=0x20000040)).text == cause


def test_the_report_has_what_was_seen() -> None:
    seen = replace(
        faulted(0x8200, bfar=0x52005000),
        stack_used=180,
        disassembly=(Instruction(0x24000610, "movs r0, #1"), Instruction(0x24000612, "ldr r1, [r2, #0]")),
        remarks=("DFSR could not be looked at: no.",),
    )
    assert autopsy.explain(seen).report == (
        "PC     QSPI_WaitFlag+0x12 (0x24000612)",
        "LR     QSPI_WaitFlag (0x24000600)",
        "mode   HardFault, its handler at 0x08000044, frame at MSP 0x24003900",
        "CFSR   0x00008200 PRECISERR BFARVALID",
        "HFSR   0x40000000 FORCED",
        "access 0x52005000",
        "stack  180 of 4096 bytes used, the canary lives, SP 0x24003920",
        "   0x24000610  movs r0, #1",
        "=> 0x24000612  ldr r1, [r2, #0]",
        "DFSR could not be looked at: no.",
    )
    outside = replace(running(0x2000108D), stop=Stop(StopReason.ELSEWHERE, 0x2000108D))
    assert autopsy.explain(outside).report[:2] == (
        "PC     0x2000108C is not in this loader, which lies at 0x24000004-0x24001877",
        "LR     QSPI_WaitFlag (0x24000600)",
    )


def test_a_lost_connection_names_its_call() -> None:
    error = autopsy.lost(WRITE, ConnectionLost("The server is gone.", reply="reset by peer"))
    assert error.message == f"Write was under way: The server is gone. {ITS_CALL}"
    assert error.data == {
        "function": "Write",
        "arguments": [0x90000000, 0x100, 0x24003978],
        "reply": "reset by peer",
        "stopped_by": "lost",
    }


@dataclass
class Halted:
    """A halted core; what it has not, it refuses."""

    registers: dict[str, int]
    memory: dict[int, bytes] = field(default_factory=dict)
    stops: list[Stop] = field(default_factory=list)
    loses: set[int] = field(default_factory=set)
    """Addresses at which the connection is lost."""
    disturbances: int = 0

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities("generic", frozenset(self.registers))

    def read_memory(self, address: int, size: int) -> bytes:
        if address in self.loses:
            raise ConnectionLost("The server is gone.")
        for start, data in self.memory.items():
            if start <= address and address + size <= start + len(data):
                return data[address - start : address - start + size]
        raise MemoryAccessError(f"{size} bytes at {address:#x} cannot be read.", address=address, size=size)

    def write_memory(self, address: int, data: bytes) -> None:
        raise AssertionError((address, data))

    def disassemble(self, address: int, size: int) -> tuple[Instruction, ...]:
        return tuple(Instruction(each, f"nop {each:#x}") for each in range(address, address + size, 2))

    def read_registers(self, names: Iterable[str]) -> dict[str, int]:
        return {name: self.registers[name] for name in names}

    def write_registers(self, values: Mapping[str, int]) -> None:
        raise AssertionError(values)

    def run_until(self, address: int, timeout: float, beside: Beside | None = None) -> Stop:
        assert (address, timeout, beside) == (0x24000000, 0.02, None)
        if not self.stops:
            raise CommandRefused("It does not go on.")
        return self.stops.pop(0)

    def reset_and_halt(self) -> None:
        raise AssertionError

    def reset_and_run(self, others: Iterable[str] = ()) -> None:  # noqa: ARG002
        raise AssertionError

    def resume(self) -> None:
        raise AssertionError

    def other_cores(self) -> tuple[OtherCore, ...]:
        raise AssertionError

    def hold_core(self, name: str) -> None:  # noqa: ARG002
        raise AssertionError

    def let_core_go(self, name: str) -> None:  # noqa: ARG002
        raise AssertionError

    def monitor(self, command: str) -> str:
        raise AssertionError(command)

    def flash_regions(self) -> tuple[FlashRegion, ...]:
        raise AssertionError

    def load(self, hex_text: str, size: int) -> None:
        raise AssertionError(hex_text, size)

    def close(self) -> None:
        raise AssertionError


SCS = {address: bytes(4) for address in faults.ADDRESSES.values()}
IMAGE = bytes(LOADER.load_segments[0].data)
STACK = PAINT * 1000 + bytes(96)


def halted(pc: int = 0x24000612, xpsr: int = 0x01000000, lr: int = 0x24000601) -> Halted:
    registers = {"r0": 1, "sp": 0x24003960, "msp": 0x24003960, "lr": lr, "pc": pc, "xpsr": xpsr}
    return Halted(registers, {**SCS, 0x24000004: IMAGE, LAYOUT.stack.address: STACK})


def examine(core: Halted, reason: StopReason = StopReason.TIMEOUT) -> Evidence:
    stop = Stop(reason, core.registers["pc"])
    return evidence.gather(core, WRITE, Unreturned(stop, 5.0), LAYOUT, LOADER)


def test_ten_samples_are_taken_of_a_call_that_runs_on() -> None:
    core = halted()
    core.stops = [Stop(StopReason.TIMEOUT, 0x24000614)] * 20
    seen = examine(core)
    assert seen.samples == (0x24000612, *[0x24000614] * 9)
    assert (seen.stack_used, seen.canary_lives, seen.overwritten, seen.remarks) == (96, True, False, ())
    assert [each.address - 0x24000612 for each in seen.disassembly] == [-6, -4, -2, 0, 2, 4]


def test_a_call_that_returns_while_samples_are_taken_is_told() -> None:
    core = halted()
    core.stops = [Stop(StopReason.TIMEOUT, 0x24000614), Stop(StopReason.ARRIVED, 0x24000000)]
    seen = examine(core)
    assert (seen.samples, seen.late_result) == ((0x24000612, 0x24000614), 1)


@pytest.mark.parametrize(("lr", "pointer"), [(0xFFFFFFF9, "msp"), (0xFFFFFFED, "psp")])
def test_the_frame_is_found_by_exc_return_and_the_core_is_not_run_on(lr: int, pointer: str) -> None:
    core = halted(HANDLER, 0x01000003, lr)
    core.registers["psp"] = 0
    core.registers[pointer] = 0x20001000
    words = (1, 2, 3, 4, 12, 0x24000013, 0x24000612, 0x01000000)
    core.memory[0x20001000] = b"".join(word.to_bytes(4, "little") for word in words)
    seen = examine(core)
    assert seen.frame == Frame(0x20001000, *words)
    assert (seen.place, seen.caller) == (0x24000612, 0x24000013)
    assert (seen.samples, seen.remarks) == ((), ())


# A Non-secure handler of a Secure function's fault, with its registers hidden; a Secure one of a Non-secure one's.
@pytest.mark.parametrize(
    ("lr", "pointer", "offset", "said"), [(0xFFFFFFF8, "msp_s", 0x28, "MSP_S"), (0xFFFFFFBD, "psp_ns", 0, "PSP_NS")]
)
def test_the_frame_is_found_on_the_other_side_of_trustzone(lr: int, pointer: str, offset: int, said: str) -> None:
    core = halted(HANDLER, 0x01000003, lr)
    words = (1, 2, 3, 4, 12, 0x24000013, 0x24000612, 0x01100000)  # with SFPA, which Armv7-M has not
    core.registers[pointer] = 0x20001000
    core.memory[0x20001000 + offset] = b"".join(word.to_bytes(4, "little") for word in words)
    seen = examine(core)
    assert seen.frame == Frame(0x20001000 + offset, *words)
    assert f"frame at {said} 0x{0x20001000 + offset:08X}" in autopsy.explain(seen).report[2]
    del core.registers[pointer]
    assert examine(core).frame is None, "another stack was taken for it"


def test_registers_of_a_secure_fault_are_looked_at_where_nothing_else_tells() -> None:
    core = halted(HANDLER, 0x01000003, 0xFFFFFFF9)
    core.memory |= {address: bytes(4) for address in faults.SECURE_ADDRESSES.values()}
    core.memory[0xE000ED2C] = (1 << 30).to_bytes(4, "little")  # HFSR.FORCED
    core.memory[0xE000EDE4] = (0x48).to_bytes(4, "little")
    core.memory[0xE000EDE8] = (0x50021000).to_bytes(4, "little")
    error = autopsy.explain(examine(core))
    assert "TrustZone forbids the access to 0x50021000: that is the secure side's" in error.message
    assert "SFSR   0x00000048 AUVIOL SFARVALID" in error.report
    core.memory[0xE000ED28] = (0x100).to_bytes(4, "little")  # CFSR tells
    assert "SFSR" not in examine(core).fault_registers


@pytest.mark.parametrize(
    ("sfsr", "cause"),
    [
        (0x01, "it branched across the border of TrustZone, to 0x24000612"),
        (0x02, "it returned from an exception to the wrong side of TrustZone"),
        (0x04, "it returned from an exception to the wrong side of TrustZone"),
        (0x08, "TrustZone forbids the access: that is the secure side's"),
        (0x10, "it branched across the border of TrustZone, to 0x24000612"),
    ],
)
def test_causes_of_secure_faults(sfsr: int, cause: str) -> None:
    seen = faulted(0)
    seen = replace(seen, fault_registers={**seen.fault_registers, "SFSR": sfsr})
    assert autopsy.likely_cause(seen).text == cause


@pytest.mark.parametrize("pushed", [0, 8, 36])
def test_the_frame_is_found_above_what_the_handler_pushed(pushed: int) -> None:
    core = halted(HANDLER, 0x01000003, 0xFFFFFFF9)
    core.registers["msp"] = 0x20001000
    words = (0x90000000, 7, 0x24003978, 0, 0, 0x24000001, 0x24000612, 0x61000000)
    frame = b"".join(word.to_bytes(4, "little") for word in words)
    core.memory[0x20001000] = b"\xf9\xff\xff\xff" * (pushed // 4) + frame + bytes(256)
    assert examine(core).frame == Frame(0x20001000 + pushed, *words)


def test_a_stack_without_a_frame_shows_none() -> None:
    core = halted(HANDLER, 0x01000003, 0xFFFFFFF9)
    core.memory[core.registers["msp"]] = bytes(256)
    seen = examine(core)
    assert (seen.frame, seen.place_known) == (None, False)


def test_code_that_was_written_over_is_noticed() -> None:
    core = halted()
    core.memory[0x24000004] = IMAGE[:0x610] + b"\xff\xff" + IMAGE[0x612:]
    assert examine(core, StopReason.ELSEWHERE).overwritten


@pytest.mark.parametrize("lost_at", [0xE000ED28, 0xE000ED04, 0x24000612, LAYOUT.stack.address])
def test_a_connection_lost_during_the_autopsy_does_not_hide_what_happened(lost_at: int) -> None:
    core = halted()
    core.loses = {lost_at}
    error = autopsy.explain(examine(core))
    assert isinstance(error, ConnectionLost)
    assert error.message == (
        "Write did not return within 5 s and was halted, and could not be looked at: The server is gone. " + ITS_CALL
    )
    assert error.data["stopped_by"] == "timeout"
    assert error.report[-1].endswith("could not be looked at: The server is gone.")
    assert len([line for line in error.report if "could not be looked at" in line]) == 1, "no look after that"


def test_what_cannot_be_read_is_a_gap() -> None:
    core = halted()
    core.memory = {}
    seen = examine(core)
    assert (seen.fault_registers, seen.stack_used, seen.canary_lives, seen.code) == ({}, None, None, b"")
    assert autopsy.explain(seen).message == (
        "Write did not return within 5 s and was halted: it was in QSPI_WaitFlag+0x12 (0x24000612). Check clocks, pins "
        f"and chip of the board, or allow more time with --timeout-scale. {ITS_CALL}"
    )


def test_the_data_is_for_programs() -> None:
    data = autopsy.as_data(replace(faulted(0x8200, bfar=0x52005000), stack_used=180))
    expected: dict[str, JsonValue] = {
        "function": "Write",
        "arguments": [0x90000000, 0x100, 0x24003978],
        "seconds": 5.01,
        "stopped_by": "fault",
        "cause": "the peripheral at 0x52005000 is not clocked or not there",
        "pc": {"address": 0x24000612, "symbol": "QSPI_WaitFlag+0x12"},
        "lr": {"address": 0x24000600, "symbol": "QSPI_WaitFlag"},
        "fault_bits": ["BFARVALID", "FORCED", "PRECISERR"],
        "exception": "HardFault",
        "stack": {"size": 4096, "used": 180, "canary_lives": True},
    }
    assert {name: data[name] for name in expected} == expected
