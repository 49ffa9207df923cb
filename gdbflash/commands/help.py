"""The help of the command line, made of the rows of `table`: as text of 80 columns, and as manual pages.

What belongs here: layout. Every word of it stands in the rows.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence

from gdbflash.commands.grammar import Argument, Command, FrontEnd, Group, Kind, Option, OptionGroup
from gdbflash.commands.shared_options import OUTPUT
from gdbflash.commands.table import COMMANDS, options_of

COLUMNS = 80
_TERM = 26
"""Columns for what is explained; what is longer has its explanation below it."""
_ABOUT = "Program external flash of STM32 boards by ST external loaders, through the GDB server you already have."
_HELP = Option("help", "Show this", Kind.FLAG, short="h", group=OptionGroup.OUTPUT)
_VERSION = Option("version", "Say which version this is", Kind.FLAG, group=OptionGroup.OUTPUT)


def of_all(topics: Sequence[tuple[str, str]] = ()) -> str:
    """Give the help that names every command, and the manual's chapters with what they are about."""
    lines = ["Usage: gdbflash [OPTIONS] COMMAND [ARGS]...", "", *_wrapped(_ABOUT)]
    for group in Group:
        rows = [each for each in _known() if each.group is group]
        lines += ["", f"{group.value}:", *_entries((each.name, each.summary) for each in rows)]
    lines += ["", "Options:", *_entries(_explained(each) for each in (*OUTPUT, _VERSION, _HELP))]
    if topics:
        lines += ["", "Topics:", *_entries(topics)]
    return "\n".join([*lines, "", "`gdbflash help COMMAND` shows how each is used.", ""])


def of_command(row: Command) -> str:
    """Give the help of one command."""
    lines = [f"Usage: {usage(row)}", "", *_wrapped(f"{row.summary} {row.more}")]
    lines += ["", "Examples:"]
    for typed, does in row.examples:
        lines += [f"  # {does}", f"  gdbflash {typed}"]
    explained = [(each.metavar, f"{each.help}.") for each in row.arguments if each.help]
    if explained:
        lines += ["", "Arguments:", *_entries(explained)]
    for group, options in grouped(row):
        lines += ["", f"{group.value} options:", *_entries(_explained(each) for each in options)]
    for paragraph in row.notes.strip().split("\n\n") if row.notes else ():
        lines += ["", *_wrapped(paragraph)]
    return "\n".join([*lines, ""])


def usage(row: Command) -> str:
    """Say in one line how a command is typed."""
    return " ".join(["gdbflash", row.name, "[OPTIONS]", *map(_place, row.arguments)])


def grouped(row: Command) -> Iterator[tuple[OptionGroup, tuple[Option, ...]]]:
    """Give the options of a command by what they are about."""
    options = (*options_of(row, FrontEnd.COMMAND_LINE), *OUTPUT, _HELP)
    for group in OptionGroup:
        found = tuple(each for each in options if each.group is group)
        if found:
            yield group, found


def manual_page(row: Command | None, version: str) -> str:
    """Give the manual page of a command, or of gdbflash, in the language of man."""
    name = f"gdbflash-{row.name}" if row is not None else "gdbflash"
    about = row.summary if row is not None else _ABOUT
    text = of_command(row) if row is not None else of_all()
    lines = [f'.TH {name.upper()} 1 "" "gdbflash {version}"', ".SH NAME", f"{name} \\- {_roff(about)}"]
    for block in text.split("\n\n"):
        first, *rest = block.splitlines()
        if first.endswith(":"):
            lines += [f".SH {first[:-1].upper()}", ".nf", *map(_roff, rest), ".fi"]
        elif first.startswith("Usage: "):
            lines += [".SH SYNOPSIS", _roff(first.removeprefix("Usage: "))]
        elif block.split() != about.split():
            lines += [".PP", *map(_roff, block.splitlines())]
    return "\n".join([*lines, ""])


def _known() -> Iterator[Command]:
    return (each for each in COMMANDS if each.is_in(FrontEnd.COMMAND_LINE))


def _place(argument: Argument) -> str:
    word = f"{argument.metavar}{'...' * argument.many}"
    return f"[{word}]" if argument.may_be_missing(FrontEnd.COMMAND_LINE) and not word.startswith("[") else word


def _explained(option: Option) -> tuple[str, str]:
    """Give an option as it is typed, and what it says: what holds where it is missing, and its values in lines."""
    words = ", ".join(option.flags)
    default = option.otherwise_in(FrontEnd.COMMAND_LINE) or _value(option)
    said = f"{option.help}." + (f" Default: {default}." if default and option.kind is not Kind.FLAG else "")
    values = [f"{value}: {meaning}" for value, meaning in option.choices.items()]
    return f"{words} {option.metavar}".rstrip(), "\n".join([said, *values])


def _value(option: Option) -> str:
    if option.kind is Kind.SWITCH:
        return f"--{option.name}" if option.default else f"--no-{option.name}"
    return f"{option.default:g}" if isinstance(option.default, float) else str(option.default or "")


def _entries(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Lay out terms and what is said of them in two columns."""
    for term, said in rows:
        first, *values = said.split("\n")
        lines = _wrapped(first, indent=_TERM)
        for each in values:
            lines += _wrapped(each, indent=_TERM + 2, further=_TERM + 4)
        if len(term) + 4 > _TERM:
            yield from _wrapped(term, indent=2, further=6)
        else:
            lines[0] = f"  {term}".ljust(_TERM) + lines[0].lstrip()
        yield from lines


def _wrapped(text: str, indent: int = 0, further: int | None = None) -> list[str]:
    return textwrap.wrap(
        text.strip(),
        COLUMNS,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent if further is None else further),
        break_on_hyphens=False,
        break_long_words=False,
    )


def _roff(line: str) -> str:
    """Escape what man takes for its own."""
    escaped = line.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^(\s*)([.'])", r"\1\\&\2", escaped)
