"""What every test file may use."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from gdbflash.flash import erase_unit
from tests.support.tally import Tally

FOREIGN = (
    "board/test_flash_openocd.py",
    "board/test_rsp_gdb.py",
    "board/test_stlink_openocd.py",
    "cli",
    "e2e",
    "ingdb",
    "integrations/test_labgrid.py",
    "mi/test_client.py",
    "mi/test_find_gdb.py",
    "mi/test_openocd.py",
    "mi/test_personalities.py",
    "mi/test_servers.py",
    "servers/test_contract.py",
    "servers/test_launch.py",
    "servers/test_tcl_openocd.py",
    "unit/test_digest_code.py",
    "unit/test_phases.py",
    "unit/test_workarea.py",
)
"""Folders and files whose tests talk to foreign programs: GDB, OpenOCD, QEMU, a terminal."""

# Where the tests themselves run under nohup or in a script's background, what they start would ignore these.
if hang_up := getattr(signal, "SIGHUP", None):
    signal.signal(hang_up, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

# Where the environment forbids compiled files, each of the hundreds of processes that are started compiles all anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long an example takes depends on what else the machine does.
settings.register_profile("gdbflash", deadline=None)
settings.load_profile("gdbflash")


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept bytes and locks of a test are no other's: virtual boards in its process all have the same unique ID."""
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path_factory.getbasetemp() / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))


@pytest.fixture(autouse=True)
def _erase_unit_proven(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within this process loaders are known to erase no more than they say: tests of that make the proof."""
    if request.node.get_closest_marker("erase_proof") is None:
        proven = erase_unit.Known(proven=("one", "several"))
        monkeypatch.setattr(erase_unit, "known", lambda _origin: proven)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --full."""
    parser.addoption("--full", action="store_true", help="run the long campaigns too")


def pytest_configure(config: pytest.Config) -> None:
    """Tell of our markers."""
    config.addinivalue_line("markers", "full: a long campaign, run with --full only")
    config.addinivalue_line("markers", "erase_proof: the proof of the erase unit is made, as for a loader never used")
    config.addinivalue_line("markers", "foreign: talks to foreign programs; --reruns is for these alone")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what talks to foreign programs, and leave the long campaigns out unless they were asked for."""
    here = Path(__file__).parent
    for item in items:
        place = item.path.relative_to(here)
        if any(place.is_relative_to(each) for each in FOREIGN):
            item.add_marker("foreign")
        else:
            item.add_marker(pytest.mark.flaky(reruns=0))  # goes before --reruns
    if config.getoption("--full"):
        return
    long = [item for item in items if item.get_closest_marker("full")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Say last what was rerun, how many faults were injected, and what came of the runs compared with the chip."""
    yield
    told: Counter[str] = Counter()
    # The last one of a test that was rerun has the properties of all its attempts.
    last = {report.nodeid: report for report in terminalreporter.stats.get("", []) if report.when == "teardown"}
    for report in last.values():
        for name, value in report.user_properties:
            if name == "campaign":
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {value}")
            elif name in Tally.__dataclass_fields__:
                told[name] += int(value)
    if told["faults"]:
        terminalreporter.write_line(
            f"faults injected: {told['faults']}; runs that ended well, compared: {told['compared']}, "
            f"wrong bytes accepted: {told['wrong']}; "
            f"runs after a fault: {told['went_on']} went on, {told['refused']} refused and said"
        )
    rerun = Counter(report.nodeid for report in terminalreporter.stats.get("rerun", []))
    for name, times in sorted(rerun.items()):
        terminalreporter.write_line(f"rerun {times} time{'s' if times > 1 else ''}: {name}")
