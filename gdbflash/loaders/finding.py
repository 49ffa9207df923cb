"""One remark on a loader file.

What belongs here: the value. What is remarked on is in `findings` and `image`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One remark: a stable code for programs, a sentence for people."""

    code: str
    severity: Severity
    message: str
