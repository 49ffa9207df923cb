"""`GdbTarget` for tests that run outside GDB: a GDB that does what it is told over a socket.

`InGdb` is the near end. This file is also what the far end runs, inside GDB: it serves the calls in GDB's own thread.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

_QUIET = "set debuginfod enabled off"
ROOT = Path(__file__).resolve().parents[2]


class PacketLog(list[str]):
    """What GDB has sent since `clear`, in the words of its `debug remote`.

    From its `remotelogfile`: what is logged while a command's output goes into a string never leaves that string.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._seen = 0

    def __iter__(self) -> Iterator[str]:
        said = self._path.read_bytes()[self._seen :].decode("latin-1")
        return iter(re.sub(r"^(?:w )?\+*(?=\$)", "Sending packet: ", line) for line in said.splitlines())

    def clear(self) -> None:
        self._seen = self._path.stat().st_size


class InGdb:
    """A `target.Target` inside a GDB process."""

    def __init__(self, gdb: Path, endpoint: str, attach: Iterable[str] = ()) -> None:
        """Start gdb and connect it; attach: what the server wants before it shows a core."""
        self._folder = tempfile.TemporaryDirectory(prefix="ingdb-")
        folder = Path(self._folder.name)
        self.lines = PacketLog(folder / "packets.log")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "socket"))
            listener.listen()
            listener.settimeout(60)
            self._process = subprocess.Popen(
                [str(gdb), "-nx", "-q", "-iex", _QUIET, "-x", str(ROOT / "gdbinit"), "-x", __file__],
                env={
                    **os.environ,
                    "INGDB_FOLDER": str(folder),
                    "INGDB_ENDPOINT": endpoint,
                    "INGDB_ATTACH": ";".join(attach),
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._socket, _ = listener.accept()
        self._file = self._socket.makefile("rwb")
        self._closed = False
        self._answer()

    def _answer(self) -> Any:
        try:
            answer = pickle.load(self._file)
        except KeyboardInterrupt:
            os.kill(self._process.pid, signal.SIGINT)
            answer = pickle.load(self._file)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _ask(self, method: str, *arguments: object) -> Any:
        pickle.dump((method, arguments), self._file)
        self._file.flush()
        return self._answer()

    @property
    def capabilities(self) -> Any:
        return self._ask("capabilities")

    @property
    def disturbances(self) -> int:
        return int(self._ask("disturbances"))

    def read_memory(self, address: int, size: int) -> bytes:
        return bytes(self._ask("read_memory", address, size))

    def write_memory(self, address: int, data: bytes) -> None:
        self._ask("write_memory", address, data)

    def read_registers(self, names: Iterable[str]) -> dict[str, int]:
        return dict(self._ask("read_registers", list(names)))

    def write_registers(self, values: Mapping[str, int]) -> None:
        self._ask("write_registers", dict(values))

    def run_until(self, address: int, timeout: float, beside: Any = None) -> Any:
        return self._ask("run_until", address, timeout, beside)

    def reset_and_halt(self) -> None:
        self._ask("reset_and_halt")

    def reset_and_run(self, others: Iterable[str] = ()) -> None:
        self._ask("reset_and_run", tuple(others))

    def other_cores(self) -> tuple[Any, ...]:
        return tuple(self._ask("other_cores"))

    def hold_core(self, name: str) -> None:
        self._ask("hold_core", name)

    def let_core_go(self, name: str) -> None:
        self._ask("let_core_go", name)

    def resume(self) -> None:
        self._ask("resume")

    def monitor(self, command: str) -> str:
        return str(self._ask("monitor", command))

    def close(self) -> None:
        """Close the target and kill GDB, which leaves the server without a word."""
        if not self._closed:
            self._closed = True
            # A GDB whose server died may read its broken connection for ever (18.1).
            self._socket.settimeout(20)
            with contextlib.suppress(EOFError, OSError):
                self._ask("close")
            self._process.kill()
            self._process.communicate()
            self._file.close()
            self._socket.close()
            self._folder.cleanup()


def serve() -> None:
    """Do what is asked for, inside GDB, until the near end is gone."""
    import gdb

    from gdbflash.ingdb.connect import connect

    folder = os.environ["INGDB_FOLDER"]
    near = socket.socket(socket.AF_UNIX)
    near.connect(f"{folder}/socket")
    file = near.makefile("rwb")

    def answer(value: object) -> None:
        pickle.dump(value, file)
        file.flush()

    gdb.execute(f"set remotelogfile {folder}/packets.log")
    gdb.execute(f"target extended-remote {os.environ['INGDB_ENDPOINT']}", to_string=True)
    for step in filter(None, os.environ["INGDB_ATTACH"].split(";")):
        gdb.execute(step, to_string=True)
    target = connect()
    answer(None)

    while True:
        try:
            method, arguments = pickle.load(file)
        except EOFError:
            return
        try:
            found = getattr(target, method)
            answer(found(*arguments) if callable(found) else found)
        except BaseException as error:
            answer(error)


if __name__ == "__main__" and "gdb" in sys.modules:
    serve()
