"""Armv8-M: what TrustZone lets a debugger see, the two addresses of RAM, stack limits and SecureFault."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gdbflash.errors import CommandRefused, PrepareError
from gdbflash.onchip import faults, kept_registers
from gdbflash.onchip.device import security
from gdbflash.onchip.device.lookup import ram_around
from gdbflash.onchip.device.security import DAUTHSTATUS, DHCSR, DSCSR, Security
from gdbflash.onchip.loaded import find_room
from gdbflash.onchip.plan_layout import plan_layout
from gdbflash.options import CallOptions
from gdbflash.ranges import Range
from gdbflash.target import ARMV8M_REGISTERS, register_name
from tests.support.scripted import LOADER, RAM, ScriptedTarget
from tests.support.values import KIB, make_loader

CPUID, IDCODE = 0xE000ED00, 0xE0044000
M33, M7 = 0x410FD214, 0x411FC270
SECURE = make_loader(segments=((0x30000004, 0x400, 0x400),), groups=((16, 4 * KIB),))


def core(cpuid: int = M33, dauthstatus: int = 0, dhcsr: int = 0, dscsr: int = 0) -> ScriptedTarget:
    target = ScriptedTarget()
    words = {CPUID: cpuid, DAUTHSTATUS: dauthstatus, DHCSR: dhcsr, DSCSR: dscsr, IDCODE: 0x472}
    target.fixed |= {address: value.to_bytes(4, "little") for address, value in words.items()}
    return target


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (core(dauthstatus=0x0F), None),  # no Security Extension, as with TZEN = 0
        (core(M7, dauthstatus=0xFF), None),
        (core(dauthstatus=0xFF, dhcsr=1 << 20, dscsr=1 << 16), Security(secure_debug=True, secure_now=True)),
        (core(dauthstatus=0xAF), Security(secure_debug=False, secure_now=False)),
        (core(dauthstatus=0xAF, dhcsr=1 << 20), Security(secure_debug=True, secure_now=False)),
    ],
)
def test_the_core_says_which_side_may_be_debugged(target: ScriptedTarget, expected: Security | None) -> None:
    assert security.look(target) == expected


def test_a_server_that_does_not_show_these_registers_is_no_obstacle() -> None:
    target = core(dauthstatus=0xAF)
    del target.fixed[DAUTHSTATUS]
    assert security.look(target) is None


def test_a_secure_loader_is_refused_before_anything_is_written_where_secure_debug_is_not_allowed() -> None:
    target = core(dauthstatus=0xAF)
    with pytest.raises(PrepareError) as caught:
        find_room(target, SECURE, CallOptions())
    assert caught.value.message == (
        "W25Q is linked at the secure address 0x30000004, and this device does not let its secure side be debugged "
        "(TrustZone, DHCSR.S_SDE). Use a loader linked at 0x20000004, or open the device for secure debug."
    )
    assert caught.value.data == {"link_address": 0x30000004}
    assert target.uses["write_memory"] == 0
    security.check(security.look(core(dauthstatus=0xFF)), SECURE)
    security.check(security.look(target), LOADER)
    security.check(None, SECURE)


@pytest.mark.parametrize(
    ("link_address", "hint"),
    [(0x20000004, "the secure side, which sees it at 0x3003FFF8."), (0x30000004, "the non-secure side.")],
)
def test_ram_that_does_not_hold_what_is_written_may_be_the_other_sides(link_address: int, hint: str) -> None:
    loader = make_loader(segments=((link_address, 0x400, 0x400),), groups=((16, 4 * KIB),))
    with pytest.raises(PrepareError, match=r"--ram START:SIZE\. TrustZone may have given it to ") as caught:
        find_room(core(dauthstatus=0xFF), loader, CallOptions())
    assert caught.value.message.endswith(hint)
    with pytest.raises(PrepareError, match=r"--ram START:SIZE\.$"):
        find_room(core(), loader, CallOptions())


def test_what_is_said_of_a_core_with_trustzone() -> None:
    assert Security(secure_debug=False, secure_now=False).in_words == (
        "The core has TrustZone and is on its non-secure side; the secure one may not be debugged."
    )
    assert Security(secure_debug=True, secure_now=True).in_words == (
        "The core has TrustZone and is on its secure side; the secure one may be debugged."
    )


@pytest.mark.parametrize("device_id", [0x472, 0x482, 0x484, 0x454, 0x492, 0x4B0])
def test_ram_has_two_addresses_where_there_is_trustzone(device_id: int) -> None:
    sizes = [each.size for each in ram_around(0x20000004, device_id)]
    assert ram_around(0x30000004, device_id) == tuple(Range(0x30000000, size) for size in sizes)


def test_ram_of_the_n6_and_of_an_unknown_device_has_two_addresses() -> None:
    assert ram_around(0x24180404, 0x486)[0] == Range(0x24180000, 1536 * KIB)
    assert ram_around(0x34180404, 0x486)[0] == Range(0x34180000, 1536 * KIB)
    assert ram_around(0x30000004, None) == (Range(0x30000000, 32 * KIB),)
    with pytest.raises(Exception, match="no RAM of this STM32H503"):
        ram_around(0x30000004, 0x474)  # without TrustZone


# EXC_RETURN: handler and stack on one side, on two, and registers that were hidden from the handler.
@pytest.mark.parametrize(
    ("lr", "bank", "offset", "process"),
    [
        (0xFFFFFFF9, "", 0, False),  # Armv7-M
        (0xFFFFFFBC, "", 0, True),  # Non-secure alone
        (0xFFFFFFB8, "", 0, False),
        (0xFFFFFFFD, "", 0, True),  # Secure, by a Secure handler
        (0xFFFFFFD9, "", 0x28, False),  # the same, with DCRS 0: it was stacked by a Non-secure one before
        (0xFFFFFFF8, "_s", 0x28, False),  # Secure, by a Non-secure handler
        (0xFFFFFFFC, "_s", 0x28, True),
        (0xFFFFFFBD, "_ns", 0, True),  # Non-secure, by a Secure handler
    ],
)
def test_where_the_frame_lies_on_two_sides(lr: int, bank: str, offset: int, process: bool) -> None:
    found = faults.decode_exception_return(lr)
    assert found is not None
    assert (found.other_bank, found.offset, found.process_stack) == (bank, offset, process)


def test_secure_fault_bits_and_address() -> None:
    registers = {"SFSR": 0x48, "SFAR": 0x50021000, "HFSR": 1 << 30, "CFSR": 0}
    assert faults.bits_of("SFSR", 0xFF) == (
        *("INVEP", "INVIS", "INVER", "AUVIOL", "INVTRAN", "LSPERR", "SFARVALID", "LSERR"),
    )
    assert faults.all_bits(registers) == {"AUVIOL", "SFARVALID", "FORCED"}
    assert faults.fault_address(registers) == 0x50021000
    assert faults.may_be_secure(3, registers)
    assert faults.may_be_secure(7, {"CFSR": 0x100})
    assert not faults.may_be_secure(3, {"CFSR": 0x100, "HFSR": 1 << 30})
    assert not faults.may_be_secure(3, {"CFSR": 0, "HFSR": 2})


class WithLimits(ScriptedTarget):
    """A core that shows stack limits, of which one side's may not be seen."""

    def __init__(self, limits: dict[str, int], *, deaf: bool = False) -> None:
        super().__init__()
        names = self.capabilities.registers | ARMV8M_REGISTERS
        self.capabilities = replace(self.capabilities, registers=names)
        self.limits = limits
        self.deaf = deaf

    def read_registers(self, names: object) -> dict[str, int]:
        found: dict[str, int] = {}
        for name in names:  # type: ignore[attr-defined]
            if name.endswith("_s"):
                raise CommandRefused(f"{name} is not given.", command=name, reply="unavailable")
            found |= {name: self.limits[name]} if name in self.limits else super().read_registers([name])
        return found

    def write_registers(self, values: object) -> None:
        for name, value in values.items():  # type: ignore[attr-defined]
            if name not in self.limits:
                super().write_registers({name: value})
            elif not self.deaf:
                self.limits[name] = value


