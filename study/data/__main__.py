"""`python -m study.data`."""

import sys

from study.data.command import main

sys.exit(main())
