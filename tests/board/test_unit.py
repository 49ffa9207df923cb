"""Whose board it is: the unique ID of a virtual one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gdbflash.board.faces import rsp
from gdbflash.board.machine import Machine
from gdbflash.board.soc.h750 import UID_ADDRESS
from gdbflash.cli.board import BoardOptions, run_board
from gdbflash.errors import InputError

UNIT = bytes(range(12))


@pytest.fixture
def unit_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[BoardOptions], bytes]:
    """Start a board as its command does, and read the ID that its core sees."""
    seen: list[bytes] = []

    class Looked(Machine):
        def __enter__(self) -> Looked:
            super().__enter__()
            seen.append(self.read_memory(UID_ADDRESS, 12))
            return self

    monkeypatch.setattr("gdbflash.board.machine.Machine", Looked)
    monkeypatch.setattr(rsp.RspServer, "wait", lambda _server, _seconds: True)

    def start(options: BoardOptions) -> bytes:
        run_board(options, lambda _said: None)
        return seen[-1]

    return start


def test_it_is_the_one_that_is_named(unit_of: Callable[[BoardOptions], bytes]) -> None:
    assert unit_of(BoardOptions(0, unit=UNIT)) == UNIT


def test_each_start_is_another_board(unit_of: Callable[[BoardOptions], bytes]) -> None:
    assert unit_of(BoardOptions(0)) != unit_of(BoardOptions(0))


def test_a_chip_that_is_kept_stays_on_its_board(unit_of: Callable[[BoardOptions], bytes], tmp_path: Path) -> None:
    image = tmp_path / "chip.bin"
    first = unit_of(BoardOptions(0, image=image))
    assert unit_of(BoardOptions(0, image=image)) == first
    assert (tmp_path / "chip.bin.unit").read_text() == f"{first.hex()}\n"
    assert image.stat().st_size == 1 << 24
    assert unit_of(BoardOptions(0, image=tmp_path / "other.bin")) != first
    (tmp_path / "chip.bin.unit").write_text("nonsense")
    with pytest.raises(InputError, match="no unique ID"):
        unit_of(BoardOptions(0, image=image))
