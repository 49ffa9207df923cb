"""Files that bring gdbflash into the tools that people build and debug with: west, CMake, PlatformIO, VS Code.

What belongs here: what `gdbflash integrate` prints or writes, as templates, and what is to be done with it then.
May import: the modules that lie directly in the package.
"""
