"""The W25Q128JV on the virtual board: power-down, reset, suspend, security registers, file, faults, models."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gdbflash.board.chips.facts import DATA_SHEET
from gdbflash.board.chips.nor import StuckBits
from gdbflash.board.chips.w25q import W25Q
from gdbflash.errors import InputError
from tests.support.nor_host import MIB, SMALL, Host, ManualClock, make


@pytest.fixture
def host() -> Host:
    return make()


@pytest.fixture
def quad() -> Host:
    return make(quad_enable=True)


# --- power-down, reset, suspend -----------------------------------------------------------------------------


def test_power_down_listens_to_release_only(host: Host) -> None:
    host.do(0xB9)
    assert host.do(0x9F, read=3) == b"\xff\xff\xff"
    assert host.do(0x05, read=1) == b"\xff"
    host.do(0xAB)
    assert host.do(0x9F, read=3) == bytes.fromhex("ef4018")
    host.do(0xB9)
    assert host.do(0xAB, 0, read=1) == b"\x17"
    assert host.status() == 0x00


def test_reset_needs_the_pair(quad: Host) -> None:
    quad.enable()
    quad.do(0x99)
    assert quad.status() == 0x02
    quad.do(0x66)
    assert quad.status() == 0x02  # any command between disarms
    quad.do(0x99)
    assert quad.status() == 0x02
    quad.do(0x66)
    quad.do(0x99)
    assert quad.status() == 0x00


def test_reset_takes_its_time() -> None:
    host = make(DATA_SHEET)
    host.do(0x66)
    host.do(0x99)
    assert host.do(0x05, read=1) == b"\xff"
    host.time.time += 31e-6
    assert host.do(0x05, read=1) == b"\x00"


def test_reset_cuts_an_erase_off_where_it_is() -> None:
    host = make(DATA_SHEET)
    host.flash.memory[0:8192] = bytes(8192)
    host.enable()
    host.do(0x20, 0x1000)
    host.time.time = 45e-3 * 0.2501
    host.do(0x66)
    host.do(0x99)
    assert host.flash.memory[0x1000:0x1400] == b"\xff" * 1024
    assert host.flash.memory[0x1400:0x2000] == bytes(3072)
    host.time.time += 31e-6
    assert host.status() == 0x00
    assert host.flash.counters.sectors_erased == 0


def test_suspend_and_resume_of_an_erase() -> None:
    host = make(DATA_SHEET)
    host.flash.memory[0x1000] = host.flash.memory[0x2000] = 0
    host.enable()
    host.do(0x20, 0x1000)
    host.time.time = 40e-3
    host.do(0x75)
    assert host.status() == 0x03  # tSUS
    host.time.time += 21e-6
    assert [host.status() & 1, host.status(2)] == [0, 0x80]
    assert host.do(0x03, 0x2000, read=1) == b"\x00"
    host.enable()
    host.do(0x20, 0x2000)
    assert host.status() & 1 == 0  # no erase while one is suspended
    host.do(0x02, 0x1000, b"\x00")
    assert host.status() & 1 == 0  # nor a program in the suspended sector
    host.do(0x02, 0x3000, b"\x77")
    assert host.status() & 1 == 1
    host.time.time += 1e-3
    assert host.do(0x03, 0x3000, read=1) == b"\x77"
    host.do(0x7A)
    assert [host.status() & 1, host.status(2)] == [1, 0]
    host.time.time += 4.9e-3
    assert host.status() & 1 == 1
    host.time.time += 0.2e-3
    assert host.status() == 0
    assert host.do(0x03, 0x1000, read=1) == b"\xff"


def test_chip_erase_cannot_be_suspended() -> None:
    host = make(DATA_SHEET)
    host.enable()
    host.do(0xC7)
    host.do(0x75)
    host.time.time = 1.0
    assert [host.status(), host.status(2)] == [0x03, 0x00]


def test_resume_without_suspend_does_nothing(host: Host) -> None:
    host.do(0x7A)
    assert [host.status(), host.status(2)] == [0, 0]


# --- security registers -------------------------------------------------------------------------------------


def test_security_registers(host: Host) -> None:
    host.write(0x42, 0x0020FE, b"\x01\x02\x03")
    assert host.do(0x48, 0x0020FE, dummy=8, read=3) == b"\x01\x02\x03"
    assert host.do(0x48, 0x001000, dummy=8, read=1) == b"\xff"
    host.write(0x42, 0x002000, b"\x01")
    assert host.do(0x48, 0x002000, dummy=8, read=1) == b"\x01"
    host.write(0x31, data=b"\x10")  # LB2
    host.enable()
    host.do(0x44, 0x002000)
    assert host.status() == 0x02
    host.write(0x44, 0x003000)
    assert host.do(0x48, 0x0020FE, dummy=8, read=3) == b"\x01\x02\x01"
    assert host.flash.memory[0x2000] == 0xFF


def test_security_register_erase(host: Host) -> None:
    host.write(0x42, 0x001000, bytes(256))
    host.write(0x44, 0x001000)
    assert host.do(0x48, 0x001000, dummy=8, read=256) == b"\xff" * 256


# --- file and faults ----------------------------------------------------------------------------------------


def test_file_is_created_erased_and_holds_the_content_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    host = make(path=path)
    assert path.stat().st_size == 16 * MIB
    host.write(0x02, 0x1000, b"\x12\x34")
    host.flash.close()
    content = path.read_bytes()
    assert content[0x1000:0x1002] == b"\x12\x34"
    assert content.count(0xFF) == 16 * MIB - 2
    again = make(path=path)
    assert again.do(0x03, 0x1000, read=2) == b"\x12\x34"
    again.flash.close()


def test_another_process_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    host = make(path=path, chip=SMALL)
    host.write(0x02, 0x1000, b"\x5a")
    script = f"print(open({str(path)!r}, 'rb').read()[0x1000])"
    seen = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert seen.stdout == "90\n"
    host.flash.close()


def test_file_of_another_size_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    path.write_bytes(b"abc")
    with pytest.raises(InputError, match="has 3 bytes, but the chip has 16777216") as caught:
        make(path=path)
    assert caught.value.data == {"path": str(path), "size": 3, "expected": 16777216}
    assert path.read_bytes() == b"abc"


def test_close_with_the_memory_still_mapped_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    host = make(path=path, chip=SMALL)
    view = host.flash.memory[:]
    host.write(0x02, 0, b"\x42")
    host.flash.close()
    assert path.read_bytes()[0] == 0x42
    assert view[0] == 0x42


@pytest.mark.parametrize("backed", [True, False])
def test_memory_can_be_addressed_by_ctypes(tmp_path: Path, backed: bool) -> None:
    host = make(chip=SMALL, path=tmp_path / "flash.bin" if backed else None)
    array = (ctypes.c_ubyte * SMALL.size).from_buffer(host.flash.memory)
    host.write(0x02, 0x100, b"\x99")
    assert array[0x100] == 0x99


def test_close_ends_what_the_time_allows(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    host = make(DATA_SHEET, path=path, chip=SMALL)
    host.flash.memory[0:4096] = bytes(4096)
    host.enable()
    host.do(0x20, 0)
    host.time.time = 45e-3 * 0.5001
    host.flash.close()
    assert path.read_bytes()[:4096] == b"\xff" * 2048 + bytes(2048)


def test_erase_that_does_nothing(host: Host) -> None:
    host.flash.memory[0] = 0
    host.flash.faults.erase_does_nothing = True
    host.enable()
    host.do(0x20, 0)
    assert host.status() == 0x03
    host.wait()
    assert host.status() == 0x00
    assert host.do(0x03, 0, read=1) == b"\x00"
    assert host.flash.counters.sectors_erased == 0


def test_program_that_does_nothing(host: Host) -> None:
    host.flash.faults.program_does_nothing = True
    host.write(0x02, 0, b"\x00")
    assert host.do(0x03, 0, read=1) == b"\xff"
    assert host.flash.counters.pages_programmed == 0


def test_write_protected_chip(host: Host) -> None:
    host.flash.faults.write_protected = True
    for opcode, address, data in ((0x02, 0, b"\x00"), (0x20, 0, b""), (0xC7, None, b"")):
        host.enable()
        host.do(opcode, address, data)
        assert host.status() == 0x02


def test_stuck_bits(host: Host) -> None:
    host.flash.faults.stuck = {0x1001: StuckBits(0x10, 0x00), 0x1002: StuckBits(0x01, 0x01)}
    host.write(0x20, 0x1000)
    assert host.do(0x03, 0x1000, read=4) == bytes.fromhex("ffefffff")
    host.write(0x02, 0x1000, bytes(4))
    assert host.do(0x03, 0x1000, read=4) == bytes.fromhex("00000100")


# --- against reference models -------------------------------------------------------------------------------

ADDRESSES = st.integers(0, SMALL.size - 1)
ACTIONS = st.one_of(
    st.tuples(st.just("program"), ADDRESSES, st.binary(min_size=1, max_size=300)),
    st.tuples(st.just("erase"), ADDRESSES, st.sampled_from([(0x20, 0x1000), (0x52, 0x8000), (0xD8, 0x10000)])),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTIONS, max_size=12))
def test_array_against_the_rules(actions: list[tuple[str, int, object]]) -> None:
    host = make(chip=SMALL)
    model = bytearray(b"\xff" * SMALL.size)
    for kind, address, argument in actions:
        if kind == "program":
            assert isinstance(argument, bytes)
            host.write(0x02, address, argument)
            page = address & ~0xFF
            latch = {(address + index) & 0xFF: value for index, value in enumerate(argument)}
            for offset, value in latch.items():
                model[page + offset] &= value
        else:
            assert isinstance(argument, tuple)
            opcode, size = argument
            host.write(opcode, address)
            start = address // size * size
            for index in range(start, start + size):
                model[index] = 0xFF
    assert host.flash.memory == model


LINES = st.sampled_from([1, 2, 4])
FRAMES = st.tuples(
    st.sampled_from([0x01, 0x02, 0x03, 0x05, 0x06, 0x0B, 0x20, 0x31, 0x32, 0x35, 0x38, 0x3B, 0x50, 0x5A, 0x66, 0x6B])
    | st.sampled_from([0x77, 0x90, 0x94, 0x99, 0x9F, 0xAB, 0xB9, 0xBB, 0xC0, 0xEB, 0xFF, None]),
    st.none() | st.integers(0, 0xFFFFFF),
    st.binary(max_size=5),
    st.integers(0, 4),
    st.tuples(LINES, LINES, LINES),
    st.none() | st.sampled_from([0x00, 0xA0, 0xFF]),
    st.integers(0, 10),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(FRAMES, max_size=10), st.booleans())
def test_whole_bytes_and_single_clocks_agree(frames: list[tuple[object, ...]], quad_enable: bool) -> None:
    hosts = []
    for by_clock in (False, True):
        clock = ManualClock()
        host = Host(W25Q(clock, chip=SMALL, quad_enable=quad_enable), clock, by_clock=by_clock)
        host.flash.memory[:0x10000] = bytes(range(256)) * 256
        hosts.append(host)
    for opcode, address, data, read, lines, mode, dummy in frames:
        seen = []
        for host in hosts:
            seen.append(
                host.do(opcode, address, data, read=read, lines=lines, mode=mode, dummy=dummy)  # type: ignore[arg-type]
            )
            host.time.time += 1.0
        assert seen[0] == seen[1]
    assert hosts[0].flash.memory == hosts[1].flash.memory
    assert hosts[0].flash.qpi == hosts[1].flash.qpi
    assert [hosts[0].flash.core.status(register) for register in (1, 2, 3)] == [
        hosts[1].flash.core.status(register) for register in (1, 2, 3)
    ]
