"""Write and print the report of a study.

    python -m study.report                      # the newest study under logs/
    python -m study.report --study NAME         # this one
    python -m study.report --study A --study B  # what changed from A to B, by optimizer

Takes about two seconds and needs no TensorFlow: it reads `study.json`, `trials.jsonl` and
`best/predictions.json`, writes `logs/<study>/report/` (report.html, report.md, ranking.csv,
ranking.json, figures/*.png) and prints the conclusion and the ranking.
"""

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

from study.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when the report is written, 2 after a mistake that the user can mend."""
    options = _parser().parse_args(argv)
    gc.disable()  # one short run; walking through thousands of records costs half a second
    try:
        if options.study and len(options.study) > 1:
            write_comparisons(options.logs, options.study)
        else:
            write_report(options.logs, options.study[0] if options.study else None)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: the report could not be written: {error}", file=sys.stderr)
        return 2
    finally:
        gc.enable()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m study.report",
        description="Rank the optimizers of a study, draw its figures, say what is certain.",
    )
    parser.add_argument(
        "--study",
        action="append",
        metavar="NAME",
        help="name of the study; default: the newest; given twice, both are compared",
    )
    parser.add_argument(
        "--logs",
        type=Path,
        default=Path("logs"),
        metavar="DIR",
        help="folder of the studies (default: logs)",
    )
    return parser


def write_report(logs: Path, name: str | None = None) -> Path:
    """Summarize study `name` (default: the newest), write its report, print the conclusion.

    Raises:
        UserError: no such study, nothing finished, or a damaged file.
    """
    # Imported here so that --help does not wait for matplotlib.
    from study.documents import markdown, ranking_csv, ranking_json
    from study.figures import draw_figures, write_figures
    from study.files import write_atomically
    from study.page import page
    from study.summary import find_study, load_study
    from study.tables import ranking_table
    from study.terminal import print_conclusion

    study = find_study(logs, name)
    summary = load_study(study)
    pictures, font_warnings = draw_figures(summary)
    warnings = [(found.kind, found.text) for found in summary.cautions]
    warnings += [("font", text) for text in font_warnings]
    texts = [text for _, text in warnings]
    folder = study / "report"
    write_figures(pictures, folder / "figures")
    about = [(picture.name, picture.title, picture.caption) for picture in pictures]
    write_atomically(folder / "report.md", markdown(summary, about, texts))
    write_atomically(folder / "ranking.csv", ranking_csv(summary))
    write_atomically(folder / "ranking.json", ranking_json(summary, warnings))
    write_atomically(folder / "report.html", page(summary, pictures, texts))
    print_conclusion(summary, ranking_table(summary), texts, folder)
    return folder


def write_comparisons(logs: Path, names: Sequence[str]) -> list[Path]:
    """Compare the first study with each of the others; returns the pages.

    Raises:
        UserError: a study is missing, named twice, or damaged.
    """
    from study.compare import compare
    from study.compare_report import comparison_notes, comparison_table, write_comparison
    from study.summary import find_study, load_study
    from study.terminal import print_comparison

    if len(set(names)) < len(names):
        raise UserError("--study: the same study is named twice; name two different ones")
    folders = [find_study(logs, name) for name in names]
    first, *others = [load_study(folder) for folder in folders]
    pages = []
    for other, folder in zip(others, folders[1:], strict=True):
        found = compare(first, other)
        pages.append(write_comparison(found, folders[0] / "report" / "compare" / folder.name))
        print_comparison(found, comparison_table(found), comparison_notes(found), pages[-1])
    return pages


if __name__ == "__main__":
    sys.exit(main())
