"""`gdbflash_add_target` in a project that the real CMake builds: code for ARM, loaded into the virtual board."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.boards import LOADER

BIN = Path(sys.executable).parent
PLACE = 0x10000
PROJECT = """\
cmake_minimum_required(VERSION 3.20)
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR arm)
set(CMAKE_C_COMPILER arm-none-eabi-gcc)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
project(firmware C)
add_executable(firmware main.c)
target_compile_options(firmware PRIVATE -mcpu=cortex-m7 -mthumb)
target_link_options(firmware PRIVATE -nostdlib -Wl,-Ttext=0x90010000 -Wl,-emain)
include(gdbflash.cmake)
gdbflash_add_target(firmware "my loader.stldr" OPTIONS --server board --launch "--image '@IMAGE@'")
"""
CODE = '__attribute__((used, section(".text"))) const char text[] = "{}";\nint main(void) {{ return 0; }}\n'


def run(*words: str | Path, folder: Path, code: int = 0) -> str:
    """Run a program, with the tools of this environment first; gives all that it said."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "GDBFLASH_STATE": str(folder / "state")}
    done = subprocess.run(
        [str(each) for each in words], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == code, done.stdout
    return done.stdout


@pytest.mark.timeout(300)
def test_a_target_builds_and_loads_what_it_is_of(tmp_path: Path) -> None:
    image = tmp_path / "chip of the board.bin"
    (tmp_path / "my loader.stldr").write_bytes(LOADER.read_bytes())
    (tmp_path / "CMakeLists.txt").write_text(PROJECT.replace("@IMAGE@", str(image)))
    (tmp_path / "main.c").write_text(CODE.format("first"))
    assert "gdbflash.cmake written" in run(BIN / "gdbflash", "integrate", "cmake", "-o", ".", folder=tmp_path)
    run(BIN / "cmake", "-G", "Ninja", "-B", "build", folder=tmp_path)
    assert "loaded and compared" in run(BIN / "cmake", "--build", "build", "-t", "firmware-gdbflash", folder=tmp_path)
    assert b"first\0" in image.read_bytes()[PLACE : PLACE + 64]

    (tmp_path / "main.c").write_text(CODE.format("second"))
    run(BIN / "cmake", "--build", "build", "-t", "firmware-gdbflash", folder=tmp_path)
    assert b"second\0" in image.read_bytes()[PLACE : PLACE + 64]

    (tmp_path / "my loader.stldr").write_bytes(b"no loader")
    assert "my loader.stldr" in run(
        BIN / "cmake", "--build", "build", "-t", "firmware-gdbflash", folder=tmp_path, code=2
    )


def test_what_is_not_there_is_named_when_the_project_is_configured(tmp_path: Path) -> None:
    run(BIN / "gdbflash", "integrate", "cmake", "-o", ".", folder=tmp_path)
    for line, said in (
        ("gdbflash_add_target(app x.stldr)", "there is no target app"),
        ("add_custom_target(app)\ngdbflash_add_target(app x.stldr)", "x.stldr does not exist"),
    ):
        begin = "cmake_minimum_required(VERSION 3.20)\nproject(app NONE)\ninclude(gdbflash.cmake)\n"
        (tmp_path / "CMakeLists.txt").write_text(f"{begin}{line}\n")
        assert said in " ".join(run(BIN / "cmake", "-G", "Ninja", "-B", "build", folder=tmp_path, code=1).split())
