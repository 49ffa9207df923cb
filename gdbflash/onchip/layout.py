"""Who owns which part of the target's RAM while a loader is in it.

What belongs here: the `Layout` value. It is made by `plan_layout`.
"""

from __future__ import annotations

from dataclasses import dataclass

from gdbflash.ranges import Range

WORD = 4
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
    def halves(self) -> tuple[Range, Range]:
        """Cut the buffer in two, of which one is used while the other is sent or brought."""
        size = self.buffer.size // 16 * 8
        return Range(self.buffer.address, size), Range(self.buffer.address + size, size)

    @property
    def used(self) -> tuple[Range, ...]:
        """What is overwritten, the loader's segments excepted."""
        ours = (self.strays, self.stack, self.scratch, self.buffer, self.entry, self.routine)
        return (Range(self.return_address, WORD), *ours, *self.guards)


def stack_left(stack: bytes) -> int:
    """Count the bytes of the longest stretch of a painted stack that still has its paint."""
    longest = run = 0
    for offset in range(0, len(stack), WORD):
        run = run + WORD if stack[offset : offset + WORD] == PAINT else 0
        longest = max(longest, run)
    return longest


def stack_used(stack: bytes) -> int:
    """Count the bytes of a painted stack that were used, from its top down to the lowest word without paint."""
    for offset in range(0, len(stack), WORD):
        if stack[offset : offset + WORD] != PAINT:
            return len(stack) - offset
    return 0
