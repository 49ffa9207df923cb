"""The target is left as --after says, also where it could not be taken or somebody interrupts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support.boards import LOADER, running_board
from tests.support.commandline import CommandLine


@pytest.mark.parametrize(("after", "runs"), [("run", True), ("reset", True), ("halt", False)])
def test_a_core_in_a_handler_is_left_as_asked(capsys: pytest.CaptureFixture[str], after: str, runs: bool) -> None:
    with running_board() as board:
        board.machine.write_register("xpsr", 0x0100000F)  # in the handler of SysTick
        words = ["--connect", board.endpoint, "-l", str(LOADER), "--before", "none", "--after", after]
        outcome = CommandLine(capsys)("checksum", "0x90000000", "64", *words)
        assert (outcome.code, outcome.result["error"]["kind"]) == (3, "prepare")
        assert "inside the handler of SysTick" in outcome.shown
        assert (board.machine.halted is None) is runs


def test_a_doctor_who_is_interrupted_lets_the_core_go_on() -> None:
    with running_board() as board:
        board.server.link.latency_us = 30_000
        words = [sys.executable, "-m", "gdbflash", "doctor", "--connect", board.endpoint, "-l", str(LOADER)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
        assert process.stdout is not None
        while "registers" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, shown = process.communicate(timeout=60)
        assert process.returncode == 130, shown
        assert "left as asked" in shown
        deadline = time.monotonic() + 5
        while board.machine.halted is not None:
            assert time.monotonic() < deadline, "the core stays halted"
            time.sleep(0.01)
