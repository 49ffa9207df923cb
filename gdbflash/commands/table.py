"""The commands, and their arguments, options, defaults and help: one table that every front end draws from.

What belongs here: what people may say. A front end makes its parser of these rows and adds none of its own, but for
what its rows name as `only` its. What a command does with what was said is in `requests`.

To add a command: a row in COMMANDS. One that works on a target gets a `Request` and a function in `requests.REQUESTS`,
and both front ends have it; any other one is a function in `cli.main` and a method in `ingdb.commands` of its name.
`tests/unit/test_front_ends.py` sees that both have what the rows say, and README lists it. An option is a row here
alone.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gdbflash.commands.words import (
    parse_address,
    parse_call_argument,
    parse_days,
    parse_factor,
    parse_kept_action,
    parse_port,
    parse_range,
)
from gdbflash.integrations.tools import parse_tool
from gdbflash.options import Kept, VerifyMode
from gdbflash.plan.jobs import EraseMode
from gdbflash.servers.profiles import SERVERS


class FrontEnd(enum.Enum):
    """Where commands are typed."""

    COMMAND_LINE = "command line"
    GDB = "GDB"


@dataclass(frozen=True)
class Only:
    """What one front end has alone, and why."""

    front_end: FrontEnd
    why: str


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
    """Without dashes; what is said of it is kept by the same name, with underscores."""
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

    @property
    def field(self) -> str:
        """Give the name that what is said is kept by."""
        return self.name.replace("-", "_")

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
    writes: bool = False
    """It changes bytes of the storage beside those that it is given."""
    only: Only | None = None

    def is_in(self, front_end: FrontEnd) -> bool:
        """Say whether a front end has it."""
        return self.only is None or self.only.front_end is front_end

    def all_options(self, front_end: FrontEnd) -> tuple[Option, ...]:
        """Give the options of a front end's command, its own first."""
        has = {"after": self.leaves and self.stays_in is not front_end, "kept": self.writes}
        reach = tuple(each for each in REACH if has.get(each.name, True)) if self.reaches else ()
        return tuple(each for each in (*self.options, *reach) if each.is_in(front_end))


_CONNECTED = Only(FrontEnd.COMMAND_LINE, "an open GDB session is connected already")
_SET_ONCE = Only(FrontEnd.COMMAND_LINE, "it belongs to the connection: inside GDB `set gdbflash` says it")

REACH = (
    Option(
        "loader",
        "The .stldr of a memory; repeat it, one per memory",
        Kind.VALUES,
        "FILE",
        short="l",
        names=Files.FILE,
    ),
    Option("server", "The GDB server", choices=dict.fromkeys(SERVERS, ""), default="auto", only=_SET_ONCE),
    Option("connect", "Where the server listens, or a serial device", metavar="HOST:PORT", only=_CONNECTED),
    Option("tcl", "OpenOCD's Tcl port", metavar="PORT", parse=parse_port, only=_SET_ONCE),
    Option("launch", "Start the server with these arguments and stop it afterwards", metavar="ARGS", only=_CONNECTED),
    Option("gdb", "The gdb to use", metavar="PATH", only=_CONNECTED),
    Option("ram", "RAM to use, where the device is not known", metavar="START:SIZE", parse=parse_range),
    Option(
        "static-base",
        "What r9 is in the loader's functions, where its file does not tell",
        metavar="ADDRESS",
        parse=parse_address,
        otherwise="what the file's sections and code tell",
    ),
    Option(
        "before",
        "How the target is taken",
        choices={"reset": "reset and halted first", "none": "in the middle of its program"},
        otherwise="reset; with --after restore: none",
        otherwise_inside_gdb="none",
    ),
    Option(
        "after",
        "How the target is left",
        choices={
            "reset": "reset, and running; inside GDB at its first instruction",
            "run": "as it was, going on",
            "halt": "halted by the loader",
            "restore": "registers and RAM as they were, halted",
        },
        otherwise="reset; with the loader of a RAM: halt",
        otherwise_inside_gdb="restore; with --before reset: reset, or with the loader of a RAM halt",
    ),
    Option(
        "kept",
        "What becomes of bytes that an interrupted write kept, where it is unclear whether they belong here",
        choices={
            "ask": "stop before anything is touched; on a terminal with a question",
            "restore": "put them back over whatever lies there",
            "discard": "give up those in this run's sectors",
            "leave": "go on without them: it was another board",
        },
        default=Kept.ASK.value,
    ),
    Option(
        "timeout-scale",
        "Multiply every time-out; below 1, those of loader calls alone",
        metavar="X",
        parse=parse_factor,
        default=1.0,
    ),
    Option("irq", "Let the loader take interrupts", Kind.SWITCH, default=False),
    Option("ignore-init-result", "Go on although Init did not return 1", Kind.SWITCH, default=False),
)
"""The options of every command that reaches a target."""

_VERIFY = Option(
    "verify",
    "How what was written is compared",
    choices={
        "digest": "by a routine on the target",
        "readback": "over the link",
        "loader": "by its Verify",
        "none": "not at all",
    },
    default=VerifyMode.DIGEST.value,
)
_KEEP = Option(
    "keep",
    "Keep bytes of touched sectors outside the image; without, all may be erased where that is quicker",
    Kind.SWITCH,
    default=True,
)
_IMAGES = Argument("images", "IMAGE[@ADDRESS]", many=True, names=Files.FILE)
_ADDRESS = Argument("address", "ADDRESS", parse_address)
_SIZE = Argument("size", "SIZE")
_PLACE = (_ADDRESS, _SIZE)
_NO_PLACE = (
    Argument("address", "ADDRESS", parse_address, optional=True),
    Argument("size", "SIZE", optional=True),
)
_LOADER_FILE = Argument("loader", "LOADER", names=Files.FILE, optional_in=FrontEnd.GDB)
_ALONE = Only(FrontEnd.COMMAND_LINE, "it needs no GDB, or looks for one")
_SITTING = Only(FrontEnd.GDB, "it is about what an open GDB session has")

