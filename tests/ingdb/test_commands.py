"""The commands at GDB's prompt: what a person types and sees."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gdbflash.board.faces import rspsession
from gdbflash.board.faces.rsplink import LinkClosed
from tests.support.boards import GDBS, LOADER, LOADER_WITHOUT_READ, RunningBoard
from tests.support.cbuild import build
from tests.support.debuggee import FLASH, connected, running_program
from tests.support.gdbterminal import GDBINIT, Terminal, gdb_terminal

KIB = 1024


@dataclass(frozen=True)
class Sitting:
    """A person in GDB, a board, and a folder of files."""

    gdb: Terminal
    board: RunningBoard
    folder: Path

    def file(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path


@pytest.fixture(params=GDBS, ids=lambda path: path.name)
def sitting(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sitting]:
    with running_program() as board, connected(board, request.param, tmp_path / "state") as terminal:
        yield Sitting(terminal, board, tmp_path)


@pytest.fixture(params=GDBS, ids=lambda path: path.name)
def lonely(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    """A GDB that is connected to nothing."""
    with gdb_terminal(request.param, "-x", str(GDBINIT), state=tmp_path, cwd=tmp_path) as terminal:
        yield terminal


def test_a_chip_is_written_read_verified_erased_and_checked(sitting: Sitting) -> None:
    gdb, chip = sitting.gdb, sitting.board.chip
    data = random.Random(8).randbytes(70001)
    image = sitting.file("image one.bin", data)
    kept = bytes(chip.memory[0x10000:0x10010])
    shown = gdb.run(f'gdbflash write "{image}@{FLASH + 0x20003:#x}"')
    lines = re.sub(r"[0-9.]+ s, [0-9.]+ [KM]iB/s", "#", shown.replace("\r", "\n"))
    assert "Loaded W25Q128_H750_QSPI into RAM, " in shown
    assert lines.count("Erased 64 KiB, #.") == 2  # one by itself, to see that it is the only one
    assert "Programmed 128 KiB, #." in lines
    assert "Verified 128 KiB, #." in lines
    assert "70001 bytes written and verified, 2 sectors erased" in shown
    assert bytes(chip.memory[0x20003 : 0x20003 + len(data)]) == data
    assert bytes(chip.memory[0x10000:0x10010]) == kept

    shown = gdb.run(f'gdbflash verify "{image}@{FLASH + 0x20003:#x}"')
    assert "70001 bytes compared, no difference, " in shown
    chip.memory[0x20003 + 17] ^= 1
    shown = gdb.run(f'gdbflash verify "{image}@{FLASH + 0x20003:#x}"')
    assert f"1 byte differs at 0x{FLASH + 0x20014:08X}" in shown

    back = sitting.folder / "back.bin"
    assert "70001 bytes from 0x90020003" in gdb.run(f"gdbflash read {FLASH + 0x20003:#x} 70001 -o {back}")
    assert back.read_bytes() == bytes(chip.memory[0x20003 : 0x20003 + 70001])

    assert "2 sectors erased and blank" in gdb.run(f"gdbflash erase {FLASH + 0x20000:#x} 128K")
    assert bytes(chip.memory[0x20000:0x40000]) == b"\xff" * 0x20000
    assert "0x90020000-0x9003FFFF is blank" in gdb.run(f"gdbflash blank-check {FLASH + 0x20000:#x} 128K")
    assert "Not blank" in gdb.run(f"gdbflash blank-check {FLASH + 0x10000:#x} 64K")

    chip.memory[0x20000:0x20009] = b"123456789"
    assert "CRC-32 0xCBF43926  byte sum 0x000001DD" in gdb.run(f"gdbflash checksum {FLASH + 0x20000:#x} 9")
    shown = gdb.run(f"gdbflash call CheckSum {FLASH + 0x20000:#x} 9 0")
    assert "CheckSum(0x90020000, 0x9, 0x0) returned r0 = 0x000001DD (477)" in shown


def test_progress_is_drawn_over_itself(sitting: Sitting) -> None:
    image = sitting.file("image.bin", random.Random(9).randbytes(512 * KIB))
    shown = sitting.gdb.run(f"gdbflash write {image}@{FLASH + 0x40000:#x} --no-keep")
    drawn = re.findall(r"\rProgramming ([0-9.]+ KiB) of 512 KiB, (\d+)%, [0-9.]+ [KM]iB/s", shown)
    assert len(drawn) >= 2, shown
    percents = [int(percent) for _, percent in drawn]
    assert percents == sorted(percents)
    assert re.search(r"\r +\rProgrammed 512 KiB, ", shown)
    assert max(map(len, shown.replace("\r", "\n").splitlines())) < 110


def test_an_empty_line_does_not_write_again(sitting: Sitting) -> None:
    image = sitting.file("image.bin", b"once")
    assert "4 bytes written" in sitting.gdb.run(f"gdbflash write {image}@{FLASH:#x}")
    assert sitting.gdb.run("").strip() == ""


def test_errors_are_the_command_lines_sentences(sitting: Sitting) -> None:
    gdb = sitting.gdb
    image = sitting.file("image.bin", b"some bytes")
    for command, sentence in (
        (f"write {image}", "is a binary file, which does not say where its bytes belong."),
        (f"write {image}@0x80000000", "0x80000000-0x80000009 lies outside the storage of the loader given"),
        (f"write {image}@0x90FFFFFE", "runs 8 bytes past the end of W25Q128_H750_QSPI"),
        ("write /nowhere/image.hex", "/nowhere/image.hex does not exist."),
        ("write", "The following arguments are required: IMAGE[@ADDRESS]. Usage: gdbflash write"),
        (f"write {image}@0x90000000 --verify maybe", "Argument --verify: invalid choice: 'maybe'"),
        (f"write {image}@0x90000000 --full-speed", "Unrecognized arguments: --full-speed. Usage: gdbflash write"),
        ("erase 0x90000001 64K", "is not whole sectors. The sectors it lies in are 0x90000000 0x20000."),
        ("erase", "Say what to erase: ADDRESS SIZE, or --chip for everything."),
        ("read 0x90000000 1Q -o x", "'1Q' is not a number"),
        ("read 0x90000000 64 -o /nowhere/x.bin", "/nowhere/x.bin could not be written"),
        ("call Nothing", "exports no Nothing (only "),
        ("call Read 1 2 3 4 5", "A call takes at most four arguments, r0 to r3."),
        ("loader /etc/passwd", "/etc/passwd"),
        ("frobnicate", 'Undefined gdbflash command: "frobnicate".'),
    ):
        shown = gdb.run(f"gdbflash {command}")
        assert sentence in shown
        assert "Traceback" not in shown
        assert "Python Exception" not in shown
    assert sitting.board.machine.quadspi_accesses == 0, "nothing was touched"


def test_a_dry_run_touches_nothing(sitting: Sitting) -> None:
    image = sitting.file("image.bin", bytes(1000))
    shown = sitting.gdb.run(f"gdbflash write {image}@0x90000010 --dry-run")
    assert "W25Q128_H750_QSPI: 1000 B at 0x90000010-0x900003F7; touches 1 sector, erases it if it differs, " in shown
    assert "keeps 63.02 KiB beside it" in shown
    assert sitting.board.machine.quadspi_accesses == 0


def test_loaders_of_several_memories_are_told_apart(sitting: Sitting) -> None:
    gdb = sitting.gdb
    ram = build("sram")
    shown = gdb.run(f"gdbflash loader {LOADER} {ram}")
    assert "W25Q128_H750_QSPI: 0x90000000-0x90FFFFFF, 16 MiB" in shown
    assert "SRAM1_H750: 0x30000000-0x3001FFFF, 128 KiB" in shown
    image = sitting.file("image.bin", b"for the flash chip")
    other = sitting.file("other.bin", b"for the other RAM")
    assert "35 bytes written and verified" in gdb.run(f"gdbflash write {image}@0x90000000 {other}@0x30000004")
    assert bytes(sitting.board.chip.memory[:18]) == b"for the flash chip"
    assert sitting.board.machine.read_memory(0x30000004, 17) == b"for the other RAM"
    shown = gdb.run("gdbflash status")
    assert "server   virtual board" in shown
    assert "core     halted at 0x" in shown
    assert "in thread mode" in shown
    assert "SRAM1_H750 0x30000000-0x3001FFFF" in shown


def test_two_loaders_for_one_memory_are_refused(sitting: Sitting) -> None:
    told = "overlap at 0x90000000. Give one loader per memory."
    assert told in sitting.gdb.run(f"gdbflash loader {LOADER} {LOADER}")
    assert told in sitting.gdb.run(f"gdbflash checksum 0x90000000 16 -l {LOADER} -l {LOADER}")


def test_what_is_said_to_be_given_back_is(sitting: Sitting) -> None:
    gdb, machine = sitting.gdb, sitting.board.machine
    gdb.run(f"gdbflash loader {LOADER}")
    ram = bytes(range(256)) * 256
    machine.write_memory(0x24000000, ram)
    shown = gdb.run("gdbflash checksum 0x90000000 16 --before reset --after restore")
    assert "The core is where its reset left it; what Init did to clocks" in shown
    assert machine.read_memory(0x24000000, len(ram)) == ram


def test_parameters_stand_for_what_a_command_does_not_say(sitting: Sitting) -> None:
    gdb = sitting.gdb
    image = sitting.file("image.bin", b"not compared")
    assert "gdbflash verify is digest (by a routine on the target): How" in gdb.run("show gdbflash verify")
    assert "gdbflash after is auto (restore; with --before reset: reset" in gdb.run("show gdbflash after")
    gdb.run("set gdbflash verify none")
    assert "12 bytes written and not verified" in gdb.run(f"gdbflash write {image}@0x90000000")
    image.write_bytes(b"compared now")
    assert "12 bytes written and verified" in gdb.run(f"gdbflash write {image}@0x90000000 --verify readback")
    assert 'Undefined item: "perhaps".' in gdb.run("set gdbflash verify perhaps")
    gdb.run("set gdbflash keep off")
    image.write_bytes(b"not kept")
    sitting.board.chip.memory[20] = 0
    gdb.run(f"gdbflash write {image}@0x90000000")
    assert sitting.board.chip.memory[20] == 0xFF
    assert "is not START:SIZE" in gdb.run("set gdbflash ram somewhere")
    assert "not set" in gdb.run("show gdbflash ram")
    gdb.run("set gdbflash ram 0x24000000:1K")
    assert "RAM 0x24000000-0x240003FF" in gdb.run(f"gdbflash write {image}@0x90000000")
    gdb.run("set gdbflash ram")
    assert "no factor above 0" in gdb.run("set gdbflash timeout-scale -2")
    assert "is 1:" in gdb.run("show gdbflash timeout-scale")
    gdb.run("set gdbflash before reset")
    shown = gdb.run(f"gdbflash write {image}@0x90000000")
    assert "The core is halted at its first instruction; continue starts it." in shown
    gdb.run(f"set gdbflash loader {LOADER_WITHOUT_READ}")
    assert str(LOADER_WITHOUT_READ) in gdb.run("show gdbflash loader")
    assert "W25Q128_H750_QSPI_NOREAD (" in gdb.run("gdbflash info")
    shown = gdb.run("show gdbflash")
    for name in ("loader", "server", "before", "after", "verify", "keep", "ram", "irq", "timeout-scale"):
        assert f"gdbflash {name} is " in shown
    assert "readback: over the link." in gdb.run("help set gdbflash verify")
    assert 'Undefined set gdbflash command: "speed".' in gdb.run("set gdbflash speed 9")
    assert 'Undefined show gdbflash command: "speed".' in gdb.run("show gdbflash speed")


def test_help_names_every_command_and_its_options(lonely: Terminal) -> None:
    lonely.run("set pagination off")
    shown = lonely.run("gdbflash help")
    assert lonely.run("gdbflash") == shown
    commands = (
        "loader",
        "info",
        "write",
        "read",
        "verify",
        "erase",
        "blank-check",
        "checksum",
        "call",
        "load",
        "status",
    )
    for command in commands:
        assert f"gdbflash {command} -- " in shown
    shown = lonely.run("gdbflash help write")
    for option in ("--erase", "--verify", "--no-keep", "--dry-run", "--before", "--after", "--ram", "--timeout-scale"):
        assert option in shown
    assert lonely.run("gdbflash erase --help").startswith("usage: gdbflash erase")


def completions(terminal: Terminal, text: str) -> list[str]:
    return terminal.run(f"complete {text}").split("\n")[:-1]


def test_words_are_completed(lonely: Terminal, tmp_path: Path) -> None:
    (tmp_path / "firmware.bin").write_bytes(b"x")
    (tmp_path / "firmware.hex").write_bytes(b"x")
    lonely.run(f"gdbflash loader {LOADER}")
    assert completions(lonely, "gdbflash bl") == ["gdbflash blank-check"]
    assert completions(lonely, "gdbflash call S") == ["gdbflash call SectorErase"]
    assert completions(lonely, "gdbflash write --ver") == ["gdbflash write --verify"]
    assert completions(lonely, "gdbflash write x@0 --verify r") == ["gdbflash write x@0 --verify readback"]
    assert completions(lonely, "gdbflash write x@0 --before ") == [
        "gdbflash write x@0 --before none",
        "gdbflash write x@0 --before reset",
    ]
    assert completions(lonely, "gdbflash write firm") == ["gdbflash write firmware.bin", "gdbflash write firmware.hex"]
    assert completions(lonely, f"gdbflash write {tmp_path}/firmware.b") == [f"gdbflash write {tmp_path}/firmware.bin"]
    assert "set gdbflash verify readback" in completions(lonely, "set gdbflash verify r")
    assert completions(lonely, "gdbflash checksum 0x") == []
    assert completions(lonely, "gdbflash help bl") == ["gdbflash help blank-check"]
    assert "usage: gdbflash status" in lonely.run("gdbfl\thel\tst\t")  # and by the key


def test_without_a_connection_or_a_loader_it_says_so(lonely: Terminal, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"x")
    no_loader = "No loader was given. Name the .stldr of your board's memory: gdbflash loader FILE."
    assert no_loader in lonely.run("gdbflash write a.bin@0x90000000")
    lonely.run(f"gdbflash loader {LOADER}")
    not_connected = "GDB is not connected to a GDB server. Connect it first"
    assert not_connected in lonely.run("gdbflash write a.bin@0x90000000")
    assert not_connected in lonely.run("gdbflash status")
    assert "Say which program: gdbflash load IMAGE" in lonely.run("gdbflash load")


def test_a_running_target_is_left_alone(sitting: Sitting) -> None:
    image = sitting.file("image.bin", b"x")
    sitting.gdb.run("continue &")
    shown = sitting.gdb.run(f"gdbflash write {image}@0x90000000")
    assert "The target is running. Stop it first, with Ctrl-C or `interrupt`." in shown
    sitting.gdb.run("interrupt")


@pytest.mark.parametrize(
    ("kind", "left"),
    [(b"m", 1), (b"X", 12), (b"P", 12), (b"Z", 1), (b"vCont;c", 12), (b"z", 1), (b"m", 60)],
    ids=["the first look", "a write", "a register", "a breakpoint", "a run", "the breakpoint's end", "a read"],
)
def test_a_server_that_dies_is_named_and_gdb_stays_usable(
    sitting: Sitting, kind: bytes, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = sitting.file("image.bin", random.Random(3).randbytes(200 * KIB))
    sitting.gdb.run("break work")
    asked = ("info breakpoints", *(f"show {name}" for name in ("pagination", "arm force-mode", "osabi")))
    before = [sitting.gdb.run(line) for line in asked]
    counts = [left]
    answer = rspsession.Session.answer

    def until_it_dies(session: rspsession.Session, packet: bytes) -> bytes | None:
        # Reads are m or x packets, as GDB knows them.
        if packet.startswith(kind) or (kind == b"m" and packet.startswith(b"x")):
            counts[0] -= 1
            if counts[0] == 0:
                raise LinkClosed("killed")
        return answer(session, packet)

    monkeypatch.setattr(rspsession.Session, "answer", until_it_dies)
    shown = sitting.gdb.run(f"gdbflash write {image}@0x90000000")
    assert counts[0] <= 0, "the write was over before"
    assert "The connection to the GDB server was lost" in shown
    assert [sitting.gdb.run(line) for line in asked] == before
    assert "Traceback" not in shown
    assert "not connected to a GDB server" in sitting.gdb.run("gdbflash status")
    sitting.gdb.run(f"target extended-remote {sitting.board.endpoint}")
    assert "bytes written and verified" in sitting.gdb.run(f"gdbflash write {image}@0x90000000 --before reset")
    assert bytes(sitting.board.chip.memory[: 200 * KIB]) == image.read_bytes()
