"""The options that many commands share: those that reach a target, and those about what is shown.

What belongs here: rows of `table` that no single command owns.
"""

from __future__ import annotations

from gdbflash.commands.grammar import Files, FrontEnd, Kind, Only, Option, OptionGroup
from gdbflash.commands.words import parse_address, parse_factor, parse_port, parse_range, parse_unit_text
from gdbflash.options import Color, Kept
from gdbflash.servers.profiles import SERVERS

_CONNECTED = Only(FrontEnd.COMMAND_LINE, "an open GDB session is connected already")
_SET_ONCE = Only(FrontEnd.COMMAND_LINE, "it belongs to the connection: inside GDB `set gdbflash` says it")
_TARGET, _SERVER, _OUTPUT = OptionGroup.TARGET, OptionGroup.SERVER, OptionGroup.OUTPUT

REACH = (
    Option(
        "loader",
        "The .stldr of a memory, or its name in a loader folder, or auto; repeat it, one per memory",
        Kind.VALUES,
        "FILE",
        short="l",
        names=Files.FILE,
        otherwise="what a config file names",
        otherwise_inside_gdb="what `gdbflash loader` named",
        group=_TARGET,
    ),
    Option(
        "ram",
        "RAM to use, where the device is not known",
        metavar="START:SIZE",
        parse=parse_range,
        otherwise="the device's",
        group=_TARGET,
    ),
    Option(
        "static-base",
        "What r9 is in the loader's functions, where its file does not tell",
        metavar="ADDRESS",
        parse=parse_address,
        otherwise="what the file's sections and code tell",
        group=_TARGET,
    ),
    Option(
        "before",
        "How the target is taken",
        metavar="HOW",
        choices={"reset": "reset and halted first", "none": "in the middle of its program"},
        otherwise="reset; with --after restore: none",
        otherwise_inside_gdb="none",
        group=_TARGET,
    ),
    Option(
        "after",
        "How the target is left",
        metavar="HOW",
        choices={
            "reset": "reset, and running; inside GDB at its first instruction",
            "run": "as it was, going on",
            "halt": "halted by the loader",
            "restore": "registers and RAM as they were, halted",
        },
        otherwise="reset; with the loader of a RAM: halt",
        otherwise_inside_gdb="restore; with --before reset: reset, or with the loader of a RAM halt",
        group=_TARGET,
    ),
    Option(
        "kept",
        "What becomes of bytes that an interrupted write kept, where it is unclear whether they belong here",
        metavar="WHAT",
        choices={
            "ask": "stop before anything is touched; on a terminal with a question",
            "restore": "put them back over whatever lies there",
            "discard": "give up those in this run's sectors",
            "leave": "go on without them: it was another board",
        },
        default=Kept.ASK.value,
        group=_TARGET,
    ),
    Option(
        "timeout-scale",
        "Multiply every time-out; below 1, those of loader calls alone",
        metavar="X",
        parse=parse_factor,
        default=1.0,
        group=_TARGET,
    ),
    Option(
        "expect-unit",
        "Refuse every other unit than the one with this unique ID, before anything is done to it",
        metavar="ID",
        parse=parse_unit_text,
        otherwise="any unit will do",
        group=_TARGET,
    ),
    Option("irq", "Let the loader take interrupts", Kind.SWITCH, default=False, group=_TARGET),
    Option(
        "ignore-init-result",
        "Go on although Init did not return 1",
        Kind.SWITCH,
        default=False,
        group=_TARGET,
    ),
    Option(
        "server",
        "The GDB server",
        metavar="NAME",
        choices=SERVERS,
        default="auto",
        only=_SET_ONCE,
        group=_SERVER,
    ),
    Option(
        "connect",
        "Where the server listens, or a serial device; repeat it for many boards at once",
        Kind.VALUES,
        metavar="HOST:PORT",
        only=_CONNECTED,
        otherwise="the server's usual port on 127.0.0.1",
        group=_SERVER,
    ),
    Option(
        "tcl",
        "OpenOCD's Tcl port",
        metavar="PORT",
        parse=parse_port,
        only=Only(FrontEnd.COMMAND_LINE, "inside GDB, OpenOCD's own commands run loaders"),
        otherwise="6666, where it is the same OpenOCD's",
        group=_SERVER,
    ),
    Option(
        "launch",
        "Start the server with these arguments and stop it afterwards",
        metavar="ARGS",
        only=_CONNECTED,
        otherwise="it runs already",
        group=_SERVER,
    ),
    Option(
        "probe",
        "The serial number of the probe, for the server that --launch starts",
        metavar="SERIAL",
        only=_CONNECTED,
        otherwise="the only one there is",
        group=_SERVER,
    ),
    Option(
        "gdb",
        "The gdb to use",
        metavar="PATH",
        only=_CONNECTED,
        otherwise="$GDBFLASH_GDB, gdb-multiarch, arm-none-eabi-gdb or gdb",
        group=_SERVER,
    ),
)
"""The options of every command that reaches a target."""

OUTPUT = (
    Option(
        "verbose",
        "Say also what is found and done on the way: each call, the RAM, the server",
        Kind.FLAG,
        default=False,
        short="v",
        group=_OUTPUT,
    ),
    Option(
        "quiet",
        "Say nothing but answers, errors, and where kept bytes are",
        Kind.FLAG,
        default=False,
        short="q",
        group=_OUTPUT,
    ),
    Option("json", "One JSON object a line on stdout", Kind.FLAG, default=False, group=_OUTPUT),
    Option(
        "color",
        "Whether there are colours",
        metavar="WHEN",
        choices={
            Color.AUTO.value: "on a terminal, unless NO_COLOR is set",
            Color.ALWAYS.value: "always",
            Color.NEVER.value: "never",
        },
        default=Color.AUTO.value,
        group=_OUTPUT,
    ),
    Option(
        "log",
        "Write all traffic with gdb and servers, time-stamped, to FILE, and keep an earlier log as FILE.1, FILE.2...",
        metavar="FILE",
        names=Files.FILE,
        otherwise="none is kept",
        group=_OUTPUT,
    ),
    Option(
        "config",
        "Take options from FILE",
        metavar="FILE",
        names=Files.FILE,
        otherwise="gdbflash.toml or pyproject.toml of the project",
        group=_OUTPUT,
    ),
    Option(
        "board",
        "The board that is meant, of those in config files",
        Kind.VALUES,
        "NAME",
        short="b",
        otherwise="what stands above the boards in the file",
        group=_OUTPUT,
    ),
)
"""The options of the command line, before and behind every command."""

IN_FILES = (
    Option("images", "What `load` loads where it is not told", Kind.VALUES, "IMAGE[@ADDRESS]", names=Files.FILE),
    Option("loader-path", "Folders where loaders are looked for by name", Kind.VALUES, "FOLDER", names=Files.FILE),
    Option("notes", "What people should know of this board, such as its wiring", metavar="TEXT"),
)
"""What config files may say beside options."""
