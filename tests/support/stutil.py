"""st-util for tests: the real one, on a free port, over a libusb that carries a virtual ST-LINK's commands."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.cbuild import ROOT, WARNINGS, ZIG, run_compiler

SOURCE = Path(__file__).with_name("libusb_over_tcp.c")
CACHE = ROOT / ".pytest_cache" / "libusb"
_FLAGS = ("-std=gnu11", "-O1", "-shared", "-fPIC", "-Wl,-soname,libusb-1.0.so.0", *WARNINGS)
_START_TIMEOUT_S = 20


class StUtilFailed(Exception):
    """st-util ended before it listened; the message is its log."""


@dataclass(frozen=True)
class StUtil:
    """A running st-util."""

    gdb_port: int
    log_file: Path
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self.log_file.read_text(errors="replace")


def program() -> str:
    """Find st-util: the one that ST_UTIL names, or that of the distribution; a missing one is no reason to skip."""
    found = os.environ.get("ST_UTIL") or shutil.which("st-util")
    assert found, "st-util is not installed; scripts/test installs what the tests need"
    return found


def environment(stlink_port: int) -> dict[str, str]:
    """Give the variables that let st-util find the virtual ST-LINK at that port."""
    return {**os.environ, "LD_LIBRARY_PATH": str(build_libusb().parent), "STLINK_PORT": str(stlink_port)}


def build_libusb() -> Path:
    """Build the stand-in for libusb in a folder of its own; raises CompilerFailed."""
    digest = hashlib.sha256("\0".join(_FLAGS).encode() + SOURCE.read_bytes()).hexdigest()[:20]
    target = CACHE / digest / "libusb-1.0.so.0"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            made = Path(scratch) / target.name
            run_compiler([*ZIG, "cc", *_FLAGS, str(SOURCE), "-o", str(made)])
            made.replace(target)
    return target


@contextmanager
def running_st_util(stlink_port: int, gdb_port: int, *arguments: str) -> Iterator[StUtil]:
    """Run st-util over the ST-LINK server at stlink_port, for one client after the other; raises StUtilFailed."""
    with tempfile.TemporaryDirectory() as directory:
        log_file = Path(directory, "st-util.log")
        with (
            log_file.open("wb") as log,
            subprocess.Popen(
                [program(), "--multi", "-p", str(gdb_port), *arguments],
                env=environment(stlink_port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            running = StUtil(gdb_port, log_file, process)
            try:
                _wait_until_listening(running)
                yield running
            finally:
                process.kill()  # on a signal that it heeds, it lets the core run first


def _wait_until_listening(running: StUtil) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not re.search(r"Listening at \S*:\d+", running.log):
        if running.process.poll() is not None or time.monotonic() > deadline:
            raise StUtilFailed(running.log)
        time.sleep(0.01)
