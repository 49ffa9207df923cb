"""External loaders: from a `.stldr` file to an `ExternalLoader`.

What belongs here: which parts of the ELF file a loader consists of, and where each has to go. Nothing is moved:
loaders are absolute code. Source: ST's user manual UM2237 (developing customized loaders for external memory), and
what real files show.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING

from gdbflash.elf import ElfFile, ElfSection, ElfSegment, ElfSymbol, is_elf
from gdbflash.errors import LoaderFileError
from gdbflash.files import read_file
from gdbflash.loaders import findings as lint
from gdbflash.loaders.find_static_base import Code, decide
from gdbflash.loaders.finding import Finding
from gdbflash.loaders.image import Image, Overlap
from gdbflash.loaders.loader import ExternalLoader, Segment, Symbol
from gdbflash.loaders.static_base import StaticBase
from gdbflash.loaders.storage import STRUCT_SIZE, StorageInfo, decode_storage_info
from gdbflash.ranges import Range, joined

if TYPE_CHECKING:
    from gdbflash.errors import JsonValue

FUNCTIONS = ("Init", "DeInit", "Read", "Write", "SectorErase", "MassErase", "Verify", "CheckSum")
LARGEST_FILE = 64 << 20
"""With debug information real loaders have a few MiB; firmware given by mistake is not read for long."""
LARGEST_MEMORY = 16 << 20
"""Four times the RAM of the largest STM32 (N6: 4.2 MiB)."""
_THUMB = 1
_WORD = 4


def load_loader(path: str | os.PathLike[str]) -> ExternalLoader:
    """Read a loader file; raises LoaderFileError when it cannot be read or is not a usable loader."""
    return parse_loader(read_file(path, LARGEST_FILE, LoaderFileError), os.fspath(path))


def parse_loader(data: bytes, name: str) -> ExternalLoader:
    """Decode the bytes of a loader file called name; raises LoaderFileError when it is not a usable loader."""
    if not is_elf(data):
        raise _not_elf(data, name)
    file = ElfFile(data, name, LoaderFileError)
    loader = _Assembly(name, file.entry, file.segments(), tuple(file.symbols()), file.sections()).loader()
    loader = replace(loader, static_base=_static_base(loader, file))
    return replace(loader, sha256=hashlib.sha256(data).hexdigest())


def _static_base(loader: ExternalLoader, file: ElfFile) -> StaticBase:
    """Decide what r9 is to be."""
    sections = [each for each in file.sections() if each.allocated and each.size]
    names = {each.name for each in sections}
    data = joined(Range(each.address, each.size) for each in sections if each.writable and not each.executable)
    attributes = file.attributes()
    # Where the file tells which bytes are code, only those are looked at: tables read as instructions, too.
    code = loader.code or joined(Range(each.address, each.size) for each in sections if each.executable)
    return decide(
        Code(
            image=tuple((each.address, each.data) for each in loader.load_segments if each.data),
            code=code or joined(each.where for each in loader.load_segments),
            functions=frozenset(each.address for each in loader.symbols),
            data=next((each for each in data if any(each.address in own for own in loader.owned)), None),
            armlink="PrgData" in names,
            iar=any(name.startswith(("P1", "P2", "P3")) for name in names),
            attribute=attributes.get("TAG_ABI_PCS_R9_USE") == 1 or attributes.get("TAG_ABI_PCS_RW_DATA") == 2,
        )
    )


def describe(loader: ExternalLoader) -> dict[str, JsonValue]:
    """Say all that `info --json` says, as values for JSON."""
    storage = loader.storage
    return {
        "name": storage.name,
        "type": int(storage.type),
        "type_name": storage.type_name,
        "address": storage.address,
        "size": storage.size,
        "page_size": storage.page_size,
        "erased_value": storage.erased_value,
        "sectors": [{"count": group.count, "size": group.size} for group in storage.sectors],
        "path": loader.path,
        "functions": dict(loader.functions),
        "link_address": loader.link_address,
        "return_address": loader.return_address,
        "ram_need": sum(each.memory_size for each in loader.load_segments),
        "segments": [
            {"address": each.address, "file_size": len(each.data), "memory_size": each.memory_size}
            for each in loader.segments
        ],
        "static_base": {
            "address": loader.static_base.address,
            "scratch": loader.static_base.scratch,
            "why": loader.static_base.unknown or loader.static_base.why,
        },
        "findings": [
            {"code": each.code, "severity": each.severity, "message": each.message} for each in loader.findings
        ],
    }


class _Assembly:
    """The way from ELF values to a loader; findings gather on it."""

    def __init__(
        self,
        name: str,
        entry: int,
        elf_segments: tuple[ElfSegment, ...],
        symbols: tuple[ElfSymbol, ...],
        sections: tuple[ElfSection, ...],
    ) -> None:
        self._name = name
        self._entry = entry
        self._elf_segments = elf_segments
        self._symbols = symbols
        self._sections = sections
        self._image = Image(sections)
        self._segments = tuple(Segment(each.address, each.data, each.memory_size) for each in elf_segments)
        self._findings: list[Finding] = []

    def loader(self) -> ExternalLoader:
        info, storage = self._storage()
        loaded = self._loaded(info)
        functions = self._functions(loaded)
        loader = ExternalLoader(
            path=self._name,
            storage=storage,
            segments=self._segments,
            load_segments=loaded,
            functions=MappingProxyType(functions),
            symbols=self._named_places(functions),
            findings=(),
            code=self._code(loaded),
            writable=self._image.writable(loaded),
            entry=self._entry,
        )
        if loader.link_address < _WORD:
            raise self._unusable(
                "is linked to address 0, which leaves no word below it to return to", "Link it to the start of RAM + 4"
            )
        self._findings += self._image.findings
        self._findings += lint.check_functions(functions, storage.is_ram, self._entry)
        self._findings += lint.check_placement(loader.link_address)
        self._findings += self._check_info_place(info.value, loader)
        order = {"error": 0, "warning": 1, "info": 2}
        findings = tuple(sorted(self._findings, key=lambda each: order[each.severity]))
        return replace(loader, findings=findings)

    def _storage(self) -> tuple[ElfSymbol, StorageInfo]:
        symbol = next((each for each in self._symbols if each.name == "StorageInfo"), None)
        if symbol is None and any(each.name == "FlashDevice" for each in self._symbols):
            raise self._unusable(
                "is a CMSIS flash algorithm (.FLM), no external loader",
                "Name the .stldr file of the memory",
            )
        if symbol is None:
            raise self._unusable(
                "has no StorageInfo, so it is no external loader",
                "Name the .stldr file of the memory, or keep Dev_Inf.c when linking it",
            )
        data = self._bytes_of(symbol)
        try:
            storage = decode_storage_info(data)
        except ValueError as error:
            raise self._unusable(f"is no usable loader: its StorageInfo {error}", "Build it again") from error
        self._findings += lint.check_struct(symbol.size, len(data))
        self._findings += lint.check_storage(storage, PurePath(self._name).stem)
        return symbol, storage

    def _bytes_of(self, symbol: ElfSymbol) -> bytes:
        """Take the struct from the symbol to at most the end of its section; st_size is 0 or wrong in real files.

        Where the symbol names no section, or one without bytes, the first place counts that has some for it: a hole of
        a segment has none but zeros.
        """
        named = [symbol.section] if symbol.section else []
        found = b""
        places: tuple[ElfSection | Segment, ...] = (*named, *self._sections, *self._segments)
        for place in places:
            offset = symbol.value - place.address
            if 0 <= offset < len(place.data):
                found = bytes(place.data[offset : offset + STRUCT_SIZE])
                if any(found):
                    return found
        return found

    def _loaded(self, info: ElfSymbol) -> tuple[Segment, ...]:
        """Choose what goes to the target: all but a segment outside RAM that holds StorageInfo and no function."""
        functions = [each.value & ~_THUMB for each in self._symbols if each.name in FUNCTIONS]

        def wanted(segment: Segment) -> bool:
            only_info = segment.holds(info.value) and not any(map(segment.holds, functions))
            return not (only_info and segment.address not in lint.SRAM)

        try:
            loaded = self._image.load(self._elf_segments, wanted)
        except Overlap as error:
            raise self._unusable(str(error), "Check its linker script") from error
        total = sum(each.memory_size for each in loaded)
        if not loaded:
            raise self._unusable("has no segments to load", "Link it as an executable with program headers")
        if total > LARGEST_MEMORY:
            raise self._unusable(
                f"wants {total} bytes of RAM, more than any STM32 has", "Check its linker script, or copy it again"
            )
        for each in self._elf_segments:
            if each.data and each.address != each.load_address and each.address in lint.SRAM:
                self._findings.append(
                    Finding(
                        "load-address",
                        "warning",
                        f"A segment for 0x{each.address:08X} is stored at 0x{each.load_address:08X}; it is loaded to "
                        "where it runs, for no start-up code copies it.",
                    )
                )
        return loaded

    def _functions(self, loaded: tuple[Segment, ...]) -> dict[str, int]:
        found: dict[str, int] = {}
        for name in FUNCTIONS:
            named = [each for each in self._symbols if each.name == name and each.kind in ("FUNC", "NOTYPE")]
            if not named:
                continue
            inside = [each for each in named if any(part.holds(each.value & ~_THUMB) for part in loaded)]
            if not inside:
                self._refuse_outside(named[0])
                continue
            # A linker makes hidden symbols local; with a local and a global one the global is the loader's interface.
            best = max(
                inside, key=lambda each: (each.binding != "LOCAL", each.kind == "FUNC", each.binding == "GLOBAL")
            )
            found[name] = best.value & ~_THUMB
            if len({each.value for each in inside}) > 1:
                self._findings.append(
                    Finding(
                        "duplicate-function",
                        "warning",
                        f"{name} is defined {len(inside)} times; the one at 0x{found[name]:08X} is used.",
                    )
                )
            if not best.value & _THUMB:
                self._findings.append(
                    Finding(
                        "thumb-bit",
                        "warning",
                        f"The symbol {name} lacks the Thumb bit; it is called as Thumb code. Mark it as a function.",
                    )
                )
        if "Init" not in found:
            there = f"only {', '.join(found)}" if found else "nor any other of a loader"
            mangled = any(each.name == "_Z4Initv" for each in self._symbols)
            raise self._unusable(
                f"exports no function Init ({there})",
                'It is compiled as C++: declare the functions extern "C"'
                if mangled
                else "Use a complete loader, or keep the symbol when linking it",
            )
        return found

    def _refuse_outside(self, symbol: ElfSymbol) -> None:
        where = f"{symbol.name} at 0x{symbol.value & ~_THUMB:08X}"
        if symbol.name == "Init":
            raise self._unusable(f"has its {where}, outside the bytes that are loaded", "Check its linker script")
        self._findings.append(
            Finding("function-outside", "error", f"{where} lies outside the bytes that are loaded; it is not called.")
        )

    def _named_places(self, functions: Mapping[str, int]) -> tuple[Symbol, ...]:
        places = {
            Symbol(each.value & ~_THUMB if each.kind == "FUNC" else each.value, each.size, each.name)
            for each in self._symbols
            if each.kind in ("FUNC", "OBJECT")
        }
        typed = {each.name for each in places}
        places |= {Symbol(address, 0, name) for name, address in functions.items() if name not in typed}
        return tuple(sorted(places))

    def _code(self, loaded: tuple[Segment, ...]) -> tuple[Range, ...]:
        functions = joined(Range(each.value & ~_THUMB, each.size) for each in self._symbols if each.kind == "FUNC")
        return tuple(
            each for each in functions if any(part.holds(each.address) and part.holds(each.end - 1) for part in loaded)
        )

    def _check_info_place(self, address: int, loader: ExternalLoader) -> Iterator[Finding]:
        if any(segment.holds(address) for segment in loader.load_segments):
            if address < loader.return_address:
                yield Finding(
                    "info-elsewhere",
                    "info",
                    f"StorageInfo lies at 0x{address:08X}, below the code; calls return to the word below the code, "
                    f"0x{loader.return_address:08X}.",
                )
            yield Finding("info-in-ram", "info", f"StorageInfo lies in RAM (0x{address:08X}) and is loaded there.")
        if any(address < zeros.end and zeros.address < address + STRUCT_SIZE for zeros in loader.zero_ranges):
            yield Finding(
                "info-under-bss",
                "warning",
                f"StorageInfo at 0x{address:08X} and .bss overlap; .bss is zeroed last and wins.",
            )

    def _unusable(self, why: str, advice: str) -> LoaderFileError:
        return LoaderFileError(f"{self._name} {why}. {advice}.", path=self._name)


def _not_elf(data: bytes, name: str) -> LoaderFileError:
    start = data[:16].lstrip()
    if not data:
        what = "is empty"
    elif data.startswith(b"version https://git-lfs.github.com/spec/"):
        return LoaderFileError(
            f"{name} is a Git LFS pointer: the file itself was not fetched. Run `git lfs pull` where it came from.",
            path=name,
        )
    elif data[:4] in (b"PK\3\4", b"!<ar", b"7z\xbc\xaf", b"Rar!") or data[:2] == b"\x1f\x8b":
        what = "is an archive; the loader is inside, if anywhere"
    elif start[:1] == b":" or (start[:1] == b"S" and start[1:2].isdigit()):
        what = "is a HEX or S-record file, not a loader"
    elif not data.strip(b"\0") or not data.strip(b"\xff"):
        what = "holds nothing but padding"
    elif PurePath(name).suffix.lower() == ".bin":
        what = "is a binary image, not a loader"
    else:
        what = "is not an ELF file, as loaders are"
    return LoaderFileError(f"{name} {what}. Name the .stldr file as it was built.", path=name)
