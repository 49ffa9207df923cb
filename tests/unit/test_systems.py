"""Where operating systems differ: in one place, and the way of each other system works on this one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from gdbflash.host.pipes import Inflow, Threaded, inflow, selected_heard, threaded_heard
from gdbflash.host.storage import nameless, put_in_place, read_at, read_by_seeking
from gdbflash.servers.child import Child, OnPipe, started

PACKAGE = Path(__file__).parents[2] / "gdbflash"
ASKING = re.compile(r"\bsys\.platform\b|\bos\.name\b|\bplatform\.(?:system|win32_ver|mac_ver|uname)\b|\bmsvcrt\b")


def test_only_one_room_asks_which_system_it_is() -> None:
    asking = {
        path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py") if ASKING.search(path.read_text("utf-8"))
    }
    assert asking == {"host"}


@pytest.fixture(params=[inflow, Threaded], ids=["own", "threaded"])
def pipe(request: pytest.FixtureRequest) -> Iterator[tuple[Inflow, IO[bytes]]]:
    """Give what reads a pipe, each way, and the end to write to."""
    out, into = os.pipe()
    reading = request.param(out)
    with os.fdopen(into, "wb", buffering=0) as writing:
        yield reading, writing
    reading.close()
    os.close(out)


def all_of(reading: Inflow) -> bytes:
    """Read to the end."""
    data = bytearray()
    while piece := reading.read(5):
        data += piece
    assert piece == b""
    return bytes(data)


def test_what_comes_is_read_and_silence_is_told(pipe: tuple[Inflow, IO[bytes]]) -> None:
    reading, into = pipe
    begun = time.monotonic()
    assert reading.read(0.2) is None
    assert time.monotonic() - begun > 0.1
    into.write(b"one")
    assert reading.read(5) == b"one"
    into.write(b"two")
    into.close()
    assert all_of(reading) == b"two"
    assert reading.read(0) == b""


def test_more_than_may_wait_comes_whole(pipe: tuple[Inflow, IO[bytes]]) -> None:
    reading, into = pipe
    into.close()
    assert all_of(reading) == b""
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 65536)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        long = type(reading)(process.stdout.fileno())  # type: ignore[call-arg]
        assert all_of(long) == bytes(range(256)) * 65536
        long.close()


@pytest.mark.parametrize("heard", [selected_heard, threaded_heard])
def test_many_pipes_are_heard_to_their_ends(heard: object) -> None:
    if heard is selected_heard and sys.platform == "win32":
        pytest.skip("Windows selects sockets alone")
    assert callable(heard)
    code = "import sys; sys.stdout.write(sys.argv[1] * 100000)"
    processes = {
        name: subprocess.Popen([sys.executable, "-c", code, name], stdout=subprocess.PIPE) for name in ("a", "b", "c")
    }
    said = dict.fromkeys(processes, b"")
    ends = []
    for name, data in heard([(name, each.stdout) for name, each in processes.items()]):
        said[name] += data
        if not data:
            ends.append(name)
    assert sorted(ends) == ["a", "b", "c"]
    assert said == {name: name.encode() * 100000 for name in processes}
    for each in processes.values():
        assert each.stdout is not None
        each.stdout.close()
        assert each.wait() == 0


@pytest.mark.parametrize("read", [read_at, read_by_seeking])
def test_a_place_in_a_file_without_a_name(read: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(read)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    descriptor = nameless()
    os.write(descriptor, b"0123456789")
    assert read(descriptor, 4, 3) == b"3456"
    assert read(descriptor, 4, 8) == b"89"
    os.close(descriptor)
    assert list(tmp_path.iterdir()) == []


def test_a_file_takes_the_place_of_one_that_is_read_only(tmp_path: Path) -> None:
    partial, target = tmp_path / "partial", tmp_path / "target"
    partial.write_bytes(b"new")
    target.write_bytes(b"old")
    target.chmod(0o444)
    put_in_place(partial, target)
    assert target.read_bytes() == b"new"
    assert not partial.exists()


def on_pipe(program: str, words: list[str]) -> Child:
    """Start as where there are no terminals."""
    return OnPipe(program, words)


@pytest.mark.parametrize("start", [started, on_pipe], ids=["own", "pipe"])
def test_a_server_says_something_and_is_stopped(start: object) -> None:
    assert callable(start)
    child: Child = start(sys.executable, ["-c", "import time; print('ready', flush=True); time.sleep(60)"])
    heard = b""
    while b"ready" not in heard and (piece := child.inflow.read(10)):
        heard += piece
    assert heard.strip() == b"ready"
    assert not child.ends(0.1)
    child.stop(5)
    child.close()
    assert child.ends(0)


@pytest.mark.parametrize("start", [started, on_pipe], ids=["own", "pipe"])
def test_a_server_that_ends_says_how(start: object) -> None:
    assert callable(start)
    child: Child = start(sys.executable, ["-c", "import sys; sys.exit(3)"])
    assert child.ends(10)
    assert child.how_it_ended() == "status 3"
    child.stop(1)
    child.close()
