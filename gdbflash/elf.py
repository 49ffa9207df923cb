"""Read 32-bit little-endian ARM ELF files into plain values.

What belongs here: pyelftools, and the bounds that keep a damaged file from costing time or memory. A whole
file is at hand as bytes, so only the record layouts of pyelftools are used (`ELFStructs`): its `ELFFile` follows
links between sections, which in a damaged file lead anywhere, and takes twice as long to import.

Sources: Tool Interface Standard, ELF 1.2; ELF for the Arm Architecture (IHI 0044).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_SEGMENTS = 256
MOST_SECTIONS = 4096
"""Linked ARM programs have a few dozen; a damaged header may promise 65,535."""
MOST_SYMBOLS = 200_000
"""A loader has some hundreds; what is above this bound would take pyelftools seconds to read."""
LONGEST_NAME = 1024
"""Bytes read of a symbol's name: enough for mangled C++, and no whole string table where its NULs are lost."""

_MAGIC = b"\x7fELF"
_ADDRESS_SPACE = 1 << 32
_EHDR_SIZE, _PHDR_SIZE, _SHDR_SIZE, _SYM_SIZE = 52, 32, 40, 16
_SHN_LORESERVE = 0xFF00


@dataclass(frozen=True)
class ElfSegment:
    """A PT_LOAD program header with its file bytes."""

    address: int
    """p_vaddr: where the code runs."""
    load_address: int
    """p_paddr: where the bytes are stored."""
    data: bytes
    memory_size: int


@dataclass(frozen=True)
class ElfSection:
    """A section header; data is empty for NOBITS."""

    address: int
    data: bytes


@dataclass(frozen=True)
class ElfSymbol:
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
        # Half the cost of importing this module; whoever reads no ELF file does not pay it.
        from elftools.elf.structs import ELFStructs

        self._structs = ELFStructs(little_endian=True, elfclass=32)
        self._structs.create_basic_structs()
        self._header = self._record(self._structs.Elf_Ehdr, 0, _EHDR_SIZE, "file header")
        self._check_kind()
        self._structs.create_advanced_structs(self._header["e_type"], self._header["e_machine"])

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
        return tuple(self._segment(header) for header in headers if header["p_type"] == "PT_LOAD")

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
        names = self._contents(headers[table["sh_link"]])
        count, rest = divmod(table["sh_size"], _SYM_SIZE)
        if rest or table["sh_entsize"] != _SYM_SIZE or count > MOST_SYMBOLS:
            raise self._damaged(f"its symbol table claims {table['sh_size']} bytes in entries of {table['sh_entsize']}")
        sections: dict[int, ElfSection] = {}
        for index in range(count):
            entry = self._record(
                self._structs.Elf_Sym, table["sh_offset"] + index * _SYM_SIZE, _SYM_SIZE, "symbol table"
            )
            place = entry["st_shndx"]
            name = _string(names, entry["st_name"])
            if place == "SHN_UNDEF" or not name:
                continue
            if isinstance(place, int) and place < len(headers) and place not in sections:
                sections[place] = ElfSection(headers[place]["sh_addr"], self._contents(headers[place]))
            yield ElfSymbol(
                name=name,
                value=entry["st_value"],
                size=entry["st_size"],
                kind=str(entry["st_info"]["type"]).removeprefix("STT_"),
                binding=str(entry["st_info"]["bind"]).removeprefix("STB_"),
                section=sections.get(place) if isinstance(place, int) else None,
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
                f"{self._name} is an object file that was never linked. Link it with the linker script that gives "
                "its RAM addresses, and use the result.",
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
        return ElfSegment(address, header["p_paddr"], self._data[start : start + length], memory_size)

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

    def _contents(self, header: Any) -> bytes:
        if header["sh_type"] == "SHT_NOBITS":
            return b""
        start, size = header["sh_offset"], header["sh_size"]
        if start + size > len(self._data):
            raise self._truncated(f"section at 0x{header['sh_addr']:08X}", start + size)
        return self._data[start : start + size]

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


def _string(table: bytes, offset: int) -> str:
    """Cut a NUL-terminated name out of a string table; empty where there is none."""
    end = table.find(b"\0", offset, offset + LONGEST_NAME)
    return table[offset:end].decode("utf-8", errors="replace") if end >= 0 else ""
