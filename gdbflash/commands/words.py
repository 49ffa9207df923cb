"""Read what users type: numbers, ranges and image specifications.

What belongs here: pure parsing of text that the command line and the commands inside GDB share.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

from gdbflash.errors import InputError
from gdbflash.host.storage import STDIN
from gdbflash.images.content import Content
from gdbflash.images.formats import entry_point, load_image, merge_images
from gdbflash.ranges import Range

_NUMBER = re.compile(r"(0[xX][0-9a-fA-F_]{1,99}|[0-9][0-9_]{0,99})([kKmM]?)\Z")
"""More digits are no number of 32 bits, and from 4,301 decimal ones on Python refuses to read them."""
_FACTORS = {"": 1, "k": 1 << 10, "m": 1 << 20}
_SPACE = 1 << 32
_LARGEST_FACTOR = 1000
"""Of time-outs; the longest of them, for a whole chip, then lasts days. Systems cannot wait for much longer."""
_LARGEST_PORT = 65535
_PORT_DIGITS = 5
_MOST_DAYS = 1e6
_SHOWN = 60
"""Characters of what somebody typed that a message repeats."""


def parse_number(text: str) -> int:
    """Read a decimal or 0x number with an optional suffix K or M (1024-based); raises InputError."""
    found = _NUMBER.match(text.strip())
    if found:
        digits = found[1].replace("_", "")
        base = 16 if digits[:2].lower() == "0x" else 10
        # K and M are no hex digits, so "0x10K" reads as people mean it.
        if digits[2:] or base == 10:
            value = int(digits, base) * _FACTORS[found[2].lower()]
            if value <= _SPACE:
                return value
    raise InputError(
        f"{_short(text)!r} is not a number: give decimal or 0x hex up to 32 bits, with K or M for 1024 or 1024²."
    )


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


_ALSO_CALLED = {"flash": "load", "program": "load", "dump": "read", "download": "load", "compare": "verify"}
"""What other tools call our commands."""


def nearest(word: str, known: Sequence[str]) -> str | None:
    """Give what may have been meant by a word that is none of those known; None where nothing is near."""
    near = next(iter(difflib.get_close_matches(word, [*known, *_ALSO_CALLED], 1)), None)
    return _ALSO_CALLED.get(near, near) if near is not None else None


def parse_address(text: str) -> int:
    """Read a 32-bit address; raises InputError."""
    address = parse_number(text)
    if address >= _SPACE:
        raise InputError(f"{_short(text)!r} is not a 32-bit address.")
    return address


def parse_factor(text: str) -> float:
    """Read a number above zero that time-outs can be multiplied by; raises InputError."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= _LARGEST_FACTOR:
        raise InputError(f"{_short(text)!r} is no factor above 0 and up to {_LARGEST_FACTOR}, such as 2 or 0.5.")
    return value


def parse_port(text: str) -> int:
    """Read the number of a TCP port; raises InputError."""
    if not text.isascii() or not text.isdigit() or len(text) > _PORT_DIGITS or not 0 < int(text) <= _LARGEST_PORT:
        raise InputError(f"{_short(text)!r} is not a port: give a number from 1 to {_LARGEST_PORT}.")
    return int(text)


KEPT_ACTIONS = ("list", "show", "export", "restore", "discard")
"""What may be done with recovery files."""


def parse_kept_action(text: str) -> str:
    """Read what is to be done with recovery files; raises InputError."""
    if text not in KEPT_ACTIONS:
        raise InputError(f"{_short(text)!r} is none of {', '.join(KEPT_ACTIONS)}.")
    return text


def parse_days(text: str) -> float:
    """Read a number of days, zero or more; raises InputError."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < _MOST_DAYS:
        raise InputError(f"{_short(text)!r} is no number of days.")
    return value


SHELLS = ("bash", "zsh", "fish")
"""Shells that can be taught to complete words."""


def parse_shell(text: str) -> str:
    """Read the name of a shell; raises InputError."""
    if text not in SHELLS:
        raise InputError(f"{_short(text)!r} is none of the shells {', '.join(SHELLS)}.")
    return text


UNIT_SIZE = 12
"""Bytes of an STM32's unique ID (of every reference manual: "Device electronic signature")."""


def parse_unit(text: str) -> bytes:
    """Read a unique ID, 24 hex digits; raises InputError."""
    try:
        unit = bytes.fromhex(text)
    except ValueError:
        unit = b""
    if len(unit) != UNIT_SIZE:
        raise InputError(f"{text!r} is no unique ID: give its 96 bits as 24 hex digits.")
    return unit


def parse_unit_text(text: str) -> str:
    """Read a unique ID as the hex digits that are shown of one; raises InputError."""
    return parse_unit(text).hex()


def parse_listening_port(text: str) -> int:
    """Read the number of a TCP port to listen at, where 0 is any free one; raises InputError."""
    return 0 if text == "0" else parse_port(text)


def parse_quantity(text: str) -> float:
    """Read a number of zero or more; raises InputError."""
    value = _finite(text)
    if value is None or value < 0:
        raise InputError(f"{_short(text)!r} is no number of zero or more.")
    return value


def parse_rate(text: str) -> float:
    """Read a number above zero; raises InputError."""
    value = _finite(text)
    if value is None or value <= 0:
        raise InputError(f"{_short(text)!r} is no number above zero.")
    return value


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def parse_call_argument(text: str) -> int | None:
    """Read an argument of a raw call; None for `buffer`. Raises InputError."""
    return None if text == "buffer" else parse_number(text)


def parse_range(text: str) -> Range:
    """Read START:SIZE; raises InputError."""
    start, colon, size = text.partition(":")
    if not colon:
        raise InputError(f"{_short(text)!r} is not START:SIZE, such as 0x24000000:512K.")
    return whole_range(parse_address(start), parse_number(size))


def whole_range(address: int, size: int) -> Range:
    """Make a range of at least one byte inside the 32-bit address space; raises InputError."""
    if size <= 0:
        raise InputError(f"A size of {size} bytes at 0x{address:08X} is nothing to work on. Give 1 or more.")
    if address + size > _SPACE:
        raise InputError(f"0x{address:08X} and {size} bytes run past the end of the 32-bit address space.")
    return Range(address, size)


def parse_image(text: str) -> tuple[Path, int | None]:
    """Split IMAGE[@ADDRESS]; `-` is what is piped in. Raises InputError.

    A file whose own name has an @ is taken as it is where it exists.
    """
    if text.partition("@")[0] == "-":
        text = STDIN + text[1:]
    name, at, address = text.rpartition("@")
    if at and name and not os.path.lexists(text) and (_NUMBER.match(address) or os.path.lexists(name)):
        try:
            return Path(name), parse_address(address)
        except InputError as error:
            raise InputError(f"{name}@{_short(address)}: {error.message}") from error
    return Path(text), None


def entry_of(specifications: Sequence[str]) -> int | None:
    """Give where the program begins that the images named are, None where none tells; raises as `load_images`."""
    entries = (entry_point(path) for path, _ in map(parse_image, specifications) if path.as_posix() != STDIN)
    return next((each for each in entries if each is not None), None)


def load_images(specifications: Sequence[str]) -> Content:
    """Read and merge the images named; raises InputError and ImageFileError."""
    return merge_images([load_image(path, address) for path, address in map(parse_image, specifications)])


def file_named(text: str) -> Path:
    """Read a file's name, where ~ is the home directory; that of a user who does not exist stays as it is."""
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:  # what pathlib raises for one
        return path
