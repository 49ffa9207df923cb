"""The options of `board`, and what `--inject` takes.

What belongs here: rows and words of that one command.
"""

from __future__ import annotations

from gdbflash.commands.grammar import Files, Kind, Option
from gdbflash.commands.words import parse_factor, parse_listening_port, parse_quantity, parse_rate, parse_unit

BOARD = (
    Option(
        "port",
        "Port for GDB; 0 takes a free one",
        metavar="PORT",
        parse=parse_listening_port,
        otherwise="that of the server it plays, or 3333",
    ),
    Option(
        "stlink-port",
        "Also be an ST-LINK for OpenOCD on this port; 0 takes a free one",
        metavar="PORT",
        parse=parse_listening_port,
        otherwise="none",
    ),
    Option(
        "pyocd-port",
        "Also be a `remote` probe for pyOCD on this port; 0 takes a free one",
        metavar="PORT",
        parse=parse_listening_port,
        otherwise="none",
    ),
    Option(
        "image",
        "Keep the flash chip's content in FILE",
        metavar="FILE",
        names=Files.FILE,
        otherwise="it is lost at the end",
    ),
    Option(
        "unit",
        "Its unique ID, 24 hex digits",
        metavar="ID",
        parse=parse_unit,
        otherwise="that in FILE.unit, or a new one",
    ),
    Option("personality", "The GDB server to play", metavar="NAME", default="board"),
    Option(
        "link-kib-s",
        "Let the link carry no more than X KiB a second",
        metavar="X",
        parse=parse_rate,
        otherwise="as fast as it can",
    ),
    Option("link-latency-us", "Delay of each packet, microseconds", metavar="X", parse=parse_quantity, default=0.0),
    Option("data-sheet-times", "Let erasing and programming take what the data sheet says", Kind.FLAG, default=False),
    Option("time-scale", "Let all of this take X times as long", metavar="X", parse=parse_factor, default=1.0),
    Option(
        "inject", "Let something go wrong (below); repeat it", Kind.VALUES, metavar="FAULT", otherwise="nothing does"
    ),
)

FAULTS = """\
FAULT is one of these. Behind it, `@N` means only the N-th time, `@N+` from then on, `@N-M` from the N-th to the M-th
time; without it, every time.

PLACE is an address, or FILE:FUNCTION with a loader's file, as in `return:0:My.stldr:Init@1`.

- `drop`: the connection is reset when a packet of GDB's arrives; `drop@40`: the 40th

- `stall` or `stall:SECONDS`: the answer to a packet never comes, or is late

- `error` or `error:PACKET`: packets, or those of a kind (`m`, `M`, `X`, `P`, `vCont;c`...), are answered with an error

- `corrupt`: one bit of what a read of memory answers is wrong

- `late`: a write of memory is acknowledged but not done, and only the next one is answered with the error

- `stlink:target`, `stlink:usb`, `stlink:hang-up`: the ST-LINK loses the target, its cable, its client (in commands)

- `fault:KIND:PLACE`: the core faults; KIND is bus, fetch, execute-never, undefined, arm-state, coprocessor,
unaligned, divide, memmanage, busfault, usagefault or lockup

- `hang:PLACE`: the core stays there

- `overflow:PLACE`: its stack grows over all RAM below

- `return:VALUE:PLACE`: the function there does nothing but return VALUE

- `reset:PLACE`, `halt:PLACE`: somebody else resets or halts the target when it gets there

- `flip:WHERE:BIT:PLACE`: a bit of RAM flips when the core gets there; WHERE is an address, or like `r2+16`

- `protected`, `no-erase`, `no-program`: the flash chip is write-protected, erases nothing, programs nothing

- `stuck:ADDRESS:BIT:VALUE`: a bit of the flash chip stays 0 or 1
"""
"""What `--inject` takes, as paragraphs."""
