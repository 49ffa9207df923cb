"""One file of a first contact with a board: versions, server, device, RAM, link and call times, findings.

What belongs here: what `gdbflash doctor --report` measures and how the file says it. Nothing in the target is changed
but by the flasher that a loader is run with, and nothing is written to the loader's memory.
"""

from __future__ import annotations

import platform
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gdbflash.commands.doctor import Check
from gdbflash.commands.requests import Reached
from gdbflash.errors import CommandRefused, GdbflashError, InputError, TargetError
from gdbflash.events import Advanced, Event, Finished, Started, Waited, bytes_in_words
from gdbflash.images.output import OutputFile
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.onchip.device.lookup import CPUID_ADDRESS
from gdbflash.onchip.device.table import DEVICES
from gdbflash.onchip.placement import identify
from gdbflash.ranges import Range
from gdbflash.target import Target
from gdbflash.version import VERSION

_ROUND_TRIPS = 20
_AMOUNT = 0x4000
"""Bytes of RAM that are read, and written back as they were, to measure the link."""
_DIGESTED = 0x10000
"""Bytes of the memory that a loader is run for."""
_ASKED = {"openocd": ("version", "adapter name", "adapter speed", "transport select")}
"""What servers are asked of themselves; no serial number is in the answers."""
_UNIQUE_ID = re.compile(r"(?i)(?<![0-9a-f])[0-9a-f]{24}(?![0-9a-f])")
"""The 96 bits of a unit's unique ID in hex, wherever they are said; nothing else in a report is as long."""


@dataclass
class Report:
    """What is found, in the order in which it is."""

    path: Path
    serials: bool = False
    """Whether the unit's unique ID stays in it."""
    _lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raise InputError where the file exists: it may be anything."""
        if self.path.exists():
            raise InputError(
                f"{self.path} exists, and a report overwrites nothing. Name another file with --report.",
                path=str(self.path),
            )
        self.add("gdbflash report 1", VERSION)
        self.add("system", f"{platform.platform()}, Python {platform.python_version()}")

    def add(self, name: str, text: str) -> None:
        """Add a line."""
        self._lines.append(f"{name + ':':<18} {' '.join(text.split())}")

    def checked(self, check: Check) -> None:
        """Add what a check of the doctor found."""
        mark = {True: "ok", False: "missing", None: "not known"}[check.ok]
        self.add(check.name, f"{mark}: {check.message}")

    def observe(self, event: Event) -> None:
        """Add what happened on the way."""
        if isinstance(event, Finished):
            self.add("phase", f"{event.phase} took {event.seconds:.3f} s")
        elif not isinstance(event, Started | Advanced | Waited):
            self.add("event", getattr(event, "message", ""))

    def measure_link(self, target: Target, loaders: Sequence[ExternalLoader], *, writes: bool) -> None:
        """Add what the server says of itself, and how fast the link is; the halted target stays as it is.

        writes: write back what was read, too: for a target that was reset, since a program's DMA goes on.
        """
        device = identify(target, loaders[0].link_address if loaders else 0)
        for question in _ASKED.get(target.capabilities.server, ()):
            try:
                self.add(f"monitor {question}", target.monitor(question))
            except CommandRefused as error:
                self.add(f"monitor {question}", f"refused: {error.message}")
        try:
            times = [_seconds(lambda: target.read_memory(CPUID_ADDRESS, 4)) for _ in range(_ROUND_TRIPS)]
            self.add("round trip", f"{statistics.median(times) * 1000:.2f} ms, the median of {_ROUND_TRIPS} words read")
            ram = [loaders[0].link_address & ~0xFFF] if loaders else [each.address for each in _ram(device.device_id)]
            if ram:
                self._measure(target, Range(ram[0], _AMOUNT), writes=writes)
        except TargetError as error:
            self.add("link", f"not measured: {error.message}")

    def _measure(self, target: Target, where: Range, *, writes: bool) -> None:
        begun = time.perf_counter()
        held = target.read_memory(where.address, where.size)
        self._rate("read", where, time.perf_counter() - begun)
        if not writes:
            self.add("link, written", "not measured: that is done with --before reset")
            return
        self._rate("written", where, _seconds(lambda: target.write_memory(where.address, held)))
        same = target.read_memory(where.address, where.size) == held
        self.add("link, compared", "the same" if same else "DIFFERENT: check the probe's cable, and lower its speed")

    def _rate(self, how: str, where: Range, seconds: float) -> None:
        self.add(f"link, {how}", f"{where.size / 1024 / seconds:.1f} KiB/s, {bytes_in_words(where.size)} at {where}")

    def finish(self, loaders: Sequence[ExternalLoader], reach: Callable[[], Reached]) -> None:
        """Run each loader's Init, digest the begin of its memory, which is only read, and write the file.

        What fails is in the file, and raised.
        """
        try:
            if loaders:
                self._run(loaders, reach())
        except GdbflashError as error:
            self.add("failed", " ".join((error.message, *error.report)))
            raise
        finally:
            self._save()

    def _run(self, loaders: Sequence[ExternalLoader], reached: Reached) -> None:
        for loader in loaders:
            self.add("loader", f"{Path(loader.path).name}: {loader.storage.name}, {loader.storage.span}")
            for finding in loader.findings:
                self.add("finding", f"{finding.severity}: {finding.message}")
        with reached as flasher:
            for loader in loaders:
                where = Range(loader.storage.address, min(_DIGESTED, loader.storage.extent))
                digest = flasher.checksum(loader, where)
                self.add("digest", f"{where}: CRC-32 0x{digest.crc32:08X}, after {flasher.calls} calls")

    def _save(self) -> None:
        text = "".join(f"{line}\n" for line in self._lines)
        if not self.serials:
            text = _UNIQUE_ID.sub("(left out)", text)
        with OutputFile(self.path) as file:
            file.write(text.encode("utf-8", "backslashreplace"))
            file.commit()


def _ram(device_id: int | None) -> tuple[Range, ...]:
    return tuple(DEVICES[device_id].ram) if device_id in DEVICES else ()


def _seconds(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun
