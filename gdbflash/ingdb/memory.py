"""The wire to target memory through GDB's `dump` and `restore`.

What belongs here: how bytes move inside GDB, and telling that the connection has gone. What proves that they moved is
in `servers.memory_proof`. Not through `gdb.Inferior.read_memory` and `write_memory`: when the connection goes in one of
them, GDB 18 aborts soon after. Files take 0.1 ms and are as fast otherwise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import gdb

from gdbflash.errors import CommandRefused, ConnectionLost
from gdbflash.ingdb.session import run, temporary_folder
from gdbflash.transfers import check_reply, fill

_X_PACKET = "remote binary-download-packet"


class GdbWire:
    """Moves bytes of the selected inferior; implements `memoryproof.Wire`."""

    def __init__(self) -> None:
        self._temporary = temporary_folder()
        self._folder = self._temporary.path
        self._binary = gdb.parameter(_X_PACKET)
        self._touched = False

    def close(self) -> None:
        """Give the user's setting back, and remove the files."""
        self._temporary.remove()
        if self._touched:
            run(f"set {_X_PACKET} {'auto' if self._binary is None else 'on' if self._binary else 'off'}")

    @contextlib.contextmanager
    def file(self, name: str, data: bytes) -> Iterator[Path]:
        """Have a file that GDB commands can name while the body runs; raises OutputError."""
        path = self._folder / name
        fill(path, data)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def read(self, address: int, size: int) -> bytes:
        """Read up to size bytes."""
        path = self._folder / "read.bin"
        try:
            self.ask(f"dump binary memory {path} {address:#x} {address + size:#x}")
        except CommandRefused as error:
            check_reply(path, str(error.data["reply"]))
            raise
        return path.read_bytes()

    def write(self, address: int, data: bytes) -> None:
        """Write bytes."""
        path = self._folder / "write.bin"
        fill(path, data)
        command = f"restore {path} binary {address:#x}"
        said = self._run(command)
        if "memory write failed" in said:  # a warning only: GDB calls the command done
            said = " ".join(said.split())
            raise CommandRefused(f"GDB refused {command}: {said}", command=command, reply=said)

    def ask(self, command: str) -> None:
        """Run a command of GDB's prompt."""
        self._run(command)

    def _run(self, command: str) -> str:
        try:
            with lost_told():
                return run(command)
        except gdb.error as error:
            raise CommandRefused(f"GDB refused {command}: {error}", command=command, reply=str(error)) from error

    def allow_binary(self, allowed: bool) -> None:
        """Let GDB write by X packets, or have it write by M packets only."""
        self._touched = True
        run(f"set {_X_PACKET} {'on' if allowed else 'off'}")


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
