"""Boards by name: which tables count in which order, what a found file may not name, and whether a board answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gdbflash.cli.configured import KEYS, files, schema, settled
from gdbflash.errors import InputError
from tests.support.boards import LOADER, RunningBoard, running_board
from tests.support.commandline import CommandLine

PLACE = "0x90000000"
NOBODY = ("checksum", PLACE, "1", "--gdb", "/nowhere/gdb")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a project, to be worked in, with a user's own folder beside it."""
    folder = tmp_path / "home" / "project"
    folder.mkdir(parents=True)
    (folder / ".git").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "config" / "gdbflash" / "gdbflash.toml"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.fixture
def board() -> Iterator[RunningBoard]:
    with running_board() as running:
        yield running


def said(board: str | None, folder: Path) -> dict[str, object]:
    return settled(files(None, folder).layers(board), lambda _option, text: text)


def test_a_board_counts_more_than_the_top_and_a_project_more_than_the_user(project: Path, own: Path) -> None:
    own.write_text('gdb = "mine"\nserver = "jlink"\nafter = "halt"\n[board.a]\nprobe = "7"\nbefore = "none"\n')
    (project / "gdbflash.toml").write_text(
        'server = "openocd"\nbefore = "reset"\nimages = "app.bin@0x90000000"\n[board.a]\nserver = "stlink"\n[board.b]\n'
    )
    top = {"gdb": "mine", "server": "openocd", "after": "halt", "before": "reset"}
    top["images"] = (project / "app.bin@0x90000000",)  # type: ignore[assignment]
    assert said(None, project) == top
    assert said("a", project) == {**top, "server": "stlink", "probe": "7"}
    assert said("b", project) == top
    assert files(None, project).boards == ("a", "b")
    with pytest.raises(InputError, match=r"There is no board 'c'\. There are a, b\."):
        said("c", project)


def test_environment_counts_more_than_files_and_less_than_words(
    run: CommandLine, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "gdbflash.toml").write_text(f'loader = "{LOADER}"\n[board.a]\nconnect = "127.0.0.1:1"\n')
    monkeypatch.setenv("GDBFLASH_BOARD", "a")
    assert "127.0.0.1:1" in run("checksum", PLACE, "1").shown
    monkeypatch.setenv("GDBFLASH_CONNECT", "127.0.0.1:2")
    assert "127.0.0.1:2" in run("checksum", PLACE, "1").shown
    assert "127.0.0.1:3" in run("checksum", PLACE, "1", "--connect", "127.0.0.1:3").shown
    monkeypatch.setenv("GDBFLASH_LOADER", "nowhere.stldr")
    assert "nowhere.stldr does not exist" in run("checksum", PLACE, "1").shown


@pytest.mark.parametrize(
    "line",
    ['gdb = "trap"', 'connect = "192.0.2.1:1"', 'kept = "discard"', 'launch = "-c exit"'],
    ids=lambda each: each[:6],
)
def test_a_found_file_may_not_choose_programs_or_machines_for_its_boards(
    run: CommandLine, project: Path, own: Path, line: str
) -> None:
    key = line.split()[0]
    (project / "gdbflash.toml").write_text(f'loader = "{LOADER}"\n[board.a]\n{line}\n[board.b]\n')
    refused = run(*NOBODY, "-b", "a")
    assert (refused.code, refused.result["error"]["key"]) == (2, key)
    assert f"board.a.{key} may not come from a file that nobody named" in refused.sentence
    assert run(*NOBODY, "-b", "b").code == 3, "what is said of another board is no reason"
    own.write_text(f"[board.b]\n{line}\n")
    assert run(*NOBODY, "-b", "b").code == 3, "the user's own file counts as named"


def test_nothing_goes_to_the_board_at_hand_in_place_of_one_elsewhere(
    run: CommandLine, project: Path, board: RunningBoard
) -> None:
    (project / "app.bin").write_bytes(b"Z" * 256)
    (project / "gdbflash.toml").write_text(
        f'loader = "{LOADER}"\nimages = "app.bin@{PLACE}"\nconnect = "{board.endpoint}"\n'
        '[board.lab]\nconnect = "192.0.2.1:3333"\n'
    )
    before = bytes(board.chip.memory[:256])
    assert run("load", "-b", "lab").code == 2
    assert (bytes(board.chip.memory[:256]), board.machine.resets) == (before, 0)


