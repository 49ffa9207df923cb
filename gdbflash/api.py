"""The public names of the package, which `gdbflash` itself gives when they are first used.

What belongs here: nothing but imports. A name that is added is documented where it is defined, and stays.
"""

from __future__ import annotations

from gdbflash.errors import (
    CallFailed,
    CallNotMade,
    CallStopped,
    CallTimeout,
    CommandRefused,
    ConnectionLost,
    GdbflashError,
    GdbMissing,
    ImageFileError,
    InputError,
    Interrupted,
    LoaderFileError,
    MemoryAccessError,
    Mismatch,
    OutputError,
    PlanError,
    PrepareError,
    ServerMissing,
    SetupError,
    TargetError,
)
from gdbflash.events import Advanced, Detailed, Event, Finished, Noted, Observer, Planned, Started, Waited
from gdbflash.flash.flasher import Checksum, Flasher, Report
from gdbflash.images.content import Content
from gdbflash.images.formats import entry_point, load_image, merge_images
from gdbflash.loaders.loader import ExternalLoader
from gdbflash.loaders.stldr import load_loader
from gdbflash.loaders.storage import StorageInfo, StorageType
from gdbflash.mi.reach import connect, launch
from gdbflash.options import After, Before, CallOptions, RunOptions, VerifyMode
from gdbflash.plan.jobs import EraseMode, StorageJob, plan_chip_erase, plan_erase, plan_verify, plan_write
from gdbflash.plan.summary import planned
from gdbflash.ranges import Range
from gdbflash.target import Target

__all__ = [
    "Advanced",
    "After",
    "Before",
    "CallFailed",
    "CallNotMade",
    "CallOptions",
    "CallStopped",
    "CallTimeout",
    "Checksum",
    "CommandRefused",
    "ConnectionLost",
    "Content",
    "Detailed",
    "EraseMode",
    "Event",
    "ExternalLoader",
    "Finished",
    "Flasher",
    "GdbMissing",
    "GdbflashError",
    "ImageFileError",
    "InputError",
    "Interrupted",
    "LoaderFileError",
    "MemoryAccessError",
    "Mismatch",
    "Noted",
    "Observer",
    "OutputError",
    "PlanError",
    "Planned",
    "PrepareError",
    "Range",
    "Report",
    "RunOptions",
    "ServerMissing",
    "SetupError",
    "Started",
    "StorageInfo",
    "StorageJob",
    "StorageType",
    "Target",
    "TargetError",
    "VerifyMode",
    "Waited",
    "connect",
    "entry_point",
    "launch",
    "load_image",
    "load_loader",
    "merge_images",
    "plan_chip_erase",
    "plan_erase",
    "plan_verify",
    "plan_write",
    "planned",
]
