from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gdbflash.errors import PlanError
from gdbflash.images.content import Content
from gdbflash.loaders.storage import StorageType
from gdbflash.plan.jobs import (
    EraseMode,
    EraseStep,
    StorageJob,
    erase_steps,
    plan_chip_erase,
    plan_erase,
    plan_verify,
    plan_write,
)
from gdbflash.plan.program import external_parts
from gdbflash.plan.summary import planned
from gdbflash.ranges import Range, joined, slices
from tests.support.values import KIB, make_loader

S = 64 * KIB


def test_whole_job_with_kept_bytes() -> None:
    loader = make_loader()
    block = Content.at(0x90000100, b"\x5a" * 300)
    assert plan_write([loader], block) == (
        StorageJob(
            loader=loader,
            content=Content.at(0x90000100, b"\x5a" * 300),
            erase=EraseMode.SECTORS,
            sectors=(Range(0x90000000, S),),
            keep=(Range(0x90000000, 0x100), Range(0x9000022C, S - 0x22C)),
        ),
    )


def test_blocks_in_one_sector_touch_it_once_and_keep_what_lies_between() -> None:
    job = plan_write([make_loader()], Content.of([(0x9000FFFF, b"ab"), (0x90010010, b"c")]))[0]
    assert job.sectors == (Range(0x90000000, S), Range(0x90010000, S))
    assert job.keep == (Range(0x90000000, S - 1), Range(0x90010001, 15), Range(0x90010011, S - 17))


def test_without_keep_nothing_is_read_back() -> None:
    assert plan_write([make_loader()], Content.at(0x90000000, b"a"), keep=False)[0].keep == ()


def test_each_block_goes_to_the_loader_that_holds_it() -> None:
    nor, ram = make_loader(), make_loader(address=0xC0000000, kind=StorageType.SDRAM, name="SDRAM")
    jobs = plan_write([ram, nor], Content.of([(0x90000000, b"a"), (0xC0000000, b"b")]))
    assert [(job.loader.storage.name, job.erase, len(job.sectors)) for job in jobs] == [
        ("W25Q", EraseMode.SECTORS, 1),
        ("SDRAM", EraseMode.NONE, 0),
    ]


