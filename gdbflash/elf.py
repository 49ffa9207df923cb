"""Read 32-bit little-endian ARM ELF files into plain values.

What belongs here: pyelftools, and the bounds that keep a damaged file from costing time or memory. A whole file is at
hand as bytes, so only the record layouts of pyelftools are used (`ELFStructs`). Its `ELFFile`, with one `except` round
it, was measured (pyelftools 0.33): 9 ms more to import; 115 ms instead of 10 for 5,000 symbols; and of 4,000 copies of
a loader with one to three damaged bytes in its headers it took 524 for sound that are refused here, for it reads over
the end of a file without a word, needed up to 3.9 s instead of 4 ms, and twice more than 4 GiB.

Sources: Tool Interface Standard, ELF 1.2; ELF for the Arm Architecture (IHI 0044).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from gdbflash.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_SEGMENTS = 256
MOST_SECTIONS = 4096
"""Linked ARM programs have a few dozen; a damaged header may promise 65,535."""
_MAGIC = b"\x7fELF"
_ADDRESS_SPACE = 1 << 32
_EHDR_SIZE, _PHDR_SIZE, _SHDR_SIZE = 52, 32, 40
MOST_SYMBOLS = 1 << 16
"""Ten times those of the largest loader seen."""
LONGEST_NAME = 1024
"""Bytes read of a symbol's name: enough for mangled C++, and no whole string table where its NULs are lost."""
_SYMBOL = struct.Struct("<IIIBBH")
_KINDS = {0: "NOTYPE", 1: "OBJECT", 2: "FUNC", 3: "SECTION", 4: "FILE"}
_BINDINGS = {0: "LOCAL", 1: "GLOBAL", 2: "WEAK"}
_SHN_UNDEF, _SHN_LORESERVE = 0, 0xFF00
_ATTRIBUTES = "SHT_ARM_ATTRIBUTES"
_SHF_WRITE, _SHF_ALLOC, _SHF_EXECINSTR = 1, 2, 4


@dataclass(frozen=True)
class ElfSegment:
    """A PT_LOAD program header with its file bytes."""

    address: int
    """p_vaddr: where the code runs."""
    load_address: int
    """p_paddr: where the bytes are stored."""
    data: bytes
    memory_size: int
    offset: int = 0
    """Where its bytes lie in the file."""
    padding: int = 0
    """How many of the first bytes are the ELF header and filling up to the first section: no part of the program.

    GNU ld puts them there whenever there is room below the code in its page, as at 0x90000400.
    """


@dataclass(frozen=True)
class ElfSection:
    """A section header; data is empty for NOBITS."""

    address: int
    data: memoryview
    name: str = ""
    size: int = 0
    offset: int = 0
    """Where its bytes lie in the file."""
    allocated: bool = False
    """Whether it is part of the program's memory (SHF_ALLOC)."""
    nobits: bool = False
    writable: bool = False
    executable: bool = False


class ElfSymbol(NamedTuple):
    """A defined entry of the symbol table; kind and binding are ELF's words without prefix, such as FUNC, LOCAL."""

    name: str
    value: int
    size: int
    kind: str
    binding: str
    section: ElfSection | None
    """Where it is defined; None for absolute and other special sections."""


def is_elf(data: bytes) -> bool:
    """Tell whether data begins as an ELF file does."""
    return data[:4] == _MAGIC


