"""Run the virtual board as a program of its own.

What belongs here: putting machine and faces together for `gdbflash board`; the only door from the tool to `board/`.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gdbflash.cli.interruption import heeded
from gdbflash.commands.words import UNIT_SIZE, parse_unit
from gdbflash.errors import InputError, SetupError
from gdbflash.loaders.loader import need
from gdbflash.loaders.stldr import load_loader
from gdbflash.servers.profiles import PROFILES

_DEFAULT_PORT = 3333
"""Where the board listens when its personality has no usual port."""


@dataclass(frozen=True)
class BoardOptions:
    """What kind of board, and where it listens; port None is the personality's usual one, 0 a free one.

    Link and times are those of `board.tempo.Tempo`, faults those of `board.mishaps.inject`.
    """

    port: int | None = None
    stlink_port: int | None = None
    image: Path | None = None
    personality: str = "board"
    link_kib_s: float | None = None
    link_latency_us: float = 0.0
    data_sheet_times: bool = False
    time_scale: float = 1.0
    inject: tuple[str, ...] = ()
    unit: bytes | None = None
    pyocd_port: int | None = None


def run_board(options: BoardOptions, say: Callable[[str], None]) -> None:
    """Serve until SIGINT, SIGTERM, SIGHUP, or the end of a server that is not persistent.

    Raises InputError for an unknown personality or fault, or an unusable flash file, SetupError when a port is taken
    or the extra `board` is not installed.
    """
    try:
        from gdbflash.board.chips.w25q import W25Q
        from gdbflash.board.faces.personality import PERSONALITIES
        from gdbflash.board.faces.pyocd_remote import PyocdProbeServer
        from gdbflash.board.faces.rsp import RspServer
        from gdbflash.board.faces.stlinktcp import StlinkServer
        from gdbflash.board.machine import Machine
        from gdbflash.board.mishaps.inject import parse
        from gdbflash.board.tempo import Tempo
    except ModuleNotFoundError as error:
        raise SetupError(
            f"The virtual board needs the package {error.name}. Install it: pip install 'gdbflash[board]'",
            package=error.name,
        ) from error
    personality = PERSONALITIES.get(options.personality)
    if personality is None:
        raise InputError(f"There is no personality {options.personality!r}; choose one of {', '.join(PERSONALITIES)}.")
    port = PROFILES[personality.name].default_port or _DEFAULT_PORT if options.port is None else options.port
    injection = parse(options.inject, _function_of)
    tempo = Tempo(options.link_kib_s, options.link_latency_us, options.data_sheet_times, options.time_scale)
    clock = tempo.clock()
    with contextlib.ExitStack() as parts:
        try:
            flash = W25Q(clock, path=options.image, timing=tempo.chip)
        except OSError as error:
            raise InputError(f"The flash file {options.image} cannot be used ({error.strerror}).") from error
        parts.callback(flash.close)
        machine = parts.enter_context(Machine(flash, clock=clock, unit=options.unit or _unit_of(options.image)))
        places, wanted = [], port
        try:
            server = RspServer(machine, port=port, personality=personality, link=tempo.rsp_link())
            injection.into_board(machine, server.link)
            gdb_face = parts.enter_context(server)
            places.append(f"GDB on 127.0.0.1:{gdb_face.port}")
            if options.stlink_port is not None:
                wanted = options.stlink_port
                stlink_link = tempo.stlink_link()
                injection.into_stlink(stlink_link)
                stlink_face = parts.enter_context(StlinkServer(machine, options.stlink_port, stlink_link))
                places.append(f"ST-LINK on 127.0.0.1:{stlink_face.port}")
            if options.pyocd_port is not None:
                wanted = options.pyocd_port
                pyocd_face = PyocdProbeServer(machine, options.pyocd_port, tempo.stlink_link())
                places.append(f"pyOCD's remote probe on 127.0.0.1:{parts.enter_context(pyocd_face).port}")
        except OSError as error:
            raise SetupError(
                f"The board cannot listen at port {wanted} ({os.strerror(error.errno or 0)}). Choose another with "
                "--port, --stlink-port or --pyocd-port; 0 takes a free one.",
                port=wanted,
            ) from error
        told = threading.Event()
        with heeded(lambda *_: told.set()):  # before anybody can know that it runs
            say(f"virtual STM32H750 with {flash.chip.name}: {', '.join(places)}")
            while not told.is_set() and not gdb_face.wait(0.2):
                pass


def _unit_of(image: Path | None) -> bytes:
    """Give the unique ID of the board whose chip keeps its content in a file: made once, and kept in a file beside it.

    Without such a file each start is another board. Raises InputError.
    """
    import secrets  # only here: no other command needs it

    made = secrets.token_bytes(UNIT_SIZE)
    if image is None:
        return made
    path = image.with_name(f"{image.name}.unit")
    try:
        if not path.exists():
            path.write_text(f"{made.hex()}\n", "ascii")
        return parse_unit(path.read_text("ascii").strip())
    except (OSError, UnicodeError) as error:
        raise InputError(f"{path}, which holds the board's unique ID, cannot be used: {error}.") from error


def _function_of(file: str, function: str) -> int:
    """Find a function of a loader file; raises LoaderFileError, PlanError."""
    return need(load_loader(file), function)
