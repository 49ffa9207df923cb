"""What each GDB server is like: data, and telling which one answers.

What belongs here: facts about servers, with their source, and no action. A step is a command as a user
would type it at GDB's prompt.

To add a server: a `ServerProfile` in PROFILES and, where it has words or a signature of its own, a line in `detect`;
then a `Personality` in `board.faces.personality` that plays its traits, over which `tests/servers/test_contract.py`
runs with both GDBs. Choices, messages and completion take it from here; README's table of servers names what it was
tested with.
"""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gdbflash.errors import InputError, ServerMissing

Steps = tuple[str, ...]
UNKNOWN_COMMAND = re.compile(
    r"\s*((error: )?(unknown|unrecogni[sz]ed|invalid) (monitor )?command|unexpected error:)", re.IGNORECASE
)
"""What QEMU and pyOCD print for a monitor command that they do not know or cannot do, and then answer OK."""


@dataclass(frozen=True)
class Launch:
    """How a server is started, and how one knows that it listens: by its words or by its port, whichever is first."""

    program: str
    ready: str = ""
    """A regular expression for its words; a group `port` names the port. Empty: it says nothing."""
    arguments: tuple[str, ...] = ()
    """Come before those that the user gives."""
    port_argument: str = ""
    """A regular expression for where its arguments, joined by spaces, tell it to listen.

    Group `port` is the port, and may be missing where that is the default one; a group `elsewhere` is a place that is
    none.
    """
    typed: str = ""
    """What a person types in place of the program and arguments above."""
    free_ports: tuple[str, ...] = ()
    """Arguments that have it listen at ports of ours, which come before the user's; {gdb}, {tcl} and {other} are ports.

    They are given where the user's arguments do not match `port_argument`; where both name one, the user's, which comes
    last, counts.
    """
    serial: tuple[str, ...] = ()
    """Arguments that choose a probe by its serial number, {serial}; empty: it has none to choose."""
    tcl_ready: str = ""
    """A regular expression for its words about its Tcl port, with a group `port`."""


@dataclass(frozen=True)
class CoreSteps:
    """How a server that has several cores behind it tells of them and stops one; {name} is what it calls that one."""

    list: str
    """Prints {NAME TYPE STATE TAP 0} for each of them, with 1 for the one that GDB is connected to."""
    types: re.Pattern[str]
    """Which types are cores."""
    hold: str
    let_go: str


@dataclass(frozen=True)
class ServerProfile:
    """One GDB server's ways."""

    name: str
    title: str
    default_port: int = 0
    """0: none (a serial device, or wherever it is told to listen)."""
    launch: Launch | None = None
    """None: it cannot be started from here."""
    start_with: str = ""
    """How a user starts it, for messages."""
    extended: bool = False
    """Connect with `target extended-remote`."""
    attach: Steps = ()
    """After connecting, before there is a core to see."""
    reset_halt: Steps = ()
    """Reset and stay halted at the first instruction. Empty: by vector catch and AIRCR.SYSRESETREQ."""
    halt: Steps = ()
    """Tried when the core still runs after reset_halt; a refusal is not an error."""
    reset_run: Steps = ("monitor reset", "detach")
    """Reset and run."""
    resume: Steps = ("detach",)
    """Run on from PC. `detach` ends the connection and lets the core go."""
    late_write_errors: bool = False
    """A failed X packet is acknowledged, and reported on the next one; M packets are answered when done."""
    largest_write: int | None = 0
    """Bytes that one write packet may carry, where GDB would send more; 0: whatever GDB sends; None: to be measured."""
    largest_read: int = 0
    """Bytes of one read packet, from a word on, that are answered right where GDB would ask for more; 0: whatever GDB
    asks for."""
    lets_core_go: bool = False
    """It lets a halted core run when GDB goes."""
    failed_reads_are_zeros: bool = False
    """A failed read may be answered with zeros."""
    read_check: str = ""
    """A command that reads one byte at the address appended and fails when that fails."""
    runs_by_monitor: bool = False
    """Its own commands let the core run and wait for it (see `monitored_run`)."""
    tcl_port: int = 0
    """Default port of a Tcl interpreter that can do more while the core runs; 0: the server has none."""
    work_area: str = ""
    """A command that prints start and size of the RAM that the server runs code in, and 1 if it restores that RAM."""
    cores: CoreSteps | None = None
    """None: it shows one core, whatever the chip has."""


