"""What people may say to `gdbflash` inside GDB: words behind a command, and GDB parameters for what stays.

What belongs here: reading both into the values of `options`. What is said with a command counts more than a
parameter. Nothing here touches a target.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import gdb

from gdbflash.commands.words import parse_address, parse_factor, parse_number, parse_range
from gdbflash.errors import InputError
from gdbflash.loaders.stldr import ExternalLoader, load_loader
from gdbflash.options import After, Before, CallOptions, RunOptions, VerifyMode
from gdbflash.plan.jobs import check_apart
from gdbflash.servers.profiles import SERVERS

DEFAULT_VERIFY = VerifyMode.DIGEST
"""What `set gdbflash verify on` means."""


class Shown(Exception):
    """The user asked for help, and has it."""


class Words(argparse.ArgumentParser):
    """A parser of a command's words that raises InputError, and ends no process."""

    def __init__(self, command: str, summary: str) -> None:
        super().__init__(prog=f"gdbflash {command}", allow_abbrev=False)
        self.name = command
        self.summary = summary
        self.options: list[str] = []
        """What may be completed: all that begins with a dash."""
        self.choices: dict[str, tuple[str, ...]] = {}
        """What may follow an option."""

    def option(self, *names: str, **settings: Any) -> None:
        """Add an option."""
        self.add_argument(*names, **settings)
        self.options += names
        for name in names:
            self.choices[name] = tuple(settings.get("choices", ()))

    def error(self, message: str) -> NoReturn:
        """Raise InputError with argparse's message and the usage."""
        usage = " ".join(self.format_usage().split()).replace("usage:", "Usage:")
        raise InputError(f"{message[:1].upper()}{message[1:]}. {usage}")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:  # noqa: ARG002 - argparse's signature
        """End reading after help was shown."""
        raise Shown

    def reach_options(self, *, leaves: bool) -> None:
        """Add the options of every command that touches the target; leaves: the user may say how it is left."""
        self.option("-l", "--loader", action="append", metavar="FILE", help="a .stldr; repeat it, one per memory")
        self.option("--ram", type=parse_range, metavar="START:SIZE", help="RAM to use, where the device is not known")
        self.option("--before", choices=[each.value for each in Before], help="how the target is taken (default none)")
        self.set_defaults(after=None)
        if leaves:
            self.option(
                "--after",
                choices=[each.value for each in After],
                help="how the target is left (default restore; after --before reset: reset and halted)",
            )
        self.option("--timeout-scale", type=parse_factor, metavar="X", help="multiply every time-out")
        self.option("--irq", action="store_true", default=None, help="let the loader take interrupts")
        self.option(
            "--ignore-init-result", action="store_true", default=None, help="go on although Init did not return 1"
        )

    def image_arguments(self) -> None:
        """Add IMAGE[@ADDRESS]..."""
        self.add_argument("images", nargs="+", metavar="IMAGE[@ADDRESS]", help="bin (needs @ADDRESS), hex, srec or elf")

    def place_arguments(self, *, optional: bool = False) -> None:
        """Add ADDRESS SIZE, where SIZE may be `all`."""
        count = "?" if optional else None
        self.add_argument("address", nargs=count, type=parse_address, metavar="ADDRESS")
        self.add_argument("size", nargs=count, metavar="SIZE")


class Parameter(gdb.Parameter):  # type: ignore[misc]
    """A GDB parameter of ours, checked when it is set."""

    def __init__(
        self,
        name: str,
        value: Any,
        kind: int,
        summary: str,
        more: str,
        choices: tuple[str, ...] = (),
        check: Callable[[str], object] | None = None,
    ) -> None:
        self.set_doc = f"Set {summary}."
        self.show_doc = f"Show {summary}."
        self.__doc__ = more
        self._check = check
        self._summary = summary
        self.title = name
        super().__init__(f"gdbflash {name}", gdb.COMMAND_DATA, kind, *([choices] if choices else []))
        self.value = self._good = value

    def get_set_string(self) -> str:
        """Refuse a value that is none, leaving the old one."""
        if self._check is not None and self.value:
            try:
                self._check(str(self.value))
            except InputError as error:
                self.value = self._good
                raise gdb.GdbError(error.message) from None
        self._good = self.value
        return ""

    def get_show_string(self, value: str) -> str:
        """Say the value in GDB's manner."""
        return f"gdbflash {self.title} is {value or 'not set'}: {self._summary}."


def help_or_refuse(prefix: str, argument: str) -> None:
    """Do what GDB does for a prefix alone, or raise gdb.GdbError as it does for an unknown word behind one."""
    if argument:
        word = argument.split()[0]
        raise gdb.GdbError(f'Undefined {prefix} command: "{word}".  Try "help {prefix}".')
    gdb.execute(f"help {prefix}")


class _Prefix(gdb.Command):  # type: ignore[misc]
    """`set gdbflash` and `show gdbflash`."""

    def __init__(self, verb: str, summary: str, alone: Callable[[], None] | None = None) -> None:
        self.__doc__ = summary
        self._prefix = f"{verb} gdbflash"
        self._alone = alone
        super().__init__(self._prefix, gdb.COMMAND_DATA, gdb.COMPLETE_NONE, prefix=True)

    def invoke(self, argument: str, _from_tty: bool) -> None:
        """Do what the bare prefix does."""
        if self._alone is not None and not argument:
            self._alone()
        else:
            help_or_refuse(self._prefix, argument)


