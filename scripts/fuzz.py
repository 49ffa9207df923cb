"""Fuzz what reads bytes from outside, with atheris (libFuzzer for Python).

Each target runs in a process of its own for its share of the time. A crash is whatever is raised that is not the
error which the function documents, an answer that breaks a rule stated below, or one that takes ten seconds.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))
HANG_SECONDS = 10
MEMORY_MIB = 2048

One = Callable[[bytes], None]


def fuzz_elf() -> tuple[One, list[bytes]]:
    """Loaders: parse_loader raises LoaderFileError or gives a loader whose parts are where they can be."""
    from gdbflash.errors import LoaderFileError
    from gdbflash.loaders.stldr import describe, parse_loader
    from tests.support import stldr

    def one(data: bytes) -> None:
        try:
            loader = parse_loader(data, "a.stldr")
        except LoaderFileError:
            return
        json.dumps(describe(loader))
        assert "Init" in loader.functions
        assert all(0 <= each.address <= each.address + each.memory_size <= 1 << 32 for each in loader.load_segments)
        assert sum(each.memory_size for each in loader.load_segments) <= 16 << 20
        assert loader.storage.name.isprintable()
        assert 0 < loader.storage.extent <= (1 << 32) - loader.storage.address
        loader.symbol_at(loader.link_address)

    shapes = [stldr.stldr(stldr.shape(toolchain=each)) for each in ("gnu", "keil", "iar")]
    shipped = [path.read_bytes() for path in sorted((TOP / "gdbflash" / "board" / "data").glob("*.stldr"))]
    return one, [*shapes, stldr.stldr(stldr.shape(info_address=0x24000F00, hidden=True)), *shipped]


def fuzz_image() -> tuple[One, list[bytes]]:
    """Firmware files: parse_image raises ImageFileError or gives pieces in order and apart."""
    import bincopy

    from gdbflash.errors import ImageFileError
    from gdbflash.images.formats import parse_image
    from tests.support import stldr

    def one(data: bytes) -> None:
        for address in (None, 0x90000000):
            try:
                image = parse_image(data, "a.img", address)
            except ImageFileError:
                continue
            ends = [0, *(address + len(piece) for address, piece in image.pieces)]
            assert all(end <= start < after for end, start, after in zip(ends, image.starts, ends[1:], strict=False))
            assert ends[-1] <= 1 << 32

    file = bincopy.BinFile()
    file.add_binary(bytes(range(100)), 0x9000FFC0)
    file.add_binary(b"tail", 0x90020000)
    return one, [file.as_ihex().encode(), file.as_srec().encode(), stldr.stldr(), b"binary"]


def fuzz_rsp() -> tuple[One, list[bytes]]:
    """RSP packets that reach the board: any stream is cut into packets, and each has an answer that can be framed."""
    from gdbflash.board.debug import HaltReason
    from gdbflash.board.faces.packets import PacketReader, frame, packet_kind
    from gdbflash.board.faces.personality import PERSONALITIES
    from gdbflash.board.faces.rspsession import Session
    from tests.support.rsp_double import RamBoard

    personalities = list(PERSONALITIES.values())

    class Halting(RamBoard):
        """A core that halts whenever it is let run, or a client would wait for ever, as it should."""

        def stop(self, reason: HaltReason | None) -> None:
            super().stop(reason or HaltReason.BREAKPOINT)

    class Wire:
        """A link that takes all and knows of no interrupt."""

        no_ack = False

        def interrupted(self) -> bool:
            return False

        def send(self, payload: bytes) -> None:
            assert b"#" not in payload
            assert b"$" not in payload

    def one(data: bytes) -> None:
        personality = personalities[data[0] % len(personalities) if data else 0]
        session = Session(Halting(), Wire(), personality)  # type: ignore[arg-type]
        reader = PacketReader()
        # As it came, and once more with each line in a sound frame: few inputs have sound checksums.
        framed = b"".join(frame(line) for line in data[1:].split(b"\n"))
        for stream in (data[1:], framed):
            for event in reader.feed(stream):
                if isinstance(event, bytes):
                    packet_kind(event)
                    answer = session.answer(event)
                    assert answer is None or (b"#" not in answer and b"$" not in answer)

    packets = [
        b"qSupported:swbreak+;hwbreak+;vContSupported+",
        b"QStartNoAckMode",
        b"qXfer:features:read:target.xml:0,ffb",
        b"g",
        b"p0",
        b"P0=78563412",
        b"G" + b"00" * 68,
        b"m24000000,40",
        b"x24000000,40",
        b"M24000000,2:beef",
        b"X24000000,2:}]*",
        b"Z0,24000100,2",
        b"z0,24000100,2",
        b"Z2,24000100,4",
        b"vCont;c:1",
        b"vCont?",
        b"s",
        b"qCRC:24000000,100",
        b"qRcmd,72657365742068616c74",
        b"vFlashErase:08000000,20000",
        b"vFlashWrite:08000000:abc",
        b"vFlashDone",
        b"vAttach;1",
        b"D;1",
        b"k",
    ]
    every = b"\n".join(packets)
    return one, [bytes([index]) + every for index in range(len(personalities))] + [b"\0" + each for each in packets]


def fuzz_mi() -> tuple[One, list[bytes]]:
    """MI records: any line is a record or is called no record, and what is read out of one is sound or refused."""
    from gdbflash.mi.client import parse_record
    from gdbflash.mi.values import instructions_in, memory_in, pc_in, registers_in

    kinds = {"result", "notify", "console", "log", "target", "prompt", "output"}

    def one(data: bytes) -> None:
        record = parse_record(data.decode("utf-8", "replace"))
        assert record.kind in kinds
        registers_in(record.payload)
        instructions_in(record.payload)
        memory_in(record.payload, 0x24000000)
        pc_in(record.payload)

    return one, [
        b'1^done,register-values=[{number="0",value="0xc"},{number="15",value="0x24000004"}]',
        b'2^done,memory=[{begin="0x24000000",offset="0x00000000",end="0x24000002",contents="beef"}]',
        b'3^done,asm_insns=[{address="0x24000004",func-name="f",offset="0",inst="movs\\tr0, #1"}]',
        b'*stopped,reason="breakpoint-hit",disp="keep",bkptno="1",frame={addr="0x4",func="??",args=[]},thread-id="1"',
        b'4^error,msg="Cannot access memory at address 0xa0000000"',
        b'=thread-group-exited,id="i1"',
        b'~"a\\n\\"b\\"\\t\\303\\251"',
        b'&"[remote] Packet received: OK\\n"',
        b"(gdb) ",
    ]


TARGETS: dict[str, Callable[[], tuple[One, list[bytes]]]] = {
    "elf": fuzz_elf,
    "image": fuzz_image,
    "rsp": fuzz_rsp,
    "mi": fuzz_mi,
}


def run_target(name: str, seconds: int, folder: Path) -> None:
    """Fuzz one target in this process, which atheris ends."""
    import atheris

    with atheris.instrument_imports(include=["gdbflash", "elftools", "pygdbmi", "bincopy"]):
        one, seeds = TARGETS[name]()
    corpus = folder / "corpus"
    corpus.mkdir()
    for index, seed in enumerate(seeds):
        (corpus / f"seed-{index}").write_bytes(seed)
    options = ["-print_final_stats=1", f"-max_total_time={seconds}", f"-timeout={HANG_SECONDS}"]
    options += [f"-rss_limit_mb={MEMORY_MIB}", f"-artifact_prefix={folder}/", "-max_len=8192", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


def supervise(name: str, seconds: int, folder: Path) -> tuple[int, list[Path], str]:
    """Fuzz one target in a process of its own; gives inputs run, files of crashes, and what it said."""
    folder.mkdir()
    words = [sys.executable, __file__, "--seconds", str(seconds), "--inside", str(folder), name]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    said = done.stdout + done.stderr
    counted = re.search(r"number_of_executed_units:\s*(\d+)", said)
    crashes = sorted(path for path in folder.iterdir() if path.is_file())
    if counted is None or (done.returncode != 0 and not crashes):
        sys.exit(f"{name} did not run (status {done.returncode}):\n{said[-4000:]}")
    return int(counted[1]), crashes, said


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Run the targets, print the table, and return 1 when anything crashed."""
    parser = argparse.ArgumentParser(description="Fuzz the parsers for a bounded time.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default all)")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        sys.exit("scripts/fuzz needs atheris, which exists for CPython 3.10 to 3.13 on Linux.")
    names = words.targets or list(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"there is no target {unknown[0]}; choose of {', '.join(TARGETS)}")
    if words.inside:
        run_target(names[0], words.seconds, words.inside)
    folder = Path(tempfile.mkdtemp(prefix="gdbflash-fuzz-"))
    say(f"{'target':8} {'inputs':>12} {'crashes':>8}")
    total = crashed = 0
    for name in names:
        inputs, crashes, said = supervise(name, words.seconds, folder / name)
        say(f"{name:8} {inputs:12,} {len(crashes):8}")
        total, crashed = total + inputs, crashed + len(crashes)
        for path in crashes:
            say(f"  {path}\n{said[-3000:]}")
    say(f"{'all':8} {total:12,} {crashed:8}")
    if not crashed:
        shutil.rmtree(folder)
    return 1 if crashed else 0


if __name__ == "__main__":
    sys.exit(main())