_SERIAL = re.compile(r"[0-9A-Za-z][0-9A-Za-z:._-]{0,127}")
_OPTION = r"(?:^| )-(?:{})[ =]?(?P<port>\d+)"
"""An option of a command line whose value is a port; its names, without their first dash, go into the braces."""

OURSELVES = (
    "-c",
    f"import sys; sys.path[:1] = [{str(Path(__file__).resolve().parents[2])!r}]; "
    "from gdbflash.cli.main import main; sys.exit(main())",
)
"""Arguments that make Python run this package: with `-m` it would first look into the working directory, for this
package and for all that it imports, and run what lies there."""

# OpenOCD User's Guide, "CPU Configuration", "Other $target_name Commands" and "Target Events"; `resume` takes no name,
# and `targets` stays for the whole connection.
_OPENOCD_CORES = CoreSteps(
    list="monitor lmap each [target names] {format {%s %s %s %s %d} $each [$each cget -type] [$each curstate] "
    "[$each cget -chain-position] [string equal $each [target current]]}",
    types=re.compile(r"cortex|hla"),
    hold="monitor {{{name}}} arp_halt; {{{name}}} arp_waitstate halted 500",
    let_go="monitor set gdbflash_core [target current]; targets {{{name}}}; set gdbflash_bad [catch resume "
    "gdbflash_said]; targets $gdbflash_core; if {{$gdbflash_bad}} {{error $gdbflash_said}}",
)

