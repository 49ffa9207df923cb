"""Servers that are started for one run: when they are ready, what they say, and that none is left."""

from __future__ import annotations

import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gdbflash.errors import ConnectionLost, InputError, ServerMissing
from gdbflash.servers import launch as servers
from gdbflash.servers.launch import Launched, launched
from gdbflash.servers.profiles import PROFILES, Launch, ServerProfile
from tests.support.gdbservers import free_port

LISTEN = "import socket, sys, time; s = socket.create_server(('127.0.0.1', {port})); "
SLEEP = "time.sleep(60)"


def server(code: str, *, ready: str = "", port_argument: str = r"port=(?P<port>\d+)") -> ServerProfile:
    """Give a profile whose server is a piece of Python."""
    launch = Launch(sys.executable, ready, ("-c", code), port_argument)
    return ServerProfile(name="fake", title="Fake", launch=launch, start_with="fake port=1")


def alive(process: int) -> bool:
    """Say whether a process runs; a dead one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def await_end(process: int) -> None:
    """Wait for the end of a process that was killed, and that is not ours to be waited for."""
    deadline = time.monotonic() + 10
    while alive(process):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def await_file(path: Path) -> str:
    deadline = time.monotonic() + 20
    while not path.exists() or not path.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return path.read_text()


@contextmanager
def left_with_none(profile: ServerProfile, arguments: str) -> Iterator[Launched]:
    with launched(profile, arguments) as running:
        assert alive(running.process)
        yield running
    assert not alive(running.process)


def test_its_port_listening_is_enough() -> None:
    port = free_port()
    with left_with_none(server(LISTEN.format(port=port) + SLEEP), f"port={port}") as running:
        assert running.endpoint == f"127.0.0.1:{port}"


def test_its_words_are_enough_and_name_the_port() -> None:
    code = "import time; print('on port 4321 for you'); " + SLEEP
    with left_with_none(server(code, ready=r"on port (?P<port>\d+) for"), "") as running:
        assert running.endpoint == "127.0.0.1:4321"


def test_words_without_a_port_mean_the_one_of_the_arguments() -> None:
    code = "import time; print('Waiting'); " + SLEEP
    with left_with_none(server(code, ready="Waiting"), "port=4321") as running:
        assert running.endpoint == "127.0.0.1:4321"


def test_words_without_a_port_mean_the_usual_one() -> None:
    code = "import time; print('Waiting'); " + SLEEP
    with left_with_none(replace(server(code, ready="Waiting"), default_port=4322), "") as running:
        assert running.endpoint == "127.0.0.1:4322"


def test_a_server_that_ends_is_quoted() -> None:
    code = "import sys; print('no probe'); print('\\nusage: plug it in.'); sys.exit(3)"
    with pytest.raises(ServerMissing) as caught, launched(server(code), "port=9"):
        pytest.fail("it listens")
    assert caught.value.message.startswith(
        "Fake ended with status 3. It said: no probe / usage: plug it in. Try its command line by itself: "
    )
    assert caught.value.data["output"] == ["no probe", "usage: plug it in."]


def test_words_from_the_first_error_on_are_quoted() -> None:
    code = "print('Licensed under GPL', 'Error: it burns', *range(30), sep=chr(10))"
    with pytest.raises(ServerMissing) as caught, launched(server(code), "port=9"):
        pytest.fail("it listens")
    assert "It said: Error: it burns / 0 / 1 / 2 / 3 / 4. Try" in caught.value.message
    assert caught.value.data["output"] == ["Licensed under GPL", "Error: it burns", *map(str, range(30))]


def test_without_an_error_the_last_words_are_quoted() -> None:
    with pytest.raises(ServerMissing) as caught, launched(server("print(*range(30), sep=chr(10))"), "port=9"):
        pytest.fail("it listens")
    assert "It said: 24 / 25 / 26 / 27 / 28 / 29. Try" in caught.value.message


def test_a_server_that_is_killed_is_reported_so() -> None:
    with (
        pytest.raises(ServerMissing, match=r"Fake ended with signal 9\. It said nothing\."),
        launched(server("import os; os.kill(os.getpid(), 9)"), "port=9"),
    ):
        pytest.fail("it listens")


def test_a_server_that_never_listens_is_stopped(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); print('thinking'); " + SLEEP
    with (
        pytest.raises(ServerMissing, match=r"Fake did not listen within 2 s\. It said: thinking\."),
        launched(server(code), f"port={free_port()}", ready_seconds=2),
    ):
        pytest.fail("it listens")
    assert not alive(int(note.read_text()))


def test_a_port_that_is_taken_is_no_sign_of_readiness() -> None:
    port = free_port()
    with (
        launched(server(LISTEN.format(port=port) + SLEEP), f"port={port}"),
        pytest.raises(ServerMissing, match=f"Somebody listens at port {port} already, where Fake was to be started"),
        launched(server(SLEEP), f"port={port}"),
    ):
        pytest.fail("the other one's port was taken for its own")


def test_somebody_at_the_usual_port_is_not_taken_for_a_server_that_has_words() -> None:
    port = free_port()
    code = "import time; print('Waiting on 4321'); " + SLEEP
    profile = replace(server(code, ready=r"Waiting on (?P<port>\d+)\s"), default_port=port)
    with launched(server(LISTEN.format(port=port) + SLEEP), f"port={port}"), launched(profile, "") as running:
        assert running.endpoint == "127.0.0.1:4321"


def test_a_talkative_server_is_never_blocked(tmp_path: Path) -> None:
    port, note = free_port(), tmp_path / "done"
    talk = f"print(('x' * 79 + chr(10)) * 20000); open({str(note)!r}, 'w').write('y'); "
    code = LISTEN.format(port=port) + talk + SLEEP
    with launched(server(code), f"port={port}"):
        assert await_file(note) == "y"


def test_a_server_deaf_to_polite_signals_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "STOP_SECONDS", 0.2)
    port = free_port()
    code = (
        "import signal; [signal.signal(s, signal.SIG_IGN) for s in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)]; "
        + LISTEN.format(port=port)
        + SLEEP
    )
    with left_with_none(server(code), f"port={port}"):
        pass


def test_a_server_may_say_much_while_it_ends(tmp_path: Path) -> None:
    port, note = free_port(), tmp_path / "ended"
    code = (
        "import signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit()); "
        + LISTEN.format(port=port)
        + f"\ntry: {SLEEP}\nfinally:\n  print(('x' * 79 + chr(10)) * 20000)\n  open({str(note)!r}, 'w').write('y')"
    )
    with left_with_none(server(code), f"port={port}"):
        pass
    assert note.read_text() == "y"


def test_what_the_server_started_is_stopped_too(tmp_path: Path) -> None:
    port, note = free_port(), tmp_path / "pid"
    code = (
        f"import subprocess; child = subprocess.Popen(['sleep', '60']); "
        f"open({str(note)!r}, 'w').write(str(child.pid)); {LISTEN.format(port=port)}{SLEEP}"
    )
    with launched(server(code), f"port={port}"):
        child = int(await_file(note))
        assert alive(child)
    await_end(child)


def test_a_server_that_closed_its_terminal_is_waited_for_all_the_same() -> None:
    port = free_port()
    code = "import os; [os.close(n) for n in (0, 1, 2)]; import time; time.sleep(0.5); " + LISTEN.format(port=port)
    with left_with_none(server(code + SLEEP), f"port={port}") as running:
        assert running.endpoint == f"127.0.0.1:{port}"


def test_an_error_of_the_body_stops_it_and_comes_through() -> None:
    port = free_port()
    with pytest.raises(KeyboardInterrupt), left_with_none(server(LISTEN.format(port=port) + SLEEP), f"port={port}"):
        raise KeyboardInterrupt


def lose_connection(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        assert connection.recv(1) == b""
    raise ConnectionLost("It is gone.", reply="EOF")


def test_last_words_are_added_to_a_lost_connection() -> None:
    port = free_port()
    code = LISTEN.format(port=port) + "s.accept(); print('fatal: locked up'); sys.exit(1)"
    with pytest.raises(ConnectionLost) as caught, launched(server(code), f"port={port}"):
        lose_connection(port)
    assert caught.value.message == "It is gone. Fake ended with status 1. It said: fatal: locked up."
    assert caught.value.data == {"reply": "EOF", "output": ["fatal: locked up"]}


def test_a_connection_lost_while_the_server_lives_stays_as_it_is() -> None:
    port = free_port()
    with (
        pytest.raises(ConnectionLost) as caught,
        launched(server(LISTEN.format(port=port) + SLEEP), f"port={port}"),
    ):
        raise ConnectionLost("It is gone.")
    assert caught.value.message == "It is gone."


def test_a_missing_program() -> None:
    profile = replace(PROFILES["openocd"], launch=Launch("no-such-openocd", "x"))
    with pytest.raises(ServerMissing, match=r"no-such-openocd was not found\. Install it"), launched(profile, ""):
        pytest.fail("it runs")


def test_a_program_that_is_none(tmp_path: Path) -> None:
    program = tmp_path / "openocd"
    program.write_bytes(b"\x00\x01 not for this machine")
    program.chmod(0o755)
    profile = replace(PROFILES["openocd"], launch=Launch(str(program), "x"))
    with pytest.raises(ServerMissing) as caught, launched(profile, ""):
        pytest.fail("it runs")
    assert (
        caught.value.message == f"{program} could not be started ([Errno 8] Exec format error). Is it for this machine?"
    )


def test_arguments_that_cannot_be_split() -> None:
    with pytest.raises(InputError, match="cannot be split into arguments: No closing quotation"):
        launched(PROFILES["openocd"], "-c 'x").__enter__()


def test_a_server_that_cannot_be_started_from_here() -> None:
    with pytest.raises(InputError, match="does not know how to start Black Magic Probe"):
        launched(PROFILES["blackmagic"], "").__enter__()


def told(profile: ServerProfile, arguments: str, tmp_path: Path) -> tuple[list[str], str]:
    """Start a stand-in for a server; gives the arguments that it was told, and what it is called."""
    assert profile.launch is not None
    program = tmp_path / profile.launch.program
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$0.words"\necho READY\nexec sleep 60\n')
    program.chmod(0o755)
    launch = replace(profile.launch, program=str(program), ready="READY")
    with launched(replace(profile, launch=launch), arguments) as running:
        words = Path(f"{program}.words").read_text().splitlines()
        return words[len(launch.arguments) :], running.name


@pytest.mark.parametrize(
    ("name", "arguments", "ours"),
    [
        ("openocd", "-f my.cfg", ["-c", "gdb_port #", "-c", "tcl_port #", "-c", "telnet_port #"]),
        ("qemu", "-M virt -S", ["-gdb", "tcp:127.0.0.1:#"]),
        ("qemu", "-serial null -smp 2 -M x-s", ["-gdb", "tcp:127.0.0.1:#"]),
        ("qemu", "-M virt -gdb tcp::5555", []),
        ("qemu", "-M virt -s", []),
        ("pyocd", "-t stm32h750", ["--port", "#", "--telnet-port", "#"]),
        ("pyocd", "-p 3400", []),
        ("stlink", "-d -e", ["-p", "#"]),
        ("jlink", "-device STM32H750VB", ["-port", "#", "-swoport", "#", "-telnetport", "#"]),
        ("st-util", "", ["-p", "#"]),
        ("st-util", "-p 4300", []),
    ],
)
def test_a_server_that_is_not_told_its_port_gets_free_ones(
    name: str, arguments: str, ours: list[str], tmp_path: Path
) -> None:
    first, called = told(PROFILES[name], arguments, tmp_path)
    second, called_again = told(PROFILES[name], arguments, tmp_path)
    words = [re.sub(r"\b[1-9]\d{3,4}\b", "#", each) for each in first[: len(ours)]]
    assert words == ours
    assert first[len(ours) :] == arguments.split()
    assert (first == second) == (not ours)
    assert called == called_again == " ".join([str(tmp_path / str(PROFILES[name].launch.program)), arguments]).strip()  # type: ignore[union-attr]


def test_qemu_that_is_told_to_listen_at_no_port_cannot_be_reached() -> None:
    with pytest.raises(InputError, match=r"as in: qemu-system-arm -M BOARD -S -gdb tcp:127\.0\.0\.1:1234"):
        launched(PROFILES["qemu"], "-M virt -gdb unix:/tmp/x").__enter__()


def test_a_port_taken_meanwhile_is_tried_again_with_another_three_times(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    code = (
        f"import sys, time; open({str(starts)!r}, 'a').write(sys.argv[1] + chr(10)); "
        f"fits = len(open({str(starts)!r}).readlines()) > int(sys.argv[2])\n"
        'if not fits: sys.exit("couldn\'t bind gdb to socket on port " + sys.argv[1])\n'
        "print('READY', flush=True); " + SLEEP
    )
    fake = server(code, ready="READY", port_argument="")
    assert fake.launch is not None
    profile = replace(fake, launch=replace(fake.launch, free_ports=("{gdb}",)))
    with launched(profile, "2"):
        ports = starts.read_text().split()
    assert len(ports) == len(set(ports)) == 3
    starts.unlink()
    with pytest.raises(ServerMissing, match="couldn't bind gdb"):
        launched(profile, "3").__enter__()
    assert len(starts.read_text().split()) == 3


@pytest.mark.parametrize("number", ["65536", "1" * 5000])
def test_a_port_that_is_none(number: str) -> None:
    for name, arguments in (("stlink", "-p {}"), ("qemu", "-gdb tcp::{}"), ("pyocd", "--port={}")):
        with pytest.raises(InputError, match="name a port above 65535"):
            launched(PROFILES[name], arguments.format(number)).__enter__()


def test_a_port_that_is_none_in_words_of_a_server_counts_as_no_port() -> None:
    code = "import time; print('on port', 5000 * '1', 'for you'); " + SLEEP
    profile = replace(server(code, ready=r"on port (?P<port>\d+) for"), default_port=4321)
    with left_with_none(profile, "") as running:
        assert running.endpoint == "127.0.0.1:4321"


@pytest.mark.parametrize(
    ("name", "arguments", "port"),
    [
        ("qemu", "-M virt -gdb tcp:127.0.0.1:5555 -S", 5555),
        ("qemu", "-gdb tcp::5555,server=on,wait=off", 5555),
        ("qemu", "-s -S", 1234),
        ("qemu", "-S -s", 1234),
        ("stlink", "-cp /opt/p1 -p 61000 -d", 61000),
        ("stlink", "--port-number 61000", 61000),
        ("jlink", "-device STM32H750VB -port 2400", 2400),
        ("pyocd", "-t stm32h750 -p 3400", 3400),
        ("pyocd", "--port=3400", 3400),
        ("st-util", "-p 4300", 4300),
        ("st-util", "--listen_port=4300", 4300),
    ],
)
def test_the_port_of_the_arguments(
    name: str, arguments: str, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "listening_ports", lambda _: [])
    profile = PROFILES[name]
    assert profile.launch is not None
    program = tmp_path / "server"
    program.write_text("#!/bin/sh\necho READY\nexec sleep 60\n")
    program.chmod(0o755)
    launch = replace(profile.launch, program=str(program), ready="READY")
    with launched(replace(profile, launch=launch), arguments) as running:
        assert running.endpoint == f"127.0.0.1:{port}"


def test_a_server_that_aborts_leaves_no_core_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(ServerMissing, match="Fake ended with signal 6"),
        launched(server("import os; os.abort()"), "port=9"),
    ):
        pytest.fail("it listens")
    assert list(tmp_path.iterdir()) == []


def test_last_words_come_without_colours_and_the_command_line_as_a_person_types_it() -> None:
    code = "import sys; print('\\033[1;31merror:\\033[0m no \\033[38;5;9mprobe\\033[K', flush=True); sys.exit(3)"
    profile = server(code, ready="never")
    assert profile.launch is not None
    lines: list[tuple[str, str]] = []
    typed = replace(profile, launch=replace(profile.launch, typed="fake --serve"))
    with (
        pytest.raises(ServerMissing) as caught,
        launched(typed, "--probe 'a b'", trace=lambda way, line: lines.append((way, line))),
    ):
        pass
    assert caught.value.message == (
        "Fake ended with status 3. It said: error: no probe. Try its command line by itself: fake --serve --probe 'a b'"
    )
    assert lines == [(">", "fake --serve --probe 'a b'"), ("<", "error: no probe")]