COMMANDS = (
    Command(
        "info",
        "Say what a loader says of itself: storage, sectors, functions, segments, findings.",
        "Needs no target.",
        (_LOADER_FILE,),
        reaches=False,
    ),
    Command(
        "lint",
        "Say what the author or user of a loader should know about it.",
        "Needs no target.",
        (_LOADER_FILE,),
        reaches=False,
    ),
    Command(
        "write",
        "Erase what is needed, program and verify.",
        "A bin needs @ADDRESS; hex, srec and elf bring theirs.",
        (_IMAGES,),
        (
            Option(
                "erase",
                "What is erased before",
                choices={
                    EraseMode.SECTORS.value: "the sectors touched",
                    EraseMode.CHIP.value: "everything, by MassErase",
                    EraseMode.NONE.value: "nothing",
                },
                otherwise="the sectors that differ, or everything where nothing is lost and that is quicker",
            ),
            _VERIFY,
            Option("full", "Write also what is there already", Kind.FLAG, default=False),
            _KEEP,
            Option("only-external", "Leave out what lies in no loader's storage", Kind.FLAG, default=False),
            Option("dry-run", "Show the plan and end", Kind.FLAG, default=False),
        ),
        writes=True,
    ),
    Command(
        "load",
        "Load a whole program: its external parts through the loaders, internal flash and RAM by the server.",
        "A bin needs @ADDRESS. All is compared.",
        (Argument("images", "IMAGE[@ADDRESS]", many=True, optional_in=FrontEnd.GDB, names=Files.FILE),),
        (_VERIFY, _KEEP),
        writes=True,
        stays_in=FrontEnd.GDB,
    ),
    Command(
        "read",
        "Read SIZE bytes (or `all`) from ADDRESS on into a file, which appears whole or not at all.",
        "",
        _PLACE,
        (Option("output", "A .bin or .hex file", metavar="FILE", short="o", required=True, names=Files.FILE),),
    ),
    Command(
        "verify",
        "Compare the storage with images; the first and last difference are named.",
        arguments=(_IMAGES,),
    ),
    Command(
        "erase",
        "Erase whole sectors from ADDRESS on, or everything with --chip, and see that they are blank.",
        "SIZE may be `all`: up to the end of the storage.",
        _NO_PLACE,
        (Option("chip", "Erase the whole storage by MassErase", Kind.FLAG, default=False),),
    ),
    Command(
        "blank-check",
        "See whether a range, or the whole storage, is erased, and name what is not.",
        arguments=_NO_PLACE,
    ),
    Command("checksum", "Compute CRC-32 (zlib's) and byte sum of a range.", arguments=_PLACE),
    Command(
        "call",
        "Call one loader function raw and say r0, r1, time and stack use.",
        "An ARG `buffer` is the RAM buffer.",
        (
            Argument("function", "FUNCTION", names=Files.FUNCTION),
            Argument("arguments", "ARG", parse_call_argument, optional=True, many=True),
        ),
        (Option("init", "Call Init first, unless FUNCTION is Init or DeInit", Kind.SWITCH, default=True),),
    ),
    Command(
        "kept",
        "List, show, export, put back or give up the bytes that interrupted writes have kept.",
        "They lie in files on this machine, one for each write that was cut off.",
        (
            Argument("action", "[list|show|export|restore|discard]", parse_kept_action, optional=True),
            Argument("file", "FILE", optional=True),
        ),
        (
            Option("older-than", "Only files that are older, for list and discard", metavar="DAYS", parse=parse_days),
            Option("output", "The .hex file of export", metavar="FILE", short="o", names=Files.FILE),
        ),
        writes=True,
    ),
    Command(
        "loader",
        "Name the .stldr files that the other commands use, one per memory.",
        "",
        (Argument("files", "FILE", optional=True, many=True, names=Files.FILE),),
        reaches=False,
        only=_SITTING,
    ),
    Command("status", "Say what gdbflash works with.", reaches=False, only=_SITTING),
    Command(
        "doctor",
        "Look at gdb, server, target, RAM and registers, and say how to get what is missing.",
        "The core is halted to be looked at and goes on afterwards; --after and --before say otherwise.",
        stays_in=FrontEnd.GDB,
    ),
    Command(
        "board", "Run a virtual STM32H750 with a W25Q128 for GDB, until it is interrupted.", reaches=False, only=_ALONE
    ),
    Command("gdbinit", "Print the path to `source` inside GDB, alone on its line.", reaches=False, only=_ALONE),
    Command(
        "integrate",
        "Print the files that bring gdbflash into west, CMake, PlatformIO or VS Code, or write them.",
        "They name this gdbflash by its path; no file is overwritten.",
        (Argument("tool", "west|cmake|platformio|vscode", parse_tool),),
        (Option("output", "The folder where they are written", metavar="FOLDER", short="o", names=Files.FILE),),
        reaches=False,
        only=_ALONE,
    ),
)
"""Every command, in the order in which help names them."""


def command_named(name: str) -> Command:
    """Give the row of a command."""
    return next(each for each in COMMANDS if each.name == name)
