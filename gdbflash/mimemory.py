"""Target memory through gdb's MI: text for a few bytes, files for many.

What belongs here: which of GDB's ways moves how many bytes, and what proves that they moved.
"""

from __future__ import annotations

import contextlib

from .errors import CommandRefused, MemoryAccessError
from .memoryproof import LATE, suspicious_zeros
from .mi import MiClient
from .profiles import ServerProfile

BULK = 256
"""Bytes from which a file (restore, dump) is quicker than hexadecimal text in MI commands: both take 0.7 ms then."""
SLOWEST = 1024
"""Bytes a second: the slowest link that is waited for in a bulk transfer."""


class MiMemory:
    """Reads and writes memory through a connected client."""

    def __init__(self, client: MiClient, profile: ServerProfile) -> None:
        """Take over a connected client; may raise ConnectionLost."""
        self._client = client
        self._profile = profile
        self._error_waits = False
        if profile.late_write_errors:
            client.command("-gdb-set remote binary-download-packet off")  # M packets are answered when done

    def read(self, address: int, size: int) -> bytes:
        """Read size bytes; raises MemoryAccessError when any of them cannot be read.

        Where the server answers a failed read with zeros, zeros count only when they have been proved.
        """
        if size == 0:
            return b""
        try:
            data = self._read_text(address, size) if size < BULK else self._read_file(address, size)
        except CommandRefused as error:
            raise _unreadable(address, size, str(error.data["reply"])) from error
        if len(data) != size:
            raise _unreadable(address, size, f"{len(data)} bytes came")
        if self._profile.failed_reads_are_zeros:
            for start, stop in suspicious_zeros(data):
                self._prove_zeros(address + start, stop - start)
        return data

    def _prove_zeros(self, address: int, size: int) -> None:
        """Make sure that zeros are what is there: read again, and ask for both ends where failures are told."""
        try:
            again = self._read_text(address, size) if size < BULK else self._read_file(address, size)
            for place in (address, address + size - 1):
                self._client.console(f"{self._profile.read_check} {place:#x}")
        except CommandRefused as error:
            raise _unreadable(address, size, str(error.data["reply"])) from error
        if any(again):
            raise _unreadable(address, size, "read twice, it came differently")

    def write(self, address: int, data: bytes) -> None:
        """Write bytes; raises MemoryAccessError when the server reports that any could not be written."""
        if not data:
            return
        try:
            if len(data) < BULK:
                self._write_text(address, data)
            elif self._profile.late_write_errors:
                self._write_file_to_the_end(address, data)
            else:
                self._write_file(address, data)
        except CommandRefused as error:
            raise _unwritable(address, len(data), str(error.data["reply"])) from error

    def _write_file_to_the_end(self, address: int, data: bytes) -> None:
        """Write by X packets, and wait for what became of the last one.

        A server of this kind acknowledges X packets of some length before it has written them, and answers the
        next one with the error, which it then carries out without another answer. So the end is written twice; it
        is as long as a late answer takes. After a failure an error may still be waiting for an X packet: the
        next transfer sends one that may be refused.
        """
        self._client.command("-gdb-set remote binary-download-packet on")
        try:
            if self._error_waits:
                with contextlib.suppress(CommandRefused):
                    self._write_text(address, data[:LATE])
            self._error_waits = True
            self._write_file(address, data)
            self._write_text(address + len(data) - LATE, data[-LATE:])
            self._error_waits = False
        finally:
            self._client.command("-gdb-set remote binary-download-packet off")

    def _read_text(self, address: int, size: int) -> bytes:
        reply = self._client.command(f"-data-read-memory-bytes {address:#x} {size}")
        match reply.payload:
            case {"memory": [{"begin": str(begin), "contents": str(contents)}]} if int(begin, 16) == address:
                return bytes.fromhex(contents)
            case _:
                return b""

    def _read_file(self, address: int, size: int) -> bytes:
        path = self._client.directory / "read.bin"
        command = f"dump binary memory {path.name} {address:#x} {address + size:#x}"
        try:
            self._client.console(command, timeout=_bulk_timeout(size))
            return path.read_bytes()
        finally:
            path.unlink(missing_ok=True)

    def _write_text(self, address: int, data: bytes) -> None:
        self._client.command(f"-data-write-memory-bytes {address:#x} {data.hex()}")

    def _write_file(self, address: int, data: bytes) -> None:
        path = self._client.directory / "write.bin"
        path.write_bytes(data)
        command = f"restore {path.name} binary {address:#x}"
        try:
            reply = self._client.console(command, timeout=_bulk_timeout(len(data)))
        finally:
            path.unlink(missing_ok=True)
        if "memory write failed" in reply.log:  # a warning only: GDB calls the command done
            raise _unwritable(address, len(data), " ".join(reply.log.split()))


def _bulk_timeout(size: int) -> float:
    return 10.0 + size / SLOWEST


def _unreadable(address: int, size: int, why: str) -> MemoryAccessError:
    return MemoryAccessError(
        f"{size} bytes at {address:#010x} cannot be read ({why}); is the memory there, clocked and powered?",
        address=address,
        size=size,
        reply=why,
    )


def _unwritable(address: int, size: int, why: str) -> MemoryAccessError:
    return MemoryAccessError(
        f"{size} bytes at {address:#010x} cannot be written ({why}); is it RAM, clocked and powered?",
        address=address,
        size=size,
        reply=why,
    )
