"""The structure holds: which sub-package imports which, without circles, and who owns each third-party package."""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "gdbflash"

TOP = "(top)"
"""The modules that lie directly in the package: what all speak in."""
FILES = {"loaders", "images"}
ONCHIP = {TOP, "host", *FILES, "plan"}
COMMANDS = {*ONCHIP, "onchip", "flash"}

MAY_IMPORT: dict[str, set[str]] = {
    TOP: {"host"},
    "host": {TOP},
    "loaders": {TOP, "host"},
    "images": {TOP, "host"},
    "plan": {TOP, "host", *FILES},
    "onchip": ONCHIP,
    "flash": {*ONCHIP, "onchip"},
    "commands": {*COMMANDS, "servers", "integrations"},
    "servers": {TOP, "host"},
    "integrations": {TOP, "host"},
    "mi": {TOP, "host", "servers"},
    "ingdb": {*COMMANDS, "commands", "servers"},
    "cli": {*COMMANDS, "commands", "servers", "mi", "integrations"},
    "board": {TOP, "host"},
    "contrib": set(),
}

DOORS: dict[str, dict[str, set[str]]] = {
    "gdbflash.__main__": {"cli": {"gdbflash.cli.main"}},
    "gdbflash.api": {"loaders": set(), "images": set(), "plan": set(), "flash": set(), "mi": {"gdbflash.mi.reach"}},
    "gdbflash.cli.board": {"board": set()},
    "contrib": {TOP: {"gdbflash"}},
    "board": {TOP: {"gdbflash.errors"}},
}
"""What single modules may beyond the table, and what of a sub-package alone is allowed; an empty set: all of it."""

LEVELS = 14
FLAT = 14
LARGEST = 20

OWNERS: dict[str, set[str]] = {
    "elftools": {"gdbflash.elf"},
    "capstone": {"gdbflash.loaders.disassembly"},
    "bincopy": {"gdbflash.images.formats"},
    "filelock": {"gdbflash.host.folders"},
    "platformdirs": {"gdbflash.host.folders"},
    "itanium_demangler": {"gdbflash.loaders.demangle"},
    "pygdbmi": {"gdbflash.mi.client"},
    "pexpect": {"gdbflash.servers.child"},
    "tomli": {"gdbflash.cli.config"},
    "rich": {"gdbflash.cli.console"},
    "click": {"gdbflash.cli.main", "gdbflash.cli.options", "gdbflash.cli.reaching"},
    "attr": {"gdbflash.contrib.labgrid"},
    "labgrid": {"gdbflash.contrib.labgrid"},
    "unicorn": {"gdbflash.board.cpu.engine"},
    "gdb": {
        f"gdbflash.ingdb.{each}"
        for each in (
            "bounds",
            "commands",
            "connect",
            "memory",
            "parameters",
            "plain_load",
            "register",
            "registers",
            "session",
            "target",
        )
    },
}


def name_of(path: Path) -> str:
    """Give a module's whole name."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def wing_of(module: str) -> str:
    """Name the sub-package of a module, however deep it lies in it."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else TOP


@cache
def imports_of(module: str) -> tuple[frozenset[str], frozenset[str]]:
    """Name the modules of gdbflash and the foreign packages that a module imports, anywhere in it."""
    ours: set[str] = set()
    foreign: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively: write the whole path"
            # `from gdbflash.mi import client` names a module, `from gdbflash.mi.client import Gdb` what is in one.
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [each if each in MODULES else node.module or "" for each in whole]
        for name in names:
            if name.split(".")[0] == "gdbflash":
                ours.add(name)
            elif name.split(".")[0] not in sys.stdlib_module_names:
                foreign.add(name.split(".")[0])
    return frozenset(ours - {module}), frozenset(foreign)


def allowed(module: str, imported: str) -> bool:
    """Tell whether a module may import another one."""
    here, there = wing_of(module), wing_of(imported)
    for doors in (DOORS.get(module, {}), DOORS.get(here, {})):
        if there in doors:
            return not doors[there] or imported in doors[there]
    return here == there or there in MAY_IMPORT[here]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_the_structure_allows(module: str) -> None:
    ours, foreign = imports_of(module)
    assert not {each for each in ours if not allowed(module, each)}, f"{module} reaches across the structure"
    strangers = {name for name in foreign if module not in OWNERS.get(name, set())}
    assert not strangers, f"{module} imports packages that another module owns"


def test_the_tables_name_nothing_that_is_gone() -> None:
    assert {wing_of(module) for module in MODULES} == set(MAY_IMPORT)
    used = {(name, module) for module in MODULES for name in imports_of(module)[1]}
    assert used == {(name, module) for name, owners in OWNERS.items() for module in owners}


def test_no_module_imports_itself_through_others_and_the_levels_are_few() -> None:
    levels: dict[str, int] = {}

    def level(module: str, above: tuple[str, ...]) -> int:
        assert module not in above, f"a circle: {' -> '.join((*above, module))}"
        if module not in levels:
            levels[module] = 1 + max((level(each, (*above, module)) for each in imports_of(module)[0]), default=0)
        return levels[module]

    assert max(level(module, ()) for module in MODULES) <= LEVELS


FOLDERS = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda each: str(each.relative_to(PACKAGE.parent)))
def test_no_folder_holds_more_modules_than_one_overlooks(folder: Path) -> None:
    assert len(list(folder.glob("*.py"))) <= (FLAT if folder == PACKAGE else LARGEST)


def test_every_sub_package_says_what_belongs_there_and_what_it_may_import() -> None:
    for wing in set(MAY_IMPORT) - {TOP}:
        told = ast.get_docstring(ast.parse((PACKAGE / wing / "__init__.py").read_text("utf-8"))) or ""
        assert "May import:" in told, wing
        assert len(told.splitlines()) <= 10, wing
