"""The registers of the core that an open GDB session is connected to.

What belongs here: what GDB and the server call them, reading, and writing. Values are written by packets of our own
(RSP, P): each that GDB writes itself costs it up to four more, to find the user's frame again, and when the connection
goes in one, GDB crashes (13.1 and 18.1), because it still uses the register cache that it has freed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import gdb

from gdbflash.errors import CommandRefused, PrepareError
from gdbflash.ingdb.memory import lost_told
from gdbflash.ingdb.session import run
from gdbflash.target import register_name

# A line of `maintenance print remote-registers`: name, GDB's number, place among its kind, offset, size, type, and,
# for a register that the server has, the server's number.
_REMOTE = re.compile(r"^\s*(\w+)\s+\d+\s+\d+\s+\d+\s+(\d+)\s+\S+\s+(\d+)\b", re.MULTILINE)


class CoreRegisters:
    """Reads and writes registers, by their names in lower case."""

    def __init__(self) -> None:
        """Look up what GDB and the server call them; raises PrepareError when they are not a Cortex-M's."""
        self._spellings: dict[str, str] = {}
        for register in gdb.selected_frame().architecture().registers():
            plain = register_name(register.name)
            if plain is not None:
                self._spellings.setdefault(plain, register.name)
        if not {"pc", "sp", "lr", "xpsr"} <= set(self._spellings):
            raise PrepareError("The target that GDB is connected to shows no Cortex-M core (no xPSR).")
        self._remote = {
            name: (int(number), int(size))
            for name, size, number in _REMOTE.findall(run("maintenance print remote-registers"))
        }

    @property
    def names(self) -> frozenset[str]:
        """The registers that there are."""
        return frozenset(self._spellings)

    def spelling(self, name: str) -> str:
        """Give GDB's name of a register; raises CommandRefused for one that there is not."""
        if name not in self._spellings:
            raise CommandRefused(
                f"The server has no register {name}; it has {', '.join(sorted(self._spellings))}.",
                command=name,
                reply="no such register",
            )
        return self._spellings[name]

    def read(self, names: Iterable[str]) -> dict[str, int]:
        """Read registers; raises CommandRefused for one that there is not, or that the server does not give."""
        values: dict[str, int] = {}
        for name in names:
            shown = self._value(self.spelling(name)).format_string(format="x")
            if not shown.startswith("0x"):
                raise CommandRefused(
                    f"The server does not give the value of {name} ({shown}); is the core halted?",
                    command=name,
                    reply=shown,
                )
            values[name] = int(shown, 16) & 0xFFFFFFFF
        return values

    def _value(self, register: str) -> gdb.Value:
        try:
            with lost_told():
                return gdb.parse_and_eval(f"${register}")  # not by a gdb.Frame, whose making unwinds the next one
        except gdb.error as error:
            raise CommandRefused(
                f"GDB does not give {register}: {error}", command=register, reply=str(error)
            ) from error

    def write(self, values: Mapping[str, int]) -> None:
        """Write those registers that change, in the order given; raises CommandRefused, ConnectionLost."""
        old = self.read(values)
        changed = {name: value for name, value in values.items() if value & 0xFFFFFFFF != old[name]}
        for number, data in self._raw(changed):
            packet = f"P{number:x}={data.hex()}"
            with lost_told():
                answer = str(gdb.selected_inferior().connection.send_packet(packet) or b"", "latin-1")
            if answer != "OK":
                raise CommandRefused(
                    f"The server did not write a register ({packet}): {answer or 'it has no such packet'}.",
                    command=packet,
                    reply=answer,
                )
        if changed:
            self.forget()

    def _raw(self, values: Mapping[str, int]) -> Iterator[tuple[int, bytes]]:
        """Give the server's numbers of registers and their bytes; S registers are halves of its D registers."""
        rest = dict(values)
        while rest:
            name = next(iter(rest))
            value = rest.pop(name)
            if self.spelling(name) in self._remote:
                number, size = self._remote[self.spelling(name)]
                yield number, (value & 0xFFFFFFFF).to_bytes(4, "little")[:size].ljust(size, b"\0")
                continue
            index = int(name.removeprefix("s")) // 2
            halves = (f"s{2 * index}", f"s{2 * index + 1}")
            known = self.read(halves) | {name: value}
            number, _ = self._remote[f"d{index}"]
            yield number, b"".join((rest.pop(each, known[each]) & 0xFFFFFFFF).to_bytes(4, "little") for each in halves)

    def forget(self) -> None:
        """Make GDB forget the registers: something changed them behind its back."""
        with lost_told():
            run("maintenance flush register-cache")