@pytest.mark.parametrize(
    "serial", ["1; exec touch sign", "[exec touch sign]", "$x", "1\nexec touch sign", "-c", "\\x31", ""]
)
def test_a_serial_number_starts_no_program(run: CommandLine, project: Path, serial: str) -> None:
    (project / "gdbflash.toml").write_text(f"loader = {json.dumps(str(LOADER))}\nprobe = {json.dumps(serial)}\n")
    outcome = run("checksum", PLACE, "1", "--server", "openocd", "--launch", "-c 'adapter driver dummy'")
    assert (outcome.code, outcome.result["error"]["probe"]) == (2, serial)
    assert not (project / "sign").exists()


def test_what_is_wrong_with_a_board_names_it(run: CommandLine, project: Path) -> None:
    (project / "gdbflash.toml").write_text("[board.left]\nserve = 1\n")
    assert (
        "board.left.serve is no option that a file may have; did you mean server?"
        in run(*NOBODY, "-b", "left", "-l", LOADER).sentence
    )
    assert "There is no board 'lef'. Did you mean 'left'?" in run(*NOBODY, "-b", "lef", "-l", LOADER).sentence


def test_load_alone_does_the_projects_job_and_nothing_goes_to_another_unit(
    run: CommandLine, project: Path, board: RunningBoard
) -> None:
    unit = board.machine.soc.unit.hex()
    data = bytes(range(256)) * 20
    (project / "build").mkdir()
    (project / "build" / "app.bin").write_bytes(data)
    text = (
        f'loader = "{LOADER}"\nimages = ["build/app.bin@{PLACE}"]\nafter = "halt"\n'
        f'[board.bench]\nconnect = "{board.endpoint}"\nexpect-unit = "{unit}"\nnotes = "the one with the blue wire"\n'
        f'[board.other]\nconnect = "{board.endpoint}"\nexpect-unit = "{"0" * 24}"\n'
        '[board.gone]\nconnect = "127.0.0.1:1"\n'
    )
    (project / "gdbflash.toml").write_text(text)
    refused = run("load", "-b", "other")
    assert (refused.code, refused.result["error"]["kind"]) == (3, "prepare")
    assert f"This is the unit {unit}, not {'0' * 24}, which was expected. Nothing was touched" in refused.shown
    assert board.machine.resets == 0
    loaded = run("load", "-b", "bench")
    assert loaded.code == 0, loaded.shown
    assert bytes(board.chip.memory[: len(data)]) == data
    board.machine.reset(halt=False)
    resets = board.machine.resets
    listed = run("boards")
    assert listed.code == 0
    assert [(each["name"], each["answers"]) for each in listed.result["boards"]] == [
        ("bench", True),
        ("other", False),
        ("gone", False),
    ]
    assert listed.result["boards"][0]["unit"] == unit
    assert listed.result["boards"][0]["notes"] == "the one with the blue wire"
    assert board.machine.resets == resets
    assert board.machine.halted is None, "the core goes on"


def test_info_and_lint_take_the_loader_of_the_file(run: CommandLine, project: Path) -> None:
    assert "No loader was given." in run("info").sentence
    (project / "gdbflash.toml").write_text(f'[board.a]\nloader = "{LOADER}"\n')
    assert run("info", "-b", "a").events[0]["path"] == str(LOADER)
    assert run("lint", "-b", "a").events[0]["path"] == str(LOADER)


def test_a_config_file_that_is_broken_is_no_reason_not_to_look_at_a_loader(run: CommandLine, project: Path) -> None:
    (project / "gdbflash.toml").write_text("loader = [")
    assert run("info", LOADER).code == 0
    assert "gdbflash.toml is no TOML" in run("info").sentence


def test_a_probe_is_chosen_for_a_server_that_is_started(run: CommandLine) -> None:
    words = ("-l", LOADER, "--launch", "-c exit", "--probe", "123")
    assert "QEMU has no probe that could be chosen by --probe." in run(*NOBODY[:3], *words, "--server", "qemu").sentence
    shown = run(*NOBODY[:3], *words, "--server", "openocd").shown
    assert "adapter serial" in shown or "adapter serial 123" in shown


def test_the_schema_that_is_shipped_has_all_keys() -> None:
    made = schema()
    assert set(made["properties"]) == {*KEYS, "schema", "board"}
    assert set(made["properties"]["board"]["additionalProperties"]["properties"]) == set(KEYS)
    shipped = Path(__file__).parents[2] / "gdbflash" / "gdbflash.schema.json"
    assert json.loads(shipped.read_text("utf-8")) == made, "write it anew: gdbflash boards --schema"
