"""What r9 is to be, by what a file tells."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from gdbflash.loaders.disassembly import NoDisassembler, uses_of_r9
from gdbflash.loaders.find_static_base import Code, decide
from gdbflash.loaders.static_base import StaticBase
from gdbflash.loaders.stldr import parse_loader
from gdbflash.ranges import Range
from tests.support import stldr

FIXTURES = Path(__file__).parents[1] / "fixtures"
ROWS: dict[str, dict[str, Any]] = {
    name: row
    for file in ("wild-facts.json", "corpus-sections.json")
    for name, row in json.loads((FIXTURES / file).read_text()).items()
    if row.get("r9", {}).get("static_base_uses")
}
AT = 0x24000004
DATA = Range(0x24001000, 0x5000)

# As arm-none-eabi-as makes them; what each does with r9 is said beside it.
OFFSET = "10b5 44f68430 4844 0168 d9f80820 10bd"  # r0 = 0x4B84 + r9; r1 = [r0]; r2 = [r9, 8]
LITERAL = "10b5 0248 4844 0168 10bd 00bf 84 4b 00 00"  # r0 = the word behind the code; r0 += r9; r1 = [r0]
ABSOLUTE = "10b5 41f20000 c2f20000 4844 0168 10bd"  # r0 = 0x20001000 + r9; r1 = [r0]
SAVED = "f0b5 4f46 4646 c0b4 8146 d9f80410 0cbc 9046 9946 f0bd"  # as Armv6-M code saves it, uses it, brings it back
UNKNOWN = "10b5 4844 0168 10bd"  # r0 += r9, of an argument
ALIAS = "10b5 4846 1030 4168 10bd"  # r0 = r9; r0 += 16; r1 = [r0, 4]
POOL = "10b5 0048 10bd 4c44 0258"  # loads the word 0x5802444C, which reads as an instruction with r9


def code(text: str, **more: Any) -> Code:
    facts: dict[str, Any] = {"data": None, "armlink": False, "iar": False, "attribute": False, **more}
    data = bytes.fromhex(text)
    return Code(((AT, data),), (Range(AT, len(data)),), frozenset({AT}), **facts)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (code(OFFSET), (None, 0x4B84 + 256)),
        (code(LITERAL), (None, 0x4B84 + 256)),
        (code(ALIAS), (None, 20 + 256)),
        (code(SAVED), (None, 256)),
        (code(POOL), (None, 256)),
        (code(ABSOLUTE), (0, 0)),
        (code(ABSOLUTE, iar=True), (0, 0)),
        (code(OFFSET, data=DATA), (None, 0x4B84 + 256)),
        (code(OFFSET, data=DATA, attribute=True), (DATA.address, 0)),
        (code(UNKNOWN, data=DATA, attribute=True), (DATA.address, 0)),
        (code(SAVED, data=DATA, armlink=True), (DATA.address, 0)),
        (code(OFFSET, data=DATA, armlink=True), (DATA.address, 0)),
    ],
)
def test_is_decided_by_code_and_sections(given: Code, meant: tuple[int | None, int]) -> None:
    base = decide(given)
    assert (base.address, base.scratch, base.unknown) == (*meant, "")
    assert base.why


@pytest.mark.parametrize("form", ["7fe9", "ffe9"])
def test_bytes_that_read_as_a_load_that_moves_pc_are_no_literal(form: str) -> None:
    """`ldrd r0, r1, [pc, #-0x3c0]!` and upwards: no compiler makes them, but data among code may read so."""
    text = f"10b5 d9f80820 10bd {form}f001"
    uses = uses_of_r9(code(text).image, code(text).code, code(text).functions)
    assert (uses.largest, uses.absolute, uses.unknown) == (8, 0, [])


@pytest.mark.parametrize("text", [UNKNOWN, OFFSET + ABSOLUTE])
def test_what_cannot_be_told_is_asked_for(text: str) -> None:
    assert "how far it reaches cannot be told" in decide(code(text)).unknown


@pytest.fixture
def no_capstone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "capstone", None)


@pytest.mark.usefixtures("no_capstone")
def test_without_a_disassembler_attributes_and_sections_decide() -> None:
    with pytest.raises(NoDisassembler):
        uses_of_r9((), (), frozenset())
    assert decide(code(OFFSET, data=DATA, armlink=True)).address == DATA.address
    assert decide(code(OFFSET, data=DATA, attribute=True)).address == DATA.address
    assert decide(code(ABSOLUTE, iar=True)).address == 0
    assert decide(code(SAVED)) == StaticBase()
    assert "its sections do not tell where" in decide(code(OFFSET, attribute=True)).unknown
    assert "its sections do not tell where" in decide(code(OFFSET, iar=True, data=DATA, attribute=True)).unknown


def test_the_fixture_has_all_that_use_it() -> None:
    assert len(ROWS) == 55


@pytest.mark.parametrize("name", sorted(name for name, row in ROWS.items() if row["r9"].get("static_base")))
@pytest.mark.parametrize("disassembler", [True, False])
def test_of_real_files_with_a_data_section(name: str, disassembler: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not disassembler:
        monkeypatch.setitem(sys.modules, "capstone", None)
    loader = parse_loader(stldr.elf_file(stldr.from_wild(ROWS[name])), name)
    assert loader.static_base.address == ROWS[name]["r9"]["static_base"]
    assert loader.static_base.scratch == 0, "all that lies behind it is the loader's own"
