"""`python -m study.images`."""

import sys

from study.images.command import main

sys.exit(main())
