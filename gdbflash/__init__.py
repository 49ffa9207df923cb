"""Run STM32 external loaders through any GDB server.

How a write travels: `cli` turns arguments and files into values; `plan` makes a job of them without
touching anything; `mi` connects and yields a `Target`; what the device says makes a RAM layout; `flasher`
loads the loader's image, calls its functions through `call` and emits `events`; `console` shows them.

The one seam to a debugger is `target.Target`; everything above it is the same code on the command line
and inside GDB, and everything below it is one module per way of reaching a debugger.
"""

__version__ = "0.1.0"
