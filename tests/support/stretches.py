"""The bytes of an image as tests compare them."""

from __future__ import annotations

from gdbflash.images.content import Content


def stretches(content: Content) -> list[tuple[int, bytes]]:
    """Give addresses and bytes, those that touch joined."""
    return [(each.address, content.read(each)) for each in content.ranges]
