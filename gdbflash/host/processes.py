"""Processes that are started here: groups of their own, how they are asked to stop, how they ended; held signals.

What belongs here: signals and their likes between processes. Windows has console events in the place of signals, sent
to a group of processes: Ctrl-Break is the one that reaches a group of its own.

Source: Microsoft, Console Process Groups; GenerateConsoleCtrlEvent; NTSTATUS values.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

_SIGINT = frozenset({signal.SIGINT})
_CLOCK_OF: Callable[[int], int] | None = getattr(time, "pthread_getcpuclockid", None)
_TIME_OF: Callable[[int], float] | None = getattr(time, "clock_gettime", None)


def system_name() -> str:
    """Name the operating system: linux, darwin, windows..."""
    return platform.system().lower()


def own_processor_time() -> Callable[[], float]:
    """Give what tells any thread how long the calling one has executed, in seconds of processor time.

    Elapsed time has to do where a thread has no such clock (macOS), or one of 16 ms (Windows).
    """
    if _CLOCK_OF is None or _TIME_OF is None:
        return time.perf_counter
    return partial(_TIME_OF, _CLOCK_OF(threading.get_ident()))


if sys.platform == "win32":
    OWN_GROUP: dict[str, Any] = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    """For Popen: the terminal's Ctrl-C does not reach the process."""
    TERMINALS = False
    """Whether a program can be run on a pseudo-terminal."""
    _CRASHES = {0xC0000005: "access violation", 0xC0000409: "abort", 0xC00000FD: "stack overflow"}

    def interrupt(process: subprocess.Popen[bytes], _number: int = signal.SIGINT) -> None:
        """Ask a process that was started with OWN_GROUP to stop; one that has ended is fine."""
        with contextlib.suppress(OSError):
            process.send_signal(signal.CTRL_BREAK_EVENT)

    def terminate_group(pid: int) -> None:
        """Ask a process that was started with OWN_GROUP, and what it started, to end; never raises."""
        with contextlib.suppress(OSError):
            os.kill(pid, signal.CTRL_BREAK_EVENT)

    def kill_group(pid: int) -> None:
        """End a process that was not waited for, and what it started; never raises."""
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(["taskkill", "/T", "/F", "/PID", str(pid)], capture_output=True, check=False, timeout=10)
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGTERM)  # TerminateProcess

    def crash_name(status: int) -> str:
        """Name what a process crashed by; empty where it did not."""
        return _CRASHES.get(status & 0xFFFFFFFF, "")

    def before_server() -> None:
        """Do in a server's process what is to be done before its program: nothing here."""

    def hold_sigint() -> None:
        """Keep SIGINT from this thread: nothing is held here."""

    def let_sigint() -> None:
        """Let this thread have SIGINT."""

    def take_sigint() -> bool:
        """Take a SIGINT that was held; False for none: nothing is held here."""
        return False
else:
    import resource

    OWN_GROUP: dict[str, Any] = {"start_new_session": True}
    """For Popen: the terminal's Ctrl-C does not reach the process."""
    TERMINALS = True
    """Whether a program can be run on a pseudo-terminal."""

    def interrupt(process: subprocess.Popen[bytes], number: int = signal.SIGINT) -> None:
        """Ask a process that was started with OWN_GROUP to stop; one that has ended is fine."""
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)

    def terminate_group(pid: int) -> None:
        """Ask a process that was started with OWN_GROUP, and what it started, to end; never raises."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGTERM)

    def kill_group(pid: int) -> None:
        """End a process that was not waited for, and what it started; never raises."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)

    def crash_name(status: int) -> str:
        """Name what a process crashed by; empty where it did not."""
        return signal.Signals(-status).name if status in (-signal.SIGSEGV, -signal.SIGABRT) else ""

    def before_server() -> None:
        """Let a server leave no core file in the user's directory: QEMU aborts when its core locks up."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))

    def hold_sigint() -> None:
        """Keep SIGINT from this thread."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGINT)

    def let_sigint() -> None:
        """Let this thread have SIGINT."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGINT)

    def take_sigint() -> bool:
        """Take a SIGINT that was held; False for none."""
        if signal.SIGINT not in signal.sigpending():
            return False
        signal.sigwait(_SIGINT)  # it is there: macOS has no sigtimedwait
        return True
