"""What `scripts/fuzz` feeds: its targets take their own seeds, and some damage, without atheris."""

from __future__ import annotations

import importlib.util
import random
from types import ModuleType

import pytest

from tests.support.cbuild import ROOT


def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", ROOT / "scripts" / "fuzz.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["elf", "image", "rsp", "mi"])
def test_a_target_takes_its_seeds_whole_and_damaged(name: str) -> None:
    targets = fuzz().TARGETS
    assert sorted(targets) == ["elf", "image", "mi", "rsp"]
    one, seeds = targets[name]()
    chance = random.Random(5)
    assert len(seeds) >= 4
    for seed in seeds:
        one(seed)
        for _ in range(20):
            data = bytearray(seed)
            for _ in range(chance.randint(1, 4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            one(bytes(data[: chance.choice((len(data), chance.randrange(len(data))))]))
