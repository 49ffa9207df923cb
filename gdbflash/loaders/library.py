"""Loader files on this machine: where they lie, and for which chip each says to be by its name.

What belongs here: folders and names. Nothing in a file says which device a loader is for; its name does, in ST's own
folder and in most others: `MT25TL01G_STM32H747I-EVAL`, `W25Q64_STM32F4XX`, `M25P64_STM3210E-EVAL`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from gdbflash.errors import InputError

ENDING = ".stldr"
AUTO = "auto"
"""What stands for the loader that fits the device, in place of a file."""
_DEEPEST = 6
"""Folders below one that is looked through."""
_MOST = 5000
"""Loader files: the vendor's folder has about 300."""
_INSTALLED = (
    # STM32CubeProgrammer, where its installers and packages put it
    "~/STMicroelectronics/STM32Cube/STM32CubeProgrammer/bin/ExternalLoader",
    "/usr/local/STMicroelectronics/STM32Cube/STM32CubeProgrammer/bin/ExternalLoader",
    "/opt/stm32cubeprog/bin/ExternalLoader",
    "/Applications/STMicroelectronics/STM32Cube/STM32CubeProgrammer/"
    "STM32CubeProgrammer.app/Contents/MacOs/bin/ExternalLoader",
    "C:/Program Files/STMicroelectronics/STM32Cube/STM32CubeProgrammer/bin/ExternalLoader",
    # STM32CubeIDE, which brings one of its own
    "/opt/st/stm32cubeide_*/plugins/com.st.stm32cube.ide.mcu.externaltools.cubeprogrammer.*/tools/bin/ExternalLoader",
    "/Applications/STM32CubeIDE.app/Contents/Eclipse/plugins/"
    "com.st.stm32cube.ide.mcu.externaltools.cubeprogrammer.*/tools/bin/ExternalLoader",
    "C:/ST/STM32CubeIDE_*/STM32CubeIDE/plugins/"
    "com.st.stm32cube.ide.mcu.externaltools.cubeprogrammer.*/tools/bin/ExternalLoader",
)
_CHIP = re.compile(r"STM32[-_]?(WBA|WB|WL|[CFGHLNU](?=[0-9X]))?([0-9X][0-9A-Z]{0,2})")


def installed() -> tuple[Path, ...]:
    """Name the folders of the vendor's tools that are there, the newest version first."""
    found: list[Path] = []
    for pattern in _INSTALLED:
        path = Path(os.path.expanduser(pattern))  # noqa: PTH111 - pathlib raises for a user without a home
        anchor = Path(path.anchor)
        if path.is_absolute() and anchor.is_dir():
            found += sorted(
                (each for each in anchor.glob(str(path.relative_to(anchor))) if each.is_dir()), reverse=True
            )
    return tuple(found)


def loader_files(folders: Iterable[Path]) -> Iterator[Path]:
    """Yield the loader files in folders and below, each folder's by name; raises InputError for one that is none."""
    left = _MOST
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder. Name one that has {ENDING} files.", path=str(folder))
        for here, below, names in os.walk(folder):
            below.sort()
            if len(Path(here).relative_to(folder).parts) >= _DEEPEST:
                below.clear()
            for name in sorted(names):
                if name.lower().endswith(ENDING) and left:
                    left -= 1
                    yield Path(here, name)


def found_by_name(name: str, folders: Sequence[Path]) -> Path:
    """Find a loader file by its name, with or without its ending; raises InputError for none, or for several."""
    wanted = name.lower().removesuffix(ENDING)
    files = [each for each in loader_files(folders) if each.stem.lower() == wanted]
    if not files:
        files = [each for each in loader_files(folders) if wanted in each.stem.lower()]
    if len(files) == 1:
        return files[0]
    places = ", ".join(map(str, folders)) or "no folder: there is no `loader-path` and no tool of the vendor's"
    if not files:
        raise InputError(f"There is no loader file {name!r}, here or in {places}.", name=name)
    raise InputError(
        f"{len(files)} loader files are called {name!r}: {', '.join(map(str, files[:5]))}. Name one by its path.",
        name=name,
        files=[str(each) for each in files],
    )


def chip_in(name: str) -> str:
    """Give the chip that a name speaks of, such as H750, F4XX or WB55, X for any; empty where it speaks of none.

    ST's first boards leave the F out: STM3210E is one with an STM32F10x.
    """
    found = _CHIP.search(name.upper())
    if found is None:
        return ""
    series, rest = found.groups()
    if series is None:
        digits = re.match(r"[0-9X]*", rest)
        return f"F{digits[0] if digits else ''}"
    return f"{series}{rest}"


def is_for(chip: str, device: str) -> bool:
    """Tell whether a chip that a loader's name speaks of is a member of a device, by the name that `onchip` has of it.

    device: such as `STM32H742/743/750`, `STM32F101/F103 of medium density` or `STM32H7A3/7B3`.
    """
    series = re.match(r"STM32([A-Z]+)", device)
    if not chip or series is None:
        return False
    members = [each if each[0].isalpha() else series[1] + each for each in device[5:].split(" ")[0].split("/")]
    return any(_agree(chip, member.upper()) for member in members)


def _agree(one: str, other: str) -> bool:
    """Compare series and three more characters, as far as both have them."""
    split = [re.match(r"(WBA|WB|WL|[A-Z])(.*)", each) for each in (one, other)]
    if split[0] is None or split[1] is None or split[0][1] != split[1][1]:
        return False
    pairs = zip(split[0][2][:3], split[1][2][:3], strict=False)
    return all(a == b or "X" in (a, b) for a, b in pairs)
