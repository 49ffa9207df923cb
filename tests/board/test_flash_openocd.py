"""A real OpenOCD, and GDB through it, program the virtual board's internal flash by OpenOCD's own driver."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gdbflash.board.faces.stlinktcp import StlinkServer
from gdbflash.board.machine import Machine
from gdbflash.images.formats import load_image
from tests.support.boards import GDBS
from tests.support.flashboard import ARRAY, SIZE
from tests.support.openocd import TRANSPORTS, CommandFailed, Openocd, running_openocd
from tests.support.programbuild import build_program
from tests.support.stretches import stretches

NO_WORK_AREA = ("stm32h7x.cpu0 configure -work-area-size 0",)


@pytest.fixture
def machine() -> Iterator[Machine]:
    with Machine() as board:
        yield board


@contextmanager
def openocd_on(machine: Machine, transport: str, before_init: tuple[str, ...] = ()) -> Iterator[Openocd]:
    with StlinkServer(machine) as stlink, running_openocd(stlink.port, transport, before_init=before_init) as openocd:
        openocd.run("reset halt")
        openocd.run("flash probe 0")
        yield openocd


@pytest.fixture(params=TRANSPORTS)
def openocd(request: pytest.FixtureRequest, machine: Machine) -> Iterator[Openocd]:
    with openocd_on(machine, request.param) as running:
        yield running


def image_of(size: int, folder: Path) -> tuple[Path, bytes]:
    data = random.Random(size).randbytes(size)
    file = folder / "image.bin"
    file.write_bytes(data)
    return file, data


def test_an_image_is_written_and_padded_to_whole_flash_words(
    machine: Machine, openocd: Openocd, tmp_path: Path
) -> None:
    file, data = image_of(8000, tmp_path)  # more than half of what its buffer in RAM holds
    openocd.run(f"flash write_image erase {file} {ARRAY + 0x104:#x}")
    expected = b"\xff" * 0x104 + data
    assert machine.read_memory(ARRAY, SIZE) == expected.ljust(SIZE, b"\xff")
    openocd.run(f"flash verify_image {file} {ARRAY + 0x104:#x}")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_without_a_work_area_each_flash_word_is_written_over_the_link(
    machine: Machine, transport: str, tmp_path: Path
) -> None:
    file, data = image_of(1000, tmp_path)
    with openocd_on(machine, transport, NO_WORK_AREA) as openocd:
        shown = openocd.run(f"flash write_image erase {file} {ARRAY:#x}")
        assert "falling back to single memory accesses" in shown
    assert machine.read_memory(ARRAY, 1024) == data.ljust(1024, b"\xff")


@pytest.mark.parametrize("command", ["flash erase_sector 0 0 last", "stm32h7x mass_erase 0"])
def test_erase(machine: Machine, openocd: Openocd, command: str) -> None:
    assert "not erased" in openocd.run("flash erase_check 0")
    openocd.run(command)
    assert machine.read_memory(ARRAY, SIZE) == b"\xff" * SIZE
    assert "Bank is erased" in openocd.run("flash erase_check 0")


def test_a_protected_sector_is_refused_until_it_is_unprotected(machine: Machine, openocd: Openocd) -> None:
    before = machine.read_memory(ARRAY, SIZE)
    openocd.run("flash protect 0 0 0 on")
    with pytest.raises(CommandFailed, match="WRPERR detected"):
        openocd.run("flash erase_sector 0 0 0")
    with pytest.raises(CommandFailed, match="flash memory write protected"):
        openocd.run(f"flash fillw {ARRAY + 0x1000:#x} 0 8")
    openocd.run("reset halt")
    assert "(0x20000 128kB) protected" in openocd.run("flash info 0")
    assert machine.read_memory(ARRAY, SIZE) == before
    openocd.run("flash protect 0 0 0 off")
    openocd.run("flash erase_sector 0 0 0")
    assert machine.read_memory(ARRAY, SIZE) == b"\xff" * SIZE


def test_writing_over_what_is_there_spoils_it(machine: Machine, openocd: Openocd, tmp_path: Path) -> None:
    file, data = image_of(256, tmp_path)
    openocd.run(f"flash write_image erase {file} {ARRAY:#x}")
    openocd.run(f"flash write_image {file} {ARRAY:#x}")  # the same once more
    assert machine.read_memory(ARRAY, 256) == data
    file.write_bytes(bytes(32) + data[32:])
    openocd.run(f"flash write_image {file} {ARRAY:#x}")
    assert machine.soc.flash_interface.unreadable == ((0, 32),)
    with pytest.raises(CommandFailed):
        openocd.run(f"flash verify_image {file} {ARRAY:#x}")


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_gdb_loads_an_elf_that_then_runs(machine: Machine, gdb: Path, transport: str, tmp_path: Path) -> None:
    program = build_program("debuggee")
    with openocd_on(machine, transport) as openocd:
        done = _batch(
            gdb,
            program,
            tmp_path,
            f"target extended-remote 127.0.0.1:{openocd.gdb_port}",
            "monitor reset halt",
            "load",
            "compare-sections .vectors",
            "compare-sections .text",
            "monitor reset halt",
            "maintenance flush register-cache",
            "break main",
            "continue",
            "print/x initialised",
        )
    assert "Section .vectors, range 0x8000000 -- 0x80001c0: matched." in done
    assert "Section .text" in done
    assert "MIS-MATCHED" not in done
    assert "Breakpoint 1, main ()" in done
    assert "$1 = 0x600dda7a" in done
    for address, data in stretches(load_image(program)):
        if address < ARRAY + SIZE:
            assert machine.read_memory(address, len(data)) == data


def _batch(gdb: Path, program: Path, folder: Path, *lines: str) -> str:
    script = folder / "script.gdb"
    script.write_text("\n".join(("set pagination off", *lines, "kill")) + "\n")
    command = [str(gdb), "-nx", "-batch", "-iex", "set auto-load off", "-x", str(script), str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr
