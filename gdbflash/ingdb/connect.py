"""Find the target that an open GDB session is connected to: the user has connected it already.

What belongs here: what must be true of the session, and telling the server, with GDB's own connection.
"""

from __future__ import annotations

import re

import gdb

from gdbflash.errors import PrepareError, ServerMissing
from gdbflash.ingdb.memory import lost_told
from gdbflash.ingdb.registers import CoreRegisters
from gdbflash.ingdb.session import run
from gdbflash.ingdb.target import GdbTarget, Server
from gdbflash.servers.profiles import PROFILES, ServerProfile, detect, parse_work_area

_known: dict[tuple[int, str], Server] = {}
"""The servers found out about so far, by GDB's number of the connection and what the user said of it."""


def connect(server: str = "auto", *, patience: float = 1.0) -> GdbTarget:
    """Take the target that GDB is connected to; server "auto": tell it by asking. patience: a factor on time-outs.

    Raises ServerMissing when there is no connection, PrepareError when there is no halted Cortex-M core behind it.
    """
    connection = gdb.selected_inferior().connection
    if connection is None or not connection.type.endswith("remote") or gdb.selected_inferior().pid == 0:
        raise ServerMissing(
            "GDB is not connected to a GDB server. Connect it first, such as with "
            "`target extended-remote localhost:3333`."
        )
    _check_halted()
    with lost_told():
        core = CoreRegisters()
        key = (connection.num, server)
        if key not in _known:
            profile = PROFILES[server] if server != "auto" else _tell()
            _known[key] = Server(profile, _work_area(profile))
        return GdbTarget(_known[key], core, patience)


def _work_area(profile: ServerProfile) -> range | None:
    return parse_work_area(_Asking().ask(profile.work_area.removeprefix("monitor "))) if profile.work_area else None


def _check_halted() -> None:
    if gdb.parameter("non-stop"):
        raise PrepareError("GDB is in non-stop mode, in which a loader cannot be waited for: `set non-stop off`.")
    if gdb.current_recording() is not None:
        # GDB (13 to 18) ends with an internal error when what it records is written to from outside.
        raise PrepareError("GDB records the program, which a loader would run into: `record stop` first.")
    thread = gdb.selected_thread()
    if thread is None:
        raise PrepareError("GDB has no thread selected; choose the one that runs with `thread`.")
    if thread.is_running():
        raise PrepareError("The target is running. Stop it first, with Ctrl-C or `interrupt`.")


def _tell() -> ServerProfile:
    profile = detect(_Asking())
    if profile.name == "generic" and _Asking.speaks("hwbreak-feature") and _Asking.speaks("swbreak-feature"):
        profile = PROFILES["stlink"]  # it tells itself by QNonStop+ too, which GDB does not show
    return profile


class _Asking:
    """`profiles.Asker` over GDB's open connection.

    The server's qSupported cannot be had again: some reset the connection's state when it is sent twice. What GDB
    made of it can.
    """

    @property
    def supported(self) -> str:
        """The features that GDB shows, as the server would say them."""
        features = [f"{name}+" for name in ("multiprocess", "hwbreak", "swbreak") if self.speaks(f"{name}-feature")]
        limit = re.search(r"limited to (\d+) bytes", run("show remote memory-write-packet-size"))
        if limit and int(limit[1]) == 0x3FFF:
            features.append("PacketSize=3fff")
        return ";".join(features)

    @staticmethod
    def speaks(packet: str) -> bool:
        """Say whether GDB found a packet or feature to be supported."""
        try:
            return "currently enabled" in run(f"show remote {packet}-packet")
        except gdb.error:  # an older GDB has another name for it
            return False

    def ask(self, command: str) -> str:
        """Pass a monitor command and return all that was said, refusals too; raises ConnectionLost."""
        try:
            with lost_told():
                return run(f"monitor {command}")
        except gdb.error as error:
            return str(error)
