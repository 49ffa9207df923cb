"""Make GDB know the `gdbflash` commands.

What belongs here: completion, help, and how each command ends at GDB's prompt: errors are gdb.GdbError in the
words of the command line. What they do is in `commands`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Any

import gdb

from gdbflash.commands.grammar import Command, Files, FrontEnd
from gdbflash.commands.table import COMMANDS
from gdbflash.errors import GdbflashError
from gdbflash.ingdb.commands import Commands, Said
from gdbflash.ingdb.parameters import help_or_refuse
from gdbflash.ingdb.plain_load import watch_load
from gdbflash.ingdb.session import shown
from gdbflash.ingdb.words import Shown, Words

Action = Callable[[Command, Said], None]


class RegisteredCommand(gdb.Command):  # type: ignore[misc]
    """One word behind `gdbflash`."""

    def __init__(self, commands: Commands, row: Command, action: Action) -> None:
        self._commands = commands
        self._words = Words(row)
        self.__doc__ = f"{row.summary}\n\n{self._words.format_help()}"
        self._action = action
        super().__init__(self._words.prog, gdb.COMMAND_DATA)

    def invoke(self, argument: str, _from_tty: bool) -> None:
        """Run the command; raises gdb.GdbError for whatever goes wrong."""
        self.dont_repeat()
        with self._commands.ending():
            self._run(gdb.string_to_argv(argument))

    def _run(self, words: list[str]) -> None:
        row = self._words.row
        try:
            with self._commands.logged([row.name, *words]):
                self._action(row, self._commands.parameters.settled(row, self._words.said(words)))
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
        option = next((each for each in self._words.options if previous in each.flags), None)
        names = {each.names for each in self._words.row.arguments}
        found: Sequence[str]
        if option is not None and option.choices:
            found = tuple(option.choices)
        elif token.startswith("-"):
            found = [flag for each in self._words.options for flag in each.flags]
        elif (option is not None and option.names is Files.FILE) or Files.FILE in names:
            return gdb.COMPLETE_FILENAME
        elif Files.FUNCTION in names and not before.strip():
            found = self._functions()
        else:
            return gdb.COMPLETE_NONE
        # GDB wants what replaces `word`, which begins behind the last character that it takes for a border.
        given = len(token) - len(word or "")
        return [each[given:] for each in found if each.startswith(token)]

    def _functions(self) -> list[str]:
        try:
            loaders = self._commands.parameters.loaders()
        except GdbflashError:
            return []
        return sorted({name for loader in loaders for name in loader.functions})


class _Prefix(gdb.Command):  # type: ignore[misc]
    """Program external flash by ST external loaders (.stldr), and go on debugging."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        super().__init__("gdbflash", gdb.COMMAND_DATA, gdb.COMPLETE_NONE, prefix=True)

    def invoke(self, argument: str, _from_tty: bool) -> None:
        """Show the commands; raises gdb.GdbError for a word that is none of them."""
        with self._commands.ending():
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
    commands = Commands()
    _Prefix(commands)
    helps = _Help()
    own: dict[str, Action] = {
        "doctor": commands.doctor,
        "info": commands.info,
        "kept": commands.kept,
        "lint": commands.lint,
        "load": commands.load,
        "loader": commands.loader,
        "status": commands.status,
    }
    for row in COMMANDS:
        if row.is_in(FrontEnd.GDB):
            RegisteredCommand(commands, row, own.get(row.name, commands.requested))
            helps.commands.append(row.name)
    watch_load(commands.storages)
