"""Telling servers apart by their words, and choosing where to connect."""

from __future__ import annotations

from dataclasses import dataclass, field

import click
import pytest

from gdbflash.cli.main import commands
from gdbflash.errors import InputError, ServerMissing
from gdbflash.servers.profiles import CANDIDATE_PORTS, PROFILES, SERVERS, choose_port, detect, profile_named

UNKNOWN = "Protocol error with Rcmd"


@dataclass
class Words:
    """A server as detection sees it."""

    supported: str = ""
    answers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def ask(self, command: str) -> str:
        self.asked.append(command)
        return self.answers.get(command, UNKNOWN)


# qSupported replies and monitor texts as the servers give them (QEMU 7.2 and OpenOCD 0.12 read off the wire).
@pytest.mark.parametrize(
    ("name", "supported", "answers", "asked"),
    [
        (
            "openocd",
            "PacketSize=4000;qXfer:memory-map:read+;qXfer:features:read+;qXfer:threads:read+;QStartNoAckMode+;vContSupported+",
            {"version": "Open On-Chip Debugger 0.12.0\n"},
            ["version"],
        ),
        (
            "stlink",
            "PacketSize=4000;QStartNoAckMode+;QNonStop+;swbreak+;hwbreak+;qXfer:features:read+;qXfer:memory-map:read+",
            {},
            [],
        ),
        (
            "qemu",
            "PacketSize=1000;qXfer:features:read+;vContSupported+;multiprocess+",
            {"version": "unknown command: 'version'\r\n", "info version": "7.2.22Debian 1:7.2+dfsg-7+deb12u18+b3\r\n"},
            ["version", "info version"],
        ),
        ("st-util", "PacketSize=3fff;qXfer:memory-map:read+;qXfer:features:read+", {}, []),
        (
            "blackmagic",
            "PacketSize=400;qXfer:memory-map:read+;qXfer:features:read+",
            {"version": "Black Magic Probe v1.10.0, Hardware Version 0\n"},
            ["version"],
        ),
        (
            "pyocd",
            "qXfer:features:read+;QStartNoAckMode+;qXfer:threads:read+;QNonStop+;PacketSize=800;qXfer:memory-map:read+",
            {
                "version": "Error: unrecognized command 'version'\n",
                "help": "init\tIgnored; for OpenOCD compatibility.\nreset\tReset the target, optionally with halt.\n"
                "halt\tHalt the target.\narm\tControl semihosting.\nhelp\tShow help for commands.\n",
            },
            ["version", "help"],
        ),
        (
            "jlink",
            "PacketSize=4000;qXfer:memory-map:read-;QStartNoAckMode+;hwbreak+;qXfer:features:read+",
            {"help": "SEGGER J-Link GDB Server, supported commands:\ngo\nhalt\nreset [<Type>]\nregs\n"},
            ["version", "help"],
        ),
        (
            "probe-rs",
            "PacketSize=1000;vContSupported+;multiprocess+;QStartNoAckMode+;hwbreak+;qXfer:features:read+",
            dict.fromkeys(
                ("version", "info version", "help"), "Supported Commands:\n\n    info - print session information\n"
            ),
            ["version", "info version", "help"],
        ),
        (
            "board",
            "PacketSize=4000;QStartNoAckMode+;qXfer:features:read+;swbreak+;hwbreak+;vContSupported+",
            {"version": "gdbflash virtual board, STM32H750 with W25Q128\n"},
            ["version"],
        ),
        ("generic", "PacketSize=100", {}, ["version", "help"]),
        ("generic", "", {}, ["version", "help"]),
        # A server of its own that happens to have processes is not QEMU.
        ("generic", "PacketSize=1000;multiprocess+", {"version": "1.0", "info version": "what?"}, None),
    ],
)
def test_detection(name: str, supported: str, answers: dict[str, str], asked: list[str] | None) -> None:
    words = Words(supported, answers)
    assert detect(words).name == name
    if asked is not None:
        assert words.asked == asked


def test_profiles_are_found_by_name() -> None:
    assert sorted(PROFILES) == sorted(
        ["openocd", "stlink", "qemu", "pyocd", "jlink", "st-util", "probe-rs", "blackmagic", "board", "generic"]
    )
    assert profile_named("openocd") is PROFILES["openocd"]
    with pytest.raises(InputError, match="no server 'opnocd'"):
        profile_named("opnocd")


def test_the_profiles_own_port_is_taken() -> None:
    assert choose_port(PROFILES["openocd"], []) == 3333
    assert choose_port(PROFILES["stlink"], [3333]) == 61234
    with pytest.raises(ServerMissing, match=r"--connect /dev/ttyACM0"):
        choose_port(PROFILES["blackmagic"], [])


def test_auto_takes_the_one_port_that_listens() -> None:
    assert CANDIDATE_PORTS == (3333, 61234, 2331, 4242, 1234, 1337)
    assert choose_port(None, [4242]) == 4242
    with pytest.raises(
        ServerMissing, match=r"127\.0\.0\.1:3333, 127\.0\.0\.1:1234; choose one with --connect"
    ) as several:
        choose_port(None, [3333, 1234])
    assert several.value.data == {"ports": [3333, 1234]}
    with pytest.raises(ServerMissing, match="start one, such as `openocd") as none:
        choose_port(None, [])
    assert none.value.data == {"ports": []}


def test_every_server_can_be_chosen_but_the_one_that_nobody_knows() -> None:
    assert list(SERVERS) == ["auto", *(name for name in PROFILES if name != "generic")]
    option = next(each for each in commands.commands["write"].params if each.name == "server")
    assert isinstance(option.type, click.Choice)
    assert list(option.type.choices) == list(SERVERS)
