"""Share out the target's RAM between a loader and what its calls need.

What belongs here: the `Layout` value and the one pure function that makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gdbflash.errors import PlanError
from gdbflash.loaders.static_base import StaticBase
from gdbflash.onchip import entry
from gdbflash.ranges import Range, without

if TYPE_CHECKING:
    from gdbflash.loaders.loader import ExternalLoader

WORD = 4
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
PAINT = bytes.fromhex("a5c3965a")
"""Fills stack and guard words: no address, no small number, no erased byte, and not its own mirror image."""


@dataclass(frozen=True)
class Layout:
    """Who owns which part of the RAM while a loader is in it.

    From low to high: the word for the return address, the loader's segments (which may lie anywhere), then in the
    largest free stretch a place for what the loader writes behind itself, the stack (growing down to its canary),
    scratch and the buffer with a guard word; at the far end, where no stray write of a loader was ever seen, the entry
    of calls and the digest routine with its key and tables, followed by a guard word.
    """

    ram: Range
    return_address: int
    strays: Range
    stack: Range
    scratch: Range
    """What the static base points at, where that is not in the loader; may be empty."""
    static_base: int
    """What r9 is in calls."""
    buffer: Range
    entry: Range
    routine: Range

    @property
    def stack_top(self) -> int:
        """What SP starts as."""
        return self.stack.end

    @property
    def last_word(self) -> int:
        """The highest word in use: proof that the RAM is as large as thought."""
        return self.routine.end

    @property
    def guards(self) -> tuple[Range, ...]:
        """Words that nobody may change."""
        return (Range(self.buffer.end, WORD), Range(self.last_word, WORD))

    @property
    def used(self) -> tuple[Range, ...]:
        """What is overwritten, the loader's segments excepted."""
        ours = (self.strays, self.stack, self.scratch, self.buffer, self.entry, self.routine)
        return (Range(self.return_address, WORD), *ours, *self.guards)


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


def stack_used(stack: bytes) -> int:
    """Count the bytes of a painted stack that were used, from its top down to the lowest word without paint."""
    for offset in range(0, len(stack), WORD):
        if stack[offset : offset + WORD] != PAINT:
            return len(stack) - offset
    return 0