class ElfFile:
    """An executable ARM ELF file; every defect is raised as `defect`, an InputError naming the file."""

    def __init__(self, data: bytes, name: str, defect: type[InputError]) -> None:
        """Check the file header; raises defect unless data is an ET_EXEC file for 32-bit little-endian ARM."""
        self._data = data
        self._name = name
        self._defect = defect
        self._check_ident()
        self._structs = _structs()
        self._header = self._record(self._structs.Elf_Ehdr, 0, _EHDR_SIZE, "file header")
        self._check_kind()

    @property
    def entry(self) -> int:
        """e_entry as the file has it."""
        return int(self._header["e_entry"])

    def segments(self) -> tuple[ElfSegment, ...]:
        """List the PT_LOAD segments in file order; raises defect when one is not wholly in the file."""
        count, offset = self._header["e_phnum"], self._header["e_phoff"]
        if count > MOST_SEGMENTS:
            raise self._damaged(f"its header promises {count} program headers")
        if count and self._header["e_phentsize"] != _PHDR_SIZE:
            raise self._damaged(f"its program headers are {self._header['e_phentsize']} bytes instead of {_PHDR_SIZE}")
        headers = (
            self._record(self._structs.Elf_Phdr, offset + index * _PHDR_SIZE, _PHDR_SIZE, "program header table")
            for index in range(count)
        )
        loads = [header for header in headers if header["p_type"] == "PT_LOAD"]
        if sum(header["p_filesz"] for header in loads) > len(self._data):
            # Each may lie in the file by itself; together they would multiply it in memory.
            raise self._damaged("its segments claim more bytes than the file has")
        return tuple(self._segment(header) for header in loads)

    def sections(self) -> tuple[ElfSection, ...]:
        """List the sections that are part of the program's memory, and the build attributes, in file order.

        Raises defect when one is not wholly in the file.
        """
        headers = self._section_headers()
        index = self._header["e_shstrndx"]
        names = bytes(self._contents(headers[index])) if index < len(headers) else b""
        wanted = (each for each in headers if each["sh_flags"] & _SHF_ALLOC or each["sh_type"] == _ATTRIBUTES)
        return tuple(self._section(each, _string(names, each["sh_name"])) for each in wanted)

    def attributes(self) -> dict[str, int]:
        """Give the build attributes of the file that are numbers, by their tags; nothing where it has none.

        Source: Addenda to, and Errata in, the ABI for the Arm Architecture (IHI 0045), 3.
        """
        from elftools.elf.sections import ARMAttributesSection

        header = next((each for each in self._section_headers() if each["sh_type"] == _ATTRIBUTES), None)
        if header is None or not self._contents(header):
            return {}
        file: Any = SimpleNamespace(stream=io.BytesIO(self._data), structs=self._structs)
        try:
            section = ARMAttributesSection(header, "", file)
            scopes = [scope for part in section.iter_subsections() for scope in part.iter_subsubsections()]
            found = [each for scope in scopes for each in scope.iter_attributes()]
        except Exception:  # a damaged table tells nothing, and nothing depends on it alone
            return {}
        return {each.tag: each.value for each in found if isinstance(each.value, int)}

    def _section(self, header: Any, name: str = "") -> ElfSection:
        flags = header["sh_flags"]
        return ElfSection(
            address=header["sh_addr"],
            data=self._contents(header),
            name=name,
            size=header["sh_size"],
            offset=header["sh_offset"],
            allocated=bool(flags & _SHF_ALLOC),
            nobits=header["sh_type"] == "SHT_NOBITS",
            writable=bool(flags & _SHF_WRITE),
            executable=bool(flags & _SHF_EXECINSTR),
        )

    def symbols(self) -> Iterator[ElfSymbol]:
        """Yield the defined, named symbols; raises defect when the file has no symbol table or a damaged one."""
        headers = self._section_headers()
        table = next((header for header in headers if header["sh_type"] == "SHT_SYMTAB"), None)
        if table is None:
            raise self._defect(
                f"{self._name} has no symbol table, so its functions cannot be found. It was stripped: "
                "build it without -s, and do not run strip on it.",
                path=self._name,
            )
        if table["sh_link"] >= len(headers) or headers[table["sh_link"]]["sh_type"] != "SHT_STRTAB":
            raise self._damaged("its symbol table names no string table")
        if table["sh_size"] % _SYMBOL.size or table["sh_entsize"] != _SYMBOL.size:
            raise self._damaged(f"its symbol table claims {table['sh_size']} bytes in entries of {table['sh_entsize']}")
        names = bytes(self._contents(headers[table["sh_link"]]))
        sections: dict[int, ElfSection] = {}
        # pyelftools takes 60 us for a symbol and files have thousands: the one record that is decoded here.
        records = self._contents(table)
        if table["sh_size"] > MOST_SYMBOLS * _SYMBOL.size:
            raise self._defect(
                f"{self._name} has {table['sh_size'] // _SYMBOL.size} symbols, and no loader needs {MOST_SYMBOLS}. "
                "Check that it is one.",
                path=self._name,
            )
        for name_at, value, size, info, _, place in _SYMBOL.iter_unpack(records):
            name = _string(names, name_at)
            if place == _SHN_UNDEF or not name:
                continue
            if place not in sections and place < min(len(headers), _SHN_LORESERVE):
                sections[place] = self._section(headers[place])
            yield ElfSymbol(
                name=name,
                value=value,
                size=size,
                kind=_KINDS.get(info & 0xF, str(info & 0xF)),
                binding=_BINDINGS.get(info >> 4, str(info >> 4)),
                section=sections.get(place),
            )

    def _check_ident(self) -> None:
        data = self._data
        if len(data) < _EHDR_SIZE:
            raise self._damaged(f"it ends after {len(data)} bytes, inside the ELF header")
        if data[4] == 2:
            raise self._foreign("a 64-bit ELF file")
        if data[5] == 2:
            raise self._foreign("a big-endian ELF file")
        if data[4] != 1 or data[5] != 1:
            raise self._damaged(f"its ELF header has class {data[4]} and byte order {data[5]}")

    def _check_kind(self) -> None:
        machine, kind = self._header["e_machine"], self._header["e_type"]
        if machine != "EM_ARM":
            raise self._foreign(f"an ELF file for {str(machine).removeprefix('EM_')}")
        if kind == "ET_REL":
            raise self._defect(
                f"{self._name} is an object file that was never linked. Link it, and use the result.",
                path=self._name,
            )
        if kind != "ET_EXEC":
            raise self._foreign(f"an ELF file of kind {str(kind).removeprefix('ET_')}, not an executable")

    def _segment(self, header: Any) -> ElfSegment:
        start, length = header["p_offset"], header["p_filesz"]
        address, memory_size = header["p_vaddr"], header["p_memsz"]
        where = f"segment at 0x{address:08X}"
        if start + length > len(self._data):
            raise self._truncated(where, start + length)
        if length > memory_size or address + memory_size > _ADDRESS_SPACE:
            raise self._damaged(f"its {where} claims {length} bytes in the file and {memory_size} in memory")
        padding = 0 if start else self._first_section(length)
        data = self._data[start : start + length]
        return ElfSegment(address, header["p_paddr"], data, memory_size, start, padding)

    def _first_section(self, length: int) -> int:
        """Find the file offset of the first section with program bytes, in the first length bytes; 0 without one."""
        offsets = (
            header["sh_offset"]
            for header in self._section_headers()
            if header["sh_flags"] & _SHF_ALLOC and header["sh_type"] != "SHT_NOBITS" and header["sh_size"]
        )
        return min((offset for offset in offsets if offset < length), default=0)

    def _section_headers(self) -> list[Any]:
        count, offset = self._header["e_shnum"], self._header["e_shoff"]
        if not offset:
            return []
        if not 0 < count <= MOST_SECTIONS or self._header["e_shentsize"] != _SHDR_SIZE:
            raise self._damaged(f"its header promises {count} sections of {self._header['e_shentsize']} bytes")
        return [
            self._record(self._structs.Elf_Shdr, offset + index * _SHDR_SIZE, _SHDR_SIZE, "section header table")
            for index in range(count)
        ]

    def _contents(self, header: Any) -> memoryview:
        if header["sh_type"] == "SHT_NOBITS":
            return memoryview(b"")
        start, size = header["sh_offset"], header["sh_size"]
        if start + size > len(self._data):
            raise self._truncated(f"section at 0x{header['sh_addr']:08X}", start + size)
        return memoryview(self._data)[start : start + size]

    def _record(self, layout: Any, offset: int, size: int, where: str) -> Any:
        if offset + size > len(self._data):
            raise self._truncated(where, offset + size)
        try:
            return layout.parse_stream(io.BytesIO(self._data[offset : offset + size]))
        except Exception as error:  # pyelftools documents no exceptions for its record layouts
            raise self._damaged(f"its {where} cannot be read ({error})") from error

    def _truncated(self, what: str, needed: int) -> InputError:
        return self._defect(
            f"{self._name} is cut short: its {what} would end at byte {needed}, but the file has {len(self._data)}. "
            "Copy or build it again.",
            path=self._name,
        )

    def _damaged(self, how: str) -> InputError:
        return self._defect(
            f"{self._name} is a damaged ELF file: {how}. Copy or build it again.",
            path=self._name,
        )

    def _foreign(self, what: str) -> InputError:
        return self._defect(
            f"{self._name} is {what}; an executable for 32-bit little-endian ARM is needed. Use the file built for "
            "the microcontroller.",
            path=self._name,
        )


@cache
def _structs() -> Any:
    # As long to import as all else that reads a loader: whoever reads no ELF file does not pay it.
    from elftools.elf.structs import ELFStructs

    structs = ELFStructs(little_endian=True, elfclass=32)
    structs.create_basic_structs()
    structs.create_advanced_structs("ET_EXEC", "EM_ARM")
    return structs


def _string(table: bytes, offset: int) -> str:
    """Cut a NUL-terminated name out of a string table; empty where there is none."""
    end = table.find(b"\0", offset, offset + LONGEST_NAME)
    return table[offset:end].decode("utf-8", errors="replace") if end >= 0 else ""
