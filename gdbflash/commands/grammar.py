"""What the rows of `table` are made of: commands, arguments, options, and where each of them is known.

What belongs here: the kinds of words that people may say, without any of the words.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


class FrontEnd(enum.Enum):
    """Where commands are typed."""

    COMMAND_LINE = "command line"
    GDB = "GDB"


@dataclass(frozen=True)
class Only:
    """What one front end has alone, and why."""

    front_end: FrontEnd
    why: str


class Group(enum.Enum):
    """What commands are for."""

    FLASH = "Flash"
    LOOK = "Look"
    LOADERS = "Loaders"
    TARGET = "Target"
    HELP = "Help"


class OptionGroup(enum.Enum):
    """What options are about."""

    JOB = "Job"
    TARGET = "Target"
    SERVER = "Server"
    OUTPUT = "Output"


class Files(enum.Enum):
    """What a word names, where it names a file: for completion."""

    NONE = "none"
    FILE = "file"
    FUNCTION = "function"
    """No file, but a function of the loader."""


@dataclass(frozen=True)
class Argument:
    """A word by its place."""

    name: str
    metavar: str
    parse: Callable[[str], Any] = str
    """Raises InputError."""
    optional: bool = False
    many: bool = False
    names: Files = Files.NONE
    optional_in: FrontEnd | None = None
    """The front end that knows what is meant where the word is missing."""
    help: str = ""
    """What it is, as a phrase without a full stop."""

    def may_be_missing(self, front_end: FrontEnd) -> bool:
        """Say whether a front end asks for it."""
        return self.optional or self.optional_in is front_end


class Kind(enum.Enum):
    """What follows an option."""

    VALUE = "a value"
    VALUES = "a value, each time the option is given"
    FLAG = "nothing: it is there or not"
    SWITCH = "nothing: `--NAME` or `--no-NAME`"


@dataclass(frozen=True)
class Option:
    """A word that begins with a dash."""

    name: str
    """Without dashes."""
    help: str
    """What it says, as a phrase that begins a sentence and has no full stop."""
    kind: Kind = Kind.VALUE
    metavar: str = ""
    parse: Callable[[str], Any] = str
    """Raises InputError."""
    choices: Mapping[str, str] = field(default_factory=dict)
    """What may be said, and what each means; empty: anything that `parse` takes."""
    default: Any = None
    """None: decided by what else was said."""
    otherwise: str = ""
    """What a missing default means, in words."""
    otherwise_inside_gdb: str = ""
    """The same inside GDB, where it differs."""
    short: str = ""
    required: bool = False
    names: Files = Files.NONE
    only: Only | None = None
    group: OptionGroup = OptionGroup.JOB
    kept_as: str = ""
    """The name that what is said is kept by, where it is another one: config files and settings know that name."""

    @property
    def field(self) -> str:
        """Give the name that what is said is kept by."""
        return self.kept_as or self.name.replace("-", "_")

    @property
    def flags(self) -> tuple[str, ...]:
        """Give the words that may be typed."""
        long = f"--{self.name}"
        words = (f"-{self.short}", long) if self.short else (long,)
        return (*words, f"--no-{self.name}") if self.kind is Kind.SWITCH else words

    def is_in(self, front_end: FrontEnd) -> bool:
        """Say whether a front end has it."""
        return self.only is None or self.only.front_end is front_end

    def otherwise_in(self, front_end: FrontEnd) -> str:
        """Say what a missing default means to a front end; empty where there is a default."""
        return (front_end is FrontEnd.GDB and self.otherwise_inside_gdb) or self.otherwise


@dataclass(frozen=True)
class Command:
    """A command."""

    name: str
    group: Group
    summary: str
    """One sentence."""
    more: str = ""
    """What else is to be known, as sentences."""
    arguments: tuple[Argument, ...] = ()
    options: tuple[Option, ...] = ()
    """Its own; those that reach a target are in `REACH`."""
    reaches: bool = True
    """It works on a target, with loaders."""
    leaves: bool = True
    """It can be said how the target is left."""
    stays_in: FrontEnd | None = None
    """The front end where it cannot all the same: `load` leaves its program at its beginning there, `doctor` halted."""
    examples: tuple[tuple[str, str], ...] = ()
    """What is typed on the command line behind `gdbflash`, and what that does."""
    notes: str = ""
    """What else help shows at the end, as paragraphs."""
    writes: bool = False
    """It changes bytes of the storage beside those that it is given."""
    only: Only | None = None

    def is_in(self, front_end: FrontEnd) -> bool:
        """Say whether a front end has it."""
        return self.only is None or self.only.front_end is front_end

    def has(self, option: Option, front_end: FrontEnd) -> bool:
        """Say whether one of the options that reach a target makes sense for it."""
        has = {"after": self.leaves and self.stays_in is not front_end, "kept": self.writes}
        return self.reaches and has.get(option.name, True)
