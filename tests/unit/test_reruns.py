"""Only tests that talk to foreign programs are tried again, and the run says which were."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import FOREIGN
from tests.support.cbuild import ROOT

FLAKY = """\
from pathlib import Path

def test_that_fails_the_first_time(record_property):
    record_property("faults", 1)
    record_property("compared", 2)
    mark = Path(__file__).with_suffix(".ran")
    before = mark.exists()
    mark.touch()
    assert before
"""


def test_what_is_named_is_there() -> None:
    assert [each for each in FOREIGN if not (ROOT / "tests" / each).exists()] == []


def test_only_what_is_foreign_is_rerun_and_it_is_said_last(tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    for folder in ("e2e", "unit"):
        (tests / folder).mkdir(parents=True)
        (tests / folder / f"test_{folder}.py").write_text(FLAKY)
    shutil.copy(ROOT / "tests" / "conftest.py", tests)
    (tmp_path / "pytest.ini").touch()
    words = [sys.executable, "-m", "pytest", "--reruns", "2", "-ra", "-n", "1", "-p", "no:cacheprovider", str(tests)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert done.returncode == 1, done.stdout
    assert "FAILED tests/unit/test_unit.py::test_that_fails_the_first_time" in done.stdout
    *_, faults, rerun, counts = lines
    assert rerun == "rerun 1 time: tests/e2e/test_e2e.py::test_that_fails_the_first_time"
    assert faults.startswith("faults injected: 3; runs that ended well, compared: 6, wrong bytes accepted: 0;"), faults
    assert "1 failed, 1 passed, 1 rerun" in counts
