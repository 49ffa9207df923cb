"""Which loader files there are for a device, and which of them a command means.

What belongs here: what `gdbflash loaders` lists, and what `-l auto` may choose: by the device's DEV_ID and by the
addresses that it is wanted for. No loader is called to find out: two for the same chip have other pins, and Init of the
wrong one drives them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gdbflash.errors import InputError, JsonValue, LoaderFileError
from gdbflash.events import bytes_in_words
from gdbflash.loaders.library import chip_in, is_for, loader_files
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.loaders.stldr import load_loader
from gdbflash.onchip.device.table import DEVICES

_MOST_NAMED = 8


@dataclass(frozen=True)
class Listed:
    """One loader file, and the chip that its name speaks of."""

    path: Path
    chip: str
    loader: ExternalLoader | None
    """None: it is no loader that can be used."""
    why: str = ""

    @property
    def line(self) -> str:
        """Say it to people."""
        if self.loader is None:
            return f"{self.path}: {self.why}"
        storage, count = self.loader.storage, len(self.loader.findings)
        chip = f"STM32{self.chip}" if self.chip else "which chip is not said"
        found = f", {count} finding{'s' * (count != 1)}" if count else ""
        return f"{self.path}: {storage.name}, {storage.span}, {bytes_in_words(storage.extent)}, {chip}{found}"

    @property
    def data(self) -> dict[str, JsonValue]:
        """Give it for programs."""
        if self.loader is None:
            return {"path": str(self.path), "chip": self.chip, "error": self.why}
        storage = self.loader.storage
        return {
            "path": str(self.path),
            "chip": self.chip,
            "name": storage.name,
            "type_name": storage.type_name,
            "address": storage.address,
            "size": storage.extent,
            "findings": [each.code for each in self.loader.findings],
        }


def listed(folders: Sequence[Path]) -> Iterator[Listed]:
    """Read the loader files in folders and below; raises InputError for a folder that is none."""
    for path in loader_files(folders):
        try:
            loader = load_loader(path)
        except LoaderFileError as error:
            yield Listed(path, chip_in(path.stem), None, error.message)
        else:
            yield Listed(path, chip_in(path.stem) or chip_in(loader.storage.name), loader)


def fitting(folders: Sequence[Path], device_id: int | None, addresses: Sequence[int]) -> tuple[Listed, ...]:
    """Give the loaders that speak of the device and whose storage has all addresses; raises InputError for none.

    A file that is there twice counts once.
    """
    device = DEVICES.get(device_id or 0)
    if device is None:
        raise InputError("The device does not tell what it is: no loader can be chosen. Name one with -l FILE.")
    found: dict[str, Listed] = {}
    for each in listed(folders):
        if each.loader is None or not is_for(each.chip, device.name):
            continue
        if all(address in each.loader.storage.span for address in addresses):
            found.setdefault(each.loader.sha256, each)
    if not found:
        places = ", ".join(map(str, folders)) or "no folder, as there is no `loader-path` and no tool of the vendor's"
        where = f" that has 0x{addresses[0]:08X}" if addresses else ""
        raise InputError(
            f"No loader for this {device.name}{where} was found in {places}. Name one with -l FILE.",
            device=device.name,
        )
    return tuple(found.values())


def only_one(found: Sequence[Listed], device_id: int | None) -> Listed:
    """Give the loader that is left; raises InputError where there are more: nobody can tell which pins are wired."""
    if len(found) == 1:
        return found[0]
    named = ", ".join(str(each.path) for each in found[:_MOST_NAMED])
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    raise InputError(
        f"{len(found)} loaders are for this {DEVICES[device_id or 0].name}, and only the board's wiring tells which is "
        f"right: {named}{more}. Name one with -l FILE.",
        files=[str(each.path) for each in found],
    )


def why(chosen: Listed, device_id: int | None) -> str:
    """Say why a loader was chosen."""
    storage = chosen.loader.storage if chosen.loader is not None else None
    return (
        f"{chosen.path} is used: it is for STM32{chosen.chip}, this device is {DEVICES[device_id or 0].name}, and its "
        f"storage is {storage.span if storage is not None else 'unknown'}."
    )
