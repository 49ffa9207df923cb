"""The version of this package, and of what it says to programs.

What belongs here: the one place that says them, besides `pyproject.toml`, which a test holds to it. Files that it keeps
for itself have a `format` each, beside the code that reads them. What changed is told in CHANGES.md.
"""

VERSION = "0.1.0"
SCHEMA = 1
"""Of the lines that --json prints and of the options in a file: another one when who knows this one would be wrong."""
