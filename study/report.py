"""Write and print the report of a study.

    python -m study.report                      # the newest study under logs/
    python -m study.report --study NAME         # this one

Takes about two seconds and needs no TensorFlow: it reads `study.json`, `trials.jsonl` and
`best/predictions.json`, writes `logs/<study>/report/` (report.html, report.md, ranking.csv,
ranking.json, figures/*.png) and prints the conclusion and the ranking.
"""

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from study.errors import UserError

if TYPE_CHECKING:
    from study.summary import Summary


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 0 when the report is written, 2 after a mistake that the user can mend."""
    options = _parser().parse_args(argv)
    gc.disable()  # one short run; walking through thousands of records costs half a second
    try:
        write_report(options.logs, options.study)
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
    parser.add_argument("--study", metavar="NAME", help="name of the study; default: the newest")
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
    print_conclusion(summary, texts, folder)
    return folder


def print_conclusion(summary: "Summary", warnings: Sequence[str], folder: Path) -> None:
    """The sentence, the ranking, the evaluation lines, the warnings and where the files are."""
    from rich.console import Console
    from rich.table import Table

    from study.style import plain
    from study.tables import evaluation, ranking_table

    # Names may look like rich's markup or emoji codes: nothing is interpreted.
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = 160  # a log file has no edge; wrapped tables cannot be read
    shown = ranking_table(summary)
    console.print()
    console.print(plain(summary.headline.text, 2000), style="bold")
    for text in summary.headline.details:
        console.print(plain(text, 2000))
    console.print()
    table = Table(box=None, pad_edge=False)
    for place, head in enumerate(shown.head):
        table.add_column(head, justify="left" if place == 0 else "right")
    for row in shown.rows:
        table.add_row(*row)
    console.print(table)
    console.print("\nvalidation set after the last epoch:")
    for line in evaluation(summary):
        console.print(f"  {plain(line, 200)}")
    if warnings:
        console.print("\nread this first:" if len(warnings) > 1 else "\nnote:", style="bold")
    for text in warnings:
        console.print(f"- {plain(text, 2000)}")
    console.print(f"\nreport: {folder / 'report.html'}", soft_wrap=True)
    console.print(
        f"also:   report.md, ranking.csv, ranking.json, figures/ in {folder}", soft_wrap=True
    )


if __name__ == "__main__":
    sys.exit(main())
