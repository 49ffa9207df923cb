"""Bytes as people look at them: address, 16 bytes in hex, the same as text.

What belongs here: the form of a dump, as `hexdump -C` gives it.
"""

from __future__ import annotations

from collections.abc import Iterator

_LINE = 16


def hexdump(address: int, data: bytes) -> Iterator[str]:
    """Give the lines of a dump; lines that repeat the one before are one `*`, and the end's address comes last.

    Lines begin at multiples of 16, so that an odd address leaves a gap at the beginning.
    """
    before = b""
    squeezed = False
    start = address - address % _LINE
    for place in range(start, address + len(data), _LINE):
        first = max(place - address, 0)
        line = data[first : place - address + _LINE]
        if line == before and len(line) == _LINE:
            if not squeezed:
                yield "*"
            squeezed = True
            continue
        before, squeezed = line, False
        gap = max(address - place, 0)
        cells = ["  "] * gap + [f"{each:02x}" for each in line]
        cells += ["  "] * (_LINE - len(cells))
        text = "".join(chr(each) if 0x20 <= each < 0x7F else "." for each in line)
        yield f"{place:08x}  {' '.join(cells[:8])}  {' '.join(cells[8:])}  {' ' * gap}|{text}|"
    yield f"{address + len(data):08x}"
