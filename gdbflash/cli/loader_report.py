"""Show people what a loader says of itself, and what is to be said about it.

What belongs here: lines about an `ExternalLoader`; programs get `stldr.describe`.
"""

from __future__ import annotations

from gdbflash.cli.console import Console
from gdbflash.events import bytes_in_words
from gdbflash.loaders.loader import ExternalLoader


def show_loader(console: Console, found: ExternalLoader) -> None:
    """Show storage, sectors, functions, segments and findings."""
    storage = found.storage
    groups = ", ".join(f"{each.count} x {bytes_in_words(each.size)}" for each in storage.sectors)
    console.table(
        [
            ("name", storage.name),
            ("type", storage.type_name),
            ("storage", f"{storage.span}  {bytes_in_words(storage.extent)}"),
            ("sectors", groups or "none"),
            ("page", bytes_in_words(storage.page_size)),
            ("erased", f"0x{storage.erased_value:02X}"),
            ("functions", ", ".join(f"{name} 0x{address:08X}" for name, address in sorted(found.functions.items()))),
            ("linked at", f"0x{found.link_address:08X}, return trap at 0x{found.return_address:08X}"),
            ("r9", found.static_base.in_words),
            (
                "RAM need",
                f"{bytes_in_words(sum(each.memory_size for each in found.load_segments))} and stack and buffer",
            ),
        ]
    )
    for segment in found.segments:
        console.answer(
            f"segment   0x{segment.address:08X}  {len(segment.data)} bytes in the file, {segment.memory_size} in memory"
        )
    show_findings(console, found)


def show_findings(console: Console, found: ExternalLoader) -> None:
    """Show what stands out."""
    for finding in found.findings:
        console.answer(
            f"{finding.severity}: {finding.message}", style="yellow" if finding.severity != "info" else "dim"
        )
