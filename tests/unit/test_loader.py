"""Loader files in every shape that real ones have."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path, PurePath
from typing import Any, get_args

import pytest

from gdbflash.loaders.loader import ExternalLoader, Segment, Symbol
from gdbflash.loaders.stldr import describe, load_loader, parse_loader
from gdbflash.loaders.storage import StorageType
from gdbflash.ranges import Range
from tests.support import stldr
from tests.support.stldr import Sym, Toolchain, from_row, shape

ROWS: dict[str, dict[str, Any]] = json.loads((Path(__file__).parents[1] / "fixtures" / "corpus-facts.json").read_text())


@cache
def corpus(toolchain: Toolchain = "gnu") -> dict[str, ExternalLoader]:
    """Build every row as that toolchain would and parse it."""
    return {path: parse_loader(stldr.stldr(from_row(row, toolchain)), path) for path, row in ROWS.items()}


def parsed(**changes: Any) -> ExternalLoader:
    return parse_loader(stldr.stldr(shape(**changes)), "W25Q128_TEST.stldr")


def codes(loader: ExternalLoader) -> list[str]:
    return [finding.code for finding in loader.findings]


def row_of(loader: ExternalLoader) -> dict[str, Any]:
    """Say of a loader what a row of the corpus says."""
    said = describe(loader)
    assert isinstance(said["sectors"], list)
    assert isinstance(said["segments"], list)
    return {
        **{key: said[key] for key in ("name", "type", "size", "functions")},
        "base": said["address"],
        "page": said["page_size"],
        "erased": said["erased_value"],
        "sectors": [list(group.values()) for group in said["sectors"] if isinstance(group, dict)],
        "segments": [list(segment.values()) for segment in said["segments"] if isinstance(segment, dict)],
        "entry": loader.entry,
    }


class TestCorpus:
    def test_is_whole(self) -> None:
        assert len(ROWS) == 295
        assert Counter(min(row["segments"][0][0], row["segments"][1][0]) == 0 for row in ROWS.values()) == {
            True: 258,
            False: 37,
        }

    @pytest.mark.parametrize("toolchain", get_args(Toolchain))
    def test_every_row_is_read_back(self, toolchain: Toolchain) -> None:
        assert {path: row_of(loader) for path, loader in corpus(toolchain).items()} == ROWS

    def test_links_leave_the_first_word_of_ram(self) -> None:
        found = Counter(loader.return_address for loader in corpus().values())
        assert found == {0x24000000: 181, 0x20000000: 91, 0x20003000: 23}

    def test_what_is_loaded(self) -> None:
        """All but StorageInfo at 0, and zeros where a segment is larger in memory than in the file."""
        loaded: Counter[int] = Counter()
        for path, loader in corpus().items():
            assert all(segment.address >= 0x20000000 for segment in loader.load_segments), path
            assert list(loader.load_segments) == sorted(loader.load_segments, key=lambda segment: segment.address)
            bss = [Range(a + size, memory - size) for a, size, memory in ROWS[path]["segments"] if memory > size]
            assert list(loader.zero_ranges) == bss, path
            loaded[len(loader.load_segments)] += 1
        assert loaded == {1: 258, 2: 37}

    def test_findings(self) -> None:
        found = Counter(code for loader in corpus().values() for code in codes(loader))
        assert found == {
            "no-verify": 250,
            "no-read": 30,
            "no-mass-erase": 19,
            "info-in-ram": 37,
            "size": 6,
            "name": 5,
            "struct-size": 2,
            "info-under-bss": 2,
            "entry": 2,
        }

    def test_sectors_outweigh_the_declared_size(self) -> None:
        six = [path for path, row in ROWS.items() if row["size"] == 4_000_000]
        assert len(six) == 6
        for path in six:
            storage = corpus()[path].storage
            assert (storage.size, storage.extent, storage.end) == (4_000_000, 64 << 20, 0x94000000)

    def test_names_are_file_names(self) -> None:
        differing = [path for path, row in ROWS.items() if PurePath(path).stem != row["name"]]
        assert len(differing) == 5


class TestShapes:
    def test_basic(self) -> None:
        loader = parsed()
        assert loader.path == "W25Q128_TEST.stldr"
        assert loader.functions == {
            "Init": 0x24000008,
            "DeInit": 0x24000048,
            "Read": 0x24000088,
            "Write": 0x240000C8,
            "SectorErase": 0x24000108,
            "MassErase": 0x24000148,
        }
        assert [(s.address, len(s.data), s.memory_size) for s in loader.segments] == [
            (0, 200, 200),
            (0x24000004, 2864, 2960),
        ]
        assert loader.load_segments == loader.segments[1:]
        assert loader.zero_ranges == (Range(0x24000B34, 96),)
        assert (loader.link_address, loader.return_address) == (0x24000004, 0x24000000)
        assert loader.storage.type is StorageType.SPI_FLASH
        assert codes(loader) == ["no-verify"]

    def test_code_bytes_arrive(self) -> None:
        assert parsed().load_segments[0].data == bytes(index * 7 & 0xFF for index in range(2864))

    def test_hidden_symbols_count(self) -> None:
        assert parsed(hidden=True) == parsed()

    def test_symbols_without_a_type_count(self) -> None:
        assert parsed(kind=stldr.NOTYPE).functions == parsed().functions

    @pytest.mark.parametrize(("size", "found"), [(0, "symbol-size"), (136, "struct-size"), (4096, "struct-size")])
    def test_symbol_size_is_not_trusted(self, size: int, found: str) -> None:
        groups = ((32, 4096), (1, 131072), (511, 262144))
        info = stldr.storage_info(size=128 << 20, sectors=groups)
        loader = parsed(info=info, info_symbol_size=size)
        assert [(group.count, group.size) for group in loader.storage.sectors] == list(groups)
        assert found in codes(loader)

    def test_section_ends_the_struct(self) -> None:
        """The two real files of 136 bytes have room for two groups of sectors."""
        loader = parsed(info=stldr.storage_info(length=136), info_symbol_size=136)
        assert [(group.count, group.size) for group in loader.storage.sectors] == [(256, 65536)]
        assert "struct-size" in codes(loader)

    def test_struct_without_any_sector(self) -> None:
        loader = parsed(info=stldr.storage_info(length=120), info_symbol_size=120)
        assert (loader.storage.sectors, loader.storage.extent) == ((), 16 << 20)
        assert {"struct-size", "no-sectors"} <= set(codes(loader))

    def test_ten_groups_fill_the_struct_and_what_follows_is_not_read(self) -> None:
        groups = tuple((1, 65536) for _ in range(10))
        info = stldr.storage_info(size=655360, sectors=groups)
        loader = parsed(info=info, info_behind=b"\x07\0\0\0" * 40)
        assert len(loader.storage.sectors) == 10
        assert loader.storage.extent == 655360

    def test_storage_info_in_ram_is_loaded(self) -> None:
        loader = parsed(info_address=0x2407FF00, info_first=False)
        assert [segment.address for segment in loader.load_segments] == [0x24000004, 0x2407FF00]
        assert loader.link_address == 0x24000004
        assert "info-in-ram" in codes(loader)

    def test_storage_info_outside_ram_is_not_loaded(self) -> None:
        loader = parsed(info_address=0x08000000)
        assert [segment.address for segment in loader.load_segments] == [0x24000004]
        assert len(loader.segments) == 2

    def test_storage_info_under_bss(self) -> None:
        loader = parsed(info_address=0x24000B34, info_first=False)
        assert [segment.address for segment in loader.load_segments] == [0x24000004, 0x24000B34]
        assert loader.zero_ranges == (Range(0x24000B34, 96),)
        assert loader.storage.name == "W25Q128_TEST"
        assert "info-under-bss" in codes(loader)

    def test_one_segment_for_all(self) -> None:
        """Code and StorageInfo in one segment, linked into ITCM, where address 0 is RAM."""
        code = stldr.Section(".text", 4, bytes(64))
        info = stldr.Section(".info", 68, stldr.storage_info())
        symbols = (Sym("Init", 5, 64, section=".text"), Sym("StorageInfo", 68, 200, stldr.OBJECT, section=".info"))
        loader = parse_loader(stldr.elf_file(stldr.Elf((stldr.Load((code, info)),), symbols, 5)), "a.stldr")
        assert loader.load_segments == (Segment(4, bytes(64) + stldr.storage_info(), 264),)
        assert loader.return_address == 0
        assert "link-address" in codes(loader)

    def test_entry_is_not_init(self) -> None:
        loader = parsed(entry=0)
        assert loader.functions["Init"] == 0x24000008
        assert "entry" in codes(loader)

    def test_absolute_storage_info_is_found_by_its_address(self) -> None:
        form = stldr.arrange(shape())
        symbols = [symbol for symbol in form.symbols or () if symbol.name != "StorageInfo"]
        symbols.append(Sym("StorageInfo", 0, 200, stldr.OBJECT))
        loader = parse_loader(stldr.elf_file(stldr.Elf(form.loads, tuple(symbols))), "W25Q128_TEST.stldr")
        assert loader.storage == parsed().storage

    def test_global_function_outweighs_a_static_one_of_the_same_name(self) -> None:
        static = Sym("Write", 0x24000301, 20, stldr.FUNC, stldr.LOCAL, section=".text")
        loader = parsed(more_symbols=(static,))
        assert loader.functions["Write"] == 0x240000C8
        assert "duplicate-function" in codes(loader)

    def test_code_is_where_functions_with_a_size_lie(self) -> None:
        symbols = (
            Sym("Init", 0x24000009, 0x20, section=".text"),
            Sym("helper", 0x24000029, 0x18, binding=stldr.LOCAL, section=".text"),
            Sym("far", 0x24000101, 6, section=".text"),
            Sym("table", 0x24000200, 64, stldr.OBJECT, section=".text"),
            Sym("past_the_end", 0x24000B30, 0x20, section=".text"),
        )
        assert parsed(more_symbols=symbols).code == (Range(0x24000008, 0x38), Range(0x24000100, 6))

    def test_elf_header_before_the_code_is_not_loaded(self) -> None:
        """GNU ld puts the file's headers into the first segment where the page has room below the code."""
        data = bytearray(stldr.elf_file(_linked_at(0x34180404)))
        loader = parse_loader(_with_header_in_segment(data, 0x34180404), "a.stldr")
        assert loader.segments[0].address == 0x34180000
        assert loader.load_segments == (Segment(0x34180404, bytes(range(64)), 64),)
        assert loader.return_address == 0x34180400

    def test_read_from_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "W25Q128_TEST.stldr"
        path.write_bytes(stldr.stldr())
        assert load_loader(path) == load_loader(str(path))
        assert load_loader(path).path == str(path)


