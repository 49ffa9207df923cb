"""The digest routine's machine code: executed instruction by instruction, and on every core that QEMU has."""

from __future__ import annotations

import random
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import started
from gdbflash.onchip.call import Call
from gdbflash.onchip.digest import (
    LEAST_ROOM,
    CheckedCall,
    Key,
    Piece,
    Routine,
    RoutineCall,
    Run,
    digests,
    split_checksum,
    split_digests,
)
from gdbflash.ranges import Range
from gdbflash.servers.profiles import PROFILES
from tests.support.gdbservers import GDBS, gdb_path, prepare_call, running_qemu
from tests.support.routine import CORES, FLASH, Core, bytes_read

KEY = Key(0x01234567, 0x89ABCDEF, 0x9E3779B1, 0x85EBCA77)
AREA = Range(0x24005000, 8192)
READ = 0x24008000
WRITE = 0x24008100
WROTE = 0x24008200
BUFFER = 0x24010000
STACK = 64
"""Bytes that a call may use: what stacks beside small loaders can spare."""


def expected_digests(data: bytes, runs: list[Run], key: Key = KEY, *, leads: bool = True) -> list[bytes]:
    """What the twin says of runs over flash that holds data."""
    pieces = [piece for run in runs for piece in run.pieces]
    offsets = [piece.address - FLASH.address for piece in pieces]
    return digests(
        [
            Piece(data[offset : offset + piece.size], piece.address % 4 if leads else 0)
            for offset, piece in zip(offsets, pieces, strict=True)
        ],
        key,
    )


@pytest.fixture(scope="module", params=CORES)
def core(request: pytest.FixtureRequest) -> Core:
    return Core(Routine(AREA, KEY), request.param)


@settings(deadline=None, max_examples=50)
@given(
    st.randoms(use_true_random=False),
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 150), st.integers(1, 70)), min_size=1, max_size=4),
)
def test_the_twin_agrees_and_no_byte_is_read_twice_or_outside(
    core: Core, source: random.Random, shape: list[tuple[int, int, int]]
) -> None:
    data = source.randbytes(1024)
    core.put(FLASH.address, data)
    runs = []
    address = FLASH.address
    for gap, size, step in shape:
        runs.append(Run(address + gap, size, step))
        address = runs[-1].address + size
    made = Routine(AREA, KEY).digests(runs, timeout=1)

    ran = core.perform(made)

    assert (ran.r0, ran.r1) == (1, made.complete)
    assert split_digests(ran.results) == expected_digests(data, runs)
    assert bytes_read(ran.read) == [at for run in runs for at in range(run.address, run.address + run.size)]
    assert all(address % size == 0 for address, size in ran.read)
    assert all(made.results.address <= each.address and each.end <= made.results.end for each in ran.written)
    assert ran.stack <= STACK


@pytest.mark.parametrize("place", [0x24005000, 0x24005004, 0x2400A008, 0x2403F000])
def test_the_code_runs_at_any_word(place: int) -> None:
    routine = Routine(Range(place, LEAST_ROOM), KEY)
    core = Core(routine)
    data = random.Random(place).randbytes(300)
    core.put(FLASH.address, data)
    runs = [Run(FLASH.address + 1, 299, 100)]
    ran = core.perform(routine.digests(runs, timeout=1))
    assert split_digests(ran.results) == expected_digests(data, runs)


def test_the_end_of_memory_is_no_obstacle() -> None:
    routine = Routine(AREA, KEY)
    core = Core(routine)
    data = random.Random(1).randbytes(FLASH.size)
    core.put(FLASH.address, data)
    for size in (1, 3, 4, 31, 33, 64, 4097):
        runs = [Run(FLASH.end - size, size, size)]  # nothing is mapped behind it: the emulator would stop
        assert split_digests(core.perform(routine.digests(runs, timeout=1)).results) == expected_digests(data, runs)
    runs = [Run(FLASH.address, 5, 5)]
    assert split_digests(core.perform(routine.digests(runs, timeout=1)).results) == expected_digests(data, runs)


