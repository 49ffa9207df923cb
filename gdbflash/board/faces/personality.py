"""How GDB servers of the field differ, as data: which one the board's RSP face plays.

What belongs here: documented or readable behaviour of each server, one frozen value each, and no code that acts. To add
one: a value in PERSONALITIES under the name of its `servers.profiles.ServerProfile`.
Sources: st-util and Black Magic firmware as published (gdb-server.c, gdb_main.c, command.c), probe-rs' cmd/gdb_server
and the gdbstub crate that it is made with, pyOCD's gdbserver package, SEGGER UM08001 and logs of J-Link GDB Server V7,
ST UM2576 and logs of ST-LINK_gdbserver.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from gdbflash.board.faces import targetxml
from gdbflash.board.faces.targetxml import Feature, Region


class Action(enum.Enum):
    """What a monitor command does to the board."""

    NOTHING = "nothing"
    RESET_RUN = "reset-run"
    RESET_HALT = "reset-halt"
    HALT = "halt"
    RESUME = "resume"
    SCAN = "scan"
    """Look for targets; only then can one be attached."""
    RESET_DETACH = "reset-detach"
    """Reset, and forget the targets found."""
    CONNECT_UNDER_RESET = "connect-under-reset"
    CONNECT_RUNNING = "connect-running"


@dataclass(frozen=True)
class MonitorCommand:
    """One monitor command: its words, what it does, and what it prints."""

    words: str
    action: Action = Action.NOTHING
    text: str = ""


@dataclass(frozen=True)
class Personality:
    """The traits of one GDB server; the defaults are those of the board's own face."""

    name: str
    packet_size: int
    """Bytes of payload; announced as PacketSize and not to be exceeded."""
    features: tuple[str, ...]
    """The rest of the reply to qSupported, in the server's order."""
    monitor: tuple[MonitorCommand, ...]
    monitor_by_prefix: bool = False
    """The first command whose words begin the line counts, as with strncmp; else the whole line must match."""
    monitor_unknown: str = "E01"
    """The packet for an unknown command: E.. makes GDB say "Protocol error with Rcmd", nothing "does not support"."""
    monitor_unknown_text: str = ""
    """Console output before that packet."""
    registers: tuple[Feature, ...] = targetxml.FEATURES
    registers_in_g: int | None = None
    """How many registers a g packet carries; None: all."""
    memory_map: tuple[Region, ...] = ()
    flash_work_area: Region | None = None
    """RAM that programming internal flash overwrites; None: the flash algorithm's RAM is saved and restored."""
    no_ack: bool = True
    vcont: bool = True
    binary_write: bool = True
    """X packets."""
    binary_read: bool = False
    """x packets; only servers that announce binary-upload+ get them."""
    software_breakpoints: bool = True
    """Z0; where it is missing, GDB writes BKPT itself."""
    crc: bool = True
    threads: bool = True
    """Thread queries are answered."""
    stops_are_alike: bool = False
    """Every stop is S05, also after an interrupt, and no cause is told."""
    memory_write_limit: int | None = None
    """Bytes that are written of one packet; more of it is dropped, and acknowledged."""
    memory_read_limit: int | None = None
    """The most bytes that one m packet is answered with; None: what fits into a packet."""
    memory_read_error: str = "E01"
    detach: str = "OK"
    """The reply to D; nothing: GDB says "Remote doesn't know how to detach"."""
    kill_closes: bool = True
    """A k packet ends the connection; else the server carries on."""
    persistent: bool = True
    """Goes on serving when the client has gone; else the server ends."""
    persistent_when_extended: bool = False
    """Becomes persistent when GDB says "target extended-remote"."""
    attach_needed: bool = False
    """There is no target until a scan and vAttach."""
    words: tuple[tuple[int, int], ...] = ()
    """Addresses of words that read as a core has them which the board has not, and what they read as."""
    poll_ms: int | None = None
    """Looks only this often whether the running core has halted or the client interrupts; None: at once."""

    def qsupported(self) -> str:
        """Give the reply to qSupported."""
        return ";".join((f"PacketSize={self.packet_size:x}", *self.features))

    def command(self, line: str) -> MonitorCommand | None:
        """Find the monitor command for a line; None for an unknown one."""
        line = " ".join(line.split())
        for command in self.monitor:
            if line == command.words or (self.monitor_by_prefix and line.startswith(command.words)):
                return command
        return None


