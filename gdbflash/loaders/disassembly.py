"""How a loader's code uses r9, by its instructions.

What belongs here: capstone, a C library that may be missing inside GDB, and the one question that is asked of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from gdbflash.ranges import Range

_R9 = frozenset({"r9", "sb"})
_ABSOLUTE = Range(0x10000000, 0x30000000)
"""What is added to r9 and lies here is an address of RAM, no offset."""
_SAVES = ("push", "stm", "vpush", "strd")


class NoDisassembler(Exception):  # not an error of ours: the caller goes by other signs
    """Capstone is not installed."""


@dataclass
class R9Uses:
    """Instructions that take r9 for a base without having set it."""

    largest: int = -1
    """The largest offset that is reached, bytes."""
    absolute: int = 0
    """Addresses that r9 is added to."""
    unknown: list[int] = field(default_factory=list)
    """Where the offset cannot be told."""

    @property
    def any(self) -> bool:
        """Whether there are any at all."""
        return self.largest >= 0 or self.absolute > 0 or bool(self.unknown)

    def add(self, place: int, offset: int | None) -> None:
        """Count the use at place."""
        if offset is None:
            self.unknown.append(place)
        elif offset in _ABSOLUTE:
            self.absolute += 1
        else:
            self.largest = max(self.largest, offset)


def uses_of_r9(image: Sequence[tuple[int, bytes]], code: Iterable[Range], functions: frozenset[int]) -> R9Uses:
    """Look through Thumb code in an image, which is an address and bytes each; functions: where functions begin.

    Raises NoDisassembler. Source: Arm, Armv7-M Architecture Reference Manual, A6.
    """
    try:
        import capstone
    except (ImportError, OSError) as error:
        raise NoDisassembler from error
    decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    decoder.skipdata = True
    uses = R9Uses()
    memory = dict(image)
    for address, data in _parts(image, code):
        literals = _literals(decoder, address, data)
        spans = tuple(_functions_with_r9(decoder, address, data, functions))
        if not spans:
            continue
        decoder.detail = True
        for span in spans:
            start = span.address - address
            instructions = decoder.disasm(data[start : start + span.size], span.address)
            function = [each for each in instructions if each.id and each.address & ~3 not in literals]
            if not any(map(_sets_r9, function)):
                _follow(function, memory, uses)
        decoder.detail = False
    return uses


def _parts(image: Sequence[tuple[int, bytes]], places: Iterable[Range]) -> Iterator[tuple[int, bytes]]:
    """Cut places out of an image."""
    for place in places:
        for address, data in image:
            start, end = max(place.address, address), min(place.end, address + len(data))
            if start < end:
                yield start, data[start - address : end - address]


@cache
def _arm() -> Any:
    from capstone import arm

    return arm


def _literals(decoder: Any, address: int, data: bytes) -> frozenset[int]:
    """Find the words between code that instructions load: no instructions themselves.

    A load that would write PC back is unpredictable (Armv7-M, A7.7, LDRD (literal)): bytes that read so are data.
    """
    found = set()
    for place, _, mnemonic, operands in decoder.disasm_lite(data, address):
        if mnemonic.startswith("ldr") and "[pc, #" in operands and operands.endswith("]"):
            found.add((place + 4 & ~3) + int(operands.split("[pc, #")[1].rstrip("]"), 0))
    return frozenset(found)


def _functions_with_r9(decoder: Any, address: int, data: bytes, functions: frozenset[int]) -> Iterator[Range]:
    """Cut code into functions, and give those that name r9 other than to save it."""
    start, found = address, False
    for place, _, mnemonic, operands in decoder.disasm_lite(data, address):
        if place in functions or (mnemonic == "push" and "lr" in operands):
            if found:
                yield Range(start, place - start)
            start, found = place, False
        if ("sb" in operands or "r9" in operands) and not mnemonic.startswith(("push", "pop", "ldm", "stm")):
            found = True
    if found:
        yield Range(start, address + len(data) - start)


def _sets_r9(each: Any) -> bool:
    """Tell whether an instruction gives r9 a value: where it is the static base, no function does."""
    if each.mnemonic.startswith(("pop", "ldm")):
        return False
    return any(each.reg_name(number) in _R9 for number in each.regs_access()[1])


def _follow(instructions: Iterable[Any], image: Mapping[int, bytes], uses: R9Uses) -> None:
    """Go through one function in the order of its code, with what its registers are known to hold."""
    known: dict[str, int] = {}
    """Constants by register."""
    based: dict[str, int] = {"sb": 0}
    """Offsets from the static base by register."""
    for each in instructions:
        _use(each, known, based, uses)
        _result(each, known, based, image)


def _use(each: Any, known: Mapping[str, int], based: Mapping[str, int], uses: R9Uses) -> None:
    mnemonic = each.mnemonic
    if mnemonic.startswith(_SAVES):
        return
    for operand in each.operands:
        if operand.type == _arm().ARM_OP_MEM and operand.mem.base:
            base = each.reg_name(operand.mem.base)
            index = each.reg_name(operand.mem.index) if operand.mem.index else ""
            if base in based:
                more = known.get(index) if index else operand.mem.disp
                uses.add(each.address, None if more is None else based[base] + more)
            elif index in based:
                more = known.get(base)
                uses.add(each.address, None if more is None else based[index] + more)
    registers = _registers(each)
    if mnemonic.startswith("add") and len(registers) >= 2 and _is_plain_sum(each):
        first, second = registers[-2:]
        if (first in based) != (second in based):
            base, other = (first, second) if first in based else (second, first)
            if len(each.operands) == len(registers):
                more = known.get(other)
                uses.add(each.address, None if more is None else based[base] + more)


def _is_plain_sum(each: Any) -> bool:
    return not any(operand.shift.type for operand in each.operands if operand.type == _arm().ARM_OP_REG)


def _registers(each: Any) -> list[str]:
    return [each.reg_name(operand.reg) for operand in each.operands if operand.type == _arm().ARM_OP_REG]


def _result(each: Any, known: dict[str, int], based: dict[str, int], image: Mapping[int, bytes]) -> None:
    """Note what an instruction leaves in its registers."""
    operands, mnemonic = each.operands, each.mnemonic.split(".")[0]
    constant = base = None
    if (
        mnemonic in ("mov", "movs", "movw", "add", "adds", "addw")
        and operands
        and operands[0].type == _arm().ARM_OP_REG
    ):
        constant, base = _moved(each, mnemonic, known, based)
    elif mnemonic == "movt":
        low = known.get(each.reg_name(operands[0].reg))
        constant = None if low is None else low & 0xFFFF | operands[1].imm << 16
    elif mnemonic == "ldr" and operands[1].type == _arm().ARM_OP_MEM and each.reg_name(operands[1].mem.base) == "pc":
        constant = _word(image, (each.address + 4 & ~3) + operands[1].mem.disp)
    written = each.regs_access()[1]
    for number in written:
        name = each.reg_name(number)
        known.pop(name, None)
        based.pop(name, None)
    if operands and operands[0].type == _arm().ARM_OP_REG:
        name = each.reg_name(operands[0].reg)
        if constant is not None:
            known[name] = constant
        if base is not None:
            based[name] = base


def _moved(
    each: Any, mnemonic: str, known: Mapping[str, int], based: Mapping[str, int]
) -> tuple[int | None, int | None]:
    """Give the constant and the offset from the static base that a move or a sum leaves."""
    registers = _registers(each)
    immediate = each.operands[-1].imm if each.operands[-1].type == _arm().ARM_OP_IMM else None
    if mnemonic.startswith("mov"):
        if immediate is not None:
            return immediate & 0xFFFFFFFF, None
        source = registers[-1]
        return known.get(source), based.get(source)
    source = registers[-1] if len(registers) > 1 else registers[0]
    if immediate is None:
        first = registers[-2]
        if source in based and first in known:
            return None, based[source] + known[first]
        if first in based and source in known:
            return None, based[first] + known[source]
        return None, None
    value = known[source] + immediate if source in known else None
    return value, based[source] + immediate if source in based else None


def _word(image: Mapping[int, bytes], address: int) -> int | None:
    for start, data in image.items():
        if start <= address <= start + len(data) - 4:
            return int.from_bytes(data[address - start : address - start + 4], "little")
    return None
