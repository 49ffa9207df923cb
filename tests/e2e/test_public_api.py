"""The manual's scripts run as they stand there, on the virtual board, with a GDB of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import gdbflash
from tests.support.boards import LOADER, running_board

MANUAL = (Path(gdbflash.__file__).parent / "manual" / "python.md").read_text("utf-8")


def script(endpoint: str) -> str:
    """Take the manual's script, with the board's place in it."""
    (found,) = re.findall(r"```python\n(import gdbflash\n.*?)```", MANUAL, re.DOTALL)
    assert found.count("127.0.0.1:3333") == 1
    return str(found).replace("127.0.0.1:3333", endpoint)


def test_a_production_line(tmp_path: Path) -> None:
    (tmp_path / "MyBoard_QSPI.stldr").write_bytes(LOADER.read_bytes())
    (tmp_path / "app.bin").write_bytes(bytes(range(256)) * 5)
    with running_board() as board:
        done = subprocess.run(
            [sys.executable, "-c", script(board.endpoint)],
            cwd=tmp_path,
            input="first\nsecond\n\n",
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": str(Path(__file__).parents[2]), "GDBFLASH_STATE": str(tmp_path / "state")},
            timeout=60,
        )
        assert bytes(board.chip.memory[:1280]) == bytes(range(256)) * 5
    first, second = re.findall(r"label of the next board: (.*)\n", done.stdout)
    assert first == "first: 1280 bytes written and verified, 0 sectors erased"
    assert second == "second: 1280 bytes already there, 0 bytes written and verified, 0 sectors erased"
    assert done.stderr == ""


def test_a_serial_number_for_each_unit(tmp_path: Path) -> None:
    """The script of the chapter on lines: a number that was given to a board that failed is not given again."""
    (text,) = re.findall(
        r"```python\n(.*?)```", (Path(gdbflash.__file__).parent / "manual" / "boards.md").read_text(), re.S
    )
    (tmp_path / "MyBoard_QSPI.stldr").write_bytes(LOADER.read_bytes())
    (tmp_path / "app.bin").write_bytes(b"app")
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "GDBFLASH_STATE": str(tmp_path / "state"),
    }
    with running_board() as board:
        codes = [
            subprocess.run([sys.executable, "-c", text, place], cwd=tmp_path, env=environment, timeout=60).returncode
            for place in ("127.0.0.1:1", board.endpoint)
        ]
        assert bytes(board.chip.memory[0xFF000:0xFF008]) == b"SN01\x02\0\0\0"
    records = [json.loads(line) for line in (tmp_path / "units.jsonl").read_text().splitlines()]
    assert [each["serial"] for each in records] == [1, 2]
    assert codes == [each["exit_code"] for each in records] == [3, 0]
    assert records[1]["unit"] == "330041000a51353038393634"


def test_what_goes_wrong_is_an_error_of_the_package(tmp_path: Path) -> None:
    (tmp_path / "MyBoard_QSPI.stldr").write_bytes(LOADER.read_bytes())
    (tmp_path / "app.bin").write_bytes(b"some bytes")
    done = subprocess.run(
        [sys.executable, "-c", script("127.0.0.1:1")],
        cwd=tmp_path,
        input="only\n\n",
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=60,
    )
    assert re.search(r"only: FAILED\. .*127\.0\.0\.1:1.*\n", done.stdout)


def test_a_caller_may_end_a_run_between_two_calls() -> None:
    loader = gdbflash.load_loader(LOADER)
    with running_board() as board, gdbflash.connect(board.endpoint, "board") as target:
        asked: list[int] = []

        def enough() -> bool:
            asked.append(board.machine.quadspi_accesses)
            return len(asked) > 3

        stopped = False
        try:
            with gdbflash.Flasher(target, gdbflash.RunOptions(after=gdbflash.After.HALT), cancelled=enough) as flasher:
                flasher.read(loader, loader.storage.span, lambda _: None)
        except gdbflash.Interrupted:
            stopped = True
        assert stopped
        assert board.machine.halted is not None
