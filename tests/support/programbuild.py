"""Build the programs of tests/programs, with debug information for GDB."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from tests.support.cbuild import CLANG, DEMO, ROOT, WARNINGS, ZIG, run_compiler

PROGRAMS = ROOT / "tests" / "programs"
CACHE = ROOT / ".pytest_cache" / "programs"

FLAGS = (
    *CLANG,
    "-mcpu=cortex_m7",
    "-std=c11",
    "-g",
    "-O0",
    "-fno-omit-frame-pointer",
    "-ffreestanding",
    "-fno-stack-protector",
    "-fno-builtin",
    f"-I{DEMO}",
    *WARNINGS,
)
LINK = (*ZIG, "ld.lld", "-m", "armelf", "-z", "max-page-size=4", "--build-id=none")


def build_program(name: str, *defines: str, script: str = "") -> Path:
    """Build tests/programs/NAME.c with `-D` defines by NAME.ld or another script; returns the ELF file.

    Built files are kept, keyed by what goes into them, and appear whole: test processes side by side share them.
    Raises CompilerFailed.
    """
    source, layout = PROGRAMS / f"{name}.c", PROGRAMS / f"{script or name}.ld"
    flags = [*FLAGS, *(f"-D{define}" for define in defines)]
    digest = hashlib.sha256("\0".join(flags).encode() + source.read_bytes() + layout.read_bytes())
    target = CACHE / f"{name}-{digest.hexdigest()[:20]}.elf"
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            made, linked = Path(scratch) / "program.o", Path(scratch) / "program.elf"
            run_compiler([*flags, "-c", str(source), "-o", str(made)])
            run_compiler([*LINK, "-T", str(layout), str(made), "-o", str(linked)])
            linked.replace(target)
    return target
