"""The structure holds: which module imports which, and who owns each third-party package."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "gdbflash"

VALUES = {
    "errors",
    "options",
    "ranges",
    "storage",
    "findings",
    "demangle",
    "elf",
    "files",
    "loader",
    "image",
    "plan",
    "layout",
    "events",
}
SEAM = {"target"}
CORE = (
    VALUES
    | SEAM
    | {
        "call",
        "compare",
        "delta",
        "devices",
        "digest",
        "erasing",
        "flasher",
        "inspection",
        "keeping",
        "pace",
        "phases",
        "programming",
        "quiesce",
        "recovery",
    }
    | {"autopsy", "evidence", "faults", "placement", "session", "spec", "survey"}
)

MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "errors": set(),
    "ranges": set(),
    "events": {"errors"},
    "runlog": {"errors", "events"},
    "target": {"errors"},
    "options": {"ranges"},
    "storage": {"errors", "ranges"},
    "elf": {"errors"},
    "files": {"errors"},
    "findings": {"errors", "ranges", "storage"},
    "demangle": set(),
    "loader": {"demangle", "elf", "errors", "files", "findings", "ranges", "storage"},
    "image": {"elf", "errors", "files"},
    "devices": {"errors", "ranges"},
    "plan": {"errors", "files", "image", "loader", "ranges"},
    "layout": {"entry", "errors", "loader", "ranges"},
    "compare": {"errors"},
    "delta": {"plan", "ranges", "storage"},
    "phases": {"errors", "events"},
    "pace": {"ranges"},
    "erasing": {"events", "pace", "phases", "plan", "session", "storage"},
    "programming": {"events", "pace", "phases", "plan", "ranges", "session", "survey"},
    "survey": {"call", "digest", "errors", "pace", "plan", "ranges", "session"},
    "keeping": {"events", "plan", "ranges", "recovery"},
    "inspection": VALUES | {"compare", "delta", "pace", "phases", "session", "survey"},
    "planned": {"errors", "events", "plan"},
    "quiesce": {"errors", "target"},
    "recovery": {"errors", "plan"},
    "unfinished": {"errors", "recovery"},
    "spec": VALUES,
    "entry": {"ranges", "routine_code"},
    "call": {"entry", "errors", "layout", "target"},
    "faults": set(),
    "evidence": {"call", "errors", "faults", "layout", "loader", "ranges", "target"},
    "autopsy": {"call", "errors", "evidence", "faults", "ranges", "target"},
    "digest": {"call", "ranges", "routine_code"},
    "routine_code": set(),
    "workarea": {"ranges"},
    "placement": VALUES | SEAM | {"devices", "digest", "routine_code"},
    "session": VALUES
    | SEAM
    | {"autopsy", "call", "digest", "evidence", "placement", "recovery", "routine_code", "unfinished", "workarea"},
    "flasher": CORE - {"spec", "flasher"},
    "profiles": {"errors", "target"},
    "endpoint": {"errors"},
    "gdbs": {"errors"},
    "mi": {"errors", "runlog"},
    "tcl": {"errors", "runlog", "transfers"},
    "mivalues": {"mi", "target"},
    "transfers": {"errors"},
    "mimemory": {"errors", "mi", "mivalues", "transfers"},
    "mireturn": {"errors", "mi"},
    "mitarget": {
        "corereset",
        "errors",
        "memoryproof",
        "mi",
        "mimemory",
        "mireturn",
        "mivalues",
        "profiles",
        "runlog",
        "target",
        "tcl",
    },
    "miconnect": {"endpoint", "errors", "mi", "mitarget", "profiles", "runlog"},
    "servers": {"endpoint", "errors", "profiles", "runlog"},
    "reach": {"endpoint", "errors", "events", "gdbs", "miconnect", "mitarget", "profiles", "runlog", "servers"},
    "doctor": CORE | {"__init__", "gdbs"},
    "console": {"errors", "events"},
    "output": {"errors", "image"},
    "corereset": {"errors", "profiles"},
    "gdbsession": {"errors", "runlog"},
    "memoryproof": {"errors", "profiles"},
    "gdbmemory": {"errors", "gdbsession", "transfers"},
    "gdbcore": {"errors", "gdbmemory", "gdbsession", "target"},
    "gdbrun": {"errors", "tcl"},
    "ingdb": {
        "corereset",
        "errors",
        "gdbcore",
        "gdbmemory",
        "gdbrun",
        "gdbsession",
        "memoryproof",
        "profiles",
        "target",
        "tcl",
    },
    "gdbconnect": {"errors", "gdbcore", "gdbmemory", "gdbsession", "ingdb", "profiles", "tcl"},
    "gdbprogress": {"errors", "events"},
    "gdboptions": CORE | {"events", "profiles"},
    "gdbload": CORE | {"gdboptions", "gdbsession"},
    "gdbcommands": CORE
    | {"gdbconnect", "gdbload", "gdboptions", "gdbprogress", "gdbsession", "ingdb", "output", "planned", "profiles"}
    | {"__init__", "runlog"},
    "gdbregister": {"errors", "gdbcommands", "gdboptions", "gdbsession", "options", "plan"},
    "config": {"errors", "files"},
    "cliopts": CORE | {"__init__", "config", "console", "profiles", "runlog"},
    "cli": CORE
    | {
        "__init__",
        "boardcommand",
        "cliopts",
        "console",
        "doctor",
        "interruption",
        "loaderreport",
        "output",
        "planned",
        "reach",
        "streams",
    },
    "streams": {"errors"},
    "interruption": set(),
    "loaderreport": {"console", "events", "loader", "ranges"},
    "__main__": {"cli"},
    "boardcommand": {"board", "errors", "interruption", "loader", "plan", "profiles"},
    "board": {"board", "errors"},
}

OWNERS: dict[str, set[str]] = {
    "elftools": {"elf"},
    "bincopy": {"image"},
    "itanium_demangler": {"demangle"},
    "pygdbmi": {"mi"},
    "pexpect": {"servers"},
    "tomli": {"config"},
    "tomllib": {"config"},
    "rich": {"console"},
    "rich_click": {"cli", "cliopts"},
    "unicorn": {"board"},
    "gdb": {
        "gdbcommands",
        "gdbconnect",
        "gdbcore",
        "gdbload",
        "gdbmemory",
        "gdboptions",
        "gdbregister",
        "gdbrun",
        "gdbsession",
        "ingdb",
    },
}


def imports_of(path: Path) -> tuple[set[str], set[str]]:
    """Name the modules of gdbflash and the foreign packages that a file imports, anywhere in it."""
    package = ["gdbflash", *path.relative_to(PACKAGE).parts[:-1]]
    ours: set[str] = set()
    foreign: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, node.module] if node.module else base)
            # `from . import x` and `from gdbflash import x` name modules; `from .x import y` names one.
            names = [f"{stem}.{alias.name}" for alias in node.names] if stem == "gdbflash" else [stem]
        for name in names:
            parts = name.split(".")
            if parts[0] == "gdbflash":
                known = len(parts) > 1 and ((PACKAGE / parts[1]).is_dir() or (PACKAGE / f"{parts[1]}.py").exists())
                ours.add(parts[1] if known else "__init__")
            elif parts[0] not in sys.stdlib_module_names:
                foreign.add(parts[0])
    return ours, foreign


def files() -> list[tuple[str, Path]]:
    return [(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path) for path in sorted(PACKAGE.rglob("*.py"))]


@pytest.mark.parametrize(("module", "path"), files(), ids=lambda value: str(value) if isinstance(value, str) else "")
def test_a_module_imports_only_what_the_structure_allows(module: str, path: Path) -> None:
    ours, foreign = imports_of(path)
    assert ours - {module} <= MAY_IMPORT[module], f"{path.name} reaches across the structure"
    strangers = {name for name in foreign if module not in OWNERS.get(name, set())}
    assert not strangers, f"{path.name} imports packages that another module owns"


def test_the_table_names_no_module_that_is_gone() -> None:
    assert {module for module, _ in files()} == set(MAY_IMPORT)
