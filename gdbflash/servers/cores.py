"""The other cores of a chip that a server has several of behind it: which there are, and stopping one.

What belongs here: what a `ServerProfile` says of that, carried out for every kind of debugger. Which of them is
stopped, and when it goes on, is decided in `onchip.device.cores`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod

from gdbflash.errors import CommandRefused
from gdbflash.servers.profiles import ServerProfile
from gdbflash.target import CoreState, OtherCore

_ENTRY = re.compile(r"\{(\S+) (\S+) (\S+) (\S+) ([01])\}")
_STATES = {"running": CoreState.RUNNING, "halted": CoreState.HALTED}
_NAME = re.compile(r"[\w.:-]+\Z")
"""Names that mean nothing else to the server's interpreter."""


class CoresOfServer(ABC):
    """The part of a `target.Target` that is about other cores, for every debugger that can pass commands on."""

    profile: ServerProfile

    @abstractmethod
    def take(self, step: str) -> str:
        """Run one command as a user would type it; raises CommandRefused, ConnectionLost."""

    def other_cores(self) -> tuple[OtherCore, ...]:
        """List the other cores of the chip that GDB is connected to; empty where the server cannot tell.

        Chips that share a chain with it are none of its cores. Raises ConnectionLost.
        """
        known = self.profile.cores
        if known is None:
            return ()
        try:
            found = _ENTRY.findall(self.take(known.list))
        except CommandRefused:  # an interpreter that is older than this list
            return ()
        taps = {tap for _, _, _, tap, current in found if current == "1"}
        return tuple(
            OtherCore(name, _STATES.get(state, CoreState.UNSEEN))
            for name, kind, state, tap, current in found
            if current == "0" and tap in taps and known.types.match(kind) and _NAME.match(name)
        )

    def hold_core(self, name: str) -> None:
        """Halt another core; raises CommandRefused, ConnectionLost."""
        if self.profile.cores is not None:
            self.take(self.profile.cores.hold.format(name=name))

    def let_core_go(self, name: str) -> None:
        """Let another core that is halted go on from where it is; raises CommandRefused, ConnectionLost."""
        if self.profile.cores is not None:
            self.take(self.profile.cores.let_go.format(name=name))
