"""The first calls of an erase, which show what this memory and its loader really do.

What belongs here: what follows from what `erase_unit` finds.
"""

from __future__ import annotations

from collections.abc import Sequence

from gdbflash.errors import CallFailed, EraseFailed, Mismatch
from gdbflash.events import Noted
from gdbflash.flash.erase_unit import EraseProof
from gdbflash.flash.erasing import Erasing
from gdbflash.flash.keeping import Keeping
from gdbflash.flash.phases import Phases
from gdbflash.flash.programming import Programming
from gdbflash.images.content import Content
from gdbflash.onchip.loaded import LoadedLoader
from gdbflash.options import VerifyMode
from gdbflash.plan.borders import blank
from gdbflash.ranges import Range, joined

_NOTHING = Content(())


def erase_first(
    opened: LoadedLoader,
    phases: Phases,
    erasing: Erasing,
    proof: EraseProof,
    keeping: Keeping,
    content: Content = _NOTHING,
) -> int:
    """Make the first calls by themselves and look what became of their neighbours; gives the sectors erased.

    content: what is to be there in the end.
    """
    done = 0
    for call in proof.calls:
        count = sum(call.where.overlaps(each) for each in proof.erased)
        erasing.one_call(call.where, count)
        done += count

        def put_back(lost: Sequence[Range], call: Range = call.where) -> None:
            places = joined((*lost, call))
            kept = keeping.kept.within(places)
            Programming(opened, phases).program(kept)
            proof.inspection.verify(kept, (), VerifyMode.DIGEST)
            keeping.done()

        if not proof.is_erased(call):
            _write_over(opened, phases, proof, call.where, content.within((call.where,)))
        proof.check(call, put_back)
        if proof.written_over:
            break
    return done


def _write_over(opened: LoadedLoader, phases: Phases, proof: EraseProof, where: Range, content: Content) -> None:
    """Write a sector whole that an erase left as it was, and see that Write takes away what was there.

    Raises EraseFailed where it does not.
    """
    storage = opened.loader.storage
    failed = EraseFailed(
        f"SectorErase of {where} returned 1, but the sector holds what it held. It is write-protected or worn, or "
        "needs another erase (--erase chip).",
        address=where.address,
        size=where.size,
    )
    if not content.pieces:
        raise failed
    whole = content.over(blank((where,), storage.erased_value))
    try:
        Programming(opened, phases).program(whole)
        proof.inspection.verify(whole, (), VerifyMode.DIGEST)
    except (CallFailed, Mismatch) as error:
        raise failed from error
    proof.written_over = True
    phases.observe(
        Noted(
            "empty-erase",
            "SectorErase leaves sectors as they are, and Write takes away what was there: sectors are written "
            "whole, one after the other.",
        )
    )
