"""`python -m study.search`."""

import sys

from study.search.command import main

sys.exit(main())
