"""A target behind a gdb process of our own, which is spoken to in GDB/MI.

What belongs here: finding and starting gdb, its records and values, and the `target.Target` that they make.
May import: `servers` and the modules at the top of the package.
"""
