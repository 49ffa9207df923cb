"""What the options that reach a target say together: the loaders that are named, and how they are run.

What belongs here: filling in what was left open, for every front end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gdbflash.loaders.loader import ExternalLoader
from gdbflash.loaders.stldr import load_loader
from gdbflash.options import After, Before, CallOptions, Kept, RunOptions
from gdbflash.plan.jobs import check_apart


def loaders_named(paths: Sequence[Path]) -> tuple[ExternalLoader, ...]:
    """Read loader files; raises LoaderFileError, and PlanError when two are for one memory."""
    loaders = tuple(load_loader(path) for path in paths)
    check_apart(loaders)
    return loaders


def run_options(loaders: Sequence[ExternalLoader], said: Mapping[str, Any], *, in_session: bool = False) -> RunOptions:
    """Fill in what depends on the rest, on the kind of storage, and on whether this is in an open GDB session.

    said: by the names of `table.REACH`, of which `before` and `after` may be None.
    """
    before, after = said["before"], said.get("after")
    if before is None:
        before = (Before.NONE if in_session or after == After.RESTORE.value else Before.RESET).value
    if after is None:
        ram = any(each.storage.is_ram for each in loaders)
        stays = in_session and before == Before.NONE.value
        after = (After.RESTORE if stays else After.HALT if ram else After.RESET).value
    kept = Kept(said.get("kept") or Kept.ASK.value)
    calls = CallOptions(
        said["ram"],
        said["irq"],
        said["ignore_init_result"],
        said["timeout_scale"],
        static_base=said.get("static_base"),
    )
    return RunOptions(Before(before), After(after), calls, kept, said.get("expect_unit"))
