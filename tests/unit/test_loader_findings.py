"""What loader authors are told, and what they are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gdbflash.cli.main import main
from gdbflash.loaders.finding import Finding
from gdbflash.loaders.stldr import parse_loader
from tests.support import stldr
from tests.support.stldr import BASIC, Sym, arrange, shape

ALL = {
    name: 0x24000008 + 64 * index
    for index, name in enumerate(("Init", "DeInit", "Read", "Write", "SectorErase", "MassErase", "Verify", "CheckSum"))
}


def findings(**changes: Any) -> tuple[Finding, ...]:
    form = shape(**{"functions": ALL, **changes})
    return parse_loader(stldr.stldr(form), "some/dir/W25Q128_TEST.stldr").findings


def info(**changes: Any) -> dict[str, bytes]:
    return {"info": stldr.storage_info(**changes)}


def without(*names: str) -> dict[str, dict[str, int]]:
    return {"functions": {name: address for name, address in ALL.items() if name not in names}}


def test_a_sound_loader_has_none() -> None:
    assert findings() == ()


@pytest.mark.parametrize(
    ("changes", "code", "severity", "part"),
    [
        (info(name="Other"), "name", "warning", "named 'Other' and the file 'W25Q128_TEST'"),
        (info(kind=12), "type", "warning", "type 12 is unknown"),
        (info(kind=9), "ram", "info", "SDRAM"),
        (info(sectors=()), "no-sectors", "warning", "no sectors"),
        (info(size=4_000_000), "size", "warning", "declares 4000000 bytes but its sectors sum to 16777216"),
        (info(erased=0), "erased-value", "warning", "0x00"),
        (info(page=0), "page-size", "warning", "page size 0 is not a power of two"),
        (info(page=300), "page-size", "warning", "300"),
        (info(page=16 << 20), "page-size", "warning", "larger than a sector of 65536 bytes"),
        (
            info(address=0x90001000, sectors=((256, 65536),)),
            "sector-alignment",
            "warning",
            "256 x 65536 bytes of sectors start at 0x90001000",
        ),
        (
            info(size=69632, sectors=((1, 4096), (1, 65536))),
            "sector-alignment",
            "warning",
            "1 x 65536 bytes of sectors start at 0x90001000",
        ),
        ({"info": stldr.storage_info(length=136), "info_symbol_size": 136}, "struct-size", "warning", "is 136 bytes"),
        ({"info": stldr.storage_info(length=136), "info_symbol_size": 0}, "struct-size", "warning", "is 136 bytes"),
        ({"info_symbol_size": 136}, "struct-size", "warning", "is 136 bytes instead of 200"),
        ({"info_symbol_size": 0}, "symbol-size", "info", "size 0"),
        ({"entry": 0}, "entry", "info", "0x00000000 is not Init (0x24000008)"),
        ({"thumb": 0, "entry": 0x24000009}, "thumb-bit", "warning", "Init lacks the Thumb bit"),
        (without("Read"), "no-read", "info", "mapped window is read"),
        (without("MassErase"), "no-mass-erase", "info", "MassErase"),
        (without("SectorErase"), "no-sector-erase", "warning", "SectorErase"),
        (without("Write"), "no-write", "warning", "nothing can be programmed"),
        (without("Verify"), "no-verify", "info", "--verify loader cannot be used"),
        ({"info_address": 0x2407FF00}, "info-in-ram", "info", "0x2407FF00"),
        ({"info_address": 0x24000B40}, "info-under-bss", "warning", "0x24000B40"),
    ],
)
def test_is_told(changes: dict[str, Any], code: str, severity: str, part: str) -> None:
    told = [finding for finding in findings(**changes) if finding.code == code]
    assert told
    assert told[0].severity == severity
    assert part in told[0].message


@pytest.mark.parametrize("functions", [without("CheckSum"), without("DeInit")])
def test_is_not_told(functions: dict[str, dict[str, int]]) -> None:
    """No host needs CheckSum where there is Verify, and none calls DeInit."""
    assert findings(**functions) == ()


def test_ram_needs_no_erase() -> None:
    told = findings(**without("SectorErase", "MassErase", "Write"), **info(kind=4, sectors=()))
    assert [(finding.code, finding.severity) for finding in told] == [("ram", "info"), ("no-write", "info")]


def test_worst_come_first() -> None:
    told = findings(**without("Read"), **info(kind=12), more_symbols=(Sym("Read", 0x08000001, section=".text"),))
    assert [finding.severity for finding in told] == ["error", "warning", "info"]


def test_function_outside_what_is_loaded_is_not_called() -> None:
    stray = Sym("Read", 0x08000001, section=".text")
    loader = parse_loader(stldr.stldr(shape(**without("Read"), more_symbols=(stray,))), "W25Q128_TEST.stldr")
    assert "Read" not in loader.functions
    assert [finding.code for finding in loader.findings] == ["function-outside", "no-read"]
    assert "Read at 0x08000000" in loader.findings[0].message


def test_function_in_bss_is_outside_too() -> None:
    stray = Sym("Read", 0x24000B41, section=".bss")
    loader = parse_loader(stldr.stldr(shape(**without("Read"), more_symbols=(stray,))), "W25Q128_TEST.stldr")
    assert [finding.code for finding in loader.findings] == ["function-outside", "no-read"]


@pytest.mark.parametrize(
    ("link", "part"),
    [
        (0x24000000, "not to the start of a RAM + 4"),
        (0x24000104, "not to the start of a RAM + 4"),
        (0x08000004, "outside the RAM of known devices"),
        (0x90000004, "outside the RAM of known devices"),
    ],
)
def test_link_address(link: int, part: str) -> None:
    functions = {name: address - 0x24000004 + link for name, address in ALL.items()}
    told = findings(functions=functions, code_address=link)
    assert [finding.code for finding in told] == ["link-address"]
    assert part in told[0].message


@pytest.mark.parametrize("link", [0x20000004, 0x20003004, 0x10000004, 0x34180404, 0x38000004])
def test_link_addresses_of_real_devices_are_sound(link: int) -> None:
    functions = {name: address - 0x24000004 + link for name, address in ALL.items()}
    assert findings(functions=functions, code_address=link) == ()


def test_code_stored_elsewhere() -> None:
    form = arrange(BASIC)
    info_load, code = form.loads
    moved = stldr.Elf((info_load, stldr.Load(code.sections, code.memory_size, 0x08010000)), form.symbols, form.entry)
    loader = parse_loader(stldr.elf_file(moved), "W25Q128_TEST.stldr")
    assert [finding.code for finding in loader.findings] == ["load-address", "no-verify"]
    assert "0x08010000" in loader.findings[0].message
    assert loader.load_segments[0].address == 0x24000004


def test_lint_says_what_stands_out_and_is_no_judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "another.stldr"
    path.write_bytes(stldr.stldr())
    assert main(["lint", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "warning: The storage is named 'W25Q128_TEST' and the file 'another'" in shown
    assert shown.endswith(f"{path}: 2 findings\n")
    assert main(["lint", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["path"] == str(path)
    assert [each["code"] for each in said["findings"]] == ["name", "no-verify"]
    assert main(["lint", str(tmp_path)]) == 2
    assert "is a directory" in capsys.readouterr().err
