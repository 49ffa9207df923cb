"""Flashing from the middle of a debugging session gives the session back as it was."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gdbflash.board.faces import rspsession
from tests.support.boards import GDBS, LOADER
from tests.support.cbuild import build
from tests.support.debuggee import FLASH, Debugging, connected, debugging, running_program
from tests.support.gdbterminal import Terminal

KIB = 1024


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.bin"
    path.write_bytes(random.Random(4).randbytes(100 * KIB))
    return path


def press_ctrl_c_at(monkeypatch: pytest.MonkeyPatch, gdb: Terminal) -> list[int]:
    """Have Ctrl-C pressed as the server gets its next packets, so many of them later; gives the list of how many."""
    waits: list[int] = []
    answer = rspsession.Session.answer

    def pressing(session: rspsession.Session, packet: bytes) -> bytes | None:
        if waits:
            waits[0] -= 1
            if waits[0] == 0:
                del waits[0]
                gdb.press_ctrl_c()
        return answer(session, packet)

    monkeypatch.setattr(rspsession.Session, "answer", pressing)
    return waits


def everything(session: Debugging) -> dict[str, object]:
    """Collect, by value, all that is to be given back."""
    return {
        "core": session.core(),
        "system": session.system(),
        "memory": session.memory(),
        "points": session.points(),
        "place": session.place(),
        "settings": session.settings(),
        "stops": session.gdb.value("$stops"),
        "bpnum": session.gdb.value("$bpnum"),
    }


def assert_same(before: dict[str, object], after: dict[str, object]) -> None:
    for name, value in before.items():
        assert after[name] == value, name


def run_on(session: Debugging) -> int:
    """Step on, then run to the end of the program's round; gives its sum."""
    assert "work (" not in session.gdb.run("next")
    shown = session.gdb.run("continue")
    assert "Hardware watchpoint 3: local" in shown
    assert "Old value = 4052876552" in shown
    session.gdb.run("delete 3")
    session.gdb.run("ignore 1 0")
    assert "Breakpoint 1, done ()" in session.gdb.run("continue")
    return session.gdb.value("sum")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> int:
    """What the program's sum is when nobody flashes in between."""
    with debugging(GDBS[0], tmp_path_factory.mktemp("state")) as session:
        return run_on(session)


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_a_write_gives_everything_back(gdb: Path, image: Path, tmp_path: Path, undisturbed: int) -> None:
    with debugging(gdb, tmp_path / "state", build("misbehaving", "IN_WRITE=turn_all_over")) as session:
        before = everything(session)
        core, system = session.core(), session.system()
        assert len(set(core.values())) > 12
        shown = session.gdb.run(f"gdbflash write {image}@{FLASH + 5:#x}")
        assert "102400 bytes written and verified, 2 sectors erased" in shown
        assert "The session is as it was; what Init did to clocks, pins and the flash controller stays." in shown
        assert "Breakpoint" not in shown
        assert "atchpoint" not in shown
        assert_same(before, everything(session))
        assert bytes(session.board.chip.memory[5 : 5 + 100 * KIB]) == image.read_bytes()
        assert run_on(session) == undisturbed
        # The counter-proof: this is what the loader does.
        session.gdb.run(f"gdbflash write {image}@{FLASH + 5:#x} --full --after halt")
        changed = {name for name, value in session.core().items() if value != core[name]}
        assert changed >= {"r0", "pc", "psp", "basepri", "primask", "control", "fpscr", "s0", "s17", "s31"}
        changed = {name for name, value in session.system().items() if value != system[name]}
        expected = {f"{address:#x}" for address in (0xE000E010, 0xE000E014, 0xE000E100, 0xE000E400, 0xE000ED04)}
        assert changed >= expected | {"MPU region 0"}


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
@pytest.mark.parametrize(
    ("defines", "options", "said"),
    [
        (["WRITE_RETURNS=7"], "", "returned 7 instead of 1"),
        (["IN_WRITE=bus_fault"], "--timeout-scale 0.1", "HardFault"),
        (["IN_WRITE=hang"], "--timeout-scale 0.05", "did not return within"),
        (["IN_INIT=breakpoint"], "", "Init"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, list) else "",
)
def test_a_loader_that_fails_takes_nothing_with_it(
    gdb: Path, image: Path, tmp_path: Path, undisturbed: int, defines: list[str], options: str, said: str
) -> None:
    with debugging(gdb, tmp_path / "state", build("misbehaving", *defines)) as session:
        before = everything(session)
        shown = session.gdb.run(f"gdbflash write {image}@{FLASH:#x} {options}")
        assert said in shown
        assert "Traceback" not in shown
        assert "signal SIGINT" not in shown
        assert_same(before, everything(session))
        assert run_on(session) == undisturbed


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_ctrl_c_in_a_loader_call_stops_it_and_says_what_is_done(
    gdb: Path, image: Path, tmp_path: Path, undisturbed: int
) -> None:
    with debugging(gdb, tmp_path / "state", build("misbehaving", "IN_WRITE=hang")) as session:
        session.board.chip.memory[120 * KIB] = 0  # to be kept
        before = everything(session)
        session.gdb.send(f"gdbflash write {image}@{FLASH:#x}")
        for _ in range(2):  # one sector by itself, to see that it is the only one
            session.gdb.child.expect_exact("Erased 64 KiB")
        session.wait_until_running()
        session.gdb.press_ctrl_c()
        shown = session.gdb.wait()
        assert "Interrupted while programming, after 0 B of 104 KiB. What comes after that was not programmed" in shown
        assert "Bytes to keep are safe in" in shown
        assert "Program received signal" not in shown
        assert_same(before, everything(session))
        assert "virtual board" in session.gdb.run("gdbflash status")
        assert run_on(session) == undisturbed


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_ctrl_c_at_any_moment_gives_everything_back(
    gdb: Path,
    tmp_path: Path,
    undisturbed: int,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """While the session is taken, the loader is loaded and called, and all is given back; and again 3 packets later."""
    image = tmp_path / "image.bin"
    with debugging(gdb, tmp_path / "state") as session:
        before = everything(session)
        waits = press_ctrl_c_at(monkeypatch, session.gdb)
        interrupted = 0
        for first in range(10, 400, 3 if request.config.getoption("--full") else 70):
            image.write_bytes(random.Random(first).randbytes(3000))
            waits[:] = [first, 3]
            shown = session.gdb.run(f"gdbflash write {image}@{FLASH:#x}")
            waits.clear()
            interrupted += "Interrupted while" in shown
            assert "Traceback" not in shown
            assert "Program received signal" not in shown
            assert "Interrupted while" in shown or "3000 bytes written and verified" in shown
            session.gdb.run("echo")  # a key that was pressed late ends here
            assert_same(before, everything(session))
        assert interrupted >= 3
        shown = session.gdb.run(f"gdbflash write {image}@{FLASH:#x}")  # the last one may have been done already
        assert re.search("3000 bytes (already there|written and verified)", shown)
        assert bytes(session.board.chip.memory[:3000]) == image.read_bytes()
        assert run_on(session) == undisturbed


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_impatience_does_not_keep_the_session(gdb: Path, image: Path, tmp_path: Path, undisturbed: int) -> None:
    """Ctrl-C again and again while everything is put back, over a link that makes that slow."""
    with debugging(gdb, tmp_path / "state", build("misbehaving", "IN_WRITE=hang")) as session:
        session.board.chip.memory[120 * KIB] = 0  # to be kept
        before = everything(session)
        session.gdb.send(f"gdbflash write {image}@{FLASH:#x}")
        for _ in range(2):  # one sector by itself, to see that it is the only one
            session.gdb.child.expect_exact("Erased 64 KiB")
        session.wait_until_running()
        session.board.server.link.latency_us = 5000
        session.gdb.press_ctrl_c()
        session.gdb.press_ctrl_c()  # GDB itself would disconnect at the second one
        session.gdb.child.expect_exact("Bytes to keep are safe in")
        for _ in range(10):
            session.gdb.press_ctrl_c()
            time.sleep(0.02)
        shown = session.gdb.wait()
        session.board.server.link.latency_us = 0
        assert "Interrupted while programming" in shown
        session.gdb.run("echo")  # a key that was pressed late ends here
        assert_same(before, everything(session))
        assert run_on(session) == undisturbed


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_a_write_costs_at_most_twice_the_packets_of_the_command_line(gdb: Path, image: Path, tmp_path: Path) -> None:
    """The same write to the same board in the middle of the same program, from inside GDB and from outside."""
    counts: list[dict[str, int]] = []
    for inside in (True, False):
        state = tmp_path / f"state-{inside}"
        with running_program() as board, connected(board, gdb, state) as terminal:
            terminal.run("tbreak work")
            terminal.run("continue")
            if inside:
                board.server.packets.clear()
                shown = terminal.run(f"gdbflash write {image}@{FLASH:#x} --before none --after restore")
            else:
                terminal.run("disconnect")
                board.server.packets.clear()
                reach = [f"--connect={board.endpoint}", f"--gdb={gdb}", "--server=board", f"--loader={LOADER}"]
                reach += ["--before=none", "--after=restore"]
                shown = subprocess.run(
                    [sys.executable, "-m", "gdbflash", "write", f"{image}@{FLASH:#x}", *reach],
                    env={**os.environ, "GDBFLASH_STATE": str(state)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    check=False,
                ).stdout
            assert "102400 bytes written and verified, 2 sectors erased" in shown
            counts.append(dict(board.server.packets))
    within, without = counts
    assert within["vCont;c"] == without["vCont;c"] > 5
    assert sum(within.values()) <= 2 * sum(without.values()), counts


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_the_users_memory_regions_neither_forbid_nor_change(gdb: Path, image: Path, tmp_path: Path) -> None:
    with running_program() as board, connected(board, gdb, tmp_path / "state") as terminal:
        terminal.run("with confirm off -- delete mem")
        terminal.run("mem 0x20000000 0x20020000 ro")
        terminal.run("mem 0x24000000 0x24080000 ro 32")
        terminal.run("mem 0xe0000000 0xe0100000 wo")
        terminal.run("mem 0x58000000 0x58000100 rw")
        terminal.run("disable mem 1")
        before = terminal.run("info mem")
        assert before.count(" y ") == 3
        assert "102400 bytes written and verified" in terminal.run(f"gdbflash write {image}@{FLASH:#x}")
        assert terminal.run("info mem") == before
        assert bytes(board.chip.memory[: 100 * KIB]) == image.read_bytes()


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_left_halted_the_registers_are_the_loaders(gdb: Path, image: Path, tmp_path: Path) -> None:
    with debugging(gdb, tmp_path / "state") as session:
        shown = session.gdb.run(f"gdbflash write {image}@{FLASH:#x} --after halt")
        assert "102400 bytes written and verified" in shown
        assert "The target stays halted, with the loader in its RAM." in shown
        assert session.gdb.value("$pc") == session.board.machine.read_register("pc") == 0x24000000
        assert session.gdb.value("$sp") == session.board.machine.read_register("sp")


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_under_an_rtos_the_running_thread_is_used_and_the_selected_one_stays(
    gdb: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that shows two threads; the registers of the second one are a copy that must not be touched."""
    selected = [1]
    answer = rspsession.Session.answer

    def with_threads(session: rspsession.Session, packet: bytes) -> bytes | None:
        if packet[:2] in (b"Hg", b"Hc"):
            selected[0] = max(1, int(packet[2:].replace(b"-1", b"1") or b"1", 16))
            return b"OK"
        if packet[:1] in (b"P", b"G"):
            assert selected[0] == 1, "registers of a thread that does not run were written"
        if packet in (b"T1", b"T2"):
            return b"OK"
        return {b"qfThreadInfo": b"m1,2", b"qC": b"QC1"}.get(packet) or answer(session, packet)

    monkeypatch.setattr(rspsession.Session, "answer", with_threads)
    with running_program() as board, connected(board, gdb, tmp_path / "state") as terminal:
        terminal.run("break work")
        terminal.run("continue")
        assert "* 1 " in terminal.run("info threads")
        assert "Switching to thread 2" in terminal.run("thread 2")
        assert "102400 bytes written and verified" in terminal.run(f"gdbflash write {image}@{FLASH:#x}")
        assert "* 2 " in terminal.run("info threads")
        assert bytes(board.chip.memory[: 100 * KIB]) == image.read_bytes()


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_inside_an_exception_handler_only_a_reset_helps(gdb: Path, image: Path, tmp_path: Path) -> None:
    with running_program() as board, connected(board, gdb, tmp_path / "state") as terminal:
        terminal.run("break SysTick_Handler")
        assert "SysTick_Handler ()" in terminal.run("continue")
        before = board.machine.read_register("pc")
        shown = terminal.run(f"gdbflash write {image}@{FLASH:#x}")
        assert "The core is stopped inside the handler of SysTick, where no loader can run." in shown
        assert "--before reset" in shown
        assert board.machine.read_register("pc") == before
        assert bytes(board.chip.memory[:4]) == bytes(4)
        shown = terminal.run(f"gdbflash write {image}@{FLASH:#x} --before reset")
        assert "102400 bytes written and verified" in shown
        assert "The core is halted at its first instruction; continue starts it." in shown
        assert bytes(board.chip.memory[: 100 * KIB]) == image.read_bytes()
        assert terminal.value("$pc") == terminal.value("(unsigned)Reset_Handler & ~1")
        assert "SysTick_Handler ()" in terminal.run("continue")


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_after_run_the_program_goes_on_with_the_users_breakpoints(gdb: Path, image: Path, tmp_path: Path) -> None:
    with running_program() as board, connected(board, gdb, tmp_path / "state") as terminal:
        terminal.run("tbreak work")
        terminal.run("continue")
        terminal.run("break done")
        terminal.send(f"gdbflash write {image}@{FLASH:#x} --after run")
        terminal.child.expect_exact("The core runs; interrupt stops it.")
        terminal.child.expect_exact("Breakpoint 2, done ()")


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_a_hook_that_fails_ends_neither_the_taking_nor_the_giving_back(gdb: Path, tmp_path: Path) -> None:
    with debugging(gdb, tmp_path / "state") as session:
        before = everything(session)
        session.gdb.run("python gdb.execute('define hook-handle\\nno-such-command\\nend')")
        shown = session.gdb.run("gdbflash checksum 0x90000000 16")
        assert "no-such-command" in shown
        session.gdb.run("python gdb.execute('define hook-handle\\nend')")
        assert_same(before, everything(session))
        assert "byte sum" in session.gdb.run("gdbflash checksum 0x90000000 16")


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_a_temporary_folder_that_cannot_be_made_or_removed_leaves_the_session_as_it_was(
    gdb: Path, tmp_path: Path
) -> None:
    with debugging(gdb, tmp_path / "state") as session:
        before = everything(session)
        session.gdb.run("python import tempfile; tempfile.tempdir = '/nowhere'")
        shown = session.gdb.run("gdbflash checksum 0x90000000 16")
        assert "No temporary folder could be made in /nowhere (No such file or directory)." in shown
        assert_same(before, everything(session))
        session.gdb.run("python tempfile.tempdir = None")
        session.gdb.run("python import shutil; rmtree = shutil.rmtree")
        session.gdb.run("python def fails(*a, **k): raise OSError(30, 'Read-only file system')")
        session.gdb.run("python gdb.execute('python shutil.rmtree = fails')")
        shown = session.gdb.run("gdbflash checksum 0x90000000 16")
        assert "byte sum" in shown
        session.gdb.run("python shutil.rmtree = rmtree")
        assert_same(before, everything(session))


@pytest.mark.parametrize("gdb", GDBS, ids=lambda path: path.name)
def test_a_program_that_is_recorded_is_left_alone(gdb: Path, tmp_path: Path) -> None:
    with debugging(gdb, tmp_path / "state") as session:
        session.gdb.run("record full")
        shown = session.gdb.run("gdbflash checksum 0x90000000 16")
        assert "GDB records the program, which a loader would run into: `record stop` first." in shown
        session.gdb.run("record stop")
        assert "byte sum" in session.gdb.run("gdbflash checksum 0x90000000 16")
