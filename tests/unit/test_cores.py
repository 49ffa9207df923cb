"""The chip's other core is held while loaders run and goes on afterwards, or the user is told of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from gdbflash.errors import CommandRefused, PrepareError
from gdbflash.events import Event, Noted
from gdbflash.flash.flasher import Flasher
from gdbflash.onchip.device.cores import unseen_core
from gdbflash.options import After, Before, RunOptions
from gdbflash.ranges import Range
from gdbflash.servers.cores import CoresOfServer
from gdbflash.servers.profiles import PROFILES, ServerProfile
from gdbflash.target import CoreState, OtherCore
from tests.support.scripted import FLASH, LOADER, Mishap, ScriptedTarget

RUNNING, HALTED, UNSEEN = CoreState.RUNNING, CoreState.HALTED, CoreState.UNSEEN
CPUID, LINE, OPTSR, GCR = 0xE000ED00, 0x1FF1E8C0, 0x5200201C, 0x580244A0
M4, M7 = 0x410FC241, 0x411FC270


def notes(seen: Sequence[Event]) -> list[tuple[str, str]]:
    return [(each.code, each.message) for each in seen if isinstance(each, Noted) and "core" in each.code]


def use(target: ScriptedTarget, before: Before, after: After) -> list[Event]:
    """Use the loader once; returns what was told."""
    seen: list[Event] = []
    with Flasher(target, RunOptions(before=before, after=after), seen.append) as flasher:
        flasher.open(LOADER)
        assert RUNNING not in target.cores.values(), "it runs beside a loader"
        flasher.blank_check(LOADER, Range(FLASH, 4096))
    return seen


@pytest.fixture
def target() -> ScriptedTarget:
    found = ScriptedTarget()
    found.cores = {"chip.cpu1": RUNNING, "chip.cpu2": HALTED, "chip.cpu3": UNSEEN}
    return found


@pytest.mark.parametrize("after", [After.RESTORE, After.RUN])
def test_a_core_that_ran_is_held_and_goes_on_and_one_that_was_halted_stays_so(
    target: ScriptedTarget, after: After
) -> None:
    seen = use(target, Before.RESET, after)
    assert target.cores == {"chip.cpu1": RUNNING, "chip.cpu2": HALTED, "chip.cpu3": HALTED}
    told = [("other-core-held", "chip.cpu1 ran and is held meanwhile, since it may use the flash.")]
    assert notes(seen) == told


def test_a_core_that_ran_stays_held_where_the_target_stays_halted(target: ScriptedTarget) -> None:
    seen = use(target, Before.RESET, After.HALT)
    assert target.cores["chip.cpu1"] is HALTED
    said = [each.message for each in seen if isinstance(each, Noted) and each.code == "halted"]
    assert said == ["The target stays halted, with the loader in its RAM, and so does chip.cpu1."]


def test_a_reset_at_the_end_is_told_which_core_ran(target: ScriptedTarget) -> None:
    use(target, Before.RESET, After.RESET)
    assert target.cores["chip.cpu1"] is RUNNING
    assert target.cores["chip.cpu2"] is HALTED


def test_a_core_that_runs_on_through_a_reset_is_held_by_itself(
    target: ScriptedTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "reset_and_halt", lambda: None)
    use(target, Before.RESET, After.RUN)
    assert target.uses["hold_core"] == 1
    assert target.cores["chip.cpu1"] is RUNNING


@pytest.mark.parametrize("step", ["hold_core", "let_core_go"])
def test_a_core_that_does_not_as_it_is_told_is_named(
    target: ScriptedTarget, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(target, "reset_and_halt", lambda: None)
    target.script[step, 1] = Mishap.REFUSED
    seen: list[Event] = []
    with Flasher(target, RunOptions(after=After.RUN), seen.append) as flasher:
        flasher.blank_check(LOADER, Range(FLASH, 4096))
    said = dict(notes(seen))["other-core"]
    assert (
        said
        == {
            "hold_core": "chip.cpu1 runs and may use the flash meanwhile: it could not be halted (no such thing).",
            "let_core_go": "chip.cpu1 was held and does not go on (no such thing): reset the board.",
        }[step]
    )
    assert target.uses["resume"] == 1, "the core itself is not left as asked"


def test_a_target_that_cannot_be_taken_lets_the_other_core_go(target: ScriptedTarget) -> None:
    target.script["read_registers", 1] = Mishap.REFUSED
    with pytest.raises(PrepareError, match="registers cannot be kept"), Flasher(target, RunOptions(after=After.RUN)):
        pass
    assert target.cores["chip.cpu1"] is RUNNING


def test_a_reset_that_fails_lets_the_other_core_go_that_it_halted(
    target: ScriptedTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        target.cores["chip.cpu1"] = HALTED
        raise PrepareError("The core still runs after a reset.")

    monkeypatch.setattr(target, "reset_and_halt", fail)
    with pytest.raises(PrepareError), Flasher(target, RunOptions(after=After.RUN)):
        pass
    assert target.cores["chip.cpu1"] is RUNNING


@pytest.mark.parametrize(
    ("line", "cpuid", "optsr", "gcr", "expected"),
    [
        (b"547H", M7, 1 << 22, 0, "Cortex-M4"),
        (b"H757", M7, 0, 1 << 3, "Cortex-M4"),
        (b"547H", M7, 1 << 23, 1 << 2, None),  # the other one was not let out of reset
        (b"547H", M4, 1 << 23, 0, "Cortex-M7"),
        (b"347H", M7, 1 << 22, 1 << 3, None),  # an STM32H743
        (bytes(4), M7, 1 << 22, 1 << 3, None),
    ],
)
def test_a_core_that_no_server_shows_is_told_by_the_chip(
    line: bytes, cpuid: int, optsr: int, gcr: int, expected: str | None
) -> None:
    target = ScriptedTarget()
    words = {CPUID: cpuid, OPTSR: optsr, GCR: gcr}
    target.fixed |= {LINE: line, **{address: value.to_bytes(4, "little") for address, value in words.items()}}
    assert unseen_core(target, 0x450) == expected
    assert unseen_core(target, 0x483) is None
    assert unseen_core(target, None) is None
    seen = use(target, Before.RESET, After.RESET)
    assert [code for code, _ in notes(seen)] == ([] if expected is None else ["other-core"])
    assert all(
        expected is not None and f"The chip's {expected} may run and use the flash" in said for _, said in notes(seen)
    )


def test_the_second_core_of_an_stm32wl_is_told_by_its_boot_bit() -> None:
    target = ScriptedTarget()
    target.fixed |= {CPUID: M4.to_bytes(4, "little"), 0x5800040C: (1 << 15).to_bytes(4, "little")}
    assert unseen_core(target, 0x497) == "Cortex-M0+"
    target.fixed[0x5800040C] = bytes(4)
    assert unseen_core(target, 0x497) is None
    del target.fixed[0x5800040C]  # no such register can be read
    assert unseen_core(target, 0x497) is None


class Said(CoresOfServer):
    """A debugger whose server says one thing."""

    def __init__(self, profile: ServerProfile, said: str | None) -> None:
        self.profile = profile
        self.said = said
        self.steps: list[str] = []

    def take(self, step: str) -> str:
        self.steps.append(step)
        if self.said is None:
            raise CommandRefused("no", command=step, reply="no")
        return self.said


def test_what_openocd_lists_is_read() -> None:
    openocd = PROFILES["openocd"]
    said = (
        "[chip.cpu1] halted due to debug-request, current mode: Thread \n"
        "{chip.ap2 mem_ap running chip.tap 0} {chip.cpu0 cortex_m halted chip.tap 1} "
        "{chip.cpu1 cortex_m running chip.tap 0} {chip.cpu2 cortex_m unknown chip.tap 0} "
        "{beside.cpu cortex_m running beside.tap 0} {odd;name cortex_m running chip.tap 0}"
    )
    assert Said(openocd, said).other_cores() == (OtherCore("chip.cpu1", RUNNING), OtherCore("chip.cpu2", UNSEEN))
    assert Said(openocd, "{chip.cpu hla_target halted chip.tap 1}").other_cores() == ()
    assert Said(openocd, None).other_cores() == ()


def test_a_server_that_shows_one_core_is_asked_nothing() -> None:
    for profile in PROFILES.values():
        if profile.name != "openocd":
            said = Said(profile, "")
            assert said.other_cores() == ()
            assert said.steps == []
