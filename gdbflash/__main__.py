"""Run `python -m gdbflash`."""

import sys

from .cli import main

sys.exit(main())
