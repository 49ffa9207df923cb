"""Synthetic ELF files in the shapes that real external loaders have.

`elf_file` lays out any small ELF32 file; `stldr` fills one with StorageInfo, functions and sections as GNU, Keil or
IAR tools arrange them. The code bytes mean nothing: these files are for parsers, not for running.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Toolchain = Literal["gnu", "keil", "iar"]

EHDR, PHDR, SHDR, SYM = 52, 32, 40, 16
PROGBITS, SYMTAB, STRTAB, NOBITS, ATTRIBUTES = 1, 2, 3, 8, 0x70000003
ABS = 0xFFF1
NOTYPE, OBJECT, FUNC = 0, 1, 2
LOCAL, GLOBAL, WEAK = 0, 1, 2
DEFAULT, HIDDEN = 0, 2


@dataclass(frozen=True)
class Section:
    """A section; NOBITS ones have a size and no data."""

    name: str
    address: int
    data: bytes = b""
    size: int | None = None
    flags: int = 7

    @property
    def memory_size(self) -> int:
        return len(self.data) if self.size is None else self.size


@dataclass(frozen=True)
class Load:
    """A PT_LOAD segment made of sections in ascending order."""

    sections: tuple[Section, ...]
    memory_size: int | None = None
    load_address: int | None = None

    @property
    def address(self) -> int:
        return self.sections[0].address

    @property
    def data(self) -> bytes:
        whole = b""
        for section in self.sections:
            if section.size is None:
                whole = whole.ljust(section.address - self.address, b"\0") + section.data
        return whole


@dataclass(frozen=True)
class Sym:
    """A symbol table entry; section is a section's name, None for SHN_ABS, "" for SHN_UNDEF."""

    name: str
    value: int
    size: int = 0
    kind: int = FUNC
    binding: int = GLOBAL
    visibility: int = DEFAULT
    section: str | None = None


@dataclass(frozen=True)
class Elf:
    """What goes into an ELF file."""

    loads: tuple[Load, ...]
    symbols: tuple[Sym, ...] | None = ()
    entry: int = 0
    kind: int = 2
    machine: int = 40
    extra: tuple[Section, ...] = field(default=())
    """Sections outside all segments, such as debug information."""


def elf_file(elf: Elf) -> bytes:
    """Lay out headers, segments, tables and section headers; symbols None makes a stripped file."""
    offset = EHDR + PHDR * len(elf.loads)
    contents, headers = bytearray(), bytearray()
    sections: list[tuple[Section, int]] = []
    for load in elf.loads:
        start, size = offset + len(contents), len(load.data)
        total = size if load.memory_size is None else load.memory_size
        stored_at = load.address if load.load_address is None else load.load_address
        headers += struct.pack("<8I", 1, start, load.address, stored_at, size, total, 7, 4)
        contents += load.data
        sections += [(section, start + section.address - load.address) for section in load.sections]
    for section in elf.extra:
        sections.append((section, offset + len(contents)))
        contents += section.data
    tables = _Tables(offset + len(contents), sections, elf.symbols)
    shoff = offset + len(contents) + len(tables.data)
    ident = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    ehdr = ident + struct.pack(
        "<HHIIIIIHHHHHH",
        *(elf.kind, elf.machine, 1, elf.entry, EHDR if elf.loads else 0, shoff, 0x05000200),
        *(EHDR, PHDR, len(elf.loads), SHDR, tables.count, tables.count - 1),
    )
    return bytes(ehdr + headers + contents + tables.data + tables.headers)


