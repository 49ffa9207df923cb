"""The entry through which every function is called: what it is told before a call, and what it leaves.

What belongs here: the table that `routines/entry.S` reads and writes. Nothing here touches a target.

A register that a debugger writes may get lost on its way to the core, and one that it reads may be an earlier call's:
OpenOCD, for one, tells of either in its log only (src/target/armv7m.c, armv7m_restore_context; gdb_server.c,
gdb_report_register_access_error). Memory is written and read with its errors told, so all that a call starts with and
all that comes of it goes through memory, under a number that no other call has.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from gdbflash.onchip.routine_code import ENTER, ENTRY_CODE
from gdbflash.ranges import Range

_INPUTS = struct.Struct("<10I")
_RESULTS = struct.Struct("<5I")
SIZE = (len(ENTRY_CODE) + _INPUTS.size + _RESULTS.size + 7) // 8 * 8
"""Bytes of RAM that it takes, from a multiple of 8 on."""
_THUMB = 1


@dataclass(frozen=True)
class Results:
    """What the entry noted of one call."""

    entered: int
    """The call's number, from when its function was about to begin."""
    mode: int
    """CONTROL and IPSR in one: 0 in privileged Thread mode on the main stack, as it should be."""
    r0: int
    r1: int
    returned: int
    """The call's number, from when its function came back."""


class Entry:
    """The entry in a stretch of the target's RAM."""

    def __init__(self, area: Range) -> None:
        """Take area, which begins at a multiple of 8 and is SIZE or larger."""
        self.address = area.address + ENTER
        self.table = Range(area.address + len(ENTRY_CODE), _INPUTS.size + _RESULTS.size)
        self.results = Range(self.table.address + _INPUTS.size, _RESULTS.size)

    def inputs(
        self,
        number: int,
        function: int,
        arguments: Sequence[int],
        *,
        stack_top: int,
        static_base: int,
        return_address: int,
        masked: bool,
    ) -> tuple[int, bytes]:
        """Give the address and the bytes of the table for a call of function with up to four arguments.

        number is not 0. With masked, PRIMASK is 1 in the call.
        """
        four = [*(each & 0xFFFFFFFF for each in arguments), 0, 0, 0, 0][:4]
        start = _INPUTS.pack(
            number, stack_top, static_base, int(masked), function | _THUMB, *four, return_address | _THUMB
        )
        return self.table.address, start + bytes(_RESULTS.size)

    def parse(self, raw: bytes) -> Results:
        """Read what lies at `results` after a call."""
        entered, mode, r0, r1, returned = _RESULTS.unpack(raw)
        return Results(entered, mode, r0, r1, returned)
