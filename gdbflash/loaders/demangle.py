"""Names of C++ functions as their source has them.

What belongs here: the demangler. It is imported for names that need it only.
"""

from __future__ import annotations

LONGEST = 400
"""Characters; longer names are of no use to a reader, and one that was made up takes the demangler for ever."""


def demangled(name: str) -> str:
    """Give a symbol's name as C++ source has it; one that is not mangled, or in no known way, stays.

    Source: Itanium C++ ABI, section 5.1, which all Arm toolchains follow.
    """
    if not name.startswith("_Z") or len(name) > LONGEST:
        return name
    from itanium_demangler import parse

    try:
        found = parse(name)
    except Exception:  # it raises many kinds at what it does not know, or what a damaged file holds
        return name
    return name if found is None else str(found)
