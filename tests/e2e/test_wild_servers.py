"""Loaders of every kind behind every server: one kind on each, and with --full all of them on all."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gdbflash.board.faces.personality import PERSONALITIES
from gdbflash.board.faces.stlinktcp import StlinkServer
from tests.support.commandline import CommandLine
from tests.support.openocd import TRANSPORTS, running_openocd
from tests.support.wildkinds import KINDS, Bench, board_for

pytestmark = pytest.mark.erase_proof

FLASH = 0x90000000
AREA = 192 * 1024
SERVERS = (*PERSONALITIES, *TRANSPORTS)
ONE_EACH = list(zip(SERVERS, itertools.cycle(KINDS), strict=False))


@contextmanager
def reached(server: str, kind: str) -> Iterator[tuple[Bench, list[str]]]:
    """Run the board of a kind behind a server; gives it with the words that reach it."""
    if server in PERSONALITIES:
        with board_for(KINDS[kind], PERSONALITIES[server]) as board:
            yield board, ["--connect", board.endpoint]
        return
    with (
        board_for(KINDS[kind]) as board,
        StlinkServer(board.machine) as stlink,
        running_openocd(stlink.port, server) as openocd,
    ):
        yield board, ["--connect", f"127.0.0.1:{openocd.gdb_port}"]


def written_and_read(server: str, name: str, run: CommandLine, folder: Path) -> None:
    image, back = folder / "image.bin", folder / "back.bin"
    rng = random.Random(f"{server} {name}")
    data, at = rng.randbytes(70_003), 0x1235
    image.write_bytes(data)
    for command in ("write", "read"):
        # A server of its own for each run: some end with their client, as the real ones do.
        with reached(server, name) as (board, words):
            held = random.Random(name).randbytes(AREA)
            if command == "read":
                board.memory[:AREA] = held[:at] + data + held[at + len(data) :]
                asked = ["read", hex(FLASH + at), str(len(data)), "-o", str(back)]
            else:
                board.memory[:AREA] = held
                asked = ["write", f"{image}@{FLASH + at:#x}"]
            outcome = run(*asked, *words, "-l", KINDS[name].loader)
            assert outcome.code == 0, outcome.shown
            assert bytes(board.memory[:AREA]) == held[:at] + data + held[at + len(data) :]
    assert back.read_bytes() == data


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path / "state"))
    return CommandLine(capsys)


@pytest.mark.parametrize(("server", "name"), ONE_EACH, ids=str)
def test_one_kind_on_every_server(server: str, name: str, run: CommandLine, tmp_path: Path) -> None:
    written_and_read(server, name, run, tmp_path)


@pytest.mark.full
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("server", "name"), [each for each in itertools.product(SERVERS, KINDS) if each not in ONE_EACH], ids=str
)
def test_every_kind_on_every_server(server: str, name: str, run: CommandLine, tmp_path: Path) -> None:
    written_and_read(server, name, run, tmp_path)
