"""Loaders that parse and lie: whatever StorageInfo says, what is planned with it is bounded and within the storage."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from gdbflash.commands.words import whole_range
from gdbflash.errors import InputError, PlanError
from gdbflash.images.formats import parse_image
from gdbflash.loaders.stldr import parse_loader
from gdbflash.onchip.plan_layout import plan_layout
from gdbflash.plan.jobs import EraseMode, plan_erase, plan_write
from gdbflash.ranges import Range
from tests.support import stldr
from tests.support.commandline import CommandLine

EDGES = st.sampled_from([0, 1, 2, 255, 256, 4096, 65536, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
NUMBERS = EDGES | st.integers(0, (1 << 32) - 1)
SMALL = st.sampled_from([1, 2, 3, 16, 255, 256, 257, 4096])
INFOS = st.builds(
    stldr.storage_info,
    name=st.text(st.characters(codec="ascii"), max_size=20),
    kind=st.integers(0, 12) | st.integers(0, 0xFFFF),
    address=st.sampled_from([0x90000000, 0, 0x24000000, 0xFFFF0000]) | NUMBERS,
    size=NUMBERS,
    page=NUMBERS,
    erased=st.integers(0, 255),
    sectors=st.lists(st.tuples(SMALL | NUMBERS, SMALL | NUMBERS), max_size=10),
    length=st.sampled_from([200, 200, 200, 120, 136, 119]),
)


@settings(max_examples=200)
@given(INFOS, st.integers(0, 1 << 32), st.integers(1, 5000), st.sampled_from([None, *EraseMode]), NUMBERS, NUMBERS)
@example(stldr.storage_info(page=0xFFFFFFFF), 0x90000000, 5000, None, 0x24000000, 0x80000)
@example(stldr.storage_info(sectors=((1, 0x6FFFFFFF),)), 0x90000000, 1, None, 0x24000000, 0x80000)
@example(stldr.storage_info(sectors=((1 << 20, 1),)), 0x90000000, 5000, None, 0x24000000, 0x80000)
def test_what_is_planned_lies_in_the_storage(
    info: bytes, offset: int, size: int, erase: EraseMode | None, start: int, length: int
) -> None:
    try:
        loader = parse_loader(stldr.stldr(stldr.shape(info=info)), "a.stldr")
    except InputError:
        assume(False)
    storage = Range(loader.storage.address, loader.storage.extent)
    address = storage.address + offset % storage.size
    with contextlib.suppress(PlanError):
        image = parse_image(bytes(size), "a.bin", min(address, (1 << 32) - size))
        for job in plan_write((loader,), image, erase=erase):
            touched = [Range(each.address, each.size) for each in job.sectors]
            assert all(storage.address <= each.address < each.end <= storage.end for each in (*touched, *job.keep))
    with contextlib.suppress(InputError):
        assert sum(each.size for each in plan_erase(loader, whole_range(address, size))) == size
    with contextlib.suppress(InputError):
        ram = whole_range(start, length)
        layout = plan_layout(loader, ram)
        assert all(ram.address <= each.address < each.end <= ram.end for each in layout.used)


@pytest.mark.parametrize(
    ("info", "part"),
    [
        ({"sectors": ((0xFFFFFFFF, 1),)}, "past the end of the address space"),
        ({"sectors": ((0xFFFFFFFF, 0xFFFFFFFF),) * 10}, "past the end of the address space"),
        ({"sectors": ((1 << 21, 1),)}, "2097152 sectors, more than any chip has"),
        ({"sectors": ((1 << 20, 1), (1, 1))}, "1048577 sectors, more than any chip has"),
        ({"sectors": ((5, 0),)}, "a group of 5 sectors of no bytes"),
        ({"sectors": (), "size": 0}, "a storage of no bytes"),
        ({"sectors": (), "size": 0xFFFFFFFF}, "past the end of the address space"),
        ({"address": 0xFFFFFFFF}, "past the end of the address space"),
    ],
)
def test_numbers_that_overflow_are_a_sentence(
    info: dict[str, object], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.stldr"
    path.write_bytes(stldr.stldr(stldr.shape(info=stldr.storage_info(**info))))  # type: ignore[arg-type]
    outcome = CommandLine(capsys)("info", path)
    assert outcome.code == 2
    assert part in outcome.sentence


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(INFOS)
def test_every_loader_is_described_or_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], info: bytes) -> None:
    path = tmp_path / "a.stldr"
    path.write_bytes(stldr.stldr(stldr.shape(info=info)))
    run = CommandLine(capsys)
    for command in ("info", "lint"):
        outcome = run(command, path)
        assert outcome.code in (0, 2)
        assert outcome.sentence if outcome.code else outcome.events
