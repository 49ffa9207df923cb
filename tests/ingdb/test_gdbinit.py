"""`source gdbinit`: from anywhere, with and without the tool's own environment, in every kind of GDB."""

from __future__ import annotations

import importlib.machinery
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.boards import GDBS, LOADER
from tests.support.cbuild import ROOT
from tests.support.gdbterminal import GDBINIT

SCRIPT = ROOT / "gdbflash" / "gdbinit.gdb"
each_gdb = pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)


def run_gdb(gdb: Path, *arguments: str, cwd: Path, **environment: str) -> str:
    """Run GDB on commands only; gives all that it shows."""
    clean = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(
        [str(gdb), "-nx", "-batch", *arguments],
        cwd=cwd,
        env={**clean, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return done.stdout


def lay_package(folder: Path) -> Path:
    """Lay the package out; gives the script in it."""
    shutil.copytree(ROOT / "gdbflash", folder / "gdbflash", ignore=shutil.ignore_patterns("__pycache__", "board"))
    return folder / "gdbflash" / "gdbinit.gdb"


def lay_needed(site: Path) -> None:
    """Lay out what the package needs inside GDB as pip does."""
    site.mkdir(parents=True, exist_ok=True)
    for name in ("elftools", "bincopy", "humanfriendly", "argparse_addons", "platformdirs", "filelock"):
        # The path finder itself: humanfriendly, once imported, takes its own specification away.
        found = importlib.machinery.PathFinder.find_spec(name)
        assert found is not None
        assert found.origin is not None
        origin = Path(found.origin)
        if origin.name == "__init__.py":
            shutil.copytree(origin.parent, site / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(origin, site)


def installed(site: Path) -> Path:
    """Lay the package and what it needs inside GDB out as pip does; gives the script."""
    lay_needed(site)
    return lay_package(site)


BARE = ("-iex", "python import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]")
"""What takes a GDB from PyPI the packages of the environment that it lies in, which holds ours too."""


@each_gdb
@pytest.mark.parametrize("how", ["-x", "source", "relative"])
def test_the_checkouts_own_file_works_from_anywhere(gdb: Path, how: str, tmp_path: Path) -> None:
    path = os.path.relpath(GDBINIT, tmp_path) if how == "relative" else str(GDBINIT)
    arguments = ("-x", path) if how == "-x" else ("-ex", f"source {path}")
    shown = run_gdb(gdb, *arguments, "-ex", f"gdbflash info {LOADER}", cwd=tmp_path)
    assert "W25Q128_H750_QSPI (SPI_FLASH)" in shown
    assert "Error" not in shown


@each_gdb
def test_an_installed_package_brings_what_it_needs(gdb: Path, tmp_path: Path) -> None:
    script = installed(tmp_path / "venv" / "lib" / "python3.12" / "site-packages")
    firmware = tmp_path / "firmware.hex"
    firmware.write_text(":020000049000 6A\n:0400000001020304F2\n:00000001FF\n".replace(" ", ""))
    shown = run_gdb(gdb, "-x", str(script), "-ex", f"gdbflash info {LOADER}", cwd=tmp_path)
    assert "W25Q128_H750_QSPI (SPI_FLASH)" in shown
    write = f"gdbflash write {firmware} --dry-run -l {LOADER}"
    assert "4 B at 0x90000000-0x90000003" in run_gdb(gdb, "-x", str(script), "-ex", write, cwd=tmp_path)


@each_gdb
def test_a_copy_beside_the_package_is_as_good_as_the_link(gdb: Path, tmp_path: Path) -> None:
    """As archives of the sources have it."""
    shutil.copy(installed(tmp_path), tmp_path / "gdbinit")
    shown = run_gdb(gdb, "-x", str(tmp_path / "gdbinit"), "-ex", f"gdbflash info {LOADER}", cwd=tmp_path)
    assert shown.startswith("W25Q128_H750_QSPI (SPI_FLASH)")


@each_gdb
def test_the_command_line_prints_the_path(gdb: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "gdbflash", "gdbinit"], capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert "gdbflash status -- " in run_gdb(gdb, "-x", line, "-ex", "help gdbflash", cwd=tmp_path)


@each_gdb
def test_sourcing_twice_changes_nothing(gdb: Path, tmp_path: Path) -> None:
    twice = (f"source {GDBINIT}",) * 2
    shown = run_gdb(gdb, *(word for line in (*twice, "gdbflash status") for word in ("-ex", line)), cwd=tmp_path)
    assert shown.count("No loader was given.") == 1
    assert "Error" not in shown


@each_gdb
def test_gdbs_own_modules_stay_gdbs(gdb: Path, tmp_path: Path) -> None:
    """No directory of ours comes before GDB's, and only what was missing is added."""
    listing = "python import json, sys; print('PATH ' + json.dumps(sys.path))"
    shown = run_gdb(gdb, "-ex", listing, "-ex", f"source {GDBINIT}", "-ex", listing, cwd=tmp_path)
    before, after = re.findall(r"^PATH (.*)$", shown, re.MULTILINE)
    assert after.startswith(before.rstrip("]"))


@each_gdb
def test_a_gdb_without_python_says_so(gdb: Path, tmp_path: Path) -> None:
    """GDB without Python lacks the functions that are written in it; here one is asked for that no GDB has."""
    text = SCRIPT.read_text()
    assert text.count("$_streq") == 1
    (tmp_path / "gdbinit").write_text(text.replace("$_streq", "$_gdbflash_no_such_function"))
    shown = run_gdb(gdb, "-x", str(tmp_path / "gdbinit"), cwd=tmp_path)
    assert shown == (
        "gdbflash: this GDB was built without Python, which the gdbflash commands need. "
        'Use gdb-multiarch, or pip install "gdbflash[gdb]".\n'
    )


@each_gdb
def test_a_gdb_with_an_old_python_says_so(gdb: Path, tmp_path: Path) -> None:
    text = SCRIPT.read_text()
    assert text.count("sys.version_info < (3, 10)") == 1
    (tmp_path / "gdbinit").write_text(text.replace("sys.version_info < (3, 10)", "sys.version_info < (99, 0)"))
    shown = run_gdb(gdb, "-x", str(tmp_path / "gdbinit"), cwd=tmp_path)
    assert re.search(
        r"gdbflash: the Python in this GDB is 3\.\d+, and the gdbflash commands need 3\.10 or newer", shown
    )
    assert "Traceback" not in shown


@each_gdb
def test_an_old_gdb_says_so(gdb: Path, tmp_path: Path) -> None:
    shown = run_gdb(gdb, "-iex", "python del gdb.RemoteTargetConnection", "-x", str(GDBINIT), cwd=tmp_path)
    assert re.match(
        r"gdbflash: this is GDB .*1\d\.\d.*, and the gdbflash commands need 12 or newer\. Use a newer", shown
    )
    assert "Traceback" not in shown


@each_gdb
def test_a_projects_own_gdbinit_names_its_loader(gdb: Path, tmp_path: Path) -> None:
    """The recipe of the manual."""
    shutil.copy(LOADER, tmp_path / "MyBoard_QSPI.stldr")
    (tmp_path / ".gdbinit").write_text(f"source {GDBINIT}\ngdbflash loader MyBoard_QSPI.stldr\n")
    done = subprocess.run(
        [str(gdb), "-batch", "-iex", f"add-auto-load-safe-path {tmp_path}", "-ex", "gdbflash info"],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path / "home")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("W25Q128_H750_QSPI: 0x90000000-0x90FFFFFF, 16 MiB\nW25Q128_H750_QSPI (SPI_FLASH)")


@each_gdb
def test_missing_packages_are_named(gdb: Path, tmp_path: Path) -> None:
    script = installed(tmp_path / "site")
    shutil.rmtree(tmp_path / "site" / "elftools")
    nowhere = {"HOME": str(tmp_path / "home"), "PATH": os.defpath}
    shown = run_gdb(gdb, *BARE, "-x", str(script), cwd=tmp_path, **nowhere)
    assert shown == (
        "gdbflash: the Python in GDB does not find the package pyelftools, which the gdbflash commands need. "
        f"Type in a shell: pip install --target '{tmp_path / 'site'}' pyelftools\n"
    )


@each_gdb
@pytest.mark.parametrize(
    ("folder", "environment"),
    [
        ("it's mine/.venv", {}),
        ("it's mine/env", {}),
        ("active", {"VIRTUAL_ENV": "{}/active"}),
        ("conda", {"CONDA_PREFIX": "{}/conda"}),
        ("anywhere", {"PATH": f"{os.defpath}:{{}}/bin"}),
        ("home/.local/share/pipx/venvs/gdbflash", {}),
        ("home/.local/pipx/venvs/gdbflash", {}),
        ("pipx/venvs/gdbflash", {"PIPX_HOME": "{}/pipx"}),
        ("home/.local/share/uv/tools/gdbflash", {}),
    ],
)
def test_a_checkout_finds_what_it_needs_wherever_it_was_installed(
    gdb: Path, folder: str, environment: dict[str, str], tmp_path: Path
) -> None:
    """As an IDE starts GDB: without an active environment, unless the user has one."""
    checkout = tmp_path / "it's mine"
    script = lay_package(checkout)
    (checkout / "pyproject.toml").touch()
    outside = {"HOME": str(tmp_path / "home"), "PATH": os.defpath}
    words = ("-x", str(script), "-ex", f"gdbflash info {LOADER}")
    shown = run_gdb(gdb, *BARE, *words, cwd=tmp_path, **outside)
    (told,) = [line for line in shown.splitlines() if line.startswith("gdbflash: ")]
    typed = shlex.split(told.partition("Type in a shell: ")[2])
    venv = str(checkout / ".venv")
    assert typed == ["python3", "-m", "venv", venv, "&&", f"{venv}/bin/pip", "install", str(checkout)]
    assert "Traceback" not in shown

    place = tmp_path / folder
    lay_needed(place / "lib" / "python3.99" / "site-packages")
    (place / "pyvenv.cfg").touch()
    (place / "bin").mkdir()
    (place / "bin" / "gdbflash").touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gdbflash").symlink_to(place / "bin" / "gdbflash")
    said = {name: value.format(tmp_path) for name, value in environment.items()}
    shown = run_gdb(gdb, *BARE, *words, cwd=tmp_path, **{**outside, **said})
    assert shown.startswith("W25Q128_H750_QSPI (SPI_FLASH)")


@each_gdb
def test_nothing_is_taken_from_the_working_directory(gdb: Path, tmp_path: Path) -> None:
    """A PATH may name it, as `.` or by an empty word."""
    script = lay_package(tmp_path / "checkout")
    here = tmp_path / "here"
    lay_needed(here / "lib" / "python3.99" / "site-packages")
    (here / "bin").mkdir()
    (here / "bin" / "gdbflash").touch()
    outside = {"HOME": str(tmp_path / "home"), "PATH": f"{os.defpath}::.:bin", "CONDA_PREFIX": ".", "VIRTUAL_ENV": ""}
    shown = run_gdb(gdb, *BARE, "-x", str(script), cwd=here, **outside)
    assert "the Python in GDB does not find the package pyelftools" in shown


def test_nothing_in_it_is_too_new_for_an_old_python() -> None:
    """The check of the version must be reached: no syntax since Python 3.0."""
    text = SCRIPT.read_text()
    code = text.partition("  python\n")[2].partition("\n  end\n")[0]
    compile(code, str(SCRIPT), "exec")
    for new in ('f"', "f'", ":=", " match ", "->"):
        assert new not in code


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_another_name_runs_nothing_of_the_working_directory(gdb: Path, tmp_path: Path) -> None:
    trap = tmp_path / "gdbflash" / "ingdb"
    trap.mkdir(parents=True)
    (tmp_path / "gdbflash" / "__init__.py").write_text("open('sign', 'w')")
    (trap / "__init__.py").touch()
    (trap / "register.py").touch()
    copy = tmp_path / "mine.gdb"
    copy.write_bytes(GDBINIT.read_bytes())
    shown = run_gdb(gdb, "-ex", f"source {copy}", cwd=tmp_path)
    assert "the package that gdbinit belongs to cannot be found" in shown
    assert not (tmp_path / "sign").exists()


@each_gdb
def test_without_proc_it_is_found_where_gdbflash_is_typed(gdb: Path, tmp_path: Path) -> None:
    """As on a system that tells of no open files: by the environment of the `gdbflash` on the PATH."""
    environment = tmp_path / "env"
    script = installed(environment / "lib" / "python3.99" / "site-packages")
    (environment / "bin").mkdir()
    (environment / "bin" / "gdbflash").touch(mode=0o755)
    hidden = "python import glob; real = glob.glob; glob.glob = lambda p: [] if p.startswith('/proc') else real(p)"
    shown = run_gdb(
        gdb, *BARE, "-iex", hidden, "-x", str(script), "-ex", f"gdbflash info {LOADER}", cwd=tmp_path,
        PATH=f"{environment / 'bin'}:{os.environ['PATH']}",
    )  # fmt: skip
    assert "W25Q128_H750_QSPI (SPI_FLASH)" in shown
    shown = run_gdb(gdb, *BARE, "-iex", hidden, "-x", str(script), cwd=tmp_path, PATH="/usr/bin:/bin")
    assert "the package that gdbinit belongs to cannot be found" in shown
