"""Thumb machine code for tests of the virtual board, assembled when first needed and kept."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from tests.support.cbuild import CACHE, ZIG, CompilerFailed

_HEAD = ".syntax unified\n.thumb\n.fpu fpv5-d16\n.text\n"
_ASSEMBLE = (*ZIG, "cc", "-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m7", "-x", "assembler", "-c")


def assemble(**snippets: str) -> dict[str, bytes]:
    """Return the machine code of each snippet, by its name; literals lie behind it. Raises CompilerFailed.

    Snippets are position-independent; labels in them are local ones (`1:`). One call is one run of the assembler.
    """
    source = _HEAD + "".join(
        f".balign 4\n{name}:\n{text}\n.balign 4, 0\n.ltorg\n.balign 4, 0\nend_of_{name}:\n"
        for name, text in snippets.items()
    )
    kept = CACHE / f"thumb-{hashlib.sha256(source.encode()).hexdigest()[:24]}.json"
    if not kept.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            code = _assemble(Path(scratch), source)
            made = Path(scratch) / "code.json"
            made.write_text(json.dumps({name: code[name].hex() for name in snippets}))
            made.replace(kept)
    return {name: bytes.fromhex(text) for name, text in json.loads(kept.read_text()).items()}


def _assemble(scratch: Path, source: str) -> dict[str, bytes]:
    (scratch / "code.s").write_text(source)
    command = [*_ASSEMBLE, str(scratch / "code.s"), "-o", str(scratch / "code.o")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CompilerFailed(done.stderr)
    with (scratch / "code.o").open("rb") as file:
        sections = {section.name: section for section in ELFFile(file).iter_sections()}
        text = sections[".text"].data()
        symbols = sections[".symtab"]
        assert isinstance(symbols, SymbolTableSection)
        places = {symbol.name: symbol["st_value"] & ~1 for symbol in symbols.iter_symbols()}
    return {name: text[at : places[f"end_of_{name}"]] for name, at in places.items() if f"end_of_{name}" in places}