_RESETS = (
    MonitorCommand("reset", Action.RESET_RUN),
    MonitorCommand("reset run", Action.RESET_RUN),
    MonitorCommand("reset halt", Action.RESET_HALT),
)
_HALT = MonitorCommand("halt", Action.HALT)
_RESUME = MonitorCommand("resume", Action.RESUME)

BOARD = Personality(
    name="board",
    packet_size=0x4000,
    features=(
        "QStartNoAckMode+",
        "qXfer:features:read+",
        "qXfer:memory-map:read+",
        "swbreak+",
        "hwbreak+",
        "vContSupported+",
        "binary-upload+",
    ),
    memory_map=(
        *targetxml.RAM,
        targetxml.FLASH,
        targetxml.SYSTEM_MEMORY,
        targetxml.EXTERNAL_WINDOW,
        *targetxml.REGISTER_SPACE,
    ),
    # Where OpenOCD's target/stm32h7x.cfg has its work area, and of what order its size is.
    flash_work_area=Region("ram", 0x20000000, 0x8000),
    # The core's and the system's; GDB asks for the others when somebody wants to see them. Reading 32 more at
    # every stop would be most of what a short call costs.
    registers_in_g=23,
    binary_read=True,
    monitor=(
        *_RESETS,
        _HALT,
        _RESUME,
        MonitorCommand("version", text="gdbflash virtual board, STM32H750 with W25Q128\n"),
        MonitorCommand(
            "help",
            text="reset [run]  reset the MCU and let it run\nreset halt   reset and halt before the first instruction\n"
            "halt         halt the core\nresume       let it run, unseen by the debugger\n"
            "version      say what this is\n",
        ),
    ),
    monitor_unknown_text='unknown command "{line}"; "monitor help" lists the commands\n',
)

# The external window at 0x90000000 is in none of these maps of the field: with them GDB refuses it until told otherwise
# (set mem inaccessible-by-default off).
_FULL_MAP = (*targetxml.RAM, targetxml.FLASH, targetxml.SYSTEM_MEMORY, *targetxml.REGISTER_SPACE)
_MEMORIES_ONLY = (*targetxml.RAM, targetxml.FLASH)

STLINK = Personality(
    name="stlink",
    packet_size=0x4000,
    features=(
        "QStartNoAckMode+",
        "QNonStop+",
        "swbreak+",
        "hwbreak+",
        "qXfer:features:read+",
        "qXfer:memory-map:read+",
    ),
    # Without arguments, and running afterwards unless the server was started with --halt.
    monitor=(MonitorCommand("reset", Action.RESET_RUN), _HALT),
    memory_map=_FULL_MAP,
    persistent=False,
)

ST_UTIL = Personality(
    name="st-util",
    packet_size=0x3FFF,
    features=("qXfer:memory-map:read+", "qXfer:features:read+"),
    monitor=(
        _RESUME,
        _HALT,
        MonitorCommand("jtag_reset", Action.RESET_HALT),
        MonitorCommand("reset", Action.RESET_RUN),
        MonitorCommand("semihosting enable"),
        MonitorCommand("semihosting disable"),
    ),
    monitor_by_prefix=True,
    monitor_unknown="",
    registers=targetxml.FEATURES_IN_ONE,
    registers_in_g=16,
    memory_map=(
        Region("rom", 0x00000000, 0x10000),
        *targetxml.RAM[1:5],
        targetxml.FLASH,
        targetxml.SYSTEM_MEMORY,
        *targetxml.REGISTER_SPACE,
    ),
    no_ack=False,
    vcont=False,
    binary_write=False,
    software_breakpoints=False,
    crc=False,
    threads=False,
    stops_are_alike=True,
    memory_read_limit=0x1800,
    memory_write_limit=0x1800,
    memory_read_error="",
    detach="",
    kill_closes=False,
    persistent=False,
    persistent_when_extended=True,
    poll_ms=100,
)

