"""The commands, and their arguments, options, defaults and help: one table that every front end draws from.

What belongs here: what people may say. A front end makes its parser of these rows and adds none of its own, but for
what its rows name as `only` its. What a command does with what was said is in `requests`; what rows are made of, in
`grammar`.

To add a command: a row in COMMANDS, with three examples. One that works on a target gets a `Request` and a function in
`requests.REQUESTS`, and both front ends have it; any other one is a function in `cli.main` and a method in
`ingdb.commands` of its name. `tests/unit/test_front_ends.py` sees that both have what the rows say, and README lists
it. An option is a row here alone.
"""

from __future__ import annotations

from dataclasses import replace

from gdbflash.commands.board_options import BOARD, FAULTS
from gdbflash.commands.grammar import Argument, Command, Files, FrontEnd, Group, Kind, Only, Option, OptionGroup
from gdbflash.commands.shared_options import REACH
from gdbflash.commands.words import (
    SHELLS,
    parse_address,
    parse_call_argument,
    parse_days,
    parse_kept_action,
    parse_shell,
)
from gdbflash.integrations.tools import parse_tool
from gdbflash.options import Form, ReadMode, VerifyMode
from gdbflash.plan.jobs import EraseMode

_VERIFY = Option(
    "verify",
    "How what was written is compared",
    metavar="HOW",
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
REPORT = Option(
    "report",
    "Write what came of it to FILE, for each board: .xml for JUnit, or .json",
    metavar="FILE",
    names=Files.FILE,
    otherwise="none is written",
    only=Only(FrontEnd.COMMAND_LINE, "it is for jobs that run unattended"),
    group=OptionGroup.OUTPUT,
)
"""A command that has it may be done with many boards at once."""
_IMAGE = "IMAGE[@ADDRESS]"
_IMAGE_HELP = "A bin file and where it goes, or hex, srec or elf, which tell; - is stdin"
_IMAGES = Argument("images", _IMAGE, many=True, names=Files.FILE, help=_IMAGE_HELP)
_ADDRESS_HELP, _SIZE_HELP = "Where it begins, decimal or 0x hex", "Bytes, K or M behind it for 1024 or 1024²; or all"
_PLACE = (
    Argument("address", "ADDRESS", parse_address, help=_ADDRESS_HELP),
    Argument("size", "SIZE", help=_SIZE_HELP),
)
_NO_PLACE = (
    Argument("address", "ADDRESS", parse_address, optional=True, help=_ADDRESS_HELP),
    Argument("size", "SIZE", optional=True, help=_SIZE_HELP),
)
_LOADER_FILE = Argument(
    "loader", "LOADER", names=Files.FILE, optional=True, help="A .stldr file; without it, that of a config file"
)
_ALONE = Only(FrontEnd.COMMAND_LINE, "it needs no GDB, or looks for one")
_SITTING = Only(FrontEnd.GDB, "it is about what an open GDB session has")

COMMANDS = (
    Command(
        "load",
        Group.FLASH,
        "Load a whole program: its external parts through the loaders, internal flash and RAM by the server.",
        "A bin needs @ADDRESS. All is compared. Without IMAGE: those of a config file.",
        (replace(_IMAGES, optional=True),),
        (_VERIFY, _KEEP, REPORT),
        writes=True,
        stays_in=FrontEnd.GDB,
        examples=(
            ("load firmware.elf -l Board.stldr", "A build with parts in internal and external flash"),
            ("load boot.hex app.hex -l Board.stldr", "Two files that belong together"),
            ("load firmware.elf --after halt", "A build without external parts, halted at the end"),
        ),
    ),
    Command(
        "write",
        Group.FLASH,
        "Erase what is needed, program and verify.",
        "A bin needs @ADDRESS; hex, srec and elf bring theirs.",
        (_IMAGES,),
        (
            Option(
                "erase",
                "What is erased before",
                metavar="WHAT",
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
            Option(
                "dry-run",
                "Show the plan and end; with --connect or --launch, look also at what differs",
                Kind.FLAG,
                default=False,
            ),
            REPORT,
        ),
        writes=True,
        examples=(
            ("write app.bin@0x90000000 -l Board.stldr", "A binary file to its address"),
            ("write app.hex --dry-run -l Board.stldr", "The plan alone"),
            ("write app.hex --verify readback -l Board.stldr", "Compared byte by byte over the link"),
        ),
    ),
    Command(
        "erase",
        Group.FLASH,
        "Erase whole sectors from ADDRESS on, or everything with --chip, and see that they are blank.",
        "SIZE may be `all`: up to the end of the storage.",
        _NO_PLACE,
        (Option("chip", "Erase the whole storage by MassErase", Kind.FLAG, default=False), REPORT),
        examples=(
            ("erase 0x90000000 64K -l Board.stldr", "One sector"),
            ("erase 0x90100000 all -l Board.stldr", "From there to the end"),
            ("erase --chip -l Board.stldr", "All of the chip"),
        ),
    ),
    Command(
        "kept",
        Group.FLASH,
        "List, show, export, put back or give up the bytes that interrupted writes have kept.",
        "They lie in files on this machine, one for each write that was cut off.",
        (
            Argument(
                "action",
                "[list|show|export|restore|discard]",
                parse_kept_action,
                optional=True,
                help="What to do; list where nothing is said",
            ),
            Argument("file", "FILE", optional=True, help="A file that the list names, or its path"),
        ),
        (
            Option(
                "older-than",
                "Only files that are older, for list and discard",
                metavar="DAYS",
                parse=parse_days,
                otherwise="all of the list; discard wants a FILE",
            ),
            Option(
                "output",
                "The .hex file of export",
                metavar="FILE",
                short="o",
                names=Files.FILE,
                otherwise="none: export wants one",
            ),
        ),
        writes=True,
        examples=(
            ("kept", "What there is"),
            ("kept export FILE -o old.hex", "What one holds, as an Intel HEX file"),
            ("kept discard --older-than 30", "Give up those of last month and before"),
        ),
    ),
    Command(
        "read",
        Group.LOOK,
        "Read SIZE bytes (or `all`) from ADDRESS on: to look at, or into a file.",
        "The file appears whole or not at all.",
        _PLACE,
        (
            Option(
                "output",
                "A .bin, .hex or .srec file, or a dash for stdout",
                metavar="FILE",
                short="o",
                names=Files.FILE,
                otherwise="the bytes are shown",
            ),
            Option(
                "format",
                "What the file is, whatever its name",
                metavar="FORM",
                choices={
                    Form.BIN.value: "plain bytes",
                    Form.HEX.value: "Intel HEX",
                    Form.SREC.value: "S-records",
                },
                otherwise="by the file's ending",
            ),
            Option(
                "verify",
                "What is read a second time, through a loader's Read",
                metavar="HOW",
                choices={
                    ReadMode.SAMPLES.value: "both ends of each chunk, and places between",
                    ReadMode.TWICE.value: "everything, as a memory wants whose reads are in doubt",
                },
                default=ReadMode.SAMPLES.value,
                kept_as="read_mode",
            ),
        ),
        examples=(
            ("read 0x90000000 256 -l Board.stldr", "Look at the first page"),
            ("read 0x90000000 all -o chip.bin -l Board.stldr", "The whole chip into a file"),
            ("read 0x90000000 64K -o - -l Board.stldr | sha256sum", "Into a pipe"),
        ),
    ),
    Command(
        "verify",
        Group.LOOK,
        "Compare the storage with images; the first and last difference are named.",
        arguments=(_IMAGES,),
        options=(REPORT,),
        examples=(
            ("verify app.bin@0x90000000 -l Board.stldr", "Is this image there?"),
            ("verify boot.hex app.hex -l Board.stldr", "Are both?"),
            ("verify app.hex --after restore -l Board.stldr", "In the middle of a program, which goes on as it was"),
        ),
    ),
    Command(
        "blank-check",
        Group.LOOK,
        "See whether a range, or the whole storage, is erased, and name what is not.",
        arguments=_NO_PLACE,
        options=(REPORT,),
        examples=(
            ("blank-check -l Board.stldr", "Is all of it erased?"),
            ("blank-check 0x90100000 1M -l Board.stldr", "Is that range?"),
            ("blank-check 0x90100000 all -l Board.stldr", "From there to the end?"),
        ),
    ),
    Command(
        "checksum",
        Group.LOOK,
        "Compute CRC-32 (zlib's) and byte sum of a range.",
        arguments=_PLACE,
        examples=(
            ("checksum 0x90000000 1M -l Board.stldr", "Of a range"),
            ("checksum 0x90000000 all -l Board.stldr", "Of everything"),
            ("checksum 0x90000000 1M --json -l Board.stldr", "For a script"),
        ),
    ),
    Command(
        "info",
        Group.LOADERS,
        "Say what a loader says of itself: storage, sectors, functions, segments, findings.",
        "Needs no target.",
        (_LOADER_FILE,),
        reaches=False,
        examples=(
            ("info Board.stldr", "Which memory is it for, and where?"),
            ("info Board.stldr --json", "The same for a script"),
            ("info Board.stldr -q", "Nothing but that"),
        ),
    ),
    Command(
        "lint",
        Group.LOADERS,
        "Say what the author or user of a loader should know about it.",
        "Of images it says what the boot ROM of an STM32N6 would not start. Needs no target.",
        (_LOADER_FILE, replace(_IMAGES, optional=True)),
        reaches=False,
        examples=(
            ("lint Board.stldr", "What stands out in it?"),
            ("lint Board.stldr --json", "The same for a script"),
            ("lint Board.stldr fsbl.bin@0x70000000", "Would the boot ROM start it?"),
        ),
    ),
    Command(
        "loaders",
        Group.LOADERS,
        "List loader files with their storage, size, chip and findings.",
        "Without DIR: those of `loader-path` in config files, and of the vendor's tools on this machine.",
        (Argument("folders", "DIR", optional=True, many=True, names=Files.FILE, help="A folder to look through"),),
        reaches=False,
        only=_ALONE,
        examples=(
            ("loaders", "Which are there?"),
            ("loaders ~/loaders | grep H7", "Those of a folder, for one family"),
            ("loaders --json", "For a script"),
        ),
    ),
    Command(
        "call",
        Group.LOADERS,
        "Call one loader function raw and say r0, r1, time and stack use.",
        "An ARG `buffer` is the RAM buffer.",
        (
            Argument("function", "FUNCTION", names=Files.FUNCTION, help="Its name, as `info` shows it"),
            Argument(
                "arguments",
                "ARG",
                parse_call_argument,
                optional=True,
                many=True,
                help="Up to four numbers for r0 to r3, or buffer",
            ),
        ),
        (Option("init", "Call Init first, unless FUNCTION is Init or DeInit", Kind.SWITCH, default=True),),
        examples=(
            ("call Init -l Board.stldr", "Does it return 1?"),
            ("call Read 0x90000000 16 buffer -l Board.stldr", "Read 16 bytes into the RAM buffer"),
            ("call SectorErase 0x90000000 0x90000000 -l Board.stldr", "Erase the first sector"),
        ),
    ),
    Command(
        "loader",
        Group.LOADERS,
        "Name the .stldr files that the other commands use, one per memory.",
        "",
        (Argument("files", "FILE", optional=True, many=True, names=Files.FILE, help="A .stldr file"),),
        reaches=False,
        only=_SITTING,
    ),
    Command("status", Group.TARGET, "Say what gdbflash works with.", reaches=False, only=_SITTING),
    Command(
        "doctor",
        Group.TARGET,
        "Look at gdb, server, target, RAM and registers, and say how to get what is missing.",
        "The core is halted to be looked at and goes on afterwards; --after and --before say otherwise.",
        options=(
            Option(
                "report",
                "Write all that into FILE too, with link and call times; with -l, Init is called and the memory read",
                metavar="FILE",
                names=Files.FILE,
                otherwise="none is written",
            ),
            Option("serials", "Leave the unit's unique ID in the report", Kind.FLAG, default=False),
        ),
        stays_in=FrontEnd.GDB,
        examples=(
            ("doctor", "Does everything run here?"),
            ("doctor --connect 127.0.0.1:3333", "With that server"),
            ("doctor -l Board.stldr", "And does this loader fit into the RAM?"),
        ),
    ),
    Command(
        "boards",
        Group.TARGET,
        "List the boards of config files, and see whether each answers.",
        "Nothing is called or reset; a core that runs is halted for a moment.",
        options=(Option("schema", "Print a JSON schema of config files, for editors", Kind.FLAG, default=False),),
        reaches=False,
        only=_ALONE,
        examples=(
            ("boards", "Which are there, and which answer?"),
            ("boards -b bench", "Does that one?"),
            ("boards --schema > gdbflash.schema.json", "For an editor that completes gdbflash.toml"),
        ),
    ),
    Command(
        "board",
        Group.TARGET,
        "Run a virtual STM32H750 with a W25Q128 for GDB, until it is interrupted.",
        reaches=False,
        only=_ALONE,
        options=BOARD,
        notes=FAULTS,
        examples=(
            ("board", "For GDB on port 3333"),
            ("board --stlink-port 7184 --port 3399", "As an ST-LINK for OpenOCD"),
            ("board --image chip.bin --inject drop@40", "With the chip in a file, and a cable that fails once"),
        ),
    ),
    Command(
        "gdbinit",
        Group.TARGET,
        "Print the path to `source` inside GDB, alone on its line.",
        reaches=False,
        only=_ALONE,
        examples=(
            ("gdbinit", "The path"),
            ("gdbinit | xargs cat", "What it does"),
            ("gdbinit >> ~/.gdbinit.path", "The path in a file"),
        ),
    ),
    Command(
        "integrate",
        Group.TARGET,
        "Print the files that bring gdbflash into west, CMake, PlatformIO or VS Code, or write them.",
        "They name this gdbflash by its path; no file is overwritten.",
        (Argument("tool", "west|cmake|platformio|vscode", parse_tool, help="Where it is to be used"),),
        (
            Option(
                "output",
                "The folder where they are written",
                metavar="FOLDER",
                short="o",
                names=Files.FILE,
                otherwise="they are printed",
            ),
        ),
        reaches=False,
        only=_ALONE,
        examples=(
            ("integrate vscode", "Look at tasks and launch configuration"),
            ("integrate cmake -o cmake", "A function for CMakeLists.txt, in the folder cmake"),
            ("integrate west -o scripts/gdbflash", "Commands of a west workspace"),
        ),
    ),
    Command(
        "completion",
        Group.HELP,
        "Print what a shell needs to complete gdbflash's words.",
        "",
        (Argument("shell", "SHELL", parse_shell, help=f"One of {', '.join(SHELLS)}"),),
        reaches=False,
        only=_ALONE,
        examples=(
            ("completion bash >> ~/.bashrc", "For bash"),
            ("completion zsh >> ~/.zshrc", "For zsh"),
            ("completion fish > ~/.config/fish/completions/gdbflash.fish", "For fish"),
        ),
    ),
    Command(
        "help",
        Group.HELP,
        "Show how a command is used, or a chapter of the manual.",
        "Alone, it names both.",
        (Argument("subject", "COMMAND|TOPIC", optional=True, help="What help is wanted for"),),
        (Option("man", "Print the manual page of COMMAND, in the language of man", Kind.FLAG, default=False),),
        reaches=False,
        only=Only(FrontEnd.COMMAND_LINE, "GDB has its own: `gdbflash help COMMAND`"),
        examples=(
            ("help write", "How to write"),
            ("help", "Which commands and topics there are"),
            ("help write --man | man -l -", "As a manual page"),
        ),
    ),
)
"""Every command, in the order in which help names them."""


def command_named(name: str) -> Command:
    """Give the row of a command."""
    return next(each for each in COMMANDS if each.name == name)


def options_of(command: Command, front_end: FrontEnd) -> tuple[Option, ...]:
    """Give the options of a front end's command, its own first."""
    reach = tuple(each for each in REACH if command.has(each, front_end))
    return tuple(each for each in (*command.options, *reach) if each.is_in(front_end))
