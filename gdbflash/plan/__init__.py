"""What is to be done, decided without a target: jobs, what of them is left, how much a call moves, how it is said.

What belongs here: pure functions from values to frozen values that tests compare whole; no I/O, no target.
May import: `loaders`, `images`, and the modules at the top of the package.
"""
