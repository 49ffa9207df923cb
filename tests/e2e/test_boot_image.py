"""What `lint` says of an image that an STM32N6 is to boot, through the command line and inside GDB."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.bootimage import BootImage, n6_loader

GDBFLASH = (sys.executable, "-m", "gdbflash")


@pytest.fixture
def loader(tmp_path: Path) -> Path:
    path = tmp_path / "N6_XSPI.stldr"
    path.write_bytes(n6_loader())
    return path


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*GDBFLASH, *map(str, words)], capture_output=True, text=True, check=False, timeout=60)


def in_gdb(command: str) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).parents[2] / "gdbflash" / "gdbinit.gdb"
    return subprocess.run(
        ["gdb-multiarch", "-nx", "-batch", "-x", script, "-ex", command],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_lint_of_images(loader: Path, tmp_path: Path) -> None:
    image = tmp_path / "fsbl.bin"
    spec = f"{image}@0x70000000"

    def told(data: bytes, spec: str = spec) -> list[str]:
        image.write_bytes(data)
        done = run("lint", loader, spec, "--json")
        assert done.returncode == 0, done.stderr
        return [each["code"] for each in json.loads(done.stdout)["findings"] if each["code"].startswith("boot-")]

    assert told(BootImage().payload) == ["boot-header"]
    assert told(bytes(replace(BootImage(), fill=0))) == ["boot-alignment", "boot-unsigned"]
    assert told(bytes(BootImage())) == ["boot-unsigned"]
    assert told(bytes(BootImage()), f"{image}@0x70000800") == ["boot-place"]
    assert told(BootImage().payload, f"{image}@0x70100000") == ["boot-elsewhere"]
    image.write_bytes(bytes(BootImage()))
    shown = run("lint", loader, spec)
    assert "info: The image has no signature" in shown.stdout
    assert shown.stdout.splitlines()[-1].endswith("2 findings")
    assert run("lint", loader).stdout.splitlines()[-1].endswith("1 finding")
    unplaced = run("lint", loader, image)
    assert unplaced.returncode == 2
    assert "@" in unplaced.stderr


def test_lint_of_images_for_another_part_says_that_nothing_was_checked(tmp_path: Path) -> None:
    path = tmp_path / "H7S_XSPI.stldr"
    path.write_bytes(n6_loader("H7S_XSPI", link=0x24000004))
    image = tmp_path / "app.bin"
    image.write_bytes(bytes(64))
    done = run("lint", path, f"{image}@0x70000000")
    assert done.returncode == 0, done.stderr
    assert "info: The images were only read" in done.stdout


def test_load_notes_it_before_it_looks_for_the_target(loader: Path, tmp_path: Path) -> None:
    image = tmp_path / "fsbl.bin"
    image.write_bytes(BootImage().payload)
    done = run("load", f"{image}@0x70000000", "-l", loader, "--connect", "127.0.0.1:1")
    assert done.returncode != 0
    assert "There is no STM32 header at 0x70000000" in " ".join(done.stderr.split())


def test_load_inside_gdb_notes_it(loader: Path, tmp_path: Path) -> None:
    image = tmp_path / "fsbl.bin"
    image.write_bytes(BootImage().payload)
    done = in_gdb(f"gdbflash load {image}@0x70000000 -l {loader}")
    assert "There is no STM32 header at 0x70000000" in " ".join(done.stdout.split()), done.stderr


def test_lint_inside_gdb(loader: Path, tmp_path: Path) -> None:
    image = tmp_path / "fsbl.bin"
    image.write_bytes(bytes(replace(BootImage(), entry=0x70000401)))
    done = in_gdb(f"gdbflash lint {loader} {image}@0x70000000")
    assert "warning: The entry point in the STM32 header is 0x70000401" in " ".join(done.stdout.split()), done.stderr
    assert "3 findings" in done.stdout
