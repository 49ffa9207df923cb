"""Both front ends know the same commands, options and defaults, but for what the table names and gives a reason for."""

from __future__ import annotations

from typing import Any

import pytest
import rich_click as click

from gdbflash.cli.main import commands
from gdbflash.commands.requests import REQUESTS, run_options
from gdbflash.commands.table import COMMANDS, REACH, Command, FrontEnd, Kind, Only, command_named
from gdbflash.ingdb.words import Words
from gdbflash.loaders.storage import StorageType
from gdbflash.options import After, Before, CallOptions, RunOptions
from tests.support.values import make_loader

GLOBAL = {"--config", "--log", "--json", "--quiet", "-q", "--verbose", "-v"}
"""The command line's own, before and behind every command."""


def typed(command: click.Command) -> dict[str, Any]:
    """Give the options of a command of the command line, by what may be typed."""
    found: dict[str, Any] = {}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            for flag in (*parameter.opts, *parameter.secondary_opts):
                found[flag] = parameter
    return found


def known_to_gdb(row: Command) -> set[str]:
    return {flag for action in Words(row)._actions for flag in action.option_strings} - {"-h", "--help"}


def test_the_command_line_has_the_commands_of_the_table() -> None:
    assert list(commands.commands) == [each.name for each in COMMANDS if each.is_in(FrontEnd.COMMAND_LINE)]


@pytest.mark.parametrize("row", [each for each in COMMANDS if each.name != "board"], ids=lambda each: each.name)
def test_a_front_end_offers_what_the_table_says(row: Command) -> None:
    if row.is_in(FrontEnd.COMMAND_LINE):
        wanted = {flag for each in row.all_options(FrontEnd.COMMAND_LINE) for flag in each.flags}
        assert set(typed(commands.commands[row.name])) - GLOBAL == wanted
        names = [each.name for each in commands.commands[row.name].params if isinstance(each, click.Argument)]
        assert names == [each.name for each in row.arguments]
    if row.is_in(FrontEnd.GDB):
        wanted = {flag for each in row.all_options(FrontEnd.GDB) for flag in each.flags}
        assert known_to_gdb(row) == wanted
        positionals = [each.dest for each in Words(row)._actions if not each.option_strings]
        assert positionals == [each.name for each in row.arguments]


def test_what_they_do_not_share_is_named_with_its_reason() -> None:
    differ = {each.name: each.only for each in (*COMMANDS, *REACH) if each.only is not None}
    assert {name for name, only in differ.items() if only.front_end is FrontEnd.GDB} == {"loader", "status"}
    alone = {name for name, only in differ.items() if only.front_end is FrontEnd.COMMAND_LINE}
    assert alone == {"board", "gdbinit", "integrate", "server", "connect", "tcl", "launch", "gdb"}
    assert all(isinstance(only, Only) and only.why for only in differ.values())
    assert all(option.is_in(front_end) for row in COMMANDS for option in row.options for front_end in FrontEnd)


@pytest.mark.parametrize("row", [each for each in COMMANDS if each.name in REQUESTS], ids=lambda each: each.name)
def test_what_is_left_out_means_the_same_to_both(row: Command) -> None:
    """All of it comes from the table: inside GDB nothing but it (and the parameters) fills in what is None."""
    words = ["1"] * sum(not each.optional for each in row.arguments)
    if row.name == "read":
        words += ["-o", "x"]
    inside = Words(row).said(words)
    above = click.Context(commands, **commands.context_settings)
    context = commands.commands[row.name].make_context(row.name, [*words], above)
    for option in row.all_options(FrontEnd.GDB):
        if option.required:
            continue
        assert inside[option.field] is None, option.name
        default = () if option.kind is Kind.VALUES else option.default
        assert context.params[option.field] == default, option.name


def test_the_help_of_an_option_is_the_same_sentence() -> None:
    for row in (each for each in COMMANDS if each.name in REQUESTS):
        shown = typed(commands.commands[row.name])
        inside = " ".join(Words(row).format_help().split())
        for option in row.all_options(FrontEnd.GDB):
            assert shown[option.flags[0]].help == f"{option.help}."
            assert " ".join(option.help.split()) in inside.replace("- ", "-"), option.name


RAM, FLASH = make_loader(kind=StorageType.SRAM), make_loader()


@pytest.mark.parametrize(
    ("loader", "before", "after", "in_session", "meant"),
    [
        (FLASH, None, None, False, (Before.RESET, After.RESET)),
        (RAM, None, None, False, (Before.RESET, After.HALT)),
        (FLASH, None, "restore", False, (Before.NONE, After.RESTORE)),
        (FLASH, "none", None, False, (Before.NONE, After.RESET)),
        (FLASH, None, None, True, (Before.NONE, After.RESTORE)),
        (RAM, None, None, True, (Before.NONE, After.RESTORE)),
        (FLASH, "reset", None, True, (Before.RESET, After.RESET)),
        (RAM, "reset", None, True, (Before.RESET, After.HALT)),
        (FLASH, "reset", "restore", True, (Before.RESET, After.RESTORE)),
    ],
)
def test_how_a_target_is_taken_and_left_where_it_was_not_said(
    loader: Any, before: str | None, after: str | None, in_session: bool, meant: tuple[Before, After]
) -> None:
    said = {"before": before, "after": after, "ram": None, "irq": True, "ignore_init_result": False}
    options = run_options((loader,), {**said, "timeout_scale": 2.0}, in_session=in_session)
    assert options == RunOptions(*meant, CallOptions(irq=True, timeout_scale=2.0))


def test_a_program_is_left_as_the_load_of_gdb_leaves_it() -> None:
    assert "after" not in {each.name for each in command_named("load").all_options(FrontEnd.GDB)}
