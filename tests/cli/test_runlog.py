"""The log for bug reports: all that was said, when, and nothing of the environment."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gdbflash.board.faces.stlinktcp import StlinkServer
from gdbflash.board.machine import Machine
from gdbflash.cli.main import main
from gdbflash.errors import CommandRefused, MemoryAccessError
from gdbflash.events import Detailed, Noted, Started
from gdbflash.mi.connect import connect
from gdbflash.mi.find_gdb import started
from gdbflash.runlog import RunLog
from tests.support.boards import LOADER, RunningBoard, running_board
from tests.support.commandline import CommandLine
from tests.support.gdbservers import GDBS, SERVERS, gdb_path
from tests.support.gdbterminal import GDBINIT, gdb_terminal
from tests.support.openocd import running_openocd

PLACE = "0x90000000"
LINE = re.compile(r" *\d+\.\d{4} (event|gdb [<>]|tcl [<>]|board [<>]|error|bug|result) ?")


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.fixture
def board() -> Iterator[RunningBoard]:
    with running_board() as running:
        yield running


def test_lines_have_times_and_speakers(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    log = RunLog(path, "1.2.3", ["write", "a b.bin"])
    log.of("gdb")(">", "1-gdb-version")
    log("server", "one\ntwo\udcff\x1b")
    log.observe(Started("erase", 65536, "all"))
    log.observe(Noted("kept", "Safe."))
    log.observe(Detailed("gdb", "GDB 18"))
    log.end("exit code 0")
    log("server", "too late")
    text = path.read_text("utf-8")
    header, _, rest = text.partition("command   gdbflash write 'a b.bin'\n")
    assert re.match(r"gdbflash log of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}; times", header)
    assert "version   1.2.3\n" in header
    assert re.sub(r"after \d+\.\d{3} s", "after SECONDS s", re.sub(r" *\d+\.\d{4} ", "", rest)) == (
        "gdb > 1-gdb-version\nserver one\nserver two\\udcff\x1b\nevent erase begins: 65536 bytes all\n"
        "event kept: Safe.\nevent gdb: GDB 18\nresult exit code 0 after SECONDS s\n"
    )


def test_threads_do_not_mix_lines(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "run.log", "", [])

    def speak(name: str) -> None:
        for _ in range(200):
            log(name, name * 50)

    speakers = [threading.Thread(target=speak, args=(name,)) for name in "abcd"]
    for each in speakers:
        each.start()
    for each in speakers:
        each.join()
    log.end("done")
    said = re.findall(r"^ *[\d.]+ ([abcd]) (.*)$", (tmp_path / "run.log").read_text(), re.MULTILINE)
    assert len(said) == 800
    assert all(text == name * 50 for name, text in said)


def test_a_run_is_logged_with_all_traffic_and_without_the_environment(
    run: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDBFLASH_TEST_PASSWORD", "correct-horse")
    (tmp_path / "a.bin").write_bytes(bytes(range(256)) * 5)
    outcome = run("write", f"a.bin@{PLACE}", "-l", LOADER, "--server", "board", "--log", "run.log")
    assert outcome.code == 0
    text = Path("run.log").read_text()
    header, lines = text.splitlines()[:5], text.splitlines()[5:]
    assert header[4].startswith("command   gdbflash ")
    assert f"write a.bin@{PLACE} -l {LOADER} --server board" in header[4]
    assert all(map(LINE.match, lines))
    for part in (
        " board < virtual STM32H750",
        " event gdb: gdb is /",
        " gdb > 1-gdb-set confirm off",
        "Sending packet: $qSupported",
        "Sending packet: $X24",
        " event placed: The device is STM32H7",
        " event call: Init() returned 0x1 in ",
        " event call: Write(0x90000000, 0x500, 0x",
        "-target-disconnect",
    ):
        assert part in text
    assert re.search(r"result exit code 0 after [\d.]+ s\n\Z", text)
    assert "correct-horse" not in text
    assert "GDBFLASH_TEST_PASSWORD" not in text


def test_it_may_be_asked_for_before_or_after_the_command(run: CommandLine) -> None:
    assert run("--log", "before.log", "info", LOADER).code == run("info", LOADER, "--log", "after.log").code == 0
    for name in ("before.log", "after.log"):
        assert re.search(r"command   gdbflash .*info .*\n.*result exit code 0", Path(name).read_text())


def test_what_failed_is_in_the_log(run: CommandLine) -> None:
    outcome = run("read", PLACE, "17M", "-o", "x", "-l", LOADER, "--log", "run.log")
    assert outcome.code == 2
    text = Path("run.log").read_text()
    assert f"error {outcome.sentence}\n" in text
    assert 'error {"kind": "plan"' in text
    assert "result exit code 2 after" in text


def test_a_bug_is_in_the_log_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def defective(_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("gdbflash.cli.main.load_loader", defective)
    assert main(["info", str(LOADER), "--log", "run.log"]) == 70
    assert "This is a bug of gdbflash, please report it: ZeroDivisionError" in capsys.readouterr().err
    text = Path("run.log").read_text()
    assert "bug Traceback (most recent call last):" in text
    assert "result exit code 70" in text


def test_a_file_that_is_no_log_is_not_overwritten(run: CommandLine) -> None:
    Path("firmware.bin").write_bytes(b"precious")
    outcome = run("--log", "firmware.bin", "read", PLACE, "1K", "-o", "x", "-l", LOADER)
    assert outcome.code == 2
    assert "firmware.bin exists and is no log of gdbflash" in outcome.sentence
    # The name was forgotten, and the next word taken for it: the command line is not whole then.
    outcome = run("write", "--log", "firmware.bin", "-l", LOADER)
    assert outcome.code == 2
    assert "Missing argument" in outcome.sentence
    assert Path("firmware.bin").read_bytes() == b"precious"
    Path("empty.log").touch()
    for _ in range(2):
        assert run("info", LOADER, "--log", "empty.log").code == 0
        assert Path("empty.log").read_text().count("gdbflash log of") == 1


def test_a_log_that_cannot_be_opened_stops_the_command(run: CommandLine) -> None:
    outcome = run("info", LOADER, "--log", "/nowhere/run.log")
    assert outcome.code == 1
    assert "The log /nowhere/run.log cannot be written (No such file or directory)." in outcome.sentence


def test_a_full_disk_ends_the_log_and_not_the_run(board: RunningBoard, run: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"data")
    reach = ["--connect", board.endpoint, "-l", str(LOADER), "--log", "/dev/full"]
    outcome = run("write", f"a.bin@{PLACE}", *reach)
    assert outcome.code == 0
    assert bytes(board.chip.memory[:5]) == b"data\xff"
    assert outcome.events[-2]["code"] == "log-ended"
    assert "note: /dev/full is not whole: No space left on device." in outcome.shown


def test_openocds_tcl_traffic_is_logged(run: CommandLine) -> None:
    with (
        Machine() as machine,
        StlinkServer(machine) as stlink,
        running_openocd(stlink.port, "hla_swd") as openocd,
    ):
        reach = ["--connect", f"127.0.0.1:{openocd.gdb_port}", "--tcl", str(openocd.tcl_port), "-l", str(LOADER)]
        outcome = run("checksum", PLACE, "5000", *reach, "--log", "run.log")
        assert outcome.code == 0
        assert outcome.result["byte_sum"] == 5000 * 0xFF
    text = Path("run.log").read_text()
    assert re.search(r'tcl > format "%d %s" \[catch \{set gdbflash_proof\}', text)
    assert re.search(r"tcl < 0 [0-9a-f]{32}\n", text)
    assert "arp_poll" in text
    assert " event server: The server is OpenOCD, told by its answers" in text


@pytest.mark.parametrize("gdb", GDBS)
@pytest.mark.parametrize("name", ["board", "openocd-hla_swd"])
def test_packets_in_the_log_do_not_get_into_messages(gdb: str, name: str) -> None:
    """GDB tells them in the same stream as its own warnings."""
    said, sent = [], []
    lines: list[str] = []
    with SERVERS[name]() as server:
        for packets in (True, False):
            lines.clear()
            target = connect(
                server.endpoint, started(gdb_path(gdb), trace=lambda _, line: lines.append(line)), packets=packets
            )
            try:
                with pytest.raises(MemoryAccessError) as unreadable:
                    target.read_memory(server.unmapped, 4)
                with pytest.raises(CommandRefused) as refused:
                    target.take("monitor nonsense")
            finally:
                target.close()
            said.append((unreadable.value.message, refused.value.message, target.supported))
            sent.append(sum("Sending packet: $" in line for line in lines))
    assert said[0] == said[1]
    assert sent[0] > sent[1]


def test_verbose_tells_what_is_found_and_done(board: RunningBoard, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["checksum", PLACE, "16", "--connect", board.endpoint, "-l", str(LOADER)]
    shown = []
    for more in ([], ["-v"], ["--json"]):
        assert main([*words, *more]) == 0
        shown.append(capsys.readouterr())
    assert [each.out for each in shown[:2]] == [f"{PLACE}-0x9000000F  CRC-32 0x3FB3C61A  byte sum 0x00000FF0\n"] * 2
    plain, verbose, objects = (each.out + each.err for each in shown)
    for part in (
        "gdb is /",
        "The server is virtual board, told by its answers",
        "The device is STM32H7",
        "Init() returned",
    ):
        assert part in verbose
        assert part not in plain
        assert part not in objects
    assert main([*words, "-v", "--json"]) == 0
    assert '"event": "note", "code": "call", "message": "Init() returned 0x1 in ' in capsys.readouterr().out


@pytest.mark.parametrize("gdb", [gdb_path(name) for name in GDBS], ids=lambda path: path.name)
def test_commands_inside_gdb_are_logged_one_after_the_other(board: RunningBoard, tmp_path: Path, gdb: Path) -> None:
    path = tmp_path / "a log"
    (tmp_path / "precious").write_text("data")
    with gdb_terminal(gdb, "-x", str(GDBINIT), state=tmp_path / "state", cwd=tmp_path) as terminal:
        terminal.run(f"target extended-remote {board.endpoint}")
        terminal.run(f"gdbflash loader {LOADER}")
        terminal.run("set gdbflash log a log")
        assert "CRC-32" in terminal.run(f"gdbflash checksum {PLACE} 16")
        assert "is not a number" in terminal.run(f"gdbflash checksum {PLACE} many")
        terminal.run("set gdbflash log")
        terminal.run(f"gdbflash checksum {PLACE} 17")
        terminal.run("set gdbflash log precious")
        assert "precious exists and is no log of gdbflash" in terminal.run(f"gdbflash checksum {PLACE} 16")
    text = path.read_text()
    first, second = re.findall(r"^gdbflash log of .*?(?=^gdbflash log of |\Z)", text, re.MULTILINE | re.DOTALL)
    for part in (
        f"command   gdbflash checksum {PLACE} 16\n",
        " gdb GDB 1",
        " gdb > set arm force-mode thumb\n",
        " event call: Init() returned 0x1 in ",
        " result done after ",
    ):
        assert part in first
    assert "error 'many' is not a number" in second
    assert " result failed after " in second
    assert (tmp_path / "precious").read_text() == "data"
