"""A run of the core by OpenOCD's own commands, which GDB passes on and never learns of.

What belongs here: the commands, what they answer, and when to ask again. GDB sees no core that runs, so that a front
end is shown none either; and OpenOCD looks at the core without pause instead of every 0.1 s.

Source: OpenOCD User's Guide, "General Commands" (resume, halt, wait_halt) and "CPU Configuration", "Other $target_name
Commands" (curstate). How the pieces answer was measured with OpenOCD 0.12.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable

from gdbflash.errors import CommandRefused, ConnectionLost, GdbflashError
from gdbflash.target import Stop, StopReason

SLICE = 0.2
"""Seconds for one wait: GDB waits 2 s for an answer (`remotetimeout`), and a person a moment for Ctrl-C."""
HALT_SECONDS = 1.0
BKPT = bytes.fromhex("00be")
"""BKPT #0, which ends a run: OpenOCD is given no breakpoint."""
_ANSWER = re.compile(r"gdbflash (-?\d+) (\S+) ?(.*?)\s*\Z", re.DOTALL)


class EndsInMemory:
    """Remembers whether a BKPT lies at an address, so that a core which comes there halts by itself."""

    def __init__(self, read_memory: Callable[[int, int], bytes]) -> None:
        self._read_memory = read_memory
        self._found: tuple[int, bool] | None = None

    def at(self, address: int) -> bool:
        """Tell whether there is one at an address; raises as reading does."""
        if self._found is None or self._found[0] != address:
            self._found = address, self._read_memory(address, len(BKPT)) == BKPT
        return self._found[1]

    def written(self, address: int, size: int) -> None:
        """Take note that memory was written."""
        if self._found is not None:
            place, _ = self._found
            if address < place + len(BKPT) and place < address + size:
                self._found = None

    def forget(self) -> None:
        """Take note that memory may hold something else."""
        self._found = None


def run_core(ask: Callable[[str], str], timeout: float, heed: Callable[[], object] = lambda: None) -> bool:
    """Let a halted core go on from PC until it halts; returns whether it did so within timeout seconds.

    ask: pass a monitor command and return what it printed. heed is called while the core runs, and may raise. The core
    is halted afterwards, also where something was raised. Raises CommandRefused when OpenOCD cannot run or halt it,
    ConnectionLost when it does not see it any more, and what ask raises.
    """
    end = time.monotonic() + timeout
    first = "resume"
    try:
        while True:
            left = end - time.monotonic()
            if left <= 0 and not first:
                halt_core(ask)
                return False
            state, said = _wait(ask, first, max(0.001, min(SLICE, left)))
            first = ""
            if state == "halted":
                return True
            if state != "running":
                break
            heed()
    except CommandRefused:
        raise
    except BaseException:
        with contextlib.suppress(GdbflashError):  # the first error says why
            halt_core(ask)
        raise
    raise ConnectionLost(
        f"OpenOCD has lost sight of the running core, whose state is {state} to it. Check the probe, its cable and the "
        "board's power, and restart the server.",
        reply=said or state,
    )


def stop_of(*, halted: bool, pc: int, address: int) -> Stop:
    """Say of a run what GDB would have: halted as `run_core` returned it, and where the core stands."""
    if not halted:
        # A PC proves nothing then: a core that was never started is still where the last call ended.
        return Stop(StopReason.TIMEOUT, pc, "SIGINT")
    return Stop(StopReason.ARRIVED, pc) if pc == address else Stop(StopReason.ELSEWHERE, pc, "SIGTRAP")


def halt_core(ask: Callable[[str], str]) -> None:
    """Halt the running core; raises CommandRefused when it does not halt."""
    state, said = _wait(ask, "halt", HALT_SECONDS)
    if state != "halted":
        raise CommandRefused(f"OpenOCD cannot halt the core: {said or state}", command="halt", reply=said or state)


def _wait(ask: Callable[[str], str], act: str, seconds: float) -> tuple[str, str]:
    """Do something and wait for the core to halt; gives its state, and why it is none. Raises CommandRefused."""
    milliseconds = max(1, round(seconds * 1000))
    command = (
        f"eval {{set gdbflash_code [catch {{{act}}} gdbflash_said]; "
        f"if {{!$gdbflash_code}} {{catch {{wait_halt {milliseconds}}} gdbflash_said}}; "
        "echo [format {gdbflash %d %s %s} $gdbflash_code [[target current] curstate] $gdbflash_said]}"
    )
    said = ask(command)
    found = _ANSWER.search(said)
    if found is None:
        raise CommandRefused(f"OpenOCD refused {act}: {' '.join(said.split())}", command=command, reply=said)
    code, state, why = found.groups()
    if code != "0":
        why = why or " ".join(said[: found.start()].split())
        raise CommandRefused(f"OpenOCD refused to {act} the core: {why}", command=command, reply=why)
    return state, why