PROFILES: dict[str, ServerProfile] = {
    profile.name: profile
    for profile in (
        ServerProfile(
            name="openocd",
            title="OpenOCD",
            default_port=3333,
            # OpenOCD User's Guide, "Server Configuration": gdb_port, tcl_port and telnet_port; the last of each counts.
            launch=Launch(
                "openocd",
                r"Listening on port (?P<port>\d+) for gdb connections",
                free_ports=("-c", "gdb_port {gdb}", "-c", "tcl_port {tcl}", "-c", "telnet_port {other}"),
                tcl_ready=r"Listening on port (?P<port>\d+) for tcl connections",
                serial=("-c", "adapter serial {serial}"),
            ),
            start_with="openocd -f interface/stlink.cfg -f target/stm32h7x.cfg",
            reset_halt=("monitor reset halt",),
            halt=("monitor halt",),
            reset_run=("monitor reset run",),
            resume=("monitor resume",),
            # OpenOCD, src/server/gdb_server.c: gdb_write_memory_binary_packet acknowledges first and keeps
            # mem_write_error for the next packet; gdb_error_or_zeros answers failed reads.
            late_write_errors=True,
            failed_reads_are_zeros=True,
            read_check="monitor mdb",
            runs_by_monitor=True,
            tcl_port=6666,
            # OpenOCD User's Guide, "Target Configuration": -work-area-phys, since a Cortex-M has no MMU.
            work_area="monitor format {%d %d %d} [[target current] cget -work-area-phys] "
            "[[target current] cget -work-area-size] [[target current] cget -work-area-backup]",
            cores=_OPENOCD_CORES,
        ),
        ServerProfile(
            name="stlink",
            title="ST-LINK GDB server",
            default_port=61234,
            launch=Launch(
                "ST-LINK_gdbserver",
                r"Waiting for debugger connection",
                port_argument=_OPTION.format("p|-port-number"),
                free_ports=("-p", "{gdb}"),
                serial=("-i", "{serial}"),  # ST UM2576
            ),
            start_with="ST-LINK_gdbserver -p 61234 -d -e --halt -cp DIRECTORY_OF_STM32CUBEPROGRAMMER",
            # ST UM2576: `monitor reset` takes no argument here; it halts when the server runs with --halt.
            reset_halt=("monitor reset",),
            halt=("monitor halt",),
        ),
        ServerProfile(
            name="qemu",
            title="QEMU",
            default_port=1234,
            # QEMU's manual, "GDB usage": -s is short for -gdb tcp::1234. It says nothing when it listens.
            launch=Launch(
                "qemu-system-arm",
                port_argument=r"(?:^| )--?(?:gdb (?:tcp:[^: ]*:(?P<port>\d+)|(?P<elsewhere>\S*))|s(?= |$))",
                free_ports=("-gdb", "tcp:127.0.0.1:{gdb}"),
            ),
            start_with="qemu-system-arm -M BOARD -S -gdb tcp:127.0.0.1:1234",
            # system_reset leaves a stopped machine stopped, and sends no stop reply.
            reset_halt=("monitor system_reset",),
            reset_run=("monitor system_reset", "detach"),
        ),
        ServerProfile(
            name="pyocd",
            title="pyOCD",
            default_port=3333,
            launch=Launch(
                "pyocd",
                r"GDB server (?:started|listening) (?:at|on) port (?P<port>\d+)\s",
                ("gdbserver",),
                _OPTION.format("p|-port"),
                free_ports=("--port", "{gdb}", "--telnet-port", "{other}"),
                serial=("-u", "{serial}"),
            ),
            start_with="pyocd gdbserver --persist",
            reset_halt=("monitor reset halt",),
            halt=("monitor halt",),
        ),
        ServerProfile(
            name="jlink",
            title="J-Link GDB server",
            default_port=2331,
            # SEGGER UM08001, "GDB Server", "Command line options": -port, -swoport and -telnetport.
            launch=Launch(
                "JLinkGDBServer",
                r"Waiting for GDB connection",
                port_argument=_OPTION.format("port"),
                free_ports=("-port", "{gdb}", "-swoport", "{tcl}", "-telnetport", "{other}"),
                serial=("-select", "usb={serial}"),
            ),
            start_with="JLinkGDBServer -device DEVICE -if SWD",
            # SEGGER UM08001, "GDB Server": `monitor reset` resets and halts; `monitor go` starts the core.
            reset_halt=("monitor reset",),
            halt=("monitor halt",),
            reset_run=("monitor reset", "monitor go"),
            resume=("monitor go",),
        ),
        ServerProfile(
            name="st-util",
            title="st-util",
            default_port=4242,
            launch=Launch(
                "st-util",
                r"Listening at \*?:(?P<port>\d+)\D",
                port_argument=_OPTION.format("p|-listen_port"),
                free_ports=("-p", "{gdb}"),
                serial=("--serial", "{serial}"),
            ),
            start_with="st-util",
            # It announces packets of 16 KiB, and writes at most this through an ST-LINK: 1.7 answers OK and drops the
            # rest, 1.8 refuses.
            largest_write=6144,
            # Of longer reads from odd addresses bytes were wrong (seen with 1.7.0); why was not looked up.
            largest_read=6144,
            lets_core_go=True,
            # It does not know how to detach.
            reset_halt=("monitor reset",),
            halt=("monitor halt",),
            reset_run=("monitor reset", "monitor resume"),
            resume=("monitor resume",),
        ),
        ServerProfile(
            name="probe-rs",
            title="probe-rs",
            default_port=1337,
            # probe-rs, cmd/gdb_server: one port for each type of core, the first of which is named last.
            launch=Launch(
                "probe-rs",
                r"Firing up GDB stub[^\n]*?:(?P<port>\d+)[,\]]",
                ("gdb",),
                r"(?:^| )--gdb-connection-string[ =](?:\S*:)?(?P<port>\d+)",
                free_ports=("--gdb-connection-string", "127.0.0.1:{gdb}"),
            ),
            start_with="probe-rs gdb --chip STM32H750XBHx",
            # target/monitor.rs: it knows `info`, `reset` and `reset halt`; all else prints its help, and OK. A client
            # that detaches lets all cores go.
            reset_halt=("monitor reset halt",),
        ),
        ServerProfile(
            name="blackmagic",
            title="Black Magic Probe",
            start_with="a Black Magic Probe, and give its first serial device with --connect /dev/ttyACM0",
            extended=True,
            # Without `monitor connect_rst enable`: the scan would then reset a target that is to stay as it is.
            attach=("monitor swd_scan", "attach 1"),
            # `monitor reset` gives up the target here, so the reset goes through the core's own registers.
            reset_halt=(),
            reset_run=("monitor reset",),
        ),
        ServerProfile(
            name="board",
            title="virtual board",
            launch=Launch(
                sys.executable,
                r"GDB on 127\.0\.0\.1:(?P<port>\d+)\D",
                (*OURSELVES, "board", "--port", "0"),
                typed="gdbflash board --port 0",
            ),
            start_with="gdbflash board",
            reset_halt=("monitor reset halt",),
            halt=("monitor halt",),
            reset_run=("monitor reset run",),
            resume=("monitor resume",),
        ),
        ServerProfile(name="generic", title="GDB server", start_with="your GDB server", largest_write=None),
    )
}

SERVERS = {
    "auto": "told by asking",
    **{name: each.title for name, each in PROFILES.items() if name not in ("generic", "board")},
    "board": "a virtual board, started for this run unless it is named by --connect",
}
"""What users may name, and what it is; `generic` is what one turns out to be that answers like none of them."""

