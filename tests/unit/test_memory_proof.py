"""Writes that a server acknowledges and drops: the largest that stays is found by measuring, once."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from gdbflash.servers.memory_proof import LEAST_WRITE, ProvenMemory
from gdbflash.servers.profiles import PROFILES

GENERIC = PROFILES["generic"]


@dataclass
class Dropping:
    """A wire that writes no more than so many bytes at once, and says nothing of the rest."""

    most: int
    memory: bytearray = field(default_factory=lambda: bytearray(0x10000))
    writes: list[int] = field(default_factory=list)
    reads: int = 0

    def read(self, address: int, size: int) -> bytes:
        self.reads += 1
        return bytes(self.memory[address : address + size])

    def write(self, address: int, data: bytes) -> None:
        self.writes.append(len(data))
        kept = data[: self.most]
        self.memory[address : address + len(kept)] = kept

    def ask(self, command: str) -> None:
        raise AssertionError(command)

    def allow_binary(self, allowed: bool) -> None:
        raise AssertionError(allowed)


class Cutting(Dropping):
    """A wire that reads from a word on, and no more than 6,144 bytes of what it then needs."""

    def read(self, address: int, size: int) -> bytes:
        there = 6144 - address % 4
        return super().read(address, min(size, there)).ljust(size, b"?")


def test_a_limit_that_nobody_names_is_found_and_kept_to() -> None:
    wire = Dropping(6144)
    memory = ProvenMemory(wire, GENERIC)
    data = bytes(range(1, 251)) * 60
    memory.write(0, data)
    assert bytes(wire.memory[: len(data)]) == data
    assert max(wire.writes[1:][2:]) <= 6144
    wire.writes.clear()
    reads = wire.reads
    memory.write(0x4000, data)
    assert bytes(wire.memory[0x4000 : 0x4000 + len(data)]) == data
    assert max(wire.writes) == len(data) // 4
    assert wire.reads == reads, "what is known is not measured again"


def test_what_stays_is_looked_at_once_for_each_larger_size() -> None:
    wire = Dropping(0x10000)
    memory = ProvenMemory(wire, GENERIC)
    for number, (size, reads) in enumerate(((LEAST_WRITE, 0), (1000, 2), (1000, 2), (900, 2), (2000, 4)), 1):
        memory.write(0, bytes([number]) * size)
        assert wire.reads == reads
    assert wire.writes == [LEAST_WRITE, 1000, 1000, 900, 2000]


def test_what_was_there_already_proves_nothing() -> None:
    wire = Dropping(6144)
    wire.memory[:8000] = b"\x55" * 8000
    memory = ProvenMemory(wire, GENERIC)
    memory.write(0, b"\x55" * 8000)
    memory.write(0, b"\x66" * 8000)
    assert bytes(wire.memory[:8000]) == b"\x66" * 8000


def test_what_stays_in_no_size_is_left_to_who_reads_it_back() -> None:
    wire = Dropping(0)
    ProvenMemory(wire, GENERIC).write(0, b"\x55" * 1000)
    assert min(wire.writes) < LEAST_WRITE
    assert not any(wire.memory)


@pytest.mark.parametrize("offset", [0, 1, 3])
def test_reads_end_at_words_where_longer_ones_are_cut(offset: int) -> None:
    wire = Cutting(0x10000)
    wire.memory[:] = bytes(range(1, 252)) * 261 + bytes(25)
    memory = ProvenMemory(wire, PROFILES["st-util"])
    for size in (1, 6143, 6144, 6145, 20_001):
        assert memory.read(offset, size) == bytes(wire.memory[offset : offset + size])


@pytest.mark.parametrize("name", ["st-util", "qemu"])
def test_a_limit_that_a_profile_names_needs_no_look(name: str) -> None:
    wire = Dropping(PROFILES[name].largest_write or 0x10000)
    ProvenMemory(wire, PROFILES[name]).write(0, b"\x55" * 20_000)
    assert bytes(wire.memory[:20_000]) == b"\x55" * 20_000
    assert wire.reads == 0
