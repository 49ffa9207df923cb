"""What is built of the package and installed elsewhere is whole: its commands run, with what it says that it needs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from gdbflash.version import SCHEMA, VERSION
from tests.support.cbuild import ROOT

LOADER = "W25Q128_H750_QSPI.stldr"


def done(words: Sequence[str | Path], folder: Path, **environment: str) -> str:
    """Run a command to its good end, and give what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    ended = subprocess.run(
        [str(each) for each in words], cwd=folder, env={**clean, **environment}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.timeout(300)
def test_a_wheel_has_all_that_its_commands_need(tmp_path: Path) -> None:
    source, wheels, place = tmp_path / "source", tmp_path / "wheels", tmp_path / "place"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "gdbflash", source / "gdbflash", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet")
    done([sys.executable, *pip, "wheel", "--no-deps", "-w", wheels, source], tmp_path)
    (wheel,) = wheels.iterdir()
    assert wheel.name == f"gdbflash-{VERSION}-py3-none-any.whl"
    inside = set(zipfile.ZipFile(wheel).namelist())
    data = (ROOT / "gdbflash/board/data").iterdir()
    templates = (ROOT / "gdbflash/integrations/templates").iterdir()
    wanted = [*(ROOT / "gdbflash").rglob("*.py"), *data, *templates, *(ROOT / "gdbflash").glob("[!_]*.[!p]*")]
    assert {str(each.relative_to(ROOT)) for each in wanted} - inside == set()
    assert {"gdbflash/gdbinit.gdb", "gdbflash/CHANGES.md", "gdbflash/board/data/" + LOADER} <= inside

    done([sys.executable, "-m", "venv", place], tmp_path)
    python, tool = place / "bin" / "python", place / "bin" / "gdbflash"
    done([python, *pip, "install", "-c", ROOT / "scripts/constraints.txt", f"{wheel}[board]"], tmp_path)
    assert done([tool, "--version"], tmp_path) == f"gdbflash, version {VERSION}\n"
    where = Path(done([python, "-c", "import gdbflash; print(gdbflash.__file__)"], tmp_path).strip()).parent
    assert where.is_relative_to(place)
    shutil.copy(where / "board" / "data" / LOADER, tmp_path)
    described = json.loads(done([tool, "--json", "info", LOADER], tmp_path))
    assert (described["schema"], described["size"]) == (SCHEMA, 16 << 20)

    gdbinit = done([tool, "gdbinit"], tmp_path).strip()
    assert Path(gdbinit).is_relative_to(place)
    said = done(["gdb-multiarch", "-nx", "-batch", "-x", gdbinit, "-ex", "gdbflash help"], tmp_path)
    assert re.search(r"(?m)^ *(gdbflash )?write ", said), said

    (tmp_path / "image.bin").write_bytes(bytes(range(256)) * 40)
    state = {"GDBFLASH_STATE": str(tmp_path / "state")}
    words = ("write", "image.bin@0x90000003", "-l", LOADER, "--server", "board")
    lines = [json.loads(line) for line in done([tool, "--json", *words], tmp_path, **state).splitlines()]
    assert (lines[-1]["ok"], lines[-1]["bytes"], lines[-1]["verified"]) == (True, 10240, "digest")
    assert {each["schema"] for each in lines} == {SCHEMA}


@pytest.mark.timeout(300)
def test_an_sdist_has_what_the_wheel_is_made_of_and_what_it_is_worked_on_with(tmp_path: Path) -> None:
    """Both are built in a copy: the wheel out of the sdist alone."""
    source = tmp_path / "source"
    known = done(["git", "ls-files", "-z"], ROOT).split("\0")[:-1]
    for name in known:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name, follow_symlinks=False)
    done([sys.executable, "-m", "build", "--outdir", tmp_path / "dist", source], tmp_path)
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert set(known) - inside == {".ci/run", ".gitignore"}
    assert {"scripts/build-loaders", "gdbflash/board/loader-src/w25q128_h750_qspi.c", "gdbflash/LICENSES.md"} <= inside
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in known if name.startswith("gdbflash/")} - packed == set()
