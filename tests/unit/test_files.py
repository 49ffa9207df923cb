"""Large files: looked at piece by piece, and what they were is what they stay."""

from __future__ import annotations

import gc
import os
import random
from pathlib import Path

import pytest

from gdbflash.errors import ImageFileError
from gdbflash.files import FileBytes, read_image
from gdbflash.images import formats as image
from gdbflash.images.content import Content
from gdbflash.images.formats import load_image, merge_images
from gdbflash.ranges import Range
from tests.support.stretches import stretches

DATA = random.Random(1).randbytes(10000)
BASE = 0x90000000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(DATA)
    return path


def copied(path: Path) -> FileBytes:
    found = read_image(path, 0, 1 << 20, ImageFileError)
    assert isinstance(found, FileBytes)
    return found


def test_slices_are_read_when_they_are_asked_for(file: Path) -> None:
    data = copied(file)
    assert len(data) == len(DATA)
    assert bytes(data) == DATA
    part = data[100:9000][50:-10]
    assert len(part) == len(DATA[100:9000][50:-10])
    assert bytes(part) == DATA[100:9000][50:-10]
    assert (len(data[20000:]), bytes(data[5:5]), bytes(data[9:3])) == (0, b"", b"")
    with pytest.raises(ValueError, match="no steps"):
        data[::2]


def test_the_file_may_change_or_go(file: Path) -> None:
    data = copied(file)
    file.write_bytes(b"something else")
    file.unlink()
    assert bytes(data[9000:]) == DATA[9000:]


def test_a_slice_outlives_the_whole_and_nothing_stays_open(file: Path) -> None:
    part = copied(file)[1:3]
    descriptor = part._descriptor
    gc.collect()
    assert bytes(part) == DATA[1:3]
    del part
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_what_is_small_is_read_and_what_is_none_is_named(file: Path, tmp_path: Path) -> None:
    assert read_image(file, len(DATA), 1 << 20, ImageFileError) == DATA
    for path, largest, said in (
        (file, len(DATA) - 1, "has more than"),
        (tmp_path, 1 << 20, "is a directory"),
        (tmp_path / "missing", 1 << 20, "does not exist"),
        (Path("/dev/null"), 1 << 20, "is a device, not a file"),
    ):
        with pytest.raises(ImageFileError, match=said):
            read_image(path, 0, largest, ImageFileError)


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "IN_MEMORY", 5000)


@pytest.mark.usefixtures("small_memory")
def test_a_large_binary_file_stays_a_file(file: Path) -> None:
    content = load_image(file, BASE)
    ((_, data),) = content.pieces
    assert isinstance(data, FileBytes)
    assert bytes(data) == DATA
    assert content.size == len(DATA)
    assert content.read(Range(BASE + 77, 4000)) == DATA[77:4077]
    part = content.within((Range(BASE + 10, 20), Range(BASE + 5000, 5000)))
    assert part.ranges == (Range(BASE + 10, 20), Range(BASE + 5000, 5000))
    assert part.read(Range(BASE + 5001, 9)) == DATA[5001:5010]
    over = Content.at(BASE + 4, b"four").over(content)
    assert over.read(Range(BASE, 16)) == DATA[:4] + b"four" + DATA[8:16]


@pytest.mark.usefixtures("small_memory")
def test_a_large_file_of_records_is_read_as_that(tmp_path: Path) -> None:
    path = tmp_path / "large.hex"
    path.write_text(image.hex_text([(BASE, DATA)]), "ascii")
    assert stretches(load_image(path)) == [(BASE, DATA)]


@pytest.mark.usefixtures("small_memory")
def test_a_large_file_joined_with_its_neighbour(file: Path) -> None:
    neighbour = image.parse_image(b"next", "next.bin", BASE + len(DATA))
    whole = merge_images([load_image(file, BASE), neighbour])
    assert stretches(whole) == [(BASE, DATA + b"next")]
    assert isinstance(whole.pieces[0][1], FileBytes)