def _linked_at(address: int) -> stldr.Elf:
    code = stldr.Section(".text", address, bytes(range(64)))
    info = stldr.Section(".info", 0, stldr.storage_info())
    symbols = (Sym("Init", address | 1, 64, section=".text"), Sym("StorageInfo", 0, 200, stldr.OBJECT, section=".info"))
    return stldr.Elf((stldr.Load((code,)), stldr.Load((info,))), symbols, address | 1)


def _with_header_in_segment(data: bytearray, address: int) -> bytes:
    """Let the first segment begin with the file, as the linker does with a page of 4 KiB."""
    start = int.from_bytes(data[56:60], "little")
    gap = (address & 0xFFF) - start
    # Everything behind the program headers moves up, so that offset and address agree in the page.
    for at in (32, 84 + 4):
        data[at : at + 4] = (int.from_bytes(data[at : at + 4], "little") + gap).to_bytes(4, "little")
    shoff = int.from_bytes(data[32:36], "little") - gap
    count = int.from_bytes(data[48:50], "little")
    for index in range(1, count):
        at = shoff + index * 40 + 16
        data[at : at + 4] = (int.from_bytes(data[at : at + 4], "little") + gap).to_bytes(4, "little")
    base = (address & ~0xFFF).to_bytes(4, "little")
    length = ((address & 0xFFF) + 64).to_bytes(4, "little")
    data[52 + 4 : 52 + 24] = bytes(4) + base + base + length + length
    return bytes(data[:start] + bytes(gap) + data[start:])


