"""What the report command prints."""

import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid

from study.common.text import plain
from study.report.analysis.several_studies import Several
from study.report.analysis.study_comparison import Comparison
from study.report.analysis.summary import Summary
from study.report.tables import Table, evaluation

LOG_WIDTH = 200  # characters
GAP = 2  # between columns


def print_conclusion(
    summary: Summary, ranking: Table, warnings: Sequence[str], folder: Path
) -> None:
    """The sentence, the ranking, the evaluation lines, the warnings and where the files are."""
    console = _console()
    console.print()
    console.print(plain(summary.headline.text, 2000), style="bold")
    for text in summary.headline.details:
        console.print(plain(text, 2000))
    console.print()
    console.print(_grid(ranking, console.width))
    lines = evaluation(summary)
    if lines:
        console.print("\nvalidation set after the last epoch:")
    for line in lines:
        console.print(f"  {plain(line, 200)}")
    if warnings:
        console.print("\nread this first:" if len(warnings) > 1 else "\nnote:", style="bold")
    for text in warnings:
        console.print(f"- {plain(text, 2000)}")
    console.print(f"\nreport: {folder / 'report.html'}", soft_wrap=True)
    console.print(
        f"also:   report.md, ranking.csv, ranking.json, trials.csv, figures/ in {folder}",
        soft_wrap=True,
    )


def conclusion_text(headline: str, ranking: Table) -> str:
    """The sentence and the ranking as plain text."""
    text = io.StringIO()
    console = Console(
        file=text, width=120, color_system=None, force_jupyter=False, markup=False, emoji=False
    )
    console.print(headline)
    console.print()
    console.print(_grid(ranking, console.width))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def print_comparison(found: Comparison, shown: Table, notes: Sequence[str], page: Path) -> None:
    """The sentence, the notes, the table and where the files are."""
    console = _console()
    console.print()
    console.print(plain(found.headline, 2000), style="bold")
    for text in notes:
        console.print(f"- {plain(text, 2000)}")
    console.print()
    console.print(_grid(shown, console.width))
    console.print(f"\ncomparison: {page}", soft_wrap=True)


def print_studies(found: Several, tables: Sequence[Table], pages: Sequence[Path]) -> None:
    """What several studies say together, their tables, and where the pages are."""
    console = _console()
    console.print()
    console.print(plain(found.headline, 2000), style="bold")
    for text in found.details:
        console.print(plain(text, 2000))
    for text in found.remarks:
        console.print(f"- {plain(text, 2000)}")
    for shown in tables:
        if shown.rows:
            console.print(f"\n{shown.title.lower()}:")
            console.print(_grid(shown, console.width))
    console.print(f"\nall together: {pages[0]}", soft_wrap=True)
    for page in pages[1:]:
        console.print(f"pair:         {page}", soft_wrap=True)


def _console() -> Console:
    """Names may look like rich's markup or emoji codes: nothing is interpreted."""
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = LOG_WIDTH  # a log file has no edge; wrapped tables cannot be read
    return console


def _grid(shown: Table, width: int) -> Grid:
    """The columns, from the left, that fit whole; only a head may take several lines."""
    grid = Grid(box=None, pad_edge=False)
    fitting, used = 0, 0
    for place, head in enumerate(shown.head):
        cells = [row[place] for row in shown.rows]
        whole = max(map(len, [*head.split(), *cells]), default=1)
        used += whole + GAP
        if used - GAP > width:
            break
        grid.add_column(head, justify="left" if place == 0 else "right", min_width=whole)
        fitting += 1
    for row in shown.rows:
        grid.add_row(*row[:fitting])
    return grid
