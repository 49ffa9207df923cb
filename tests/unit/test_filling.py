"""What completes the units of Write, by kind of memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from gdbflash.errors import PlanError
from gdbflash.events import Event, Noted
from gdbflash.flash.filling import filling, note_programmed_twice, rewritten
from gdbflash.images.content import Content
from gdbflash.loaders.storage import StorageType
from gdbflash.options import VerifyMode
from gdbflash.plan.delta import Delta
from gdbflash.plan.jobs import EraseMode, StorageJob, plan_storage
from gdbflash.ranges import Range
from tests.support.values import KIB, make_loader

BASE = 0x90000000
NOTHING = Delta((), (), (), (), (), ())


class Memory:
    """A storage that is looked at."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.read: list[Range] = []

    def fingerprints(self, places: Sequence[Range]) -> dict[Range, bytes]:
        return {each: self.data[each.address - BASE : each.end - BASE] for each in places}

    def shows_blank(self, where: Range, fingerprint: bytes) -> bool:
        return fingerprint == b"\xff" * where.size

    def verify(self, content: Content, blank: Sequence[Range], mode: VerifyMode) -> None:
        raise AssertionError((content, blank, mode))

    def read_proven(self, places: Sequence[Range]) -> Iterator[tuple[Range, bytes]]:
        for each in places:
            self.read.append(each)
            yield each, self.data[each.address - BASE : each.end - BASE]


def job(kind: int, offset: int, size: int, erase: EraseMode | None = None) -> StorageJob:
    loader = make_loader(groups=((16, 4 * KIB),), page_size=256)
    loader = replace(loader, storage=replace(loader.storage, type=kind))
    return plan_storage(loader, Content.at(BASE + offset, b"\x5a" * size), erase=erase)


def filled(memory: Memory, task: StorageJob, delta: Delta = NOTHING) -> dict[int, bytes]:
    content = task.content
    return {at: bytes(data) for at, data in filling(memory, task, delta, content, content.ranges, 256).pieces}


def test_in_sectors_that_were_erased_with_what_the_erase_left() -> None:
    memory = Memory(bytes(64 * KIB))
    delta = replace(NOTHING, touched=(Range(BASE, 4 * KIB),))
    assert filled(memory, job(StorageType.NOR_FLASH, 0x101, 10), delta) == {
        BASE + 0x100: b"\xff",
        BASE + 0x10B: b"\xff" * 0xF5,
    }
    assert memory.read == []


@pytest.mark.parametrize("kind", [StorageType.SPI_FLASH, StorageType.I2C_EEPROM])
def test_without_an_erase_with_what_is_there(kind: int) -> None:
    memory = Memory(bytes(range(256)) * 256)
    assert filled(memory, job(kind, 0x101, 10, EraseMode.NONE)) == {
        BASE + 0x100: b"\x00",
        BASE + 0x10B: bytes(range(0x0B, 0x100)),
    }


def test_nand_is_completed_only_where_its_page_is_blank() -> None:
    task = job(StorageType.NAND_FLASH, 0x101, 10, EraseMode.NONE)
    assert set(filled(Memory(b"\xff" * 64 * KIB), task)) == {BASE + 0x100, BASE + 0x10B}
    with pytest.raises(PlanError, match="NAND is programmed by whole pages"):
        filled(Memory(b"\xff" * 0x1F0 + b"\x00" + b"\xff" * 64 * KIB), task)
    whole = job(StorageType.NAND_FLASH, 0x100, 256, EraseMode.NONE)
    assert filled(Memory(bytes(64 * KIB)), whole) == {}, "a whole page needs nothing"


def test_an_eeprom_is_written_without_an_erase_and_its_other_bytes_are_kept() -> None:
    task = job(StorageType.I2C_EEPROM, 0x101, 10)
    assert task.erase is EraseMode.NONE
    assert job(StorageType.I2C_EEPROM, 0x101, 10, EraseMode.SECTORS).erase is EraseMode.SECTORS
    completed = filling(Memory(bytes(64 * KIB)), task, NOTHING, task.content, task.content.ranges, 256)
    assert rewritten(task, completed, 256) == (Range(BASE + 0x100, 256),)
    assert rewritten(job(StorageType.NOR_FLASH, 0x101, 10), completed, 256) == ()


def test_programming_a_place_twice_is_worth_a_note() -> None:
    heard: list[Event] = []
    over = replace(NOTHING, over=(Range(BASE, 16),))
    note_programmed_twice(job(StorageType.SPI_FLASH, 0, 16, EraseMode.NONE), over, heard.append)
    note_programmed_twice(job(StorageType.SPI_FLASH, 0, 16, EraseMode.NONE), NOTHING, heard.append)
    note_programmed_twice(job(StorageType.I2C_EEPROM, 0, 16), over, heard.append)
    assert [each.code for each in heard if isinstance(each, Noted)] == ["programmed-twice"]
