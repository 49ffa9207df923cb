"""Loader files as other people build them: every structure that is known is taken, or refused by name."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gdbflash.errors import LoaderFileError
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.loaders.stldr import parse_loader
from gdbflash.onchip.plan_layout import plan_layout
from gdbflash.ranges import Range, without
from tests.support import stldr

FIXTURES = Path(__file__).parents[1] / "fixtures"
WILD: dict[str, dict[str, Any]] = json.loads((FIXTURES / "wild-facts.json").read_text())
SECTIONS: dict[str, dict[str, Any]] = json.loads((FIXTURES / "corpus-sections.json").read_text())
STRIPPED = {name for name, row in WILD.items() if not row["functions"]}
SOUND = {name: row for name, row in {**WILD, **SECTIONS}.items() if name not in STRIPPED}


@cache
def parsed(name: str) -> ExternalLoader:
    return parse_loader(stldr.elf_file(stldr.from_wild(SOUND[name])), name)


def codes(loader: ExternalLoader) -> set[str]:
    return {finding.code for finding in loader.findings}


def test_the_fixture_is_whole() -> None:
    assert (len(WILD), len(SECTIONS), len(STRIPPED)) == (124, 19, 2)


@pytest.mark.parametrize("name", sorted(SOUND))
def test_is_taken_with_all_that_it_owns(name: str) -> None:
    row, loader = SOUND[name], parsed(name)
    assert loader.functions == row["functions"]
    assert loader.link_address == row["link_address"]
    owned = [Range(at, size) for _, _, at, size, flags, _ in row["sections"] if "A" in flags and at >= 0x10000000]
    assert not without(owned, loader.owned), "every section that is memory is the loader's"
    assert not without(loader.writable, loader.owned)
    written = [Range(at, size) for _, _, at, size, flags, _ in row["sections"] if "W" in flags and "A" in flags]
    assert not without(written, loader.writable)


@pytest.mark.parametrize("name", sorted(SOUND))
def test_every_section_has_its_bytes_and_every_nobits_its_zeros(name: str) -> None:
    row, loader = SOUND[name], parsed(name)
    memory: dict[int, int] = {}
    for segment in loader.load_segments:
        memory.update(enumerate(segment.data, segment.address))
    zeros = {address for each in loader.zero_ranges for address in range(each.address, each.end)}
    for _, kind, at, size, flags, _ in row["sections"]:
        if "A" not in flags or at < 0x10000000:
            continue
        if kind == "NOBITS":
            assert all(address in zeros or memory[address] == 0 for address in range(at, at + size))
        else:
            data = next(each for load in stldr.from_wild(row).loads for each in load.sections if each.address == at)
            wrong = [
                at + index
                for index, byte in enumerate(data.data)
                if memory.get(at + index) != byte and at + index not in zeros
            ]
            assert not wrong, f"{wrong[0]:#x}"


def test_what_was_odd_is_told() -> None:
    overlaps = {name for name, row in SOUND.items() if any(all(each["file_bytes"]) for each in row.get("overlaps", ()))}
    assert len(overlaps) == 19
    assert {name for name in SOUND if "segment-overlap" in codes(parsed(name))} == overlaps
    bare = {name for name, row in SOUND.items() if any(_bare(each) for each in row["sections"])}
    assert {name for name in SOUND if "nobits-without-segment" in codes(parsed(name))} == bare
    assert {name for name in SOUND if "info-elsewhere" in codes(parsed(name))} == {
        "aca12f8f/External_Loader.stldr",
        "c834220b/External_Loader.stldr",
    }


def _bare(section: list[Any]) -> bool:
    return section[1] == "NOBITS" and "A" in section[4] and section[5] is None and section[3] > 0


@pytest.mark.parametrize("name", sorted(STRIPPED))
def test_a_stripped_file_is_named_as_that(name: str) -> None:
    elf = stldr.Elf((stldr.Load((stldr.Section("P1", 0x20000004, bytes(64)),)),), None)
    with pytest.raises(LoaderFileError, match="stripped"):
        parse_loader(stldr.elf_file(elf), name)


CORPUS: dict[str, dict[str, Any]] = json.loads((FIXTURES / "corpus-facts.json").read_text())


@pytest.mark.parametrize("name", sorted({*SOUND, *CORPUS}))
def test_nothing_of_ours_lies_in_what_a_loader_owns(name: str) -> None:
    loader = parsed(name) if name in SOUND else parse_loader(stldr.stldr(stldr.from_row(CORPUS[name])), name)
    start = loader.return_address & ~0xFFF
    room = max(each.end for each in loader.owned if each.address >= start) - start
    for size in (room + 8 * 1024, 512 * 1024):
        layout = plan_layout(loader, Range(start, size))
        assert not any(mine.overlaps(theirs) for mine in layout.used if mine.size for theirs in loader.owned)
        assert all(mine.address in layout.ram and mine.end <= layout.ram.end for mine in layout.used if mine.size)
        assert layout.strays.size >= 512
        base = layout.static_base
        assert base in layout.scratch or any(base in each for each in loader.owned) or base == 0
