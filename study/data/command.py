"""Inspect the data before a study: a folder, a table of labels, or a file of rows; in seconds.

    python -m study.data --data my_photos          # class folders, whole or divided
    python -m study.data --labels labels.csv       # a table of files and labels
    python -m study.data --features rows.npz       # rows of any model

Prints classes and counts, what was left out and why, copies, groups and what may mislead a model,
and draws some of the images.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from study.common.command import ENDS, complain, parse, typed
from study.common.errors import UserError
from study.common.files import write_atomically
from study.common.text import printable
from study.data.copies import KEEP, TOGETHER
from study.data.files.foreign_folders import SAMPLES
from study.data.groups import SUBFOLDER
from study.data.load_images import load_images
from study.data.rows.load_rows import load_rows


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is in the data and draw some of the images; return the exit code."""
    parser = _parser()
    given = parse(parser, argv)
    try:
        if given.features is None:
            _show_images(given)
        else:
            _show_rows(given, parser)
    except ENDS as error:
        return complain(error, given)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=typed("data"), description="Inspect the data before a study."
    )
    add = parser.add_argument
    add("--data", metavar="DIR", help="folder of class folders (default: the faces)")
    add("--labels", metavar="FILE.csv", help="table of files and labels")
    add("--features", metavar="FILE.npz", help="rows of any model, instead of images")
    add("--group", choices=(SUBFOLDER,), help="what to keep on one side of a split")
    add("--group-pattern", metavar="REGEX", help="the same, by the files' names")
    add(
        "--near-duplicates",
        choices=(TOGETHER, KEEP),
        default=TOGETHER,
        help="keep near-duplicates on one side of a split, or treat them as different images "
        "(default: %(default)s)",
    )
    add("--follow-links", action="store_true", help="also use links to files elsewhere")
    add(
        "--grid",
        type=Path,
        default=Path("logs", SAMPLES),
        metavar="FILE",
        help="where to draw 15 of the images with their classes (default: %(default)s)",
    )
    return parser


def _show_images(given: argparse.Namespace) -> None:
    from study.data.overview import overview, sample_grid  # matplotlib: kept out of --help

    loading = {k: value for k, value in vars(given).items() if k not in ("grid", "features")}
    images = load_images(**loading)
    print(overview(images))
    rows = np.arange(len(images.paths))
    grid = sample_grid(images, rows, seed=1, title="Images and classes")
    try:
        write_atomically(given.grid, grid)
    except OSError as error:
        raise UserError(
            f"the sample grid cannot be written to {given.grid} ({error.strerror}): "
            "give `grid` a file in a folder where you may write"
        ) from None
    print(f"sample grid: {printable(given.grid)}")


def _show_rows(given: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Print the overview of a file of rows; refuse options for images."""
    others = [name for name in vars(given) if name != "features"]
    if wrong := [name for name in others if getattr(given, name) != parser.get_default(name)]:
        raise UserError(f"`{wrong[0]}` is for images, but `features` is a file of rows: drop one")
    from study.data.overview import overview_of_rows  # matplotlib: kept out of --help

    print(overview_of_rows(load_rows(given.features)))
