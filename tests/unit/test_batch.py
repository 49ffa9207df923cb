"""Whether a command line of GDB asks for batch mode."""

from __future__ import annotations

import pytest

from gdbflash.ingdb.batch import wanted_by


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("-nx -batch -ex info", True),
        ("--batch", True),
        ("-q --batch-silent firmware.elf", True),
        ("/lib/gdb --data-directory /share -batch", True),
        ("firmware.elf", False),
        ("-ex -batch", False),
        ("--eval-command -batch -x batch", False),
        ("-ex -ex -batch", True),
        ("--args program -batch", False),
        ("batch ---batch", False),
        ("", False),
    ],
)
def test_batch_is_a_word_of_its_own(line: str, wanted: bool) -> None:
    assert wanted_by(line.split()) is wanted