def test_instructions_per_byte() -> None:
    routine = Routine(AREA, KEY)
    core = Core(routine)
    sectors = core.perform(routine.digests([Run(FLASH.address, 0x10000, 0x1000)], timeout=1))
    assert sectors.instructions == 154_523, "2.36 a byte in sectors of 4 KiB"
    summing = core.perform(routine.checksum([Run(FLASH.address, 0x1000, 0x1000)], 0, 0, timeout=1))
    assert summing.instructions == 65_594, "16.0 a byte"


def copying_read(result: int = 1) -> bytes:
    """Make a loader's Read in Thumb code: copies bytes, spoils what AAPCS lets it spoil, returns result."""
    return struct.pack(
        "<12H",
        0x2900,  # cmp r1, #0
        0xD005,  # beq done
        0x7803,  # loop: ldrb r3, [r0]
        0x7013,  # strb r3, [r2]
        0x3001,  # adds r0, #1
        0x3201,  # adds r2, #1
        0x3901,  # subs r1, #1
        0xD1F9,  # bne loop
        0x2300 | 0x5A,  # done: movs r3, #0x5A
        0x469C,  # mov r12, r3
        0x2000 | result,  # movs r0, #result
        0x4770,  # bx lr
    )


@settings(deadline=None, max_examples=50)
@given(st.randoms(use_true_random=False), st.integers(0, 7), st.integers(1, 300), st.integers(1, 130))
def test_pieces_fetched_by_a_read_function(core: Core, source: random.Random, start: int, size: int, step: int) -> None:
    data = source.randbytes(512)
    core.put(FLASH.address, data)
    core.put(READ, copying_read())
    run = Run(FLASH.address + start, size, step, BUFFER)
    made = Routine(AREA, KEY).digests([run], read=READ, timeout=1)

    ran = core.perform(made)

    assert (ran.r0, ran.r1) == (1, made.complete)
    assert split_digests(ran.results) == expected_digests(data, [run], leads=False)
    assert ran.stack <= STACK


def test_what_the_buffer_held_before_counts_for_nothing() -> None:
    poison = iter((0x01234567, 0x89ABCDEF))
    routine = Routine(AREA, KEY, lambda: next(poison))
    core = Core(routine)
    data = random.Random(3).randbytes(100)
    core.put(FLASH.address, data)
    core.put(READ, bytes.fromhex("0120 7047"))  # movs r0, #1; bx lr: says that it has read
    core.put(BUFFER, data + bytes(4) + b"guard")
    run = Run(FLASH.address, 100, 100, BUFFER)
    ran = core.perform(routine.digests([run], read=READ, timeout=1))
    assert ran.r0 == 1
    assert split_digests(ran.results) != expected_digests(data, [run])
    assert bytes(core.uc.mem_read(BUFFER, 109)) == bytes.fromhex("67452301") * 26 + b"guard"
    again = core.perform(routine.digests([run], read=READ, timeout=1))
    assert again.results != ran.results, "what it leaves is never what it left before"


def test_a_read_that_fails_ends_it_with_its_result() -> None:
    routine = Routine(AREA, KEY)
    core = Core(routine)
    core.put(READ, copying_read(result=7))
    made = routine.digests([Run(FLASH.address, 64, 16, BUFFER)], read=READ, timeout=1)
    ran = core.perform(made)
    assert (ran.r0, ran.r1) == (7, made.results.address)


def noting_write() -> bytes:
    """Make a loader's Write in Thumb code: notes its arguments and r3 at WROTE, returns r0 = 7, r1 = the second one."""
    return struct.pack(
        "<8HI",
        0xB410,  # push {r4}
        0x4C03,  # ldr r4, wrote
        0xC40F,  # stmia r4!, {r0-r3}
        0xBC10,  # pop {r4}
        0x2007,  # movs r0, #7
        0x4770,  # bx lr
        0xBF00,  # nop
        0xBF00,  # nop
        WROTE,
    )


