"""Internal flash as a GDB server programs it: vFlashErase, vFlashWrite and vFlashDone.

What belongs here: what these packets collect and when it is done. Source: "Debugging with GDB", appendix "GDB Remote
Serial Protocol", section Packets: a server may put everything off until vFlashDone. What servers of the field do
beside it is done too: their flash algorithm runs in the target's RAM and what lay there is lost.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from gdbflash.board.bus import BusError
from gdbflash.board.debug import DebugPort
from gdbflash.board.faces.packets import BUS_ERROR, NOT_NOW, OK, UNSUPPORTED, unescape
from gdbflash.board.faces.personality import Personality
from gdbflash.board.faces.rspdata import address_range, hex_number, split

_NOT_FLASH = b"E.memtype"
_ALGORITHM = bytes.fromhex("fee7")
"""What stands for the algorithm's code: a branch to itself."""


@runtime_checkable
class InternalFlash(Protocol):
    """A board whose internal flash can be programmed."""

    def erase_flash(self, address: int, size: int) -> None:
        """Erase whole sectors; raises bus.BusError where there are none."""

    def program_flash(self, address: int, data: bytes) -> None:
        """Program erased bytes; raises bus.BusError where they are not erased or no flash."""


class FlashPackets:
    """The flash packets of one session."""

    def __init__(self, port: DebugPort, personality: Personality) -> None:
        self._port = port
        self._flash = port if isinstance(port, InternalFlash) else None
        self._regions = [region for region in personality.memory_map if region.kind == "flash"]
        self._work_area = personality.flash_work_area
        self._waiting: list[tuple[int, bytes]] = []

    def answer(self, body: bytes) -> bytes:
        """Do what vFlash... asks for; body is what follows the letters. Raises Malformed and BusError."""
        if self._flash is None or not self._regions:
            return UNSUPPORTED
        if self._port.halted is None:
            return NOT_NOW
        name, _, rest = body.partition(b":")
        if name == b"Erase":
            return self._erase(self._flash, *address_range(rest))
        if name == b"Write":
            address, data = split(rest, b":")
            return self._write(hex_number(address), unescape(data))
        return self._done(self._flash) if name == b"Done" else UNSUPPORTED

    def _erase(self, flash: InternalFlash, address: int, size: int) -> bytes:
        if not self._holds(address, size):
            return _NOT_FLASH
        self._run_algorithm()
        flash.erase_flash(address, size)
        return OK

    def _write(self, address: int, data: bytes) -> bytes:
        if not self._holds(address, len(data)):
            return _NOT_FLASH
        self._waiting.append((address, data))
        return OK

    def _done(self, flash: InternalFlash) -> bytes:
        waiting, self._waiting = self._waiting, []
        self._run_algorithm()
        try:
            for address, data in waiting:
                flash.program_flash(address, data)
        except BusError:
            return BUS_ERROR
        return OK

    def _holds(self, address: int, size: int) -> bool:
        return any(each.start <= address and address + size <= each.start + each.length for each in self._regions)

    def _run_algorithm(self) -> None:
        """Overwrite the work area."""
        if self._work_area is not None:
            code = _ALGORITHM * (self._work_area.length // len(_ALGORITHM))
            self._port.write_memory(self._work_area.start, code)