class Parameters:
    """The GDB parameters, and what they make of a command's words."""

    def __init__(self) -> None:
        _Prefix("set", "What gdbflash does where a command does not say it.")
        _Prefix("show", "What gdbflash does where a command does not say it.", self._show)
        befores, afters = tuple(each.value for each in Before), ("auto", *(each.value for each in After))
        verifies = ("on", "off", *(each.value for each in VerifyMode if each is not VerifyMode.NONE))
        enum, text, switch = gdb.PARAM_ENUM, gdb.PARAM_STRING, gdb.PARAM_BOOLEAN
        self.loader = Parameter(
            "loader",
            "",
            gdb.PARAM_OPTIONAL_FILENAME,
            "the loader of the external memory",
            "One .stldr per memory, in quotes where a name has blanks. `gdbflash loader FILE...` checks them too.",
        )
        self.server = Parameter(
            "server", "auto", enum, "which GDB server this is", "auto: tell it by asking it.", SERVERS
        )
        self.tcl = Parameter(
            "tcl",
            0,
            gdb.PARAM_ZUINTEGER,
            "OpenOCD's Tcl port, 0 for the usual one",
            "Through it, once proved to be the same OpenOCD's, a call need not wait for its poll of 0.1 s.",
        )
        self.before = Parameter(
            "before",
            "none",
            enum,
            "how the target is taken",
            "none: in the middle of its program. reset: reset and halted first.",
            befores,
        )
        self.after = Parameter(
            "after",
            "auto",
            enum,
            "how the target is left",
            "restore: as it was. run: the same, going on. reset: at its first instruction. halt: by the loader.\n"
            "auto: restore, or after --before reset: reset, with the loader of a RAM halt.",
            afters,
        )
        self.verify = Parameter(
            "verify",
            "on",
            enum,
            "how what was written is compared",
            "on, digest: by a routine on the target. readback: over the link. loader: by its Verify. off: not at all.",
            verifies,
        )
        self.keep = Parameter(
            "keep",
            True,
            switch,
            "whether bytes beside the image are kept",
            "They lie in the sectors that are erased for the image.",
        )
        self.ram = Parameter(
            "ram",
            "",
            text,
            "the RAM that loaders may use",
            "START:SIZE, such as 0x24000000:512K. Not set: that of the device, where it is known.",
            check=parse_range,
        )
        self.irq = Parameter(
            "irq", False, switch, "whether loaders may take interrupts", "A few wait for the SysTick interrupt."
        )
        self.ignore = Parameter(
            "ignore-init-result",
            False,
            switch,
            "whether to go on although Init did not return 1",
            "A few loaders return 0 and work.",
        )
        self.scale = Parameter(
            "timeout-scale",
            "1",
            text,
            "the factor on every time-out",
            "More than 1 for a slow chip or link.",
            check=parse_factor,
        )
        self.log = Parameter(
            "log",
            "",
            gdb.PARAM_OPTIONAL_FILENAME,
            "the file that gets what is done, for bug reports",
            "Each command is added, with what GDB was told and what it said. Not set: none is kept.",
        )

    def _all(self) -> Iterator[Parameter]:
        for parameter in vars(self).values():
            if isinstance(parameter, Parameter):
                yield parameter

    def _show(self) -> None:
        for parameter in self._all():
            gdb.execute(f"show gdbflash {parameter.title}")

    def loaders(self, words: argparse.Namespace) -> tuple[ExternalLoader, ...]:
        """Read the loader files named with the command, else by the parameter.

        Raises InputError when none was named, PlanError when two are for one memory, LoaderFileError.
        """
        paths = words.loader or gdb.string_to_argv(self.loader.value or "")
        if not paths:
            raise InputError("No loader was given. Name the .stldr of your board's memory: gdbflash loader FILE.")
        loaders = tuple(load_loader(named(path)) for path in paths)
        check_apart(loaders)
        return loaders

    def run_options(self, words: argparse.Namespace, loaders: tuple[ExternalLoader, ...]) -> RunOptions:
        """Fill in what the words leave open."""
        before = Before(words.before or self.before.value)
        after = words.after or self.after.value
        if after == "auto":
            if before is Before.NONE:
                after = After.RESTORE.value
            else:
                after = (After.HALT if any(each.storage.is_ram for each in loaders) else After.RESET).value
        ram = words.ram or (parse_range(self.ram.value) if self.ram.value else None)
        calls = CallOptions(
            ram=ram,
            irq=bool(self.irq.value if words.irq is None else words.irq),
            ignore_init_result=bool(
                self.ignore.value if words.ignore_init_result is None else words.ignore_init_result
            ),
            timeout_scale=words.timeout_scale or parse_factor(self.scale.value or "1"),
        )
        return RunOptions(before, After(after), calls)

    def verify_mode(self, word: str | None) -> VerifyMode:
        """Say how to compare what was written."""
        word = word or str(self.verify.value)
        return {"on": DEFAULT_VERIFY, "off": VerifyMode.NONE}.get(word) or VerifyMode(word)

    def keeps(self, word: bool | None) -> bool:
        """Say whether bytes beside the image are kept."""
        return bool(self.keep.value) if word is None else word


def named(text: str) -> Path:
    """Read a file's name, where ~ is the home directory; that of a user who does not exist stays as it is."""
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:  # what pathlib raises for one
        return path


def call_argument(text: str) -> int | None:
    """Read an argument of `call`; None for `buffer`."""
    return None if text == "buffer" else parse_number(text)
