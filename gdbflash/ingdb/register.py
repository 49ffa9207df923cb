"""Make GDB know the `gdbflash` commands.

What belongs here: their words, completion, help, and how each ends at GDB's prompt: errors are gdb.GdbError in the
words of the command line. What they do is in `commands`.
"""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import gdb

from gdbflash.errors import GdbflashError
from gdbflash.ingdb.commands import Commands
from gdbflash.ingdb.parameters import Shown, Words, call_argument, help_or_refuse
from gdbflash.ingdb.session import shown
from gdbflash.options import VerifyMode
from gdbflash.plan.jobs import EraseMode

Action = Callable[[argparse.Namespace], None]


class Command(gdb.Command):  # type: ignore[misc]
    """One word behind `gdbflash`."""

    def __init__(
        self, commands: Commands, words: Words, action: Callable[[argparse.Namespace], None], kind: str
    ) -> None:
        self.__doc__ = f"{words.summary}\n\n{words.format_help()}"
        self._commands = commands
        self._words = words
        self._action = action
        self._kind = kind
        super().__init__(words.prog, gdb.COMMAND_DATA)

    def invoke(self, argument: str, _from_tty: bool) -> None:
        """Run the command; raises gdb.GdbError for whatever goes wrong."""
        self.dont_repeat()
        words = gdb.string_to_argv(argument)
        try:
            with self._commands.logged([self._words.prog.removeprefix("gdbflash "), *words]):
                self._action(self._words.parse_args(words))
        except Shown:
            return
        except GdbflashError as error:
            raise gdb.GdbError(shown("\n  ".join((error.message, *error.report)))) from None
        except KeyboardInterrupt:
            raise gdb.GdbError(self._commands.progress.interrupted) from None
        except gdb.error as error:
            raise gdb.GdbError(shown(f"GDB refused: {error}")) from None
        except Exception as bug:
            traceback.print_exc()
            said = f"This is a bug of gdbflash, please report it: {type(bug).__name__}: {bug}"
            raise gdb.GdbError(shown(said)) from None

    def complete(self, text: str, word: str | None) -> Any:
        """Complete options, their values, functions and files."""
        before, _, token = text.rpartition(" ")
        previous = before.rpartition(" ")[2]
        if self._words.choices.get(previous):
            found: tuple[str, ...] | list[str] = self._words.choices[previous]
        elif token.startswith("-"):
            found = self._words.options
        elif previous in ("-l", "--loader", "-o", "--output") or self._kind == "file":
            return gdb.COMPLETE_FILENAME
        elif self._kind == "function" and not before.strip():
            found = self._functions()
        else:
            return gdb.COMPLETE_NONE
        # GDB wants what replaces `word`, which begins behind the last character that it takes for a border.
        given = len(token) - len(word or "")
        return [each[given:] for each in found if each.startswith(token)]

    def _functions(self) -> list[str]:
        try:
            loaders = self._commands.parameters.loaders(argparse.Namespace(loader=None))
        except GdbflashError:
            return []
        return sorted({name for loader in loaders for name in loader.functions})


class _Prefix(gdb.Command):  # type: ignore[misc]
    """Program external flash by ST external loaders (.stldr), and go on debugging."""

    def __init__(self) -> None:
        super().__init__("gdbflash", gdb.COMMAND_DATA, gdb.COMPLETE_NONE, prefix=True)

    def invoke(self, argument: str, _from_tty: bool) -> None:
        """Show the commands; raises gdb.GdbError for a word that is none of them."""
        help_or_refuse("gdbflash", argument)


class _Help(gdb.Command):  # type: ignore[misc]
    """Show the commands, or how to use one: gdbflash help [COMMAND]."""

    def __init__(self) -> None:
        super().__init__("gdbflash help", gdb.COMMAND_SUPPORT)
        self.commands: list[str] = []

    def invoke(self, argument: str, _from_tty: bool) -> None:
        """Show GDB's own help of the command."""
        gdb.execute(f"help gdbflash {argument}")

    def complete(self, text: str, word: str | None) -> list[str]:
        """Complete the name of a command."""
        given = len(text) - len(word or "")
        return [each[given:] for each in self.commands if each.startswith(text)]


def register() -> None:
    """Add the commands and parameters to this GDB."""
    _Prefix()
    helps = _Help()
    commands = Commands()
    for words, action, kind in _described(commands):
        Command(commands, words, action, kind)
        helps.commands.append(words.name)


def _described(commands: Commands) -> Iterator[tuple[Words, Action, str]]:
    def words(name: str, summary: str, *, reach: bool = True, leaves: bool = True) -> Words:
        made = Words(name, summary)
        if reach:
            made.reach_options(leaves=leaves)
        return made

    loader = words("loader", "Name the .stldr files that the other commands use, one per memory.", reach=False)
    loader.add_argument("files", nargs="*", metavar="FILE")
    yield loader, commands.loader, "file"

    info = words("info", "Say what a loader says of itself. Needs no target.", reach=False)
    info.add_argument("file", nargs="?", metavar="LOADER")
    yield info, commands.info, "file"

    write = words("write", "Erase what is needed, program and verify.")
    write.image_arguments()
    write.option("--erase", choices=[each.value for each in EraseMode], help="what to erase before")
    write.option("--verify", choices=[each.value for each in VerifyMode], help="how to compare afterwards")
    write.option("--full", action="store_true", help="write also what is there already")
    _keep_options(write)
    write.option("--dry-run", action="store_true", help="show the plan and end")
    yield write, commands.write, "file"

    read = words("read", "Read storage into a file, which appears whole or not at all.")
    read.place_arguments()
    read.option("-o", "--output", required=True, metavar="FILE", help="a .bin or .hex file")
    yield read, commands.read, "none"

    verify = words("verify", "Compare storage with images.")
    verify.image_arguments()
    yield verify, commands.verify, "file"

    erase = words("erase", "Erase whole sectors, and see that they are blank.")
    erase.place_arguments(optional=True)
    erase.option("--chip", action="store_true", help="erase the whole storage by MassErase")
    yield erase, commands.erase, "none"

    blank_check = words("blank-check", "See whether a range, or the whole storage, is erased.")
    blank_check.place_arguments(optional=True)
    yield blank_check, commands.blank_check, "none"

    checksum = words("checksum", "Compute CRC-32 (zlib's) and byte sum of a range.")
    checksum.place_arguments()
    yield checksum, commands.checksum, "none"

    call = words("call", "Call one loader function raw; an ARG `buffer` is the RAM buffer.")
    call.add_argument("function", metavar="FUNCTION")
    call.add_argument("arguments", nargs="*", type=call_argument, metavar="ARG")
    call.option("--no-init", dest="init", action="store_false", help="do not call Init before")
    yield call, commands.call, "function"

    load = words(
        "load", "Load a program: its external parts through the loaders, the rest by GDB's load.", leaves=False
    )
    load.add_argument("file", nargs="?", metavar="ELF", help="default: the program being debugged")
    load.option("--verify", choices=[each.value for each in VerifyMode], help="how to compare what is external")
    _keep_options(load)
    yield load, commands.load, "file"

    yield words("status", "Say what gdbflash works with.", reach=False), commands.status, "none"


def _keep_options(words: Words) -> None:
    words.option("--keep", dest="keep", action="store_true", default=None, help="keep bytes beside the image")
    words.option("--no-keep", dest="keep", action="store_false", default=None, help="give bytes beside the image up")
