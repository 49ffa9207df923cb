"""`gdbflash load`: one program for internal flash, RAM and external memory."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gdbflash.board.faces import rspsession
from gdbflash.board.faces.stlinktcp import StlinkServer
from gdbflash.board.soc.flashif import FlashInterface
from gdbflash.images.formats import hex_text, load_image
from gdbflash.ranges import Range
from tests.support.boards import GDBS, LOADER, RunningBoard, running_board
from tests.support.debuggee import FLASH
from tests.support.gdbterminal import GDBINIT, Terminal, gdb_terminal
from tests.support.openocd import TRANSPORTS, running_openocd
from tests.support.programbuild import build_program
from tests.support.stretches import stretches

INTERNAL = 0x08000000
each_gdb = pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)


@pytest.fixture
def board() -> Iterator[RunningBoard]:
    with running_board() as running:
        yield running


def sit_down(gdb: Path, board: RunningBoard, program: Path | None, state: Path) -> Iterator[Terminal]:
    arguments = ["-x", str(GDBINIT), *([str(program)] if program else [])]
    with gdb_terminal(gdb, *arguments, state=state) as terminal:
        terminal.run(f"target extended-remote {board.endpoint}")
        terminal.run(f"gdbflash loader {LOADER}")
        yield terminal


@each_gdb
def test_a_program_with_data_in_external_flash_runs_because_the_data_is_right(
    gdb: Path, board: RunningBoard, tmp_path: Path
) -> None:
    program = build_program("debuggee")
    for terminal in sit_down(gdb, board, program, tmp_path / "state"):
        board.chip.memory[0x10000 - 4 : 0x10000] = b"kept"
        shown = terminal.run("gdbflash load")
        assert "Programmed 1.25 KiB" in shown
        assert re.search(r"Programmed [\d.]+ \w+ of internal flash, ", shown)
        assert "1200 bytes written and verified, 0 sectors erased" in shown
        assert f"all of {program} compared." in shown
        assert "What Init did to clocks, pins and the flash controller stays until a reset." in shown
        assert terminal.value("$pc") == terminal.value("(unsigned)Reset_Handler & ~1")
        for address, data in stretches(load_image(program)):
            if address >= FLASH:
                offset = address - FLASH
                assert bytes(board.chip.memory[offset : offset + len(data)]) == data
            else:
                assert board.machine.read_memory(address, len(data)) == data
        assert bytes(board.chip.memory[0x10000 - 4 : 0x10000]) == b"kept"
        terminal.run("break good")
        terminal.run("break bad")
        assert "Breakpoint 1, good ()" in terminal.run("continue")
        # The counter-proof: one wrong byte in external flash, and the program finds it.
        board.chip.memory[0x10000] ^= 1
        terminal.run("monitor reset halt")
        terminal.run("maintenance flush register-cache")
        assert "Breakpoint 2, bad ()" in terminal.run("continue")


@each_gdb
def test_ram_is_loaded_after_what_uses_ram_to_program_flash(gdb: Path, board: RunningBoard, tmp_path: Path) -> None:
    """Its data is where the external loader goes, and more of it where the server's flash algorithm does."""
    program = build_program("debuggee", "DATA_IN_RAM", script="debuggee-ram")
    addresses = [address for address, _ in stretches(load_image(program))]
    assert [address >> 24 for address in addresses] == [0x08, 0x20, 0x24, 0x90]
    for terminal in sit_down(gdb, board, program, tmp_path / "state"):
        shown = terminal.run("gdbflash load")
        assert len(re.findall(r"Programmed [\d.]+ \w+ of (internal flash|RAM), ", shown)) == 2
        for address, data in stretches(load_image(program))[:3]:
            assert board.machine.read_memory(address, len(data)) == data
        terminal.run("break good")
        terminal.run("break bad")
        assert "Breakpoint 1, good ()" in terminal.run("continue")


@each_gdb
def test_another_program_than_the_one_debugged_may_be_named(gdb: Path, board: RunningBoard, tmp_path: Path) -> None:
    program = build_program("debuggee")
    for terminal in sit_down(gdb, board, None, tmp_path / "state"):
        assert f"all of {program} compared." in terminal.run(f"gdbflash load {program}")
        assert terminal.value("$pc") == load_entry(program)
        assert "is a binary file, which does not say where its bytes belong." in terminal.run(
            f"gdbflash load {GDBINIT}"
        )


@each_gdb
@pytest.mark.parametrize("keep", [True, False])
def test_what_lies_beside_the_program_in_its_blocks_is_kept(
    keep: bool, gdb: Path, board: RunningBoard, tmp_path: Path
) -> None:
    program, state = build_program("debuggee"), tmp_path / "state"
    beside = Range(INTERNAL + 0x1F000, 0x1000)
    old = random.Random(1).randbytes(beside.size)
    board.machine.program_flash(beside.address, old)
    for terminal in sit_down(gdb, board, program, state):
        assert "compared." in terminal.run(f"gdbflash load {'' if keep else '--no-keep'}")
        assert (board.machine.read_memory(beside.address, beside.size) == old) == keep
        assert terminal.value("$pc") == load_entry(program)
        assert not list(state.rglob("kept*/*"))