LAYOUT = plan_layout(LOADER, RAM)
LIMITS = {"msplim": 0x20001000, "psplim": 0, "msplim_ns": 0x20002000, "psplim_ns": 0, "msp_ns": 4, "psp_ns": 8}


def test_stack_limits_are_kept_and_lifted() -> None:
    target = WithLimits(dict(LIMITS))
    kept = kept_registers.read_all(target)
    assert {name: kept[name] for name in LIMITS} == LIMITS
    assert not [name for name in kept if name.endswith("_s")]
    assert [*kept][-4:] == ["msplim", "psplim", "msplim_ns", "psplim_ns"], "limits come after the stack pointers"
    assert kept_registers.lift_stack_limits(target, LAYOUT) == 0
    assert {target.limits[name] for name in LIMITS if "lim" in name} == {0}
    target.write_registers(kept)
    assert target.limits == LIMITS


def test_stack_limits_that_stay_are_told() -> None:
    target = WithLimits(dict(LIMITS), deaf=True)
    target.fixed[CPUID] = M33.to_bytes(4, "little")
    with pytest.raises(PrepareError) as caught:
        kept_registers.lift_stack_limits(target, LAYOUT)
    assert caught.value.message == (
        "The program's stack limits (MSPLIM, MSPLIM_NS) cannot be lifted through this server, and would stop the "
        "loader. Use --before reset."
    )
    assert target.uses["run_until"] == 1, "the core was not asked to do it"


def test_a_core_without_stack_limits_is_asked_for_none() -> None:
    target = core(M7)
    assert kept_registers.lift_stack_limits(target, LAYOUT) == 0
    del target.fixed[CPUID]
    assert kept_registers.lift_stack_limits(target, LAYOUT) == 0
    assert target.uses["run_until"] == target.uses["write_memory"] == 0


def test_names_of_armv8m_registers_are_known() -> None:
    assert register_name("MSPLIM_S") == "msplim_s"
    assert register_name("msp_ns") == "msp_ns"
    assert register_name("primask_s") is None
