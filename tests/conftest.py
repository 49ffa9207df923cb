"""What every test file may use."""

from __future__ import annotations

import signal
from collections import Counter

import pytest
from hypothesis import settings

from gdbflash.flash import erase_unit

# Where the tests themselves run under nohup or in a script's background, what they start would ignore these.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes depends on what else the machine does.
settings.register_profile("gdbflash", deadline=None)
settings.load_profile("gdbflash")


@pytest.fixture(autouse=True)
def _state_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept bytes and locks of a test are no other's: virtual boards in its process all have the same unique ID."""
    monkeypatch.setenv("GDBFLASH_STATE", str(tmp_path_factory.getbasetemp() / "state"))


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
    """Tell of our marker."""
    config.addinivalue_line("markers", "full: a long campaign, run with --full only")
    config.addinivalue_line("markers", "erase_proof: the proof of the erase unit is made, as for a loader never used")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long campaigns out unless they were asked for."""
    if config.getoption("--full"):
        return
    long = [item for item in items if item.get_closest_marker("full")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many faults were injected, and what came of the runs that were compared with the chip."""
    told: Counter[str] = Counter()
    for report in terminalreporter.stats.get("", []):
        for name, value in report.user_properties if report.when == "teardown" else ():
            if name == "campaign":
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {value}")
            elif name in ("faults", "compared", "wrong", "went_on", "refused"):
                told[name] += int(value)
    if told["faults"]:
        terminalreporter.write_line(
            f"faults injected: {told['faults']}; runs that ended well, compared: {told['compared']}, "
            f"wrong bytes accepted: {told['wrong']}; "
            f"runs after a fault: {told['went_on']} went on, {told['refused']} refused and said"
        )