JLINK = Personality(
    name="jlink",
    packet_size=0x4000,
    # The memory map is refused unless the server knows the device's flash.
    features=("qXfer:memory-map:read-", "QStartNoAckMode+", "hwbreak+", "qXfer:features:read+"),
    monitor=(
        MonitorCommand("reset", Action.RESET_HALT, "Resetting target\r\n"),
        MonitorCommand("reset 0", Action.RESET_HALT, "Resetting target\r\n"),
        _HALT,
        MonitorCommand("go", Action.RESUME),
        MonitorCommand(
            "help",
            text="SEGGER J-Link GDB Server, supported commands:\ngo\nhalt\nreset [<Type>]\nregs\nspeed <kHz>|auto\n",
        ),
    ),
    detach="",
)

BLACKMAGIC = Personality(
    name="blackmagic",
    packet_size=0x400,
    features=("qXfer:memory-map:read+", "qXfer:features:read+", "vContSupported+"),
    monitor=(
        MonitorCommand("version", text="Black Magic Probe v1.10.0, Hardware Version 0\n"),
        MonitorCommand(
            "help",
            text="General commands:\n\tversion -- Display firmware version info\n"
            "\tswd_scan -- Scan SWD interface for devices\n"
            "\tconnect_rst -- Configure connect under reset: [enable|disable]\n"
            "\treset -- Pulse the nRST line - disconnects target\n",
        ),
        *(
            MonitorCommand(
                words,
                Action.SCAN,
                "Target voltage: 3.3V\nAvailable Targets:\nNo. Att Driver\n 1      STM32H74x M7\n",
            )
            for words in ("swd_scan", "swdp_scan", "auto_scan")
        ),
        MonitorCommand("connect_rst enable", Action.CONNECT_UNDER_RESET, "Assert nRST during connect: enabled\n"),
        MonitorCommand("connect_rst disable", Action.CONNECT_RUNNING, "Assert nRST during connect: disabled\n"),
        MonitorCommand("reset", Action.RESET_DETACH),
    ),
    monitor_unknown="",
    memory_map=_MEMORIES_ONLY,
    no_ack=False,
    software_breakpoints=False,
    kill_closes=False,
    attach_needed=True,
)

PYOCD = Personality(
    name="pyocd",
    packet_size=0x800,
    features=(
        "qXfer:features:read+",
        "QStartNoAckMode+",
        "qXfer:threads:read+",
        "QNonStop+",
        "qXfer:memory-map:read+",
    ),
    monitor=(
        MonitorCommand("reset", Action.RESET_RUN, "Resetting target\n"),
        MonitorCommand("reset run", text="Unexpected error: unexpected value for reset_type option ('run')\n"),
        MonitorCommand(
            "reset halt",
            Action.RESET_HALT,
            "Resetting target with halt\nSuccessfully halted device on reset\n",
        ),
        MonitorCommand("halt", Action.HALT, "Successfully halted device\n"),
        MonitorCommand("init"),
        MonitorCommand(
            "help",
            text="init\tIgnored; for OpenOCD compatibility.\nreset\tReset the target, optionally with halt.\n"
            "halt\tHalt the target.\nerase\tErase all or parts of flash memory.\n"
            "arm\tEnable or disable semihosting.\nthreads\tControl thread awareness.\n"
            "help\tShow help for commands.\n",
        ),
    ),
    monitor_unknown="OK",
    monitor_unknown_text="Error: unrecognized command '{line}'\n",
    memory_map=_MEMORIES_ONLY,
    crc=False,
    persistent=False,
)

PROBE_RS = Personality(
    name="probe-rs",
    packet_size=0x1000,
    features=("vContSupported+", "QStartNoAckMode+", "hwbreak+", "qXfer:features:read+", "qXfer:memory-map:read+"),
    monitor=(
        MonitorCommand("info", text='Target info:\n\nTarget {\n    name: "STM32H750XBHx",\n}\n'),
        MonitorCommand("reset", Action.RESET_RUN, "Resetting target\nDone\n"),
        MonitorCommand("reset halt", Action.RESET_HALT, "Resetting and halting target\nTarget halted\n"),
    ),
    monitor_unknown="OK",
    monitor_unknown_text="Supported Commands:\n\n    info - print session information\n    reset - reset target\n"
    "    reset halt - reset target and halt afterwards\n\n",
    memory_map=_MEMORIES_ONLY,
    software_breakpoints=False,
    crc=False,
    poll_ms=10,
)

PERSONALITIES = {
    personality.name: personality for personality in (BOARD, STLINK, ST_UTIL, JLINK, BLACKMAGIC, PYOCD, PROBE_RS)
}
"""All of them by name."""
