"""A run by OpenOCD's own commands: what is asked, and what is made of each answer."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from gdbflash.errors import CommandRefused, ConnectionLost
from gdbflash.servers.monitored_run import BKPT, SLICE, EndsInMemory, halt_core, run_core, stop_of
from gdbflash.target import Stop, StopReason

HALTED = "gdbflash 0 halted \n"
RUNNING = "gdbflash 0 running timed out while waiting for target halted\n"


class Asked:
    """Answer in turn, and keep what was asked: the command in it, and for how many milliseconds it waits."""

    def __init__(self, *answers: str | BaseException) -> None:
        self._answers = [*answers]
        self.acts: list[str] = []
        self.waits: list[int] = []

    def __call__(self, command: str) -> str:
        found = re.search(r"catch \{(\w*)\} .*wait_halt (\d+)", command)
        assert found is not None, command
        self.acts.append(found[1])
        self.waits.append(int(found[2]))
        answer = self._answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def test_a_short_run_is_one_question() -> None:
    ask = Asked(HALTED)
    assert run_core(ask, 10)
    assert ask.acts == ["resume"]
    assert ask.waits == [round(SLICE * 1000)]


def test_words_before_the_answer_do_not_matter() -> None:
    assert run_core(Asked("target halted due to breakpoint, current mode: Thread\nxPSR: 0x01000000\n" + HALTED), 10)


def test_a_longer_run_is_asked_about_again_and_started_once() -> None:
    ask = Asked(RUNNING, RUNNING, HALTED)
    heard: list[int] = []
    assert run_core(ask, 10, lambda: heard.append(len(ask.acts)))
    assert ask.acts == ["resume", "", ""]
    assert heard == [1, 2], "a person is heard after each slice"


def test_a_run_whose_time_is_up_is_halted() -> None:
    ask = Asked(RUNNING, HALTED)
    assert not run_core(ask, 0)
    assert ask.acts == ["resume", "halt"]
    assert ask.waits[0] == 1, "it runs, however little time it has"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ConnectionLost("gone")])
def test_the_core_is_halted_when_an_exception_ends_the_run(error: BaseException) -> None:
    def heed() -> None:
        raise error

    ask = Asked(RUNNING, HALTED)
    with pytest.raises(type(error)):
        run_core(ask, 10, heed)
    assert ask.acts == ["resume", "halt"]


def test_the_first_error_is_told_when_halting_fails_too() -> None:
    with pytest.raises(ConnectionLost, match="first"):
        run_core(Asked(ConnectionLost("first"), ConnectionLost("second")), 10)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("gdbflash 1 halted target not halted\n", "refused to resume the core: target not halted"),
        ("Error: no target\ngdbflash 1 unknown \n", "refused to resume the core: Error: no target"),
        ("invalid command name\n", "refused resume: invalid command name"),
    ],
)
def test_what_hinders_a_run_is_told(answer: str, said: str) -> None:
    ask = Asked(answer)
    with pytest.raises(CommandRefused, match=said):
        run_core(ask, 10)
    assert ask.acts == ["resume"]


def test_a_core_that_openocd_does_not_see_any_more_is_a_lost_connection() -> None:
    ask = Asked("gdbflash 0 unknown lost\n")
    with pytest.raises(ConnectionLost, match="lost sight of the running core, whose state is unknown to it"):
        run_core(ask, 10)
    assert ask.acts == ["resume"]


def test_a_core_that_does_not_halt_is_told() -> None:
    with pytest.raises(CommandRefused, match="cannot halt the core: timed out"):
        halt_core(Asked(RUNNING))


def test_a_stop_is_what_gdb_would_have_said() -> None:
    assert stop_of(halted=True, pc=8, address=8) == Stop(StopReason.ARRIVED, 8)
    assert stop_of(halted=True, pc=6, address=8) == Stop(StopReason.ELSEWHERE, 6, "SIGTRAP")
    assert stop_of(halted=False, pc=8, address=8) == Stop(StopReason.TIMEOUT, 8, "SIGINT")


@pytest.mark.parametrize(
    ("change", "again"),
    [
        (lambda ends: ends.written(0x10, 16), False),
        (lambda ends: ends.written(0x22, 16), False),
        (lambda ends: ends.written(0x21, 1), True),
        (lambda ends: ends.written(0x1F, 2), True),
        (lambda ends: ends.forget(), True),
    ],
)
@pytest.mark.parametrize("there", [BKPT, b"\0\0"])
def test_what_ends_a_run_is_read_once_until_it_may_have_changed(
    change: Callable[[EndsInMemory], None], again: bool, there: bytes
) -> None:
    reads: list[int] = []

    def read(address: int, size: int) -> bytes:
        reads.append(address)
        return there[:size]

    ends = EndsInMemory(read)
    assert [ends.at(0x20), ends.at(0x20)] == [there == BKPT] * 2
    assert reads == [0x20]
    change(ends)
    assert ends.at(0x20) == (there == BKPT)
    assert len(reads) == 1 + again
