"""Look at a folder of images before a study, in seconds.

python -m study.data [--data DIR] [--grid FILE.png]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from study.common.command import ENDS, complain, parse, typed
from study.common.files import write_atomically
from study.common.text import printable
from study.data.copies import KEEP, TOGETHER
from study.data.files.foreign_folders import SAMPLES
from study.data.groups import SUBFOLDER
from study.data.load_images import load_images


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is in a folder of images and draw some of them; returns the exit code."""
    parser = argparse.ArgumentParser(prog=typed("data"), description=main.__doc__)
    parser.add_argument(
        "--data", metavar="DIR", help="folder of class folders (default: the faces)"
    )
    parser.add_argument("--labels", metavar="FILE.csv", help="table of files and labels")
    parser.add_argument("--group", choices=(SUBFOLDER,), help="what stays on one side of a split")
    parser.add_argument("--group-pattern", metavar="REGEX", help="the same by the files' names")
    parser.add_argument("--near-duplicates", choices=(TOGETHER, KEEP), default=TOGETHER)
    parser.add_argument("--follow-links", action="store_true", help="links to files elsewhere")
    parser.add_argument(
        "--grid",
        type=Path,
        default=Path("logs", SAMPLES),
        metavar="FILE",
        help="where to draw 15 of them with their classes (default: %(default)s)",
    )
    given = parse(parser, argv)
    try:
        images = load_images(
            **{name: value for name, value in vars(given).items() if name != "grid"}
        )
        from study.data.overview import (
            overview,  # matplotlib: kept out of --help
            sample_grid,  # matplotlib: kept out of --help
        )

        print(overview(images))
        rows = np.arange(len(images.paths))
        write_atomically(given.grid, sample_grid(images, rows, seed=1, title="Images and classes"))
        print(f"sample grid: {printable(given.grid)}")
    except ENDS as error:
        return complain(error, given)
    except OSError as error:
        print(f"error: {printable(given.grid)}: {error.strerror}", file=sys.stderr)
        return 2
    return 0
