"""`west gdbflash` in a workspace of the real west, and the runner for Zephyr's `west flash`.

The runner runs against a copy of the interface in Zephyr's runners/core.py as far as it uses it, not in Zephyr.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.boards import LOADER
from tests.support.programbuild import build_program

BIN = Path(sys.executable).parent


def run(*words: str | Path, folder: Path, code: int = 0) -> str:
    """Run a program; gives all that it said."""
    done = subprocess.run(
        [str(each) for each in words], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, env={**os.environ, "GDBFLASH_STATE": str(folder / "state")},
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    return done.stdout


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A west workspace whose application has the files, and the line in its west.yml that the tool asks for."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "west.yml").touch()
    said = " ".join(run(BIN / "gdbflash", "integrate", "west", "-o", app / "tools" / "flash", folder=tmp_path).split())
    line = said.partition("`manifest: self:`, add `")[2].partition("`")[0]
    assert line == "west-commands: tools/flash/west-commands.yml"
    (app / "west.yml").write_text(f"manifest:\n  self:\n    path: app\n    {line}\n")
    run(BIN / "west", "init", "-l", app, folder=tmp_path)
    return tmp_path


@pytest.mark.timeout(300)
def test_west_passes_words_and_exit_code_on(workspace: Path) -> None:
    assert "program external flash by ST external loaders" in run(BIN / "west", "--help", folder=workspace)
    image = workspace / "chip.bin"
    board = ("--server", "board", "--launch", f"--image {image}")
    program = build_program("debuggee")
    assert "loaded and compared" in run(
        BIN / "west", "gdbflash", "load", program, "-l", LOADER, *board, folder=workspace
    )
    assert image.read_bytes()[0x10000:0x10010] != b"\xff" * 16
    other = workspace / "other.bin"
    other.write_bytes(b"something else")
    words = ("verify", f"{other}@0x90010000", "-l", LOADER, *board)
    assert "Verification failed" in run(BIN / "west", "gdbflash", *words, folder=workspace, code=1)
    assert "is none of" in run(BIN / "west", "gdbflash", "integrate", "make", folder=workspace, code=2)
    assert "gdbflash, version" in run(BIN / "west", "gdbflash", "--", "--version", folder=workspace)


@dataclass(frozen=True)
class RunnerCaps:
    commands: set[str]
    extload: bool = False
    tool_opt: bool = False


@dataclass
class RunnerConfig:
    elf_file: str | None


class ZephyrBinaryRunner:
    """What runners/core.py has for a runner to inherit, with its names and order of calls."""

    def __init__(self, cfg: RunnerConfig) -> None:
        self.cfg = cfg
        self.called: list[Sequence[str]] = []

    @classmethod
    def add_parser(cls, parser: argparse.ArgumentParser) -> None:
        caps = cls.capabilities()  # type: ignore[attr-defined]
        said = cls.extload_help() if caps.extload else argparse.SUPPRESS  # type: ignore[attr-defined]
        parser.add_argument("--extload", dest="extload", help=said)
        said = cls.tool_opt_help() if caps.tool_opt else argparse.SUPPRESS  # type: ignore[attr-defined]
        parser.add_argument("--tool-opt", dest="tool_opt", default=[], action="append", help=said)
        cls.do_add_parser(parser)  # type: ignore[attr-defined]

    def require(self, program: str) -> str:
        assert Path(program).is_file()
        return program

    def check_call(self, command: Sequence[str]) -> None:
        self.called.append(command)
        subprocess.check_call(command)

    def run(self, command: str) -> None:
        assert command in self.capabilities().commands  # type: ignore[attr-defined]
        self.do_run(command)  # type: ignore[attr-defined]


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The runner's class, found as a Zephyr module names it."""
    folder = tmp_path / "gdbflash"
    run(BIN / "gdbflash", "integrate", "west", "-o", folder, folder=tmp_path)
    core: Any = types.ModuleType("runners.core")
    core.RunnerCaps, core.ZephyrBinaryRunner = RunnerCaps, ZephyrBinaryRunner
    monkeypatch.setitem(sys.modules, "runners", types.ModuleType("runners"))
    monkeypatch.setitem(sys.modules, "runners.core", core)
    (place,) = yaml.safe_load((folder / "zephyr" / "module.yml").read_text())["runners"]
    spec = importlib.util.spec_from_file_location("gdbflash_runner", folder / place["file"])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (found,) = [each for each in ZephyrBinaryRunner.__subclasses__() if each.__module__ == "gdbflash_runner"][-1:]
    return found


def made(runner: Any, elf: Path | None, *words: str) -> Any:
    parser = argparse.ArgumentParser()
    runner.add_parser(parser)
    return runner.do_create(RunnerConfig(str(elf) if elf else None), parser.parse_args(words))


@pytest.mark.timeout(300)
def test_the_runner_loads_the_build(runner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    assert runner.name() == "gdbflash"
    image = tmp_path / "chip.bin"
    options = f"--tool-opt=--server board --launch '--image {image}'"
    made(runner, build_program("debuggee"), "--extload", str(LOADER), options).run("flash")
    assert image.read_bytes()[0x10000:0x10010] != b"\xff" * 16
    with pytest.raises(subprocess.CalledProcessError):
        made(runner, tmp_path / "none.elf", "--extload", str(LOADER), options).run("flash")
    with pytest.raises(RuntimeError, match="no ELF file"):
        made(runner, None).run("flash")


def test_a_loader_is_found_by_its_name_beside_the_programmer(
    runner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "bin" / "ExternalLoader"
    folder.mkdir(parents=True)
    programmer = folder.parent / "STM32_Programmer_CLI"
    programmer.write_text("")
    programmer.chmod(0o755)
    (folder / "Board.stldr").touch()
    monkeypatch.setenv("PATH", f"{programmer.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(runner, "check_call", lambda self, command: self.called.append(command))
    for name, meant in (("Board.stldr", str(folder / "Board.stldr")), ("Other.stldr", "Other.stldr")):
        flashing = made(runner, tmp_path / "x.elf", "--extload", name)
        flashing.run("flash")
        assert flashing.called == [[str(BIN / "gdbflash"), "load", str(tmp_path / "x.elf"), "-l", meant]]
