"""The manual's environment and pytest, with labgrid as it is: on a desk, and with a coordinator and two exporters."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import gdbflash
from tests.support.boards import LOADER, RunningBoard, running_board
from tests.support.cbuild import ROOT
from tests.support.programbuild import build_program

MANUAL = (Path(gdbflash.__file__).parent / "manual" / "labgrid.md").read_text("utf-8")
SETTINGS = 0xF0000
SCRIPTS = Path(sys.executable).parent


def shown(kind: str, beginning: str) -> str:
    """Give the manual's block that begins so."""
    (found,) = re.findall(rf"```{kind}\n({re.escape(beginning)}.*?)```", MANUAL, re.DOTALL)
    return str(found)


def environment(folder: Path, **more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "LG_"))}
    return {**clean, "PYTHONPATH": str(ROOT), "GDBFLASH_STATE": str(folder / "state"), **more}


def folder_of(folder: Path, env: str, settings: bytes) -> Path:
    """Lay out what the manual's pytest wants."""
    folder.mkdir()
    shutil.copy(LOADER, folder / "MyBoard_QSPI.stldr")
    shutil.copy(build_program("debuggee"), folder / "firmware.elf")
    (folder / "settings.bin").write_bytes(settings)
    (folder / "env.yaml").write_text(env, "utf-8")
    (folder / "test_board.py").write_text(shown("python", "from pathlib import Path\n\nimport pytest"), "utf-8")
    return folder


def pytest_in(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Run the manual's pytest."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--lg-env", "env.yaml", *words]
    return subprocess.Popen(
        [*command, "test_board.py"],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> str:
    told = process.communicate(timeout=100)[0]
    assert process.returncode == 0, told
    return told


@pytest.mark.full
def test_a_board_on_the_desk(tmp_path: Path) -> None:
    """Without a coordinator: flashed, reset, read, and not erased, to see what was written."""
    with running_board() as board:
        place = f"GDBServer: {{host: 127.0.0.1, port: {board.server.port}, server: board}}"
        env = re.sub(r"RemotePlace:\n *name: board-1", place, shown("yaml", "imports:"))
        folder = folder_of(tmp_path / "desk", env, b"of the desk")
        assert "2 passed, 1 deselected" in ended(pytest_in(folder, "-k", "not erased"))
        assert bytes(board.chip.memory[SETTINGS : SETTINGS + 11]) == b"of the desk"
        assert board.machine.halted is None


ASK = """
import gdbflash, gdbflash.contrib.labgrid as driver, labgrid, pathlib, sys
pathlib.Path("some.bin").write_bytes(b"some")
target, other = labgrid.Target("main"), labgrid.Target("other")
driver.GDBServer(target, name=None, host="127.0.0.1", port=int(sys.argv[1]), server="board")
board = driver.GdbflashDriver(target, name=None, loaders=sys.argv[2])
bare = driver.GdbflashDriver(target, name="bare")
driver.GDBServer(other, name=None, host="127.0.0.1", port=1)
nobody = driver.GdbflashDriver(other, name=None)
target.activate(board); target.activate(bare); other.activate(nobody)
print(board.write("some.bin", 0x900F0000).in_words)
print(board.read(0x900F0000, 4))
target.get_driver("BootstrapProtocol", name="bare", activate=False)
board.reset()
for ask in (
    board.load,
    lambda: bare.read(0x90000000, 4),
    lambda: board.read(0x10000000, 4),
    nobody.reset,
    lambda: board.erase(0x90000001, 1),
    lambda: board.write("some.bin"),
):
    try:
        ask()
    except gdbflash.GdbflashError as error:
        print(error.kind, error.message)
"""


def test_a_board_from_a_script(tmp_path: Path) -> None:
    """Written, read and reset, and what a file or the environment leaves out is said; one process: labgrid is slow."""
    with running_board() as board:
        command = [sys.executable, "-c", ASK, str(board.server.port), str(LOADER)]
        done = subprocess.run(command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert bytes(board.chip.memory[SETTINGS : SETTINGS + 5]) == b"some\xff"
        assert board.machine.halted is None
    written, read, *failed = done.stdout.splitlines()
    assert (written, read) == ("4 bytes written and verified, 0 sectors erased", "b'some'")
    kinds = [line.partition(" ")[0] for line in failed]
    assert kinds == ["input", "input", "plan", "server-missing", "plan", "image-file"], done.stdout
    assert "127.0.0.1:1" in done.stdout


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(folder: Path, until: str, *command: str) -> Iterator[None]:
    """Run one of labgrid's programs, which says when it is ready, while the body runs."""
    log = folder / f"{command[0]}-{time.monotonic_ns()}.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [str(SCRIPTS / command[0]), *command[1:]], cwd=folder, env=environment(folder), stdout=out, stderr=out
        )
    try:
        deadline = time.monotonic() + 60
        while until not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def exported(boards: dict[str, RunningBoard]) -> str:
    """Give the manual's exporter file with these boards in the place of its two."""
    first, second = re.split(r"(?m)^(?=board-2:)", shown("yaml", "board-1:"))
    assert "server: openocd" in second
    return "".join(
        first.replace("board-1", name).replace("3333", str(board.server.port)) + "    server: board\n"
        for name, board in boards.items()
    )


@pytest.mark.full
@pytest.mark.timeout(300)
def test_four_boards_of_two_exporters(tmp_path: Path) -> None:
    """Each place is taken by the manual's commands, and its pytest meets its own board alone, all four at once."""
    names = [f"board-{number}" for number in range(1, 5)]
    with contextlib.ExitStack() as parts:
        boards = {name: parts.enter_context(running_board()) for name in names}
        coordinator = f"127.0.0.1:{free_port()}"
        (tmp_path / "lab").mkdir()
        parts.enter_context(running(tmp_path / "lab", "ready", "labgrid-coordinator", "-l", coordinator))
        for host, mine in (("left", names[:2]), ("right", names[2:])):
            (tmp_path / host).mkdir()
            (tmp_path / host / "exporter.yaml").write_text(exported({name: boards[name] for name in mine}), "utf-8")
            words = ("-c", coordinator, "-n", host, "--hostname", "127.0.0.1", "exporter.yaml")
            parts.enter_context(running(tmp_path / host, "Exporter ready", "labgrid-exporter", *words))

        def client(*words: str) -> subprocess.CompletedProcess[str]:
            command = [str(SCRIPTS / "labgrid-client"), "-x", coordinator, *words]
            return subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, timeout=60)

        for name in names:
            for line in re.findall(r"(?m)^labgrid-client (.*)$", MANUAL):
                done = client(*line.replace("board-1", name).replace("'", "").split())
                assert done.returncode == 0, done.stderr
        env = shown("yaml", "imports:").replace("lab.example.org", coordinator)
        folders = [folder_of(tmp_path / name, env.replace("board-1", name), name.encode()) for name in names]
        running_tests = [pytest_in(folder, "-k", "not erased") for folder in folders]
        for process in running_tests:
            assert "2 passed, 1 deselected" in ended(process)
        for name, board in boards.items():
            assert bytes(board.chip.memory[SETTINGS : SETTINGS + 7]) == name.encode()
        assert "3 passed" in ended(pytest_in(folders[0]))
        assert bytes(boards["board-1"].chip.memory[SETTINGS:][:7]) == b"\xff" * 7
        assert bytes(boards["board-2"].chip.memory[SETTINGS:][:7]) == b"board-2"
        assert client("-p", "board-3", "release").returncode == 0
        refused = pytest_in(folders[2])
        told = refused.communicate(timeout=60)[0]
        assert refused.returncode != 0
        assert "board-3" in told
