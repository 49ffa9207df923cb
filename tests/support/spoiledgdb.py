"""A gdb whose output is spoiled on its way: the program to run is in $SPOILED_GDB, the chance in $SPOILED_SEED."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading

INSERTED = (
    b'*stopped,frame={addr="zz"}',
    b"*stopped",
    b'*stopped,frame="0x4",reason=[]',
    b"*running,thread-id=all",
    b'=thread-group-exited,id="i1"',
    b'^done,memory=[{begin="0x24000000",contents="zz"}]',
    b'999^error,msg="no"',
    b'@"\\q"',
    b'&"Remote connection closed\\n"',
    b"(gdb",
    b"1^done,a=[" + b"[" * 500,
    b"\xff\x00\x01",
    b"",
)
CLASSES = (b"^error", b"^running", b"^exit", b"^connected", b"*stopped", b"^done", b"^", b"=")
ONE_IN = 60


def spoiled(line: bytes, chance: random.Random) -> list[bytes]:
    """Give what comes of a line."""
    ways = chance.randrange(9)
    place = chance.randrange(len(line) + 1)
    if ways == 0:
        return [line[:place]]
    if ways == 1:
        return [line[:place] + bytes([chance.choice(b'"\\{}[],=^*~@&09azZ\xff\x01')]) + line[place + 1 :]]
    if ways == 2:
        return [line, line]
    if ways == 3:
        return []
    if ways == 4:
        return [chance.choice(INSERTED), line]
    if ways == 5:
        return [line, chance.choice(INSERTED)]
    if ways == 6:
        return [re.sub(rb"0x[0-9a-f]+", chance.choice((b"0x", b"-1", b"0x" + b"f" * 40, b"0xzz")), line)]
    if ways == 7:
        return [re.sub(rb"\^done|\^error|\*stopped", lambda _: chance.choice(CLASSES), line)]
    return [re.sub(rb'="[^"]*"', chance.choice((b'=""', b"={}", b"=[]", b'="1"')), line)]


def main() -> int:
    """Run gdb, its input as it comes and its output spoiled."""
    chance = random.Random(int(os.environ["SPOILED_SEED"]))
    gdb = subprocess.Popen([os.environ["SPOILED_GDB"], *sys.argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert gdb.stdin is not None
    assert gdb.stdout is not None
    signal.signal(signal.SIGINT, lambda *_: gdb.send_signal(signal.SIGINT))
    threading.Thread(target=pass_on, args=(gdb,), daemon=True).start()
    for line in gdb.stdout:
        pieces = [line[:-1]] if chance.randrange(ONE_IN) else spoiled(line[:-1], chance)
        os.write(1, b"".join(piece + b"\n" for piece in pieces))
    return gdb.wait()


def pass_on(gdb: subprocess.Popen[bytes]) -> None:
    """Give gdb what is for it."""
    assert gdb.stdin is not None
    while data := os.read(0, 1 << 16):
        gdb.stdin.write(data)
        gdb.stdin.flush()
    gdb.stdin.close()


if __name__ == "__main__":
    sys.exit(main())