@each_gdb
def test_a_core_in_a_fault_handler_is_reset_since_its_program_goes(
    gdb: Path, board: RunningBoard, tmp_path: Path
) -> None:
    program = build_program("debuggee")
    for terminal in sit_down(gdb, board, program, tmp_path / "state"):
        terminal.run("gdbflash load")
        terminal.run("set $pc = 0x60000001")
        terminal.run("set $xpsr = 0x01000000")
        terminal.run("break *Fault_Handler")
        terminal.run("continue")
        assert terminal.value("$xpsr & 0x1ff") == 3
        shown = terminal.run("gdbflash load")
        assert "The core is in the handler of HardFault, and is reset: its program is loaded anew." in shown
        assert f"all of {program} compared." in shown
        assert terminal.value("$xpsr & 0x1ff") == 0
        terminal.run("break good")
        assert "good ()" in terminal.run("continue")


@each_gdb
def test_flash_that_reads_back_otherwise_leaves_what_lay_beside_in_a_file(
    gdb: Path, board: RunningBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    board.machine.program_flash(INTERNAL + 0x1F000, b"beside the program")
    for terminal in sit_down(gdb, board, build_program("debuggee"), state):
        monkeypatch.setattr(board.machine, "program_flash", lambda *_: None)
        shown = terminal.run("gdbflash load")
        assert "beside the program are safe in" in shown
        assert "The program is not what was loaded" in shown


@each_gdb
def test_a_hex_file_is_loaded_too(gdb: Path, board: RunningBoard, tmp_path: Path) -> None:
    program = build_program("debuggee")
    content = load_image(program)
    image = tmp_path / "program.hex"
    image.write_text(hex_text([(each.address, content.read(each)) for each in content.ranges]), "ascii")
    for terminal in sit_down(gdb, board, None, tmp_path / "state"):
        assert f"All of {image} compared." in terminal.run(f"gdbflash load {image}")
        for address, data in stretches(content):
            if address < FLASH:
                assert board.machine.read_memory(address, len(data)) == data
            else:
                assert bytes(board.chip.memory[address - FLASH :][: len(data)]) == data


def load_entry(program: Path) -> int:
    return int.from_bytes(program.read_bytes()[24:28], "little") & ~1


@each_gdb
def test_what_the_board_does_not_hold_is_named(
    gdb: Path, board: RunningBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = build_program("debuggee", "DATA_IN_RAM", script="debuggee-ram")
    # The server's flash takes everything and keeps nothing.
    monkeypatch.setattr(board.machine, "program_flash", lambda *_: None)
    for terminal in sit_down(gdb, board, program, tmp_path / "state"):
        shown = terminal.run("gdbflash load")
        assert "The program is not what was loaded" in shown
        assert "bytes differ from 0x08000000" in shown


@each_gdb
def test_only_what_was_compared_is_said_to_be(gdb: Path, board: RunningBoard, tmp_path: Path) -> None:
    program = build_program("debuggee")
    for terminal in sit_down(gdb, board, program, tmp_path / "state"):
        shown = terminal.run("gdbflash load --verify none")
        assert "1200 bytes written and not verified" in shown
        assert f"all of what GDB has loaded of {program} compared." in shown
        shown = terminal.run("gdbflash load")
        assert "1200 bytes already there, 0 bytes written and verified" in shown
        assert f"all of {program} compared." in shown
        assert "Unrecognized arguments: --after. Usage: gdbflash load" in terminal.run("gdbflash load --after run")


@each_gdb
def test_ctrl_c_in_gdbs_own_load_says_what_is_done(
    gdb: Path, board: RunningBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = rspsession.Session.answer
    for terminal in sit_down(gdb, board, build_program("debuggee"), tmp_path / "state"):

        def pressing(session: rspsession.Session, packet: bytes) -> bytes | None:
            if packet.startswith(b"vFlashErase"):
                terminal.press_ctrl_c()  # noqa: B023 - there is one
                time.sleep(0.2)
            return answer(session, packet)

        with monkeypatch.context() as patch:
            patch.setattr(rspsession.Session, "answer", pressing)
            shown = terminal.run("gdbflash load")
        assert "Interrupted while internal flash and RAM were loaded or compared: load again." in shown
        assert "What belongs into external memory is there." in shown
        assert "Traceback" not in shown
        assert "all of " in terminal.run("gdbflash load")


# -- over OpenOCD -----------------------------------------------------------------------------------------------

each_transport = pytest.mark.parametrize("transport", TRANSPORTS)


@contextmanager
def sit_down_with_openocd(
    gdb: Path, transport: str, board: RunningBoard, program: Path, state: Path
) -> Iterator[Terminal]:
    with (
        StlinkServer(board.machine) as stlink,
        running_openocd(stlink.port, transport) as openocd,
        gdb_terminal(gdb, "-x", str(GDBINIT), str(program), state=state) as terminal,
    ):
        terminal.run(f"target extended-remote localhost:{openocd.gdb_port}")
        terminal.run("monitor reset halt")
        terminal.run("maintenance flush register-cache")
        terminal.run(f"gdbflash loader {LOADER}")
        yield terminal


@each_gdb
@each_transport
@pytest.mark.parametrize("in_ram", [False, True], ids=["flash alone", "with RAM"])
def test_openocd_loads_what_is_not_external(
    gdb: Path, transport: str, in_ram: bool, board: RunningBoard, tmp_path: Path
) -> None:
    """Its flash algorithm runs in DTCM, where the program has data, and keeps nothing of what was there."""
    program = build_program("debuggee", "DATA_IN_RAM", script="debuggee-ram") if in_ram else build_program("debuggee")
    blocks = stretches(load_image(program))
    with sit_down_with_openocd(gdb, transport, board, program, tmp_path / "state") as terminal:
        for again in (False, True):
            shown = terminal.run("gdbflash load")
            assert f"1200 bytes {'already there' if again else 'written and verified'}" in shown
            parts = re.findall(r"Programmed [\d.]+ \w+ of (internal flash|RAM), ", shown)
            assert parts == (["internal flash", "RAM"] if in_ram else ["internal flash"])
            assert f"all of {program} compared." in shown
            assert terminal.value("$pc") == load_entry(program)
        for address, data in blocks:
            if address >= FLASH:
                offset = address - FLASH
                assert bytes(board.chip.memory[offset : offset + len(data)]) == data
            else:
                assert board.machine.read_memory(address, len(data)) == data
        end = blocks[0][0] + len(blocks[0][1])
        assert set(board.machine.read_memory(end, 0x08020000 - end)) == {0xFF}
        terminal.run("break good")
        terminal.run("break bad")
        assert "Breakpoint 1, good ()" in terminal.run("continue")


@each_gdb
@each_transport
def test_openocds_refusal_is_told(gdb: Path, transport: str, board: RunningBoard, tmp_path: Path) -> None:
    with sit_down_with_openocd(gdb, transport, board, build_program("debuggee"), tmp_path / "state") as terminal:
        terminal.run("monitor flash protect 0 0 0 on")
        shown = terminal.run("gdbflash load")
        assert "GDB could not load the part of" in shown
        assert "that goes into internal flash (Error erasing flash with vFlashErase packet)" in shown
        terminal.run("monitor flash protect 0 0 0 off")
        assert "compared." in terminal.run("gdbflash load")


@each_gdb
@each_transport
def test_a_flag_that_the_program_left_does_not_matter(
    gdb: Path, transport: str, board: RunningBoard, tmp_path: Path
) -> None:
    """A stray store into flash sets PGSERR, for which OpenOCD's erase fails once; the reset before Init clears it."""
    with sit_down_with_openocd(gdb, transport, board, build_program("debuggee"), tmp_path / "state") as terminal:
        board.machine.write_memory(0x08000000, bytes(4))
        assert "compared." in terminal.run("gdbflash load")


@each_gdb
@each_transport
def test_ctrl_c_in_gdbs_own_load_over_openocd_says_what_is_done(
    gdb: Path, transport: str, board: RunningBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sit_down_with_openocd(gdb, transport, board, build_program("debuggee"), tmp_path / "state") as terminal:
        erase = FlashInterface.overwrite

        def pressing(interface: FlashInterface, offset: int, data: bytes) -> None:
            terminal.press_ctrl_c()
            time.sleep(0.2)
            erase(interface, offset, data)

        with monkeypatch.context() as patch:
            patch.setattr(FlashInterface, "overwrite", pressing)
            shown = terminal.run("gdbflash load")
        assert "Interrupted while internal flash and RAM were loaded or compared: load again." in shown
        assert "What belongs into external memory is there." in shown
        assert "Traceback" not in shown
        assert "all of " in terminal.run("gdbflash load")


@each_gdb
def test_the_load_of_gdb_says_what_it_leaves_to_the_server(gdb: Path, board: RunningBoard, tmp_path: Path) -> None:
    program = build_program("debuggee")
    for terminal in sit_down(gdb, board, program, tmp_path / "state"):
        told = f"{program}: 1.172 KiB of it, from 0x90010000-0x900104AF on, belong into external memory"
        shown = terminal.run("load")
        assert shown.startswith(told)
        assert "`gdbflash load` brings them there through the loader." in shown
        assert shown.count("belong into") == 1
        assert "belong into" not in terminal.run("gdbflash load")
        terminal.run("set gdbflash loader")
        assert terminal.run("load").startswith(told)


@each_gdb
def test_a_hook_that_the_user_has_on_load_stays_the_users(gdb: Path, tmp_path: Path) -> None:
    program = build_program("debuggee")
    hook = tmp_path / "mine.gdb"
    hook.write_text("define hook-load\necho my own\\n\nend\n")
    with gdb_terminal(gdb, "-x", str(hook), "-x", str(GDBINIT), str(program), state=tmp_path) as terminal:
        shown = terminal.run("load")
        assert shown.startswith("my own\n")
        assert "belong into" not in shown
    with gdb_terminal(gdb, "-x", str(GDBINIT), "-x", str(hook), str(program), state=tmp_path) as terminal:
        assert terminal.run("load").startswith("my own\n")
