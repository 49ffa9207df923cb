"""Connecting gdb to a server: from a place to a `MiTarget`.

What belongs here: gdb's settings, the connection, telling the server, and what it means when that fails.
"""

from __future__ import annotations

import contextlib
import math
import re

from gdbflash.errors import CommandRefused, ConnectionLost, GdbflashError, ServerMissing
from gdbflash.mi.client import MiClient
from gdbflash.mi.target import MiTarget
from gdbflash.servers.endpoint import Endpoint, check_device
from gdbflash.servers.profiles import ServerProfile, detect

CONNECT_TIMEOUT = 7.0
"""Seconds until a server must have answered GDB's first packets: no one waits longer than ten for a sentence."""
ASK_TIMEOUT = 2.5
"""Seconds for a question that tells the server; all are answered from the server's own memory."""

_SETTINGS = (
    "mi-async on",  # or -exec-interrupt has no effect while the target runs
    "mem inaccessible-by-default off",  # servers' memory maps leave peripherals and external memory out
    "breakpoint always-inserted on",  # one Z0 and z0 a session instead of one a run
    "arm force-mode thumb",  # Cortex-M has no other mode: breakpoints are of kind 2 everywhere
    "tcp auto-retry off",  # a refused connection is an answer
    # Else GDB reads what the server says that it debugs, a program and its libraries, into parsers of its own.
    "remote pid-to-exec-file-packet off",
    "remote library-info-packet off",
    "remote library-info-svr4-packet off",
    "remote hostio-open-packet off",
    "auto-solib-add off",
    "stack-cache off",
    "code-cache off",
)


def connect(
    endpoint: Endpoint,
    client: MiClient,
    name: str = "",
    *,
    profile: ServerProfile | None = None,
    packets: bool = False,
) -> MiTarget:
    """Connect gdb to the server and learn what it is; profile None: tell it by asking.

    The client belongs to the target from now on, and is ended where this fails. name: what the place is called, where
    its address is a new one each time. packets: have GDB tell the trace each packet, too, for as long as the connection
    lasts.

    Raises ServerMissing, or PrepareError when no core can be seen there.
    """
    try:
        check_device(endpoint)
        waits = (f"tcp connect-timeout {_seconds(5, client)}", f"remotetimeout {_seconds(2, client)}")
        for setting in (*_SETTINGS, *waits):
            with contextlib.suppress(CommandRefused):  # an old GDB lacks one
                client.command(f"-gdb-set {setting}")
        supported = _select(client, endpoint, profile)
        if not packets:
            client.command("-gdb-set debug remote 0")
        target = MiTarget(client, profile or detect(_Asking(client, supported)), supported, name or str(endpoint))
        target.look_at_core()
    except ConnectionLost as error:
        client.kill()
        raise _server_missing(endpoint, error, profile) from error
    except BaseException:
        client.kill()
        raise
    return target


def _seconds(base: int, client: MiClient) -> int:
    """Give a time-out of GDB's own, which takes whole seconds."""
    return max(1, math.ceil(base * client.patience))


class _Asking:
    """`profiles.Asker` over an open connection."""

    def __init__(self, client: MiClient, supported: str) -> None:
        self._client = client
        self.supported = supported

    def ask(self, command: str) -> str:
        try:
            reply = self._client.console(f"monitor {command}", timeout=ASK_TIMEOUT)
        except CommandRefused as error:
            return str(error.data["reply"])
        return reply.target + reply.console


def _select(client: MiClient, endpoint: Endpoint, profile: ServerProfile | None) -> str:
    """Connect GDB and return the server's qSupported reply, read in GDB's own log of the packets."""
    kind = "extended-remote" if profile and profile.extended else "remote"
    client.command("-gdb-set debug remote 1")
    try:
        reply = client.command(f"-target-select {kind} {endpoint}", timeout=CONNECT_TIMEOUT)
    except CommandRefused as error:
        if kind == "remote" and profile is None and "extended-remote" in str(error.data["reply"]):
            # There is a server with no core attached yet.
            reply = client.command(f"-target-select extended-remote {endpoint}", timeout=CONNECT_TIMEOUT)
        else:
            raise _server_missing(endpoint, error, profile) from error
    client.command(f"-gdb-set remotetimeout {_seconds(5, client)}")
    answer = re.search(r"Sending packet: \$qSupported.*?Packet received: ([^\n]*)", reply.packets, re.DOTALL)
    return answer.group(1) if answer else ""


def _server_missing(endpoint: Endpoint, error: GdbflashError, profile: ServerProfile | None) -> ServerMissing:
    reply = str(error.data.get("reply", ""))
    advice = f"start {profile.start_with}" if profile and profile.start_with else "start your GDB server"
    if "refused" in reply:
        message = f"Nobody listens at {endpoint}; {advice}, or name its place with --connect."
    elif "resolve" in reply or "Name or service" in reply:
        message = f"The host of {endpoint} is not known; give another one with --connect."
    elif "could not connect" in reply or "No route" in reply:
        message = f"{endpoint} cannot be reached ({reply}); {advice}, or name its place with --connect."
    elif re.search(r"closed|reset by peer|Broken pipe|disconnected", reply):
        message = (
            f"{endpoint} hung up at once; is it a GDB server, does it see its target (its own output tells), "
            "and is another debugger connected to it? If its probe went away, restart it."
        )
    else:
        message = (
            f"{endpoint} does not answer as a GDB server; is it one, and is another debugger connected to it? "
            "If not, restart it and check the probe."
        )
    return ServerMissing(message, endpoint=str(endpoint), reply=reply)
