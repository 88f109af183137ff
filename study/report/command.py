"""Write and print the report of a study.

    python -m study.report                      # the newest study under logs/
    python -m study.report --study NAME         # this one
    python -m study.report --study A --study B  # what changed from A to B, by optimizer
    python -m study.report --margin 3           # judged by another margin, from the same records

Takes about two seconds and needs no TensorFlow: it reads `study.json`, `trials.jsonl` and
`best/predictions.json`, writes `logs/<study>/report/` (report.html, report.md, ranking.csv,
ranking.json, figures/*.png) and prints the conclusion and the ranking.
"""

import argparse
import gc
import sys
from collections.abc import Sequence

from study.common.command import add_study, complain, parse, typed
from study.common.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when the report is written, 2 after a mistake that the user can mend."""
    options = parse(_parser(), argv)
    from study.report.write import write_comparisons, write_report  # matplotlib, not for --help

    gc.disable()  # one short run; walking through thousands of records costs half a second
    try:
        if options.study and len(options.study) > 1:
            write_comparisons(options.logs, options.study, margin=options.margin)
        else:
            name = options.study[0] if options.study else None
            write_report(options.logs, name, margin=options.margin)
    except (UserError, KeyboardInterrupt) as error:
        return complain(error, options)
    except OSError as error:
        print(f"error: the report could not be written: {error}", file=sys.stderr)
        return 2
    finally:
        gc.enable()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=typed("report"),
        description="Rank the optimizers of a study, draw its figures, say what is certain.",
    )
    add_study(parser, "; given twice, both are compared", action="append")
    parser.add_argument(
        "--margin",
        metavar="POINTS",
        help="judge by another margin, in points of accuracy; default: the study's",
    )
    return parser
