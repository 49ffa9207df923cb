"""Run STM32 external loaders through any GDB server.

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

__version__ = "0.1.0"
