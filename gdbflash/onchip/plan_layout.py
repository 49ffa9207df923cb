"""Share out the target's RAM between a loader and what its calls need.

What belongs here: the one pure function that makes a `Layout`.
"""

from __future__ import annotations

from gdbflash.errors import PlanError
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.loaders.static_base import StaticBase
from gdbflash.onchip import entry
from gdbflash.onchip.layout import WORD, Layout
from gdbflash.ranges import Range, without

STRAYS, LEAST_STRAYS = 1024, 512
"""Bytes behind the loader where nothing lies that must hold: two of 319 real loaders write up to 0x1AC bytes behind
what they declare. The vendor's tool has its stack there."""
LEAST_STACK = 1024
"""What the vendor's tool gives; real loaders were measured to use 92 to 428 bytes."""
LARGE_STACK = 16 * 1024
ROUTINE, LEAST_ROUTINE = 4096, 1024
"""The digest routine and its tables: sectors that one call digests, about 290 or 30."""
LEAST_BUFFER = 256
"""A page of the usual serial NOR chip: less would make every program call partial."""
COMFORTABLE_BUFFER = 4096
"""Below this the place for strays shrinks first."""
GUARD = 8


def plan_layout(
    loader: ExternalLoader, ram: Range, *, largest_buffer: int | None = None, static_base: int | None = None
) -> Layout:
    """Share out the RAM around a loader; raises PlanError when it is too small, or its static base is not known.

    The buffer is a multiple of 8 long, at most largest_buffer bytes. static_base: what r9 is to be, whatever the file
    says.
    """
    base = loader.static_base if static_base is None else StaticBase(static_base, 0, "named")
    if base.unknown:
        raise PlanError(f"{loader.path} {base.unknown}. Name what r9 is to be with --static-base ADDRESS.")
    start, end = _free(loader, ram)
    scratch_size = -(-base.scratch // 8) * 8
    routine_size = ROUTINE if end - start >= 4 * LARGE_STACK else LEAST_ROUTINE
    fixed = scratch_size + GUARD + entry.SIZE + routine_size + GUARD
    strays = STRAYS if end - start - fixed >= STRAYS + LEAST_STACK + COMFORTABLE_BUFFER else LEAST_STRAYS
    total = end - start - fixed - strays
    stack_size = LARGE_STACK if total >= 4 * LARGE_STACK else max(LEAST_STACK, total // 4 // 8 * 8)
    size = (total - stack_size) // 8 * 8
    if size >= loader.storage.page_size > 0:
        size -= size % _even(loader.storage.page_size)
    if largest_buffer is not None:
        size = min(size, max(LEAST_BUFFER, largest_buffer // 8 * 8))
    if size < LEAST_BUFFER:
        raise PlanError(
            f"RAM {ram} leaves {max(0, end - start)} bytes beside the loader, too few for a stack and a buffer "
            f"({fixed + LEAST_STRAYS + LEAST_STACK + LEAST_BUFFER} are needed). Name more RAM with --ram START:SIZE.",
            free=max(0, end - start),
        )
    stack = Range(start + strays, stack_size)
    scratch = Range(stack.end, scratch_size)
    routine = Range(end - GUARD - routine_size, routine_size)
    return Layout(
        ram=ram,
        return_address=loader.return_address,
        strays=Range(start, strays),
        stack=stack,
        scratch=scratch,
        static_base=scratch.address if base.address is None else base.address,
        buffer=Range(scratch.end, size),
        entry=Range(routine.address - entry.SIZE, entry.SIZE),
        routine=routine,
    )


def _free(loader: ExternalLoader, ram: Range) -> tuple[int, int]:
    """Find the largest free stretch behind the return address, on borders of 8; raises PlanError."""
    if loader.return_address not in ram:
        raise PlanError(
            f"The loader owns the word at 0x{loader.return_address:08X}, which is outside the RAM {ram}. "
            "Name the RAM it was linked for with --ram START:SIZE.",
            address=loader.return_address,
        )
    taken = [Range(loader.return_address, WORD), *loader.owned]
    for each in taken:
        if each.address in ram and each.end > ram.end:
            raise PlanError(
                f"The loader's segment {each} runs past the end of the RAM {ram}. "
                "Use the loader made for this device, or name the RAM with --ram START:SIZE.",
                address=each.address,
                size=each.size,
            )
    # The word below the return address' own is never ours: what lies under the loader may belong to somebody.
    room = without((Range(loader.return_address, ram.end - loader.return_address),), taken)
    free = max(room, key=lambda each: each.size, default=Range(ram.end, 0))
    return -(-free.address // 8) * 8, free.end // 8 * 8


def _even(page: int) -> int:
    """Round a page size up to a multiple of 8, the alignment that buffers have."""
    return -(-page // 8) * 8
