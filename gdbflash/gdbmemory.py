"""Target memory through GDB's `dump` and `restore`.

What belongs here: reads and writes, what proves that they happened, and telling that the connection has gone. Not
through `gdb.Inferior.read_memory` and `write_memory`: when the connection goes in one of them, GDB 18 aborts soon
after. Files take 0.1 ms and are as fast otherwise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import gdb

from .errors import ConnectionLost, MemoryAccessError
from .gdbsession import run, temporary_folder
from .memoryproof import LATE, suspicious_zeros
from .profiles import ServerProfile

BULK = 256
"""Bytes from which X packets are worth it where they are answered late: the end is then written twice."""
_X_PACKET = "remote binary-download-packet"


class GdbMemory:
    """Reads and writes memory of the selected inferior."""

    def __init__(self, profile: ServerProfile) -> None:
        self._profile = profile
        self._error_waits = False
        self._temporary = temporary_folder()
        self._folder = Path(self._temporary.name)
        self._binary = gdb.parameter(_X_PACKET)
        self._allow_binary(not profile.late_write_errors)

    def close(self) -> None:
        """Give the user's setting back, and remove the files."""
        self._temporary.cleanup()
        if self._profile.late_write_errors:
            run(f"set {_X_PACKET} {'auto' if self._binary is None else 'on' if self._binary else 'off'}")

    def _allow_binary(self, allowed: bool) -> None:
        if self._profile.late_write_errors:
            run(f"set {_X_PACKET} {'on' if allowed else 'off'}")  # M packets are answered when done

    def read(self, address: int, size: int) -> bytes:
        """Read size bytes; raises MemoryAccessError when any of them cannot be read.

        Where the server answers a failed read with zeros, zeros count only when they have been proved.
        """
        if size == 0:
            return b""
        try:
            data = self._read(address, size)
            if self._profile.failed_reads_are_zeros:
                for start, stop in suspicious_zeros(data):
                    self._prove_zeros(address + start, stop - start)
        except gdb.error as error:
            raise _unreadable(address, size, str(error)) from error
        return data

    def _read(self, address: int, size: int) -> bytes:
        path = self._folder / "read.bin"
        with lost_told():
            run(f"dump binary memory {path} {address:#x} {address + size:#x}")
        data = path.read_bytes()
        if len(data) != size:
            raise _unreadable(address, size, f"{len(data)} bytes came")
        return data

    def _prove_zeros(self, address: int, size: int) -> None:
        """Make sure that zeros are what is there: read again, and ask for both ends where failures are told."""
        again = self._read(address, size)
        for place in (address, address + size - 1):
            with lost_told():
                run(f"{self._profile.read_check} {place:#x}")
        if any(again):
            raise _unreadable(address, size, "read twice, it came differently")

    def write(self, address: int, data: bytes) -> None:
        """Write bytes; raises MemoryAccessError when the server reports that any could not be written."""
        if not data:
            return
        try:
            if self._profile.late_write_errors and len(data) >= BULK:
                self._write_to_the_end(address, data)
            else:
                self._write(address, data)
        except gdb.error as error:
            raise MemoryAccessError(
                f"{len(data)} bytes at {address:#010x} cannot be written ({error}); is it RAM, clocked and powered?",
                address=address,
                size=len(data),
                reply=str(error),
            ) from error

    def _write(self, address: int, data: bytes) -> None:
        path = self._folder / "write.bin"
        path.write_bytes(data)
        with lost_told():
            said = run(f"restore {path} binary {address:#x}")
        if "memory write failed" in said:  # a warning only: GDB calls the command done
            raise gdb.error(" ".join(said.split()))

    def _write_to_the_end(self, address: int, data: bytes) -> None:
        """Write by X packets, and wait for what became of the last one.

        A server of this kind acknowledges X packets before it has written them, and answers the next one with the
        error, which it then carries out without another answer. So the end is written twice, as long as a late
        answer takes. After a failure an error may still be waiting for an X packet: the next transfer sends one
        that may be refused.
        """
        self._allow_binary(True)
        try:
            if self._error_waits:
                with contextlib.suppress(gdb.error):
                    self._write(address, data[:LATE])
            self._error_waits = True
            self._write(address, data)
            self._write(address + len(data) - LATE, data[-LATE:])
            self._error_waits = False
        finally:
            self._allow_binary(False)


def _unreadable(address: int, size: int, why: str) -> MemoryAccessError:
    return MemoryAccessError(
        f"{size} bytes at {address:#010x} cannot be read ({why}); is the memory there, clocked and powered?",
        address=address,
        size=size,
        reply=why,
    )


@contextlib.contextmanager
def lost_told() -> Iterator[None]:
    """Translate what GDB raises when its connection has gone; all else passes.

    Without one GDB is asked for nothing: GDB 18 aborts when a breakpoint is set.
    """
    if gdb.selected_inferior().pid == 0:
        raise connection_lost("it is closed")
    try:
        yield
    except gdb.error as error:
        if gdb.selected_inferior().pid == 0:
            raise connection_lost(str(error)) from error
        raise


def connection_lost(why: str) -> ConnectionLost:
    """Make the error of a connection that has gone."""
    return ConnectionLost(
        f"The connection to the GDB server was lost ({why}); "
        "restart the server, check the probe and its cable, and connect again.",
        reply=why,
    )
