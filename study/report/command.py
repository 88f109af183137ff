"""Write and print the report of a study.

    python -m study.report                      # the newest study under logs/
    python -m study.report --study NAME         # this one
    python -m study.report --margin 3           # the same records, judged by another margin
    python -m study.report --trials-to DIR      # every trial for TensorBoard instead of a report

Takes about two seconds and needs no TensorFlow: it reads `study.json`, `trials.jsonl` and
`best/predictions.json`, writes `logs/<study>/report/` (report.html, report.md, ranking.csv,
ranking.json, trials.csv, figures/*.png) and prints the conclusion and the ranking.
"""

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

from study.common.command import ENDS, add_study, complain, parse, typed
from study.common.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0 when the report is written, 2 after a mistake of the user."""
    options = parse(_parser(), argv)
    from study.report.write import write_report  # matplotlib, not for --help

    gc.disable()  # in one short run, collecting among thousands of records costs half a second
    try:
        if options.trials_to is not None:
            from study.tensorboard.every_trial import write_trials

            write_trials(options.logs, options.study or [], options.trials_to)
        elif options.study and len(options.study) > 1:
            given = [word for name in options.study for word in ("--study", name)]
            given += [] if options.logs == Path("logs") else ["--logs", options.logs]
            given += [] if options.margin is None else ["--margin", options.margin]
            raise UserError(
                f"a report covers one study; to compare several, run `{typed('compare', *given)}`"
            )
        else:
            name = options.study[0] if options.study else None
            write_report(options.logs, name, margin=options.margin)
    except ENDS as error:
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
        description="Rank the optimizers of a study, draw its figures and say what is certain.",
    )
    add_study(
        parser,
        "name of the study; default: the newest; several only with --trials-to",
        action="append",
    )
    parser.add_argument(
        "--margin",
        metavar="POINTS",
        help="margin to judge by, in points of the metric; default: the study's",
    )
    parser.add_argument(
        "--trials-to",
        type=Path,
        metavar="DIR",
        help="instead of a report, write every trial of the study (or of all studies given) for "
        "`tensorboard --logdir DIR`; the search itself writes only the winners",
    )
    return parser
