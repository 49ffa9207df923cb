"""GDB's own `load`: what it leaves to a server that cannot program it is told before.

What belongs here: the hook, in GDB's documented way ("User-defined Command Hooks"). It changes nothing of what `load`
does. GDB runs no hooks for a front end's `-target-download`, and hands a hook no words: what is looked at is the
program that GDB has.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import gdb

from gdbflash.commands.words import load_images
from gdbflash.errors import GdbflashError
from gdbflash.events import bytes_in_words
from gdbflash.ingdb.session import shown
from gdbflash.plan.program import external_parts
from gdbflash.ranges import Range
from gdbflash.servers.memory_map import flash_regions_in

_NAME = "hook-load"
_BODY = "python import gdbflash.ingdb.plain_load; gdbflash.ingdb.plain_load.before_load()"


class _Watch:
    """Who is asked before a load."""

    storages: Callable[[], Sequence[Range]] | None = None


def watch_load(storages: Callable[[], Sequence[Range]]) -> None:
    """Have each `load` looked at, unless the user has a hook there; storages: gives those of the loaders named."""
    _Watch.storages = storages
    try:
        gdb.execute(f"show user {_NAME}", to_string=True)
    except gdb.error:  # nobody has defined it
        gdb.execute(f"define {_NAME}\n{_BODY}\nend", to_string=True)


@contextlib.contextmanager
def unwatched() -> Iterator[None]:
    """Let loads of our own pass."""
    storages, _Watch.storages = _Watch.storages, None
    try:
        yield
    finally:
        _Watch.storages = storages


def before_load() -> None:
    """Say which parts of GDB's program `gdbflash load` would bring to their place, if any."""
    program = gdb.current_progspace().filename
    if _Watch.storages is None or not program or not Path(program).is_file():
        return
    try:
        flash = [each.where for each in flash_regions_in(gdb.execute("info mem", to_string=True))]
        parts = external_parts(load_images([program]), _Watch.storages(), flash)
    except GdbflashError:  # GDB itself says what is wrong with the program
        return
    if not parts:
        return
    size = bytes_in_words(sum(each.size for each in parts))
    said = (
        f"{program}: {size} of it, from {parts[0]} on, belong into external memory, which load leaves to the server. "
        "`gdbflash load` brings them there through the loader.\n"
    )
    gdb.write(shown(said))
