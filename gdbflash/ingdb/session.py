"""What a GDB user has set up, taken aside while loaders run and given back as it was.

What belongs here: settings, breakpoints, the hook on stops, the selected thread and frame, and what GDB's own memory
of the last stop needs so that the user steps on from where they were. Core registers and RAM are the flasher's.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gdb
from gdb.unwinder import Unwinder, register_unwinder

from gdbflash.errors import OutputError, printable
from gdbflash.host.folders import TemporaryFolder
from gdbflash.runlog import Trace

_SETTINGS = (
    ("osabi", "none"),  # else a GDB built for Linux writes UDF instead of BKPT into RAM, where a server has no Z0
    ("pagination", "off"),
    ("suppress-cli-notifications", "on"),  # GDB 12: else each stop unwinds the stack to print it, for 40 packets
    ("breakpoint always-inserted", "on"),  # one Z0 and z0 a session instead of one a run
    ("mem inaccessible-by-default", "off"),  # servers' memory maps leave peripherals and external memory out
    ("arm force-mode", "thumb"),  # Cortex-M has no other mode: breakpoints are of kind 2 everywhere
)
DEEPEST_STACK = 0x10000
"""Bytes below a loader's initial SP that count as its stack: four times the largest that a layout gives."""
_UNWOUND = frozenset((*(f"r{number}" for number in range(13)), "sp", "lr", "pc", "xpsr", "msp", "psp"))
"""What GDB needs of a frame to unwind the next one; xPSR, MSP and PSP for those of exceptions (arm-tdep.c)."""


class _Spoken:
    """Who listens to the commands that are run."""

    trace: Trace | None = None


def trace_commands(trace: Trace | None) -> None:
    """Have all commands from now on, and what they print, told; None: tell nobody."""
    _Spoken.trace = trace


def run(command: str) -> str:
    """Run a GDB command and return what it printed; raises gdb.error."""
    if _Spoken.trace is None:
        return _plain(str(gdb.execute(command, to_string=True)))
    _Spoken.trace(">", command)
    try:
        said = _plain(str(gdb.execute(command, to_string=True)))
    except gdb.error as error:
        _Spoken.trace("<", f"error: {error}")
        raise
    _Spoken.trace("<", said)
    return said


def _plain(said: str) -> str:
    """Undo what GDB 18 makes of most output under a front end that speaks MI: a C string a line."""
    if not said.startswith(('~"', '@"', '&"')):
        return said
    return re.sub(
        r'^[~@&]"(.*)"\n',
        lambda line: line[1].encode("latin-1", "backslashreplace").decode("unicode_escape"),
        said,
        flags=re.MULTILINE,
    )


def shown(text: str) -> str:
    """Give text as GDB can show it: in a C locale it fails on every other character than ASCII."""
    charset = gdb.host_charset() if hasattr(gdb, "host_charset") else "ascii"  # GDB 12
    return printable(text, "\n\r\t").encode(charset, "backslashreplace").decode(charset)


def temporary_folder() -> TemporaryFolder:
    """Make a folder for files that GDB commands name: GDB 13 reads a name up to the next blank, quoted or not.

    Raises OutputError.
    """
    folder = tempfile.gettempdir()
    try:
        return TemporaryFolder(Path("/tmp" if re.search(r"\s", folder) else folder))
    except OSError as error:
        raise OutputError(
            f"No temporary folder could be made in {folder} ({error.strerror}). Free some space, or set TMPDIR.",
            path=folder,
        ) from error


