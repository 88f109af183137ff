"""Run `python -m study.report`."""

import sys

from study.report.command import main

sys.exit(main())
