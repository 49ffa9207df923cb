"""Target memory through gdb's MI: text for a few bytes, files for many.

What belongs here: which of GDB's ways moves how many bytes, and what proves that they moved.
"""

from __future__ import annotations

from .errors import CommandRefused, MemoryAccessError
from .mi import MiClient
from .profiles import ServerProfile

BULK = 256
"""Bytes from which a file (restore, dump) is quicker than hexadecimal text in MI commands: both take 0.7 ms then."""
SLOWEST = 1024
"""Bytes a second: the slowest link that is waited for in a bulk transfer."""


class MiMemory:
    """Reads and writes memory through a connected client."""

    def __init__(self, client: MiClient, profile: ServerProfile) -> None:
        self._client = client
        self._profile = profile

    def read(self, address: int, size: int) -> bytes:
        """Read size bytes; raises MemoryAccessError when any of them cannot be read."""
        if size == 0:
            return b""
        try:
            data = self._read_text(address, size) if size < BULK else self._read_file(address, size)
        except CommandRefused as error:
            raise _unreadable(address, size, str(error.data["reply"])) from error
        if len(data) != size:
            raise _unreadable(address, size, f"{len(data)} bytes came")
        return data

    def write(self, address: int, data: bytes) -> None:
        """Write bytes; raises MemoryAccessError when the server reports that any could not be written.

        Where the server tells of a failed write late, the last word is written twice.
        """
        if not data:
            return
        try:
            if len(data) < BULK:
                self._write_text(address, data)
            else:
                self._write_file(address, data)
            if self._profile.late_write_errors and len(data) > 4:
                self._write_text(address + len(data) - 4, data[-4:])
        except CommandRefused as error:
            raise _unwritable(address, len(data), str(error.data["reply"])) from error

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