class _Tables:
    """Symbol and string tables behind the contents, and all section headers."""

    def __init__(self, offset: int, sections: list[tuple[Section, int]], symbols: tuple[Sym, ...] | None) -> None:
        self.data = bytearray()
        self.headers = bytearray(SHDR)
        self.count = 1
        self._names = bytearray(b"\0")
        indices = {section.name: index for index, (section, _) in enumerate(sections, 1)}
        for section, start in sections:
            kind = PROGBITS if section.size is None else NOBITS
            kind = ATTRIBUTES if section.name == ".ARM.attributes" else kind
            self._header(section.name, kind, section.address, start, section.memory_size, flags=section.flags)
        if symbols is not None:
            table, strings = _symbol_table(symbols, indices)
            local = 1 + sum(symbol.binding == LOCAL for symbol in symbols)
            self._header(".symtab", SYMTAB, 0, offset, len(table), link=self.count + 1, info=local, entry=SYM)
            self._header(".strtab", STRTAB, 0, offset + len(table), len(strings))
            self.data += table + strings
        name = self._name(".shstrtab")
        start = offset + len(self.data)
        self._header(name, STRTAB, 0, start, len(self._names))
        self.data += self._names

    def _name(self, name: str) -> int:
        at = len(self._names)
        self._names += name.encode() + b"\0"
        return at

    def _header(
        self,
        name: str | int,
        kind: int,
        address: int,
        start: int,
        size: int,
        *,
        link: int = 0,
        info: int = 0,
        entry: int = 0,
        flags: int = 0,
    ) -> None:
        at = name if isinstance(name, int) else self._name(name)
        self.headers += struct.pack("<10I", at, kind, flags, address, start, size, link, info, 4, entry)
        self.count += 1


def _symbol_table(symbols: Sequence[Sym], indices: Mapping[str, int]) -> tuple[bytes, bytes]:
    table, strings = bytearray(SYM), bytearray(b"\0")
    for each in sorted(symbols, key=lambda symbol: symbol.binding != LOCAL):
        place = ABS if each.section is None else indices[each.section] if each.section else 0
        info = each.binding << 4 | each.kind
        table += struct.pack("<IIIBBH", len(strings), each.value, each.size, info, each.visibility, place)
        strings += each.name.encode() + b"\0"
    return bytes(table), bytes(strings)


def storage_info(
    name: str = "W25Q128_TEST",
    kind: int = 7,
    address: int = 0x90000000,
    size: int = 16 << 20,
    page: int = 256,
    erased: int = 0xFF,
    sectors: Sequence[tuple[int, int]] = ((256, 65536),),
    length: int = 200,
) -> bytes:
    """Encode the struct StorageInfo, cut to length bytes."""
    head = struct.pack("<100sHxxIIIBxxx", name.encode(), kind, address, size, page, erased)
    return (head + b"".join(struct.pack("<II", *group) for group in sectors)).ljust(200, b"\0")[:length]


NAMES: dict[Toolchain, tuple[str, str, str, str]] = {
    # code, constants or data, .bss, device information
    "gnu": (".text", ".data", ".bss", ".info"),
    "keil": ("PrgCode", "PrgData", "PrgBss", "DevInfo"),
    "iar": ("P1 ro", "P1 rw", "P1 zi", "P2 ro"),
}


@dataclass(frozen=True)
class Shape:
    """How a loader file is arranged."""

    functions: Mapping[str, int]
    """Addresses without the Thumb bit."""
    info: bytes = field(default_factory=storage_info)
    info_address: int = 0
    info_behind: bytes = b""
    """What follows StorageInfo in its section."""
    info_symbol_size: int = 200
    code_address: int = 0x24000004
    code_size: int = 2864
    memory_size: int = 2960
    info_first: bool = True
    toolchain: Toolchain = "gnu"
    hidden: bool = False
    kind: int = FUNC
    thumb: int = 1
    entry: int | None = None
    more_symbols: tuple[Sym, ...] = ()


BASIC = Shape(
    functions={
        name: 0x24000004 + 4 + 64 * index
        for index, name in enumerate(("Init", "DeInit", "Read", "Write", "SectorErase", "MassErase"))
    }
)
"""The commonest shape: six functions, StorageInfo at 0, some .bss."""


def shape(**changes: Any) -> Shape:
    """Give the commonest shape with some changes."""
    return replace(BASIC, **changes)


def stldr(form: Shape = BASIC) -> bytes:
    """Build a loader file."""
    return elf_file(arrange(form))


