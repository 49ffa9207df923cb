"""The other cores of a chip that a server has several of behind it: which there are, and stopping one.

What belongs here: what a `ServerProfile` says of that, carried out for every kind of debugger. Which of them is
stopped, and when it goes on, is decided in `onchip.device.cores`.
"""

from __future__ import annotations

import re
from typing import Protocol

from gdbflash.errors import CommandRefused
from gdbflash.servers.profiles import ServerProfile
from gdbflash.target import CoreState, OtherCore

_ENTRY = re.compile(r"\{(\S+) (\S+) (\S+) (\S+) ([01])\}")
_STATES = {"running": CoreState.RUNNING, "halted": CoreState.HALTED}
_NAME = re.compile(r"[\w.:-]+\Z")
"""Names that mean nothing else to the server's interpreter."""


class CoreAccess(Protocol):
    """What these steps need of a debugger."""

    def take(self, step: str) -> str:
        """Run one command as a user would type it; raises CommandRefused, ConnectionLost."""


def other_cores(access: CoreAccess, profile: ServerProfile) -> tuple[OtherCore, ...]:
    """List the other cores of the chip that GDB is connected to; empty where the server cannot tell.

    Chips that share a chain with it are none of its cores. Raises ConnectionLost.
    """
    if profile.cores is None:
        return ()
    try:
        found = _ENTRY.findall(access.take(profile.cores.list))
    except CommandRefused:  # an interpreter that is older than this list
        return ()
    taps = {tap for _, _, _, tap, current in found if current == "1"}
    return tuple(
        OtherCore(name, _STATES.get(state, CoreState.UNSEEN))
        for name, kind, state, tap, current in found
        if current == "0" and tap in taps and profile.cores.types.match(kind) and _NAME.match(name)
    )


def hold(access: CoreAccess, profile: ServerProfile, name: str) -> None:
    """Halt another core; raises CommandRefused, ConnectionLost."""
    if profile.cores is not None:
        access.take(profile.cores.hold.format(name=name))


def let_go(access: CoreAccess, profile: ServerProfile, name: str) -> None:
    """Let another core that is halted go on; raises CommandRefused, ConnectionLost."""
    if profile.cores is not None:
        access.take(profile.cores.let_go.format(name=name))
