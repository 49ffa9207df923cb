"""Servers that the tool starts itself: real ones, from the command line, and nothing left of them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gdbflash.board.faces.stlinktcp import StlinkServer
from gdbflash.board.machine import Machine
from gdbflash.cli.main import main
from tests.support.boards import LOADER
from tests.support.folders import left_in
from tests.support.gdbservers import free_port
from tests.support.qemuboard import AST1030, KIB, SF2, Board, arguments

IMAGE = random.Random(1).randbytes(1024 * KIB)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def running(directory: Path) -> list[int]:
    """Name the processes of QEMU whose chip's file lies in a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"qemu-system-arm") and any(os.fsencode(directory) in word for word in words):
                found.append(int(process.name))
    return found


def launch_words(board: Board, directory: Path, before: bytes = b"") -> list[str]:
    launch = shlex.join(arguments(board, directory, free_port(), before))
    return ["--server", "qemu", "--launch", launch, "-l", str(board.build()), *board.options]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any], str]:
    """Run a command with --json; returns exit code, result and what people see."""
    code = main([*words, "--json"])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, json.loads(captured.out.splitlines()[-1]), captured.err


def image_at(directory: Path, board: Board, data: bytes) -> str:
    path = directory / "image.bin"
    path.write_bytes(data)
    return f"{path}@{board.flash:#x}"


def test_qemu_is_started_and_stopped_around_a_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = IMAGE[: 20 * KIB]
    code, result, shown = run(capsys, "write", image_at(tmp_path, AST1030, data), *launch_words(AST1030, tmp_path))
    assert code == 0, shown
    assert result["bytes"] == len(data)
    assert running(tmp_path) == []
    assert (tmp_path / "chip.bin").read_bytes() == data.ljust(AST1030.chip_size, b"\xff")


def test_a_board_of_our_own_is_started_with_what_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chip = tmp_path / "chip.bin"
    image = tmp_path / "image.bin"
    image.write_bytes(IMAGE[:5000])
    words = ["--server", "board", "--launch", f"--image {shlex.quote(str(chip))}", "-l", str(LOADER)]
    code, _, shown = run(capsys, "write", f"{image}@0x90000000", *words)
    assert code == 0, shown
    assert chip.read_bytes() == IMAGE[:5000].ljust(16384 * KIB, b"\xff")


def test_qemu_says_what_is_wrong_with_its_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launch = "-M no-such-board -S -gdb tcp:127.0.0.1:9"
    words = ["checksum", hex(SF2.flash), "1", "--server", "qemu", "--launch", launch, "-l", str(SF2.build())]
    code, result, shown = run(capsys, *words)
    assert code == 3
    assert "QEMU ended with status 1. It said: " in shown
    assert "unsupported machine type" in shown
    assert result["error"]["kind"] == "server-missing"
    words[words.index(launch)] = (
        f"-M emcraft-sf2 -S -gdb tcp:127.0.0.1:{free_port()} -drive if=mtd,format=raw,file={tmp_path}/none"
    )
    code, result, shown = run(capsys, *words)
    assert code == 3
    assert "No such file or directory" in shown
    assert running(tmp_path) == []


def test_qemu_need_not_be_told_where_to_listen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = list(arguments(SF2, tmp_path, 1))
    at = told.index("-gdb")
    launch = shlex.join([*told[:at], *told[at + 2 :]])
    words = ["checksum", hex(SF2.flash), "1", "--server", "qemu", "--launch", launch]
    code, _, shown = run(capsys, *words, "-l", str(SF2.build()))
    assert code == 0, shown


def test_four_openocds_at_once(tmp_path: Path) -> None:
    """Each finds its own ports, the Tcl one too, without being told."""
    with contextlib.ExitStack() as stack:
        tools = []
        for number in range(4):
            machine = stack.enter_context(Machine(unit=bytes([*range(11), number])))
            probe = stack.enter_context(StlinkServer(machine, 0))
            backend = f"-f interface/stlink.cfg -c 'hla_stlink_backend tcp {probe.port}' -f target/stm32h7x.cfg"
            words = ["-v", "checksum", "0x90000000", "64K", "--server", "openocd", "--launch", backend]
            tools.append(
                subprocess.Popen(
                    [sys.executable, "-m", "gdbflash", *words, "-l", str(LOADER)],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    env={**os.environ, "GDBFLASH_STATE": str(tmp_path / "state")},
                )
            )
        ports = set()
        for tool in tools:
            shown = tool.communicate(timeout=100)[0]
            assert tool.returncode == 0, shown
            assert "byte sum" in shown
            ports.update(re.findall(r"Its Tcl port (\d+) is used", shown))
        assert len(ports) == 4


