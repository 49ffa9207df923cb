"""Boards side by side, writes that are killed, runs of all kinds after them: no byte changes that no run speaks of."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support.boards import LOADER
from tests.support.campaign import Campaign, Trouble, bad_link, misreading, no_trouble, parts
from tests.support.cbuild import build
from tests.support.faultbench import CAMPAIGN

pytestmark = pytest.mark.timeout(2 * CAMPAIGN)


def fight(
    folder: Path,
    config: pytest.Config,
    record_property: Callable[[str, object], None],
    loaders: Sequence[Path] = (LOADER,),
    trouble: Trouble = no_trouble,
) -> None:
    """8 boards and 20 rounds with --full, else 4 and 2; the seed is printed, and GDBFLASH_SEED repeats it."""
    full = config.getoption("--full")
    seed = int(os.environ.get("GDBFLASH_SEED") or random.SystemRandom().getrandbits(32))
    with pytest.MonkeyPatch.context() as patch, parts(8 if full else 4) as boards:
        patch.setenv("GDBFLASH_STATE", str(folder / "state"))
        patch.chdir(folder)
        campaign = Campaign(boards, loaders, folder, seed, trouble, unit_may_hide=trouble is bad_link)
        try:
            for _ in range(len(boards) * (20 if full else 2)):
                campaign.round()
        finally:
            told = {"seed": seed, **campaign.ends}
            record_property("campaign", ", ".join(f"{what}: {count}" for what, count in told.items()))
            campaign.tally.tell(record_property)


def test_with_one_loader(
    tmp_path: Path, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    fight(tmp_path, pytestconfig, record_property)


def test_with_two_loaders_for_one_chip(
    tmp_path: Path, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    fight(tmp_path, pytestconfig, record_property, (LOADER, build("misbehaving")))


@pytest.mark.full
def test_with_reads_that_move_less_or_something_else(
    tmp_path: Path, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    fight(tmp_path, pytestconfig, record_property, trouble=misreading(LOADER))


@pytest.mark.full
def test_with_a_bad_link(
    tmp_path: Path, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    fight(tmp_path, pytestconfig, record_property, trouble=bad_link)
