"""One case of the fault matrix: something goes wrong in a run of the tool, and nothing wrong passes for good.

A `FaultBench` runs a job with a fault, looks at exit code, message, processes, files and the chip, then runs it again
without the fault, which has to succeed.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gdbflash.board.faces.rsp import RspServer
from gdbflash.board.mishaps.inject import Injection, parse
from gdbflash.board.mishaps.link import LinkFault, PacketFault
from gdbflash.board.mishaps.occasion import Occasion
from gdbflash.cli.board import _function_of
from gdbflash.cli.main import main
from tests.support.boards import LOADER, RunningBoard, running_board
from tests.support.commandline import Outcome
from tests.support.folders import left_in
from tests.support.tally import Tally

FLASH = 0x90000000
BLOCK = 64 * 1024
OLD = random.Random(21).randbytes(2 * BLOCK)
"""What the chip holds before each job."""
IMAGE = random.Random(22).randbytes(3000)
OFFSET = 0x105
"""Where the image goes: a place with bytes to keep on both sides."""
CAMPAIGN = 3600
"""Seconds that one test may take which strikes everywhere with --full."""
NEVER = Occasion(1 << 30)


class AtPacket(PacketFault):
    """Nothing goes wrong with a packet, but something is done when it comes."""

    def __init__(self, number: int, act: Callable[[], None] = lambda: None) -> None:
        super().__init__(LinkFault.STALL, Occasion(number, number))
        self._act = act

    def strikes(self, kind: str, packet: bytes) -> bool:
        if super().strikes(kind, packet):
            self._act()
        return False


@dataclass(frozen=True)
class Job:
    """A command and how to see that it did what it should."""

    words: Callable[[Path], Sequence[str]]
    done: Callable[[bytes, Path, Outcome], bool]
    """Told the chip's first bytes, the folder, and what came of the run."""


def _write(*options: str) -> Job:
    expected = OLD[:OFFSET] + IMAGE + OLD[OFFSET + len(IMAGE) :]
    return Job(
        lambda folder: ("write", f"{folder / 'image.bin'}@{FLASH + OFFSET:#x}", *options),
        lambda chip, _folder, _outcome: chip == expected,
    )


JOBS: dict[str, Job] = {
    "write": _write(),
    "write, read back": _write("--verify", "readback"),
    "write, loader's Verify": _write("--verify", "loader"),
    "write all": _write("--full"),
    "read": Job(
        lambda folder: ("read", hex(FLASH + 3), "20000", "-o", str(folder / "back.bin")),
        lambda chip, folder, _: chip == OLD and (folder / "back.bin").read_bytes() == OLD[3:20003],
    ),
    "erase": Job(lambda _: ("erase", hex(FLASH), hex(BLOCK)), lambda chip, *_: chip == b"\xff" * BLOCK + OLD[BLOCK:]),
    "erase chip": Job(lambda _: ("erase", "--chip"), lambda chip, *_: chip == b"\xff" * len(chip)),
    "checksum": Job(
        lambda _: ("checksum", hex(FLASH + 5), "70001"),
        lambda chip, _, outcome: (
            outcome.result["crc32"] == zlib.crc32(chip[5:70006]) and outcome.result["byte_sum"] == sum(chip[5:70006])
        ),
    ),
    "checksum call": Job(
        lambda _: ("call", "CheckSum", hex(FLASH), "100", "7"),
        lambda chip, _, outcome: outcome.result["r0"] == sum(chip[:100]) + 7,
    ),
}


APB4FZ1, IWDG1_FROZEN = 0x54, 1 << 18


