"""Program what is not external, by the server's own means: GDB's `load` of one file for flash, and one for RAM.

What belongs here: which bytes the file has, and that they are there afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from gdbflash.errors import CommandRefused, TargetError
from gdbflash.events import Noted, counted
from gdbflash.flash import kept_files
from gdbflash.flash.compare import Comparison
from gdbflash.flash.kept_files import KeptFile, KeptSector, Origin
from gdbflash.flash.phases import Phases
from gdbflash.images.content import Content
from gdbflash.images.formats import hex_text
from gdbflash.onchip.device.lookup import internal_erased_value
from gdbflash.onchip.device.read_protection import check_open
from gdbflash.onchip.placement import identify
from gdbflash.onchip.state import Identity
from gdbflash.plan.delta import not_erased
from gdbflash.plan.program import Program, blocks_of
from gdbflash.ranges import Range, slices, without
from gdbflash.target import FlashRegion, Target

_PIECE = 256 * 1024
"""Bytes read back at a time."""
_END_OF_FILE = ":00000001FF"
_NOTHING = Content(())
_FLASH_FAILED = "Error finishing flash operation"
"""What GDB says of an error at vFlashDone."""


class Internal:
    """Loads the parts of a program that belong into internal flash and RAM of a halted target."""

    def __init__(self, target: Target, phases: Phases, folder: Path | None = None) -> None:
        """Take a target; folder: for bytes to keep, None: the usual state folder."""
        self._target = target
        self._folder = folder
        self._phases = phases
        self._device = identify(target, 0)

    def load(self, program: Program, regions: tuple[FlashRegion, ...], *, keep: bool) -> int:
        """Program flash, then RAM, and compare both; returns the bytes kept beside it.

        Bytes of touched blocks that the program does not cover are read twice, and lie in a recovery file until all is
        compared. PC is the program's entry afterwards. Raises PrepareError where read protection forbids it,
        TargetError, Mismatch, OutputError.
        """
        if program.flash:
            check_open(self._target, self._device.device_id)
        kept = self._beside(program.flash, regions) if keep and program.flash else _NOTHING
        whole = program.flash.over(kept)
        kept, blank = self._told_apart(kept)
        file = self._saved(whole, kept, regions) if kept else None
        try:
            programmed = whole.within(without(whole.ranges, blank))
            for part, what in ((programmed, "internal flash"), (program.ram, "RAM")):
                if part:
                    with self._phases.phase("program", part.size, what) as advance:
                        self._load(program, part, what)
                        advance(part.size)
            self._compare((whole, program.ram))
        except BaseException:
            if file is not None:
                self._phases.observe(_safe(file))
            raise
        if file is not None:
            kept_files.leave(file, ())
        return kept.size

    def _told_apart(self, kept: Content) -> tuple[Content, tuple[Range, ...]]:
        """Tell bytes that an erase takes from places that it leaves as they are."""
        erased = internal_erased_value(self._device.device_id)
        if erased is None:
            return kept, ()
        places = not_erased(kept, kept.ranges, erased, 1)
        return kept.within(places), without(kept.ranges, places)

    def _beside(self, flash: Content, regions: tuple[FlashRegion, ...]) -> Content:
        """Read what lies beside flash in its blocks; raises TargetError where it does not come the same twice."""
        places = without(blocks_of(flash, regions), flash.ranges)
        once, again = (
            {where: self._target.read_memory(where.address, where.size) for where in slices(places, _PIECE)}
            for _ in range(2)
        )
        for where, data in once.items():
            if again[where] != data:
                raise TargetError(
                    f"{where} was read twice and came differently, so nothing was erased. Check the probe's cable and "
                    "lower its speed; --no-keep gives up what lies beside the program.",
                    address=where.address,
                    size=where.size,
                )
        return Content.of((where.address, data) for where, data in once.items())

    def _saved(self, whole: Content, kept: Content, regions: tuple[FlashRegion, ...]) -> KeptFile:
        """Keep what lies beside the program in a file; raises OutputError."""
        low, high = min(each.where.address for each in regions), max(each.where.end for each in regions)
        capabilities = self._target.capabilities
        origin = Origin(
            Identity("internal flash", low, high - low, self._device.unit, self._folder),
            f"{capabilities.server} {capabilities.place}".strip(),
            "",
            0xFF,
            time.time(),
        )
        blocks = [each for each in blocks_of(kept, regions) if whole.within((each,)).size == each.size]
        sectors = [KeptSector(each, kept.within((each,)).ranges, (whole.read(each),)) for each in blocks]
        return kept_files.save(origin, sectors)

    def _load(self, program: Program, part: Content, what: str) -> None:
        text = hex_file(part, program.entry)
        try:
            try:
                self._target.load(text, part.size)
            except CommandRefused as error:
                if _FLASH_FAILED not in str(error.data["reply"]):
                    raise
                # Writes of a download that was cut off wait in the server until the next one, which fails by them.
                self._target.load(text, part.size)
        except CommandRefused as error:
            raise TargetError(
                f"GDB could not load the part of {program.name} that goes into {what} ({error.data['reply']}). "
                "Check the server's messages, and that the part is meant for this chip.",
                reply=error.data["reply"],
            ) from error

    def _compare(self, parts: Iterable[Content]) -> None:
        comparison = Comparison()
        parts = [each for each in parts if each]
        with self._phases.phase("verify", sum(each.size for each in parts)) as advance:
            for part in parts:
                for where in slices(part.ranges, _PIECE):
                    found = self._target.read_memory(where.address, where.size)
                    comparison.feed(where.address, part.read(where), found)
                    advance(where.size)
        comparison.check("The program is not what was loaded", "Check that this is the chip the program is built for.")


def hex_file(content: Content, entry: int | None) -> str:
    """Write content as one Intel HEX file; its start record makes GDB's `load` set PC as an ELF file would."""
    lines = [
        line
        for where in content.ranges
        for line in hex_text([(where.address, content.read(where))]).splitlines()
        if line != _END_OF_FILE
    ]
    if entry is not None:
        record = bytes((4, 0, 0, 5)) + (entry & ~1).to_bytes(4, "big")
        lines.append(f":{record.hex().upper()}{-sum(record) & 0xFF:02X}")
    return "\n".join([*lines, _END_OF_FILE]) + "\n"


def _safe(file: KeptFile) -> Noted:
    places: tuple[Range, ...] = file.content.ranges
    return Noted(
        "kept",
        f"{counted(file.content.size, 'byte')} beside the program are safe in {file.path}; `gdbflash kept export` "
        "gives them as a .hex file, which `gdbflash load` puts back.",
        {"path": str(file.path), "ranges": [[each.address, each.size] for each in places]},
        always=True,
    )
