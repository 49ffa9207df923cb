"""The wire to target memory through gdb's MI: text for a few bytes, files for many.

What belongs here: which of GDB's ways moves how many bytes. What proves that they moved is in `servers.memory_proof`.
"""

from __future__ import annotations

from gdbflash.errors import CommandRefused
from gdbflash.mi.client import MiClient
from gdbflash.mi.values import memory_in
from gdbflash.transfers import check_reply, fill

BULK = 256
"""Bytes from which a file (restore, dump) is quicker than hexadecimal text in MI commands: both take 0.7 ms then."""
SLOWEST = 1024
"""Bytes a second: the slowest link that is waited for in a bulk transfer."""


class MiWire:
    """Moves bytes through a connected client; implements `memoryproof.Wire`."""

    def __init__(self, client: MiClient) -> None:
        self._client = client

    def read(self, address: int, size: int) -> bytes:
        """Read up to size bytes."""
        return self._read_text(address, size) if size < BULK else self._read_file(address, size)

    def write(self, address: int, data: bytes) -> None:
        """Write bytes."""
        if len(data) < BULK:
            self._client.command(f"-data-write-memory-bytes {address:#x} {data.hex()}")
        else:
            self._write_file(address, data)

    def ask(self, command: str) -> None:
        """Run a command of GDB's prompt."""
        self._client.console(command)

    def allow_binary(self, allowed: bool) -> None:
        """Let GDB write by X packets, or have it write by M packets only."""
        self._client.command(f"-gdb-set remote binary-download-packet {'on' if allowed else 'off'}")

    def _read_text(self, address: int, size: int) -> bytes:
        reply = self._client.command(f"-data-read-memory-bytes {address:#x} {size}")
        return memory_in(reply.payload, address)

    def _read_file(self, address: int, size: int) -> bytes:
        path = self._client.directory / "read.bin"
        command = f"dump binary memory {path.name} {address:#x} {address + size:#x}"
        try:
            self._client.console(command, timeout=_bulk_timeout(size))
            return path.read_bytes()
        except CommandRefused as error:
            check_reply(path, str(error.data["reply"]))
            raise
        finally:
            path.unlink(missing_ok=True)

    def _write_file(self, address: int, data: bytes) -> None:
        path = self._client.directory / "write.bin"
        fill(path, data)
        command = f"restore {path.name} binary {address:#x}"
        try:
            reply = self._client.console(command, timeout=_bulk_timeout(len(data)))
        finally:
            path.unlink(missing_ok=True)
        if "memory write failed" in reply.log:  # a warning only: GDB calls the command done
            said = " ".join(reply.log.split())
            raise CommandRefused(f"gdb refused {command}: {said}", command=command, reply=said)


def _bulk_timeout(size: int) -> float:
    return 10.0 + size / SLOWEST
