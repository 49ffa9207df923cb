"""Reads and writes that are known to have happened, also where a server answers before it knows.

What belongs here: the amounts, patterns and repetitions that prove it, for every debugger's way of moving bytes; that
way is a `Wire`. Which servers are known for what is in `profiles`.
"""

from __future__ import annotations

import contextlib
import re
from typing import Protocol

from gdbflash.errors import CommandRefused, MemoryAccessError
from gdbflash.servers.profiles import ServerProfile

LATE = 16
"""Bytes that a server with late answers surely answers late (OpenOCD: from 8, fast_limit in its gdb_server.c)."""
BULK = 256
"""Bytes from which X packets are worth it where they are answered late: the end is then written twice."""
LEAST_WRITE = 64
"""Bytes below which no server drops what it is sent, and a smaller limit is not looked for."""
_ZEROS = re.compile(rb"\0{512,}")
"""Zeros that may be a failed packet; packets but the last carry more than 512 bytes on servers known for this."""


class Wire(Protocol):
    """A debugger's way of moving bytes, which believes what the server answers.

    Every method raises CommandRefused when the server or debugger said no, ConnectionLost.
    """

    def read(self, address: int, size: int) -> bytes:
        """Read up to size bytes."""

    def write(self, address: int, data: bytes) -> None:
        """Write bytes."""

    def ask(self, command: str) -> None:
        """Run a command of GDB's prompt."""

    def allow_binary(self, allowed: bool) -> None:
        """Let GDB write by X packets, or have it write by M packets only."""


class ProvenMemory:
    """Target memory through a wire."""

    def __init__(self, wire: Wire, profile: ServerProfile) -> None:
        """Take over a wire that is connected; raises what the wire does."""
        self._wire = wire
        self._profile = profile
        self._error_waits = False
        self._largest = profile.largest_write or 0
        self._stays: int | None = LEAST_WRITE if profile.largest_write is None else None
        """Bytes that were seen to stay when written at once; None where that is no question any more."""
        if profile.late_write_errors:
            wire.allow_binary(False)  # M packets are answered when done

    def read(self, address: int, size: int) -> bytes:
        """Read size bytes; raises MemoryAccessError when any of them cannot be read.

        Where the server answers a failed read with zeros, zeros count only when they have been proved.
        """
        if size == 0:
            return b""
        try:
            data = self._read(address, size)
            if len(data) != size:
                raise _unreadable(address, size, f"{len(data)} bytes came")
            if self._profile.failed_reads_are_zeros:
                for start, stop in suspicious_zeros(data):
                    self._prove_zeros(address + start, stop - start)
        except CommandRefused as error:
            raise _unreadable(address, size, str(error.data["reply"])) from error
        return data

    def _read(self, address: int, size: int) -> bytes:
        """Read, in pieces that end at a word's border where the server answers no longer ones right."""
        most = self._profile.largest_read
        if not most or size + address % 4 <= most:
            return self._wire.read(address, size)
        stops = [*range(address - address % 4 + most, address + size, most), address + size]
        return b"".join(
            self._wire.read(start, stop - start) for start, stop in zip([address, *stops[:-1]], stops, strict=True)
        )

    def _prove_zeros(self, address: int, size: int) -> None:
        """Make sure that zeros are what is there: read again, and ask for both ends where failures are told."""
        again = self._wire.read(address, size)
        for place in (address, address + size - 1):
            self._wire.ask(f"{self._profile.read_check} {place:#x}")
        if any(again):
            raise _unreadable(address, size, "read twice, it came differently")

    def write(self, address: int, data: bytes) -> None:
        """Write bytes; raises MemoryAccessError when the server reports that any could not be written."""
        if not data:
            return
        try:
            if self._profile.late_write_errors and len(data) >= BULK:
                self._write_to_the_end(address, data)
            elif self._stays is not None and len(data) > self._stays:
                self._write_measuring(address, data)
            else:
                self._write_in_pieces(address, data, self._largest)
        except CommandRefused as error:
            why = str(error.data["reply"])
            raise MemoryAccessError(
                f"{len(data)} bytes at {address:#010x} cannot be written ({why}); is it RAM, clocked and powered?",
                address=address,
                size=len(data),
                reply=why,
            ) from error

    def _write_in_pieces(self, address: int, data: bytes, largest: int) -> None:
        step = largest or len(data)
        for start in range(0, len(data), step):
            self._wire.write(address + start, data[start : start + step])

    def _write_measuring(self, address: int, data: bytes) -> None:
        """Write, and see that it stays; where it does not, halve the pieces until it does, and keep to that size.

        Some servers acknowledge more than their probe can write, and drop it. What stays in no size is told by whoever
        reads it back.
        """
        size = len(data)
        before = self._wire.read(address, size)
        self._write_in_pieces(address, data, size)
        while self._wire.read(address, len(data)) != data:
            if size <= LEAST_WRITE:
                return
            size //= 2
            self._write_in_pieces(address, data, size)
        if size < len(data):
            self._largest, self._stays = size, None
        elif all(before[at : at + LEAST_WRITE] != data[at : at + LEAST_WRITE] for at in range(0, size, LEAST_WRITE)):
            self._stays = size  # where the same was there already, it may have been dropped

    def _write_to_the_end(self, address: int, data: bytes) -> None:
        """Write by X packets, and wait for what became of the last one.

        A server of this kind acknowledges X packets of some length before it has written them, and answers the next
        one with the error, which it then carries out without another answer. So the end is written twice; it is as
        long as a late answer takes. After a failure an error may still be waiting for an X packet: the next transfer
        sends one that may be refused.
        """
        self._wire.allow_binary(True)
        try:
            if self._error_waits:
                with contextlib.suppress(CommandRefused):
                    self._wire.write(address, data[:LATE])
            self._error_waits = True
            self._wire.write(address, data)
            self._wire.write(address + len(data) - LATE, data[-LATE:])
            self._error_waits = False
        finally:
            self._wire.allow_binary(False)


def suspicious_zeros(data: bytes) -> list[tuple[int, int]]:
    """Find what a failed read packet answered with zeros may have left: long runs of zeros, or any at the end.

    Gives start and stop offsets.
    """
    runs = [match.span() for match in _ZEROS.finditer(data)]
    end = len(data.rstrip(b"\0"))
    if end < len(data) and (not runs or runs[-1][1] != len(data)):
        runs.append((end, len(data)))
    return runs


def _unreadable(address: int, size: int, why: str) -> MemoryAccessError:
    return MemoryAccessError(
        f"{size} bytes at {address:#010x} cannot be read ({why}); is the memory there, clocked and powered?",
        address=address,
        size=size,
        reply=why,
    )
