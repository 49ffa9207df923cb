"""`gdbflash load`: a whole build on the command line, through real servers."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from gdbflash.board.faces.personality import PERSONALITIES
from gdbflash.board.faces.stlinktcp import StlinkServer
from gdbflash.board.soc.flashif import FlashInterface
from gdbflash.flash import kept_files
from gdbflash.images.formats import entry_point, hex_text, load_image
from tests.support.boards import LOADER, RunningBoard, running_board
from tests.support.cbuild import build
from tests.support.commandline import CommandLine
from tests.support.openocd import TRANSPORTS, running_openocd
from tests.support.programbuild import build_program
from tests.support.stretches import stretches

FLASH, INTERNAL = 0x90000000, 0x08000000
SERVERS = ("board", *TRANSPORTS)


@contextmanager
def reached(board: RunningBoard, server: str) -> Iterator[list[str]]:
    """Reach a board through a server; gives the words."""
    if server == "board":
        yield ["--connect", board.endpoint]
        return
    with StlinkServer(board.machine) as stlink, running_openocd(stlink.port, server) as openocd:
        yield ["--connect", f"127.0.0.1:{openocd.gdb_port}"]


@pytest.fixture
def board() -> Iterator[RunningBoard]:
    with running_board() as running:
        yield running


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    return CommandLine(capsys)


def as_file(program: Path, kind: str, folder: Path) -> Path:
    """Give a program as an ELF, HEX or S-record file."""
    if kind == "elf":
        return program
    path = folder / f"program.{kind}"
    content = load_image(program)
    pieces = [(each.address, content.read(each)) for each in content.ranges]
    if kind == "hex":
        path.write_text("".join(hex_text([piece]).replace(":00000001FF\n", "") for piece in pieces) + ":00000001FF\n")
    else:
        lines: list[str] = []
        for address, data in pieces:
            for offset in range(0, len(data), 32):
                part = data[offset : offset + 32]
                body = bytes([len(part) + 5]) + (address + offset).to_bytes(4, "big") + part
                lines.append(f"S3{body.hex().upper()}{~sum(body) & 0xFF:02X}")
        entry = entry_point(program) or 0
        end = bytes([5]) + entry.to_bytes(4, "big")
        path.write_text("\n".join([*lines, f"S7{end.hex().upper()}{~sum(end) & 0xFF:02X}"]) + "\n")
    return path


def expect_all(board: RunningBoard, program: Path) -> None:
    for address, data in stretches(load_image(program)):
        if address >= FLASH:
            assert bytes(board.chip.memory[address - FLASH :][: len(data)]) == data
        else:
            assert board.machine.read_memory(address, len(data)) == data, f"{address:#x}"


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("kind", ["elf", "hex", "srec"])
def test_three_regions_at_once(server: str, kind: str, board: RunningBoard, run: CommandLine, tmp_path: Path) -> None:
    program = build_program("debuggee", "DATA_IN_RAM", script="debuggee-ram")
    assert {address >> 24 for address, _ in stretches(load_image(program))} == {0x08, 0x20, 0x24, 0x90}
    board.chip.memory[0x10000 - 4 : 0x10000] = b"kept"
    with reached(board, server) as words:
        image = as_file(program, kind, tmp_path)
        loaded = run("load", image, "--after", "halt", "-l", LOADER, *words)
    assert loaded.code == 0, loaded.shown
    assert loaded.result["bytes"] == load_image(program).size
    assert "loaded and compared" in loaded.shown
    expect_all(board, program)
    assert bytes(board.chip.memory[0x10000 - 4 : 0x10000]) == b"kept"


@pytest.mark.parametrize("keep", [True, False])
def test_bytes_beside_it_in_internal_flash_are_kept(
    keep: bool, board: RunningBoard, run: CommandLine, tmp_path: Path
) -> None:
    image, before = tmp_path / "part.bin", tmp_path / "before.bin"
    before.write_bytes(random.Random(1).randbytes(0x8000))
    image.write_bytes(random.Random(2).randbytes(3001))
    words = ["--connect", board.endpoint]
    assert run("load", f"{before}@{INTERNAL:#x}", *words).code == 0
    loaded = run("load", f"{image}@{INTERNAL + 0x1001:#x}", *words, *([] if keep else ["--no-keep"]))
    assert loaded.code == 0, loaded.shown
    found = board.machine.read_memory(INTERNAL, 0x8000)
    assert found[0x1001 : 0x1001 + 3001] == image.read_bytes()
    rest = found[:0x1000] + found[0x2000:]
    old = before.read_bytes()
    assert (rest == old[:0x1000] + old[0x2000:]) == keep
    assert list(kept_files.files()) == []


def test_without_a_loader_what_is_external_is_named(board: RunningBoard, run: CommandLine) -> None:
    before = board.machine.read_memory(INTERNAL, 1024)
    loaded = run("load", build_program("debuggee"), "--connect", board.endpoint)
    assert (loaded.code, loaded.result["error"]["kind"]) == (2, "plan"), loaded.shown
    assert "is external memory, and no loader is given for it" in loaded.shown
    assert board.machine.read_memory(INTERNAL, 1024) == before


def test_a_digit_too_few_is_asked_about(board: RunningBoard, run: CommandLine, tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(bytes(16))
    words = ["--connect", board.endpoint, "-l", str(LOADER)]
    for command in ("load", "write"):
        outcome = run(command, f"{image}@0x09000000", *words)
        assert (outcome.code, outcome.result["error"]["kind"]) == (2, "plan"), outcome.shown
        assert "did you mean 0x90000000?" in outcome.shown


def test_write_names_what_programs_a_whole_file(board: RunningBoard, run: CommandLine) -> None:
    program, before = build_program("debuggee"), board.machine.read_memory(INTERNAL, 1024)
    words = ["--connect", board.endpoint, "-l", str(LOADER)]
    written = run("write", program, *words)
    assert written.code == 2
    assert "`gdbflash load` programs the whole file, and write --only-external the rest of it." in written.shown
    assert run("write", program, "--only-external", *words).code == 0
    external = [each for each in stretches(load_image(program)) if each[0] >= FLASH]
    assert all(bytes(board.chip.memory[at - FLASH :][: len(data)]) == data for at, data in external)
    assert board.machine.read_memory(INTERNAL, 1024) == before


@pytest.mark.parametrize("address", [0x1FFF7800, 0x1FF1E800, 0x08FFF800, 0x0BFA0500])
def test_option_bytes_and_system_memory_are_refused(
    address: int, board: RunningBoard, run: CommandLine, tmp_path: Path
) -> None:
    image = tmp_path / "options.bin"
    image.write_bytes(bytes(16))
    loaded = run("load", f"{image}@{address:#x}", "--connect", board.endpoint)
    assert (loaded.code, loaded.result["error"]["kind"]) == (2, "plan")
    assert "system memory, OTP or option bytes" in loaded.shown


def test_a_server_that_programs_no_flash_gets_a_plain_sentence(run: CommandLine, tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(bytes(16))
    with running_board(PERSONALITIES["jlink"]) as board:
        before = board.machine.read_memory(INTERNAL, 1024)
        loaded = run("load", f"{image}@{INTERNAL:#x}", "--connect", board.endpoint)
        assert (loaded.code, loaded.result["error"]["kind"]) == (2, "plan"), loaded.shown
        assert "the jlink server tells of none there that it programs" in loaded.shown
        assert board.machine.read_memory(INTERNAL, 1024) == before


def test_flash_that_keeps_nothing_is_found_out(
    board: RunningBoard, run: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(board.machine, "program_flash", lambda *_: None)
    image = tmp_path / "part.bin"
    image.write_bytes(random.Random(2).randbytes(3001))
    loaded = run("load", f"{image}@{INTERNAL + 0x1001:#x}", "--connect", board.endpoint)
    assert (loaded.code, loaded.result["error"]["kind"]) == (1, "mismatch"), loaded.shown
    assert "beside the program are safe in" in loaded.shown
    assert len(list(kept_files.files())) == 1


def test_where_a_program_begins(tmp_path: Path) -> None:
    program = build_program("debuggee")
    entry = entry_point(program)
    assert entry is not None
    path = tmp_path / "x.hex"
    path.write_text(f":04000005{entry:08X}{-(9 + sum(entry.to_bytes(4, 'big'))) & 0xFF:02X}\n:00000001FF\n")
    assert entry_point(path) == entry
    assert entry_point(as_file(program, "srec", tmp_path)) == entry
    assert entry_point(as_file(program, "hex", tmp_path)) is None


@pytest.mark.parametrize("server", SERVERS)
def test_registers_are_put_back_and_a_program_in_ram_stays(server: str, board: RunningBoard, run: CommandLine) -> None:
    """What the loader's RAM held goes back before the program's own parts of RAM come."""
    program = build_program("debuggee", "DATA_IN_RAM", script="debuggee-ram")
    beside = 0x24000000 + 0x60000
    board.machine.write_memory(beside, b"beside")
    with reached(board, server) as words:
        loaded = run("load", program, "--after", "restore", "-l", LOADER, *words)
    assert loaded.code == 0, loaded.shown
    expect_all(board, program)
    assert board.machine.read_memory(beside, 6) == b"beside"


def test_a_loader_of_the_internal_flash_programs_it(board: RunningBoard, run: CommandLine) -> None:
    """The server is not asked then; bytes beside the program are kept as in any storage."""
    program, beside = build_program("debuggee"), INTERNAL + 0x1F000
    board.machine.program_flash(beside, b"kept" * 8)
    words: list[str | Path] = ["-l", LOADER, "-l", build("internal"), "--connect", board.endpoint]
    for _ in range(2):
        loaded = run("load", program, *words)
        assert loaded.code == 0, loaded.shown
        expect_all(board, program)
        assert board.machine.read_memory(beside, 32) == b"kept" * 8
    assert loaded.result["bytes_skipped"] == load_image(program).size


@pytest.mark.parametrize(
    "server", [pytest.param(each, marks=[] if each == "board" else [pytest.mark.full]) for each in SERVERS]
)
def test_a_load_that_is_interrupted_is_made_good_by_the_next(
    server: str, board: RunningBoard, tmp_path: Path, run: CommandLine
) -> None:
    """SIGINT comes with the first erase of internal flash: the bytes beside the program are in a file, and go back."""
    program, beside = build_program("debuggee"), INTERNAL + 0x1F000
    old = random.Random(3).randbytes(0x1000)
    board.machine.program_flash(beside, old)
    image = as_file(program, "hex", tmp_path)
    with reached(board, server) as words:
        command = [sys.executable, "-m", "gdbflash", "load", str(image), "-l", str(LOADER), *words]
        erase, met = FlashInterface.overwrite, threading.Event()

        def interrupting(interface: FlashInterface, offset: int, data: bytes) -> None:
            if not met.is_set():
                met.set()
                run_.send_signal(signal.SIGINT)
                time.sleep(0.3)
            erase(interface, offset, data)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FlashInterface, "overwrite", interrupting)
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run_:
                _, shown = run_.communicate(timeout=120)
        assert met.is_set()
        assert run_.returncode == 130, shown
        assert "Traceback" not in shown
        if list(kept_files.files()):  # it was cut off behind the erase
            assert "beside the program are safe in" in shown
            (file,) = kept_files.files()
            assert run("kept", "export", file.path.name, "-o", tmp_path / "old.hex").code == 0
            assert run("load", tmp_path / "old.hex", *words).code == 0
        again = run("load", image, "-l", LOADER, *words)
    assert again.code == 0, again.shown
    expect_all(board, program)
    assert board.machine.read_memory(beside, len(old)) == old


def test_what_somebody_at_a_terminal_sees(board: RunningBoard, run: CommandLine) -> None:
    """Phases one below the other, and what was done as the last line; none wider than the terminal."""
    program = build_program("debuggee")
    words = ["-m", "gdbflash", "load", str(program), "-l", str(LOADER), "--connect", board.endpoint]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    child = pexpect.spawn(sys.executable, words, env=environment, encoding="utf-8", timeout=60, dimensions=(24, 80))
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0, child.before
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", str(child.before))
    lines = [line.rpartition("\r")[2].rstrip() for line in plain.replace("\r\n", "\n").splitlines()]
    assert max(map(len, lines)) <= 80
    assert any(re.match(r"program +1\.5\d\d KiB .*\(internal flash\)", line) for line in lines), lines
    entry = entry_point(program)
    assert entry is not None
    assert f"loaded and compared, start address 0x{entry & ~1:08x}" in " ".join(lines)
    assert run("verify", program, "-l", LOADER, "--connect", board.endpoint).code == 2  # internal flash is no storage


def test_two_loads_at_once_do_not_meet(board: RunningBoard, tmp_path: Path) -> None:
    image = as_file(build_program("debuggee"), "hex", tmp_path)
    command = [sys.executable, "-m", "gdbflash", "load", str(image), "-l", str(LOADER), "--connect", board.endpoint]
    with (
        subprocess.Popen(command, stderr=subprocess.PIPE) as one,
        subprocess.Popen(command, stderr=subprocess.PIPE) as two,
    ):
        shown = [each.communicate(timeout=120)[1].decode() for each in (one, two)]
    codes = sorted((one.returncode, two.returncode))
    assert codes in ([0, 3], [0, 0]), shown
    if codes == [0, 3]:
        assert any("has had the server at" in each for each in shown)
    expect_all(board, build_program("debuggee"))