def arrange(form: Shape) -> Elf:
    """Say what goes into a loader file of that form."""
    code, data, bss, info = NAMES[form.toolchain]
    text_size = form.code_size * 3 // 4 & ~3
    filler = bytes(index * 7 & 0xFF for index in range(form.code_size))
    sections = [Section(code, form.code_address, filler[:text_size])]
    sections.append(Section(data, form.code_address + text_size, filler[text_size:]))
    if form.memory_size > form.code_size:
        sections.append(Section(bss, form.code_address + form.code_size, size=form.memory_size - form.code_size))
    loads = [
        Load((Section(info, form.info_address, form.info + form.info_behind),)),
        Load(tuple(sections), memory_size=form.memory_size),
    ]
    visibility, binding = (HIDDEN, LOCAL) if form.hidden else (DEFAULT, GLOBAL)
    # Every toolchain leaves mapping symbols (ELF for the Arm Architecture, 5.5.5) and the names of files.
    symbols = [Sym("$t", form.code_address, 0, NOTYPE, LOCAL, DEFAULT, code), Sym("Loader_Src.c", 0, 0, 4, LOCAL)]
    symbols.append(Sym("StorageInfo", form.info_address, form.info_symbol_size, OBJECT, binding, visibility, info))
    for name, address in form.functions.items():
        place = code if address < form.code_address + text_size else data
        symbols.append(Sym(name, address | form.thumb, 0, form.kind, binding, visibility, place))
    entry = form.functions.get("Init", 0) | 1 if form.entry is None else form.entry
    return Elf(tuple(loads if form.info_first else loads[::-1]), (*symbols, *form.more_symbols), entry)


def from_row(row: Mapping[str, Any], toolchain: Toolchain = "gnu") -> Shape:
    """Turn a row of corpus-facts.json into the shape of the file it was read from."""
    places = [tuple(segment) for segment in row["segments"]]
    info_index = min(range(2), key=lambda index: places[index][2])
    info_address, info_size, _ = places[info_index]
    code_address, code_size, memory_size = places[1 - info_index]
    info = storage_info(
        row["name"], row["type"], row["base"], row["size"], row["page"], row["erased"], row["sectors"], info_size
    )
    return Shape(
        functions=row["functions"],
        info=info,
        info_address=info_address,
        info_symbol_size=info_size,
        code_address=code_address,
        code_size=code_size,
        memory_size=memory_size,
        info_first=info_index == 0,
        toolchain=toolchain,
        entry=row["entry"],
    )


FLAGS = {"W": 1, "A": 2, "X": 4}


def from_wild(row: Mapping[str, Any]) -> Elf:
    """Turn a row that tells segments and sections into a file of that structure."""
    sections = [(_section(row, *facts), index) for *facts, index in row["sections"]]
    loads = []
    for number, (address, file_size, memory_size) in enumerate(row["segments"]):
        mine = sorted(
            (each for each, index in sections if index == number and each.data), key=lambda each: each.address
        )
        mine += [each for each, index in sections if index == number and not each.data and each.address >= address]
        load = Load(tuple(mine), memory_size)
        if not mine or mine[0].address != address or len(load.data) < file_size:
            mine.insert(0, Section("", address, b"\0" * file_size if not mine else b""))
            load = Load(tuple(mine), memory_size)
        loads.append(load)
    place = row["storage_info"]["address"] if "storage_info" in row else _info_place(row)
    symbols = [Sym("StorageInfo", place, 200, OBJECT, LOCAL)]
    symbols += [Sym(name, address | 1) for name, address in row["functions"].items()]
    extra = tuple(each for each, index in sections if index is None)
    return Elf(tuple(loads), tuple(symbols), row["entry"], extra=extra)


def _section(row: Mapping[str, Any], name: str, kind: str, address: int, size: int, flags: str) -> Section:
    bits = sum(FLAGS.get(flag, 0) for flag in flags)
    if kind == "NOBITS":
        return Section(name, address, size=size, flags=bits)
    return Section(name, address, _filler(row, address, size), flags=bits)


def _info_place(row: Mapping[str, Any]) -> int:
    return next(int(address) for name, _, address, size, _, _ in row["sections"] if size in (200, 136))


def _filler(row: Mapping[str, Any], address: int, size: int) -> bytes:
    place = row["storage_info"]["address"] if "storage_info" in row else _info_place(row)
    # Halfwords that read as harmless instructions (movs r0, #n), all different from their neighbours.
    data = bytearray(0x20 if index % 2 else index * 7 + 1 & 0xFF for index in range(size))
    if address <= place < address + size:
        keys = ("name", "type", "base", "size", "page", "erased", "sectors")
        info = storage_info(*(row[key] for key in keys))[: address + size - place]
        data[place - address : place - address + len(info)] = info
    return bytes(data)
