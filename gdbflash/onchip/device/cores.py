"""The chip's other core, which runs beside the one that loaders are called on and may use the same flash.

What belongs here: which of them is held meanwhile, when it goes on, and what is told of one that cannot be held. How a
server stops one is in `servers.cores`.
"""

from __future__ import annotations

from gdbflash.errors import CommandRefused, MemoryAccessError
from gdbflash.events import Noted, Observer
from gdbflash.onchip.device.lookup import CPUID_ADDRESS
from gdbflash.onchip.device.table import DEVICES
from gdbflash.onchip.layout import WORD
from gdbflash.target import CoreState, Target


class OtherCores:
    """The other cores of the chip, from before it is taken until it is left."""

    def __init__(self, target: Target, observe: Observer) -> None:
        """observe: told which core is held, and which may use the flash meanwhile."""
        self._target = target
        self._observe = observe
        self.ran: tuple[str, ...] = ()
        """Those that ran when we came, by the server's names."""
        self.held: tuple[str, ...] = ()
        """Those of them that are halted until `let_go`."""

    def look(self) -> None:
        """Learn which of them run, before anything halts them; raises ConnectionLost."""
        self.ran = tuple(each.name for each in self._target.other_cores() if each.state is CoreState.RUNNING)

    def hold(self, device_id: int | None) -> None:
        """Halt those that run, and tell of it, or of one that may run unseen; raises ConnectionLost."""
        seen = [each for each in self._target.other_cores() if each.state is not CoreState.UNSEEN]
        halted = [each.name for each in seen if each.state is CoreState.HALTED or self._halt(each.name)]
        self.held = tuple(name for name in self.ran if name in halted)
        if self.held:
            said = f"{' and '.join(self.held)} ran and is held meanwhile, since it may use the flash."
            self._observe(Noted("other-core-held", said, {"cores": list(self.held)}))
        if not seen:
            self._tell_of_unseen(device_id)

    def _halt(self, name: str) -> bool:
        try:
            self._target.hold_core(name)
        except CommandRefused as error:
            said = f"{name} runs and may use the flash meanwhile: it could not be halted ({error.data['reply']})."
            self._observe(Noted("other-core", said, {"core": name}))
            return False
        return True

    def let_go(self) -> None:
        """Let those go on that ran when we came; raises ConnectionLost."""
        self.held = ()
        halted = [each.name for each in self._target.other_cores() if each.state is CoreState.HALTED]
        for name in self.ran:
            if name not in halted:
                continue
            try:
                self._target.let_core_go(name)
            except CommandRefused as error:
                said = f"{name} was held and does not go on ({error.data['reply']}): reset the board."
                self._observe(Noted("other-core", said, {"core": name}))

    def _tell_of_unseen(self, device_id: int | None) -> None:
        name = unseen_core(self._target, device_id)
        if name is not None:
            self._observe(
                Noted(
                    "other-core",
                    f"The chip's {name} may run and use the flash meanwhile; this server does not show it, so that it "
                    "cannot be held (gdbflash help servers).",
                    {"core": name},
                )
            )


def unseen_core(target: Target, device_id: int | None) -> str | None:
    """Name the core beside the one under debug, where the chip has one and it was let out of reset."""
    device = DEVICES.get(device_id) if device_id is not None else None
    two = device.two_cores if device is not None else None
    if two is None:
        return None
    try:
        if two.line is not None and not two.lines & _texts(target.read_memory(two.line, WORD)):
            return None
        other = two.other.get(_word(target, CPUID_ADDRESS) >> 4 & 0xFFF)
        started = other is not None and any(_word(target, each.register) & each.mask for each in other.started)
    except MemoryAccessError:
        return None
    return other.name if other is not None and started else None


def _texts(raw: bytes) -> set[str]:
    """Read a line identifier: its first character is in the highest byte of the word; both orders are taken."""
    return {each.decode("latin-1") for each in (raw, raw[::-1])}


def _word(target: Target, address: int) -> int:
    return int.from_bytes(target.read_memory(address, WORD), "little")
