"""Which chip a loader's name speaks of, and which device that is; files in folders, and by name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gdbflash.errors import InputError
from gdbflash.loaders.library import chip_in, found_by_name, is_for, loader_files
from gdbflash.onchip.device.table import DEVICES

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.mark.parametrize(
    ("name", "chip", "devices"),
    [
        ("MT25TL01G_STM32H747I-EVAL", "H747", {0x450}),
        ("MX25LM51245G_STM32H7B3I-EVAL", "H7B3", {0x480}),
        ("CLIVEONE-IS25LP128_STM32H72X-PA3-PC11", "H72X", {0x483}),
        ("W25Q128_STM32F412ZG", "F412", {0x441}),
        ("M25P64_STM3210E-EVAL", "F10", {0x410, 0x412, 0x414, 0x418, 0x420, 0x428, 0x430}),
        ("MT25QL512A_STM32469I-EVAL", "F469", {0x434}),
        ("IS61WV102416BLL_STM324x9I-EVAL", "F4X9", {0x419, 0x434}),
        ("N25Q128A_STM32F7508-DISCO", "F750", {0x449}),
        ("CLIVEONE-MT25QL128_STM32U599-PA0", "U599", {0x481}),
        ("W25Q_STM32WB55", "WB55", {0x495}),
        ("PY25Q64HA_STM32U375", "U375", {0x454}),
        ("W25Q128", "", set()),
    ],
)
def test_the_chip_in_a_name(name: str, chip: str, devices: set[int]) -> None:
    assert chip_in(name) == chip
    assert {each for each, device in DEVICES.items() if is_for(chip, device.name)} == devices


def test_nearly_all_real_names_speak_of_a_device_that_is_known() -> None:
    names: set[str] = set()
    for each in ("wild-facts", "corpus-facts"):
        said = json.loads((FIXTURES / f"{each}.json").read_text("utf-8"))
        names |= set(re.findall(r'"([^"]*STM32[^"]*)"', json.dumps(said)))
    assert len(names) > 600
    unknown = {name for name in names if not any(is_for(chip_in(name), each.name) for each in DEVICES.values())}
    assert unknown == {"e65f18af/STM32H_IPS_QSPI_Loader_CM7.stldr"}


def test_files_are_found_below_and_by_name(tmp_path: Path) -> None:
    for name in ("a/One.stldr", "b/c/Two.STLDR", "b/note.txt", "Two-more.stldr"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [each.name for each in loader_files([tmp_path])] == ["Two-more.stldr", "One.stldr", "Two.STLDR"]
    assert found_by_name("one", [tmp_path]).name == "One.stldr"
    assert found_by_name("Two.stldr", [tmp_path]).name == "Two.STLDR"
    assert found_by_name("more", [tmp_path]).name == "Two-more.stldr"
    with pytest.raises(InputError, match=r"There is no loader file 'three', here or in "):
        found_by_name("three", [tmp_path])
    with pytest.raises(InputError, match=r"3 loader files are called 'o'"):
        found_by_name("o", [tmp_path])
    with pytest.raises(InputError, match="is no folder"):
        list(loader_files([tmp_path / "nowhere"]))