@settings(deadline=None, max_examples=50)
@given(st.binary(min_size=1, max_size=40_000), st.data())
def test_a_call_is_made_only_where_memory_holds_what_it_should(core: Core, data: bytes, draw: st.DataObject) -> None:
    routine = Routine(AREA, KEY)
    core.put(WRITE, noting_write())
    core.put(WROTE, bytes(16))
    core.put(BUFFER, data + b"\x5a")
    call = Call("Write", WRITE, (0x90000000, len(data), BUFFER), 3)
    checked = routine.checked(call, BUFFER, data)
    made = RoutineCall(checked.inputs, checked.call, checked.outcome, 0)

    ran = core.perform(made)

    assert (ran.r0, ran.r1, CheckedCall.held(ran.results)) == (7, len(data), True)
    assert bytes(core.uc.mem_read(WROTE, 16)) == struct.pack("<4I", 0x90000000, len(data), BUFFER, 0)
    assert ran.stack <= STACK + 24

    core.put(WROTE, bytes(16))
    place = draw.draw(st.integers(0, len(data) - 1))
    core.put(BUFFER + place, bytes([data[place] ^ 1 << draw.draw(st.integers(0, 7))]))
    ran = core.perform(made)
    assert (ran.r0, CheckedCall.held(ran.results)) == (0, False)
    assert bytes(core.uc.mem_read(WROTE, 16)) == bytes(16)


@settings(deadline=None, max_examples=50)
@given(
    st.binary(min_size=1, max_size=400),
    st.integers(0, 3),
    st.integers(1, 130),
    st.integers(0, 0xFFFFFFFF),
    st.booleans(),
)
def test_checksum_is_zlib_crc32_and_byte_sum(
    core: Core, data: bytes, start: int, step: int, before: int, fetched: bool
) -> None:
    core.put(FLASH.address + start, data)
    core.put(READ, copying_read())
    run = Run(FLASH.address + start, len(data), step, BUFFER if fetched else 0)
    made = Routine(AREA, KEY).checksum([run], before, before, read=READ if fetched else 0, timeout=1)

    ran = core.perform(made)

    assert (ran.r0, ran.r1) == (1, made.complete)
    assert split_checksum(ran.results) == (zlib.crc32(data, before), before + sum(data) & 0xFFFFFFFF)
    assert bytes_read(ran.read) == list(range(run.address, run.address + run.size))
    assert ran.stack <= STACK


MACHINES = {
    "m0": ("microbit", 0x20000000),
    "m3": ("lm3s6965evb", 0x20000000),
    "m4": ("netduinoplus2", 0x20000000),
    "m7": ("mps2-an500", 0x20000000),
    "m33": ("mps2-an505", 0x38000000),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_on_the_cores_of_qemu(machine: str) -> None:
    """Real calls through GDB: data and routine in RAM."""
    name, ram = MACHINES[machine]
    source = random.Random(machine)
    with running_qemu(name, ram=ram) as server:
        target = connect(server.endpoint, started(gdb_path(next(iter(GDBS)))), profile=PROFILES["qemu"])
        try:
            routine = Routine(Range(ram + 0x1000, 2048), Key.random())
            data = source.randbytes(5000)
            where = ram + 0x2000
            target.write_memory(routine.area.address, routine.image)
            target.write_memory(where, data)
            run = Run(where + 3, 4990, 512)
            made = routine.digests([run], timeout=5)
            target.write_memory(*made.inputs)
            arguments = {f"r{number}": value for number, value in enumerate(made.call.arguments)}
            prepare_call(target, server, **arguments, msp=ram + 0x1000, sp=ram + 0x1000, pc=made.call.address)
            stop = target.run_until(ram, made.call.timeout)
            assert stop.pc == ram
            assert target.read_registers(("r0", "r1")) == {"r0": 1, "r1": made.complete}
            results = split_digests(target.read_memory(made.results.address, made.results.size))
            pieces = [Piece(data[each.address - where : each.end - where], each.address % 4) for each in run.pieces]
            assert results == digests(pieces, routine.key)
        finally:
            target.close()
