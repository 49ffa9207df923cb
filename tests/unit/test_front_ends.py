"""Both front ends know the same commands, options and defaults, but for what the table names and gives a reason for."""

from __future__ import annotations

import re
import shlex
from typing import Any

import click
import pytest

from gdbflash.cli.main import commands
from gdbflash.cli.settings import Settings
from gdbflash.commands.choices import run_options
from gdbflash.commands.grammar import Command, FrontEnd, Kind, Only
from gdbflash.commands.help import manual_page, of_all, of_command
from gdbflash.commands.requests import REQUESTS
from gdbflash.commands.shared_options import OUTPUT, REACH
from gdbflash.commands.table import COMMANDS, command_named, options_of
from gdbflash.ingdb.words import Words
from gdbflash.loaders.storage import StorageType
from gdbflash.options import After, Before, CallOptions, RunOptions
from tests.support.values import make_loader

GLOBAL = {flag for each in OUTPUT for flag in each.flags}
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
    known = {each.name for each in COMMANDS if each.is_in(FrontEnd.COMMAND_LINE)}
    assert set(commands.commands) == known
    shown = of_all()
    assert all(f"\n  {name} " in shown for name in known)


def command_line_rows() -> list[Command]:
    return [each for each in COMMANDS if each.is_in(FrontEnd.COMMAND_LINE)]


@pytest.mark.parametrize("row", command_line_rows(), ids=lambda each: each.name)
def test_help_has_eighty_columns_all_values_all_defaults_and_three_examples(row: Command) -> None:
    shown = of_command(row)
    assert max(map(len, shown.splitlines())) <= 80
    words = " ".join(shown.split())
    for option in (*options_of(row, FrontEnd.COMMAND_LINE), *OUTPUT):
        assert f"{option.help}." in words, option.name
        assert option.kind is Kind.FLAG or option.otherwise or option.default not in (None, ""), option.name
        assert all(f"{value}: {meaning}" in words for value, meaning in option.choices.items()), option.name
        assert all(option.choices.values()), option.name
    assert len(row.examples) == 3
    assert all(argument.help for argument in row.arguments)


@pytest.mark.parametrize(
    "typed", [typed for row in command_line_rows() for typed, _ in row.examples], ids=lambda each: each
)
def test_examples_are_understood(typed: str) -> None:
    name, *words = shlex.split(re.split(r" [|>]", typed)[0])
    above = click.Context(commands, **commands.context_settings, obj=Settings())
    commands.commands[name].make_context(name, words, above)


def test_manual_pages_are_made_of_the_same_text() -> None:
    for row in (None, *command_line_rows()):
        page = manual_page(row, "1.0")
        assert page.startswith(f".TH GDBFLASH{'-' + row.name.upper() if row else ''} 1 ")
        plain = re.sub(r"\\&", "", page).replace("\\-", "-").replace("\\e", "\\")
        for line in (of_command(row) if row else of_all()).splitlines():
            if not line.endswith(":"):
                assert line.removeprefix("Usage: ") in plain, line


@pytest.mark.parametrize("row", COMMANDS, ids=lambda each: each.name)
def test_a_front_end_offers_what_the_table_says(row: Command) -> None:
    if row.is_in(FrontEnd.COMMAND_LINE):
        wanted = {flag for each in options_of(row, FrontEnd.COMMAND_LINE) for flag in each.flags}
        assert set(typed(commands.commands[row.name])) - GLOBAL == wanted
        names = [each.name for each in commands.commands[row.name].params if isinstance(each, click.Argument)]
        assert names == [each.name for each in row.arguments]
    if row.is_in(FrontEnd.GDB):
        wanted = {flag for each in options_of(row, FrontEnd.GDB) for flag in each.flags}
        assert known_to_gdb(row) == wanted
        positionals = [each.dest for each in Words(row)._actions if not each.option_strings]
        assert positionals == [each.name for each in row.arguments]


def test_what_they_do_not_share_is_named_with_its_reason() -> None:
    differ = {each.name: each.only for each in (*COMMANDS, *REACH) if each.only is not None}
    assert {name for name, only in differ.items() if only.front_end is FrontEnd.GDB} == {"loader", "status"}
    alone = {name for name, only in differ.items() if only.front_end is FrontEnd.COMMAND_LINE}
    commands_alone = {"board", "gdbinit", "integrate", "completion", "help", "boards", "loaders"}
    assert alone == {*commands_alone, "server", "connect", "tcl", "launch", "probe", "gdb"}
    assert all(isinstance(only, Only) and only.why for only in differ.values())
    own = [option for row in COMMANDS for option in row.options]
    assert all(option.is_in(FrontEnd.COMMAND_LINE) for option in own)
    assert {option.name for option in own if not option.is_in(FrontEnd.GDB)} == {"report"}
    assert all(option.only.why for option in own if option.only is not None)


@pytest.mark.parametrize("row", [each for each in COMMANDS if each.name in REQUESTS], ids=lambda each: each.name)
def test_what_is_left_out_means_the_same_to_both(row: Command) -> None:
    """All of it comes from the table: inside GDB nothing but it (and the parameters) fills in what is None."""
    words = ["1"] * sum(not each.optional for each in row.arguments)
    inside = Words(row).said(words)
    above = click.Context(commands, **commands.context_settings)
    context = commands.commands[row.name].make_context(row.name, [*words], above)
    for option in options_of(row, FrontEnd.GDB):
        if option.required:
            continue
        assert inside[option.field] is None, option.name
        default = () if option.kind is Kind.VALUES else option.default
        assert context.params[option.field] == default, option.name


def test_the_help_of_an_option_is_the_same_sentence() -> None:
    for row in (each for each in COMMANDS if each.name in REQUESTS):
        shown = typed(commands.commands[row.name])
        inside = " ".join(Words(row).format_help().split())
        for option in options_of(row, FrontEnd.GDB):
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
    assert "after" not in {each.name for each in options_of(command_named("load"), FrontEnd.GDB)}