class UserSession:
    """What the user had; made at the start of a command, restored at its end.

    User breakpoints are disabled meanwhile, which neither hits nor counts nor deletes them.
    """

    def __init__(self) -> None:
        self._thread = gdb.selected_thread()
        self._level = _level(gdb.selected_frame())
        self._listed = _listed()
        self._settings = [(name, gdb.parameter(name), wanted) for name, wanted in _SETTINGS if _exists(name)]
        self._hook = _hook_on_stop()
        self._regions = _regions()
        self._sigint = _handling_of_sigint()
        self._breakpoints = [(each, _enable_count(each)) for each in gdb.breakpoints() if each.enabled]
        self._unwinder: LoaderUnwinder | None = None
        self.pc = 0
        self.is_current = True
        """Whether the program that the user was in is still to be given back."""
        try:
            self._take()
        except BaseException:
            self.restore()
            raise

    def _take(self) -> None:
        for each, _ in self._breakpoints:
            each.enabled = False
        for name, _, wanted in self._settings:
            run(f"set {name} {wanted}")
        if self._hook:
            _define_hook("")
        _handle_sigint("stop print nopass")  # by it a core halts whose time is up
        if self._regions:
            run(f"disable mem {self._regions}")  # they may forbid what loaders need
        _select_running_thread()
        newest = gdb.newest_frame()
        newest.select()
        named = [each.name for each in newest.architecture().registers() if each.name.lower() in _UNWOUND]
        self._unwinder = LoaderUnwinder({name: newest.read_register(name) for name in named})
        register_unwinder(None, self._unwinder, replace=True)
        self.pc = int(newest.read_register("pc")) & 0xFFFFFFFF

    def entering(self, stack_pointer: int) -> None:
        """Learn which stack the functions that are going to run use."""
        if self._unwinder is not None:
            self._unwinder.stack = range(stack_pointer - DEEPEST_STACK, stack_pointer + 1)

    def restore(self) -> list[str]:
        """Give everything back, after registers and memory were; returns what could not be, in sentences.

        First what GDB can do alone: all else fails when the connection has gone.
        """
        lost: list[str] = []

        def give_back(what: str, act: Callable[[], object]) -> None:
            """Take one step; whatever hinders it, such as a hook of the user's, hinders no other."""
            try:
                act()
            except (gdb.error, RuntimeError, ValueError) as error:
                lost.append(f"{what} could not be given back: {error}.")

        hook, regions = self._hook, self._regions
        if hook:
            give_back("The hook on stops", lambda: _define_hook(hook))
        give_back("The handling of SIGINT", lambda: _handle_sigint(self._sigint))
        if regions:
            give_back("The memory regions", lambda: run(f"enable mem {regions}"))
        for name, value, _ in self._settings:
            give_back(f"The setting `{name}`", partial(run, f"set {name} {_as_word(value)}"))
        unwinder, self._unwinder = self._unwinder, None
        if unwinder is not None:
            give_back("The unwinders", lambda: gdb.frame_unwinders.remove(unwinder))
        give_back("The frames", gdb.invalidate_cached_frames)
        for each, count in self._breakpoints:
            if not each.is_valid():
                lost.append("GDB has deleted a watchpoint of the program's scope.")
                continue
            give_back(f"Breakpoint {each.number}", partial(_enable, each, count))
        if self.is_current:
            with contextlib.suppress(gdb.error):  # a thread or frame that is gone cannot be selected
                self._select()
        return lost

    def _select(self) -> None:
        if self._thread is not None and self._thread.is_valid():
            self._thread.switch()
        frame = gdb.newest_frame()
        for _ in range(self._level):
            older = frame.older()
            if older is None:
                break
            frame = older
        frame.select()
        run("frame")  # so that `list` begins around it
        if self._listed is not None and self._listed != _listed():
            file, line = self._listed  # the user has listed on from there
            run(f'list "{file}":{max(1, line - 10)},{line - 1}')


def _enable(point: Any, count: int) -> None:
    """Enable a breakpoint again, for so many hits where it had a count."""
    point.enabled = True
    if count:
        run(f"enable count {count} {point.number}")


