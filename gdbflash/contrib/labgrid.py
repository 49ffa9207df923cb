"""A driver for labgrid: boards of many hosts, each at a GDB server that an exporter tells of.

What belongs here: labgrid's words (labgrid documentation, "Development", "Writing a Driver") for what the public API
does. Who has which board is labgrid's business, by its places.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attr
from labgrid.driver import Driver
from labgrid.factory import target_factory
from labgrid.protocol import BootstrapProtocol, ResetProtocol
from labgrid.resource.common import NetworkResource
from labgrid.step import step
from labgrid.util.proxy import proxymanager

import gdbflash


@target_factory.reg_resource
@attr.s(eq=False)
class GDBServer(NetworkResource):  # type: ignore[misc]
    """A GDB server that has one board.

    host and port: where it listens, as seen from who uses the board; labgrid's SSH forwarding is heeded. server: a name
    that `--server` knows, or "auto" to tell it by asking. tcl: OpenOCD's Tcl port, where it is not the usual one.
    """

    port: int = attr.ib(validator=attr.validators.instance_of(int))
    server: str = attr.ib(default="auto", validator=attr.validators.instance_of(str))
    tcl: int | None = attr.ib(default=None, validator=attr.validators.optional(attr.validators.instance_of(int)))


@target_factory.reg_driver
@attr.s(eq=False)
class GdbflashDriver(Driver, BootstrapProtocol, ResetProtocol):  # type: ignore[misc]
    """Program, read, compare, erase and reset the board of a GDBServer.

    loaders: the .stldr of each external memory, relative to the environment's file. image: what `load` takes where no
    file is named, by its key in the environment's `images`. keep: what lies beside an image in its sectors stays.
    after: how the board is left, as `--after`. gdb: the program, else the first that is found. timeout_scale: a factor
    on all time-outs.

    Each method connects, does its work and leaves the board; it may raise every error of `Flasher` and `connect`, and
    InputError for what is wrong with files and arguments.
    """

    bindings = {"server": GDBServer}  # noqa: RUF012 - as labgrid reads it

    loaders: str | list[str] = attr.ib(factory=list, validator=attr.validators.instance_of((str, list)))
    image: str | None = attr.ib(default=None, validator=attr.validators.optional(attr.validators.instance_of(str)))
    keep: bool = attr.ib(default=True, validator=attr.validators.instance_of(bool))
    after: str = attr.ib(default="reset", validator=attr.validators.in_([each.value for each in gdbflash.After]))
    gdb: str | None = attr.ib(default=None, validator=attr.validators.optional(attr.validators.instance_of(str)))
    timeout_scale: float = attr.ib(default=1.0, converter=float, validator=attr.validators.gt(0))

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.target.env:
            self.loaders = self.target.env.config.resolve_path_str_or_list(self.loaders)
        elif isinstance(self.loaders, str):
            self.loaders = [self.loaders]

    @Driver.check_active  # type: ignore[untyped-decorator]
    @step(args=["filename"])  # type: ignore[untyped-decorator]
    def load(self, filename: str | None = None) -> gdbflash.Report:
        """Bring a whole build (elf, hex, srec) to where its parts belong, and compare all of it."""
        path = filename or self._image()
        content, entry = gdbflash.load_image(path), gdbflash.entry_point(path)
        loaders = self._read_loaders(optional=True)
        with self._flasher() as flasher:
            return flasher.load(content, entry, loaders, keep=self.keep)

    @Driver.check_active  # type: ignore[untyped-decorator]
    @step(args=["filename", "address"])  # type: ignore[untyped-decorator]
    def write(self, filename: str, address: int | None = None) -> gdbflash.Report:
        """Program a file into external memory, and compare it; address: where a file belongs that does not tell."""
        content = gdbflash.load_image(filename, address)
        jobs = gdbflash.plan_write(self._read_loaders(), content, keep=self.keep)
        with self._flasher() as flasher:
            return flasher.write(jobs)

    @Driver.check_active  # type: ignore[untyped-decorator]
    @step(args=["filename", "address"])  # type: ignore[untyped-decorator]
    def verify(self, filename: str, address: int | None = None) -> gdbflash.Report:
        """Compare external memory with a file; raises Mismatch."""
        jobs = gdbflash.plan_verify(self._read_loaders(), gdbflash.load_image(filename, address))
        with self._flasher() as flasher:
            return flasher.verify(jobs)

    @Driver.check_active  # type: ignore[untyped-decorator]
    @step(args=["address", "size"])  # type: ignore[untyped-decorator]
    def read(self, address: int, size: int) -> bytes:
        """Give bytes of external memory; all are there only when they were proven."""
        where, data = gdbflash.Range(address, size), bytearray()
        loader = _holding(self._read_loaders(), where)
        with self._flasher() as flasher:
            flasher.read(loader, where, data.extend)
        return bytes(data)

    @Driver.check_active  # type: ignore[untyped-decorator]
    @step(args=["address", "size"])  # type: ignore[untyped-decorator]
    def erase(self, address: int, size: int) -> gdbflash.Report:
        """Erase whole sectors, and see that they are blank."""
        where = gdbflash.Range(address, size)
        loader = _holding(self._read_loaders(), where)
        sectors = gdbflash.plan_erase(loader, where)
        with self._flasher() as flasher:
            return flasher.erase(loader, sectors)

    @Driver.check_active  # type: ignore[untyped-decorator]
    @step()  # type: ignore[untyped-decorator]
    def reset(self) -> None:
        """Reset the board and let it run, whatever `after` says."""
        with self._flasher(gdbflash.After.RESET):
            pass

    def _image(self) -> str:
        """Name the build that the environment says; raises InputError where it says none."""
        if self.image is None:
            raise gdbflash.InputError(
                "No file to load was named. Give load() one, or the driver an `image` of the environment's `images`."
            )
        return str(self.target.env.config.get_image_path(self.image))

    def _read_loaders(self, *, optional: bool = False) -> Sequence[gdbflash.ExternalLoader]:
        """Read the loader files; raises InputError where there are none, LoaderFileError."""
        if not self.loaders and not optional:
            raise gdbflash.InputError("The driver has no `loaders`: name the .stldr of the board's memory there.")
        return [gdbflash.load_loader(each) for each in self.loaders]

    @contextmanager
    def _flasher(self, after: gdbflash.After | None = None) -> Iterator[gdbflash.Flasher]:
        """Connect and take the board while the body runs."""
        host, port = proxymanager.get_host_and_port(self.server)
        tcl = self.server.tcl and proxymanager.get_host_and_port(self.server, force_port=self.server.tcl)[1]
        calls = gdbflash.CallOptions(timeout_scale=self.timeout_scale)
        options = gdbflash.RunOptions(after=after or gdbflash.After(self.after), calls=calls)
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        patience = max(1.0, self.timeout_scale)
        reached = gdbflash.connect(
            place, self.server.server, tcl=tcl, gdb=self.gdb, observe=self._tell, patience=patience
        )
        with reached as target, gdbflash.Flasher(target, options, self._tell) as flasher:
            yield flasher

    def _tell(self, event: gdbflash.Event) -> None:
        """Log what happens."""
        if isinstance(event, gdbflash.Noted):
            self.logger.warning("%s", event.message)
        elif isinstance(event, gdbflash.Finished):
            self.logger.info("%s took %.2f s", event.phase, event.seconds)
        elif isinstance(event, gdbflash.Detailed):
            self.logger.log(logging.DEBUG, "%s", event.message)


def _holding(loaders: Sequence[gdbflash.ExternalLoader], where: gdbflash.Range) -> Any:
    """Find the loader whose memory holds a range; raises PlanError."""
    for loader in loaders:
        span = loader.storage.span
        if where.address in span and where.end <= span.end:
            return loader
    spans = ", ".join(f"{each.storage.name} {each.storage.span}" for each in loaders)
    raise gdbflash.PlanError(
        f"{where} does not lie in one memory of the driver's loaders: {spans}. Give another range, or its loader.",
        address=where.address,
        size=where.size,
    )
