"""The version of this package.

What belongs here: the one place that says it, besides `pyproject.toml`, which a test holds to it.
"""

VERSION = "0.1.0"
