"""`gdbflash loaders`, -l with a name, and -l auto, which never guesses."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pexpect
import pytest

from tests.support.boards import LOADER, LOADER_WITHOUT_READ, running_board
from tests.support.commandline import CommandLine

PLACE = "0x90000000"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    made = tmp_path / "lib"
    made.mkdir()
    (made / "broken_STM32H750.stldr").write_bytes(b"no ELF")
    shutil.copy(LOADER, made / "W25Q128_STM32H750-MINE.stldr")
    (tmp_path / "gdbflash.toml").write_text('loader-path = ["lib"]\n')
    return made


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


def test_loaders_are_listed_with_storage_chip_and_what_is_wrong(run: CommandLine, folder: Path) -> None:
    for words in ((), (folder,)):
        usable, broken = run("loaders", *words).result["loaders"]
        assert (broken["chip"], "error" in broken) == ("H750", True)
        assert (usable["name"], usable["chip"], usable["address"]) == ("W25Q128_H750_QSPI", "H750", 0x90000000)
    assert "is no folder" in run("loaders", folder / "nowhere").sentence


def test_a_name_is_looked_for_and_auto_takes_the_only_one_for_this_device(run: CommandLine, folder: Path) -> None:
    with running_board() as board:
        words = ("checksum", PLACE, "16", "--connect", board.endpoint)
        assert run(*words, "-l", "w25q128_stm32h750-mine").code == 0
        assert "There is no loader file 'nowhere'" in run(*words, "-l", "nowhere").sentence
        outcome = run(*words, "-l", "auto")
        assert outcome.code == 0, outcome.shown
        (note,) = [each for each in outcome.events if each.get("code") == "loader-chosen"]
        assert note["path"] == str(folder / "W25Q128_STM32H750-MINE.stldr")
        assert "it is for STM32H750, this device is STM32H742/743" in note["message"]
        outcome = run("checksum", "0x70000000", "16", "--connect", board.endpoint, "-l", "auto")
        assert (outcome.code, outcome.result["error"]["kind"]) == (2, "input")
        assert "that has 0x70000000 was found in" in outcome.shown
        shutil.copy(LOADER_WITHOUT_READ, folder / "Other_STM32H7XX.stldr")
        shutil.copy(LOADER, folder / "Same_STM32H7XX.stldr")  # the same file once more is no other loader
        before = board.machine.resets
        outcome = run(*words, "-l", "auto")
        assert outcome.code == 2
        assert "2 loaders are for this STM32H742/743" in outcome.shown
        assert board.machine.resets == before, "no Init, no reset"


def test_somebody_at_a_terminal_is_asked_which_one(folder: Path) -> None:
    shutil.copy(LOADER_WITHOUT_READ, folder / "Other_STM32H7XX.stldr")
    with running_board() as board:
        words = ["-m", "gdbflash", "checksum", PLACE, "16", "--connect", board.endpoint, "-l", "auto"]
        child = pexpect.spawn(sys.executable, words, encoding="utf-8", timeout=60, dimensions=(24, 200))
        child.expect_exact("Several loaders are for this device, and only")
        child.expect_exact("1, 2 or stop? [stop]")
        child.sendline("2")
        child.expect(r"is\s+used:")
        child.expect_exact("CRC-32")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 0
        child = pexpect.spawn(sys.executable, words, encoding="utf-8", timeout=60, dimensions=(24, 200))
        child.expect_exact("or stop? [stop]")
        child.sendline("")
        child.expect_exact("2 loaders are for this")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 2
