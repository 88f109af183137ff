"""Run `python -m study.compare`."""

import sys

from study.compare.command import main

sys.exit(main())
