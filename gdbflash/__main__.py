"""Run `python -m gdbflash`."""

import sys

from gdbflash.cli.main import main

sys.exit(main())
