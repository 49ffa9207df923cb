"""A campaign: boards side by side, writes that are killed at random, and runs of all kinds after them.

`Campaign.round` is one round; each run is judged by `oracle`. All that is random comes from one seed.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gdbflash.board.cpu.processor import Processor
from gdbflash.board.debug import HaltReason
from gdbflash.board.faces.rsp import RspServer
from gdbflash.board.machine import Machine
from gdbflash.board.memory import AddressSpace
from gdbflash.board.mishaps.link import LinkFault, PacketFault
from gdbflash.board.mishaps.occasion import Occasion
from gdbflash.board.mishaps.places import Mishap
from gdbflash.cli.main import main
from gdbflash.loaders.stldr import load_loader
from gdbflash.ranges import Range
from tests.support.boards import RunningBoard
from tests.support.faultbench import AtPacket, children_of
from tests.support.oracle import FLASH, Asked, Ended, Kept, Seen, judge
from tests.support.tally import Tally

KIB = 1024
SECTOR = 64 * KIB
"""What is planned in here; a loader may have smaller sectors."""
SECTORS = 8
AREA = SECTORS * SECTOR


@dataclass(frozen=True)
class Part:
    """A board of the campaign; unit empty: it tells no ID."""

    board: RunningBoard
    unit: str

    @property
    def area(self) -> memoryview:
        return self.board.chip.memory[:AREA]

    def seen(self) -> Seen:
        return Seen(self.unit, bytes(self.area))


Trouble = Callable[[random.Random, RunningBoard], contextlib.AbstractContextManager[None]]
"""Lets something go wrong with a board while a run goes on."""


@contextlib.contextmanager
def no_trouble(_rng: random.Random, _board: RunningBoard) -> Iterator[None]:
    yield


@dataclass(frozen=True)
class Misread:
    """A Read that moves only a part of what it is asked for, or what lies elsewhere, and says that all is well."""

    share: float = 1.0
    offset: int = 0

    def happen(self, processor: Processor, space: AddressSpace) -> HaltReason | None:  # noqa: ARG002
        registers = processor.registers
        registers.write("r0", registers.read("r0") + self.offset)
        registers.write("r1", int(registers.read("r1") * self.share))
        return processor.pass_trap()


def misreading(loader: Path) -> Trouble:
    """Let a loader's Read go wrong in most runs: once, or move too little from some call on."""
    read = load_loader(loader).functions["Read"] & ~1

    @contextlib.contextmanager
    def trouble(rng: random.Random, board: RunningBoard) -> Iterator[None]:
        short = rng.random() < 0.6
        event = Misread(rng.choice((0.0, 0.5, 0.9)), 0) if short else Misread(1.0, rng.choice((4, SECTOR)))
        first = rng.randint(1, 6)
        # A Read that gives other places' bytes each time alike is a memory that nobody can tell from the real one.
        occasion = Occasion(first, rng.choice((first, None)) if short else first)
        board.machine.plan_mishaps([Mishap(read, event, occasion)] if rng.random() < 0.7 else [])
        yield
        board.machine.plan_mishaps([])

    return trouble


@contextlib.contextmanager
def bad_link(rng: random.Random, board: RunningBoard) -> Iterator[None]:
    """Let some packets of most runs be lost, refused, changed, or said to be done and not."""
    kinds = (LinkFault.CORRUPT, LinkFault.CORRUPT, LinkFault.ERROR, LinkFault.LATE, LinkFault.DROP)
    faults = [PacketFault(rng.choice(kinds), Occasion(at, at)) for at in rng.sample(range(1, 160), rng.randint(0, 2))]
    board.server.link.faults = faults
    yield
    board.server.link.faults = []


@contextlib.contextmanager
def parts(count: int) -> Iterator[tuple[Part, ...]]:
    """Run boards; one in four tells no ID."""
    with contextlib.ExitStack() as stack:
        found = []
        for number in range(count):
            unit = bytes(12) if number % 4 == 3 else bytes([number + 1, *range(11)])
            machine = stack.enter_context(Machine(unit=unit))
            server = stack.enter_context(RspServer(machine))
            found.append(Part(RunningBoard(machine, machine.flash, server), unit.hex() if any(unit) else ""))
        yield tuple(found)


