"""The ST-LINK command set, byte by byte."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbflash.board.faces.stlink import StlinkProbe
from tests.support.debugport import RecordingPort

ENTER_SWD = "f2 30 a3"
LAST_STATUS = "f2 3e"
RAM = 0x20000000


def command(text: str) -> bytes:
    return bytes.fromhex(text).ljust(16, b"\0")


class Probe:
    """A probe in debug mode over a recording port."""

    def __init__(self) -> None:
        self.port = RecordingPort((RAM, 0x10000), (0x58000000, 0x1000), (0x5C001000, 0x1000), (0xE000E000, 0x1000))
        self.stlink = StlinkProbe(self.port)
        self.ask(ENTER_SWD, 2)
        self.port.calls.clear()

    def ask(self, text: str, size: int) -> str:
        return self.stlink.execute(command(text), b"", size).hex(" ")

    def send(self, text: str, data: bytes) -> None:
        assert self.stlink.execute(command(text), data, 0) == b""

    def status(self) -> str:
        return self.ask(LAST_STATUS, 12)


@pytest.fixture
def probe() -> Probe:
    return Probe()


OK_STATUS = "80 00 00 00 00 00 00 00 00 00 00 00"


def test_version_of_a_v3(probe: Probe) -> None:
    assert probe.ask("f1", 6) == "30 00 83 04 4f 37"
    assert probe.ask("fb", 12) == "03 01 0d 04 05 00 00 00 83 04 4f 37"


def test_target_voltage_is_3v3(probe: Probe) -> None:
    reference, half = struct.unpack("<II", bytes.fromhex(probe.ask("f7", 8)))
    assert 2 * half * 1.2 / reference == pytest.approx(3.3)


def test_modes() -> None:
    stlink = StlinkProbe(RecordingPort())
    assert stlink.execute(command("f5"), b"", 2).hex() == "0100"
    assert stlink.execute(command("f2 31"), b"", 12)[0] == 0x81  # no identification outside debug mode
    assert stlink.execute(command(ENTER_SWD), b"", 2).hex() == "8000"
    assert stlink.execute(command("f5"), b"", 2).hex() == "0200"
    stlink.execute(command("f2 21"), b"", 0)
    assert stlink.execute(command("f5"), b"", 2).hex() == "0100"


def test_jtag_finds_no_device() -> None:
    assert StlinkProbe(RecordingPort()).execute(command("f2 30 a4"), b"", 2).hex() == "0900"


def test_idcodes(probe: Probe) -> None:
    assert probe.ask("f2 31", 12) == "80 00 00 00 77 24 a0 6b 00 00 00 00"


def test_unknown_commands(probe: Probe) -> None:
    assert probe.ask("f2 7e", 2) == "42 00"
    assert probe.ask("aa", 2) == "42 00"


def test_frequencies(probe: Probe) -> None:
    listed = struct.unpack("<13I", bytes.fromhex(probe.ask("f2 62", 52)))
    assert listed == (0x80, 1000, 7, 24000, 8000, 3300, 1000, 200, 50, 5, 0, 0, 0)
    assert probe.ask("f2 61 00 00 a0 0f 00 00", 8) == "80 00 00 00 e4 0c 00 00"  # 4000 kHz: 3300 is next below
    assert probe.ask("f2 61 00 00 01 00 00 00", 8) == "80 00 00 00 05 00 00 00"


def test_words_are_read_and_written(probe: Probe) -> None:
    probe.send("f2 08 00 00 00 20 08 00", bytes.fromhex("78563412 efbeadde"))
    assert probe.status() == OK_STATUS
    assert probe.ask("f2 07 00 00 00 20 08 00", 8) == "78 56 34 12 ef be ad de"
    assert probe.ask("f2 47 02 00 00 20 04 00", 4) == "34 12 ef be"
    assert probe.ask("f2 0c 03 00 00 20 02 00", 2) == "12 ef"
    assert probe.status() == OK_STATUS


def test_one_byte_is_padded_to_two(probe: Probe) -> None:
    probe.send("f2 0d 01 00 00 20 01 00", b"\xa5")
    assert probe.ask("f2 0c 01 00 00 20 01 00", 2) == "a5 00"


def test_ram_is_moved_in_one_access(probe: Probe) -> None:
    probe.port.accesses.clear()
    probe.ask("f2 07 00 00 00 20 00 18", 6144)
    probe.send("f2 08 00 00 00 20 00 18", bytes(6144))
    assert probe.port.accesses == [("r", RAM, 6144), ("w", RAM, 6144)]


def test_peripherals_are_accessed_with_the_width_asked_for(probe: Probe) -> None:
    probe.port.accesses.clear()
    probe.ask("f2 07 00 00 00 58 08 00", 8)
    probe.send("f2 48 04 00 00 58 04 00", bytes(4))
    probe.ask("f2 0c 08 00 00 58 03 00", 3)
    assert probe.port.accesses == [
        *[("r", 0x58000000, 4), ("r", 0x58000004, 4)],
        *[("w", 0x58000004, 2), ("w", 0x58000006, 2)],
        *[("r", 0x58000008, 1), ("r", 0x58000009, 1), ("r", 0x5800000A, 1)],
    ]


def test_fixed_address(probe: Probe) -> None:
    probe.port.accesses.clear()
    probe.send("f2 50 00 01 00 20 08 00", bytes.fromhex("01000000 02000000"))
    assert probe.ask("f2 54 00 01 00 20 08 00", 8) == "02 00 00 00 02 00 00 00"
    assert probe.port.accesses == [("w", 0x20000100, 4)] * 2 + [("r", 0x20000100, 4)] * 2


def test_bus_fault_is_told_by_the_status_command(probe: Probe) -> None:
    assert probe.ask("f2 07 00 00 00 30 04 00", 4) == "00 00 00 00"
    assert probe.status() == "11 00 00 00 00 00 00 30 00 00 00 00"
    assert probe.ask("f2 07 00 00 00 20 04 00", 4) == "00 00 00 00"
    assert probe.status() == OK_STATUS


def test_a_write_across_the_end_of_ram_writes_up_to_it(probe: Probe) -> None:
    probe.send("f2 08 f8 ff 00 20 10 00", b"\x11" * 16)
    assert probe.status() == "11 00 00 00 00 00 01 20 00 00 00 00"
    assert probe.ask("f2 07 f8 ff 00 20 08 00", 8) == "11 11 11 11 11 11 11 11"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("f2 07 02 00 00 20 04 00", id="unaligned word"),
        pytest.param("f2 07 00 00 00 20 06 00", id="a word and a half"),
        pytest.param("f2 07 00 00 00 20 04 18", id="over 6144 bytes"),
        pytest.param("f2 0c 00 00 00 20 01 02", id="over 512 single bytes"),
        pytest.param("f2 47 01 00 00 20 02 00", id="unaligned halfword"),
    ],
)
def test_transfers_that_no_probe_does(probe: Probe, text: str) -> None:
    probe.port.accesses.clear()
    probe.ask(text, 4)
    assert probe.status().startswith("12 ")
    assert probe.port.accesses == []


def test_access_ports_of_an_h7(probe: Probe) -> None:
    assert probe.ask("f2 45 00 00 fc 00", 8) == "80 00 00 00 01 00 77 84"
    assert probe.ask("f2 45 01 00 fc 00", 8) == "80 00 00 00 01 00 77 84"
    assert probe.ask("f2 45 02 00 fc 00", 8) == "80 00 00 00 02 00 77 54"
    assert probe.ask("f2 45 03 00 fc 00", 8) == "80 00 00 00 00 00 00 00"
    assert probe.ask("f2 4b 02", 2) == "80 00"
    assert probe.ask("f2 4b 03", 2) == "1d 00"


def test_dbgmcu_through_ap_2(probe: Probe) -> None:
    probe.port.write_memory(0x5C001000, bytes.fromhex("50640320"))
    assert probe.ask("f2 07 00 10 0e e0 04 00 02", 4) == "50 64 03 20"
    assert probe.ask("f2 07 00 10 00 5c 04 00 02", 4) == "00 00 00 00"  # the APB has only its own addresses
    assert probe.status() == "11 00 00 00 00 10 00 5c 00 00 00 00"


def test_a_fault_in_a_register_access_stays_until_abort(probe: Probe) -> None:
    probe.ask("f2 46 00 00 04 00 00 00 00 30", 2)  # TAR
    assert probe.ask("f2 45 00 00 0c 00", 8).startswith("11")  # DRW
    assert probe.ask("f2 45 00 00 04 00", 8).startswith("19")
    assert probe.ask("f2 45 ff ff 04 00", 8) == "80 00 00 00 20 00 00 f0"  # CTRL/STAT: STICKYERR, powered
    assert probe.ask("f2 46 ff ff 00 00 04 00 00 00", 2) == "80 00"  # ABORT: STKERRCLR
    assert probe.ask("f2 45 00 00 04 00", 8) == "80 00 00 00 00 00 00 30"


def test_a_debug_port_without_power_refuses(probe: Probe) -> None:
    probe.ask("f2 46 ff ff 04 00 00 00 00 00", 2)
    assert probe.ask("f2 45 00 00 fc 00", 8).startswith("15")
    probe.ask("f2 07 00 00 00 20 04 00", 4)
    assert probe.status().startswith("15")


def test_registers_of_the_halted_core(probe: Probe) -> None:
    probe.port.registers.update(
        r3=0x11223344, control=2, faultmask=1, basepri=0x40, primask=1, fpscr=0x9, s31=0x3F800000
    )
    assert probe.ask("f2 33 03", 8) == "80 00 00 00 44 33 22 11"
    assert probe.ask("f2 33 14", 8) == "80 00 00 00 01 40 01 02"
    assert probe.ask("f2 33 21", 8) == "80 00 00 00 09 00 00 00"
    assert probe.ask("f2 33 5f", 8) == "80 00 00 00 00 00 80 3f"
    assert probe.ask("f2 34 14 00 80 00 03", 2) == "80 00"
    assert [probe.port.registers[name] for name in ("primask", "basepri", "faultmask", "control")] == [0, 0x80, 0, 3]
    assert probe.ask("f2 34 0f 01 02 00 20", 2) == "80 00"
    assert probe.port.registers["pc"] == 0x20000200


def test_all_registers(probe: Probe) -> None:
    names = [*(f"r{n}" for n in range(13)), "sp", "lr", "pc", "xpsr", "msp", "psp"]
    probe.port.registers.update({name: 0x100 + index for index, name in enumerate(names)}, primask=1)
    words = struct.unpack("<22I", bytes.fromhex(probe.ask("f2 3a", 88)))
    assert words == (0x80, *range(0x100, 0x113), 1, 0)


def test_no_registers_of_a_running_core(probe: Probe) -> None:
    probe.port.halted = None
    assert probe.ask("f2 33 03", 8).startswith("81")
    assert probe.ask("f2 34 03 00 00 00 00", 2) == "81 00"
    assert probe.ask("f2 3a", 88).startswith("81")


def test_halt_and_run_by_debug_registers(probe: Probe) -> None:
    probe.port.halted = None
    assert probe.ask("f2 35 f0 ed 00 e0 03 00 5f a0", 2) == "80 00"
    assert probe.port.calls == ["halt"]
    assert probe.ask("f2 36 f0 ed 00 e0", 8) == "80 00 00 00 03 00 03 03"
    assert probe.ask("f2 35 f0 ed 00 e0 01 00 5f a0", 2) == "80 00"
    assert probe.port.calls == ["halt", "resume"]


def test_reset_command_honours_the_vector_catch(probe: Probe) -> None:
    probe.ask("f2 35 f0 ed 00 e0 01 00 5f a0", 2)  # C_DEBUGEN
    probe.port.calls.clear()
    assert probe.ask("f2 32", 2) == "80 00"
    probe.ask("f2 35 fc ed 00 e0 01 00 00 01", 2)  # DEMCR: VC_CORERESET, TRCENA
    probe.ask("f2 32", 2)
    assert probe.port.calls == ["reset", "reset halt"]


def test_nrst_holds_the_core(probe: Probe) -> None:
    probe.ask("f2 3c 00", 2)
    assert probe.ask("f2 36 f0 ed 00 e0", 8) == "80 00 00 00 00 00 01 03"  # S_RESET_ST, not halted
    assert probe.ask("f2 36 f0 ed 00 e0", 8).endswith("01 02")  # and again: still in reset
    probe.ask("f2 3c 01", 2)
    assert probe.port.calls == ["reset halt", "reset"]
    assert probe.port.halted is None


def test_queued_accesses(probe: Probe) -> None:
    codes = bytes([5, 1, 2, 3, 3])
    words = struct.pack("<5I", 0, RAM + 0x40, 0xCAFEF00D, RAM + 0x40, 0x30000000)
    probe.send("f2 51 05 00 00 00", codes.ljust(8, b"\0") + words)
    assert struct.unpack("<10I", bytes.fromhex(probe.ask("f2 52", 40))) == (
        *(0, 0, 0, 0xCAFEF00D, 0),
        *(0x80, 0x80, 0x80, 0x80, 0x11),
    )


def test_queued_access_through_a_missing_port(probe: Probe) -> None:
    probe.send("f2 51 02 00 00 00", bytes([5, 3, 0, 0]) + struct.pack("<2I", 7, RAM))
    assert struct.unpack("<4I", bytes.fromhex(probe.ask("f2 52", 16))) == (0, 0, 0x80, 0x1D)


def test_a_probe_with_cut_wires(probe: Probe) -> None:
    def answer(text: str, size: int) -> str:
        return probe.stlink.answer_unwired(command(text), size).hex(" ")

    assert answer("f2 36 f0 ed 00 e0", 8) == "16 00 00 00 00 00 00 00"
    assert answer("f2 07 00 00 00 20 04 00", 4) == "00 00 00 00"
    assert answer(LAST_STATUS, 12)[:2] == "16"
    assert answer("f2 52", 8) == "00 00 00 00 16 00 00 00"
    assert answer("f5", 2) == "02 00"  # the probe itself is well


def test_a_write_with_too_little_data(probe: Probe) -> None:
    probe.port.accesses.clear()
    probe.send("f2 08 00 00 00 20 08 00", bytes(4))
    assert probe.status().startswith("12 ")
    assert probe.port.accesses == []


def test_a_queue_with_too_little_data(probe: Probe) -> None:
    probe.send("f2 51 ff ff ff ff", bytes(16))
    assert probe.ask("f2 52", 8) == "00 00 00 00 00 00 00 00"


@settings(deadline=None)  # the machine may be busy
@given(
    code=st.integers(0, 0x65), parameters=st.binary(max_size=14), data=st.binary(max_size=64), size=st.integers(0, 100)
)
def test_any_debug_command_gets_a_reply_of_the_size_asked_for(
    code: int, parameters: bytes, data: bytes, size: int
) -> None:
    probe = Probe()
    text = bytes([0xF2, code]) + parameters.ljust(14, b"\0")
    assert len(probe.stlink.execute(text, data, size)) == size
    assert len(probe.stlink.answer_unwired(text, size)) == size