class LoaderUnwinder(Unwinder):  # type: ignore[misc]
    """Say that a loader's function was called by the user's frame.

    GDB deletes a watchpoint on a local variable as soon as it runs the core and no longer finds the variable's frame
    on the stack; with this it does. And it reads no code to find out how a loader's frame is built, which would take
    17 packets for each register written.
    """

    def __init__(self, registers: dict[str, Any]) -> None:
        super().__init__("gdbflash")
        self._registers = registers
        self.stack = range(0)

    def __call__(self, pending: Any) -> Any:
        """Unwind a frame that uses the loader's stack; None for every other."""
        sp = int(pending.read_register("sp")) & 0xFFFFFFFF
        pc = int(pending.read_register("pc")) & 0xFFFFFFFF
        users = (int(self._registers["sp"]) & 0xFFFFFFFF, int(self._registers["pc"]) & 0xFFFFFFFF)
        if sp not in self.stack or (sp, pc) == users:
            return None
        # One frame for all of the loader's: GDB stays in it whatever register is written.
        info = pending.create_unwind_info(_FrameId(self.stack.stop, 0))
        for name, value in self._registers.items():
            info.add_saved_register(name, value)
        return info


class _FrameId:
    """What GDB knows a frame by."""

    def __init__(self, sp: int, pc: int) -> None:
        self.sp = gdb.Value(sp)
        self.pc = gdb.Value(pc)


@contextlib.contextmanager
def unasked() -> Iterator[None]:
    """Have GDB take its questions as answered while the body runs."""
    confirm = gdb.parameter("confirm")
    run("set confirm off")
    try:
        yield
    finally:
        run(f"set confirm {_as_word(confirm)}")


def _select_running_thread() -> None:
    """Where a server shows the threads of an RTOS, select the one that the core is in.

    The registers of the others are copies on their stacks, which a call must not touch. The server says which thread
    is the running one (RSP, qC).
    """
    inferior = gdb.selected_inferior()
    threads = inferior.threads()
    if len(threads) < 2:
        return
    said = re.match(rb"QC(?:p[0-9a-f]+\.)?([0-9a-f]+)", inferior.connection.send_packet("qC") or b"")
    for each in threads:
        if said and each.ptid[1] == int(said[1], 16):
            each.switch()


def _exists(setting: str) -> bool:
    try:
        gdb.parameter(setting)
    except RuntimeError:  # an older GDB
        return False
    return True


def _as_word(value: object) -> str:
    if value is None:
        return "unlimited"
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _level(frame: Any) -> int:
    level = 0
    while (frame := frame.newer()) is not None:
        level += 1
    return level


def _listed() -> tuple[str, int] | None:
    """Tell where `list` is: after a stop the line stopped at, later the one behind the last that was shown."""
    try:
        (place,) = gdb.decode_line()[1]
    except gdb.error:  # GDB has no program
        return None
    return (place.symtab.filename, place.line) if place.symtab is not None else None


def _hook_on_stop() -> str:
    """Read the user's hook-stop, which GDB would run after every call; empty when there is none."""
    try:
        text = run("show user hook-stop")
    except gdb.error:
        return ""
    return "\n".join(text.splitlines()[1:]).rstrip() + "\n"


def _handling_of_sigint() -> str:
    """Read what GDB does at a SIGINT, as `handle` takes it: the columns Stop, Print and Pass."""
    told = run("info signals SIGINT").splitlines()[-1].split()[1:4]
    words = ("stop", "print", "pass")
    return " ".join(word if yes == "Yes" else f"no{word}" for word, yes in zip(words, told, strict=True))


def _handle_sigint(how: str) -> None:
    with unasked():
        run(f"handle SIGINT {how}")


def _regions() -> str:
    """Read the numbers of the memory regions that the user has defined and not disabled."""
    said = run("info mem")
    return " ".join(re.findall(r"^(\d+)\s+y", said, re.MULTILINE)) if "user-defined" in said else ""


def _define_hook(body: str) -> None:
    with unasked():
        run(f"define hook-stop\n{body}end")


def _enable_count(breakpoint_: Any) -> int:
    """Read how many hits a breakpoint stays enabled for (`enable count`), which enabling it again would forget."""
    if breakpoint_.number < 0:  # an extension's own
        return 0
    said = re.search(r"disable after (?:next|additional) (\d+) hit", run(f"info breakpoints {breakpoint_.number}"))
    return int(said[1]) if said else 0
