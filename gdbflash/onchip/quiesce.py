"""Quieten a core that was taken in the middle of its program, and put back what that changed.

What belongs here: the registers of the System Control Space that decide whether a loader can run undisturbed, which
of them are turned off for it, and how all are restored. Core registers are saved by whoever calls functions.

A reset does all this better. Without one, the program's interrupts would run in the loader's RAM, its MPU may forbid
the loader's code, and its caches hold bytes that memory does not. Pending interrupts stay pending. Two things are not
restored because they cannot be: the count that SysTick had reached (any write to SYST_CVR clears it, Armv7-M ARM
B3.3.5), so that a new period begins, and what lay in the caches, which costs time only.

Source: Armv7-M Architecture Reference Manual (DDI 0403E), chapters B2.2 and B3.2 to B3.5; the registers named exist
at the same places in Armv8-M, and those that Armv6-M lacks read as zero there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from gdbflash.errors import PrepareError, TargetError
from gdbflash.target import Target

ICTR = 0xE000E004  # B3.2.25: INTLINESNUM, in steps of 32 interrupts
SYST_CSR = 0xE000E010  # B3.3.3, followed by SYST_RVR
SYST_ENABLE = 1 << 0
SYST_KEPT = 0x7
"""ENABLE, TICKINT and CLKSOURCE; COUNTFLAG is a result."""
NVIC_ISER = 0xE000E100  # B3.4.4
NVIC_ICER = 0xE000E180  # B3.4.5
NVIC_ISPR = 0xE000E200  # B3.4.6
NVIC_IPR = 0xE000E400  # B3.4.9
ICSR = 0xE000ED04  # B3.2.4
PENDSVSET, PENDSVCLR, PENDSTSET, PENDSTCLR = 1 << 28, 1 << 27, 1 << 26, 1 << 25
VTOR = 0xE000ED08  # B3.2.5
AIRCR = 0xE000ED0C  # B3.2.6
AIRCR_VECTKEY = 0x05FA0000
AIRCR_PRIGROUP = 0x700
AIRCR_SECURITY = 1 << 14 | 1 << 13 | 1 << 3
"""PRIS, BFHFNMINS and SYSRESETREQS of Armv8-M (DDI 0553, D1.2, AIRCR): kept by whoever writes; reserved in Armv7-M."""
AIRCR_VECTCLRACTIVE = 1 << 1
ICSR_VECTACTIVE = 0x1FF
CCR = 0xE000ED14  # B3.2.8
CCR_DC, CCR_IC = 1 << 16, 1 << 17
SHCSR = 0xE000ED24  # B3.2.13
SHCSR_ENABLES = 0x7 << 16
CFSR, HFSR = 0xE000ED28, 0xE000ED2C  # B3.2.15, B3.2.16: sticky, cleared by writing ones
SFSR = 0xE000EDE4  # the same of Armv8-M (DDI 0553, D1.2)
CLIDR = 0xE000ED78  # B4.8.1
CCSIDR = 0xE000ED80  # B4.8.3
CSSELR = 0xE000ED84  # B4.8.2
MPU_TYPE, MPU_CTRL, MPU_RNR, MPU_RBAR = 0xE000ED90, 0xE000ED94, 0xE000ED98, 0xE000ED9C  # B3.5.4 to B3.5.8
MPU_ENABLE = 1 << 0
ICIALLU = 0xE000EF50  # B2.2.7
DCCISW = 0xE000EF74  # B2.2.7

# Restored as they were, word by word: SYST_RVR; VTOR; SCR, CCR and SHPR1 to SHPR3 (B3.2.7 to B3.2.12); CPACR and
# FPCCR, FPCAR, FPDSCR (B3.2.20 to B3.2.23); MPU_MAIR0 and 1 (Armv8-M only).
_PLAIN = (
    (0xE000E014, 1),
    (VTOR, 1),
    (0xE000ED10, 5),
    (0xE000ED88, 1),
    (0xE000EF34, 3),
    (0xE000EDC0, 2),
)
MOST_LINES = 1 << 13
"""Four times the lines of the largest cache of a Cortex-M: beyond it CCSIDR was not read as it is."""


@dataclass(frozen=True)
class Surroundings:
    """What the System Control Space said before it was quietened."""

    systick: int
    plain: tuple[tuple[int, int], ...]
    """Address and value."""
    enabled: tuple[int, ...]
    """NVIC_ISER words."""
    pending: tuple[int, ...]
    """NVIC_ISPR words."""
    priorities: bytes
    icsr: int
    priority_group: int
    handlers: int
    faults: tuple[int, ...]
    """CFSR, HFSR and SFSR."""
    mpu_control: int
    mpu_region: int
    mpu_regions: tuple[bytes, ...]
    """RBAR and RASR (Armv8-M: RLAR) of each region; empty where the MPU was off."""


def quieten(target: Target) -> Surroundings:
    """Stop all that could disturb a loader, and return what there was, for `put_back`.

    The caches are emptied and off afterwards, so that memory is what the debugger reads and writes. Raises
    PrepareError when the registers cannot be read or do not take what is written.
    """
    try:
        surroundings = _look(target)
        try:
            still(target, surroundings)
            _check_still(target, surroundings)
        except BaseException:
            with contextlib.suppress(TargetError):  # the first error says why
                put_back(target, surroundings)
            raise
    except TargetError as error:
        raise PrepareError(
            f"The program's interrupts, MPU and caches could not be turned off: {error.message} Use --before reset.",
            **error.data,
        ) from error
    return surroundings


def still(target: Target, surroundings: Surroundings) -> None:
    """Turn everything off, also what a loader turned on meanwhile; raises MemoryAccessError.

    RAM that is to be put back must be written after this: dirty cache lines would come over it.
    """
    if _word(target, ICSR) & ICSR_VECTACTIVE:
        # A loader faulted or left an interrupt unfinished. The session began in Thread mode, so no active exception
        # is the program's; only a halted core takes this bit (B3.2.6).
        kept = _word(target, AIRCR) & (AIRCR_PRIGROUP | AIRCR_SECURITY)
        _write(target, AIRCR, AIRCR_VECTKEY | kept | AIRCR_VECTCLRACTIVE)
    _change(target, SYST_CSR, SYST_KEPT, 0)
    for index in range(len(surroundings.enabled)):
        if _word(target, NVIC_ISER + 4 * index):
            _write(target, NVIC_ICER + 4 * index, 0xFFFFFFFF)
    _change(target, MPU_CTRL, MPU_ENABLE, 0)
    _drop_caches(target)


def put_back(target: Target, surroundings: Surroundings) -> None:
    """Restore what `quieten` found, after RAM was put back; raises MemoryAccessError."""
    before = surroundings
    _restore_block(target, NVIC_IPR, before.priorities)
    aircr = _word(target, AIRCR)
    if aircr & AIRCR_PRIGROUP != before.priority_group:
        _write(target, AIRCR, AIRCR_VECTKEY | aircr & AIRCR_SECURITY | before.priority_group)
    _change(target, SHCSR, SHCSR_ENABLES, before.handlers)
    for address, old in zip((CFSR, HFSR, SFSR), before.faults, strict=True):
        fresh = _word(target, address) & ~old
        if fresh:
            _write(target, address, fresh)
    for number, region in enumerate(before.mpu_regions):
        _write(target, MPU_RNR, number)
        _restore_block(target, MPU_RBAR, region)
    if before.mpu_regions:
        _write(target, MPU_RNR, before.mpu_region)
    _change(target, MPU_CTRL, 0x7, before.mpu_control)
    for address, value in before.plain:
        _change(target, address, 0xFFFFFFFF, value)
    _restore_pending(target, before)
    for index, word in enumerate(before.enabled):
        if word:
            _write(target, NVIC_ISER + 4 * index, word)
    _change(target, SYST_CSR, SYST_KEPT, before.systick)


def _restore_pending(target: Target, before: Surroundings) -> None:
    """Pend again what the loader may have cleared, and take back a SysTick or PendSV that only the loader pended."""
    now = _word(target, ICSR)
    request = 0
    for was, clear in ((PENDSTSET, PENDSTCLR), (PENDSVSET, PENDSVCLR)):
        if (now ^ before.icsr) & was:
            request |= was if before.icsr & was else clear
    if request:
        _write(target, ICSR, request)
    for index, word in enumerate(before.pending):
        lost = word & ~_word(target, NVIC_ISPR + 4 * index)
        if lost:
            _write(target, NVIC_ISPR + 4 * index, lost)


def _look(target: Target) -> Surroundings:
    words = (_word(target, ICTR) & 0xF) + 1
    mpu = _word(target, MPU_CTRL) & 0x7
    return Surroundings(
        systick=_word(target, SYST_CSR) & SYST_KEPT,
        plain=tuple(pair for address, count in _PLAIN for pair in _block(target, address, count)),
        enabled=tuple(value for _, value in _block(target, NVIC_ISER, words)),
        pending=tuple(value for _, value in _block(target, NVIC_ISPR, words)),
        priorities=target.read_memory(NVIC_IPR, 32 * words),
        icsr=_word(target, ICSR),
        priority_group=_word(target, AIRCR) & AIRCR_PRIGROUP,
        handlers=_word(target, SHCSR) & SHCSR_ENABLES,
        faults=tuple(_word(target, each) for each in (CFSR, HFSR, SFSR)),
        mpu_control=mpu,
        mpu_region=_word(target, MPU_RNR),
        mpu_regions=tuple(_mpu_regions(target)) if mpu & MPU_ENABLE else (),
    )


def _mpu_regions(target: Target) -> Iterator[bytes]:
    """Read all regions; MPU_RNR, which selects them, is left at the last one."""
    count = _word(target, MPU_TYPE) >> 8 & 0xFF  # DREGION
    for number in range(count):
        _write(target, MPU_RNR, number)
        yield target.read_memory(MPU_RBAR, 8)


def _check_still(target: Target, surroundings: Surroundings) -> None:
    """Raise PrepareError when something is still on: a server may acknowledge a write that it does not make."""
    ccr = _word(target, CCR)
    found = {
        "SysTick": _word(target, SYST_CSR) & SYST_ENABLE,
        "interrupts": any(value for _, value in _block(target, NVIC_ISER, len(surroundings.enabled))),
        "MPU": _word(target, MPU_CTRL) & MPU_ENABLE,
        "data cache": ccr & CCR_DC,
        "instruction cache": ccr & CCR_IC,
    }
    left = [name for name, on in found.items() if on]
    if left:
        raise PrepareError(
            f"The program's {', '.join(left)} cannot be turned off through this server, and would disturb the loader. "
            "Use --before reset.",
            left=list(left),
        )


def _drop_caches(target: Target) -> None:
    """Disable the L1 caches, writing dirty lines to memory.

    The order is that of CMSIS' SCB_DisableDCache and SCB_DisableICache: disable first, so that nothing enters any
    more, then clean and invalidate by set and way. The debugger's writes reach the registers in order, and the
    halted core fetches nothing, so no barriers are needed. Set/way operands: B2.2.7; geometry: CCSIDR, B4.8.3.
    """
    ccr = _word(target, CCR)
    if ccr & CCR_DC:
        _write(target, CCR, ccr & ~CCR_DC)
        for operand in _set_ways(target):
            _write(target, DCCISW, operand)
        ccr &= ~CCR_DC
    if ccr & CCR_IC:
        _write(target, CCR, ccr & ~CCR_IC)
        _write(target, ICIALLU, 0)


def _set_ways(target: Target) -> Iterator[int]:
    if not _word(target, CLIDR) & 0b110:  # Ctype1: a data or unified cache at level 1
        return
    _write(target, CSSELR, 0)
    geometry = _word(target, CCSIDR)
    line_shift = (geometry & 0x7) + 4
    ways = (geometry >> 3 & 0x3FF) + 1
    sets = (geometry >> 13 & 0x7FFF) + 1
    if sets * ways > MOST_LINES:
        raise PrepareError(
            f"The data cache says to have {sets * ways} lines (CCSIDR 0x{geometry:08X}), which no Cortex-M has, "
            "so it cannot be emptied. Use --before reset.",
            ccsidr=geometry,
        )
    way_shift = 32 - (ways - 1).bit_length()
    for index in range(sets):
        for way in range(ways):
            yield (way << way_shift if ways > 1 else 0) | index << line_shift


def _word(target: Target, address: int) -> int:
    return int.from_bytes(target.read_memory(address, 4), "little")


def _write(target: Target, address: int, value: int) -> None:
    target.write_memory(address, value.to_bytes(4, "little"))


def _block(target: Target, address: int, count: int) -> list[tuple[int, int]]:
    data = target.read_memory(address, 4 * count)
    return [
        (address + offset, int.from_bytes(data[offset : offset + 4], "little")) for offset in range(0, 4 * count, 4)
    ]


def _change(target: Target, address: int, mask: int, value: int) -> None:
    """Give the bits of mask their value, if they have it not already."""
    now = _word(target, address)
    if now & mask != value & mask:
        _write(target, address, now & ~mask | value & mask)


def _restore_block(target: Target, address: int, data: bytes) -> None:
    now = target.read_memory(address, len(data))
    for offset in range(0, len(data), 4):
        if now[offset : offset + 4] != data[offset : offset + 4]:
            target.write_memory(address + offset, data[offset : offset + 4])
