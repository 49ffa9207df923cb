"""The container recipe and the workflow example: their own lines, run as far as a machine without a container can.

What is of the system (apt-get, sudo) is not run; folders of the image become folders below the test's own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.boards import LOADER
from tests.support.cbuild import ROOT
from tests.support.programbuild import build_program

EXAMPLE = ROOT / "scripts" / "ci-example"


def instructions() -> list[tuple[str, str]]:
    """Give the recipe's instructions and what follows each."""
    lines = [line for line in (EXAMPLE / "Containerfile").read_text().splitlines() if line and line[0] != "#"]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def shell(script: str, folder: Path, path: str, code: int = 0) -> str:
    """Run a script as GitHub does; gives all that it says."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "VIRTUAL"))}
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env={**clean, "PATH": f"{path}:{os.environ['PATH']}", "GDBFLASH_STATE": str(folder / "state")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def installed(root: Path) -> str:
    """Follow the recipe below a folder; gives the PATH that it sets."""
    path = ""
    for word, rest in instructions():
        if word == "COPY":
            *sources, target = rest.split()
            place = root / target.strip("/")
            for source in sources:
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    place.mkdir(parents=True, exist_ok=True)
                    shutil.copy(ROOT / source, place)
        elif word == "RUN" and not rest.startswith("apt-get"):
            placed = re.sub(r"(?<![\w/])/(src|opt)\b", rf"{root}/\1", rest)
            assert placed != rest
            shell(placed.replace("python3 ", f"{sys.executable} ", 1), root, "")
        elif word == "ENV" and rest.startswith("PATH="):
            path = str(root) + rest.partition('"')[2].partition(":")[0]
    return path


@pytest.mark.timeout(300)
def test_what_the_recipe_installs_runs_the_steps_of_the_workflow(tmp_path: Path) -> None:
    path = installed(tmp_path)
    (entry,) = [rest for word, rest in instructions() if word == "ENTRYPOINT"]
    assert entry == '["gdbflash"]'
    assert (Path(path) / "gdbflash").is_file()
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(build_program("debuggee"), work / "firmware.elf")
    shutil.copy(LOADER, work / "Board.stldr")
    workflow = yaml.safe_load((EXAMPLE / "workflow.yml").read_text())
    assert workflow[True] == ["push", "pull_request"]  # YAML 1.1 takes `on` for true; GitHub does not
    (job,) = workflow["jobs"].values()
    steps = {step["name"]: step["run"] for step in job["steps"] if "run" in step}
    assert list(steps) == ["install", "load", "read back", "what a failure looks like"]
    assert "loaded and compared" in shell(steps["load"], work, path)
    shell(steps["read back"], work, path)
    said = shell(steps["what a failure looks like"], work, path)
    assert "error: " in said
    assert (work / "failed.log").stat().st_size > 1000
    assert {step["uses"].partition("@")[0] for step in job["steps"] if "uses" in step} == {
        "actions/checkout",
        "actions/upload-artifact",
    }
