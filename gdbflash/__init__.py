"""Run STM32 external loaders through any GDB server.

The names that this module gives are the public API; all else may change from one version to the next. They are imported
when they are first used, so that `import gdbflash` costs nothing:

- `connect` or `launch` give a target while a block runs; `load_loader` and `load_image` read files; `plan_write`,
  `plan_verify`, `plan_erase` and `plan_chip_erase` say what would be done; a `Flasher` does it and gives a `Report`;
- `RunOptions` say how the target is taken, used and left; progress comes as events to the observer that is passed;
- whatever a file, a server or a target can cause is a `GdbflashError`; signals and exit codes are the caller's.

How a write travels, and which sub-package each step lies in:

- `cli` or `ingdb` read words; `commands` says what they mean; `loaders` and `images` read the files that are named;
- `plan` makes a frozen job of them, before anything is touched;
- `mi` starts gdb and connects it to a server that `servers` knows (inside GDB: `ingdb.target`), and yields a
  `target.Target`, the one seam to a debugger: all above it is the same code on the command line and inside GDB;
- `flash.flasher` looks at what is there, erases, programs and verifies, with a loader that `onchip` lays out in RAM
  and calls; it tells of it in `events`, which the front ends show.

What may import what stands in each sub-package's docstring and is held by `tests/unit/test_imports.py`. Where to put
what: a server in `servers.profiles`, a device in `onchip.devices`, a chip of the virtual board in `board.chips`, a
command in `commands`.
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