@dataclass
class FaultBench:
    """A board, and jobs that are run on it while something goes wrong."""

    board: RunningBoard
    folder: Path
    tally: Tally = field(default_factory=Tally)
    _running: set[int] = field(default_factory=set)

    def run(self, job: Job, *options: str, observe: Callable[[dict[str, Any]], None] | None = None) -> Outcome:
        """Run a job on the chip as it is; observe is told each JSON line as it comes."""
        words = [*job.words(self.folder), "--connect", self.board.endpoint, "-l", str(LOADER), *options]
        out, shown = _Lines(observe or (lambda _: None)), io.StringIO()
        before = children_of(os.getpid())
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(shown):
            code = main(["--json", *words])
        outcome = Outcome(code, [json.loads(line) for line in out.getvalue().splitlines()], shown.getvalue())
        assert "Traceback" not in outcome.shown
        assert code in (0, 1, 3, 130), outcome.shown
        assert children_of(os.getpid()) == before, "a process was left behind"
        assert not list(self.folder.glob(".gdbflash-*")), "a part of a file was left behind"
        assert (outcome.result["ok"], outcome.result["exit_code"]) == (code == 0, code)
        return outcome

    def prepare(self) -> None:
        """Put the chip, and the files, into the state that every job begins with."""
        self.board.chip.memory[: len(OLD)] = OLD
        # As a debugger leaves it: a run that is cut off cannot take back what it changed there, and counts differ.
        self.board.machine.soc.dbgmcu.words[APB4FZ1] = IWDG1_FROZEN
        (self.folder / "image.bin").write_bytes(IMAGE)
        (self.folder / "back.bin").unlink(missing_ok=True)

    def done(self, job: Job, outcome: Outcome) -> bool:
        """Tell, by looking at the chip itself, whether a job that ended well did what it should; it is counted."""
        return self.tally.compare(job.done(bytes(self.board.chip.memory[: len(OLD)]), self.folder, outcome))

    def strike(self, job: Job, *faults: str, options: Sequence[str] = ()) -> Outcome:
        """Run a job with faults of the board's (LOADER is its file), and once more without; gives the first outcome."""
        injection = parse([each.replace("LOADER", str(LOADER)) for each in faults], _function_of)
        with self.injected_into_board(injection):
            outcome = self.run_first(job, *options)
        struck = [*(each.struck for each in injection.link), *(each.struck for each in injection.mishaps)]
        self.tally.faults += max(1, sum(struck))
        self.recover(job)
        return outcome

    @contextlib.contextmanager
    def injected_into_board(self, injection: Injection) -> Iterator[None]:
        """Let faults happen while the body runs."""
        injection.into_board(self.board.machine, self.board.server.link)
        try:
            yield
        finally:
            Injection().into_board(self.board.machine, self.board.server.link)

    def run_first(self, job: Job, *options: str, observe: Callable[[dict[str, Any]], None] | None = None) -> Outcome:
        """Run a job with whatever is about to go wrong: success is believed only when the chip agrees."""
        self.prepare()
        outcome = self.run(job, *options, observe=observe)
        if outcome.code == 0:
            assert self.done(job, outcome), "wrong bytes passed for good"
        else:
            assert len(outcome.result["error"]["message"]) > 20
            assert not (self.folder / "back.bin").exists(), "a file appeared though reading failed"
        return outcome

    def recover(self, job: Job) -> None:
        """Run a job once more on what is there, with nothing wrong any more; what is unclear to it is answered."""
        before = bytes(self.board.chip.memory)
        again = self.run(job)
        if again.code == 1 and again.result["error"]["kind"] == "kept-unclear":
            assert bytes(self.board.chip.memory) == before, "it said that it touched nothing"
            self.tally.refused += 1
            again = self.run(job, "--kept", "restore")
        else:
            self.tally.went_on += 1
        assert again.code == 0, again.shown
        assert self.done(job, again)
        state = Path(os.environ["GDBFLASH_STATE"])
        assert not left_in(state), "kept bytes were left behind"

    def start_server(self) -> None:
        """Start the board's server anew, after it was killed."""
        server = RspServer(self.board.machine)
        server.start()
        self.board = RunningBoard(self.board.machine, self.board.chip, server)

    def packets(self, job: Job, fault: LinkFault) -> int:
        """Count the packets of a job that a fault of the link could strike."""
        counter = PacketFault(fault, NEVER)
        with self.injected_into_board(Injection(link=[counter])):
            assert self.run_first(job).code == 0
        return counter.met


class _Lines(io.StringIO):
    """Text that is told to somebody line by line."""

    def __init__(self, observe: Callable[[dict[str, Any]], None]) -> None:
        super().__init__()
        self._observe = observe
        self._seen = 0

    def write(self, text: str) -> int:
        written = super().write(text)
        while (end := self.getvalue().find("\n", self._seen)) >= 0:
            line, self._seen = self.getvalue()[self._seen : end], end + 1
            self._observe(json.loads(line))
        return written


def children_of(process: int) -> set[int]:
    """Name the processes whose parent this is."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


@contextlib.contextmanager
def fault_bench(folder: Path, record_property: Callable[[str, object], None]) -> Iterator[FaultBench]:
    """Give a bench whose injected faults are counted for the summary at the end of the test run."""
    with running_board() as board, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GDBFLASH_STATE", str(folder / "state"))
        bench = FaultBench(board, folder)
        try:
            yield bench
        finally:
            bench.board.server.close()
            bench.tally.tell(record_property)
