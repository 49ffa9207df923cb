"""A loader that waits for an interrupt of its own: SysTick, by a vector table that lies in the loader.

What belongs here: how that is seen. Calls begin with interrupts masked, for what a running program left on must not
come in between; a HAL_Delay whose ticks are counted by a handler then waits for ever.

Source: Armv7-M Architecture Reference Manual, B3.2.4 (ICSR), B3.2.5 (VTOR), B3.3.3 (SYST_CSR); the same in Armv6-M and
Armv8-M. An Armv6-M core may have no VTOR, which reads as 0 then.
"""

from __future__ import annotations

from gdbflash.errors import MemoryAccessError
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.target import Target

LOOK_SECONDS = 1.0
"""After so long a call is halted once to see whether it waits for its own SysTick."""
_ICSR, _VTOR, _SYST_CSR = 0xE000ED04, 0xE000ED08, 0xE000E010
_SYSTICK = 15
_PENDSTSET, _TICKINT_AND_ENABLE = 1 << 26, 0b11


def waits_for_own_tick(target: Target, loader: ExternalLoader) -> bool:
    """Tell whether SysTick is on and pending in a halted core, and its handler is one of the loader's."""
    try:
        icsr, control = _word(target, _ICSR), _word(target, _SYST_CSR)
        if not icsr & _PENDSTSET or control & _TICKINT_AND_ENABLE != _TICKINT_AND_ENABLE:
            return False
        handler = handler_of(target, _SYSTICK)
    except MemoryAccessError:
        return False
    return any(handler in each for each in loader.owned)


def handler_of(target: Target, exception: int) -> int:
    """Give the address that the vector table has for an exception; raises MemoryAccessError."""
    return _word(target, _word(target, _VTOR) + 4 * exception) & ~1


def _word(target: Target, address: int) -> int:
    return int.from_bytes(target.read_memory(address, 4), "little")