CANDIDATE_PORTS = (3333, 61234, 2331, 4242, 1234, 1337)
"""Default ports that are looked at when neither server nor place is named."""


class Asker(Protocol):
    """An open connection of GDB to the server."""

    @property
    def supported(self) -> str:
        """The server's answer to qSupported; empty when it gave none."""

    def ask(self, command: str) -> str:
        """Pass a monitor command and return all that was said, refusals too; raises ConnectionLost."""


def profile_named(name: str) -> ServerProfile:
    """Return the profile of that name; raises InputError."""
    if name not in PROFILES:
        raise InputError(f"There is no server {name!r}; choose auto or one of {', '.join(PROFILES)}.", server=name)
    return PROFILES[name]


def started_with(profile: ServerProfile, arguments: str, serial: str | None) -> str:
    """Give the arguments of --launch that choose a probe, too; raises InputError where there is none to choose.

    A serial number may come from a project's file, and OpenOCD reads it as Tcl, which starts programs (OpenOCD User's
    Guide, "Server Configuration": its commands are Jim-Tcl's, with `exec`): so letters and digits alone, and `:._-`.
    """
    if serial is None:
        return arguments
    if not _SERIAL.fullmatch(serial):
        raise InputError(
            f"--probe {serial[:40]!r} is no serial number of letters and digits. Where it is right all the same, "
            "choose the probe within --launch.",
            probe=serial,
        )
    words = profile.launch.serial if profile.launch is not None else ()
    if not words:
        raise InputError(f"{profile.title} has no probe that could be chosen by --probe.", server=profile.name)
    return " ".join([arguments, *(shlex.quote(each.format(serial=serial)) for each in words)])


def detect(asker: Asker) -> ServerProfile:
    """Tell the server by its own words over the open connection; "generic" when it says nothing known.

    Signatures first: they cost nothing. Then the questions that name exactly one server, and at last the
    list of its commands. Sources: qSupported replies and `monitor` texts of the servers themselves.
    """
    features = set(asker.supported.split(";"))
    if {"QNonStop+", "hwbreak+", "swbreak+"} <= features:
        return PROFILES["stlink"]
    if "PacketSize=3fff" in features:
        return PROFILES["st-util"]
    version = asker.ask("version")
    for words, name in (
        ("Open On-Chip Debugger", "openocd"),
        ("Black Magic", "blackmagic"),
        ("gdbflash", "board"),
        ("pyOCD", "pyocd"),
        ("J-Link", "jlink"),
    ):
        if words.lower() in version.lower():
            return PROFILES[name]
    if "multiprocess+" in features and re.match(r"\s*\d+\.\d+", asker.ask("info version")):
        return PROFILES["qemu"]
    commands = asker.ask("help").lower()
    if "for openocd compatibility" in commands:  # pyOCD's own words about its `init` command
        return PROFILES["pyocd"]
    if "print session information" in commands:
        return PROFILES["probe-rs"]
    if "j-link" in commands:
        return PROFILES["jlink"]
    return PROFILES["generic"]


def parse_work_area(said: str) -> range | None:
    """Read what the command `ServerProfile.work_area` printed; None when no RAM is overwritten."""
    found = re.match(r"(\d+) (\d+) ([01])\s*\Z", said)
    if found is None:
        return None
    start, size, restored = map(int, found.groups())
    return range(start, start + size) if size and not restored else None


def choose_port(profile: ServerProfile | None, listening: list[int]) -> int:
    """Pick the port to connect to when none was named; profile None is "auto". Raises ServerMissing.

    listening: the ports of CANDIDATE_PORTS that listen on this machine (see `endpoint.listening_ports`).
    """
    if profile is not None:
        if not profile.default_port:
            raise ServerMissing(
                f"The {profile.title} has no usual place: start {profile.start_with}; then name it with --connect.",
                server=profile.name,
            )
        return profile.default_port
    if len(listening) == 1:
        return listening[0]
    if listening:
        places = ", ".join(f"127.0.0.1:{port}" for port in listening)
        raise ServerMissing(
            f"Several ports of GDB servers listen on this machine: {places}; choose one with --connect.",
            ports=list(listening),
        )
    ports = ", ".join(map(str, CANDIDATE_PORTS))
    raise ServerMissing(
        f"No GDB server listens on this machine (ports {ports}); start one, such as "
        f"`{PROFILES['openocd'].start_with}`, or name its place with --connect HOST:PORT.",
        ports=[],
    )
