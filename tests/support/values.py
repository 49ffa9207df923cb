"""Loaders as values, for tests that need no file."""

from __future__ import annotations

from types import MappingProxyType

from gdbflash.loaders.loader import ExternalLoader, Segment
from gdbflash.loaders.storage import SectorGroup, StorageInfo, StorageType

KIB = 1024
FUNCTIONS = ("Init", "Write", "SectorErase", "MassErase", "Read", "Verify", "CheckSum")


def make_loader(
    *,
    address: int = 0x90000000,
    groups: tuple[tuple[int, int], ...] = ((16, 64 * KIB),),
    page_size: int = 256,
    kind: StorageType = StorageType.NOR_FLASH,
    functions: tuple[str, ...] = FUNCTIONS,
    segments: tuple[tuple[int, int, int], ...] = ((0x24000004, 0x1000, 0x1200),),
    name: str = "W25Q",
) -> ExternalLoader:
    """Make a loader; segments are (address, bytes in the file, bytes in memory)."""
    loaded = tuple(Segment(start, bytes(range(256)) * (size // 256 + 1), memory) for start, size, memory in segments)
    loaded = tuple(
        Segment(each.address, each.data[:size], each.memory_size)
        for each, (_, size, _) in zip(loaded, segments, strict=True)
    )
    return ExternalLoader(
        path=f"{name}.stldr",
        storage=StorageInfo(
            name=name,
            type=kind,
            address=address,
            size=sum(count * size for count, size in groups),
            page_size=page_size,
            erased_value=0xFF,
            sectors=tuple(SectorGroup(count, size) for count, size in groups),
        ),
        segments=loaded,
        load_segments=loaded,
        functions=MappingProxyType({each: 0x24000100 + 16 * index for index, each in enumerate(functions)}),
        symbols=(),
        findings=(),
    )
