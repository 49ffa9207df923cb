"""What came of faults that were injected, for the summary at the end of the test run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass
class Tally:
    """The numbers of one test."""

    faults: int = 0
    """Faults that struck."""
    compared: int = 0
    """Runs that ended well and were compared with the chip."""
    wrong: int = 0
    """Those of them that had not done what they said."""
    went_on: int = 0
    """Runs after a fault that did their work by themselves."""
    refused: int = 0
    """Runs after a fault that could not know what belongs where, said so, and touched nothing."""

    def compare(self, right: bool) -> bool:
        """Count a run that ended well; right: it did what it said, which is given back."""
        self.compared += 1
        self.wrong += not right
        return right

    def tell(self, record_property: Callable[[str, object], None]) -> None:
        """Have the summary sum all of it up."""
        for name, number in asdict(self).items():
            record_property(name, number)
