"""The return address of calls, as gdb's MI has it: a breakpoint there, and nothing to unwind round it.

What belongs here: what of ours lies in GDB between calls, when it hides memory, and how it goes away.
"""

from __future__ import annotations

from gdbflash.errors import CommandRefused
from gdbflash.mi.client import MiClient

GUARD_BELOW = 16
"""Bytes below a return address that GDB reads to unwind the stack there (it looks back for an epilogue)."""
_THUMB_BKPT = 2
"""Bytes of the breakpoint that a server may write into RAM."""


class ReturnPoint:
    """At most one breakpoint, kept from call to call; every method raises ConnectionLost."""

    def __init__(self, client: MiClient) -> None:
        self._client = client
        self._breakpoint: tuple[int, str] | None = None
        self._guard: range | None = None

    def set(self, address: int) -> None:
        """Have calls stop at address; raises CommandRefused when no breakpoint can be set there."""
        if self._breakpoint is None or self._breakpoint[0] != address:
            self.drop()
            reply = self._client.command(f"-break-insert *{address:#x}")
            match reply.payload:
                case {"bkpt": {"number": str(number)}}:
                    self._breakpoint = (address, number)
            if "Cannot insert" in reply.log:  # said, and the command done: always-inserted
                self.drop()
                raise CommandRefused(
                    f"No breakpoint can be set at {address:#010x}: {' '.join(reply.log.split())}",
                    command="-break-insert",
                    reply=reply.log,
                )
        if self._guard is None:
            # Write-only memory round the return address: GDB then has nothing to unwind and asks the server
            # for nothing (up to 18 reads a stop otherwise). It replaces the server's memory map meanwhile.
            self._guard = range(max(0, address - GUARD_BELOW), address + 4)
            self._client.console("delete mem")
            self._client.console(f"mem {self._guard.start:#x} {self._guard.stop:#x} wo")

    def drop(self) -> None:
        """Take all of it away."""
        if self._breakpoint is not None:
            self._client.command(f"-break-delete {self._breakpoint[1]}")
            self._breakpoint = None
        self._drop_guard()

    def before_read(self, address: int, size: int) -> None:
        """Take away what would be seen in place of memory, or forbids to read it."""
        if self._lies_in(address, size):
            self.drop()  # a server that writes BKPT into RAM would let it be seen
        elif self._guard and address < self._guard.stop and self._guard.start < address + size:
            self._drop_guard()

    def before_write(self, address: int, size: int) -> None:
        """Take away a breakpoint whose BKPT in RAM would be overwritten unseen."""
        if self._lies_in(address, size):
            self.drop()

    def _lies_in(self, address: int, size: int) -> bool:
        if self._breakpoint is None:
            return False
        place, _ = self._breakpoint
        return address < place + _THUMB_BKPT and place < address + size

    def _drop_guard(self) -> None:
        if self._guard is not None:
            self._client.console("mem auto")
            self._guard = None
