"""Memories with a guard as the core meets them: stores that the guard takes, and reads that fail.

What belongs here: what Unicorn has to be made to do for `memory.Guard`. Such a memory is mapped read-only, and executes
as fast as any other.
"""

from __future__ import annotations

from dataclasses import dataclass

from gdbflash.board.bus import BusError
from gdbflash.board.cpu.engine import Engine
from gdbflash.board.memory import AddressSpace, Guard, Memory


@dataclass(frozen=True)
class _Store:
    """A store that the engine did in the memory itself."""

    memory: Memory
    guard: Guard
    offset: int
    data: bytes


class Guards:
    """The guards of an address space, on behalf of its core.

    The engine cannot but do a store in the memory as well, where the next load would find it. So an instruction that
    stores is abandoned, its stores are undone, and it is executed again alone; then its guard gets them. One in an IT
    block cannot be abandoned, and execution went on to the end of translated code: its guard gets them all the same.
    """

    def __init__(self, engine: Engine, space: AddressSpace) -> None:
        self._engine = engine
        self._space = space
        self._guarded = [(memory, memory.guard) for memory in space.memories if memory.guard is not None]
        self._undo: list[tuple[Memory, int, bytes]] = []
        self._postponed: list[_Store] = []
        self._alone: list[_Store] = []
        self._unreadable: list[tuple[int, int]] = []
        self._hooks: list[int] = []
        self.denied: int | None = None
        """What the instruction that was abandoned could not read."""

    def begin(self) -> None:
        """Begin a run."""
        self.denied = None

    @property
    def postponed(self) -> bool:
        """Whether an instruction was abandoned since it stores: it has to be executed alone."""
        return bool(self._postponed)

    def store(self, address: int, size: int, value: int, *, alone: bool) -> bool:
        """Take a store of the core to read-only memory; False if there is no guard. alone: by one instruction."""
        memory = self._space.memory_at(address)
        if memory is None or memory.guard is None:
            return False
        if not alone:
            self._engine.stop()
        if address % size == 0:  # else its bytes follow one by one
            offset = address - memory.base
            self._undo.append((memory, offset, bytes(memory.content[offset : offset + size])))
            stores = self._alone if alone else self._postponed
            stores.append(_Store(memory, memory.guard, offset, value.to_bytes(size, "little")))
        return True

    def undo(self) -> None:
        """Undo what the engine has stored, at the end of a run."""
        for memory, offset, before in reversed(self._undo):
            memory.content[offset : offset + len(before)] = before
        self._undo.clear()

    def settle(self) -> None:
        """Give the guards the stores of the instruction that was executed alone, and of IT blocks before it."""
        first, self._postponed = self._postponed, []
        then, self._alone = self._alone, []
        for count in range(min(len(first), len(then)), 0, -1):
            if first[-count:] == then[:count]:  # it was abandoned behind these
                del first[-count:]
                break
        for store in (*first, *then):
            store.guard.store(store.offset, store.data)

    def watch(self) -> bool:
        """Have the engine ask at reads of what is unreadable; return whether that has changed.

        Where nothing is, it asks never: one such hook makes all reads slower.
        """
        wanted = [
            (memory.base + offset, memory.base + offset + size - 1)
            for memory, guard in self._guarded
            for offset, size in guard.unreadable
        ]
        if wanted == self._unreadable:
            return False
        for handle in self._hooks:
            self._engine.unhook(handle)
        self._hooks = [self._engine.hook_access("r", first, last, self._on_read) for first, last in wanted]
        self._unreadable = wanted
        return True

    def _on_read(self, _uc: object, _kind: int, address: int, size: int, _value: int, _data: object) -> None:
        memory = self._space.memory_at(address)
        try:
            if memory is not None and memory.guard is not None:
                memory.guard.check(address - memory.base, min(size, memory.end - address))
        except BusError as error:
            self.denied = error.address
            self._engine.stop()
