"""The commands inside an open GDB session, and the target that this session is connected to.

What belongs here: whatever runs in GDB's own Python, and nothing else; so only pure-Python packages.
`gdbinit.gdb` begins at `register`. May import: all but `mi`, `cli` and `board`.
"""
