"""The board at the speed of real hardware: link, flash times, and the scale that stretches them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gdbflash.board import clock as clocks
from gdbflash.board.chips.facts import DATA_SHEET, FAST
from gdbflash.board.clock import Clock
from gdbflash.board.machine import Machine
from gdbflash.board.tempo import Tempo
from gdbflash.cli.board import BoardOptions
from gdbflash.cli.main import main
from tests.support.nor_host import ManualClock, make


def test_without_figures_nothing_takes_time() -> None:
    tempo = Tempo()
    assert (tempo.clock().scale, tempo.chip) == (1.0, FAST)
    assert (tempo.rsp_link().kib_per_s, tempo.rsp_link().latency_us) == (None, 0)
    assert (tempo.stlink_link().kib_per_s, tempo.stlink_link().latency_us) == (None, 0)


def test_one_scale_stretches_all() -> None:
    tempo = Tempo(500, 200, data_sheet=True, scale=10)
    assert tempo.clock().host_seconds(0.4e-3) == pytest.approx(4e-3)
    assert tempo.chip == DATA_SHEET
    for link in (tempo.rsp_link(), tempo.stlink_link()):
        assert (link.kib_per_s, link.latency_us) == (50, 2000)


def test_the_chip_takes_the_times_of_its_data_sheet() -> None:
    # W25Q128JV data sheet, revision F, 9.6: typical tPP, tSE, tBE1, tBE2, tCE.
    times = (DATA_SHEET.page_program, DATA_SHEET.sector_erase, DATA_SHEET.block32_erase, DATA_SHEET.block64_erase)
    assert times == (0.4e-3, 45e-3, 120e-3, 150e-3)
    assert DATA_SHEET.chip_erase == 40


def test_waiting_software_lets_the_host_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(ManualClock, "rest", lambda _self, seconds: rests.append(seconds))
    host = make(DATA_SHEET)
    host.do(0x06)
    host.do(0x20, 0)
    assert host.do(0x05, read=1)[0] & 1
    host.time.time += 0.040
    assert host.do(0x05, read=1)[0] & 1
    host.time.time += 0.005
    assert not host.do(0x05, read=1)[0] & 1
    assert rests == [pytest.approx(0.045), pytest.approx(0.005)]


@pytest.mark.parametrize(
    ("scale", "seconds", "slept"),
    [(1.0, 0.0001, None), (1.0, 0.0013, 0.001), (0.1, 0.0001, 0.0007), (1.0, 40.0, clocks._LONGEST_REST)],
)
def test_a_rest_ends_early_and_soon(
    monkeypatch: pytest.MonkeyPatch, scale: float, seconds: float, slept: float | None
) -> None:
    clock = Clock(scale)
    waits: list[float] = []
    monkeypatch.setattr(clock.stirring, "wait", waits.append)
    clock.rest(seconds)
    assert waits == ([] if slept is None else [pytest.approx(slept)])


def test_whoever_wants_the_core_ends_its_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    with Machine() as machine:
        read = machine.soc.space.read_bytes

        def noted(address: int, size: int) -> bytes:
            seen.append(machine.clock.stirring.is_set())
            return read(address, size)

        monkeypatch.setattr(machine.soc.space, "read_bytes", noted)
        machine.read_memory(0xE000ED00, 4)
        assert not machine.clock.stirring.is_set()
    assert seen == [True]


def test_a_pause_ends_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 64.0

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds or 2**-13

    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    clocks.pause(0.002)
    assert slept[0] == pytest.approx(0.0017)
    assert slept[1:] == [0] * 3  # the first sleep may end late
    assert 64.002 <= now < 64.0022
    slept.clear()
    clocks.pause(-0.1)
    assert slept == []


def test_the_board_command_hands_the_figures_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[BoardOptions] = []

    def run_board(options: BoardOptions, _say: Callable[[str], None]) -> None:
        seen.append(options)

    monkeypatch.setattr("gdbflash.cli.main.run_board", run_board)
    words = ["--link-kib-s", "500", "--link-latency-us", "200", "--data-sheet-times", "--time-scale", "10"]
    assert main(["board", "--port", "0", "--image", "chip.bin", *words]) == 0
    assert main(["board"]) == 0
    assert seen == [
        BoardOptions(0, None, Path("chip.bin"), "board", 500, 200, data_sheet_times=True, time_scale=10),
        BoardOptions(),
    ]


@pytest.mark.parametrize("words", [("--time-scale", "0"), ("--link-kib-s", "-1"), ("--link-latency-us", "-1")])
def test_impossible_figures_are_refused(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["board", *words]) == 2
    assert words[0] in capsys.readouterr().err
