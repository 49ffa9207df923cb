"""How much memory a command takes at the most.

A process begins with the peak of the one that started it, which for tests and benches is larger than what they look at:
so a small one stands between.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

_BETWEEN = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True)
print(json.dumps([done.returncode, done.stdout, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""


def run_small(command: Sequence[str]) -> tuple[int, str, float]:
    """Run a command; gives its exit code, its output and its peak memory, or that of a child of its own, in MiB."""
    between = [sys.executable, "-I", "-S", "-c", _BETWEEN, *command]
    code, output, peak = json.loads(subprocess.run(between, stdout=subprocess.PIPE, check=True).stdout)
    # ru_maxrss counts KiB on Linux, bytes on macOS (getrusage(2)).
    return code, output, peak / (1024 if sys.platform != "darwin" else 1 << 20)
