"""The MI client with real GDBs: tokens, time-outs, interruptions, and gdb's death."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gdbflash.errors import CommandRefused, ConnectionLost, GdbMissing, InputError
from gdbflash.mi.client import MiClient, c_string
from tests.support.folders import left_in
from tests.support.gdbservers import GDBS, gdb_path, interrupt_soon

SLEEP = '-interpreter-exec console "python import time; time.sleep({})"'


@pytest.fixture(params=GDBS)
def client(request: pytest.FixtureRequest) -> Iterator[MiClient]:
    running = MiClient(gdb_path(request.param))
    try:
        yield running
    finally:
        running.close()


def test_a_reply_carries_its_payload_and_what_was_said(client: MiClient) -> None:
    assert client.command("-list-thread-groups").payload == {"groups": [{"id": "i1", "type": "process"}]}
    reply = client.console('printf "%d\\n", 6 * 7')
    assert reply.console == "42\n"
    assert reply.payload == {}


def test_an_error_is_a_refusal_with_gdbs_words(client: MiClient) -> None:
    with pytest.raises(CommandRefused) as caught:
        client.command("-no-such-command")
    assert caught.value.data["command"] == "-no-such-command"
    assert "Undefined MI command: no-such-command" in str(caught.value.data["reply"])
    with pytest.raises(CommandRefused, match="No symbol"):
        client.console("print nothing")


def test_a_line_break_cannot_smuggle_a_command(client: MiClient) -> None:
    for text in ("-gdb-show version\n-gdb-exit", "-gdb-show version\r-gdb-exit"):
        with pytest.raises(InputError, match="line break"):
            client.command(text)
    assert client.console("echo a\n").console == "a\n"  # quoted, it is one command


@pytest.mark.parametrize("name", ["a b", 'with "quotes"', "back\\slash", "line\nbreak", "éß", "$x;`id`|cat"])
def test_odd_file_names_reach_gdb_as_they_are(client: MiClient, tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    directory.mkdir()
    client.command(f"-environment-cd {c_string(str(directory))}")
    assert client.command("-environment-pwd").payload == {"cwd": str(directory)}


def test_no_start_up_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sign = tmp_path / "sign"
    for place in (tmp_path, tmp_path / "home", tmp_path / "home" / ".config" / "gdb"):
        place.mkdir(parents=True, exist_ok=True)
        for name in (".gdbinit", "gdbinit", ".gdbearlyinit"):
            (place / name).write_text(f"shell touch {sign}\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    client = MiClient(gdb_path("gdb-multiarch"))
    client.command("-gdb-version")
    client.close()
    assert not sign.exists()


def test_after_a_time_out_the_late_reply_is_not_taken_for_another(client: MiClient) -> None:
    with pytest.raises(ConnectionLost, match=r"within 0\.2 s"):
        client.command(SLEEP.format(1), timeout=0.2)
    assert client.console("echo here").console == "here"
    assert client.command("-gdb-show confirm").payload == {"value": "off"}


def test_an_interrupted_wait_leaves_the_client_usable(client: MiClient) -> None:
    interrupt_soon(0.2)
    with pytest.raises(KeyboardInterrupt):
        client.command(SLEEP.format(60), timeout=120)
    assert client.console("echo here").console == "here"
    assert client.command("-gdb-show confirm").payload == {"value": "off"}


def test_an_interrupted_wait_for_an_event_leaves_the_client_usable(client: MiClient) -> None:
    interrupt_soon(0.2)
    with pytest.raises(KeyboardInterrupt):
        client.wait_event("stopped", 120)
    assert client.console("echo here").console == "here"


def test_an_event_that_does_not_come_is_none_and_one_that_came_is_kept(client: MiClient) -> None:
    assert client.wait_event("stopped", 0.05) is None
    client.console("set auto-load safe-path /nowhere")
    client.command("-gdb-show version")
    event = client.wait_event("cmd-param-changed", 0)
    assert event is not None
    client.forget_events()
    assert client.wait_event("cmd-param-changed", 0) is None


def test_a_gdb_that_was_killed_is_a_lost_connection(client: MiClient) -> None:
    os.kill(client.pid, signal.SIGKILL)
    with pytest.raises(ConnectionLost, match=r"gdb ended in the middle \(status -9\)"):
        client.command("-gdb-version")
    with pytest.raises(ConnectionLost):
        client.command("-gdb-version")


def test_a_gdb_that_is_killed_in_the_middle_is_noticed_at_once(client: MiClient) -> None:
    threading.Timer(0.2, os.kill, (client.pid, signal.SIGKILL)).start()
    with pytest.raises(ConnectionLost, match=r"gdb ended in the middle"):
        client.command(SLEEP.format(60), timeout=100)


def test_closing_leaves_neither_process_nor_directory(client: MiClient) -> None:
    assert client.directory.is_dir()
    assert left_in(client.directory) == []
    client.close()
    client.close()
    assert not client.directory.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(client.pid, 0)


def test_gdb_stands_in_a_process_group_of_its_own(client: MiClient) -> None:
    assert os.getpgid(client.pid) == client.pid
    assert os.getsid(client.pid) == client.pid


def test_gdb_dies_with_its_parent(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    child = os.fork()
    if child == 0:  # what happens here may neither return nor raise into pytest
        try:
            client = MiClient(gdb_path("gdb-multiarch"))
            told.with_suffix(".new").write_text(str(client.pid))
            told.with_suffix(".new").rename(told)
            time.sleep(60)
        finally:
            os._exit(1)
    deadline = time.monotonic() + 30
    while not told.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    gdb = int(told.read_text())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while Path(f"/proc/{gdb}/cmdline").exists() and Path(f"/proc/{gdb}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "gdb outlives its parent"
        time.sleep(0.01)


def test_the_trace_sees_both_directions() -> None:
    lines: list[tuple[str, str]] = []
    client = MiClient(gdb_path("gdb-multiarch"), trace=lambda way, line: lines.append((way, line)))
    lines.clear()
    client.command("-gdb-show confirm")
    client.close()
    assert lines[0][0] == ">"
    token, command = lines[0][1].split("-", 1)
    assert command == "gdb-show confirm"
    assert ("<", f'{token}^done,value="off"') in lines


@pytest.mark.parametrize("program", ["/bin/true", "/bin/false", "/bin/cat", "/usr/bin/env"])
def test_a_program_that_is_no_gdb_is_named(program: str) -> None:
    with pytest.raises(GdbMissing, match="did not start as a GDB") as caught:
        MiClient(Path(program))
    assert caught.value.data["gdb"] == program


def test_a_file_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    program = tmp_path / "gdb"
    program.write_text("not a program")
    with pytest.raises(GdbMissing, match="could not be started"):
        MiClient(program)
    with pytest.raises(GdbMissing, match="could not be started"):
        MiClient(tmp_path / "missing")
