"""The boards that config files name: whether each answers.

What belongs here: one look at one board, for `gdbflash boards`. What a file says is in `configured`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from gdbflash.errors import GdbflashError, InputError, JsonValue
from gdbflash.mi.target import MiTarget
from gdbflash.onchip.device.table import DEVICES
from gdbflash.onchip.placement import identify


@dataclass(frozen=True)
class Seen:
    """What came of looking at one board."""

    name: str
    answers: bool
    message: str
    notes: str
    """The file's own words about it."""
    server: str = ""
    device: str = ""
    unit: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """Say it to people."""
        first = f"{self.name:16}{'answers' if self.answers else '-':9}{self.message}"
        return (first, f"{'':25}{self.notes}") if self.notes else (first,)

    @property
    def data(self) -> dict[str, JsonValue]:
        """Give it for programs."""
        return dict(vars(self))


def look(
    name: str, notes: str, reached: Callable[[], AbstractContextManager[MiTarget]], expected: str | None = None
) -> Seen:
    """Look at a board without a reset and without its loader; the core goes on afterwards.

    expected: the unit that it has to be, by its unique ID. Raises InputError where it is not described right.
    """
    try:
        with reached() as target:
            try:
                device = identify(target, 0)
                server, where = target.profile.title, target.capabilities.place
            finally:
                target.resume()
    except InputError:
        raise
    except GdbflashError as error:
        return Seen(name, False, error.message, notes)
    known = DEVICES.get(device.device_id or 0)
    what = known.name if known is not None else "a device that is not known"
    said = f"{server} at {where}: {what}{f', unique ID {device.unit}' if device.unit else ''}"
    as_expected = expected in (None, device.unit)
    if not as_expected:
        said = f"{said}, and {expected} was expected"
    return Seen(name, as_expected, said, notes, server, what, device.unit)
