"""The shipped demo loaders: what is in the files, and that they are what the sources build."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gdbflash.loaders.stldr import load_loader
from gdbflash.loaders.storage import SectorGroup, StorageInfo, StorageType

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "gdbflash" / "board" / "data"
FULL = DATA / "W25Q128_H750_QSPI.stldr"
WITHOUT_READ = DATA / "W25Q128_H750_QSPI_NOREAD.stldr"


def test_the_shipped_files_are_what_the_sources_build(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "build-loaders"

    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    built = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert built == {path.name: path.read_bytes() for path in DATA.glob("*.stldr")}, "run scripts/build-loaders"
    assert sorted(built) == [FULL.name, WITHOUT_READ.name]


def test_a_source_that_does_not_compile_is_told(tmp_path: Path) -> None:
    copy = tmp_path / "scripts" / "build-loaders"
    source = tmp_path / "gdbflash" / "board" / "loader-src" / "w25q128_h750_qspi.c"
    for path in (copy, source):
        path.parent.mkdir(parents=True)
    copy.write_bytes((ROOT / "scripts" / "build-loaders").read_bytes())
    source.write_text("int Init(void) { return }\n")

    done = subprocess.run([sys.executable, str(copy), str(tmp_path / "out")], capture_output=True, text=True)

    assert done.returncode == 1
    assert "expected expression" in done.stderr
    assert done.stderr.endswith("build-loaders: W25Q128_H750_QSPI: the compiler ended with 1\n")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("path", [FULL, WITHOUT_READ], ids=lambda path: path.stem)
def test_storage_and_segments(path: Path) -> None:
    loader = load_loader(path)

    assert loader.storage == StorageInfo(
        name=path.stem,
        type=StorageType.SPI_FLASH,
        address=0x90000000,
        size=0x1000000,
        page_size=256,
        erased_value=0xFF,
        sectors=(SectorGroup(count=256, size=0x10000),),
    )
    info, image = loader.segments
    assert (info.address, len(info.data), info.memory_size) == (0, 200, 200)
    assert image.address == 0x24000004
    assert len(image.data) < image.memory_size < 4096, "there is a .bss, and it is small"
    assert loader.load_segments == (image,)
    assert loader.return_address == 0x24000000
    assert [finding.code for finding in loader.findings] == (["no-read"] if path == WITHOUT_READ else [])


def test_functions() -> None:
    with_all = {"Init", "DeInit", "Read", "Write", "SectorErase", "MassErase", "Verify", "CheckSum"}

    assert set(load_loader(FULL).functions) == with_all
    assert set(load_loader(WITHOUT_READ).functions) == with_all - {"Read", "CheckSum"}