@pytest.mark.parametrize(
    ("address", "size", "words"),
    [
        (0x8FFFFFFF, 1, "lies outside the storage"),
        (0x90100000, 1, "lies outside the storage"),
        (0x900FFFFF, 2, "runs 1 bytes past the end of W25Q"),
        (0x8FFFFFFF, 2, "lies outside the storage"),
    ],
)
def test_blocks_outside_are_refused(address: int, size: int, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        plan_write([make_loader()], Content.at(address, b"x" * size))


def test_overlapping_storages_are_refused() -> None:
    with pytest.raises(PlanError, match="overlap at 0x90080000"):
        plan_write([make_loader(), make_loader(address=0x90080000)], Content.at(0x90000000, b"a"))


@pytest.mark.parametrize("missing", ["Write", "SectorErase"])
def test_a_missing_function_is_named_before_anything_is_touched(missing: str) -> None:
    functions = tuple(each for each in ("Init", "Write", "SectorErase") if each != missing)
    with pytest.raises(PlanError, match=f"exports no {missing}"):
        plan_write([make_loader(functions=functions)], Content.at(0x90000000, b"a"))


def test_comparing_needs_no_function() -> None:
    loader = make_loader(functions=("Init",))
    (job,) = plan_verify([loader], Content.at(0x90000002, b"abc"))
    assert (job.loader, job.content.ranges, job.sectors) == (loader, (Range(0x90000002, 3),), ())
    with pytest.raises(PlanError, match="nothing to compare"):
        plan_verify([loader], Content(()))


def test_a_storage_without_sectors_is_erased_as_a_whole() -> None:
    loader = make_loader(groups=())
    loader = replace(loader, storage=replace(loader.storage, size=3 * S))
    assert plan_chip_erase(loader) == (Range(0x90000000, 3 * S),)
    (job,) = plan_write([loader], Content.at(0x90000000, b"a"), erase=EraseMode.CHIP, keep=False)
    assert job.sectors == (Range(0x90000000, 3 * S),)


def test_the_plan_says_what_may_be_erased() -> None:
    loader = make_loader(functions=("Init", "Write", "SectorErase", "MassErase"))
    image = Content.at(0x90000000, bytes(S))
    given_up = planned(plan_write([loader], image, keep=False))
    once = "touches 1 sector, erases it if it differs"
    assert given_up.summary.endswith(f"; {once}, or the whole chip where that is quicker")
    assert planned(plan_write([loader], image)).summary.endswith(f"; {once}")
    assert planned(plan_write([loader], image), full=True).summary.endswith("; erases 1 sector")
    whole = Content.at(0x90000000, bytes(16 * S))
    assert planned(plan_write([loader], whole)).summary.endswith("touches 16 sectors, erases only those that differ")
    none = planned(plan_write([loader], image, erase=EraseMode.NONE))
    assert none.summary.endswith("; erases nothing")
    chip = plan_write([loader], whole, erase=EraseMode.CHIP)
    assert planned(chip).summary.endswith("; erases the whole chip, unless all is there")
    assert planned(chip, full=True).summary.endswith("; erases the whole chip")


def test_chip_erase_needs_the_whole_image_or_no_keep() -> None:
    loader = make_loader(groups=((2, S),))
    with pytest.raises(PlanError, match=r"0x90000001-0x9001FFFF first\. Add --no-keep"):
        plan_write([loader], Content.at(0x90000000, b"a"), erase=EraseMode.CHIP)
    assert len(plan_write([loader], Content.at(0x90000000, b"a"), erase=EraseMode.CHIP, keep=False)[0].sectors) == 2
    assert plan_write([loader], Content.at(0x90000000, bytes(2 * S)), erase=EraseMode.CHIP)[0].keep == ()


def test_erase_of_part_sectors_names_the_whole_ones() -> None:
    with pytest.raises(PlanError, match="0x90000000 0x20000"):
        plan_erase(make_loader(), Range(0x90000100, S))
    assert plan_erase(make_loader(), Range(0x90010000, S)) == (Range(0x90010000, S),)


def test_what_cannot_be_erased_says_what_to_do_instead() -> None:
    where, whole = Range(0x90000000, S), Range(0x90000000, 16 * S)
    ram = make_loader(kind=StorageType.SRAM, functions=("Init", "MassErase"))
    told = r"W25Q is RAM: there is nothing to erase\. Write to it instead\."
    with pytest.raises(PlanError, match=told):
        plan_erase(ram, where)
    with pytest.raises(PlanError, match=told):
        plan_chip_erase(ram)
    with pytest.raises(PlanError, match=r"exports no SectorErase.*only erase everything: erase --chip, or"):
        plan_erase(make_loader(functions=("Init", "MassErase")), where)
    with pytest.raises(PlanError, match=r"exports no SectorErase.*Use a loader that erases\."):
        plan_erase(make_loader(functions=("Init", "Read")), where)
    with pytest.raises(PlanError, match=r"exports no MassErase.*Erase sectors instead"):
        plan_chip_erase(make_loader(functions=("Init", "SectorErase")))
    assert joined(plan_chip_erase(make_loader())) == (whole,)


def test_erase_calls_pass_sector_starts_and_never_mix_sizes() -> None:
    sectors = [Range(address, 4 * KIB) for address in range(0, 32 * KIB, 4 * KIB)]
    sectors += [Range(32 * KIB, 32 * KIB), Range(64 * KIB, 64 * KIB), Range(192 * KIB, 64 * KIB)]
    assert erase_steps(sectors, 16 * KIB) == (
        EraseStep(0, 12 * KIB, 4, 16 * KIB),
        EraseStep(16 * KIB, 28 * KIB, 4, 16 * KIB),
        EraseStep(32 * KIB, 32 * KIB, 1, 32 * KIB),
        EraseStep(64 * KIB, 64 * KIB, 1, 64 * KIB),
        EraseStep(192 * KIB, 192 * KIB, 1, 64 * KIB),
    )


def test_a_long_read_in_slices_reaches_the_last_byte() -> None:
    """The RAM buffer of 0x7E000 bytes, where another tool once stopped, is one slice of many."""
    whole = Range(0x90000001, 16 * 1024 * KIB - 2)
    steps = list(slices([whole], 0x7E000, 256))
    assert len(steps) == 33
    assert steps[0] == Range(0x90000001, 0x7DFFF)
    assert steps[1] == Range(0x9007E000, 0x7E000)
    assert steps[-1].end == 0x90FFFFFF
    assert sum(each.size for each in steps) == whole.size


def test_a_page_larger_than_the_chunk_is_no_alignment() -> None:
    assert list(slices([Range(5, 300)], 256, 1 << 24)) == [Range(5, 256), Range(261, 44)]


PIECES = st.lists(st.tuples(st.integers(0, 60), st.binary(min_size=1, max_size=12)), max_size=6)


def content_of(pieces: list[tuple[int, bytes]]) -> Content:
    result = Content(())
    for address, data in pieces:
        result = Content.at(address, data).over(result)
    return result


def as_dict(content: Content) -> dict[int, int]:
    return {address + index: byte for address, data in content.pieces for index, byte in enumerate(bytes(data))}


@given(PIECES, PIECES)
def test_over_is_a_dictionary_update(low: list[tuple[int, bytes]], high: list[tuple[int, bytes]]) -> None:
    expected = as_dict(content_of(low)) | as_dict(content_of(high))
    result = content_of(high).over(content_of(low))
    assert as_dict(result) == expected
    assert result.size == len(expected)
    for where in result.ranges:
        assert result.read(where) == bytes(expected[address] for address in range(where.address, where.end))


@given(PIECES, st.lists(st.builds(Range, st.integers(0, 60), st.integers(1, 20)), max_size=4))
def test_within_is_a_filter(pieces: list[tuple[int, bytes]], places: list[Range]) -> None:
    from gdbflash.ranges import joined

    chosen = joined(places)
    whole = as_dict(content_of(pieces))
    expected = {address: byte for address, byte in whole.items() if any(address in each for each in chosen)}
    assert as_dict(content_of(pieces).within(chosen)) == expected


def test_reading_where_there_is_nothing_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="no content at 0x00000002"):
        Content(((0, memoryview(b"ab")), (4, memoryview(b"cd")))).read(Range(0, 6))


@pytest.mark.parametrize(
    ("storages", "flash", "found"),
    [
        ((), (), (Range(0x90000000, 8), Range(0xC0000000, 8))),
        ((Range(0x90000000, 4),), (), (Range(0x90000000, 8), Range(0xC0000000, 8))),
        ((Range(0x08000000, 4),), (), (Range(0x08000000, 4), Range(0x90000000, 8), Range(0xC0000000, 8))),
        ((), (Range(0x90000000, 0x100),), (Range(0xC0000000, 8),)),
        ((Range(0x08000000, 4),), (Range(0x08000000, 4),), (Range(0x90000000, 8), Range(0xC0000000, 8))),
    ],
)
def test_the_parts_that_gdbs_own_load_leaves_to_the_server(
    storages: tuple[Range, ...], flash: tuple[Range, ...], found: tuple[Range, ...]
) -> None:
    places = (0x08000000, 0x1FFF0000, 0x20000000, 0x90000000, 0xC0000000)
    content = Content.of((address, bytes(8)) for address in places)
    assert external_parts(content, storages, flash) == found
