"""Compare any number of studies on one page.

    python -m study.compare --study A --study B             # what changed from A to B
    python -m study.compare --study A --study B --study C   # what each choice moves
    python -m study.compare --study docs/findings/records.tar.xz --study A   # published ones and A

Takes seconds and needs no TensorFlow. Writes `logs/A/report/compare/` (compare.html, compare.md,
compare.json and pictures) and prints what the studies say together: how much each choice moves,
which optimizer to use in general, and how the first study compares with each other one.
"""

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

from study.common.command import ENDS, add_study, complain, parse, typed


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0 when the page is written, 2 after a mistake of the user."""
    options = parse(_parser(), argv)
    from study.compare.write import write_comparison  # matplotlib, not for --help

    gc.disable()  # one short run; walking through thousands of records costs half a second
    try:
        write_comparison(
            options.logs, options.study or [], margin=options.margin, packed=options.pack
        )
    except ENDS as error:
        return complain(error, options)
    except OSError as error:
        print(f"error: the comparison could not be written: {error}", file=sys.stderr)
        return 2
    finally:
        gc.enable()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=typed("compare"),
        description="Compare studies: what moves how much, and which optimizer in general.",
    )
    add_study(
        parser,
        "name of a study, or FILE.tar.xz with the records of several; repeatable",
        action="append",
    )
    parser.add_argument(
        "--margin",
        metavar="POINTS",
        help="margin to judge by, in points of the metric; default: the first study's",
    )
    parser.add_argument(
        "--pack",
        metavar="FILE.tar.xz",
        type=Path,
        help="also write the records of these studies, without pictures and predictions, for "
        "others to compare with",
    )
    return parser
