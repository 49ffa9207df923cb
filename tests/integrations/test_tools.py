"""`gdbflash integrate`: what is printed and written for each tool, and that nothing is overwritten."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from gdbflash.errors import OutputError
from gdbflash.integrations.tools import TOOLS, filled, place_in_repository, write_new

ODD = ["/opt/a ]] \"b\" 'c' ü/gdbflash", "-m", "it's"]
"""A path with all that some language takes for the end of a string."""
SCRIPT = Path(sys.executable).parent / "gdbflash"


def gdbflash(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *words], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_written_is_what_is_printed_and_never_twice(tool: str, tmp_path: Path) -> None:
    (tmp_path / "west.yml").touch()
    place = tmp_path / "gdbflash"
    lines = gdbflash("--json", "integrate", tool, folder=tmp_path).stdout.splitlines()
    texts = json.loads(lines[-1])["files"]
    assert set(texts) == set(TOOLS[tool].files)
    printed = gdbflash("integrate", tool, folder=tmp_path).stdout
    assert all(text.rstrip("\n") in printed for text in texts.values())
    assert not place.exists()

    done = gdbflash("integrate", tool, "-o", str(place), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {str(each.relative_to(place)): each.read_text() for each in place.rglob("*") if each.is_file()} == texts
    assert str(SCRIPT) in "".join(texts.values())
    assert not re.search(r"@[A-Z]", "".join(texts.values()))

    last = place / list(texts)[-1]
    for each in texts:
        (place / each).unlink()
    last.write_text("mine")
    again = gdbflash("integrate", tool, "-o", str(place), folder=tmp_path)
    assert again.returncode == 1
    assert f"{last} exists already, and nothing was written." in " ".join(again.stderr.split())
    assert [each for each in place.rglob("*") if each.is_file()] == [last]
    assert last.read_text() == "mine"


def test_a_tool_that_is_none_of_them_is_named(tmp_path: Path) -> None:
    done = gdbflash("integrate", "make", folder=tmp_path)
    assert done.returncode == 2
    assert "'make' is none of west, cmake, platformio, vscode" in done.stderr


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").touch()
    with pytest.raises(OutputError, match=r"folder/a could not be written \(Not a directory\)|File exists"):
        write_new(tmp_path / "folder", {"a": "", "b": ""})
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "b").touch()
    with pytest.raises(OutputError, match=r"b/c could not be written"):
        write_new(tmp_path / "there", {"a": "", "b/c": ""})
    assert sorted(each.name for each in (tmp_path / "there").iterdir()) == ["b"]


def test_the_folder_is_named_from_the_repository_on(tmp_path: Path) -> None:
    deep = tmp_path / "app" / "scripts" / "flash"
    assert place_in_repository(deep) == "flash"
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "west.yml").touch()
    assert place_in_repository(deep) == "scripts/flash"


def test_any_path_is_right_in_every_language() -> None:
    for tool in TOOLS:
        for path, text in filled(tool, ODD, "a/b").items():
            if path.endswith(".py"):
                code = next(line for line in text.splitlines() if line.startswith("COMMAND = "))
                found: dict[str, Any] = {}
                exec(code, found)
                assert found["COMMAND"] == ODD
                compile(text, path, "exec")
            elif path.endswith(".yml"):
                assert yaml.safe_load(text)
            elif path.endswith(".json"):
                assert json.loads(text)
    tasks = json.loads(filled("vscode", ODD)[".vscode/tasks.json"])["tasks"]
    assert [[task["command"], *task["args"][:2]] for task in tasks] == [ODD, ODD]


def test_vs_code_finds_what_it_wants() -> None:
    """The keys that its documentation of tasks.json and that of cortex-debug ask for."""
    texts = filled("vscode", ["/opt/gdbflash"])
    tasks = json.loads(texts[".vscode/tasks.json"])
    assert tasks["version"] == "2.0.0"
    for task in tasks["tasks"]:
        assert {"label", "type", "command", "args", "problemMatcher"} <= set(task)
        assert task["type"] == "process"
        assert task["command"] == "/opt/gdbflash"
        assert all(isinstance(each, str) for each in task["args"])
    assert [task["args"][0] for task in tasks["tasks"]] == ["load", "doctor"]
    (launch,) = json.loads(texts[".vscode/launch.json"])["configurations"]
    assert {"name", "type", "request", "executable", "servertype", "gdbTarget", "cwd"} <= set(launch)
    assert (launch["type"], launch["request"], launch["servertype"]) == ("cortex-debug", "launch", "external")
    assert launch["preLaunchTask"] in {task["label"] for task in tasks["tasks"]}
    assert launch["executable"] in tasks["tasks"][0]["args"]


class Environment:
    """What the extra script uses of SCons' environment in PlatformIO, which stands in for it here."""

    def __init__(self, ini: str) -> None:
        parser = ConfigParser(interpolation=None)
        parser.read_string(ini)
        self.options = parser["env:board"]
        self.replaced: dict[str, Any] = {}
        self.values = {"$BUILD_DIR/${PROGNAME}.elf": "/build/firmware.elf", "$PROJECT_DIR": "/"}

    def GetProjectOption(self, name: str, default: str) -> str:  # noqa: N802 - PlatformIO's name
        return self.options.get(name, default)

    def Replace(self, **said: Any) -> None:  # noqa: N802 - SCons' name
        self.replaced |= said

    def subst(self, text: str) -> str:
        return self.values[text]


def test_platformio_uploads_by_it(tmp_path: Path) -> None:
    tool = tmp_path / "gdb flash"
    tool.write_text(f'#!/bin/sh\nfor word; do echo "$word"; done >"{tmp_path}/said"\nexit 7\n')
    tool.chmod(0o755)
    text = filled("platformio", [str(tool)])["gdbflash_upload.py"]
    environment = Environment(
        "[env:board]\nupload_protocol = custom\nextra_scripts = post:gdbflash_upload.py\n"
        "custom_gdbflash_loader =\n  One.stldr\n  my two.stldr\ncustom_gdbflash_options = --server openocd --tcl 6666\n"
    )
    imported: list[str] = []
    exec(compile(text, "gdbflash_upload.py", "exec"), {"Import": imported.append, "env": environment})
    assert imported == ["env"]
    assert environment.replaced["UPLOADCMD"]([], [], environment) == 7
    loaders = ["-l", "One.stldr", "-l", "my two.stldr"]
    assert (tmp_path / "said").read_text().splitlines() == [
        *("load", "/build/firmware.elf", *loaders, "--server", "openocd", "--tcl", "6666")
    ]


def test_the_first_load_is_at_most_three_commands_away() -> None:
    """By the manual's table: writing the files is one of them; test_west and test_cmake run just those."""
    text = (Path(__file__).parents[2] / "gdbflash" / "manual" / "integrations.md").read_text("utf-8")
    rows = re.findall(r"^\| (?:`(\w+)`)? ?\| (.*?) \|", text, re.MULTILINE)
    commands = {tool or "west flash": re.findall(r"`((?:west|cmake|pio) [^`]*)`", then) for tool, then in rows}
    assert set(commands) == {*TOOLS, "west flash"}
    assert all(len(each) + 1 <= 3 for each in commands.values())
    assert commands["cmake"] == ["cmake --build build -t firmware-gdbflash"]
    assert commands["vscode"] == [], "a key"
