"""Run STM32 external loaders through any GDB server.

The names that this module gives are the public API; all else may change from one version to the next. They are imported
when they are first used, so that `import gdbflash` costs nothing:

- `connect` or `launch` give a target while a block runs; `load_loader` and `load_image` read files; `plan_write`,
  `plan_verify`, `plan_erase` and `plan_chip_erase` say what would be done; a `Flasher` does it and gives a `Report`;
- `RunOptions` say how the target is taken, used and left; progress comes as events to the observer that is passed;
- whatever a file, a server or a target can cause is a `GdbflashError`; signals and exit codes are the caller's.

How a write travels, down to the chip and up again:

- words: `cli.main` or `ingdb.commands` take them by the rows of `commands.table`; `commands.requests` decides what they
  mean; `loaders.stldr` and `images.formats` read the files that are named;
- plan: `plan.jobs` makes a frozen job of them, before anything is touched;
- target: `mi.reach` starts gdb and connects it to a server that `servers.profiles` knows (inside GDB: `ingdb.connect`),
  and yields a `target.Target`, the one seam to a debugger: all that follows is the same code on both ways;
- RAM: `flash.flasher` takes the target, and `onchip.loaded` puts the loader into its RAM where `onchip.plan_layout`
  says;
- memory: `flash.writing` looks what is there (`flash.inspection`, by digests of `onchip.digest`), takes what
  `plan.delta` leaves to be done, keeps what is beside it (`flash.keeping`), erases, programs and verifies;
- call: each function of the loader is called by `onchip.call`, and why one did not return is said by `onchip.autopsy`;
- back: `events` tell of it on the way, a `Report` or an error of `errors` at the end; the front ends show them, and
  `cli.main` makes an exit code of it.

What may import what stands in each sub-package's docstring and is held by `tests/unit/test_imports.py`. Where to put
what: a server in `servers.profiles`, a device in `onchip.device.table`, a chip of the virtual board in
`board.chips.facts`, a kind of loader file in `loaders`, a command or an option in `commands.table`: each says there
what else it takes. What users of earlier versions have to know goes into CHANGES.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gdbflash.version import VERSION

__version__ = VERSION

if TYPE_CHECKING:
    from gdbflash.api import *  # noqa: F403
else:

    def __getattr__(name: str) -> Any:
        # `from gdbflash import ...` asks here for sub-packages too, before it imports them.
        if not name.startswith("_") and name != "api":
            api = importlib.import_module("gdbflash.api")
            if name in api.__all__:
                return getattr(api, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
