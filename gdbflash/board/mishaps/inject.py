"""Faults to inject into the board, out of words: `gdbflash board --inject FAULT`.

What belongs here: the grammar, from words to the values that link, core and flash chip take. It is described where
users read it, in `boardcommand.FAULTS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from gdbflash.board.chips.nor import Faults, StuckBits
from gdbflash.board.faces.rsplink import LinkConditions
from gdbflash.board.faces.stlinktcp import LinkFailure, StlinkLink
from gdbflash.board.machine import Machine
from gdbflash.board.mishaps.link import LinkFault, PacketFault
from gdbflash.board.mishaps.occasion import Occasion
from gdbflash.board.mishaps.places import (
    FAULTS,
    Event,
    Fault,
    Flip,
    Halt,
    Hang,
    Lockup,
    Mishap,
    Overflow,
    Reset,
    Return,
)
from gdbflash.board.soc.quadspi_window import WINDOW_BASE
from gdbflash.errors import InputError

Symbol = Callable[[str, str], int]
"""Finds the address of a function in a loader file; raises InputError."""

_OCCASION = re.compile(r"@(?P<first>[1-9]\d*)(?P<rest>\+|-(?P<last>[1-9]\d*))?\Z")
_REGISTER = re.compile(r"(?P<register>r\d|r1[0-2]|sp)(?:\+(?P<offset>\w+))?\Z")
_LINK = {each.value: each for each in LinkFault}
_STLINK = {"target": LinkFailure.TARGET, "usb": LinkFailure.USB, "hang-up": LinkFailure.HANG_UP}
_SIMPLE_EVENTS: dict[str, Event] = {"hang": Hang(), "overflow": Overflow(), "reset": Reset(), "halt": Halt()}


@dataclass
class Injection:
    """All faults of a board, by where they happen."""

    link: list[PacketFault] = field(default_factory=list)
    stlink: tuple[LinkFailure, Occasion] | None = None
    mishaps: list[Mishap] = field(default_factory=list)
    flash: Faults = field(default_factory=Faults)

    def into_board(self, machine: Machine, link: LinkConditions | None = None) -> None:
        """Let them happen from now on, in place of earlier ones; those of the ST-LINK by `into_stlink`."""
        machine.plan_mishaps(self.mishaps)
        for chip in machine.chips:
            chip.array.faults = self.flash
        if link is not None:
            link.faults = self.link

    def into_stlink(self, link: StlinkLink) -> None:
        """Let those of the ST-LINK happen from now on."""
        link.fail_after = link.fail_count = None
        if self.stlink is not None:
            link.failure, occasion = self.stlink
            link.fail_count = None if occasion.last is None else occasion.last - occasion.first + 1
            link.fail_after = occasion.first - 1


def parse(faults: Iterable[str], symbol: Symbol) -> Injection:
    """Read faults; raises InputError that quotes the one that is none."""
    injection = Injection()
    for text in faults:
        try:
            _add(injection, text, symbol)
        except ValueError as error:
            why = f" ({error})" if str(error) else ""
            raise InputError(
                f"--inject {text!r} is no fault of the board{why}. See gdbflash board --help.", fault=text
            ) from error
    return injection


def _add(injection: Injection, text: str, symbol: Symbol) -> None:
    """Add one fault; raises ValueError."""
    words, occasion = _split_occasion(text)
    name, _, rest = words.partition(":")
    if name in _LINK:
        injection.link.append(_packet_fault(_LINK[name], rest, occasion))
    elif name == "stlink":
        if rest not in _STLINK:
            raise ValueError(f"choose one of {', '.join(_STLINK)}")
        injection.stlink = (_STLINK[rest], occasion)
    elif name in ("protected", "no-erase", "no-program", "stuck"):
        if occasion != Occasion():
            raise ValueError("a fault of the flash chip has no occasion")
        injection.flash = _flash_fault(injection.flash, name, rest)
    else:
        event, place = _event(name, rest)
        injection.mishaps.append(Mishap(_place(place, symbol), event, occasion))


def _split_occasion(text: str) -> tuple[str, Occasion]:
    found = _OCCASION.search(text)
    if found is None:
        return text, Occasion()
    first = int(found["first"])
    last = int(found["last"]) if found["last"] else None if found["rest"] == "+" else first
    if last is not None and last < first:
        raise ValueError("its occasion ends before it begins")
    return text[: found.start()], Occasion(first, last)


def _packet_fault(fault: LinkFault, rest: str, occasion: Occasion) -> PacketFault:
    if fault is LinkFault.STALL:
        return PacketFault(fault, occasion, seconds=float(rest) if rest else None)
    if rest and fault is not LinkFault.ERROR:
        raise ValueError("only error names a PACKET")
    return PacketFault(fault, occasion, packet=rest)


def _flash_fault(faults: Faults, name: str, rest: str) -> Faults:
    if name == "stuck":
        address, bit, value = (int(each, 0) for each in rest.split(":"))
        if not 0 <= bit < 8 or value not in (0, 1) or address < WINDOW_BASE:
            raise ValueError(f"an address from {WINDOW_BASE:#x} on, a bit from 0 to 7, and 0 or 1")
        stuck = {address - WINDOW_BASE: StuckBits(1 << bit, value << bit)}
        return replace(faults, stuck={**faults.stuck, **stuck})
    if rest:
        raise ValueError(f"nothing follows {name}")
    return replace(
        faults,
        write_protected=faults.write_protected or name == "protected",
        erase_does_nothing=faults.erase_does_nothing or name == "no-erase",
        program_does_nothing=faults.program_does_nothing or name == "no-program",
    )


def _event(name: str, rest: str) -> tuple[Event, str]:
    """Read an event and the words of its place."""
    if name in _SIMPLE_EVENTS:
        return _SIMPLE_EVENTS[name], rest
    first, _, behind = rest.partition(":")
    if name == "fault":
        if first == "lockup":
            return Lockup(), behind
        if first not in FAULTS:
            raise ValueError(f"choose one of {', '.join(FAULTS)}, lockup")
        return Fault(first), behind
    if name == "return":
        return Return(int(first, 0) & 0xFFFFFFFF), behind
    if name == "flip":
        bit, _, place = behind.partition(":")
        where = _REGISTER.match(first)
        if int(bit, 0) not in range(8):
            raise ValueError("a bit is from 0 to 7")
        if where is None:
            return Flip("", int(first, 0), int(bit, 0)), place
        return Flip(where["register"], int(where["offset"] or "0", 0), int(bit, 0)), place
    raise ValueError


def _place(text: str, symbol: Symbol) -> int:
    file, colon, function = text.rpartition(":")
    if colon:
        return symbol(file, function) & ~1
    return int(text, 0) & 0xFFFFFFFE
