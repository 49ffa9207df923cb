"""What the author or user of a loader should be told about it.

What belongs here: pure checks of what a loader file says. A finding never stops anybody;
what cannot work at all is a LoaderFileError instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gdbflash.loaders.finding import Finding, Severity
from gdbflash.loaders.storage import STRUCT_SIZE, StorageInfo, StorageType
from gdbflash.ranges import Range

SRAM = Range(0x10000000, 0x30000000)
"""Where STM32 devices have RAM: CCM and SRAM2 from 0x10000000, else the Armv7-M SRAM region up to 0x3FFFFFFF (Armv7-M
Architecture Reference Manual, B3.1). ITCM at 0 is left out: loaders use that address for what is not loaded."""
RAM_GRAIN = 1024
"""Parts of RAM that loaders are linked into start at multiples of this; 0x20003000 (H5) is the oddest one seen."""
ERASED_TO_ONES = frozenset({StorageType.NAND_FLASH, StorageType.NOR_FLASH, StorageType.SPI_FLASH})


def check_struct(symbol_size: int, available: int) -> Iterator[Finding]:
    """Compare the size of StorageInfo, by its symbol and by its section, with the 200 bytes that ST's tool wants."""
    if available < STRUCT_SIZE or symbol_size not in (0, STRUCT_SIZE):
        size = symbol_size or available
        yield Finding(
            "struct-size",
            "warning",
            f"StorageInfo is {size} bytes instead of {STRUCT_SIZE}: ST's tool refuses the file. "
            "Declare its sector table with 10 entries.",
        )
    elif not symbol_size:
        yield Finding("symbol-size", "info", "The symbol StorageInfo has size 0; the section's bytes were used.")


def check_storage(storage: StorageInfo, stem: str) -> Iterator[Finding]:
    """Check what StorageInfo says; stem is the file's name without directory and ending."""
    if storage.name != stem:
        yield Finding(
            "name",
            "warning",
            f"The storage is named '{storage.name}' and the file '{stem}': ST's tool since 2.18 wants them equal.",
        )
    if not isinstance(storage.type, StorageType):
        yield Finding("type", "warning", f"Storage type {storage.type} is unknown; it is taken for flash.")
    if storage.is_ram:
        yield Finding("ram", "info", f"The storage is RAM ({storage.type_name}): it is written without erase.")
    elif not storage.sectors:
        yield Finding("no-sectors", "warning", "StorageInfo describes no sectors, so nothing can be erased.")
    if storage.is_ram and storage.sectors and storage.sum_of_sectors != storage.extent:
        yield Finding(
            "ram-sectors",
            "info",
            f"The sectors of this RAM sum to {storage.sum_of_sectors} bytes; the declared {storage.extent} count.",
        )
    elif storage.extent != storage.size:
        yield Finding(
            "size",
            "warning",
            f"StorageInfo declares {storage.size} bytes but its sectors sum to {storage.extent}; the sectors count.",
        )
    if storage.type in ERASED_TO_ONES and storage.erased_value != 0xFF:
        yield Finding(
            "erased-value",
            "warning",
            f"Erased bytes are said to be 0x{storage.erased_value:02X}; flash of this type erases to 0xFF.",
        )
    yield from _check_page(storage)
    yield from _check_sectors(storage)


def _check_page(storage: StorageInfo) -> Iterator[Finding]:
    page = storage.page_size
    smallest = min((group.size for group in storage.sectors), default=storage.extent)
    if not page or page & (page - 1):
        yield Finding("page-size", "warning", f"The page size {page} is not a power of two.")
    elif page > smallest:
        yield Finding("page-size", "warning", f"The page size {page} is larger than a sector of {smallest} bytes.")


def _check_sectors(storage: StorageInfo) -> Iterator[Finding]:
    start = storage.address
    for group in storage.sectors:
        if start % group.size:
            yield Finding(
                "sector-alignment",
                "warning",
                f"{group.count} x {group.size} bytes of sectors start at 0x{start:08X}, no multiple of their size.",
            )
        start += group.count * group.size


def check_functions(functions: Mapping[str, int], is_ram: bool, entry: int) -> Iterator[Finding]:
    """Check which functions there are; entry is e_entry as the file has it."""
    if "Write" not in functions:
        severity: Severity = "info" if is_ram else "warning"
        instead = "the mapped window is written" if is_ram else "nothing can be programmed"
        yield Finding("no-write", severity, f"There is no Write: {instead}.")
    if "SectorErase" not in functions and not is_ram:
        yield Finding("no-sector-erase", "warning", "There is no SectorErase: single sectors cannot be erased.")
    if "MassErase" not in functions and not is_ram:
        yield Finding("no-mass-erase", "info", "There is no MassErase: the chip can only be erased by its sectors.")
    if "Read" not in functions:
        yield Finding("no-read", "info", "There is no Read: the mapped window is read after Init.")
    if "Verify" not in functions:
        yield Finding("no-verify", "info", "There is no Verify: --verify loader cannot be used.")
    if entry & ~1 != functions["Init"]:
        yield Finding(
            "entry",
            "info",
            f"The ELF entry point 0x{entry:08X} is not Init (0x{functions['Init']:08X}); the symbol counts.",
        )


def check_placement(link_address: int) -> Iterator[Finding]:
    """Check the lowest address that is loaded."""
    if link_address not in SRAM:
        yield Finding(
            "link-address",
            "warning",
            f"The loader is linked to 0x{link_address:08X}, which is outside the RAM of known devices.",
        )
    elif link_address % RAM_GRAIN != 4:
        yield Finding(
            "link-address",
            "warning",
            f"The loader is linked to 0x{link_address:08X}, not to the start of a RAM + 4: the word below it is "
            "overwritten with the return trap.",
        )
