"""What the payloads of MI records say, as values.

What belongs here: pure reading. A payload that is not as the manual has it, as a damaged record's may be, gives less
or nothing, and whoever asked then says what is missing. Source: Debugging with GDB, "GDB/MI Data Manipulation".
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gdbflash.mi.client import MiValue
from gdbflash.target import Instruction

_HEX = re.compile(r"0x[0-9a-f]{1,16}\Z")
_REGISTER = re.compile(r"[0-9]{1,4}\Z")

Payload = dict[str, MiValue]


def registers_in(payload: Payload) -> dict[int, int]:
    """Give the values of registers by GDB's numbers, of -data-list-register-values."""
    found = {}
    for value in _items(payload.get("register-values")):
        match value:
            case {"number": str(number), "value": str(text)} if _REGISTER.match(number) and _HEX.match(text):
                found[int(number)] = int(text, 16)
    return found


def instructions_in(payload: Payload) -> tuple[Instruction, ...]:
    """Give the instructions of -data-disassemble."""
    found = []
    for value in _items(payload.get("asm_insns")):
        match value:
            case {"address": str(address), "inst": str(text)} if _HEX.match(address):
                found.append(Instruction(int(address, 16), " ".join(text.split())))
    return tuple(found)


def memory_in(payload: Payload, address: int) -> bytes:
    """Give the bytes of -data-read-memory-bytes; none where they are not those from address on."""
    match payload:
        case {"memory": [{"begin": str(begin), "contents": str(contents)}]} if _HEX.match(begin):
            # fromhex would pass over blanks.
            whole = re.fullmatch(r"(?:[0-9a-fA-F]{2})*", contents)
            return bytes.fromhex(contents) if whole and int(begin, 16) == address else b""
        case _:
            return b""


def pc_in(payload: Payload) -> int | None:
    """Give the PC of a *stopped record; None where it has no frame."""
    match payload:
        case {"frame": {"addr": str(pc)}} if _HEX.match(pc):
            return int(pc, 16)
        case _:
            return None


def _items(values: MiValue | None) -> Iterable[MiValue]:
    return values if isinstance(values, list) else ()
