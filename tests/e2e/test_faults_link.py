"""The fault matrix, the link between GDB and server: a connection cut anywhere, lost, late and wrong answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gdbflash.board.mishaps.inject import Injection
from gdbflash.board.mishaps.link import LinkFault, PacketFault
from tests.support.faultbench import CAMPAIGN, JOBS, NEVER, FaultBench, fault_bench

EVERY = {LinkFault.DROP: 7, LinkFault.ERROR: 11, LinkFault.CORRUPT: 7, LinkFault.LATE: 5}
"""Of a short job every so many-th packet is struck; with --full each."""
PARTS = 3
"""Each campaign is cut into so many tests, which run beside one another."""
ERRORS = {
    LinkFault.DROP: {"connection-lost", "server-missing"},
    LinkFault.CORRUPT: {"prepare", "call-failed", "call-not-made", "mismatch", "memory-access", "target"},
    LinkFault.ERROR: {
        *("prepare", "server-missing", "memory-access", "command-refused", "call-not-made", "call-failed"),
        *("call-stopped", "call-timeout", "connection-lost", "mismatch"),
    },
    LinkFault.LATE: {"prepare", "memory-access", "call-not-made", "mismatch", "call-failed"},
}


@pytest.fixture
def bench(tmp_path: Path, record_property: Callable[[str, object], None]) -> Iterator[FaultBench]:
    with fault_bench(tmp_path, record_property) as running:
        yield running


def check(bench: FaultBench, job: str, fault: LinkFault, number: int) -> int:
    """Strike one packet of a job; gives the exit code."""
    outcome = bench.strike(JOBS[job], f"{fault.value}@{number}", options=("--timeout-scale", "0.1"))
    if outcome.code:
        error = outcome.result["error"]
        assert error["kind"] in ERRORS[fault], (number, error)
        if fault is LinkFault.DROP:
            assert outcome.code == 3
            assert "restart" in error["message"], (number, error["message"])
    return outcome.code


@pytest.mark.timeout(CAMPAIGN)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("job", ["write", "read"])
@pytest.mark.parametrize("fault", list(ERRORS), ids=lambda fault: fault.value)
def test_one_packet_of_a_job(
    bench: FaultBench, pytestconfig: pytest.Config, fault: LinkFault, job: str, part: int
) -> None:
    step = 1 if pytestconfig.getoption("--full") else EVERY[fault]
    numbers = range(1, bench.packets(JOBS[job], fault) + 1, step)[part::PARTS]
    codes = [check(bench, job, fault, number) for number in numbers]
    if fault is LinkFault.DROP:
        assert set(codes) == {3}, "a connection that is lost is never a success"


@pytest.mark.timeout(CAMPAIGN)
def test_the_link_is_cut_at_every_packet_of_one_call(bench: FaultBench) -> None:
    job = JOBS["checksum call"]
    kinds: list[str] = []

    class Recorder(PacketFault):
        def strikes(self, kind: str, packet: bytes) -> bool:  # noqa: ARG002
            kinds.append(kind)
            return False

    with bench.injected_into_board(Injection(link=[Recorder(LinkFault.DROP, NEVER)])):
        assert bench.run_first(job).code == 0
    # From behind the start of the one before, which is Init, to the end: the results and the end of the run.
    init, call = [number for number, kind in enumerate(kinds, 1) if kind == "vCont;c"]
    assert 7 <= call - init <= 12
    for number in range(init + 1, len(kinds) + 1):
        assert check(bench, "checksum call", LinkFault.DROP, number) == 3


@pytest.mark.timeout(CAMPAIGN)
def test_a_checksum_that_comes_wrong_is_none(bench: FaultBench, pytestconfig: pytest.Config) -> None:
    """Its results are a few bytes that nothing else proves."""
    reads = bench.packets(JOBS["checksum"], LinkFault.CORRUPT)
    first = 1 if pytestconfig.getoption("--full") else reads - 5
    codes = [check(bench, "checksum", LinkFault.CORRUPT, number) for number in range(first, reads + 1)]
    assert 1 in codes


@pytest.mark.timeout(CAMPAIGN)
def test_an_answer_that_is_late_is_waited_for(bench: FaultBench, pytestconfig: pytest.Config) -> None:
    step = 1 if pytestconfig.getoption("--full") else 30
    for number in range(2, bench.packets(JOBS["read"], LinkFault.STALL) + 1, step):
        assert bench.strike(JOBS["read"], f"stall:1@{number}").code == 0


@pytest.mark.parametrize(
    "part", [0.6, pytest.param(0.3, marks=pytest.mark.full), pytest.param(0.9, marks=pytest.mark.full)]
)
@pytest.mark.parametrize("job", ["write"])
def test_a_server_that_answers_no_more_is_given_up(bench: FaultBench, job: str, part: float) -> None:
    number = int(bench.packets(JOBS[job], LinkFault.STALL) * part)
    outcome = bench.strike(JOBS[job], f"stall@{number}+")
    assert (outcome.code, outcome.result["error"]["kind"]) == (3, "connection-lost")
    assert "restart" in outcome.result["error"]["message"]
