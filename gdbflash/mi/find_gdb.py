"""Finding a GDB that can debug ARM, and starting it: the start that is needed anyway shows whether it can.

What belongs here: which programs are tried, in what order, and what is said when none will do.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gdbflash.errors import CommandRefused, ConnectionLost, GdbMissing
from gdbflash.host.processes import system_name
from gdbflash.mi.client import MiClient
from gdbflash.runlog import Trace

ENVIRONMENT = "GDBFLASH_GDB"
_NAMES = ("gdb-multiarch", "arm-none-eabi-gdb")
"""GDBs whose names promise ARM."""
_PACKAGE = "gdb-for-pwndbg"
_INSTALL = {
    "debian": "`apt install gdb-multiarch`",
    "fedora": "`dnf install gdb`",
    "darwin": "`brew install arm-none-eabi-gdb`",
}
"""What brings a GDB that knows ARM, by system: Debian's own gdb knows the host's processor alone, Fedora's ARM too."""


@dataclass(frozen=True)
class Candidate:
    """A program that may be the GDB to use."""

    path: Path
    origin: str = ""
    """How somebody named it: then no other one is taken in its place."""


def candidates(explicit: str | None = None) -> Iterator[Candidate]:
    """Yield the GDBs to try: the one that is named, or else those named for ARM, that of the PyPI extra, and `gdb`.

    A name is looked up in PATH. Raises GdbMissing when one that was named is no program.
    """
    for name, origin in ((explicit, "--gdb"), (os.environ.get(ENVIRONMENT), f"${ENVIRONMENT}")):
        if name:
            found = shutil.which(name)
            if found is None:
                raise GdbMissing(
                    f"{name} (from {origin}) is not a program that can be run; {how_to_install()}, or name another.",
                    gdb=name,
                    origin=origin,
                )
            yield Candidate(Path(found).absolute(), origin)
            return
    tried = [shutil.which(name) for name in _NAMES]
    for path in dict.fromkeys((*tried, _from_package(), shutil.which("gdb"))):
        if path:
            yield Candidate(Path(path).absolute())


def start_gdb(explicit: str | None = None, *, trace: Trace | None = None, patience: float = 1.0) -> MiClient:
    """Start the first GDB that knows ARM, or the one that was named; raises GdbMissing saying what to install.

    patience: a factor on its time-outs.
    """
    refused: list[str] = []
    for candidate in candidates(explicit):
        try:
            return started(candidate.path, trace=trace, patience=patience)
        except GdbMissing as error:
            if candidate.origin:
                raise error.reworded(
                    f"{error.message} It comes from {candidate.origin}, so no other one was tried.",
                    origin=candidate.origin,
                ) from error
            refused.append(error.message)
    why = f"No gdb will do. {' '.join(refused)} To get one" if refused else "No gdb was found. To get one"
    raise GdbMissing(f"{why}: {how_to_install()}, or name one with --gdb.")


def started(path: Path, *, trace: Trace | None = None, patience: float = 1.0) -> MiClient:
    """Start this GDB; raises GdbMissing when it is none or does not know ARM."""
    client = MiClient(path, trace=trace, patience=patience)
    try:
        client.console("set architecture arm")
    except (CommandRefused, ConnectionLost) as error:
        client.kill()
        raise GdbMissing(f"{path} does not know the ARM architecture.", gdb=str(path)) from error
    except BaseException:
        client.kill()
        raise
    return client


def how_to_install() -> str:
    """Name the package of this system that brings a GDB for ARM, or those of the usual systems."""
    system = system_name()
    if system == "linux":
        try:
            release = platform.freedesktop_os_release()
        except OSError:
            release = {}
        system = next(
            (each for each in (release.get("ID", ""), *release.get("ID_LIKE", "").split()) if each in _INSTALL), ""
        )
    if system in _INSTALL:
        return _INSTALL[system]
    return "install the package gdb-multiarch (Debian), gdb (Fedora) or arm-none-eabi-gdb (Homebrew)"


def _from_package() -> Path | None:
    """Give the `gdb` script of the PyPI package, where this Python has it: the package's own list of files tells.

    It may lie beside this Python or in the user's folder; a `gdb` there of another make is not it.
    """
    try:
        files = importlib.metadata.files(_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for each in files:
        if each.name == "gdb" and each.parent.name == "bin":
            script = Path(str(each.locate())).resolve()
            return script if os.access(script, os.X_OK) else None
    return None
