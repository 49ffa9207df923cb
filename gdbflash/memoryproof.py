"""What a server's answers about memory prove, where some servers answer before they know.

What belongs here: the amounts and patterns that tell, for every debugger's way of reading and writing. Which servers
are known for it is in `profiles`.
"""

from __future__ import annotations

import re

LATE = 16
"""Bytes that a server with late answers surely answers late (OpenOCD: from 8, fast_limit in its gdb_server.c)."""
_ZEROS = re.compile(rb"\0{512,}")
"""Zeros that may be a failed packet; packets but the last carry more than 512 bytes on servers known for this."""


def suspicious_zeros(data: bytes) -> list[tuple[int, int]]:
    """Find what a failed read packet answered with zeros may have left: long runs of zeros, or any at the end.

    Gives start and stop offsets.
    """
    runs = [match.span() for match in _ZEROS.finditer(data)]
    end = len(data.rstrip(b"\0"))
    if end < len(data) and (not runs or runs[-1][1] != len(data)):
        runs.append((end, len(data)))
    return runs
