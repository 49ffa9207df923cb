"""No line of STM32 devices is missing, and what is said of each makes sense."""

from __future__ import annotations

import itertools

import pytest

from gdbflash.onchip.device.lookup import ram_around
from gdbflash.onchip.device.table import DEVICES, WITHOUT_DEVICE_ID, Device, Protection

# The lines of the STM32 family, with the DEV_ID of each reference manual's chapter on debug support.
LINES = {
    "F0": "440 442 444 445 448",
    "F1": "410 412 414 418 420 428 430",
    "F2": "411",
    "F3": "422 432 438 439 446",
    "F4": "413 419 421 423 431 433 434 441 458 463",
    "F7": "449 451 452",
    "G0": "456 460 466 467",
    "G4": "468 469 479",
    "C0": "443 44c 44d 453 493",
    "H5": "474 478 47a 484",
    "H7": "450 480 483",
    "H7R/S": "485",
    "L0": "417 425 447 457",
    "L1": "416 427 429 436 437",
    "L4": "415 435 461 462 464",
    "L4+": "470 471",
    "L5": "472",
    "U0": "459 489",
    "U3": "42a 454",
    "U5": "455 476 481 482",
    "WB": "494 495 496",
    "WB0": "",
    "WBA": "492 4b0 4b2",
    "WL": "497",
    "WL3": "",
    "N6": "486",
}


def test_no_line_is_missing() -> None:
    found: dict[str, set[int]] = {line: set() for line in WITHOUT_DEVICE_ID}
    for device_id, device in DEVICES.items():
        found.setdefault(device.line, set()).add(device_id)
    assert found == {line: {int(each, 16) for each in ids.split()} for line, ids in LINES.items()}


@pytest.mark.parametrize("device", DEVICES.values(), ids=lambda device: device.name)
def test_what_is_said_of_a_device_makes_sense(device: Device) -> None:
    assert device.manual.startswith("RM0")
    assert device.ram
    for stretch in device.ram:
        assert stretch.size % 1024 == 0
        assert 0x10000000 <= stretch.address < stretch.end <= 0x40000000
    for low, high in itertools.pairwise(device.ram):
        assert low.address != high.address or low.size > high.size, "the larger one comes first"
    assert device.unique_id is not None
    assert device.unique_id % 4 == 0
    assert device.protection is not None or device.line in ("H7R/S", "N6")
    assert device.watchdog is not None or device.line in ("H7R/S", "N6", "U3")


def test_levels_of_read_protection() -> None:
    assert [Protection(0x40022020).level(value) for value in (0xFFEFF8AA, 0xFFEFF8CC, 0xFFEFF8BB)] == [0, 2, 1]
    assert [DEVICES[0x410].protection.level(value) for value in (0x03FFFFFC, 0x03FFFFFE)] == [0, 1]  # type: ignore[union-attr]
    assert [DEVICES[0x440].protection.level(value) for value in (0, 2, 6)] == [0, 1, 2]  # type: ignore[union-attr]
    assert [DEVICES[0x450].protection.level(value) for value in (0xAA00, 0x5500, 0xCC00)] == [0, 1, 2]  # type: ignore[union-attr]


def test_the_ram_of_a_small_device_is_not_thought_larger() -> None:
    assert [each.size for each in ram_around(0x20000004, 0x410)] == [20 * 1024, 16 * 1024, 10 * 1024]
