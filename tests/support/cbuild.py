"""Build the C loaders of tests/loaders: the only place that runs a C compiler for tests.

A missing compiler is a failure with a sentence, never a skip: ziglang comes with the extra `test`, gcc-arm-none-eabi
from the distribution (scripts/test installs both).
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOADERS = ROOT / "tests" / "loaders"
DEMO = ROOT / "gdbflash" / "board" / "loader-src"
CACHE = ROOT / ".pytest_cache" / "loaders"

COMMON = ("-std=c11", "-g0", "-ffreestanding", "-fno-stack-protector", "-fno-unwind-tables", f"-I{DEMO}")
WARNINGS = ("-Wall", "-Wextra", "-Werror")
ZIG = (sys.executable, "-m", "ziglang")
CLANG = (*ZIG, "cc", "-target", "thumb-freestanding-eabi", "-fno-sanitize=all")
LLD = (*ZIG, "ld.lld", "-m", "armelf", "-z", "max-page-size=4", "--strip-debug", "--build-id=none")
GNU_LD = ("arm-none-eabi-ld", "-z", "max-page-size=4", "--strip-debug", "--no-warn-rwx-segments")
RWPI = ("-fropi", "-frwpi")
TOOLS = {
    "zig": (CLANG, LLD),
    "gcc": (("arm-none-eabi-gcc", "-mthumb", "-mfloat-abi=soft"), GNU_LD),
    "zig-rwpi": ((*CLANG, *RWPI), LLD),
    "zig-rwpi-gnu": ((*CLANG, *RWPI), GNU_LD),
}
"""Compiler and linker. With RWPI r9 is the base of all variables: the start of their segment for LLD, 0 for GNU ld."""


class CompilerFailed(Exception):
    """A loader for the tests could not be built; the text is the compiler's own."""


def build(name: str, *defines: str, optimise: str = "-Os", compiler: str = "zig", core: str = "cortex-m7") -> Path:
    """Build tests/loaders/NAME.c, or every C file of the directory NAME, with `-D` defines; return the .stldr.

    Uses NAME/loader.ld where there is one, else the demo loader's linker script. Built files are kept, keyed by
    everything that goes into them, and appear whole: test processes side by side share them. Raises CompilerFailed.
    """
    directory = LOADERS / name
    sources = sorted(directory.glob("*.c")) if directory.is_dir() else [directory.with_suffix(".c")]
    own_script = directory / "loader.ld"
    script = own_script if own_script.exists() else DEMO / "loader.ld"
    compile_command, link_command = TOOLS[compiler]
    cpu = core if compiler == "gcc" else core.replace("-", "_")
    flags = [*compile_command, f"-mcpu={cpu}", *COMMON, *WARNINGS, optimise, *(f"-D{define}" for define in defines)]
    target = CACHE / f"{name}-{_key([*flags, *link_command])}.stldr"
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            objects = [Path(scratch) / f"{source.stem}.o" for source in sources]
            for source, made in zip(sources, objects, strict=True):
                run_compiler([*flags, "-c", str(source), "-o", str(made)])
            loader = Path(scratch) / "loader.stldr"
            run_compiler([*link_command, "-T", str(script), *(str(made) for made in objects), "-o", str(loader)])
            loader.replace(target)
    return target


def _key(flags: Sequence[str]) -> str:
    digest = hashlib.sha256("\0".join(flags).encode())
    for path in sorted([*LOADERS.rglob("*"), *DEMO.iterdir()]):
        if path.suffix in (".c", ".h", ".ld"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:20]


def run_compiler(command: Sequence[str]) -> None:
    """Run a compiler or linker; raises CompilerFailed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise CompilerFailed(f"{command[0]} is not installed; scripts/test installs what the tests need") from None
    if done.returncode != 0:
        raise CompilerFailed(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
