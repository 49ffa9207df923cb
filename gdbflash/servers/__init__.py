"""GDB servers: what each is like, where it is reached, how it is started, and OpenOCD's Tcl port.

What belongs here: what holds for a server whoever debugs through it. A new server is a row in `profiles`, and a role of
the virtual board in `board.faces.personality`. May import: the modules at the top of the package.
"""
