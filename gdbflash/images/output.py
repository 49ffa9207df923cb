"""An output file that appears whole or not at all.

What belongs here: where bytes that were read go, and in which form.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from gdbflash.errors import InputError, OutputError
from gdbflash.host.storage import put_in_place
from gdbflash.images.formats import hex_text, srec_text
from gdbflash.options import Form

_FORMS = {
    Form.BIN: (".bin", ".img", ".raw"),
    Form.HEX: (".hex", ".ihex"),
    Form.SREC: (".srec", ".s19", ".s28", ".s37", ".mot"),
}
_TEXTS = {Form.HEX: hex_text, Form.SREC: srec_text}


def form_of(path: Path) -> Form:
    """Tell by its ending which form a file is to have; what is there and no regular file gets plain bytes.

    Raises InputError for an ending that tells nothing.
    """
    for form, endings in _FORMS.items():
        if path.suffix.lower() in endings:
            return form
    with contextlib.suppress(OSError):
        if not stat.S_ISREG(path.stat().st_mode):
            return Form.BIN
    raise InputError(
        f"{path} does not tell by its ending what it is to be: name it .bin, .hex or .srec, or add --format.",
        path=str(path),
    )


def encoded(form: Form, address: int, data: bytes) -> bytes:
    """Give bytes from address on in a form."""
    text = _TEXTS.get(form)
    return data if text is None else text([(address, data)]).encode("ascii")


class OutputFile:
    """Collect bytes beside the wanted file and put them in its place on `commit`.

    What is no regular file, such as /dev/null or a pipe, is written at once, as plain bytes. Every method may raise
    OutputError.
    """

    def __init__(self, path: Path, address: int = 0, form: Form = Form.BIN) -> None:
        """address: of the first byte, for forms that tell it."""
        self._path = path
        self._address = address
        self._form = form
        self._partial: Path | None = None
        self._file: BinaryIO
        self._target = path
        self._mode: int | None = None

    def __enter__(self) -> OutputFile:
        try:
            self._target = self._path.resolve()
            before = _mode_of(self._path)
            self._mode = None if before is None else stat.S_IMODE(before)
            if before is not None and not stat.S_ISREG(before):
                self._file = self._path.open("wb")
            else:
                folder = self._target.parent
                handle, name = tempfile.mkstemp(prefix=".gdbflash-", suffix=".part", dir=folder)
                self._partial = Path(name)
                self._file = os.fdopen(handle, "wb")
        except RuntimeError as error:  # what pathlib raised for a loop of links up to Python 3.12
            raise self._failed(OSError(errno.ELOOP, os.strerror(errno.ELOOP))) from error
        except OSError as error:
            raise self._failed(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)

    @property
    def was_read_only(self) -> bool:
        """Tell whether it takes the place of a file that nobody was to write to."""
        return self._mode is not None and not self._mode & 0o222

    def write(self, data: bytes) -> None:
        """Append bytes."""
        try:
            self._file.write(data)
        except OSError as error:
            raise self._failed(error) from error

    def commit(self) -> None:
        """Make the file appear under its name, synced."""
        try:
            self._file.flush()
            if self._form is not Form.BIN and self._partial is not None:
                text = encoded(self._form, self._address, self._partial.read_bytes())
                self._file.seek(0)
                self._file.truncate()
                self._file.write(text)
                self._file.flush()
            if self._partial is None:
                return
            os.fsync(self._file.fileno())
            self._file.close()  # an open file cannot take another's place on every system
            # mkstemp makes files for the owner only; the mode of the file replaced, or the umask, is expected here.
            mask = os.umask(0)
            os.umask(mask)
            self._partial.chmod(0o666 & ~mask if self._mode is None else self._mode)
            put_in_place(self._partial, self._target)
            self._partial = None
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self._path} could not be written ({error.strerror}). Choose another place with -o, or free some space.",
            path=str(self._path),
        )


def _mode_of(path: Path) -> int | None:
    """Give the type and mode of a file; None where there is none. Raises OSError, as for a loop of links."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def write_hex(path: Path, pieces: Iterable[tuple[int, bytes]]) -> None:
    """Write bytes by address into an Intel HEX file, which appears whole or not at all; raises OutputError."""
    with OutputFile(path) as file:
        file.write(hex_text(pieces).encode("ascii"))
        file.commit()