class TestSymbols:
    SYMBOLS = (
        Sym("HAL_QSPI_Command", 0x24000201, 0x40, section=".text"),
        Sym("HAL_Delay", 0x24000241, 8, stldr.FUNC, stldr.WEAK, section=".text"),
        Sym("alias_of_delay", 0x24000241, 0, section=".text"),
        Sym("hqspi", 0x24000B34, 76, stldr.OBJECT, section=".bss"),
        Sym("_ebss", 0x24000B94, 0, stldr.NOTYPE, section=".bss"),
    )

    def test_are_functions_and_objects_by_address(self) -> None:
        symbols = parsed(more_symbols=self.SYMBOLS).symbols
        assert symbols[0] == Symbol(0, 200, "StorageInfo")
        assert symbols[-1] == Symbol(0x24000B34, 76, "hqspi")
        assert Symbol(0x24000200, 0x40, "HAL_QSPI_Command") in symbols
        assert not {"$t", "_ebss", "Loader_Src.c"} & {symbol.name for symbol in symbols}

    @pytest.mark.parametrize(
        ("address", "name"),
        [
            (0x24000008, "Init"),
            (0x24000200, "HAL_QSPI_Command"),
            (0x24000212, "HAL_QSPI_Command+0x12"),
            (0x24000240, "HAL_Delay"),
            (0x24000250, "HAL_Delay+0x10"),
            (0x24000B40, "hqspi+0xc"),
            (0x24000004, ""),  # before the first symbol of the segment: StorageInfo is not below it
            (0x24000B94, ""),  # behind .bss
            (0x08000100, ""),
            (0, ""),  # StorageInfo is not loaded
        ],
    )
    def test_name_places(self, address: int, name: str) -> None:
        assert parsed(more_symbols=self.SYMBOLS).symbol_at(address) == name

    def test_functions_without_a_type_name_places_too(self) -> None:
        assert parsed(kind=stldr.NOTYPE).symbol_at(0x2400000A) == "Init+0x2"

    def test_names_of_cpp_are_those_of_the_source(self) -> None:
        symbol = Sym("_ZN5Flash4waitEi", 0x24000201, 0x20, stldr.FUNC, stldr.LOCAL, section=".text")
        assert parsed(more_symbols=(symbol,)).symbol_at(0x24000204) == "Flash::wait(int)+0x4"


def test_describe_is_the_object_of_info_json() -> None:
    said = describe(parsed(info=stldr.storage_info(kind=3, sectors=((16, 4096), (1, 8192)), size=73728)))
    assert said == {
        "name": "W25Q128_TEST",
        "type": 3,
        "type_name": "NOR_FLASH",
        "address": 0x90000000,
        "size": 73728,
        "page_size": 256,
        "erased_value": 255,
        "sectors": [{"count": 16, "size": 4096}, {"count": 1, "size": 8192}],
        "path": "W25Q128_TEST.stldr",
        "functions": dict(parsed().functions),
        "link_address": 0x24000004,
        "return_address": 0x24000000,
        "ram_need": 2960,
        "segments": [
            {"address": 0, "file_size": 200, "memory_size": 200},
            {"address": 0x24000004, "file_size": 2864, "memory_size": 2960},
        ],
        "static_base": {"address": None, "scratch": 256, "why": "nothing was found that uses r9 as a static base"},
        "findings": [
            {
                "code": "no-verify",
                "severity": "info",
                "message": "There is no Verify: --verify loader cannot be used.",
            }
        ],
    }
    assert type(said["type"]) is int
    assert json.loads(json.dumps(said)) == said
