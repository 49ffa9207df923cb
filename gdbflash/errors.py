"""The errors of gdbflash, each carrying its data.

What belongs here: every exception that leaves a module of this package, and nothing else.

    GdbflashError
    ├── InputError            arguments, files or the plan are at fault; nothing was touched
    │   ├── LoaderFileError   not a usable .stldr
    │   ├── ImageFileError    not a usable firmware file
    │   └── PlanError         the request does not fit the storage or the RAM
    ├── SetupError            no session on the target came about
    │   ├── GdbMissing        no usable gdb
    │   ├── ServerMissing     nobody listens, refused, or not a GDB server
    │   ├── TargetInUse       another process of ours has the target
    │   └── PrepareError      the target could not be halted, or its RAM could not be prepared
    ├── ConnectionLost        gdb or the server went away in the middle
    ├── TargetError           the target, the loader or a comparison failed
    │   ├── MemoryAccessError an address could not be read or written
    │   ├── CommandRefused    the debugger or server rejected one command
    │   ├── CallNotMade       a call did not take place as it was set up
    │   ├── CallFailed        a loader function returned another code than 1
    │   ├── CallTimeout       a loader function did not return in time
    │   ├── CallStopped       a loader function stopped elsewhere than at its return address
    │   ├── EraseUnitLarger   an erase took more than the loader says
    │   ├── KeptUnclear       bytes that an interrupted run kept: whose they are has to be said
    │   ├── BoardsFailed      not all of many boards are done
    │   └── Mismatch          memory is not what it should be
    ├── OutputError           the output file could not be written
    └── Interrupted           the user asked to stop

A message is one or two sentences: what happened, to what, and what to try next. `data` holds the same facts
for programs: numbers stay numbers.
"""

from __future__ import annotations

from typing import ClassVar, TypeVar, Union

JsonValue = Union[None, bool, int, float, str, "list[JsonValue]", "dict[str, JsonValue]"]


def printable(text: str, keep: str = "") -> str:
    r"""Escape what a terminal could take for a command, as \x1b: names of files and of symbols are not ours.

    keep: characters that pass all the same.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape", "surrogatepass").decode("ascii")
        for each in text
    )


_Error = TypeVar("_Error", bound="GdbflashError")


class GdbflashError(Exception):
    """Say what happened, to what, and what to try next."""

    kind: ClassVar[str] = "error"

    def __init__(self, message: str, **data: JsonValue) -> None:
        super().__init__(message)
        self.data: dict[str, JsonValue] = data

    def reworded(self: _Error, message: str, **data: JsonValue) -> _Error:
        """Make an error of the same kind that says it with more; its data is kept, and data is added."""
        return type(self)(message, **{**self.data, **data})

    @property
    def message(self) -> str:
        """The sentence for people, on one line."""
        return printable(str(self.args[0]))

    @property
    def report(self) -> tuple[str, ...]:
        """Further lines for people, where more is known than the message says."""
        lines = self.data.get("report")
        return tuple(printable(str(line)) for line in lines) if isinstance(lines, list) else ()


class InputError(GdbflashError):
    """Arguments, files or the plan are at fault; nothing was touched."""

    kind = "input"


class LoaderFileError(InputError):
    """A file is not a usable external loader."""

    kind = "loader-file"


class ImageFileError(InputError):
    """A file is not a usable firmware image."""

    kind = "image-file"


class PlanError(InputError):
    """A request does not fit the storage or the RAM."""

    kind = "plan"


class SetupError(GdbflashError):
    """No session on the target came about."""

    kind = "setup"


class GdbMissing(SetupError):
    """No usable gdb was found, or it did not start."""

    kind = "gdb-missing"


class ServerMissing(SetupError):
    """Nobody listens, the server refused, or it is no GDB server."""

    kind = "server-missing"


class PrepareError(SetupError):
    """The target could not be halted, or its RAM could not be prepared."""

    kind = "prepare"


class TargetInUse(SetupError):
    """Another process has the target; data: process, host, since."""

    kind = "in-use"


class ConnectionLost(GdbflashError):
    """Gdb or the server went away in the middle."""

    kind = "connection-lost"


class TargetError(GdbflashError):
    """The target, the loader or a comparison failed."""

    kind = "target"


class MemoryAccessError(TargetError):
    """An address could not be read or written; data: address, size."""

    kind = "memory-access"


class CommandRefused(TargetError):
    """The debugger or the server rejected one command; data: command, reply."""

    kind = "command-refused"


class CallNotMade(TargetError):
    """A call did not take place as it was set up; data: function, arguments."""

    kind = "call-not-made"


class StrayWrite(TargetError):
    """A loader wrote into RAM that it does not declare; data: function, address, expected, actual."""

    kind = "stray-write"


class CallFailed(TargetError):
    """A loader function returned another code than 1; data: function, arguments, result."""

    kind = "call-failed"


class CallTimeout(TargetError):
    """A loader function did not return in time; data: see `onchip.autopsy.as_data`."""

    kind = "call-timeout"


class CallStopped(TargetError):
    """A loader function stopped elsewhere than at its return address; data: see `onchip.autopsy.as_data`."""

    kind = "call-stopped"


class Mismatch(TargetError):
    """Memory is not what it should be; data: first, last, count, pattern."""

    kind = "mismatch"


class KeptUnclear(TargetError):
    """Kept bytes may belong here or not, and nothing was touched; data: file, ranges, unit, age, found."""

    kind = "kept-unclear"


class EraseUnitLarger(TargetError):
    """An erase took more than the loader says; data: address, size, lost, unit."""

    kind = "erase-unit"


class EraseFailed(TargetError):
    """An erase that said it succeeded left something else than erased bytes; data: address, size, found."""

    kind = "erase-failed"


class BoardsFailed(TargetError):
    """Not all of many boards are done; data: failed, their names."""

    kind = "boards"


class OutputError(GdbflashError):
    """The output file could not be written; data: path."""

    kind = "output"


class Interrupted(GdbflashError):
    """The user asked to stop."""

    kind = "interrupted"
