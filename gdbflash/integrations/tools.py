"""The tools, the files that each wants, and what to do with them.

What belongs here: a row for each tool, and filling in its templates. Only `write_new` touches files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gdbflash.errors import InputError, OutputError

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Tool:
    """A tool that gdbflash comes into by files."""

    files: Mapping[str, str]
    """The template of each file, by its path in the folder that is named with -o."""
    folder: str
    """What that folder is, for people."""
    then: str
    """What is to be done next, once the files are there."""


TOOLS: Mapping[str, Tool] = {
    "west": Tool(
        {
            "west-commands.yml": "west-commands.yml",
            "gdbflash_west.py": "gdbflash_west.py",
            "zephyr/module.yml": "module.yml",
            "gdbflash_runner.py": "gdbflash_runner.py",
            "gdbflash.board.cmake": "gdbflash.board.cmake",
        },
        "a new folder in the repository of your west.yml",
        "In west.yml, under `manifest: self:`, add `west-commands: @FOLDER@west-commands.yml`: `west gdbflash load "
        "build/zephyr/zephyr.elf -l Board.stldr` is there then. For `west flash -r gdbflash --extload Board.stldr`, "
        "include gdbflash.board.cmake in the board.cmake, and build with -DEXTRA_ZEPHYR_MODULES=FOLDER.",
    ),
    "cmake": Tool(
        {"gdbflash.cmake": "gdbflash.cmake"},
        "the folder of your CMakeLists.txt",
        "In CMakeLists.txt, below the target: `include(gdbflash.cmake)` and `gdbflash_add_target(firmware "
        "Board.stldr)`; then `cmake --build build --target firmware-gdbflash`.",
    ),
    "platformio": Tool(
        {"gdbflash_upload.py": "gdbflash_upload.py"},
        "the folder of your platformio.ini",
        "In platformio.ini, in your [env:...]: `upload_protocol = custom`, `extra_scripts = post:gdbflash_upload.py` "
        "and `custom_gdbflash_loader = Board.stldr`; then `pio run -t upload`.",
    ),
    "vscode": Tool(
        {".vscode/tasks.json": "tasks.json", ".vscode/launch.json": "launch.json"},
        "the folder that you open in VS Code",
        "Put the names of your firmware and of your .stldr into both files. The task runs before each launch of "
        "cortex-debug, which wants a GDB server that listens at localhost:3333.",
    ),
}


def parse_tool(text: str) -> str:
    """Read the name of a tool; raises InputError."""
    if text not in TOOLS:
        raise InputError(f"{text[:40]!r} is none of {', '.join(TOOLS)}.")
    return text


def filled(tool: str, command: Sequence[str], folder: str = "") -> dict[str, str]:
    """Give a tool's files by their paths; command: what starts gdbflash; folder: theirs in its repository, or empty."""
    place = f"{folder.strip('/')}/" if folder.strip("/") else ""
    values = {
        # Of what the languages have for strings, that of JSON is right in all of Python, JSON and YAML.
        "@COMMAND_LIST@": _text(list(command)),
        "@COMMAND@": _text(command[0]),
        "@FIRST_ARGUMENTS@": "".join(f"{_text(each)}, " for each in command[1:]),
        "@CMAKE_COMMAND@": " ".join(_cmake(each) for each in command),
        "@FOLDER@": place,
    }
    found = {}
    for path, template in TOOLS[tool].files.items():
        text = (_TEMPLATES / f"{template}.in").read_text("utf-8")
        for name, value in values.items():
            text = text.replace(name, value)
        found[path] = text
    return found


def next_steps(tool: str, folder: str = "") -> str:
    """Say what is to be done with the files; folder: theirs in its repository, or empty."""
    return TOOLS[tool].then.replace("@FOLDER@", f"{folder.strip('/')}/" if folder.strip("/") else "")


def place_in_repository(folder: Path) -> str:
    """Give a folder's path in the repository of the west.yml above it; its own name where there is none."""
    whole = folder.resolve()
    above = next((each for each in whole.parents if (each / "west.yml").is_file()), whole.parent)
    return whole.relative_to(above).as_posix()


def write_new(folder: Path, texts: Mapping[str, str]) -> tuple[Path, ...]:
    """Write files that do not exist yet, all or none; raises OutputError."""
    paths = [folder / name for name in texts]
    there = [path for path in paths if os.path.lexists(path)]
    if there:
        raise OutputError(
            f"{there[0]} exists already, and nothing was written. Name another folder, or leave -o out and take over "
            "what is printed.",
            path=str(there[0]),
        )
    written: list[Path] = []
    try:
        for path, text in zip(paths, texts.values(), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                written.append(path)
                file.write(text)
    except OSError as error:
        for each in written:
            each.unlink(missing_ok=True)
        raise OutputError(
            f"{path} could not be written ({error.strerror}), and nothing was left of it. Name another folder.",
            path=str(path),
        ) from error
    return tuple(written)


def _text(value: str | list[str]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _cmake(text: str) -> str:
    """Quote a text for CMake (cmake-language(7), "Bracket Argument")."""
    equals = "="
    while f"]{equals}]" in text or text.endswith(f"]{equals}"):
        equals += "="
    return f"[{equals}[{text}]{equals}]"