@dataclass
class Campaign:
    """Boards, loaders for their chip, and what happens to them."""

    parts: Sequence[Part]
    loaders: Sequence[Path]
    folder: Path
    seed: int
    trouble: Trouble = no_trouble
    unit_may_hide: bool = False
    """Whether the trouble may change the ID that is read of a unit."""
    tally: Tally = field(default_factory=Tally)
    """Here runs of any end are wrong that did what they did not say."""
    ends: Counter[str] = field(default_factory=Counter)
    """How runs ended."""
    rng: random.Random = field(init=False)
    _packets: int = 150
    """What a write takes, as far as it is known."""
    _history: list[str] = field(default_factory=list)
    _shas: dict[Path, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self._shas = {each: load_loader(each).sha256 for each in self.loaders}
        self.sector = load_loader(self.loaders[0]).storage.all_sectors[0].size
        for part in self.parts:
            part.area[:] = self._content(AREA)

    def round(self) -> None:
        """Cut a write of some bytes off, and let two runs of any kind follow, each on any board, mostly on that one."""
        part = self.rng.choice(self.parts)
        asked = self._write(self._loader())
        self.run(part, asked, killed=True)
        for _ in range(2):
            if self.rng.random() < 0.25:
                part = self.rng.choice(self.parts)
            if self.rng.random() < 0.2:
                self._another_tool(part)
            again = self.rng.random() < 0.35
            self.run(part, asked if again else self._anything(part, asked), killed=self.rng.random() < 0.2)

    # What a run may be

    def _loader(self) -> Path:
        return self.rng.choice(self.loaders)

    def _content(self, size: int) -> bytes:
        """Make up bytes: mostly random, blank in places."""
        data = bytearray(self.rng.randbytes(size))
        for _ in range(self.rng.randrange(3)):
            start = self.rng.randrange(size)
            end = min(size, start + self.rng.randrange(1, size + 1))
            data[start:end] = b"\xff" * (end - start)
        return bytes(data)

    def _write(self, loader: Path, *options: str, near: Range | None = None) -> Asked:
        """Make up a write of a part of some sectors."""
        size = self.rng.choice((1, 300, 5000, 40_000, 100_000, 150_000))
        size = self.rng.randint(1, size)
        low, high = (near.address - SECTOR, near.end + SECTOR) if near else (0, AREA)
        start = self.rng.randrange(max(0, low), max(max(0, low) + 1, min(high, AREA) - size))
        start = min(start, AREA - size)
        image = self.folder / f"image-{self.rng.getrandbits(40):010x}.bin"
        data = self._content(size)
        image.write_bytes(data)
        where = Range(start, size)
        own = self._around(where) if "--no-keep" in options else where
        kept = options[options.index("--kept") + 1] if "--kept" in options else "ask"
        words = ("write", f"{image}@{FLASH + start:#x}", *options, "-l", str(loader))
        return Asked(words, self._shas[loader], (own,), ((start, data),), (self._around(where),), kept)

    def _around(self, where: Range) -> Range:
        """Give the sectors of a place."""
        start = where.address // self.sector * self.sector
        return Range(start, -(-where.end // self.sector) * self.sector - start)

    def _anything(self, part: Part, before: Asked) -> Asked:
        """Make up a run, often about the same place as the one before."""
        near = before.own[0] if before.own and self.rng.random() < 0.7 else None
        kinds: tuple[Callable[[], Asked], ...] = (
            lambda: self._write(self._loader(), near=near),
            lambda: self._write(self._loader(), near=near),
            lambda: self._write(self._loader(), "--kept", "restore", near=near),
            lambda: self._write(self._loader(), "--kept", "discard", near=near),
            lambda: self._write(self._loader(), "--kept", "leave", near=near),
            lambda: self._write(self._loader(), "--no-keep", near=near),
            lambda: self._write(self._loader(), "--full", near=near),
            lambda: self._write(self._loader(), "--erase", "none", near=near),
            lambda: self._write(self._loader(), "--verify", "readback", near=near),
            lambda: self._erase(self._loader(), near),
            lambda: self._look(part),
            lambda: self._kept(part),
            lambda: self._raw_erase(self._loader(), near),
        )
        return self.rng.choice(kinds)()

    def _erase(self, loader: Path, near: Range | None) -> Asked:
        where = self._around(near or Range(self.rng.randrange(AREA), 1))
        words = ("erase", hex(FLASH + where.address), hex(where.size), "-l", str(loader))
        return Asked(words, self._shas[loader], (where,), ((where.address, b"\xff" * where.size),), (where,))

    def _raw_erase(self, loader: Path, near: Range | None) -> Asked:
        where = self._around(near or Range(self.rng.randrange(AREA), 1))
        last = FLASH + where.end - 1
        words = ("call", "SectorErase", hex(FLASH + where.address), hex(last), "-l", str(loader))
        return Asked(words, self._shas[loader], (where,), ((where.address, b"\xff" * where.size),), (where,))

    def _look(self, part: Part) -> Asked:
        loader, start = self._loader(), self.rng.randrange(AREA - 5000)
        back, some = self.folder / "back.bin", self.folder / "some.bin"
        some.write_bytes(bytes(part.area[start : start + 5000]))
        place = (hex(FLASH + start), "5000")
        words: tuple[tuple[str, ...], ...] = (
            ("read", *place, "-o", str(back)),
            ("verify", f"{some}@{FLASH + start:#x}"),
            ("checksum", *place),
            ("blank-check", *place),
        )
        return Asked((*self.rng.choice(words), "-l", str(loader)), self._shas[loader])

    def _kept(self, part: Part) -> Asked:
        """Put back or give up a file of this unit, or list all."""
        files = [each for each in part.seen().files if each.unit == part.unit]
        if not files:
            return Asked(("kept", "list"), "")
        file = self.rng.choice(files)
        if self.rng.random() < 0.5:
            return Asked(("kept", "discard", str(file.path)), "", discards=file.path)
        loader = next(each for each in self.loaders if self._shas[each] == file.loader)
        own, wanted = _places(file)
        words = ("kept", "restore", str(file.path), "-l", str(loader))
        about = tuple(self._around(each) for each in own)
        return Asked(words, file.loader, own, wanted, about, discards=file.path)

    def _another_tool(self, part: Part) -> None:
        """Let somebody else write to the chip, who knows nothing of us."""
        start, size = self.rng.randrange(SECTORS) * SECTOR, self.rng.choice((1, 5000, SECTOR))
        place = part.area[start : start + size]
        how = self.rng.choice(("program", "erase", "write"))
        data = self._content(size)
        old = bytes(place)
        place[:] = {
            "program": bytes(a & b for a, b in zip(old, data, strict=True)),
            "erase": b"\xff" * size,
            "write": data,
        }[how]
        self._history.append(f"another tool: {how} {size} bytes at {FLASH + start:#x} of {part.unit or 'no unit'}")

    # Runs, and what comes of them

    def run(self, part: Part, asked: Asked, *, killed: bool = False) -> Ended:
        """Let a run go its way, or kill it at some packet, and have it judged."""
        before = part.seen()
        self._history.append(f"{part.unit or 'no unit'} at {part.board.endpoint}: {' '.join(asked.words)}")
        reach = () if asked.words[0] == "kept" and asked.words[1] != "restore" else ("--connect", part.board.endpoint)
        words = ["--json", *asked.words, *reach]
        with self.trouble(self.rng, part.board):
            ended = self._cut_off(part, words) if killed else _whole(words)
        after = part.seen()
        self.ends[_in_a_word(ended)] += 1
        self.tally.faults += ended.code is None
        if ended.said("recovered"):
            self.ends["put back"] += 1
        error = ended.events[-1].get("error", {}) if ended.events else {}
        self._history[-1] += f" -> {ended.code} {error.get('kind', '')} {error.get('message', '')}"
        faults = judge(asked, ended, before, after, unit_may_hide=self.unit_may_hide)
        self.tally.compared += ended.code == 0
        self.tally.wrong += bool(faults)
        assert not faults, "\n".join((*faults, f"seed {self.seed}", *self._history[-12:]))
        return ended

    def _cut_off(self, part: Part, words: Sequence[str]) -> Ended:
        # Mostly after the first erase, which comes when a good half of the packets are through.
        share = self.rng.uniform(0.55, 1.05) if self.rng.random() < 0.8 else self.rng.uniform(0.1, 0.55)
        number = int(self._packets * share)
        all_of_it = self.rng.random() < 0.3
        process = subprocess.Popen(
            [sys.executable, "-m", "gdbflash", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

        def kill() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL) if all_of_it else process.kill()

        link = part.board.server.link
        cut = AtPacket(number, kill)
        faults: list[PacketFault] = list(link.faults)
        link.faults = [*faults, cut]
        children: set[int] = set()
        with process:
            while process.poll() is None:
                children |= children_of(process.pid)
                time.sleep(0.005)
            out = process.stdout.read() if process.stdout else ""
        link.faults = faults
        if process.returncode >= 0:
            self._packets = max(50, (self._packets + cut.met) // 2)
        _wait_for_the_end(children)
        lines = out.splitlines()
        events = [json.loads(line) for line in lines if line.endswith("}")]
        return Ended(None if process.returncode < 0 else process.returncode, events)


def _in_a_word(ended: Ended) -> str:
    if ended.code is None:
        return "killed"
    return "refused and said" if ended.refused else f"exit code {ended.code}"


def _places(file: Kept) -> tuple[tuple[Range, ...], tuple[tuple[int, bytes], ...]]:
    from gdbflash.flash.kept_files import read

    pieces = [(at - FLASH, bytes(data)) for at, data in read(file.path).content.pieces]
    return tuple(Range(at, len(data)) for at, data in pieces), tuple(pieces)


def _whole(words: Sequence[str]) -> Ended:
    out, shown = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(shown):
        code = main([*words])
    assert "Traceback" not in shown.getvalue(), shown.getvalue()
    assert code in (0, 1, 2, 3), shown.getvalue()
    return Ended(code, [json.loads(line) for line in out.getvalue().splitlines()])


def _wait_for_the_end(processes: set[int]) -> None:
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{each}").exists() for each in processes):
        assert time.monotonic() < deadline, "gdb outlived its run"
        time.sleep(0.01)
