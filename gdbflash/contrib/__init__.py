"""Drivers for frameworks that hold boards on many hosts; each comes with an extra of its name.

What belongs here: what such a framework wants, over the public API alone, so that it serves as an example too.
May import: `gdbflash` itself, which gives that API, and the framework.
"""
