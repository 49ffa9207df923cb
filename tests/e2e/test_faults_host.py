"""The fault matrix, the host's side: Ctrl-C, gdb and server killed, full disks, files that cannot be written."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gdbflash.board.mishaps.inject import parse
from gdbflash.board.mishaps.link import LinkFault, PacketFault
from gdbflash.cli.board import _function_of
from tests.support.boards import LOADER
from tests.support.faultbench import CAMPAIGN, FLASH, JOBS, NEVER, OLD, FaultBench, Job, children_of, fault_bench
from tests.support.folders import left_in

Event = dict[str, Any]


@pytest.fixture
def bench(tmp_path: Path, record_property: Callable[[str, object], None]) -> Iterator[FaultBench]:
    with fault_bench(tmp_path, record_property) as running:
        yield running


def interrupt(_: FaultBench) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def interrupt_twice(_: FaultBench) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)  # the first one is taken
    os.kill(os.getpid(), signal.SIGINT)


def kill_gdb(_: FaultBench) -> None:
    for child in children_of(os.getpid()):
        if "gdb" in Path(f"/proc/{child}/comm").read_text():
            os.kill(child, signal.SIGKILL)


def kill_server(bench: FaultBench) -> None:
    bench.board.server.close()


ACTIONS: dict[str, tuple[Callable[[FaultBench], None], set[int]]] = {
    "Ctrl-C": (interrupt, {0, 130}),
    "Ctrl-C twice": (interrupt_twice, {130}),
    "gdb killed": (kill_gdb, {3}),
    "server killed": (kill_server, {3}),
}


def when(number: int, act: Callable[[], None]) -> Callable[[Event], None]:
    """Act when the number-th event comes, counted from 0."""
    seen = 0

    def observe(_: Event) -> None:
        nonlocal seen
        seen += 1
        if seen == number + 1:
            act()

    return observe


def moments(bench: FaultBench, job: Job) -> list[int]:
    """Give the numbers of the events at which something can go wrong, from the end of connecting to that of all."""
    seen: list[Event] = []
    assert bench.run_first(job, observe=seen.append).code == 0
    kinds = [(each["event"], each.get("phase")) for each in seen]
    return list(range(kinds.index(("finish", "connect")), kinds.index(("finish", "close"))))


@pytest.mark.timeout(CAMPAIGN)
@pytest.mark.parametrize("part", range(2))
@pytest.mark.parametrize("job", ["write", "read"])
@pytest.mark.parametrize("action", ACTIONS)
def test_in_every_phase(bench: FaultBench, pytestconfig: pytest.Config, action: str, job: str, part: int) -> None:
    act, codes = ACTIONS[action]
    numbers = moments(bench, JOBS[job])
    chosen = numbers if pytestconfig.getoption("--full") else numbers[part :: 4 if job == "write" else 3]
    found = []
    for number in chosen[part::2] if pytestconfig.getoption("--full") else chosen:
        outcome = bench.run_first(JOBS[job], observe=when(number, lambda: act(bench)))
        bench.tally.faults += 1
        found.append(outcome.code)
        assert outcome.code in codes, (number, outcome.shown)
        if outcome.code == 130:
            assert outcome.result["error"]["kind"] == "interrupted"
            # A second one while the target is taken or left ends that as well.
            if act is interrupt or numbers[2] < number < numbers[-1]:
                assert bench.board.machine.halted is None, "the target was reset and runs, as --after says"
        elif outcome.code == 3:
            assert outcome.result["error"]["kind"] == "connection-lost"
            assert ("gdb" if act is kill_gdb else "server") in outcome.result["error"]["message"]
        if act is kill_server:
            bench.start_server()
        bench.recover(JOBS[job])
    assert max(codes) in found


@pytest.mark.parametrize("at", ["error:qRcmd@3", "drop@{end}"])
def test_trouble_at_the_end_does_not_mask_what_was_wrong(bench: FaultBench, at: str) -> None:
    """A Write that returns 7 is the error, though resetting the target fails, too."""
    wrong = "return:7:LOADER:Write"
    counter = PacketFault(LinkFault.STALL, NEVER)
    injection = parse([wrong.replace("LOADER", str(LOADER))], _function_of)
    injection.link.append(counter)
    with bench.injected_into_board(injection):
        assert bench.run_first(JOBS["write"]).code == 1
    bench.recover(JOBS["write"])
    outcome = bench.strike(JOBS["write"], wrong, at.format(end=counter.met - 2))
    assert (outcome.code, outcome.result["error"]["kind"], outcome.result["error"]["result"]) == (1, "call-failed", 7)
    notes = [each["message"] for each in outcome.events if each.get("code") == "close-failed"]
    assert len(notes) == 1
    assert notes[0].startswith("Leaving the target failed too: ")


# -- disks ---------------------------------------------------------------------------------------------------------


def test_the_disk_of_the_output_is_full(bench: FaultBench, monkeypatch: pytest.MonkeyPatch) -> None:
    def on_a_full_disk(**_: object) -> tuple[int, str]:
        part = bench.folder / ".gdbflash-x.part"
        part.symlink_to("/dev/full")
        return os.open(part, os.O_RDWR), str(part)

    with monkeypatch.context() as patched:
        patched.setattr("gdbflash.images.output.tempfile.mkstemp", on_a_full_disk)
        outcome = bench.run_first(JOBS["read"])
    bench.tally.faults += 1
    error = outcome.result["error"]
    assert (outcome.code, error["kind"]) == (1, "output")
    assert "back.bin could not be written (No space left on device)" in error["message"]
    bench.recover(JOBS["read"])


@pytest.mark.parametrize(
    ("output", "why"), [("nowhere/back.bin", "No such file"), ("image.bin/back.bin", "Not a dir"), ("", "Is a dir")]
)
def test_an_output_that_cannot_be_written(bench: FaultBench, output: str, why: str) -> None:
    job = Job(lambda folder: ("read", hex(FLASH), "100", "-o", f"{folder}/{output}"), lambda *_: False)
    outcome = bench.run_first(job)
    bench.tally.faults += 1
    assert (outcome.code, outcome.result["error"]["kind"]) == (1, "output")
    assert why in outcome.result["error"]["message"]
    bench.recover(JOBS["read"])


def test_an_output_on_a_device_that_is_full(bench: FaultBench) -> None:
    job = Job(lambda _: ("read", hex(FLASH), "100000", "-o", "/dev/full"), lambda *_: False)
    outcome = bench.run_first(job)
    bench.tally.faults += 1
    assert (outcome.code, outcome.result["error"]["kind"]) == (1, "output")
    assert "/dev/full could not be written (No space left on device)" in outcome.result["error"]["message"]
    bench.recover(JOBS["read"])


@pytest.mark.parametrize(
    ("job", "file", "place", "why"),
    [
        ("write", "write.bin", "/dev/full", "No space left on device"),
        # gdb does not see that /dev/full is full; where it cannot open a file it says so in the same way.
        ("read", "read.bin", "/nowhere/file", "No such file or directory"),
    ],
)
def test_files_that_bytes_travel_in_cannot_be_written(
    bench: FaultBench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, job: str, file: str, place: str, why: str
) -> None:
    folder = tmp_path / "gdb"
    folder.mkdir()
    (folder / file).symlink_to(place)
    with monkeypatch.context() as patched:
        patched.setattr("gdbflash.host.folders.tempfile.mkdtemp", lambda **_: str(folder))
        outcome = bench.run_first(JOBS[job])
    bench.tally.faults += 1
    error = outcome.result["error"]
    assert (outcome.code, error["kind"]) == (1, "output")
    assert f"{file} could not be written ({why})" in error["message"]
    assert "TMPDIR" in error["message"]
    assert bytes(bench.board.chip.memory[: len(OLD)]) == OLD
    bench.recover(JOBS[job])


def test_the_disk_of_kept_bytes_is_full(bench: FaultBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "state").mkdir()

    def on_a_full_disk(**_: object) -> tuple[int, str]:
        part = tmp_path / "state" / ".x.part"
        part.symlink_to("/dev/full")
        return os.open(part, os.O_RDWR), str(part)

    with monkeypatch.context() as patched:
        patched.setattr("gdbflash.onchip.state.tempfile.mkstemp", on_a_full_disk)
        outcome = bench.run_first(JOBS["write"])
    bench.tally.faults += 1
    error = outcome.result["error"]
    assert (outcome.code, error["kind"]) == (1, "output")
    assert "could not be saved" in error["message"]
    assert "(No space left on device), so nothing was erased there" in error["message"]
    assert bytes(bench.board.chip.memory[: len(OLD)]) == OLD
    assert not left_in(tmp_path / "state")
    bench.recover(JOBS["write"])
