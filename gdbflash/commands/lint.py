"""What `lint` says of a loader, and of images for its memory.

What belongs here: putting together findings that are made elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gdbflash.commands.words import load_images
from gdbflash.events import Noted
from gdbflash.images.content import Content
from gdbflash.loaders.finding import Finding
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.plan.boot_rom import boots_from, check_boot_image

_ORDER = {"error": 0, "warning": 1, "info": 2}


def with_images(loader: ExternalLoader, images: Sequence[str]) -> ExternalLoader:
    """Add to a loader's findings those about images; raises InputError, ImageFileError."""
    if not images:
        return loader
    content = load_images(images)
    found = (*loader.findings, *(check_boot_image(loader, content) or _unchecked(loader, content)))
    return replace(loader, findings=tuple(sorted(found, key=lambda each: _ORDER[each.severity])))


def _unchecked(loader: ExternalLoader, content: Content) -> tuple[Finding, ...]:
    """Say why there was nothing to check of images, which else would seem to be good."""
    start = loader.storage.address
    if not boots_from(loader):
        return (
            Finding(
                "boot-unknown",
                "info",
                "The images were only read: of memories that a boot ROM starts an image from by its STM32 header, "
                "that of the STM32N6 at 0x70000000 is known.",
            ),
        )
    if not any(start in each for each in content.ranges):
        said = f"The images have nothing at 0x{start:08X}, where the boot ROM looks: another program has to start them."
        return (Finding("boot-elsewhere", "info", said),)
    return ()


def boot_notes(loaders: Sequence[ExternalLoader], content: Content) -> tuple[Noted, ...]:
    """Say of what is to be loaded whether the boot ROM would start it."""
    return tuple(Noted(each.code, each.message) for loader in loaders for each in check_boot_image(loader, content))