@pytest.mark.parametrize(
    ("more", "ram"),
    [
        ((), "0x24000000-0x2407FFFF, 0x20000000-0x2001FFFF; with -l, that of the loader is looked at"),
        (("--ram", "0x24000000:64K"), "0x24000000-0x2400FFFF, as --ram says"),
    ],
)
def test_the_doctor_tells_of_ram_without_a_loader(
    capsys: pytest.CaptureFixture[str], more: tuple[str, ...], ram: str
) -> None:
    code, result, _ = run(capsys, "doctor", "--server", "board", *more)
    assert code == 0
    assert {"name": "RAM", "ok": True, "message": ram} in result["checks"]


@pytest.mark.parametrize("server", ["openocd", "auto"])
def test_openocd_without_its_adapter_is_quoted(capsys: pytest.CaptureFixture[str], server: str) -> None:
    ports = " ".join(f"-c '{name}_port {free_port()}'" for name in ("gdb", "tcl", "telnet"))
    launch = f"{ports} -f interface/stlink.cfg -f target/stm32h7x.cfg"
    code, result, shown = run(capsys, "doctor", "--server", server, "--launch", launch)
    assert code == 3
    assert "OpenOCD ended with status 1. It said: " in shown
    assert "open failed" in shown
    assert result["ok"] is False


def test_a_core_that_locks_up_ends_qemu_with_its_own_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "board"
    directory.mkdir()
    words = list(arguments(AST1030, directory, free_port()))
    del words[words.index("-kernel") : words.index("-kernel") + 2]  # no handler for the fault
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    code, result, shown = run(
        capsys,
        *("erase", hex(AST1030.flash), hex(AST1030.sector), "--server", "qemu", "--launch", shlex.join(words)),
        *("-l", str(AST1030.build("FAULTS_IN_ERASE")), *AST1030.options),
    )
    assert code == 3
    assert result["error"]["kind"] == "connection-lost"
    assert "QEMU ended with signal 6. It said: " in shown
    assert "Lockup" in shown
    assert list(Path.cwd().iterdir()) == []
    assert running(tmp_path) == []


@contextlib.contextmanager
def writing(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a write in a process group of its own, as a shell does, until it is in the middle of programming."""
    before = bytes(len(IMAGE))
    words = ["write", image_at(directory, SF2, IMAGE[:-1]), *launch_words(SF2, directory, before), "--json"]
    words += ["--log", str(directory / "traffic.log")]
    command = [sys.executable, "-m", "gdbflash", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as tool:
        try:
            assert tool.stdout is not None
            for line in tool.stdout:
                event = json.loads(line)
                if (event["event"], event.get("phase")) == ("advance", "program"):
                    break
            assert len(running(directory)) == 1
            yield tool
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(tool.pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_write_leaves_the_target_before_its_server_is_stopped(
    tmp_path: Path, state: Path, number: signal.Signals
) -> None:
    with writing(tmp_path) as tool:
        os.killpg(tool.pid, number)  # as a terminal does: to all that is in its foreground
        output, _ = tool.communicate(timeout=60)
    result = json.loads(output.splitlines()[-1])
    assert (tool.returncode, result["error"]["kind"]) == (130, "interrupted")
    assert running(tmp_path) == []
    log = (tmp_path / "traffic.log").read_text()
    left = log[log.rindex("monitor system_reset") :]
    assert "detach" in left
    assert left.count("^done") == 2, left
    assert "connection closed" not in log.lower()
    assert len(left_in(state)) == 1
    chip = (tmp_path / "chip.bin").read_bytes()
    assert chip[: 4 * KIB] == IMAGE[: 4 * KIB]
    assert chip[len(IMAGE) - 4 * KIB : len(IMAGE)] == b"\xff" * 4 * KIB, "it was written to the end"


def test_a_second_ctrl_c_leaves_no_server_either(tmp_path: Path) -> None:
    with writing(tmp_path) as tool:
        os.killpg(tool.pid, signal.SIGINT)
        os.killpg(tool.pid, signal.SIGINT)
        tool.communicate(timeout=60)
    assert tool.returncode == 130
    assert running(tmp_path) == []


def test_the_server_ends_with_a_tool_that_is_killed(tmp_path: Path) -> None:
    with writing(tmp_path) as tool:
        tool.kill()
        tool.wait()
    deadline = time.monotonic() + 20
    while running(tmp_path):
        assert time.monotonic() < deadline, "an orphan is left"
        time.sleep(0.05)
