"""The machine: folders that runs have on it, and all in which its operating system differs from others.

What belongs here: what a run keeps on the machine (`folders`), and every test of which system it is: no other module
asks for that (tests/unit/test_systems.py). Each difference is one name with one promise, made true on each system.
May import: the modules at the top of the package.
"""
